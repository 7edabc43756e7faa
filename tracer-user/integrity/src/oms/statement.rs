//! The inner two layers: in-toto statement and predicate, as JSON.

use std::{collections::BTreeMap, num::NonZeroU64};

use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{
    ShardNames,
    manifest::{Manifest, ManifestError, Resource, Serialization},
};
use crate::{
    digest::{Algorithm, ContentDigest},
    tree::MAX_FILES,
};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// The largest integer up to which JSON's floating-point numbers are exact, 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Why a signed payload is no statement about a model.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It is no JSON, or lacks a part.
    #[error("the signed statement is not in the form of Model Signing v1.0: {0}")]
    Form(serde_json::Error),
    /// It is no in-toto statement.
    #[error("the signed statement is of type `{0}`; it must be `{STATEMENT_TYPE}`")]
    Type(String),
    /// It says something else than which files a model has.
    #[error("the statement's predicate is `{0}`; only `{PREDICATE_TYPE}` can be verified")]
    Predicate(String),
    /// It must be about one thing.
    #[error("the statement has {0} subjects; it must have one")]
    Subjects(usize),
    /// The subject's digest is missing or malformed.
    #[error("the statement's subject has no SHA-256 digest")]
    SubjectDigest,
    /// The serialisation is not one of the specification's.
    #[error("the statement's serialization method is `{0}`; it must be `files` or `shards`")]
    Method(String),
    /// The hash is not one of the specification's.
    #[error("the statement's hash type is `{0}`; it must be `sha256`, `blake2b` or `blake3`")]
    HashType(String),
    /// Not a whole number of bytes.
    #[error("the statement's shard size is not a whole number of bytes above 0")]
    ShardSize,
    /// A resource's digest is of another kind.
    #[error(
        "the algorithm of `{name}` is `{found}`, and the statement's hash type is `{expected}`"
    )]
    Algorithm {
        /// The resource.
        name: String,
        /// What it says.
        found: String,
        /// What it must be.
        expected: Algorithm,
    },
    /// A resource's digest has another length.
    #[error("the digest of `{name}` is not {algorithm} in hex")]
    Digest {
        /// The resource.
        name: String,
        /// What it must be.
        algorithm: Algorithm,
    },
    /// More resources than any model has files.
    #[error("the statement has more than {MAX_FILES} resources")]
    TooMany,
    /// The resources contradict each other or their digest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Reads a statement.
pub(super) fn read(payload: &[u8]) -> Result<Manifest, StatementError> {
    // The types come first: what is of another type may well have another form.
    let kind: Kind = serde_json::from_slice(payload).map_err(StatementError::Form)?;
    if kind.kind != STATEMENT_TYPE {
        return Err(StatementError::Type(kind.kind));
    }
    if kind.predicate_type != PREDICATE_TYPE {
        return Err(StatementError::Predicate(kind.predicate_type));
    }
    let statement: Statement = serde_json::from_slice(payload).map_err(StatementError::Form)?;
    let [subject] = statement.subject.as_slice() else {
        return Err(StatementError::Subjects(statement.subject.len()));
    };
    let root = subject
        .digest
        .get("sha256")
        .and_then(|hex| ContentDigest::from_hex(Algorithm::Sha256, hex))
        .ok_or(StatementError::SubjectDigest)?;
    let Predicate {
        resources,
        serialization: description,
    } = statement.predicate;
    let algorithm = Algorithm::of_manifest(&description.hash_type)
        .ok_or_else(|| StatementError::HashType(description.hash_type.clone()))?;
    let serialization = match description.method.as_str() {
        "files" => Serialization::Files,
        "shards" => Serialization::Shards(
            description
                .shard_size
                .as_ref()
                .and_then(whole_number)
                .ok_or(StatementError::ShardSize)?,
        ),
        _ => return Err(StatementError::Method(description.method)),
    };
    if resources.len() > MAX_FILES {
        return Err(StatementError::TooMany);
    }
    let resources = resources
        .into_iter()
        .map(|resource| read_resource(resource, algorithm, serialization))
        .collect::<Result<_, _>>()?;
    let manifest = Manifest::new(
        subject.name.clone().unwrap_or_default(),
        serialization,
        algorithm,
        description.allow_symlinks,
        description.ignore_paths,
        resources,
    )?;
    manifest.check_root(&root)?;
    Ok(manifest)
}

fn read_resource(
    typed: TypedResource,
    algorithm: Algorithm,
    serialization: Serialization,
) -> Result<Resource, StatementError> {
    let TypedResource {
        name,
        digest,
        algorithm: found,
    } = typed;
    let is_expected = found == algorithm.name()
        || match serialization {
            Serialization::Files => false,
            Serialization::Shards(size) => found == sharded_name(algorithm, size),
        };
    if !is_expected {
        return Err(StatementError::Algorithm {
            name,
            found,
            expected: algorithm,
        });
    }
    let Some(digest) = ContentDigest::from_hex(algorithm, &digest) else {
        return Err(StatementError::Digest { name, algorithm });
    };
    Ok(Resource::parse(&name, serialization, digest)?)
}

/// Protobuf's `Struct`, through which the reference writes its statements, has only floats.
fn whole_number(number: &Number) -> Option<NonZeroU64> {
    let whole = number.as_u64().or_else(|| {
        let float = number.as_f64()?;
        let is_whole = float.fract() == 0.0 && (1.0..=MAX_EXACT).contains(&float);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 1 and 2^53"
        )]
        is_whole.then_some(float as u64)
    })?;
    NonZeroU64::new(whole)
}

fn sharded_name(algorithm: Algorithm, size: NonZeroU64) -> String {
    format!("{algorithm}-sharded-{size}")
}

/// Writes a statement, compactly and always the same for the same manifest.
pub(super) fn write(manifest: &Manifest, shard_names: ShardNames) -> String {
    let algorithm = match (manifest.serialization(), shard_names) {
        (Serialization::Shards(size), ShardNames::Reference) => {
            sharded_name(manifest.algorithm(), size)
        }
        _ => manifest.algorithm().name().to_owned(),
    };
    let (method, shard_size) = match manifest.serialization() {
        Serialization::Files => ("files", None),
        Serialization::Shards(size) => ("shards", Some(Number::from(size.get()))),
    };
    let resources = manifest
        .resources()
        .iter()
        .map(|resource| TypedResource {
            name: resource.name(),
            digest: resource.digest.hex(),
            algorithm: algorithm.clone(),
        })
        .collect();
    let statement = Statement {
        kind: STATEMENT_TYPE.into(),
        subject: vec![Subject {
            name: Some(manifest.model().to_owned()),
            digest: BTreeMap::from([("sha256".into(), manifest.root().hex())]),
        }],
        predicate_type: PREDICATE_TYPE.into(),
        predicate: Predicate {
            resources,
            serialization: Description {
                method: method.into(),
                hash_type: manifest.algorithm().name().into(),
                shard_size,
                allow_symlinks: manifest.allow_symlinks(),
                ignore_paths: manifest.ignore_paths().to_vec(),
            },
        },
    };
    serde_json::to_string(&statement).expect("strings, numbers and lists are JSON")
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: Option<String>,
    digest: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Predicate {
    resources: Vec<TypedResource>,
    serialization: Description,
}

#[derive(Serialize, Deserialize)]
struct TypedResource {
    name: String,
    digest: String,
    algorithm: String,
}

#[derive(Serialize, Deserialize)]
struct Description {
    method: String,
    hash_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard_size: Option<Number>,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}
