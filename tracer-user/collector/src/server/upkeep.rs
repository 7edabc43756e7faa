//! What happens beside the connections.

use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    Collector,
    clock::{Clock, Worth},
};
use crate::{config::Configuration, ingest::now, store::StoreError};

/// How often what other processes decided is looked for: a revocation counts after this at the latest.
const LOOK: Duration = Duration::from_secs(1);
/// How often what has been kept long enough is looked for.
const EXPIRE: Duration = Duration::from_mins(10);
/// How often the collector's certificate is looked at.
const CERTIFICATE: Duration = Duration::from_hours(1);

/// Waits; tells whether the collector goes on.
async fn wait(collector: &Collector, duration: Duration) -> bool {
    tokio::select! {
        () = sleep(duration) => true,
        () = collector.ended() => false,
    }
}

/// Lets in and shuts out whom other processes say, and notes who is connected.
pub(super) async fn follow_registry(collector: Arc<Collector>) {
    let mut known = None;
    let mut rounds = 0_u32;
    while wait(&collector, LOOK).await {
        rounds = rounds.wrapping_add(1);
        let looked = Arc::clone(&collector);
        let before = known;
        let seen = rounds.is_multiple_of(30);
        let result = tokio::task::spawn_blocking(move || {
            if seen {
                let connected = looked.metrics.connected_agents();
                if !connected.is_empty() {
                    looked.registry.seen(&connected, now())?;
                }
            }
            let version = looked.registry.version()?;
            if before != Some(version) {
                looked.admission.refresh(&looked.registry)?;
            }
            Ok::<_, StoreError>(version)
        });
        match result.await {
            Ok(Ok(version)) => known = Some(version),
            Ok(Err(error)) => log::error!("cannot look up who is let in: {error}"),
            Err(error) => log::error!("cannot look up who is let in: {error}"),
        }
    }
}

/// Deletes what has been kept long enough.
pub(super) async fn expire(collector: Arc<Collector>) {
    let of = Arc::clone(&collector);
    let last = tokio::task::spawn_blocking(move || {
        let sessions = of.store.sessions()?;
        Ok::<_, StoreError>(sessions.iter().map(|session| session.stored).max())
    });
    let last = last.await.ok().and_then(Result::ok).flatten();
    let mut clock = Clock::start(last, now(), Instant::now());
    loop {
        let of = Arc::clone(&collector);
        let mut retention = collector.configuration().retention;
        let worth = clock.look(now(), Instant::now());
        if let Worth::Jumped(ahead) = worth {
            let hours = ahead.as_secs() / 3600;
            log::warn!(
                "the clock is {hours} hours ahead of what was expected: for a day nothing is deleted \
                 for its age; set the clock right if it is wrong"
            );
        }
        if worth != Worth::Believed {
            (retention.telemetry, retention.content) = (Duration::MAX, Duration::MAX);
        }
        let result = tokio::task::spawn_blocking(move || of.store.expire(&retention, now())).await;
        match result {
            Ok(Ok(expired)) if expired.records > 0 => {
                let why = if expired.for_room {
                    "retention.total_gib is reached"
                } else {
                    "they were kept long enough"
                };
                log::info!(
                    "deleted {} records, {} bytes: {why}",
                    expired.records,
                    expired.bytes
                );
                collector.metrics.expired.add(expired.records);
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => log::error!("cannot delete what has been kept long enough: {error}"),
            Err(error) => log::error!("cannot delete what has been kept long enough: {error}"),
        }
        if !wait(&collector, EXPIRE).await {
            return;
        }
    }
}

/// Exchanges the collector's certificate when two thirds of its time are over.
pub(super) async fn renew_certificate(collector: Arc<Collector>) {
    // By the clock that agents judge it by, which may be set.
    let mut issued = now();
    while wait(&collector, CERTIFICATE).await {
        let age = now().0.checked_sub(issued.0).map(Duration::from_nanos);
        let lasts = collector.configuration().collector_lasts;
        if age.is_none_or(|age| age * 3 > lasts * 2) && exchange_certificate(&collector) {
            issued = now();
        }
    }
}

/// Tells whether it was exchanged.
fn exchange_certificate(collector: &Collector) -> bool {
    let configuration = collector.configuration();
    let authority = &collector.authority;
    let issued =
        authority.issue_collector(&configuration.names, configuration.collector_lasts, now());
    let exchanged = issued
        .map_err(anyhow::Error::from)
        .and_then(|(issued, key)| {
            let certificates = &collector.certificates;
            Ok(certificates.exchange(authority, issued.der, &key)?)
        });
    match exchanged {
        Ok(()) => log::info!("the collector's certificate was exchanged"),
        Err(ref error) => log::error!("the collector's certificate stays: {error:#}"),
    }
    exchanged.is_ok()
}

/// Reads the configuration again each time that it is asked.
pub(super) async fn reload(
    collector: Arc<Collector>,
    path: Option<PathBuf>,
    mut asked: impl FnMut() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send,
) {
    loop {
        tokio::select! {
            () = asked() => {}
            () = collector.ended() => return,
        }
        let Some(path) = &path else { continue };
        let before = collector.configuration();
        match Configuration::read(path) {
            Ok(mut read) => {
                let stays = [
                    ("listen", read.listen != before.listen),
                    (
                        "store",
                        read.store != before.store || read.segment != before.segment,
                    ),
                    ("trust_domain", read.trust_domain != before.trust_domain),
                ];
                for (name, _) in stays.into_iter().filter(|(_, is_other)| *is_other) {
                    log::warn!("{name} changes only when the collector is started anew");
                }
                read.listen = before.listen.clone();
                read.store = before.store.clone();
                read.segment = before.segment;
                read.trust_domain = before.trust_domain.clone();
                if read.agents.ends_with(":0") {
                    read.agents.clone_from(&before.agents);
                }
                if read.https.ends_with(":0") {
                    read.https.clone_from(&before.https);
                }
                collector.configuration.send_replace(Arc::new(read));
                exchange_certificate(&collector);
                log::info!("read {} again", path.display());
            }
            Err(error) => log::error!("the configuration stays as it was: {error:#}"),
        }
    }
}
