//! Where events go in an agent: into sealed, signed, chained batches of two streams.

use std::{io, mem, sync::Arc, time::Duration};

use tracer_event::{BootNanos, RedactedEvent, WallNanos};
use tracer_pipeline::Sink;
use tracer_wire::{BatchBuilder, Recipient, Sealer, SigningKey, Stream};

use super::outbox::Outbox;

/// How long an event waits for others to make a batch with.
const LINGER: Duration = Duration::from_secs(1);

/// Seals what the pipeline writes, and hands it to the outbox.
pub struct Sealing {
    outbox: Arc<Outbox>,
    telemetry: Lane,
    /// None where content has no recipients.
    content: Option<Lane>,
    counts: SealingCounts,
}

/// What became of events since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealingCounts {
    /// Events that were sealed.
    pub sealed: u64,
    /// Events of content that nobody is meant to have.
    pub withheld: u64,
    /// Events that could not be sealed and were not told of as lost yet.
    pub lost: u64,
}

/// One stream's session.
struct Lane {
    key: &'static SigningKey,
    recipients: Vec<Recipient>,
    stream: Stream,
    builder: BatchBuilder,
    sealer: Option<Sealer<'static>>,
    /// When the first event of the batch came, and how many came.
    began: Option<BootNanos>,
    events: u64,
}

impl Sealing {
    /// Telemetry for the collector, content for its recipients; without any, content is left out.
    #[must_use]
    pub fn new(
        key: &'static SigningKey,
        outbox: Arc<Outbox>,
        collector: Recipient,
        content: Vec<Recipient>,
    ) -> Self {
        let lane = |stream, recipients| Lane {
            key,
            recipients,
            stream,
            builder: BatchBuilder::new(stream),
            sealer: None,
            began: None,
            events: 0,
        };
        Self {
            outbox,
            telemetry: lane(Stream::Telemetry, vec![collector]),
            content: (!content.is_empty()).then(|| lane(Stream::Content, content)),
            counts: SealingCounts::default(),
        }
    }

    /// What became of events so far.
    #[must_use]
    pub const fn counts(&self) -> SealingCounts {
        self.counts
    }

    /// Events that could not be sealed since the last call.
    pub const fn take_lost(&mut self) -> u64 {
        mem::replace(&mut self.counts.lost, 0)
    }

    /// Seals what is left, and ends both sessions in order.
    pub fn close(mut self) {
        let now = wall();
        for lane in [Some(&mut self.telemetry), self.content.as_mut()]
            .into_iter()
            .flatten()
        {
            lane.seal(now, &self.outbox, &mut self.counts);
            let closing = lane.sealer.take().into_iter().flat_map(Sealer::close);
            closing.for_each(|record| self.outbox.put(record));
        }
    }
}

impl Sink for Sealing {
    fn write(&mut self, event: &RedactedEvent) -> io::Result<()> {
        let lane = match (Stream::of(event), &mut self.content) {
            (Stream::Telemetry, _) => &mut self.telemetry,
            (Stream::Content, Some(content)) => content,
            (Stream::Content, None) => {
                self.counts.withheld += 1;
                return Ok(());
            }
        };
        if let Err(error) = lane.builder.push(event) {
            log::warn!("{error}; it is counted as lost");
            self.counts.lost += 1;
            return Ok(());
        }
        lane.events += 1;
        lane.began.get_or_insert(event.time.boot);
        if lane.builder.is_full() {
            lane.seal(wall(), &self.outbox, &mut self.counts);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let boot = tracer_probe::time::BootNanos::now();
        for lane in [Some(&mut self.telemetry), self.content.as_mut()]
            .into_iter()
            .flatten()
        {
            let has_waited = lane.began.is_some_and(|began| {
                Duration::from_nanos(boot.0.saturating_sub(began.0)) >= LINGER
            });
            if has_waited {
                lane.seal(wall(), &self.outbox, &mut self.counts);
            }
        }
        Ok(())
    }
}

impl Lane {
    /// Seals the batch. One that cannot be sealed is lost, and its session ended: the next begins
    /// another.
    fn seal(&mut self, now: WallNanos, outbox: &Outbox, counts: &mut SealingCounts) {
        self.began = None;
        let events = mem::take(&mut self.events);
        if events == 0 {
            return;
        }
        match self.sealed(now, outbox) {
            Ok(()) => counts.sealed += events,
            Err(error) => {
                log::error!("{events} events of {} are lost: {error:#}", self.stream);
                counts.lost += events;
                self.builder = BatchBuilder::new(self.stream);
            }
        }
    }

    fn sealed(&mut self, now: WallNanos, outbox: &Outbox) -> anyhow::Result<()> {
        let Some(batch) = self.builder.take()? else {
            return Ok(());
        };
        let sealer = match &mut self.sealer {
            Some(sealer) => sealer,
            none => {
                let (sealer, opening) =
                    Sealer::begin(self.key, self.stream, self.recipients.clone(), now)?;
                outbox.put(opening);
                none.insert(sealer)
            }
        };
        let sealed = sealer.seal(batch, now)?;
        sealed.into_records().for_each(|record| outbox.put(record));
        Ok(())
    }
}

fn wall() -> WallNanos {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since_1970.unwrap_or_default().as_nanos();
    WallNanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use tracer_wire::{Body, Opener, Record};

    use super::*;
    use crate::{
        capture::outbox::ROOM,
        fixture::{KEY, NOW, SECRET, event, recipient},
    };

    fn run(content: Vec<Recipient>) -> (SealingCounts, Vec<Record>) {
        let outbox = Arc::new(Outbox::new(&KEY, ROOM));
        let mut sealing = Sealing::new(
            &KEY,
            Arc::clone(&outbox),
            recipient().recipient().clone(),
            content,
        );
        for number in 0..5 {
            for stream in [Stream::Telemetry, Stream::Content] {
                sealing.write(&event(stream, NOW + number, number)).unwrap();
            }
        }
        let held = sealing.counts();
        assert_eq!(held.sealed, 0, "an event waits for others");
        // The events' boot time is in the past of any running machine.
        sealing.flush().unwrap();
        let counts = sealing.counts();
        sealing.close();
        outbox.connected(true);
        let records = std::iter::from_fn(|| outbox.take(Duration::ZERO));
        (counts, records.collect())
    }

    #[test]
    fn each_stream_is_a_session_for_its_own_recipients() {
        let reader = tracer_wire::RecipientSecret::generate().unwrap();
        let (counts, records) = run(vec![reader.recipient().clone()]);
        assert_eq!((counts.sealed, counts.withheld), (10, 0));
        for (secret, stream) in [(recipient(), Stream::Telemetry), (reader, Stream::Content)] {
            let mut opener = Opener::new(secret);
            let own: Vec<_> = records
                .iter()
                .filter(|record| record.claims().stream == stream)
                .collect();
            assert_eq!(own.len(), 3, "opening, batch, end");
            opener.learn(own[0]).unwrap();
            let text = opener.open(own[1]).unwrap().ndjson().to_vec();
            let holds = text
                .windows(SECRET.len())
                .any(|part| part == SECRET.as_bytes());
            assert_eq!(holds, stream == Stream::Content);
            assert!(matches!(own[2].claims().body, Body::Closing));
        }
    }

    #[test]
    fn content_without_recipients_goes_nowhere() {
        let (counts, records) = run(Vec::new());
        assert_eq!((counts.sealed, counts.withheld), (5, 5));
        let mut streams = records.iter().map(|record| record.claims().stream);
        assert!(streams.all(|stream| stream == Stream::Telemetry));
    }
}
