//! The result of a verification as an in-toto statement: a Simple Verification Result
//! (<https://github.com/in-toto/attestation/blob/main/spec/predicates/svr.md>) about the files that
//! were looked at. Consumers that know nothing of this program read which properties hold; the
//! fields that begin with `tracer_` say the rest.

use std::time::Duration;

use serde_json::{Map, Value, json};
use x509_cert::der::DateTime;

use crate::{
    digest::{Algorithm, ContentDigest},
    verify::{FileResult, Finding, Outcome, Verification},
};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/svr/v0.2";
/// Names the verifier and the version of these fields.
const VERIFIER: &str = "x-tracer:verifier:1";

/// What the model was compared with.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its kind in one word, such as `model-signing`.
    pub kind: &'static str,
    /// The file or store.
    pub name: String,
    /// SHA-256 of what it says, in hex, where it is one file.
    pub sha256: Option<String>,
    /// Who signed it, where somebody did.
    pub signer: Option<String>,
    /// The digest over all digests of a signed manifest, in hex.
    pub root: Option<String>,
}

/// The statement, made at this time since 1970.
#[must_use]
pub fn statement(
    model: &str,
    source: &Source,
    verification: &Verification,
    now: Duration,
) -> Value {
    let mut properties = Vec::new();
    if verification.outcome() == Outcome::Verified {
        properties.push("TRACER_MODEL_VERIFIED".to_owned());
        if let Some(guarantee) = verification.guarantee() {
            properties.push(format!("TRACER_GUARANTEE_{guarantee}"));
        }
    }
    let mut policy = json!({ "name": source.name, "annotations": { "kind": source.kind } });
    if let Some(sha256) = &source.sha256 {
        policy["digest"] = json!({ "sha256": sha256 });
    }
    if let Some(signer) = &source.signer {
        policy["annotations"]["signer"] = json!(signer);
    }
    let findings: Vec<Value> = verification.files.iter().map(finding).collect();
    json!({
        "_type": STATEMENT_TYPE,
        "subject": subjects(model, source, verification),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "verifier": { "id": VERIFIER },
            "timeCreated": rfc3339(now),
            "policies": [policy],
            "properties": properties,
            "tracer_outcome": outcome(verification.outcome()),
            "tracer_guarantee": verification.guarantee().map(|guarantee| guarantee.name()),
            "tracer_files": findings,
            "tracer_ignored": verification.ignored,
            "tracer_unsigned_ignored": verification.unsigned_ignored,
        },
    })
}

/// A time as RFC 3339 has it.
#[must_use]
pub fn rfc3339(since_1970: Duration) -> String {
    let whole = Duration::from_secs(since_1970.as_secs());
    DateTime::from_unix_duration(whole).map_or_else(
        |_| format!("{} s after 1970", whole.as_secs()),
        |time| time.to_string(),
    )
}

/// Seconds since 1970 of a time in UTC as RFC 3339 writes it, such as `2026-01-31T12:00:00Z`.
#[must_use]
pub fn unix_seconds(rfc3339: &str) -> Option<u64> {
    let time: DateTime = rfc3339.parse().ok()?;
    Some(time.unix_duration().as_secs())
}

/// How a verification ended, in two words at most.
#[must_use]
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Verified => "verified",
        Outcome::NotVerified => "not verified",
        Outcome::Undetermined => "undetermined",
    }
}

/// The files by the bytes that they had, or else the whole model by its signed digest.
fn subjects(model: &str, source: &Source, verification: &Verification) -> Vec<Value> {
    let mut subjects: Vec<Value> = verification
        .files
        .iter()
        .filter_map(|FileResult { name, finding }| {
            let found = match finding {
                Finding::Match {
                    digest: Some(digest),
                    whole: true,
                    ..
                } => digest,
                Finding::Mismatch {
                    found: Some(digest),
                    at: None,
                    ..
                } => digest,
                _ => return None,
            };
            Some(json!({ "name": name, "digest": digest_set(found) }))
        })
        .collect();
    if let Some(root) = &source.root
        && verification.outcome() == Outcome::Verified
    {
        subjects.insert(0, json!({ "name": model, "digest": { "sha256": root } }));
    }
    if subjects.is_empty() {
        subjects.push(json!({ "name": model, "digest": {} }));
    }
    subjects
}

fn digest_set(digest: &ContentDigest) -> Value {
    // https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md
    let name = match digest.algorithm() {
        Algorithm::Sha256 => "sha256",
        Algorithm::Blake2b => "blake2b",
        Algorithm::Blake3 => "blake3",
        Algorithm::GitSha1 => "gitBlob",
    };
    Value::Object(Map::from_iter([(name.to_owned(), json!(digest.hex()))]))
}

fn finding(file: &FileResult) -> Value {
    let FileResult { name, finding } = file;
    let mut details = match finding {
        Finding::Match {
            size, assurance, ..
        } => json!({
            "finding": "match",
            "size": size,
            "guarantee": assurance.guarantee.name(),
            "reason": assurance.reason.to_string(),
        }),
        Finding::Mismatch {
            expected,
            found,
            at,
        } => json!({
            "finding": "mismatch",
            "expected": expected.to_string(),
            "found": found.as_ref().map(ToString::to_string),
            "shard_start": at,
        }),
        Finding::TooLong { expected, found } => json!({
            "finding": "too long",
            "expected_size": expected,
            "size": found,
        }),
        Finding::DiskDiffers => json!({ "finding": "disk differs from page cache" }),
        Finding::Missing => json!({ "finding": "missing" }),
        Finding::Unexpected(kind) => {
            json!({ "finding": "unexpected", "reason": kind.to_string() })
        }
        Finding::Failed(reason) => json!({ "finding": "failed", "reason": reason }),
    };
    details["name"] = json!(name);
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let time = Duration::from_secs(1_767_225_600);
        assert_eq!(rfc3339(time), "2026-01-01T00:00:00Z");
        assert_eq!(unix_seconds("2026-01-01T00:00:00Z"), Some(1_767_225_600));
        for word in ["", "2026-01-01", "2026-13-01T00:00:00Z", "yesterday"] {
            assert_eq!(unix_seconds(word), None, "{word}");
        }
    }
}
