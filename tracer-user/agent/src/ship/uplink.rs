//! The way to the collector: enrolment, renewal, and connections that are made again when they end.

use std::{
    os::fd::AsFd as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracer_wire::enrolment::{
    ENROL_PATH, Enrolled, EnrolmentRequest, EnrolmentToken, Purpose, RENEW_PATH, RenewalRequest,
};

use super::{
    Ended,
    http::{self, HttpError},
    identity::{self, Identity, IdentityError},
    keeper::{Keeper, OUTGOING, Order},
    link::CaptureLink,
    port,
};
use crate::pinned;

/// Seconds after which a renewal that failed is tried again.
const RENEW_AGAIN: u64 = 300;
/// How long a connection may take to be made, and a question to be answered.
const PATIENCE: Duration = Duration::from_secs(15);
/// After so long without an acknowledgement from its kernel, the collector counts as gone.
const SILENCE: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: the next try is made soon.
const GOOD: Duration = Duration::from_secs(30);
/// The shortest and the longest pause between two tries; in between it doubles.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Bytes of one piece that is read, and pieces that wait to be heard.
const PIECE: usize = 16 << 10;
const UNHEARD: usize = 8;

/// Why the collector is not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum UplinkError {
    /// There is no token, and no identity.
    #[error(
        "not enrolled: make a token with `tracer-collector token new`, then here: sudo tracer agent \
         enroll --token TOKEN (there is none in {0})"
    )]
    NotEnrolled(PathBuf),
    /// The token's file.
    #[error("the token in {path}: {why}")]
    Token {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Capture signs, and is not there.
    #[error("waiting for capture, which signs the request for a certificate")]
    NoCapture,
    /// What was asked was not answered.
    #[error("{doing} at {address}: {cause}")]
    Http {
        /// What was asked.
        doing: &'static str,
        /// Whom.
        address: String,
        /// What happened.
        cause: HttpError,
    },
    /// No connection.
    #[error("connecting to {address}: {why}{}", clock_hint(why))]
    Connect {
        /// Where.
        address: String,
        /// What happened.
        why: String,
    },
    /// The certificate is of no use any more.
    #[error(
        "the certificate of this agent ended {0} s ago by this host's clock: check the clock, or enrol \
         again with a new token"
    )]
    Expired(u64),
    /// The process must begin again to reach another port.
    #[error("ship starts again, to be confined to the port of {0}")]
    OtherPort(String),
    /// Identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What TLS says where one clock is wrong.
fn clock_hint(why: &str) -> &'static str {
    if why.contains("Expired") || why.contains("NotValidYet") || why.contains("expired") {
        "; check the clocks of this host and of the collector"
    } else {
        ""
    }
}

/// How the way to the collector is.
#[derive(Clone, Debug, Default)]
pub(super) struct UplinkFacts {
    pub(super) said: String,
    pub(super) is_connected: bool,
    pub(super) certificate_until: Option<u64>,
    pub(super) failures: u64,
}

/// Everything that the way needs.
pub(super) struct Uplink {
    pub(super) state: PathBuf,
    pub(super) token: PathBuf,
    pub(super) name: String,
    /// The ports that this process is confined to.
    pub(super) ports: Vec<u16>,
    pub(super) keeper: Keeper,
    pub(super) link: Arc<CaptureLink>,
    pub(super) facts: Arc<Mutex<UplinkFacts>>,
}

impl Uplink {
    /// Keeps the collector reached until `stop` says true, or the process must begin again.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) -> Ended {
        let mut pause = PAUSES.0;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.once() => ended,
                _ = stop.wait_for(|stop| *stop) => Ok(()),
            };
            self.keeper.order(Order::Disconnected);
            let is_waiting = matches!(ended, Err(UplinkError::NoCapture));
            self.note(|facts| {
                facts.is_connected = false;
                facts.failures += u64::from(!is_waiting);
            });
            match &ended {
                Ok(()) => self.say("the connection ended; another is made"),
                Err(error) => self.say(&error.to_string()),
            }
            if *stop.borrow() {
                return Ended::Asked;
            }
            if matches!(ended, Err(UplinkError::OtherPort(_))) {
                return Ended::Again;
            }
            if began.elapsed() >= GOOD || is_waiting {
                pause = PAUSES.0;
            }
            // Anywhere up to it, so that a thousand agents do not come back together.
            let part = f64::from(random_u32()) / f64::from(u32::MAX);
            tokio::select! {
                () = sleep(pause.mul_f64(0.5 + part / 2.0)) => {}
                _ = stop.wait_for(|stop| *stop) => return Ended::Asked,
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// One connection, to its end.
    async fn once(&self) -> Result<(), UplinkError> {
        let identity = self.identity().await?;
        let validity = identity.validity()?;
        self.note(|facts| facts.certificate_until = Some(validity.until));
        let address = &identity.enrolled.agents;
        let stream = self.connect(address, identity.for_records()?).await?;
        let protocol = stream.get_ref().1.alpn_protocol();
        if protocol != Some(tracer_wire::enrolment::ALPN) {
            return Err(UplinkError::Connect {
                address: address.clone(),
                why: "what answers there is no collector's port for agents".to_owned(),
            });
        }
        self.say(&format!("connected to {address}"));
        self.note(|facts| facts.is_connected = true);
        // A little earlier or later, so that not all agents renew together.
        let part = f64::from(random_u32()) / f64::from(u32::MAX);
        // One that could not be renewed is good still: the connection stays meanwhile.
        let until_renewal = match validity.renewal().saturating_sub(now()) {
            0 => RENEW_AGAIN,
            left => left,
        };
        let until_renewal = Duration::from_secs(until_renewal).mul_f64(0.95 + part / 10.0);
        tokio::select! {
            ended = self.converse(stream) => ended.map_err(|error| UplinkError::Connect {
                address: address.clone(),
                why: error.to_string(),
            }),
            () = sleep(until_renewal) => Ok(()),
        }
    }

    /// Moves bytes between the keeper and the collector.
    async fn converse(&self, stream: TlsStream<TcpStream>) -> std::io::Result<()> {
        let (mut input, mut output) = tokio::io::split(stream);
        let (outgoing, mut to_send) = mpsc::channel::<Vec<u8>>(OUTGOING);
        self.keeper.order(Order::Connected(outgoing));
        let reading = async {
            let unheard = Arc::new(Semaphore::new(UNHEARD));
            let mut piece = vec![0; PIECE];
            loop {
                let count = input.read(&mut piece).await?;
                if count == 0 {
                    return Ok(());
                }
                let Ok(permit) = Arc::clone(&unheard).acquire_owned().await else {
                    return Ok(());
                };
                let bytes = piece[..count].to_vec();
                self.keeper.order(Order::Received(bytes, permit));
            }
        };
        let writing = async {
            while let Some(bytes) = to_send.recv().await {
                self.keeper.order(Order::Room);
                output.write_all(&bytes).await?;
                if to_send.is_empty() {
                    output.flush().await?;
                }
            }
            // The keeper has given the conversation up, or all has ended: the collector is told.
            output.shutdown().await
        };
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
        }
    }

    /// A certificate that is valid for a while: what is kept, renewed where its time has come, or a
    /// first one.
    async fn identity(&self) -> Result<Identity, UplinkError> {
        let kept = Identity::load(&self.state)?;
        let agent = self.link.agent();
        let identity = match kept {
            Some(identity) if agent.is_none_or(|agent| agent == identity.agent) => identity,
            // Capture has another key than the certificate says.
            Some(_) | None => return self.enrol().await,
        };
        let validity = identity.validity()?;
        if now() < validity.renewal() {
            self.announce(&identity);
            return Ok(identity);
        }
        if now() >= validity.until {
            // A token that lies there was put there for this.
            return match self.enrol().await {
                Err(UplinkError::NotEnrolled(_)) => {
                    Err(UplinkError::Expired(now() - validity.until))
                }
                other => other,
            };
        }
        match self.renew(&identity).await {
            Ok(renewed) => Ok(renewed),
            // The present one will do for a while.
            Err(error) => {
                self.say(&format!(
                    "{error}; the present certificate serves until it ends"
                ));
                Ok(identity)
            }
        }
    }

    async fn enrol(&self) -> Result<Identity, UplinkError> {
        let token = self.token()?;
        let agent = self.link.agent().ok_or(UplinkError::NoCapture)?;
        let (key, der, csr) = identity::request()?;
        let proof = self.proof(Purpose::Enrolment, der).await?;
        let question = EnrolmentRequest {
            token: token.secret.clone(),
            agent,
            csr,
            proof,
            name: self.name.clone(),
        };
        let config = pinned::client_config(token.authority).map_err(IdentityError::from)?;
        let address = token.collector.to_string();
        let enrolled = self
            .ask("enrolling", &address, config, ENROL_PATH, &question)
            .await?;
        let identity = Identity::new(agent, address, &key, enrolled)?;
        identity.save(&self.state)?;
        log::info!(
            "enrolled as {agent} with the collector at {}",
            identity.collector
        );
        // It is of no use to anyone any more; where this user may not remove it, it stays.
        let _ = std::fs::remove_file(&self.token);
        self.announce(&identity);
        Ok(identity)
    }

    async fn renew(&self, identity: &Identity) -> Result<Identity, UplinkError> {
        let (key, der, csr) = identity::request()?;
        let proof = self.proof(Purpose::Renewal, der).await?;
        let address = &identity.collector;
        let question = RenewalRequest { csr, proof };
        let enrolled = self
            .ask(
                "renewing the certificate",
                address,
                identity.for_renewal()?,
                RENEW_PATH,
                &question,
            )
            .await?;
        let renewed = Identity::new(identity.agent, address.clone(), &key, enrolled)?;
        renewed.save(&self.state)?;
        log::info!("the certificate was renewed");
        self.announce(&renewed);
        Ok(renewed)
    }

    fn token(&self) -> Result<EnrolmentToken, UplinkError> {
        let path = &self.token;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(UplinkError::NotEnrolled(path.clone()));
            }
            Err(error) => {
                let (path, why) = (path.clone(), error.to_string());
                return Err(UplinkError::Token { path, why });
            }
        };
        let token: EnrolmentToken = text.parse().map_err(|error| UplinkError::Token {
            path: path.clone(),
            why: format!("it is no token ({error})"),
        })?;
        let expired = now().checked_sub(token.expires.0 / 1_000_000_000);
        if let Some(ago) = expired {
            let why = format!(
                "it ended {ago} s ago by this host's clock: check the clock, or make a new one with \
                 `tracer-collector token new`"
            );
            let path = path.clone();
            return Err(UplinkError::Token { path, why });
        }
        Ok(token)
    }

    async fn proof(
        &self,
        purpose: Purpose,
        request: Vec<u8>,
    ) -> Result<tracer_wire::enrolment::Proof, UplinkError> {
        let link = Arc::clone(&self.link);
        let asked = tokio::task::spawn_blocking(move || link.sign_request(purpose, request));
        asked.await.ok().flatten().ok_or(UplinkError::NoCapture)
    }

    async fn ask(
        &self,
        doing: &'static str,
        address: &str,
        config: ClientConfig,
        path: &str,
        question: &impl serde::Serialize,
    ) -> Result<Enrolled, UplinkError> {
        let stream = self.connect(address, config).await?;
        let failed = |cause| UplinkError::Http {
            doing,
            address: address.to_owned(),
            cause,
        };
        match timeout(PATIENCE, http::post(stream, address, path, question)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(failed(HttpError::Form("it did not answer in time"))),
        }
    }

    async fn connect(
        &self,
        address: &str,
        config: ClientConfig,
    ) -> Result<TlsStream<TcpStream>, UplinkError> {
        if port(address).is_some_and(|port| !self.ports.contains(&port)) {
            return Err(UplinkError::OtherPort(address.to_owned()));
        }
        connect(address, config).await
    }

    fn announce(&self, identity: &Identity) {
        let recipient = identity.enrolled.telemetry_recipient.clone();
        self.link.tell_recipient(recipient);
    }

    fn say(&self, what: &str) {
        self.note(|facts| {
            if facts.said != what {
                log::info!("{what}");
                what.clone_into(&mut facts.said);
            }
        });
    }

    fn note(&self, change: impl FnOnce(&mut UplinkFacts)) {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn connect(address: &str, config: ClientConfig) -> Result<TlsStream<TcpStream>, UplinkError> {
    let failed = |why: String| UplinkError::Connect {
        address: address.to_owned(),
        why,
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let name = ServerName::try_from(host)
        .map_err(|_| failed("it is neither a name nor an address".to_owned()))?;
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let socket = stream.as_fd();
        rustix::net::sockopt::set_socket_keepalive(socket, true)?;
        rustix::net::sockopt::set_tcp_keepidle(socket, SILENCE)?;
        let silence = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(socket, silence)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    };
    match timeout(PATIENCE, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

fn now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.unwrap_or_default().as_secs()
}

fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness every pause is the shortest of its kind.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}
