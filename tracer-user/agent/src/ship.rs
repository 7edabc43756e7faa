//! The process that has the network: it keeps sealed records on disk and hands them to the collector.
//! It has no rights, no key that signs or opens records, and never anything in the clear.

mod http;
mod identity;
mod keeper;
mod link;
mod tell;
mod uplink;

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use landlock::RulesetStatus;
use tokio::sync::watch;

use self::{
    identity::Identity,
    keeper::{Keeper, Order},
    link::CaptureLink,
    uplink::{Uplink, UplinkFacts},
};
use crate::{
    confine::{self, Reach},
    folder,
    signals::Signals,
    spool::Limits,
    status::ShipStatus,
};

/// The socket that capture connects to, in the folder for sockets.
pub const LINK: &str = "link.sock";
/// The socket that `tracer agent status` connects to.
pub const CONTROL: &str = "control.sock";
/// How long an end waits until the collector has what is there: what it has not, the disk has.
const DRAIN: Duration = Duration::from_secs(5);
/// Between two looks at what the collector still has to take, at the end.
const LOOK: Duration = Duration::from_millis(100);

/// What ship needs to know.
#[derive(Clone, Debug)]
pub struct ShipSettings {
    /// Its user and group, if it is started as root.
    pub user: (u32, u32),
    /// The user that capture runs as.
    pub capture_user: u32,
    /// Its folder, for the spool and its certificate.
    pub state: PathBuf,
    /// The folder for sockets.
    pub sockets: PathBuf,
    /// The file with the token to enrol with.
    pub token: PathBuf,
    /// What people call this node.
    pub name: String,
    /// What the spool may use.
    pub limits: Limits,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// What it reads again on SIGHUP.
    pub config: PathBuf,
    /// Whether it ends with whoever started it.
    pub ends_with_parent: bool,
}

/// Why ship ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// Whoever started it should start it again: its configuration was changed, or it must be confined
    /// to another port.
    Again,
}

/// Runs until a signal. `check` says whether the configuration can be read, before SIGHUP is obeyed.
///
/// # Errors
/// If sockets, folders or the spool cannot be had, or the process cannot be confined.
pub fn run(settings: &ShipSettings, check: impl Fn() -> Result<()>) -> Result<Ended> {
    let is_root = rustix::process::geteuid().is_root();
    let (user, group) = settings.user;
    ensure!(
        !is_root || user != 0,
        "ship must not run as root: name another user in [ship] user"
    );
    for (folder, mode) in [(&settings.state, 0o700), (&settings.sockets, 0o755)] {
        folder_of(folder, mode, is_root.then_some((user, group)))?;
    }
    // The kernel tells whoever connects which user it was that began to listen.
    if is_root {
        confine::become_user(user, group)?;
    }
    let link_socket = bind(&settings.sockets.join(LINK))?;
    let control = bind(&settings.sockets.join(CONTROL))?;
    let metrics = settings
        .metrics
        .map(TcpListener::bind)
        .transpose()
        .with_context(|| format!("listen for metrics at {:?}", settings.metrics))?;
    let ports = ports(settings);
    let read: Vec<&Path> = [settings.token.parent(), settings.config.parent()]
        .into_iter()
        .flatten()
        .collect();
    let reach = Reach {
        written: &[&settings.state],
        read: &read,
        ports: &ports,
        ends_with_parent: settings.ends_with_parent,
    };
    match confine::ship(&reach)? {
        RulesetStatus::FullyEnforced => {}
        RulesetStatus::PartiallyEnforced => log::warn!(
            "this kernel's Landlock restricts files and not ports: from 6.7 on it does both"
        ),
        RulesetStatus::NotEnforced => log::warn!(
            "this kernel has no Landlock: ship's files and ports are restricted by its user alone"
        ),
    }
    let signals = Signals::listen().context("listen for signals")?;
    let identity = Identity::load(&settings.state).ok().flatten();
    let recipient = identity.map(|identity| identity.enrolled.telemetry_recipient);
    let link = Arc::new(CaptureLink::new(recipient));
    let spool = settings.state.join("spool");
    let (keeper, keeping) = Keeper::start(spool.clone(), settings.limits, Arc::clone(&link))
        .with_context(|| format!("open the spool {}", spool.display()))?;
    link.listen(link_socket, settings.capture_user, Arc::new(keeper.clone()))
        .context("take connections of capture")?;
    let facts = Arc::new(Mutex::new(UplinkFacts::default()));
    let status = Status {
        keeper: keeper.clone(),
        link: Arc::clone(&link),
        facts: Arc::clone(&facts),
    };
    let uplink = Uplink {
        state: settings.state.clone(),
        token: settings.token.clone(),
        name: settings.name.clone(),
        ports,
        keeper: keeper.clone(),
        link,
        facts,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("prepare for the network")?;
    let ended = runtime.block_on(async {
        let (ask, stop) = watch::channel(false);
        tell::control(control, status.clone())?;
        if let Some(metrics) = metrics {
            tell::metrics(metrics, status.clone())?;
        }
        let mut uplink = tokio::spawn(uplink.run(stop));
        let ended = loop {
            tokio::select! {
                ended = &mut uplink => break ended.unwrap_or(Ended::Again),
                () = signals.next() => {}
            }
            if signals.is_stop() {
                break Ended::Asked;
            }
            if signals.take_reload() {
                match check() {
                    Ok(()) => break Ended::Again,
                    Err(error) => log::error!("{error:#}; ship goes on as it was"),
                }
            }
        };
        drain(&status).await;
        // The collector is told that no more comes.
        status.keeper.order(Order::Disconnected);
        tokio::time::sleep(LOOK).await;
        let _ = ask.send(true);
        if !uplink.is_finished() {
            let _ = tokio::time::timeout(LOOK, uplink).await;
        }
        Ok::<_, anyhow::Error>(ended)
    })?;
    keeper.order(Order::End);
    drop(keeper);
    let _ = keeping.join();
    // A question to a name server may be open; nobody waits for it.
    runtime.shutdown_background();
    Ok(ended)
}

/// Gives the collector a moment to take what is there.
async fn drain(status: &Status) {
    let end = tokio::time::Instant::now() + DRAIN;
    while tokio::time::Instant::now() < end {
        let now = status.now();
        if now.spool_records == 0 || !now.is_connected {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// All that is known of ship and capture.
#[derive(Clone)]
struct Status {
    keeper: Keeper,
    link: Arc<CaptureLink>,
    facts: Arc<Mutex<UplinkFacts>>,
}

impl Status {
    fn now(&self) -> ShipStatus {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        ShipStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agent: self.link.agent().map(|agent| agent.to_string()),
            collector: facts.said.clone(),
            is_connected: facts.is_connected,
            certificate_until: facts.certificate_until,
            connection_failures: facts.failures,
            capture: self.link.status(),
            ..self.keeper.facts()
        }
    }
}

/// The ports that ship connects to: those of its token and of what it was told when it enrolled.
fn ports(settings: &ShipSettings) -> Vec<u16> {
    let token = fs::read_to_string(&settings.token).ok();
    let token = token.and_then(|text| {
        let token: tracer_wire::enrolment::EnrolmentToken = text.parse().ok()?;
        port(&token.collector)
    });
    let identity = Identity::load(&settings.state).ok().flatten();
    let known = identity
        .iter()
        .flat_map(|identity| [port(&identity.collector), port(&identity.enrolled.agents)]);
    token.into_iter().chain(known.flatten()).collect()
}

fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

/// A folder that is there, with these rights, of this user.
fn folder_of(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    let make = || -> io::Result<()> {
        folder::make(path, mode)?;
        // Somebody else's folder stays as it is.
        let is_mine = || Ok::<_, io::Error>(fs::symlink_metadata(path)?.is_dir());
        if let Some((user, group)) = owner
            && is_mine()?
        {
            std::os::unix::fs::lchown(path, Some(user), Some(group))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    make().with_context(|| format!("make the folder {}", path.display()))
}

/// Listens at a path; whoever connects is looked at.
fn bind(path: &Path) -> Result<UnixListener> {
    let make = || -> io::Result<UnixListener> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        Ok(listener)
    };
    make().with_context(|| format!("listen at {}", path.display()))
}
