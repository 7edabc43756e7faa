//! A collector that listens, and clients of it.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, body::Bytes, body::Incoming};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracer_wire::{
    AgentId, Frame, FrameReader, PROTOCOL, Record, SigningKey,
    enrolment::{ENROL_PATH, Enrolled, Proof, Purpose, TokenSecret},
};

use crate::{
    Port,
    config::Configuration,
    ingest::now,
    init::{self, CONFIGURATION, Plan},
    pki::Authority,
    server::Server,
    store::Registry,
};

pub(super) const HOUR: Duration = Duration::from_hours(1);

/// A collector in a folder of its own, at ports of its own.
pub(super) struct Site {
    pub(super) folder: tempfile::TempDir,
    pub(super) configuration: Configuration,
    pub(super) agents: SocketAddr,
    pub(super) https: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    pub(super) reload: tokio::sync::mpsc::Sender<()>,
    serving: JoinHandle<()>,
}

/// A certificate and its key.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Arc<PrivateKeyDer<'static>>,
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut Configuration)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan {
            agents: "127.0.0.1:0".parse().unwrap(),
            https: "127.0.0.1:0".parse().unwrap(),
            ..Plan::on_loopback(folder.path().join("c"), "test.internal".parse().unwrap())
        };
        init::init(&plan, now()).unwrap();
        Self::start_in(folder, change).await
    }

    /// One that was stopped, once more.
    pub(super) async fn start_in(
        folder: tempfile::TempDir,
        change: impl FnOnce(&mut Configuration),
    ) -> Self {
        let path = folder.path().join("c").join(CONFIGURATION);
        let mut configuration = Configuration::read(&path).unwrap();
        change(&mut configuration);
        let server = Server::bind(configuration.clone(), Some(path))
            .await
            .unwrap();
        let agents = server.address(Port::Agents).unwrap();
        let https = server.address(Port::Https).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (reload, asked) = tokio::sync::mpsc::channel(1);
        let asked = Arc::new(tokio::sync::Mutex::new(asked));
        let serving = tokio::spawn(async move {
            let reload = move || {
                let asked = Arc::clone(&asked);
                let asked = async move {
                    if asked.lock().await.recv().await.is_none() {
                        std::future::pending::<()>().await;
                    }
                };
                Box::pin(asked) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
            };
            let stop = async {
                let _ = stopped.await;
            };
            server.serve(stop, reload).await.unwrap();
        });
        Self {
            folder,
            configuration,
            agents,
            https,
            stop: Some(stop),
            reload,
            serving,
        }
    }

    /// Ends it in order.
    pub(super) async fn stop(mut self) -> tempfile::TempDir {
        self.stop.take().unwrap().send(()).unwrap();
        self.serving.await.unwrap();
        self.folder
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.path().join("c")
    }

    pub(super) fn authority(&self) -> Authority {
        authority(&self.home())
    }

    pub(super) fn registry(&self) -> Registry {
        Registry::open(&self.configuration.store).unwrap()
    }

    pub(super) fn reader(&self) -> TokenSecret {
        let token = init::reader_token(&self.configuration, "ada", HOUR, now());
        token.unwrap().0.secret
    }

    /// An agent that has enrolled.
    pub(super) async fn enrol(&self, key: &SigningKey, node: &str) -> Identity {
        let token = init::enrolment_token(&self.configuration, "", HOUR, now()).unwrap();
        let (tls_key, request) = enrolment(&token.secret, key, node);
        let (status, body) = self.post(None, ENROL_PATH, &request).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        identity(&body, tls_key)
    }

    /// A connection to a port, with or without a certificate. The handshake may still fail when
    /// something is read.
    pub(super) async fn connect(
        &self,
        port: Port,
        identity: Option<&Identity>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let authority = self.authority();
        self.connect_trusting(authority.certificate(), port, identity)
            .await
    }

    /// The same, by somebody who trusts this certificate alone.
    pub(super) async fn connect_trusting(
        &self,
        root: &CertificateDer<'static>,
        port: Port,
        identity: Option<&Identity>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                // Without asking whether they belong together: a thief does not care either.
                let key = aws_lc_rs::sign::any_supported_type(&identity.key).unwrap();
                let certified = CertifiedKey::new(identity.chain.clone(), key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        let (address, protocol) = match port {
            Port::Agents => (self.agents, tracer_wire::enrolment::ALPN),
            Port::Https => (self.https, b"http/1.1".as_slice()),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// A request; the answer may go on.
    pub(super) async fn request(
        &self,
        identity: Option<&Identity>,
        token: Option<&TokenSecret>,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Response<Incoming> {
        let tls = self.connect(Port::Https, identity).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        sender.send_request(request).await.unwrap()
    }

    pub(super) async fn get(
        &self,
        token: Option<&TokenSecret>,
        path: &str,
    ) -> (StatusCode, String) {
        let response = self
            .request(None, token, Method::GET, path, Vec::new())
            .await;
        whole(response).await
    }

    pub(super) async fn post(
        &self,
        identity: Option<&Identity>,
        path: &str,
        body: &Value,
    ) -> (StatusCode, String) {
        let body = body.to_string().into_bytes();
        let response = self.request(identity, None, Method::POST, path, body).await;
        whole(response).await
    }

    /// An agent's connection after its hello.
    pub(super) async fn agent(&self, identity: &Identity) -> io::Result<Line> {
        let tls = self.connect(Port::Agents, Some(identity)).await?;
        let mut line = Line {
            tls,
            reader: FrameReader::new(),
        };
        line.say(&Frame::Hello { version: PROTOCOL }).await?;
        Ok(line)
    }
}

pub(super) fn authority(home: &Path) -> Authority {
    Authority::load(home, "test.internal".parse().unwrap()).unwrap()
}

pub(super) async fn whole(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A TLS key, and a request for a certificate for it.
pub(super) fn csr() -> (KeyPair, String, Vec<u8>) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    (key, request.pem().unwrap(), request.der().to_vec())
}

/// What an agent posts to enrol.
pub(super) fn enrolment(secret: &TokenSecret, key: &SigningKey, node: &str) -> (KeyPair, Value) {
    let (tls_key, pem, der) = csr();
    let request = json!({
        "token": secret.reveal(),
        "agent": key.agent(),
        "csr": pem,
        "proof": Proof::sign(Purpose::Enrolment, &der, key),
        "name": node,
    });
    (tls_key, request)
}

/// What an agent makes of the answer.
pub(super) fn identity(body: &str, key: KeyPair) -> Identity {
    let enrolled: Enrolled = serde_json::from_str(body).unwrap();
    let chain = CertificateDer::pem_slice_iter(enrolled.certificate.as_bytes());
    Identity {
        chain: chain.collect::<Result<_, _>>().unwrap(),
        key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
    }
}

/// A certificate that somebody issued for an agent, however that is.
pub(super) fn issued_by(authority: &Authority, agent: AgentId, lasts: Duration) -> Identity {
    let (key, pem, _) = csr();
    let request = crate::pki::SigningRequest::parse(&pem).unwrap();
    let past = tracer_event::WallNanos(now().0 - 7_200_000_000_000);
    let issued = authority.issue_agent(agent, &request, lasts, past).unwrap();
    Identity {
        chain: vec![issued.der],
        key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
    }
}

/// An agent's side of a connection.
pub(super) struct Line {
    tls: TlsStream<TcpStream>,
    reader: FrameReader,
}

impl Line {
    pub(super) async fn say(&mut self, frame: &Frame) -> io::Result<()> {
        self.tls.write_all(&frame.to_bytes()).await?;
        self.tls.flush().await
    }

    pub(super) async fn send(&mut self, record: &Record) -> io::Result<()> {
        self.say(&Frame::Record(Box::new(record.clone()))).await
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.write_all(bytes).await?;
        self.tls.flush().await
    }

    /// The next frame; none if the connection has ended.
    pub(super) async fn hear(&mut self) -> Option<Frame> {
        timeout(Duration::from_secs(20), self.hear_next())
            .await
            .expect("it takes too long")
    }

    async fn hear_next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                return Some(frame);
            }
            let mut chunk = [0; 4096];
            match self.tls.read(&mut chunk).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.reader.push(&chunk[..count]),
            }
        }
    }

    /// Sends all of a session, as fast as credits come, and waits until it is stored.
    pub(super) async fn deliver(&mut self, records: &[Record]) {
        let (mut sent, mut credits) = (0, 0);
        loop {
            match self.hear().await.expect("the collector goes on") {
                Frame::Credit { records } => credits += records,
                Frame::Stored { through, .. } if through.0 as usize == records.len() - 1 => return,
                Frame::Stored { .. } => {}
                other => panic!("{other:?}"),
            }
            while credits > 0 && sent < records.len() {
                self.send(&records[sent]).await.unwrap();
                sent += 1;
                credits -= 1;
            }
        }
    }
}
