//! How long a stored event takes to reach somebody who follows: `tracer query --follow`, over TLS.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::{task::JoinSet, time};
use tracer_event::RedactedEvent;
use tracer_redact::Engine;
use tracer_tests::tracer;
use tracer_wire::{BatchBuilder, Frame, Recipient, Record, Sealer, Sequence, SigningKey, Stream};

use super::{
    GROUP,
    agents::FLEETS,
    now,
    site::{Line, Prepared, Site},
};
use crate::{
    row::{Bar, Row},
    sealing::step,
    statistics::percentile,
};

/// Batches a second of all agents together, each with one event.
const RATE: u32 = 100;
/// How long the follower may take to tell of an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// From the acknowledgement that an event is stored to its line at a follower, for fleets that together
/// send [`RATE`] batches a second for `lasts` in each repetition.
///
/// # Errors
/// If an event is not stored, or does not arrive.
pub(super) fn measure(repetitions: usize, lasts: Duration, engine: &Engine) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for agents in FLEETS {
        let (mut middle, mut high) = (Vec::new(), Vec::new());
        for _ in 0..repetitions {
            let delays = delays(agents, lasts, engine)?;
            middle.extend(percentile(&delays, 50));
            high.extend(percentile(&delays, 99));
        }
        let note = format!(
            "{repetitions} repetitions of {} s, {RATE} batches a second together, `tracer query --follow`",
            lasts.as_secs_f64()
        );
        for (which, values) in [("p50", middle), ("p99", high)] {
            let name = format!("live tail, stored to reader, {which}, agents: {agents}");
            rows.push(Row::judge(GROUP, name, "ms", values, Bar::None, &*note)?);
        }
    }
    Ok(rows)
}

/// Milliseconds of each event.
fn delays(agents: usize, lasts: Duration, engine: &Engine) -> Result<Vec<f64>> {
    let mut prepared = Prepared::new()?;
    prepared.configuration.limits.connections_per_address = agents + 2;
    let telemetry = prepared.telemetry()?;
    let keys = (0..=agents)
        .map(|_| SigningKey::generate())
        .collect::<Result<Vec<_>, _>>()?;
    let mut configs = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        configs.push(prepared.enrol(key, &format!("gpu-{number}"))?);
    }
    let site = prepared.listen()?;
    let follower = Follower::start(&site)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let each = lasts.as_millis() as u64 * u64::from(RATE) / 1000 / agents as u64;
    let stored = runtime.block_on(async {
        let mut senders = Vec::new();
        for (number, (key, config)) in std::iter::zip(keys, configs).enumerate() {
            let line = site.connect(config).await.context("connecting an agent")?;
            let first = number as u64 * (each + 1);
            let events = (first..=first + each).map(|number| step(number).redact(engine));
            senders.push(Sender::new(
                key,
                telemetry.recipient(),
                events.collect(),
                line,
            ));
        }
        // One more than the fleet: its event shows that the follower follows.
        let mut first = senders.pop().context("there is one more")?;
        first.events.truncate(1);
        first.run(Duration::ZERO, Duration::ZERO).await?;
        // Nothing else runs on this thread meanwhile.
        follower.next()?;
        let pace = Duration::from_secs(1) * agents as u32 / RATE;
        let mut tasks = JoinSet::new();
        for (number, sender) in senders.into_iter().enumerate() {
            let begins = pace * number as u32 / agents as u32;
            tasks.spawn(sender.run(begins, pace));
        }
        let mut stored = HashMap::new();
        while let Some(done) = tasks.join_next().await {
            stored.extend(done??);
        }
        anyhow::Ok(stored)
    })?;
    let mut delays = Vec::new();
    while delays.len() < stored.len() {
        let (event, arrived) = follower.next()?;
        let stored = stored.get(&event).context("an event that nobody sent")?;
        // The two are told at once, and the follower may hear it first.
        let delay = arrived.saturating_duration_since(*stored);
        delays.push(delay.as_secs_f64() * 1e3);
    }
    drop(follower);
    site.stop()?;
    Ok(delays)
}

/// An agent that sends one event at a time.
struct Sender {
    key: SigningKey,
    recipient: Recipient,
    events: Vec<RedactedEvent>,
    line: Line,
}

impl Sender {
    fn new(key: SigningKey, recipient: &Recipient, events: Vec<RedactedEvent>, line: Line) -> Self {
        Self {
            key,
            recipient: recipient.clone(),
            events,
            line,
        }
    }

    /// Sends all, one each `pace`; when each was acknowledged, by its time.
    async fn run(mut self, begins: Duration, pace: Duration) -> Result<Vec<(u64, Instant)>> {
        let recipients = vec![self.recipient];
        let (mut sealer, opening) = Sealer::begin(&self.key, Stream::Telemetry, recipients, now())?;
        deliver(&mut self.line, vec![opening]).await?;
        time::sleep(begins).await;
        let mut next = time::Instant::now();
        let mut stored = Vec::new();
        for event in &self.events {
            let mut builder = BatchBuilder::new(Stream::Telemetry);
            builder.push(event)?;
            let batch = builder.take()?.context("an event makes a batch")?;
            let records = sealer.seal(batch, now())?.into_records().collect();
            deliver(&mut self.line, records).await?;
            stored.push((event.time.boot.0, Instant::now()));
            next += pace;
            time::sleep_until(next).await;
        }
        Ok(stored)
    }
}

async fn deliver(line: &mut Line, records: Vec<Record>) -> Result<()> {
    let last: Sequence = records.last().context("nothing to send")?.claims().sequence;
    let frames: Vec<_> = records
        .into_iter()
        .map(|record| Frame::Record(Box::new(record)).to_bytes())
        .collect();
    line.deliver(&frames, last).await
}

/// A `tracer query --follow`, and when it told of which event.
struct Follower {
    child: Child,
    told: Receiver<(u64, Instant)>,
}

#[derive(Deserialize)]
struct Told {
    time: Time,
}

#[derive(Deserialize)]
struct Time {
    boot: u64,
}

impl Follower {
    fn start(site: &Site) -> Result<Self> {
        let mut child = Command::new(tracer::binary()?)
            .args(["query", "--follow", "-o", "ndjson"])
            .env("TRACER_READER_TOKEN", site.reader_token()?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("running tracer query")?;
        let output = child.stdout.take().context("it has an output")?;
        let (to, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let arrived = Instant::now();
                if let Ok(Told { time }) = serde_json::from_str(&line)
                    && to.send((time.boot, arrived)).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { child, told })
    }

    fn next(&self) -> Result<(u64, Instant)> {
        match self.told.recv_timeout(PATIENCE) {
            Ok(told) => Ok(told),
            Err(_) => bail!("the follower told of no further event within {PATIENCE:?}"),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
