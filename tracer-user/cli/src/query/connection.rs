//! One request to a collector, which is known by the authority that the token names.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tracer_wire::enrolment::{Problem, ReaderToken};

use crate::{text::printable, trouble::Trouble};

/// How long the collector may take to be there.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer that is taken whole, at most.
const WHOLE: usize = 64 << 20;

/// A connection that one request goes over.
pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    token: ReaderToken,
}

/// An answer, as it arrives.
pub(super) struct Answer(Incoming);

/// Runs what waits for the network, on this thread.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

impl Connection {
    /// Connects to the collector of the token.
    pub(super) async fn open(token: &ReaderToken) -> Result<Self> {
        let address = &*token.0.collector;
        timeout(PATIENCE, Self::connect(token))
            .await
            .unwrap_or_else(|_| bail!("it does not answer"))
            .map_err(|error| {
                let what = format!("cannot reach the collector at {address}: {error:#}");
                let remedy = "check that it runs, that this host reaches it, and that the token \
                              is of this collector (--collector names another address)";
                Trouble::new(what, remedy).into()
            })
    }

    async fn connect(token: &ReaderToken) -> Result<Self> {
        let address = &*token.0.collector;
        let (host, _) = address
            .rsplit_once(':')
            .context("the address is not host:port")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).context("the host has no name")?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Pinned {
            authority: token.0.authority,
            provider: Arc::clone(&provider),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(address).await?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let (sender, connection) = http1::handshake(TokioIo::new(tls.await?)).await?;
        // It ends with the request that goes over it; what breaks it breaks the answer too.
        tokio::spawn(connection);
        Ok(Self {
            sender,
            token: token.clone(),
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// If the collector refuses; the message is its own.
    pub(super) async fn get(mut self, path: &str) -> Result<Answer> {
        let secret = self.token.0.secret.reveal();
        let request = Request::get(path)
            .header(header::HOST, &*self.token.0.collector)
            .header(header::AUTHORIZATION, format!("Bearer {secret}"))
            .body(Empty::new())
            .context("make the request")?;
        let response = self.sender.send_request(request).await;
        let response = response.context("the collector ended the connection")?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(Answer(response.into_body()));
        }
        let body = Answer(response.into_body())
            .whole()
            .await
            .unwrap_or_default();
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        let why = problem.map_or_else(|| status.to_string(), |problem| problem.error);
        let what = format!("the collector refuses: {}", printable(&why));
        if status == StatusCode::UNAUTHORIZED {
            let remedy = "make another token with `tracer-collector token new --reader NAME`";
            return Err(Trouble::new(what, remedy).into());
        }
        bail!("{what}");
    }
}

impl Answer {
    /// The next bytes; none at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.0.frame().await {
            let frame = frame.context("the collector's answer was cut off")?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// All of it.
    pub(super) async fn whole(self) -> Result<Bytes> {
        let body = Limited::new(self.0, WHOLE).collect().await;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => bail!("the collector's answer was cut off: {error}"),
        }
    }
}

/// Trusts the one authority with this hash, which the collector sends with its own certificate.
#[derive(Debug)]
struct Pinned {
    authority: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| *Sha256::digest(certificate) == self.authority)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General(String::from("TLS 1.2 is not spoken")))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
