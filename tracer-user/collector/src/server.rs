//! The running collector: two ports, and the tasks beside them.

mod accepting;
mod agents;
mod clock;
mod connections;
mod https;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

pub(crate) use self::agents::lost;
use self::{accepting::accept, connections::Bucket};
use crate::{
    admission::Admission,
    config::Configuration,
    ingest::{Committer, Committing, now},
    metrics::Metrics,
    pki::Authority,
    store::{Registry, SqliteStore, Store},
    telemetry::TelemetryKeys,
    tls::{Certificates, Port, server_config},
};

/// How long connections may take to end when the collector ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// The unit in which room for records is counted.
const ROOM_UNIT: usize = 1024;

/// All that connections share.
pub(crate) struct Collector {
    /// Exchanged when it is reloaded.
    pub(crate) configuration: watch::Sender<Arc<Configuration>>,
    pub(crate) authority: Authority,
    pub(crate) certificates: Arc<Certificates>,
    /// Opens telemetry.
    pub(crate) telemetry: TelemetryKeys,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Registry,
    pub(crate) admission: Arc<Admission>,
    pub(crate) committer: Committer,
    pub(crate) metrics: Metrics,
    /// Kibibytes for records that are not on the disk yet.
    pub(crate) room: Arc<Semaphore>,
    /// Queries that may begin.
    pub(crate) queries: Arc<Semaphore>,
    /// Requests for certificates that may be made.
    pub(crate) enrolments: Bucket,
    /// Becomes true when the collector ends.
    pub(crate) ending: watch::Receiver<bool>,
}

impl Collector {
    /// Waits until the collector ends.
    pub(crate) async fn ended(&self) {
        let mut ending = self.ending.clone();
        // An error means that nobody is there to end it any more.
        drop(ending.wait_for(|ending| *ending).await);
    }

    /// The configuration as it is now.
    pub(crate) fn configuration(&self) -> Arc<Configuration> {
        Arc::clone(&self.configuration.borrow())
    }
}

/// A collector that listens and does not serve yet.
pub struct Server {
    collector: Arc<Collector>,
    committing: Committing,
    agents: TcpListener,
    https: TcpListener,
    end: watch::Sender<bool>,
    /// Where to read the configuration again.
    path: Option<PathBuf>,
}

impl Server {
    /// Opens the store and both ports. A port of 0 takes any that is free, and tells agents so.
    ///
    /// # Errors
    /// If something is missing or in use; the message names it.
    pub async fn bind(mut configuration: Configuration, path: Option<PathBuf>) -> Result<Self> {
        let listen = |address: SocketAddr| async move {
            TcpListener::bind(address)
                .await
                .with_context(|| format!("listening at {address}"))
        };
        let agents = listen(configuration.listen.agents).await?;
        let https = listen(configuration.listen.https).await?;
        told(&mut configuration.agents, agents.local_addr()?);
        told(&mut configuration.https, https.local_addr()?);
        let folder = &configuration.folder;
        let authority = Authority::load(folder, configuration.trust_domain.clone())?;
        let telemetry = TelemetryKeys::load(folder)?;
        let store = SqliteStore::open(&configuration.store, configuration.segment)?;
        let store: Arc<dyn Store> = Arc::new(store);
        let registry = Registry::open(&configuration.store)?;
        let admission = Arc::new(Admission::new(configuration.trust_domain.clone()));
        admission.refresh(&registry)?;
        let (certificate, key) = authority.issue_collector(
            &configuration.names,
            configuration.collector_lasts,
            now(),
        )?;
        let certificates = Arc::new(Certificates::new(&authority, certificate.der, &key)?);
        let (committer, committing) = Committer::start(Arc::clone(&store))?;
        let limits = &configuration.limits;
        let (end, ending) = watch::channel(false);
        let collector = Collector {
            authority,
            certificates,
            telemetry,
            store,
            registry,
            admission,
            committer,
            metrics: Metrics::default(),
            room: Arc::new(Semaphore::new(limits.ingest_mib * (1 << 20) / ROOM_UNIT)),
            queries: Arc::new(Semaphore::new(limits.queries)),
            enrolments: Bucket::new(limits.enrolments_per_second),
            ending,
            configuration: watch::channel(Arc::new(configuration)).0,
        };
        Ok(Self {
            collector: Arc::new(collector),
            committing,
            agents,
            https,
            end,
            path,
        })
    }

    /// The address of a port.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn address(&self, port: Port) -> Result<SocketAddr> {
        let listener = match port {
            Port::Agents => &self.agents,
            Port::Https => &self.https,
        };
        Ok(listener.local_addr()?)
    }

    /// Serves until `stop` is done; then what agents have sent is stored, and all is closed.
    /// Each `reload` that arrives reads the configuration again.
    ///
    /// # Errors
    /// If a port cannot be set up.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()>,
        reload: impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static,
    ) -> Result<()> {
        let Self {
            collector,
            committing,
            agents,
            https,
            end,
            path,
        } = self;
        let mut tasks = JoinSet::new();
        for (port, listener) in [(Port::Agents, agents), (Port::Https, https)] {
            let config = server_config(
                port,
                &collector.authority,
                Arc::clone(&collector.certificates),
                Arc::clone(&collector.admission),
            )?;
            let collector = Arc::clone(&collector);
            match port {
                Port::Agents => {
                    tasks.spawn(accept(collector, listener, config, port, agents::serve))
                }
                Port::Https => tasks.spawn(accept(collector, listener, config, port, https::serve)),
            };
        }
        tasks.spawn(upkeep::follow_registry(Arc::clone(&collector)));
        tasks.spawn(upkeep::expire(Arc::clone(&collector)));
        tasks.spawn(upkeep::renew_certificate(Arc::clone(&collector)));
        tasks.spawn(upkeep::reload(Arc::clone(&collector), path, reload));
        stop.await;
        log::info!("ending");
        end.send_replace(true);
        let farewell = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            log::warn!("some connections did not end in time");
            tasks.shutdown().await;
        }
        drop(collector);
        tokio::task::spawn_blocking(|| committing.wait()).await?;
        Ok(())
    }
}

/// What others are told of a port that was taken as it came.
fn told(address: &mut String, bound: SocketAddr) {
    if let Some(host) = address.strip_suffix(":0") {
        *address = format!("{host}:{}", bound.port());
    }
}
