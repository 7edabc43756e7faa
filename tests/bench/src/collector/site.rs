//! A collector that listens, and agents of it, all in this process.

use std::{net::SocketAddr, sync::Arc, sync::mpsc, thread, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracer_collector::{
    Port,
    config::Configuration,
    init::{self, CONFIGURATION, Plan},
    pki::{Authority, SigningRequest},
    server::Server,
    store::Registry,
};
use tracer_wire::{
    Frame, FrameReader, PROTOCOL, RecipientSecret, Sequence, SigningKey, enrolment::ALPN,
};

use super::now;

const HOUR: Duration = Duration::from_hours(1);

/// A collector that is set up and does not listen yet.
pub(super) struct Prepared {
    folder: tempfile::TempDir,
    plan: Plan,
    /// May be changed until it listens.
    pub(super) configuration: Configuration,
}

impl Prepared {
    /// Sets one up in a folder that is removed with it.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let plan = Plan {
            agents: "127.0.0.1:0".parse()?,
            https: "127.0.0.1:0".parse()?,
            ..Plan::on_loopback(folder.path().join("collector"), "bench.internal".parse()?)
        };
        let configuration = init::init(&plan, now())?;
        Ok(Self {
            folder,
            plan,
            configuration,
        })
    }

    /// What telemetry is sealed for.
    ///
    /// # Errors
    /// If the key cannot be read.
    pub(super) fn telemetry(&self) -> Result<RecipientSecret> {
        let text = std::fs::read_to_string(self.plan.folder.join("telemetry.key"))?;
        Ok(RecipientSecret::parse(&text)?)
    }

    /// Takes an agent in, as enrolment does once its token was checked.
    ///
    /// # Errors
    /// If no certificate can be made.
    pub(super) fn enrol(&self, key: &SigningKey, name: &str) -> Result<Arc<ClientConfig>> {
        let authority = Authority::load(&self.plan.folder, self.plan.trust_domain.clone())?;
        let tls_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let request = CertificateParams::default().serialize_request(&tls_key)?;
        let request = SigningRequest::parse(&request.pem()?)?;
        let issued = authority.issue_agent(key.agent(), &request, HOUR, now())?;
        let token = init::enrolment_token(&self.configuration, name, HOUR, now())?;
        Registry::open(&self.configuration.store)?
            .enrol(&token.secret, key.agent(), name, issued.until, now())
            .map_err(|denied| anyhow!("enrolling {name}: {denied}"))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone())?;
        let private =
            PrivateKeyDer::try_from(tls_key.serialize_der()).map_err(|why| anyhow!(why))?;
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&TLS13])?
                .with_root_certificates(roots)
                .with_client_auth_cert(vec![issued.der], private)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }

    /// Listens, on threads of its own.
    ///
    /// # Errors
    /// If it does not start.
    pub(super) fn listen(self) -> Result<Site> {
        let Self {
            folder,
            plan,
            configuration,
        } = self;
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let path = plan.folder.join(CONFIGURATION);
        let mut known = configuration.clone();
        let serving = thread::spawn(move || serve(configuration, path, &tell, stopped));
        let Ok([agents, https]) = told.recv() else {
            let ended = serving.join().map_err(|_| anyhow!("it has panicked"))?;
            return Err(ended.err().unwrap_or_else(|| anyhow!("it ended")))
                .context("the collector did not start");
        };
        known.https = format!("localhost:{}", https.port());
        Ok(Site {
            configuration: known,
            agents,
            stop: Some(stop),
            serving: Some(serving),
            _folder: folder,
        })
    }
}

fn serve(
    configuration: Configuration,
    path: std::path::PathBuf,
    tell: &mpsc::Sender<[SocketAddr; 2]>,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = Server::bind(configuration, Some(path)).await?;
        tell.send([server.address(Port::Agents)?, server.address(Port::Https)?])?;
        let stop = async {
            let _ = stopped.await;
        };
        let never = || {
            Box::pin(std::future::pending()) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        };
        server.serve(stop, never).await
    })
}

/// A collector that listens.
pub(super) struct Site {
    configuration: Configuration,
    agents: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<thread::JoinHandle<Result<()>>>,
    _folder: tempfile::TempDir,
}

impl Site {
    /// What `tracer query` finds in its environment.
    ///
    /// # Errors
    /// If no token can be made.
    pub(super) fn reader_token(&self) -> Result<String> {
        Ok(init::reader_token(&self.configuration, "bench", HOUR, now())?.to_string())
    }

    /// An agent's connection, greeted.
    ///
    /// # Errors
    /// If the collector does not let it in.
    pub(super) async fn connect(&self, config: Arc<ClientConfig>) -> Result<Line> {
        let stream = TcpStream::connect(self.agents).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let tls = TlsConnector::from(config).connect(name, stream).await?;
        let mut line = Line {
            tls,
            reader: FrameReader::new(),
            credits: 0,
        };
        let hello = Frame::Hello { version: PROTOCOL }.to_bytes();
        line.tls.write_all(&hello).await?;
        line.tls.flush().await?;
        while line.credits == 0 {
            line.hear().await?;
        }
        Ok(line)
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// If it has failed meanwhile.
    pub(super) fn stop(mut self) -> Result<()> {
        drop(self.stop.take());
        let serving = self.serving.take().context("it serves until here")?;
        serving
            .join()
            .map_err(|_| anyhow!("the collector has panicked"))?
    }
}

/// An agent's side of a connection.
pub(super) struct Line {
    tls: TlsStream<TcpStream>,
    reader: FrameReader,
    /// Records that may be sent.
    credits: u32,
}

impl Line {
    /// Sends records of one session as credits come, until the last of them, `through`, is stored.
    ///
    /// # Errors
    /// If the collector goes away or refuses one.
    pub(super) async fn deliver(&mut self, frames: &[Vec<u8>], through: Sequence) -> Result<()> {
        let mut left = frames;
        loop {
            let count = left.len().min(self.credits as usize);
            let (now, later) = left.split_at(count);
            if !now.is_empty() {
                self.tls.write_all(&now.concat()).await?;
                self.tls.flush().await?;
                self.credits -= u32::try_from(count)?;
                left = later;
            }
            if self.hear().await? == Some(through) {
                ensure!(left.is_empty(), "what was not sent is stored");
                return Ok(());
            }
        }
    }

    /// Reads some frames; the last sequence that is said to be stored, if one is.
    async fn hear(&mut self) -> Result<Option<Sequence>> {
        let mut chunk = [0; 4096];
        let count = self.tls.read(&mut chunk).await?;
        ensure!(count > 0, "the collector went away");
        self.reader.push(&chunk[..count]);
        let mut stored = None;
        while let Some(frame) = self.reader.next_frame()? {
            match frame {
                Frame::Credit { records } => self.credits += records,
                Frame::Stored { through, .. } => stored = Some(through),
                other => bail!("the collector says {other:?}"),
            }
        }
        Ok(stored)
    }
}
