//! An entry in a transparency log of signatures (Rekor, version 1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Logged, Signed, SigstoreError,
    root::{Log, TrustedRoot},
};
use crate::{digest::hex, trust::PublicKey};

/// Hashes of an inclusion proof, at most: a tree has no more levels.
const MAX_PROOF: usize = 64;

/// An entry of the right form, with nothing verified yet.
#[derive(Debug)]
pub(super) struct Entry {
    log: Vec<u8>,
    /// In the log with all its trees, as the promise has it.
    index: u64,
    time: u64,
    promise: Vec<u8>,
    proof: Proof,
    body: Vec<u8>,
}

#[derive(Debug)]
struct Proof {
    /// In its tree.
    index: u64,
    size: u64,
    root: [u8; 32],
    hashes: Vec<[u8; 32]>,
    checkpoint: String,
}

impl Entry {
    pub(super) fn read(typed: TypedEntry) -> Result<Self, SigstoreError> {
        let proof = typed
            .inclusion_proof
            .ok_or(SigstoreError::Form("inclusionProof"))?;
        let promise = typed
            .inclusion_promise
            .ok_or(SigstoreError::Form("inclusionPromise"))?;
        if proof.hashes.len() > MAX_PROOF {
            return Err(SigstoreError::Form("hashes"));
        }
        let hashes = proof.hashes.iter().map(|hash| digest("hashes", hash));
        Ok(Self {
            log: decode("logId", &typed.log_id.key_id)?,
            index: typed.log_index.read("logIndex")?,
            time: typed.integrated_time.read("integratedTime")?,
            promise: decode("inclusionPromise", &promise.signed_entry_timestamp)?,
            proof: Proof {
                index: proof.log_index.read("logIndex")?,
                size: proof.tree_size.read("treeSize")?,
                root: digest("rootHash", &proof.root_hash)?,
                hashes: hashes.collect::<Result<_, _>>()?,
                checkpoint: proof.checkpoint.envelope,
            },
            body: decode("canonicalizedBody", &typed.canonicalized_body)?,
        })
    }

    pub(super) fn time(&self) -> u64 {
        self.time
    }

    pub(super) fn logged(&self) -> Logged {
        Logged {
            index: self.index,
            time: self.time,
        }
    }

    /// Checks that a trusted log has the entry since its time, and that it is about this signature.
    pub(super) fn verify(
        &self,
        root: &TrustedRoot,
        certificate: &[u8],
        signed: Signed<'_>,
    ) -> Result<(), SigstoreError> {
        let known = |log: &&Log| log.id == self.log;
        let log = root.logs.iter().find(known);
        let log = log.ok_or_else(|| SigstoreError::UnknownLog(STANDARD.encode(&self.log)))?;
        if !log.times.contains(&self.time) {
            return Err(SigstoreError::LogAtAnotherTime);
        }
        let key = log.key.as_ref().ok_or(SigstoreError::LogKey)?;
        // Only the promise vouches for the time.
        key.verify(self.promised().as_bytes(), &self.promise)
            .map_err(|_| SigstoreError::Promise)?;
        self.proof.verify(&self.body)?;
        self.proof.verify_head(key, &log.id)?;
        self.is_about(certificate, signed)
    }

    /// What the promise is signed over: JSON in its canonical form (RFC 8785).
    fn promised(&self) -> String {
        format!(
            r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}}"#,
            STANDARD.encode(&self.body),
            self.time,
            hex(&self.log),
            self.index
        )
    }

    fn is_about(&self, certificate: &[u8], signed: Signed<'_>) -> Result<(), SigstoreError> {
        let body: Value =
            serde_json::from_slice(&self.body).map_err(|_| SigstoreError::Form("body"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
        let (kind, version) = (text(&body["kind"]), text(&body["apiVersion"]));
        if (kind.as_str(), version.as_str()) != ("dsse", "0.0.1") {
            return Err(SigstoreError::Kind(format!("{kind} {version}")));
        }
        let spec = &body["spec"];
        let hash = &spec["payloadHash"];
        if hash["algorithm"] != "sha256" || hash["value"] != hex(&Sha256::digest(signed.payload)) {
            return Err(SigstoreError::OtherEntry("payload"));
        }
        let Some([signature]) = spec["signatures"].as_array().map(Vec::as_slice) else {
            return Err(SigstoreError::Form("one signature"));
        };
        if decode("signature", &text(&signature["signature"]))? != signed.signature {
            return Err(SigstoreError::OtherEntry("signature"));
        }
        let verifier = decode("verifier", &text(&signature["verifier"]))?;
        let verifier = CertificateDer::from_pem_slice(&verifier);
        let verifier = verifier.map_err(|_| SigstoreError::Form("verifier"))?;
        if verifier.as_ref() != certificate {
            return Err(SigstoreError::OtherEntry("certificate"));
        }
        Ok(())
    }
}

impl Proof {
    /// RFC 9162, 2.1.3.2.
    fn verify(&self, body: &[u8]) -> Result<(), SigstoreError> {
        if self.index >= self.size {
            return Err(SigstoreError::Inclusion);
        }
        let (mut here, mut last) = (self.index, self.size - 1);
        let mut hash: [u8; 32] = Sha256::new()
            .chain_update([0])
            .chain_update(body)
            .finalize()
            .into();
        let node = |left: &[u8; 32], right: &[u8; 32]| -> [u8; 32] {
            let node = Sha256::new().chain_update([1]).chain_update(left);
            node.chain_update(right).finalize().into()
        };
        for beside in &self.hashes {
            if last == 0 {
                return Err(SigstoreError::Inclusion);
            }
            if here % 2 == 1 || here == last {
                hash = node(beside, &hash);
                // A last node without a neighbour goes up as it is.
                while here % 2 == 0 && here != 0 {
                    here /= 2;
                    last /= 2;
                }
            } else {
                hash = node(&hash, beside);
            }
            here /= 2;
            last /= 2;
        }
        if last == 0 && hash == self.root {
            Ok(())
        } else {
            Err(SigstoreError::Inclusion)
        }
    }

    /// The tree's size and root, as the log signed them
    /// (<https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/signed-note>).
    fn verify_head(&self, key: &PublicKey, log: &[u8]) -> Result<(), SigstoreError> {
        let form = || SigstoreError::Checkpoint("it has another form");
        let (text, signatures) = self.checkpoint.split_once("\n\n").ok_or_else(form)?;
        let mut lines = text.lines().skip(1);
        let size = lines.next().and_then(|line| line.parse().ok());
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok());
        if size != Some(self.size) || root.as_deref() != Some(self.root.as_slice()) {
            return Err(SigstoreError::Checkpoint("it is that of another tree"));
        }
        let hint = log.first_chunk::<4>().ok_or_else(form)?;
        let signed = format!("{text}\n");
        let is_by_log = signatures.lines().any(|line| {
            let signature = line
                .rsplit(' ')
                .next()
                .and_then(|word| STANDARD.decode(word).ok());
            signature.is_some_and(|signature| {
                signature
                    .strip_prefix(hint)
                    .is_some_and(|signature| key.verify(signed.as_bytes(), signature).is_ok())
            })
        });
        if is_by_log {
            Ok(())
        } else {
            Err(SigstoreError::Checkpoint("the log did not sign it"))
        }
    }
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, SigstoreError> {
    STANDARD
        .decode(text)
        .map_err(|_| SigstoreError::Form(field))
}

fn digest(field: &'static str, text: &str) -> Result<[u8; 32], SigstoreError> {
    let bytes = decode(field, text)?;
    bytes.try_into().map_err(|_| SigstoreError::Form(field))
}

/// An entry as a bundle has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypedEntry {
    log_index: Number,
    log_id: TypedId,
    #[serde(default)]
    integrated_time: Number,
    inclusion_promise: Option<TypedPromise>,
    inclusion_proof: Option<TypedProof>,
    canonicalized_body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedPromise {
    signed_entry_timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedProof {
    #[serde(default)]
    log_index: Number,
    root_hash: String,
    tree_size: Number,
    #[serde(default)]
    hashes: Vec<String>,
    checkpoint: TypedCheckpoint,
}

#[derive(Deserialize)]
struct TypedCheckpoint {
    envelope: String,
}

/// Protobuf's JSON writes large numbers as text, reads both, and leaves zero out.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Number(u64),
}

impl Default for Number {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Number {
    fn read(&self, field: &'static str) -> Result<u64, SigstoreError> {
        match self {
            Self::Text(text) => text.parse().map_err(|_| SigstoreError::Form(field)),
            Self::Number(number) => Ok(*number),
        }
    }
}
