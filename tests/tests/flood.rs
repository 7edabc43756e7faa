//! Under a flood every call is received or counted as lost, and no record holds what another process
//! passed. These tests read the records themselves: no output would keep up. Need root and BPF.

use std::{
    collections::BTreeMap,
    env, fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tracer_abi::{CaptureLevel, Chunk, Phase, RecordHeader, RecordKind};
use tracer_probe::{Config, Observation, Selection, Supervisor, observation::ProbeId};
use tracer_profile::{FieldName, Place as FieldPlace};
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    report::Event,
    requires_root,
    workload::{Place, Running, Target},
};

const NAP: Duration = Duration::from_millis(20);
const RING: usize = 64 << 10;

/// Reads and tells apart what a supervisor observes.
struct Reader {
    supervisor: Supervisor,
    tally: Tally,
}

/// What arrived, and what did not.
#[derive(Default)]
struct Tally {
    attached: bool,
    received: BTreeMap<u32, u64>,
    lost: BTreeMap<String, u64>,
}

impl Reader {
    fn start(profile: &str, pids: &[u32], level: CaptureLevel, ring_bytes: usize) -> Result<Self> {
        let text = fs::read_to_string(format!("{SOURCES}/{profile}"))?;
        let mut config = Config::new(vec![tracer_profile::read(profile, &text)?]);
        config.selection = Selection::Pids(pids.to_vec());
        config.level = level;
        config.ring_bytes = ring_bytes;
        config.govern = false;
        let supervisor = Supervisor::start(config)?;
        let mut reader = Self {
            supervisor,
            tally: Tally::default(),
        };
        let start = Instant::now();
        while !reader.tally.attached {
            reader.read(NAP, &mut |_, _, _| Ok(()))?;
            if start.elapsed() > Duration::from_secs(60) {
                bail!("nothing was attached to {pids:?}");
            }
        }
        Ok(reader)
    }

    /// Reads once, and hands each call's record to `look`; returns whether anything was there.
    fn read(&mut self, nap: Duration, look: Look<'_>) -> Result<bool> {
        let observations = self.supervisor.next(nap)?;
        let any = !observations.is_empty();
        self.tally.take(observations, |header, rest| {
            look(&self.supervisor, header, rest)
        })?;
        Ok(any)
    }

    /// Reads until nothing more comes.
    fn drain(&mut self, look: Look<'_>) -> Result<()> {
        let mut quiet = 0;
        while quiet < 10 {
            quiet = if self.read(NAP, look)? { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    /// Detaches, and takes the last records and losses with it.
    fn stop(self) -> Result<Tally> {
        let Self {
            supervisor,
            mut tally,
        } = self;
        tally.take(supervisor.stop()?, |_, _| Ok(()))?;
        Ok(tally)
    }
}

type Look<'a> = &'a mut dyn FnMut(&Supervisor, &RecordHeader, &[u8]) -> Result<()>;

impl Tally {
    fn take(
        &mut self,
        observations: Vec<Observation>,
        mut look: impl FnMut(&RecordHeader, &[u8]) -> Result<()>,
    ) -> Result<()> {
        for observation in observations {
            match observation {
                Observation::Attached(_) => self.attached = true,
                Observation::NotAttachable(why) => bail!("not attachable: {why:?}"),
                Observation::Loss(loss) => {
                    *self.lost.entry(format!("{:?}", loss.reason)).or_default() += loss.count
                }
                Observation::Records(batch) => {
                    for record in batch.iter() {
                        let (header, rest) = RecordHeader::parse(record)?;
                        if header.record_kind()? == RecordKind::Call
                            && header.call_phase()? == Phase::Entry
                        {
                            *self.received.entry(header.pid).or_default() += 1;
                            look(&header, rest)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn counts(event: &Event) -> Option<(u64, u64)> {
    match event {
        Event::Counts {
            functions,
            checksum,
        } => Some((functions.values().map(|it| it.entered).sum(), *checksum)),
        _ => None,
    }
}

fn flood(calls_per_thread: &str) -> Result<Running> {
    let mut running = Running::start(
        Target::Flood.command(&Cache::open()?, &[calls_per_thread])?,
        Place::Host,
    )?;
    running.until_waiting()?;
    Ok(running)
}

fn let_end(mut running: Running) -> Result<()> {
    running.until_waiting()?;
    running.go()?;
    running.finish().map(drop)
}

#[test]
fn every_call_of_a_flood_is_received_or_counted_as_lost() -> Result<()> {
    requires_root!();
    let calls_per_thread = if env::var_os("TRACER_FULL").is_some() {
        "10000000"
    } else {
        "1000000"
    };
    let mut alone = flood(calls_per_thread)?;
    alone.go()?;
    let untraced = alone.until(|event| counts(event).is_some())?;
    let_end(alone)?;
    for stopped in [false, true] {
        let mut running = flood(calls_per_thread)?;
        let pid = running.pid();
        let cpus = std::thread::available_parallelism()?.get();
        let mut reader = Reader::start("flood.toml", &[pid], CaptureLevel::Tokens, RING * cpus)?;
        running.go()?;
        let mut done = None;
        while done.is_none() {
            if !stopped {
                reader.read(NAP, &mut |_, _, _| Ok(()))?;
            }
            done = running
                .poll(if stopped { NAP } else { Duration::ZERO })?
                .filter(|line| counts(&line.event).is_some());
        }
        let tally = reader.stop()?;
        let (made, checksum) = done
            .and_then(|line| counts(&line.event))
            .context("the target reported no counts")?;
        assert_eq!(
            Some((made, checksum)),
            counts(&untraced.event),
            "the target's results"
        );
        let received = tally.received.get(&pid).copied().unwrap_or_default();
        let lost: u64 = tally.lost.values().sum();
        assert_eq!(
            received + lost,
            made,
            "received {received}, lost {:?}",
            tally.lost
        );
        if stopped {
            assert!(lost > 0, "rings of {RING} bytes cannot hold {made} records");
        }
        let_end(running)?;
    }
    Ok(())
}

#[test]
fn a_record_of_a_stalled_reader_holds_nothing_of_a_fast_one_on_the_same_cpu() -> Result<()> {
    requires_root!();
    const CALLS: u64 = 100_000;
    let cache = Cache::open()?;
    let mut slow = Running::start_as(
        Target::Stall.command(&cache, &["slow", "192"])?,
        Place::Host,
        None,
    )?;
    let mut fast = Running::start_as(
        Target::Stall.command(&cache, &["fast", &CALLS.to_string()])?,
        Place::Host,
        None,
    )?;
    slow.until_waiting()?;
    fast.until_waiting()?;
    let (slow_pid, fast_pid) = (slow.pid(), fast.pid());
    let mut reader = Reader::start(
        "stall.toml",
        &[slow_pid, fast_pid],
        CaptureLevel::Text,
        8 << 20,
    )?;
    let mut slow_calls = 0;
    let mut look = |supervisor: &Supervisor, header: &RecordHeader, rest: &[u8]| {
        let seen = Seen::parse(supervisor, header, rest)?;
        let (byte, length) = if header.pid == slow_pid {
            slow_calls += 1;
            (b'S', 192)
        } else {
            (b'F', 1 + seen.call % 192)
        };
        if seen.length != length
            || seen.bytes.iter().any(|found| *found != byte)
            || seen.bytes.len() as u64 != length
        {
            bail!(
                "a record of {} has {seen:?}, expected {length} times {byte:#x}",
                header.pid
            );
        }
        Ok(())
    };

    slow.go()?;
    slow.until_waiting()
        .context("nobody reads the page that does not exist")?;
    fast.go()?;
    while fast
        .poll(Duration::ZERO)?
        .is_none_or(|line| counts(&line.event).is_none())
    {
        reader.read(NAP, &mut look)?;
    }
    // What the fast one left may fill the ring, and the slow one's only record shall have room.
    reader.drain(&mut look)?;
    slow.go()?;
    slow.until(|event| counts(event).is_some())?;
    reader.drain(&mut look)?;
    let tally = reader.stop()?;

    let lost: u64 = tally.lost.values().sum();
    assert_eq!(
        tally.received[&fast_pid] + slow_calls + lost,
        CALLS + 1,
        "lost {:?}",
        tally.lost
    );
    assert_eq!(
        slow_calls, 1,
        "the stalled call arrives whole: {:?}",
        tally.lost
    );
    let_end(slow)?;
    let_end(fast)
}

/// What a record of `stall_target` says.
#[derive(Debug)]
struct Seen<'a> {
    call: u64,
    length: u64,
    bytes: &'a [u8],
}

impl<'a> Seen<'a> {
    fn parse(supervisor: &Supervisor, header: &RecordHeader, rest: &'a [u8]) -> Result<Self> {
        let (_, probe) = supervisor
            .probe(ProbeId(header.spec))
            .context("a record of an unknown probe")?;
        let slot = |name| -> Result<u64> {
            let Some(FieldPlace::Slot(slot)) = probe.field(name).map(|field| field.place) else {
                bail!("{name:?} has no slot")
            };
            let at = usize::from(slot) * 8;
            let word = rest
                .get(at..at + 8)
                .context("a record ends within its slots")?;
            Ok(u64::from_le_bytes(word.try_into()?))
        };
        let (_, bytes, _) = Chunk::parse(&rest[usize::from(header.value_count) * 8..])?;
        Ok(Self {
            call: slot(FieldName::Size)?,
            length: slot(FieldName::TextLength)?,
            bytes,
        })
    }
}
