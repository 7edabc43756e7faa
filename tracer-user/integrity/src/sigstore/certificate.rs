//! The signer's certificate: its chain, that a log promised to show it, and whom it names.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use sha2::{Digest as _, Sha256};
use x509_cert::{
    Certificate,
    der::{
        Decode as _, Encode as _,
        asn1::{ObjectIdentifier, OctetString, Utf8StringRef},
    },
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{SigstoreError, root::TrustedRoot};
use crate::trust::{CertificateError, PublicKey};

/// The list of promises to show the certificate (RFC 6962, 3.3).
const TIMESTAMPS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
/// Who vouched for the identity, in its newer and its older form, and an identity of another kind
/// (<https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>).
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
const OLD_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const OTHER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
/// `hash(4) sha256, signature(3) ecdsa` of TLS 1.2.
const ECDSA_SHA256: [u8; 2] = [4, 3];

/// Verifies that an authority issued the certificate for the time, and a log promised to show it.
pub(super) fn verify(
    root: &TrustedRoot,
    certificate: &[u8],
    time: u64,
) -> Result<PublicKey, SigstoreError> {
    let at = UnixTime::since_unix_epoch(Duration::from_secs(time));
    let mut refused = SigstoreError::NoAuthority;
    for authority in &root.authorities {
        if !authority.times.contains(&time) {
            continue;
        }
        match authority.anchors.verify(&[certificate.to_vec()], at) {
            Ok(leaf) => {
                let parsed = parse(certificate)?;
                let mut issuers = authority.anchors.certificates();
                if issuers.any(|issuer| is_promised(root, &parsed, issuer)) {
                    return Ok(leaf.key().clone());
                }
                refused = SigstoreError::Timestamp;
            }
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

/// Checks whom the certificate names, and who vouched for that.
pub(super) fn check_identity(
    certificate: &[u8],
    identity: &str,
    issuer: &str,
) -> Result<(), SigstoreError> {
    let parsed = parse(certificate)?;
    let names = names(&parsed)?;
    if !names.iter().any(|name| name == identity) {
        return Err(SigstoreError::Identity {
            found: names.join(", "),
            wanted: identity.to_owned(),
        });
    }
    let found = issuer_of(&parsed).unwrap_or_default();
    if found != issuer {
        return Err(SigstoreError::Issuer {
            found,
            wanted: issuer.to_owned(),
        });
    }
    Ok(())
}

fn names(certificate: &Certificate) -> Result<Vec<String>, SigstoreError> {
    let names = certificate.tbs_certificate.get::<SubjectAltName>();
    let names = names.map_err(|_| form())?.map(|(_, names)| names.0);
    let text = |name: GeneralName| match name {
        GeneralName::Rfc822Name(address) => Some(address.to_string()),
        GeneralName::UniformResourceIdentifier(address) => Some(address.to_string()),
        GeneralName::OtherName(other) if other.type_id == OTHER_NAME => {
            let text = other.value.decode_as::<Utf8StringRef<'_>>().ok()?;
            Some(text.as_str().to_owned())
        }
        _ => None,
    };
    Ok(names
        .unwrap_or_default()
        .into_iter()
        .filter_map(text)
        .collect())
}

fn issuer_of(certificate: &Certificate) -> Option<String> {
    if let Some(bytes) = extension(certificate, ISSUER) {
        return Some(Utf8StringRef::from_der(bytes).ok()?.as_str().to_owned());
    }
    String::from_utf8(extension(certificate, OLD_ISSUER)?.to_vec()).ok()
}

/// Whether a trusted log signed that it would show the certificate that `issuer` was about to issue.
fn is_promised(root: &TrustedRoot, certificate: &Certificate, issuer: &[u8]) -> bool {
    let list = extension(certificate, TIMESTAMPS).and_then(|list| OctetString::from_der(list).ok());
    let (Some(list), Some(precertificate)) = (list, precertificate(certificate, issuer)) else {
        return false;
    };
    let Some(mut list) = (Bytes {
        rest: list.as_bytes(),
    })
    .sized(2) else {
        return false;
    };
    while let Some(entry) = list.sized(2) {
        if Timestamp::read(entry).is_some_and(|timestamp| timestamp.is_valid(root, &precertificate))
        {
            return true;
        }
    }
    false
}

/// The digest of the issuer's key, and the certificate as it was before the list was put into it.
fn precertificate(certificate: &Certificate, issuer: &[u8]) -> Option<Vec<u8>> {
    let issuer = Certificate::from_der(issuer).ok()?;
    if issuer.tbs_certificate.subject != certificate.tbs_certificate.issuer {
        return None;
    }
    let key = issuer
        .tbs_certificate
        .subject_public_key_info
        .to_der()
        .ok()?;
    let mut before = certificate.tbs_certificate.clone();
    before
        .extensions
        .as_mut()?
        .retain(|extension| extension.extn_id != TIMESTAMPS);
    let before = before.to_der().ok()?;
    let mut bytes = Sha256::digest(key).to_vec();
    bytes.extend_from_slice(u32::try_from(before.len()).ok()?.to_be_bytes().get(1..)?);
    bytes.extend_from_slice(&before);
    Some(bytes)
}

/// A signed certificate timestamp (RFC 6962, 3.2).
struct Timestamp<'a> {
    log: &'a [u8],
    /// Milliseconds since 1970.
    time: u64,
    extensions: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Timestamp<'a> {
    fn read(mut bytes: Bytes<'a>) -> Option<Self> {
        let version = bytes.take(1)?;
        let log = bytes.take(32)?;
        let time = u64::from_be_bytes(*bytes.take(8)?.first_chunk()?);
        let extensions = bytes.sized(2)?.rest;
        let algorithm = bytes.take(2)?;
        let signature = bytes.sized(2)?.rest;
        (version == [0] && algorithm == ECDSA_SHA256 && bytes.rest.is_empty()).then_some(Self {
            log,
            time,
            extensions,
            signature,
        })
    }

    fn is_valid(&self, root: &TrustedRoot, precertificate: &[u8]) -> bool {
        // Version 1, a timestamp of a certificate, and below, of one that was about to be issued.
        let mut signed = vec![0, 0];
        signed.extend_from_slice(&self.time.to_be_bytes());
        signed.extend_from_slice(&[0, 1]);
        signed.extend_from_slice(precertificate);
        let Ok(length) = u16::try_from(self.extensions.len()) else {
            return false;
        };
        signed.extend_from_slice(&length.to_be_bytes());
        signed.extend_from_slice(self.extensions);
        root.certificate_logs
            .iter()
            .filter(|log| log.id == self.log && log.times.contains(&(self.time / 1000)))
            .filter_map(|log| log.key.as_ref())
            .any(|key| key.verify(&signed, self.signature).is_ok())
    }
}

/// Bytes that are taken from their front.
struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// What follows a length of `width` bytes.
    fn sized(&mut self, width: usize) -> Option<Self> {
        let length = self.take(width)?;
        let length = length
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        Some(Self {
            rest: self.take(length)?,
        })
    }
}

fn extension(certificate: &Certificate, id: ObjectIdentifier) -> Option<&[u8]> {
    let extensions = certificate.tbs_certificate.extensions.as_ref()?;
    let found = extensions
        .iter()
        .find(|extension| extension.extn_id == id)?;
    Some(found.extn_value.as_bytes())
}

fn parse(certificate: &[u8]) -> Result<Certificate, SigstoreError> {
    Certificate::from_der(certificate).map_err(|_| form())
}

fn form() -> SigstoreError {
    CertificateError::Form("signer's certificate").into()
}
