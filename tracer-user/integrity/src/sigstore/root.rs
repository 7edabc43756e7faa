//! Sigstore's `trusted_root.json`: authorities and logs, each with its time
//! (<https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto>).

use std::ops::RangeInclusive;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    report::unix_seconds,
    trust::{CertificateError, PublicKey, TrustAnchors},
};

/// The longest file that is read.
pub const MAX_TRUSTED_ROOT: u64 = 4 << 20;
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";

/// Whom to believe about keyless signatures, and when.
#[derive(Debug)]
pub struct TrustedRoot {
    pub(super) authorities: Vec<Authority>,
    /// Logs of signatures.
    pub(super) logs: Vec<Log>,
    /// Logs of certificates.
    pub(super) certificate_logs: Vec<Log>,
}

/// A certificate authority.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) anchors: TrustAnchors,
    pub(super) times: RangeInclusive<u64>,
}

/// A transparency log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) id: Vec<u8>,
    /// `None` if it is of a kind that is not verified here.
    pub(super) key: Option<PublicKey>,
    pub(super) times: RangeInclusive<u64>,
}

/// Why a trusted root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It is longer than [`MAX_TRUSTED_ROOT`].
    #[error("the trusted root is longer than {} MiB", MAX_TRUSTED_ROOT >> 20)]
    TooLarge,
    /// It is no JSON, or lacks a part.
    #[error("it is not in the form of Sigstore's trusted_root.json: {0}")]
    Form(serde_json::Error),
    /// Something else.
    #[error("its media type is `{0}`; that of a trusted root begins with `{MEDIA_TYPE}`")]
    MediaType(String),
    /// A field is not what it must be.
    #[error("its field `{0}` cannot be read")]
    Field(&'static str),
    /// An authority's certificates.
    #[error("its certificate authority {uri}: {error}")]
    Authority {
        /// As the file names it.
        uri: String,
        /// What is wrong.
        error: CertificateError,
    },
    /// Nobody could be believed.
    #[error("it has no {0}")]
    Empty(&'static str),
}

impl TrustedRoot {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// If it has another form, or nobody that could be believed.
    pub fn parse(text: &[u8]) -> Result<Self, RootError> {
        if text.len() as u64 > MAX_TRUSTED_ROOT {
            return Err(RootError::TooLarge);
        }
        let typed: Typed = serde_json::from_slice(text).map_err(RootError::Form)?;
        if !typed.media_type.starts_with(MEDIA_TYPE) {
            return Err(RootError::MediaType(typed.media_type));
        }
        let root = Self {
            authorities: collect(typed.certificate_authorities, Authority::read)?,
            logs: collect(typed.tlogs, Log::read)?,
            certificate_logs: collect(typed.ctlogs, Log::read)?,
        };
        for (empty, what) in [
            (root.authorities.is_empty(), "certificateAuthorities"),
            (root.logs.is_empty(), "tlogs"),
            (root.certificate_logs.is_empty(), "ctlogs"),
        ] {
            if empty {
                return Err(RootError::Empty(what));
            }
        }
        Ok(root)
    }
}

impl Authority {
    fn read(typed: TypedAuthority) -> Result<Self, RootError> {
        let certificates = typed.cert_chain.certificates.iter();
        let certificates = certificates
            .map(|certificate| decode("certificates.rawBytes", &certificate.raw_bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let anchors = TrustAnchors::from_ders(certificates);
        Ok(Self {
            anchors: anchors.map_err(|error| RootError::Authority {
                uri: typed.uri,
                error,
            })?,
            times: typed.valid_for.read()?,
        })
    }
}

impl Log {
    fn read(typed: TypedLog) -> Result<Self, RootError> {
        let key = decode("publicKey.rawBytes", &typed.public_key.raw_bytes)?;
        Ok(Self {
            id: decode("logId.keyId", &typed.log_id.key_id)?,
            key: PublicKey::from_der(&key).ok(),
            times: typed.public_key.valid_for.read()?,
        })
    }
}

fn collect<A, B>(
    typed: Vec<A>,
    read: impl Fn(A) -> Result<B, RootError>,
) -> Result<Vec<B>, RootError> {
    typed.into_iter().map(read).collect()
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, RootError> {
    STANDARD.decode(text).map_err(|_| RootError::Field(field))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: String,
    #[serde(default)]
    tlogs: Vec<TypedLog>,
    #[serde(default)]
    certificate_authorities: Vec<TypedAuthority>,
    #[serde(default)]
    ctlogs: Vec<TypedLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedAuthority {
    #[serde(default)]
    uri: String,
    cert_chain: TypedChain,
    valid_for: TypedTimes,
}

#[derive(Deserialize)]
struct TypedChain {
    certificates: Vec<TypedBytes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedBytes {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedLog {
    public_key: TypedKey,
    log_id: TypedId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedKey {
    raw_bytes: String,
    valid_for: TypedTimes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedId {
    key_id: String,
}

/// From a moment on, to one included; without an end, for good.
#[derive(Deserialize)]
struct TypedTimes {
    start: String,
    end: Option<String>,
}

impl TypedTimes {
    fn read(&self) -> Result<RangeInclusive<u64>, RootError> {
        let seconds = |text: &str| {
            let whole = match text.split_once('.') {
                Some((whole, fraction)) if fraction.ends_with('Z') => format!("{whole}Z"),
                _ => text.to_owned(),
            };
            unix_seconds(&whole).ok_or(RootError::Field("validFor"))
        };
        let end = self.end.as_deref().map_or(Ok(u64::MAX), seconds)?;
        Ok(seconds(&self.start)?..=end)
    }
}
