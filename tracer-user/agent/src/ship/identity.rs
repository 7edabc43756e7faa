//! What ship keeps of its enrolment, and the TLS that follows from it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use tracer_wire::{
    AgentId,
    enrolment::{ALPN, Enrolled},
};
use x509_cert::der::Decode as _;

use crate::capture::write_private;

/// The file of it all, written whole or not at all.
const FILE: &str = "identity.json";

/// Enrolment gave or kept something that is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    /// The file.
    #[error("{path}: {why}; remove it, and enrol again with a new token")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] crate::capture::KeyFileError),
    /// A certificate.
    #[error("the collector gave certificates that are of no use: {0}")]
    Certificate(String),
    /// TLS refuses keys or certificates.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// A key.
    #[error("making a key for TLS: {0}")]
    Key(rcgen::Error),
}

impl From<rustls::Error> for IdentityError {
    fn from(cause: rustls::Error) -> Self {
        Self::Tls(cause)
    }
}

impl From<rcgen::Error> for IdentityError {
    fn from(cause: rcgen::Error) -> Self {
        Self::Key(cause)
    }
}

/// Who this agent is for its collector.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Whose certificate it is.
    pub(super) agent: AgentId,
    /// The collector's HTTPS address.
    pub(super) collector: String,
    /// The private key of TLS, PEM.
    key: String,
    /// What the collector answered.
    pub(super) enrolled: Enrolled,
}

/// When a certificate is valid, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Validity {
    /// When the next one is asked for: after two thirds of its time.
    pub(super) const fn renewal(self) -> u64 {
        self.from + (self.until.saturating_sub(self.from)) / 3 * 2
    }
}

impl Identity {
    /// What an earlier process kept.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, IdentityError> {
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let why = error.to_string();
                return Err(IdentityError::File { path, why });
            }
        };
        let identity: Self = serde_json::from_slice(&text).map_err(|error| {
            let why = format!("line {}: it is not what was written", error.line());
            IdentityError::File { path, why }
        })?;
        Ok(Some(identity))
    }

    pub(super) fn new(
        agent: AgentId,
        collector: String,
        key: &KeyPair,
        enrolled: Enrolled,
    ) -> Result<Self, IdentityError> {
        let identity = Self {
            agent,
            collector,
            key: key.serialize_pem(),
            enrolled,
        };
        // Nothing is kept that could not be used.
        identity.config(&[])?;
        identity.validity()?;
        Ok(identity)
    }

    /// Keeps it.
    pub(super) fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        let text = serde_json::to_vec(self).expect("it is text and nothing else");
        Ok(write_private(&folder.join(FILE), &text)?)
    }

    /// When its certificate is valid.
    pub(super) fn validity(&self) -> Result<Validity, IdentityError> {
        let chain = certificates(&self.enrolled.certificate)?;
        let refuse = |why: &str| IdentityError::Certificate(why.to_owned());
        let own = chain.first().ok_or_else(|| refuse("there is none"))?;
        let parsed = x509_cert::Certificate::from_der(own)
            .map_err(|_| refuse("the agent's is not X.509"))?;
        let validity = parsed.tbs_certificate.validity;
        let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
        Ok(Validity {
            from: seconds(validity.not_before),
            until: seconds(validity.not_after),
        })
    }

    /// TLS as this agent, for the agents' port.
    pub(super) fn for_records(&self) -> Result<ClientConfig, IdentityError> {
        self.config(&[ALPN])
    }

    /// TLS as this agent, for HTTPS.
    pub(super) fn for_renewal(&self) -> Result<ClientConfig, IdentityError> {
        self.config(&[b"http/1.1"])
    }

    fn config(&self, protocols: &[&[u8]]) -> Result<ClientConfig, IdentityError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.enrolled.roots)? {
            roots.add(root)?;
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let chain = certificates(&self.enrolled.certificate)?;
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

/// A new key for TLS, and its certificate request in DER and PEM.
pub(super) fn request() -> Result<(KeyPair, Vec<u8>, String), IdentityError> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?;
    let pem = request.pem()?;
    Ok((key, request.der().to_vec(), pem))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| IdentityError::Certificate(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_time() {
        let validity = Validity {
            from: 1000,
            until: 1000 + 86_400,
        };
        assert_eq!(validity.renewal(), 1000 + 57_600);
    }

    #[test]
    fn a_file_that_was_damaged_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Identity::load(folder.path()).unwrap().is_none());
        std::fs::write(folder.path().join(FILE), "{\"agent\":").unwrap();
        let error = Identity::load(folder.path()).err().unwrap();
        assert!(
            error.to_string().contains("identity.json: line 1"),
            "{error}"
        );
    }
}
