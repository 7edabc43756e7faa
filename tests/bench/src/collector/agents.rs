//! Many agents at once over TLS, as they are in a fleet.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use tokio::{sync::Barrier, task::JoinSet};
use tracer_redact::Engine;
use tracer_wire::{Frame, Sequence, SigningKey};

use super::{GROUP, million, seal, site::Prepared};
use crate::{
    row::{Bar, Row},
    sealing::step,
};

/// Connected at once.
pub(super) const FLEETS: [usize; 3] = [1, 10, 100];

/// How many decode steps are stored and acknowledged in a second, with agents and collector on this
/// machine.
///
/// # Errors
/// If something is not stored.
pub(super) fn measure(repetitions: usize, events: u64, engine: &Engine) -> Result<Vec<Row>> {
    let each = |agents| one_fleet(agents, repetitions, events, engine);
    FLEETS.into_iter().map(each).collect()
}

fn one_fleet(agents: usize, repetitions: usize, events: u64, engine: &Engine) -> Result<Row> {
    let sessions = (0..agents)
        .map(|_| Session::sealed(events / agents as u64, engine))
        .collect::<Result<Vec<_>>>()?;
    let sessions: Vec<_> = sessions.into_iter().map(Arc::new).collect();
    let speeds = (0..repetitions)
        .map(|_| delivered(&sessions, events))
        .collect::<Result<Vec<_>>>()?;
    let name = format!("decode steps stored and acknowledged over TLS, agents at once: {agents}");
    let note = format!(
        "{repetitions} repetitions of {events} events, sealed before; both ends share this machine; \
         no limit of records a second"
    );
    Row::judge(GROUP, name, "M/s", speeds, Bar::None, note)
}

/// What an agent sends.
struct Session {
    key: SigningKey,
    frames: Vec<Vec<u8>>,
}

impl Session {
    fn sealed(events: u64, engine: &Engine) -> Result<Self> {
        let key = SigningKey::generate()?;
        let recipient = tracer_wire::RecipientSecret::generate()?;
        let mut frames = Vec::new();
        let steps = (0..events).map(|number| step(number).redact(engine));
        seal(steps, &key, recipient.recipient(), |record| {
            frames.push(Frame::Record(Box::new(record)).to_bytes());
            Ok(())
        })?;
        Ok(Self { key, frames })
    }

    fn last(&self) -> Sequence {
        Sequence(self.frames.len() as u64 - 1)
    }
}

/// Millions of events a second.
fn delivered(sessions: &[Arc<Session>], events: u64) -> Result<f64> {
    let mut prepared = Prepared::new()?;
    // A fleet comes from many addresses, and this one from a single one, at its full speed.
    let limits = &mut prepared.configuration.limits;
    limits.connections_per_address = sessions.len() + 1;
    limits.records_per_second = 1_000_000;
    let mut configs = Vec::new();
    for (number, session) in sessions.iter().enumerate() {
        configs.push(prepared.enrol(&session.key, &format!("gpu-{number}"))?);
    }
    let site = prepared.listen()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let seconds = runtime.block_on(async {
        let mut lines = Vec::new();
        for config in configs {
            lines.push(site.connect(config).await.context("connecting an agent")?);
        }
        let ready = Arc::new(Barrier::new(sessions.len() + 1));
        let mut tasks = JoinSet::new();
        for (session, mut line) in std::iter::zip(sessions, lines) {
            let (session, ready) = (Arc::clone(session), Arc::clone(&ready));
            tasks.spawn(async move {
                ready.wait().await;
                line.deliver(&session.frames, session.last()).await
            });
        }
        ready.wait().await;
        let begun = Instant::now();
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        anyhow::Ok(begun.elapsed().as_secs_f64())
    })?;
    site.stop()?;
    Ok(million(events) / seconds)
}
