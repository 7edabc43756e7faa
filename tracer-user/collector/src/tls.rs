//! TLS 1.3 and nothing older, at both ports. Who is let in is asked anew in each handshake;
//! nothing is resumed, so that nobody comes in on what was decided before.

use std::{
    fmt::{self, Display, Formatter},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tracer_wire::enrolment::ALPN;

use crate::{
    admission::{Admission, Holder, Verdict},
    pki::Authority,
};

/// The collector's certificate, which is exchanged while it serves.
#[derive(Debug)]
pub(crate) struct Certificates {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Serves this certificate, with the authority's behind it.
    ///
    /// # Errors
    /// If the key is none that can sign.
    pub(crate) fn new(
        authority: &Authority,
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let current = certified(authority, certificate, key)?;
        Ok(Self {
            current: RwLock::new(current),
        })
    }

    /// Serves another one from now on.
    ///
    /// # Errors
    /// If the key is none that can sign. Then the one before is served on.
    pub(crate) fn exchange(
        &self,
        authority: &Authority,
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<(), Error> {
        let next = certified(authority, certificate, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

fn certified(
    authority: &Authority,
    certificate: CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, Error> {
    // An agent that enrols knows the authority by its hash alone: it needs the certificate.
    let shown = authority.shown().cloned();
    let chain = [certificate].into_iter().chain(shown).collect();
    let key = aws_lc_rs::sign::any_supported_type(key)?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// Which of the two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// For agents, who must show a certificate.
    Agents,
    /// For everybody else, and for agents that enrol and renew, who may, as may readers.
    Https,
}

impl Display for Port {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Agents => "of agents",
            Self::Https => "of HTTPS",
        })
    }
}

/// The configuration of a port.
///
/// # Errors
/// If the authority's certificate is none.
pub(crate) fn server_config(
    port: Port,
    authority: &Authority,
    certificates: Arc<Certificates>,
    admission: Arc<Admission>,
) -> Result<Arc<ServerConfig>, anyhow::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for trusted in authority.trusted() {
        roots.add(trusted.clone())?;
    }
    let inner = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let verifier = Verifier {
        inner: inner.build()?,
        admission,
        port,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(certificates);
    config.alpn_protocols = match port {
        Port::Agents => vec![ALPN.to_vec()],
        Port::Https => vec![b"http/1.1".to_vec()],
    };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Takes certificates that the authority signed for agents that are known and not revoked, and at the port of
/// HTTPS for readers that are not revoked.
#[derive(Debug)]
struct Verifier {
    inner: Arc<dyn ClientCertVerifier>,
    admission: Arc<Admission>,
    port: Port,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.port == Port::Agents
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now)?;
        let is_reader = |holder| matches!(holder, Holder::Reader(_));
        match self.admission.of_certificate(end_entity) {
            Some((holder, _)) if is_reader(holder) && self.port == Port::Agents => Err(
                Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure),
            ),
            Some((_, Verdict::Admitted)) => Ok(verified),
            Some((_, Verdict::Revoked | Verdict::Unknown)) => {
                Err(Error::InvalidCertificate(CertificateError::Revoked))
            }
            None => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
