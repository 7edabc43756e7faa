//! An agent, its disk, the network, and what it was promised.

use std::collections::{BTreeMap, BTreeSet};

use tracer_event::WallNanos;
use tracer_wire::{
    BatchBuilder, Body, GapReason, Opener, RecipientSecret, Record, RecordHash, Sealer, Sequence,
    SessionId, Stream,
};

use super::{
    collector::{Collector, Connection},
    disk::Disk,
    random::Random,
};
use crate::{
    fixture::{KEY, NOW, SECRET, event, recipient, sign},
    sender::Sender,
    spool::{Limits, Spool, SpoolError},
};

const STREAMS: [Stream; 2] = [Stream::Telemetry, Stream::Content];
/// What may go wrong, in cases of a thousand operations.
#[derive(Clone, Copy)]
pub(super) struct Faults {
    pub(super) io_errors: u64,
    /// Syncs that are acknowledged and not done.
    pub(super) lost_syncs: u64,
    /// Steps in which a bit flips.
    flips: u64,
    /// Bytes of the disk.
    pub(super) capacity: usize,
    /// Bytes of the spool.
    total: u64,
    /// How often nobody is there to sign a gap.
    unsigned: u64,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        io_errors: 0,
        lost_syncs: 0,
        flips: 0,
        capacity: usize::MAX,
        total: u64::MAX,
        unsigned: 0,
    };
    /// A disk that fails, and says so.
    pub(super) const HONEST: Self = Self {
        io_errors: 10,
        ..Self::NONE
    };
    /// One that is small, too, and a spool that may not use all of it, or may use more than there is.
    pub(super) const FULL: Self = Self {
        io_errors: 5,
        capacity: 16_000,
        total: 12_000,
        unsigned: 200,
        ..Self::NONE
    };
    /// One that loses what it promised to keep.
    pub(super) const LYING: Self = Self {
        io_errors: 5,
        lost_syncs: 300,
        flips: 60,
        unsigned: 200,
        ..Self::NONE
    };
}

/// All of it.
pub(super) struct World {
    seed: u64,
    random: Random,
    faults: Faults,
    disk: Disk,
    agent: Option<Agent>,
    connection: Option<Network>,
    collector: Collector,
    recipient: RecipientSecret,
    now: u64,
    events: u64,
    /// All that was ever sealed, and the events in it.
    sealed: BTreeMap<RecordHash, Option<Vec<u8>>>,
    /// What was appended and not yet committed.
    appended: Vec<Promise>,
    /// What the spool said it keeps.
    kept: Vec<Promise>,
}

/// A batch that should arrive.
#[derive(Clone, Copy)]
struct Promise {
    session: SessionId,
    sequence: Sequence,
    hash: RecordHash,
}

/// What ends with its process.
struct Agent {
    spool: Spool<Disk>,
    sealers: BTreeMap<Stream, Sealer<'static>>,
}

struct Network {
    sender: Sender,
    connection: Connection,
    /// On their way.
    up: Vec<u8>,
    down: Vec<u8>,
}

impl World {
    pub(super) fn new(seed: u64, mut faults: Faults) -> Self {
        let random = Random::new(seed);
        if faults.capacity != usize::MAX && random.chance(500) {
            // The disk is full before the spool's own limit.
            faults.total = 3 * faults.capacity as u64;
        }
        Self {
            seed,
            disk: Disk::new(random.clone(), faults),
            random,
            faults,
            agent: None,
            connection: None,
            collector: Collector::default(),
            recipient: recipient(),
            now: NOW,
            events: 0,
            sealed: BTreeMap::new(),
            appended: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Something happens.
    pub(super) fn step(&mut self) {
        if self.random.chance(self.faults.flips) {
            self.disk.rot();
        }
        if self.agent.is_none() {
            self.start();
            return;
        }
        match self.random.below(100) {
            0..40 => self.capture(),
            40..60 => self.commit(),
            60..64 => self.now += 11 * 60_000_000_000,
            64..66 => self.close(),
            66..69 => self.kill(),
            69..72 => {
                self.kill();
                self.disk.lose_power();
            }
            72..76 => self.connection = None,
            _ => self.network(),
        }
    }

    /// The faults end, the agent starts again if it must, and all is delivered.
    pub(super) fn recover_and_drain(&mut self) {
        self.disk.repair();
        self.faults = Faults {
            total: self.faults.total,
            ..Faults::NONE
        };
        // Half of the runs end with the power.
        self.kill();
        if self.random.chance(500) {
            self.disk.lose_power();
        }
        self.start();
        self.commit();
        for _ in 0..10_000 {
            let agent = self.agent.as_ref().expect("nothing fails any more");
            if agent.spool.records() == 0 {
                return;
            }
            self.network();
        }
        panic!("seed {}: the spool does not drain", self.seed);
    }

    fn start(&mut self) {
        let limits = Limits {
            total: self.faults.total,
            segment: 2_000,
        };
        let Ok((spool, _)) = Spool::open(self.disk.clone(), limits) else {
            return;
        };
        let sealers = BTreeMap::new();
        self.agent = Some(Agent { spool, sealers });
    }

    /// The process ends; what it wrote is still in the page cache.
    fn kill(&mut self) {
        self.agent = None;
        self.connection = None;
        self.appended.clear();
    }

    /// A batch is sealed and handed to the spool.
    fn capture(&mut self) {
        self.now += 1_000_000;
        let stream = STREAMS[self.random.below(2)];
        let Some(agent) = &mut self.agent else { return };
        let now = WallNanos(self.now);
        let mut records = Vec::new();
        let sealer = match agent.sealers.remove(&stream) {
            Some(sealer) => sealer,
            None => {
                let recipients = vec![self.recipient.recipient().clone()];
                let (sealer, opening) = Sealer::begin(&KEY, stream, recipients, now).unwrap();
                records.push((opening, None));
                sealer
            }
        };
        let sealer = agent.sealers.entry(stream).or_insert(sealer);
        let mut builder = BatchBuilder::new(stream);
        let mut lines = Vec::new();
        for _ in 0..=self.random.below(3) {
            self.events += 1;
            let event = event(stream, self.now, self.events);
            builder.push(&event).unwrap();
            lines.extend(serde_json::to_vec(&event).unwrap());
            lines.push(b'\n');
        }
        let batch = builder.take().unwrap().unwrap();
        let sealed = sealer.seal(batch, now).unwrap();
        records.extend(sealed.epoch.map(|epoch| (epoch, None)));
        records.push((sealed.batch, Some(lines)));
        for (record, lines) in records {
            if !self.append(record, lines) {
                break;
            }
        }
    }

    fn close(&mut self) {
        let stream = STREAMS[self.random.below(2)];
        let agent = self.agent.as_mut();
        let sealer = agent.and_then(|agent| agent.sealers.remove(&stream));
        for record in sealer.into_iter().flat_map(Sealer::close) {
            self.append(record, None);
        }
    }

    /// Tells whether the session goes on.
    fn append(&mut self, record: Record, lines: Option<Vec<u8>>) -> bool {
        let claims = record.claims();
        let promise = Promise {
            session: claims.session,
            sequence: claims.sequence,
            hash: record.hash(),
        };
        self.sealed.insert(record.hash(), lines);
        let Some(agent) = &mut self.agent else {
            return false;
        };
        let is_away = self.random.chance(self.faults.unsigned);
        let mut sign = |gap| sign(gap).filter(|_| !is_away);
        match agent.spool.append(&record, &mut sign) {
            Ok(()) => {
                self.appended.push(promise);
                return true;
            }
            // Its session cannot go on without it: a process would begin another.
            Err(SpoolError::Full | SpoolError::Unsigned) => {
                drop(agent.sealers.remove(&claims.stream))
            }
            Err(SpoolError::Disk { .. } | SpoolError::Broken) => self.kill(),
            Err(error @ SpoolError::Taken { .. }) => panic!("seed {}: {error}", self.seed),
        }
        false
    }

    fn commit(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        match agent.spool.commit() {
            Ok(()) => self.kept.append(&mut self.appended),
            Err(_) => self.kill(),
        }
    }

    /// Some bytes go each way.
    fn network(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let network = self.connection.get_or_insert_with(|| {
            let (sender, hello) = Sender::connected();
            Network {
                sender,
                connection: Connection::default(),
                up: hello,
                down: Vec::new(),
            }
        });
        let is_away = self.random.chance(self.faults.unsigned);
        let mut sign = |gap| sign(gap).filter(|_| !is_away);
        for _ in 0..=self.random.below(3) {
            match network.sender.send(&mut agent.spool, &mut sign) {
                Ok(Some(bytes)) => network.up.extend(bytes),
                Ok(None) => break,
                // The disk failed to read: later.
                Err(_) => break,
            }
        }
        let count = self.random.below(network.up.len() + 1);
        let arrived: Vec<_> = network.up.drain(..count).collect();
        let answer = self.collector.receive(&mut network.connection, &arrived);
        network.down.extend(answer);
        let count = self.random.below(network.down.len() + 1);
        let arrived: Vec<_> = network.down.drain(..count).collect();
        if let Err(error) = network.sender.receive(&arrived, &mut agent.spool) {
            panic!("seed {}: {error}", self.seed);
        }
    }

    /// All that was kept has arrived, or was declared as dropped for lack of room.
    pub(super) fn check_kept(&self) {
        let sessions = self.collector.sessions();
        for promise in &self.kept {
            let stored = sessions.get(&promise.session);
            let found = stored.is_some_and(|records| {
                records.iter().any(|record| {
                    record.hash() == promise.hash || declares(record, promise.sequence)
                })
            });
            assert!(
                found,
                "seed {}: record {} of session {} was kept and never arrived",
                self.seed, promise.sequence, promise.session
            );
        }
        if self.faults.total == u64::MAX {
            assert_eq!(
                self.dropped(),
                0,
                "seed {}: dropped without need",
                self.seed
            );
        }
    }

    /// What has arrived was sealed by the agent, is there once, and opens to the events that went in.
    pub(super) fn check_stored(&self) {
        let mut seen = BTreeSet::new();
        for records in self.collector.sessions().values() {
            let mut opener = Opener::new(recipient());
            for record in records {
                if let Body::Gap(_) = record.claims().body {
                    continue;
                }
                let lines = self.sealed.get(&record.hash());
                let lines = lines.unwrap_or_else(|| panic!("seed {}: never sealed", self.seed));
                assert!(seen.insert(record.hash()), "seed {}: twice", self.seed);
                opener.learn(record).unwrap();
                match (lines, opener.open(record)) {
                    (Some(lines), Ok(contents)) => assert_eq!(contents.ndjson(), &lines[..]),
                    // Its epoch's beginning may be among what a lying disk lost.
                    (Some(_), Err(error)) => {
                        assert!(self.destroyed() > 0, "seed {}: {error}", self.seed);
                    }
                    (None, _) => {}
                }
            }
        }
        let everything = self.disk.everything();
        let secret = SECRET.as_bytes();
        let mut windows = everything.windows(secret.len());
        assert!(
            !windows.any(|window| window == secret),
            "seed {}",
            self.seed
        );
    }

    /// Records that the collector has, gaps not counted.
    pub(super) fn stored(&self) -> usize {
        self.collector.sessions().values().map(Vec::len).sum()
    }

    /// Records that gaps declare.
    pub(super) fn declared(&self) -> u64 {
        self.dropped() + self.destroyed()
    }

    fn dropped(&self) -> u64 {
        self.gaps(GapReason::SpoolFull)
    }

    fn destroyed(&self) -> u64 {
        self.gaps(GapReason::Damaged)
    }

    fn gaps(&self, reason: GapReason) -> u64 {
        let sessions = self.collector.sessions();
        sessions
            .values()
            .flatten()
            .map(|record| match &record.claims().body {
                Body::Gap(gap) if gap.reason == reason => {
                    record.claims().sequence.0 - gap.first.0 + 1
                }
                Body::Gap(_) | Body::Epoch(_) | Body::Batch(_) | Body::Closing => 0,
            })
            .sum()
    }
}

/// Whether a gap says that a record was dropped for lack of room.
fn declares(record: &Record, sequence: Sequence) -> bool {
    match &record.claims().body {
        Body::Gap(gap) => {
            gap.reason == GapReason::SpoolFull
                && (gap.first..=record.claims().sequence).contains(&sequence)
        }
        Body::Epoch(_) | Body::Batch(_) | Body::Closing => false,
    }
}
