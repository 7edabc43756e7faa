//! Certificate chains (RFC 5280), verified by rustls' `webpki`, and what Model Signing asks of the
//! signer's certificate beyond that.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, anchor_from_trusted_cert};
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _},
    ext::pkix::{ExtendedKeyUsage, KeyUsage},
};

use super::key::{KeyError, PrivateKey, PublicKey, describe};
use crate::digest::hex;

/// `id-kp-codeSigning` (RFC 5280), as text and as the bytes of its DER.
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const CODE_SIGNING_DER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
/// Certificates of one file, at most.
const MAX_CERTIFICATES: usize = 1000;

/// Why a certificate is not believed.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("the {0} cannot be read as an X.509 certificate")]
    Form(&'static str),
    /// A file without one.
    #[error("there is no certificate (BEGIN CERTIFICATE) in it")]
    None,
    /// Damaged PEM.
    #[error(transparent)]
    Pem(KeyError),
    /// None of the given certificates is a root.
    #[error("none of the trusted certificates is self-signed: give the root's as well")]
    NoRoot,
    /// It was valid at another time.
    #[error("the {whose} certificate is valid from {from} to {to} only; the time is {now}")]
    Validity {
        /// Signer or root.
        whose: &'static str,
        /// First moment.
        from: String,
        /// Last moment.
        to: String,
        /// The time of verification.
        now: String,
    },
    /// Nothing that is trusted issued it.
    #[error("the signer's certificate does not lead to a trusted one: {0}")]
    NotTrusted(webpki::Error),
    /// It was issued for another purpose.
    #[error(
        "the signer's certificate is not for signing: it has neither the key usage digitalSignature nor the extended key usage codeSigning"
    )]
    NotForSigning,
    /// Its key is of another kind.
    #[error("the signer's certificate: {0}")]
    Key(KeyError),
    /// Certificate and private key are not a pair.
    #[error("the certificate is for another key than the private one")]
    OtherKey,
}

/// Certificates that are trusted: roots, and what may stand between a root and a signer.
#[derive(Debug)]
pub struct TrustAnchors {
    roots: Vec<CertificateDer<'static>>,
    between: Vec<CertificateDer<'static>>,
}

/// A signer's certificate that was verified.
#[derive(Debug)]
pub struct Leaf {
    key: PublicKey,
    subject: String,
    fingerprint: String,
}

impl TrustAnchors {
    /// Takes all certificates of some PEM texts: self-signed ones are trusted, others only help to
    /// get to them.
    ///
    /// # Errors
    /// If a text has none, or none is self-signed.
    pub fn from_pems<'a>(
        texts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, CertificateError> {
        let texts = texts.into_iter().map(certificates);
        Self::new(texts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten())
    }

    /// Takes certificates as they are encoded; otherwise as [`TrustAnchors::from_pems`].
    ///
    /// # Errors
    /// If one is none, or none is self-signed.
    pub(crate) fn from_ders(
        ders: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, CertificateError> {
        Self::new(ders.into_iter().map(CertificateDer::from))
    }

    fn new(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, CertificateError> {
        let (mut roots, mut between) = (Vec::new(), Vec::new());
        for certificate in certificates {
            let parsed = parse(&certificate, "trusted certificate")?;
            if is_self_issued(&parsed) {
                roots.push(certificate);
            } else {
                between.push(certificate);
            }
        }
        if roots.is_empty() {
            return Err(CertificateError::NoRoot);
        }
        Ok(Self { roots, between })
    }

    /// All of them, as they are encoded.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.between.iter().chain(&self.roots).map(AsRef::as_ref)
    }

    /// Verifies a signer's chain, the signer's own certificate first, at a point in time.
    ///
    /// # Errors
    /// If it does not lead to a trusted root, is not valid then, or not for signing.
    pub(crate) fn verify(&self, chain: &[Vec<u8>], at: UnixTime) -> Result<Leaf, CertificateError> {
        let Some((leaf, rest)) = chain.split_first() else {
            return Err(CertificateError::Form("signer's certificate"));
        };
        let parsed = parse(leaf, "signer's certificate")?;
        check_validity("signer's", &parsed, at)?;
        // A self-signed signer is trusted by being given itself.
        if !self
            .roots
            .iter()
            .any(|root| root.as_ref() == leaf.as_slice())
        {
            self.check_chain(leaf, rest, at)?;
        }
        check_purpose(&parsed)?;
        let key = parsed.tbs_certificate.subject_public_key_info.to_der();
        let key = key.map_err(|_| CertificateError::Form("signer's key"))?;
        Ok(Leaf {
            key: PublicKey::from_der(&key).map_err(CertificateError::Key)?,
            subject: parsed.tbs_certificate.subject.to_string(),
            fingerprint: hex(&Sha256::digest(leaf)),
        })
    }

    fn check_chain(
        &self,
        leaf: &[u8],
        rest: &[Vec<u8>],
        at: UnixTime,
    ) -> Result<(), CertificateError> {
        let anchors = self.anchors(at)?;
        let between: Vec<CertificateDer<'_>> = rest
            .iter()
            .map(|certificate| CertificateDer::from(certificate.as_slice()))
            .chain(
                self.between
                    .iter()
                    .map(|known| CertificateDer::from(known.as_ref())),
            )
            .collect();
        let leaf = CertificateDer::from(leaf);
        let leaf = EndEntityCert::try_from(&leaf).map_err(CertificateError::NotTrusted)?;
        let usage = webpki::KeyUsage::required_if_present(CODE_SIGNING_DER);
        let verified = leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            at,
            usage,
            None,
            None,
        );
        verified.map(drop).map_err(CertificateError::NotTrusted)
    }

    /// The roots that are valid at the time; an anchor's own time is not `webpki`'s concern.
    fn anchors(&self, at: UnixTime) -> Result<Vec<TrustAnchor<'_>>, CertificateError> {
        let mut refused = None;
        let mut anchors = Vec::new();
        for root in &self.roots {
            let parsed = parse(root, "trusted certificate")?;
            match check_validity("trusted", &parsed, at) {
                Ok(()) => {
                    let anchor = anchor_from_trusted_cert(root);
                    anchors.push(anchor.map_err(CertificateError::NotTrusted)?);
                }
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if anchors.is_empty() => Err(error),
            _ => Ok(anchors),
        }
    }
}

impl Leaf {
    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whom the certificate names.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// SHA-256 of the certificate, in hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// The certificate to sign with, and those between it and its root.
#[derive(Debug)]
pub struct SigningCertificate {
    leaf: CertificateDer<'static>,
    between: Vec<CertificateDer<'static>>,
}

impl SigningCertificate {
    /// Takes the signer's certificate from one PEM text and its issuers from others. A root is left
    /// out of bundles: whoever verifies has it, or must not believe it.
    ///
    /// # Errors
    /// If a text has none, or the certificate is not for `key` or not for signing.
    pub fn from_pems<'a>(
        key: &PrivateKey,
        certificate: &[u8],
        chain: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, CertificateError> {
        let mut own = certificates(certificate)?;
        let leaf = own.remove(0);
        let parsed = parse(&leaf, "certificate")?;
        check_purpose(&parsed)?;
        let der = parsed.tbs_certificate.subject_public_key_info.to_der();
        let der = der.map_err(|_| CertificateError::Form("certificate's key"))?;
        let public = PublicKey::from_der(&der).map_err(CertificateError::Key)?;
        if public != *key.public() {
            return Err(CertificateError::OtherKey);
        }
        let mut between = Vec::new();
        let given = chain
            .into_iter()
            .map(certificates)
            .collect::<Result<Vec<_>, _>>()?;
        for certificate in own.into_iter().chain(given.into_iter().flatten()) {
            let parsed = parse(&certificate, "certificate of the chain")?;
            if !is_self_issued(&parsed) && certificate != leaf && !between.contains(&certificate) {
                between.push(certificate);
            }
        }
        Ok(Self { leaf, between })
    }

    /// The certificates of the bundle, the signer's first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.leaf)
            .chain(&self.between)
            .map(CertificateDer::as_ref)
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found = CertificateDer::pem_slice_iter(text)
        .take(MAX_CERTIFICATES)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::Pem(describe(error, "a certificate")))?;
    if found.is_empty() {
        return Err(CertificateError::None);
    }
    Ok(found)
}

fn parse(der: &[u8], what: &'static str) -> Result<Certificate, CertificateError> {
    Certificate::from_der(der).map_err(|_| CertificateError::Form(what))
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.tbs_certificate.issuer == certificate.tbs_certificate.subject
}

fn check_validity(
    whose: &'static str,
    certificate: &Certificate,
    at: UnixTime,
) -> Result<(), CertificateError> {
    let validity = &certificate.tbs_certificate.validity;
    let now = Duration::from_secs(at.as_secs());
    let (from, to) = (validity.not_before, validity.not_after);
    if (from.to_unix_duration()..=to.to_unix_duration()).contains(&now) {
        return Ok(());
    }
    let now = x509_cert::der::DateTime::from_unix_duration(now)
        .map_or_else(|_| format!("{} s", at.as_secs()), |now| now.to_string());
    Err(CertificateError::Validity {
        whose,
        from: from.to_string(),
        to: to.to_string(),
        now,
    })
}

fn check_purpose(certificate: &Certificate) -> Result<(), CertificateError> {
    let form = |_| CertificateError::Form("signer's certificate");
    let tbs = &certificate.tbs_certificate;
    let signs = tbs
        .get::<KeyUsage>()
        .map_err(form)?
        .is_some_and(|(_, usage)| usage.digital_signature());
    let signs_code = tbs
        .get::<ExtendedKeyUsage>()
        .map_err(form)?
        .is_some_and(|(_, usage)| usage.0.iter().any(|oid| oid.to_string() == CODE_SIGNING));
    if signs || signs_code {
        Ok(())
    } else {
        Err(CertificateError::NotForSigning)
    }
}
