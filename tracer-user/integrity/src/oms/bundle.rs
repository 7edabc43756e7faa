//! The outer two layers: bundle and envelope.

use std::time::Duration;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use rustls_pki_types::UnixTime;
use serde::Deserialize;
use serde_json::json;

use super::{MAX_BUNDLE, SigningIdentity, manifest::Manifest, statement};
use crate::{
    sigstore::{Evidence, Keyless, Signed, SigstoreError, TypedEntry},
    trust::{CertificateError, KeyError, PublicKey, TrustAnchors},
};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Certificates of a chain, at most.
const MAX_CHAIN: usize = 16;
/// Standard base64; some writers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A bundle of the right form, with nothing verified yet.
#[derive(Debug)]
pub struct Bundle {
    material: Material,
    payload_type: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// What the bundle says it can be verified with.
#[derive(Debug)]
enum Material {
    /// The signer's key is known by other means; its name is a hint, which old bundles lack.
    Key { hint: Option<String> },
    /// Certificates, the signer's first.
    Chain(Vec<Vec<u8>>),
    /// A short-lived certificate and an entry in a transparency log.
    Sigstore {
        certificate: Vec<u8>,
        /// Read only where such a signature is verified.
        entries: Vec<serde_json::Value>,
    },
}

/// Whom to believe.
#[derive(Debug)]
pub enum Trust {
    /// This key's owner.
    Key(PublicKey),
    /// Whoever has a certificate that these vouch for, at this time.
    Certificates(TrustAnchors, UnixTime),
    /// Whoever proved an identity when signing.
    Sigstore(Box<Keyless>),
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The owner of the key with this SHA-256 over its PEM text.
    Key {
        /// In hex.
        hint: String,
        /// Whether the bundle names the key; those before 1.1 do not.
        named: bool,
    },
    /// The holder of a certificate.
    Certificate {
        /// The subject, as RFC 4514 writes it.
        subject: String,
        /// SHA-256 of the certificate, in hex.
        fingerprint: String,
    },
    /// Whoever proved this identity when signing.
    Sigstore {
        /// An address or URL.
        identity: String,
        /// Who vouched for it.
        issuer: String,
        /// Number of the entry in the log.
        entry: u64,
        /// When the log took it in, in seconds since 1970.
        time: u64,
    },
}

/// Why a bundle is not believed.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is longer than [`MAX_BUNDLE`].
    #[error("the bundle is longer than {} MiB", MAX_BUNDLE >> 20)]
    TooLarge,
    /// It is no JSON, or lacks a part.
    #[error("the bundle is not in the form of a Sigstore bundle: {0}")]
    Form(serde_json::Error),
    /// It is in another form.
    #[error("the bundle's media type is `{0}`; only `{MEDIA_TYPE}` can be verified")]
    MediaType(String),
    /// It has none or several of key, certificates and certificate.
    #[error("the bundle has {0} kinds of verification material; it must have one")]
    Material(usize),
    /// A chain without, or with far too many, certificates.
    #[error("the bundle has {0} certificates in its chain; it must have 1 to {MAX_CHAIN}")]
    Chain(usize),
    /// It must have one.
    #[error("the bundle has {0} signatures; it must have one")]
    Signatures(usize),
    /// A field is no base64.
    #[error("the bundle's field `{0}` is not base64")]
    Base64(&'static str),
    /// It was made with another method than the one that is trusted.
    #[error("the bundle was signed with the method `{found}`, and `{wanted}` was to be verified")]
    Method {
        /// How it was signed.
        found: &'static str,
        /// What the verifier trusts.
        wanted: &'static str,
    },
    /// It names another key.
    #[error("the bundle names another key: {named}, and this one is {given}")]
    OtherKey {
        /// The bundle's.
        named: String,
        /// The verifier's.
        given: String,
    },
    /// The chain does not lead to what is trusted.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Log, certificate or identity are not as trusted.
    #[error(transparent)]
    Sigstore(#[from] SigstoreError),
    /// The signature is not by that key over these bytes.
    #[error("the signature is not valid")]
    Signature,
    /// Something else was signed.
    #[error("the signed payload is of type `{0}`; it must be `{PAYLOAD_TYPE}`")]
    PayloadType(String),
    /// What was signed is no statement about a model.
    #[error(transparent)]
    Statement(#[from] statement::StatementError),
}

impl Bundle {
    /// Reads a bundle's form.
    ///
    /// # Errors
    /// If it has another.
    pub fn parse(text: &[u8]) -> Result<Self, BundleError> {
        if text.len() as u64 > MAX_BUNDLE {
            return Err(BundleError::TooLarge);
        }
        let typed: Typed = serde_json::from_slice(text).map_err(BundleError::Form)?;
        if typed.media_type != MEDIA_TYPE {
            return Err(BundleError::MediaType(typed.media_type));
        }
        let material = Material::read(typed.verification_material)?;
        let envelope = typed.dsse_envelope;
        let [signature] = envelope.signatures.as_slice() else {
            return Err(BundleError::Signatures(envelope.signatures.len()));
        };
        Ok(Self {
            material,
            payload_type: envelope.payload_type,
            payload: decode("payload", &envelope.payload)?,
            signature: decode("sig", &signature.sig)?,
        })
    }

    /// Checks the signature and what was signed.
    ///
    /// # Errors
    /// If the signer is not the trusted one, or the statement is not a model's.
    pub fn verify(&self, trust: &Trust) -> Result<(Signer, Manifest), BundleError> {
        let signer = match (trust, &self.material) {
            (Trust::Key(key), Material::Key { hint }) => {
                let given = key.hint();
                if let Some(named) = hint
                    && *named != given
                {
                    let named = named.clone();
                    return Err(BundleError::OtherKey { named, given });
                }
                self.check(key)?;
                let named = hint.is_some();
                Signer::Key { hint: given, named }
            }
            (Trust::Certificates(anchors, time), Material::Chain(chain)) => {
                let leaf = anchors.verify(chain, *time)?;
                self.check(leaf.key())?;
                Signer::Certificate {
                    subject: leaf.subject().to_owned(),
                    fingerprint: leaf.fingerprint(),
                }
            }
            (
                Trust::Sigstore(keyless),
                Material::Sigstore {
                    certificate,
                    entries,
                },
            ) => {
                let entries: Vec<TypedEntry> = entries
                    .iter()
                    .map(TypedEntry::deserialize)
                    .collect::<Result<_, _>>()
                    .map_err(BundleError::Form)?;
                let evidence = Evidence::read(certificate.clone(), entries)?;
                let signed = Signed {
                    payload: &self.payload,
                    signature: &self.signature,
                };
                let (key, logged) = keyless.verify(&evidence, signed)?;
                self.check(&key)?;
                let (identity, issuer) = keyless.signer();
                Signer::Sigstore {
                    identity: identity.to_owned(),
                    issuer: issuer.to_owned(),
                    entry: logged.index,
                    time: logged.time,
                }
            }
            (trust, material) => {
                let (found, wanted) = (material.method(), trust.method());
                return Err(BundleError::Method { found, wanted });
            }
        };
        if self.payload_type != PAYLOAD_TYPE {
            return Err(BundleError::PayloadType(self.payload_type.clone()));
        }
        Ok((signer, statement::read(&self.payload)?))
    }

    /// SHA-256 of what was signed, in hex: two bundles with the same one vouch for the same.
    #[must_use]
    pub fn payload_digest(&self) -> String {
        use sha2::Digest as _;
        crate::digest::hex(&sha2::Sha256::digest(&self.payload))
    }

    fn check(&self, key: &PublicKey) -> Result<(), BundleError> {
        let message = pre_authentication_encoding(&self.payload_type, &self.payload);
        key.verify(&message, &self.signature)
            .map_err(|_| BundleError::Signature)
    }
}

impl Trust {
    /// Trusts certificates that are valid at a time since 1970.
    #[must_use]
    pub fn certificates(anchors: TrustAnchors, at: Duration) -> Self {
        Self::Certificates(anchors, UnixTime::since_unix_epoch(at))
    }

    fn method(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Certificates(..) => "certificate",
            Self::Sigstore(_) => "sigstore",
        }
    }
}

impl Material {
    fn method(&self) -> &'static str {
        match self {
            Self::Key { .. } => "key",
            Self::Chain(_) => "certificate",
            Self::Sigstore { .. } => "sigstore",
        }
    }

    fn read(typed: TypedMaterial) -> Result<Self, BundleError> {
        let TypedMaterial {
            public_key,
            x509_certificate_chain,
            certificate,
            tlog_entries,
        } = typed;
        match (public_key, x509_certificate_chain, certificate) {
            (Some(key), None, None) => Ok(Self::Key {
                hint: key.hint.filter(|hint| !hint.is_empty()),
            }),
            (None, Some(chain), None) => {
                let count = chain.certificates.len();
                if !(1..=MAX_CHAIN).contains(&count) {
                    return Err(BundleError::Chain(count));
                }
                let decoded = chain
                    .certificates
                    .iter()
                    .map(|certificate| decode("rawBytes", &certificate.raw_bytes));
                Ok(Self::Chain(decoded.collect::<Result<_, _>>()?))
            }
            (None, None, Some(certificate)) => Ok(Self::Sigstore {
                certificate: decode("rawBytes", &certificate.raw_bytes)?,
                entries: tlog_entries,
            }),
            (key, chain, certificate) => Err(BundleError::Material(
                usize::from(key.is_some())
                    + usize::from(chain.is_some())
                    + usize::from(certificate.is_some()),
            )),
        }
    }
}

/// Writes the bundle around a statement.
pub(super) fn write(statement: &[u8], identity: &SigningIdentity) -> Result<String, KeyError> {
    let (key, mut material) = match identity {
        SigningIdentity::Key(key) => {
            let hint = key.public().hint();
            (key, json!({ "publicKey": { "hint": hint } }))
        }
        SigningIdentity::Certificate(key, certificate) => {
            let chain: Vec<_> = certificate
                .chain()
                .map(|certificate| json!({ "rawBytes": encode(certificate) }))
                .collect();
            (
                key,
                json!({ "x509CertificateChain": { "certificates": chain } }),
            )
        }
    };
    material["tlogEntries"] = json!([]);
    let signature = key.sign(&pre_authentication_encoding(PAYLOAD_TYPE, statement))?;
    let bundle = json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": encode(statement),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": encode(&signature), "keyid": "" }],
        },
    });
    Ok(bundle.to_string())
}

/// What is really signed (<https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md>).
pub(super) fn pre_authentication_encoding(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, BundleError> {
    BASE64.decode(text).map_err(|_| BundleError::Base64(field))
}

fn encode(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: String,
    verification_material: TypedMaterial,
    dsse_envelope: TypedEnvelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedMaterial {
    public_key: Option<TypedKey>,
    x509_certificate_chain: Option<TypedChain>,
    certificate: Option<TypedCertificate>,
    /// Looked at only where the signature is keyless.
    #[serde(default)]
    tlog_entries: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct TypedKey {
    hint: Option<String>,
}

#[derive(Deserialize)]
struct TypedChain {
    certificates: Vec<TypedCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedCertificate {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<TypedSignature>,
}

#[derive(Deserialize)]
struct TypedSignature {
    sig: String,
}
