//! What a probe costs the thread that hits it: our programs against an empty one at the same sites.
//!
//! The target measures its own calls in thread CPU time, on a CPU that the reader stays away from.
//! In each repetition every condition is attached, measured and detached once, in random order, so
//! that a change of the machine's speed meets all of them; a ratio is taken within a repetition.

use std::{
    collections::HashMap,
    iter,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tracer_abi::CaptureLevel;
use tracer_probe::{
    Config, Observation, Selection, Supervisor,
    bench::Empty,
    observation::{AttachReport, RecordBatch, SiteCost},
};
use tracer_tests::{
    cache::Cache,
    report::Event,
    workload::{Place, Running, Target},
};

use crate::{
    affinity::Pinned,
    row::{Bar, Row},
    statistics::{SplitMix, median},
};

/// Group on the command line.
pub const GROUP: &str = "probe-cost";

/// Calls of one measurement.
const CALLS: u64 = 20_000;
/// How long a measurement may take, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the rings are read meanwhile.
const NAP: Duration = Duration::from_millis(2);
/// Holds what one measurement makes, so that a reader that has to wait for its CPU loses nothing.
const RING_BYTES: usize = 64 << 20;

/// 1.0 µs, where two empty programs at the same sites cost 2 × 413 ns: see ARCHITECTURE.md.
const HISTOGRAM_BAR: f64 = 1.21;

/// What is attached to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Condition {
    EmptyEntry,
    EmptyPair,
    EntryRecord,
    EntryRead,
    PairRecord,
    PairHistogram,
}

impl Condition {
    const ALL: [Self; 6] = [
        Self::EmptyEntry,
        Self::EmptyPair,
        Self::EntryRecord,
        Self::EntryRead,
        Self::PairRecord,
        Self::PairHistogram,
    ];

    /// What the profile's probe does at each call; `None` for the empty program.
    fn probe(self) -> Option<&'static str> {
        match self {
            Self::EmptyEntry | Self::EmptyPair => None,
            Self::EntryRecord => {
                Some("signal = \"step\"\nemit = \"entry\"\nfields = { size = \"u64 rsi\" }")
            }
            Self::EntryRead => Some(
                "signal = \"step\"\nemit = \"entry\"\nfields = { text_length = \"u32 rsi\", \
                 text = \"bytes rdi count text_length limit 256\" }",
            ),
            Self::PairRecord => {
                Some("signal = \"step\"\nemit = \"exit\"\nfields = { result = \"i64 ret\" }")
            }
            Self::PairHistogram => Some("signal = \"operation\"\nmode = \"histogram\""),
        }
    }
}

/// What the repetitions gave.
#[derive(Debug)]
pub struct Measured {
    /// The group's rows.
    pub rows: Vec<Row>,
    /// CPU time of a probed call with its exit and a record, in nanoseconds.
    pub nanoseconds_per_pair: f64,
}

/// Measures every condition `repetitions` times.
///
/// # Errors
/// If something cannot be attached, a site is not emulated, or a call is not accounted for.
pub fn measure(repetitions: usize) -> Result<Measured> {
    const SEED: u64 = 0x7072_6f62;
    let mut bench = Bench::start()?;
    let mut random = SplitMix(SEED);
    let mut costs: HashMap<Condition, Vec<f64>> = HashMap::new();
    for _ in 0..repetitions {
        let mut left = Condition::ALL.to_vec();
        while !left.is_empty() {
            let condition = left.swap_remove(random.below(left.len()));
            let cost = bench
                .cost(condition)
                .with_context(|| format!("measuring {condition:?}"))?;
            costs.entry(condition).or_default().push(cost);
        }
    }
    rows(&costs, repetitions)
}

fn rows(costs: &HashMap<Condition, Vec<f64>>, repetitions: usize) -> Result<Measured> {
    let note = format!("{repetitions} repetitions of {CALLS} calls");
    let ratio = |name: &str, of: Condition, to: Condition, limit: f64| {
        let pairs = iter::zip(&costs[&of], &costs[&to]);
        let ratios = pairs.map(|(cost, empty)| cost / empty).collect();
        Row::judge(GROUP, name, "x", ratios, Bar::AtMost(limit), &note)
    };
    let absolute = |name: &str, of: Condition, bar: Bar| {
        let microseconds = costs[&of].iter().map(|nanoseconds| nanoseconds / 1e3);
        Row::judge(GROUP, name, "µs", microseconds.collect(), bar, &note)
    };
    let rows = vec![
        absolute("empty program, entry", Condition::EmptyEntry, Bar::None)?,
        absolute(
            "empty program, entry + exit",
            Condition::EmptyPair,
            Bar::None,
        )?,
        ratio(
            "entry, 64 B record ÷ empty",
            Condition::EntryRecord,
            Condition::EmptyEntry,
            1.6,
        )?,
        ratio(
            "entry, 256 B read ÷ empty",
            Condition::EntryRead,
            Condition::EmptyEntry,
            2.0,
        )?,
        ratio(
            "entry + exit, record ÷ two empty",
            Condition::PairRecord,
            Condition::EmptyPair,
            1.8,
        )?,
        absolute("entry + exit, record", Condition::PairRecord, Bar::None)?,
        ratio(
            "entry + exit, histogram ÷ two empty",
            Condition::PairHistogram,
            Condition::EmptyPair,
            HISTOGRAM_BAR,
        )?,
        absolute(
            "entry + exit, histogram",
            Condition::PairHistogram,
            Bar::None,
        )?,
    ];
    let nanoseconds_per_pair =
        median(&costs[&Condition::PairRecord]).context("nothing was measured")?;
    Ok(Measured {
        rows,
        nanoseconds_per_pair,
    })
}

/// The target, and where its two sites are.
struct Bench {
    target: Running,
    file: PathBuf,
    empty: Empty,
    /// File offsets of the entry and of the exit, as the supervisor chooses them.
    sites: Vec<u64>,
    /// The reader's CPU is not the target's, where there are two.
    _pinned: Pinned,
}

impl Bench {
    fn start() -> Result<Self> {
        let cpus = thread::available_parallelism()?.get();
        let pinned = Pinned::to(0)?;
        let last = (cpus - 1).to_string();
        let command = Target::Cost.command(&Cache::open()?, &[&last, &CALLS.to_string()])?;
        let file = PathBuf::from(command.get_program());
        let mut target = Running::start(command, Place::Host)?;
        target.until_waiting()?;
        let (supervisor, report) = supervise(Condition::PairRecord, target.pid())?;
        supervisor.stop()?;
        let sites = report.probes.first().map_or(&[][..], |probe| &probe.sites);
        ensure!(
            sites.len() == 2 && sites.iter().all(|site| site.cost == SiteCost::Emulated),
            "the target's sites are no longer an emulated entry and exit: {sites:?}"
        );
        let sites = sites.iter().map(|site| site.offset).collect();
        let empty = Empty::load()?;
        Ok(Self {
            target,
            file,
            empty,
            sites,
            _pinned: pinned,
        })
    }

    /// CPU time of a call, in nanoseconds.
    fn cost(&mut self, condition: Condition) -> Result<f64> {
        let pid = self.target.pid();
        let offsets = match condition {
            Condition::EmptyEntry => &self.sites[..1],
            Condition::EmptyPair => &self.sites[..],
            Condition::EntryRecord
            | Condition::EntryRead
            | Condition::PairRecord
            | Condition::PairHistogram => return self.traced_cost(condition),
        };
        let _sites = self.empty.attach(&self.file, offsets, pid)?;
        Ok(self.round(|| Ok(()))?.1)
    }

    fn traced_cost(&mut self, condition: Condition) -> Result<f64> {
        let (mut supervisor, _) = supervise(condition, self.target.pid())?;
        let mut seen = 0;
        let (calls, cost) = self.round(|| {
            seen += records(supervisor.next(NAP)?)?;
            Ok(())
        })?;
        let counted = supervisor.histograms()?;
        seen += counted.iter().map(|(_, all)| all.calls()).sum::<u64>();
        seen += records(supervisor.stop()?)?;
        ensure!(seen == calls, "{seen} of {calls} calls were accounted for");
        Ok(cost)
    }

    /// One round of the target's: how many calls it made, and what each of the measured ones cost.
    fn round(&mut self, mut meanwhile: impl FnMut() -> Result<()>) -> Result<(u64, f64)> {
        self.target.go()?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            meanwhile()?;
            let Some(line) = self.target.poll(NAP)? else {
                continue;
            };
            if let Event::Measured {
                calls,
                warm_up,
                cpu_ns,
                ..
            } = line.event
            {
                self.target.until_waiting()?;
                #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
                return Ok((calls + warm_up, cpu_ns as f64 / calls as f64));
            }
        }
        bail!("the target did not finish its calls within {PATIENCE:?}")
    }
}

/// Attaches the probe of `condition` to the process `pid`.
fn supervise(condition: Condition, pid: u32) -> Result<(Supervisor, Arc<AttachReport>)> {
    let probe = condition
        .probe()
        .with_context(|| format!("{condition:?} has no profile"))?;
    let profile = format!(
        "name = \"cost\"\nruntime = \"cost\"\nrecognise = [\"cost_target\"]\n[[probe]]\n\
         name = \"call\"\ngroup = \"calls\"\nrate = 1\nsymbols = [\"cost_target\"]\n{probe}\n"
    );
    let mut config = Config::new(vec![tracer_profile::read("cost", &profile)?]);
    config.selection = Selection::Pids(vec![pid]);
    config.level = CaptureLevel::Text;
    config.ring_bytes = RING_BYTES;
    config.govern = false;
    let mut supervisor = Supervisor::start(config)?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        for observation in supervisor.next(NAP)? {
            match observation {
                Observation::Attached(report) => return Ok((supervisor, report)),
                Observation::NotAttachable(why) => bail!("not attachable: {}", why.reason),
                _ => {}
            }
        }
    }
    bail!("nothing was attached to process {pid} within {PATIENCE:?}")
}

/// How many call records there are.
fn records(observations: Vec<Observation>) -> Result<u64> {
    let mut count = 0;
    for observation in observations {
        match observation {
            Observation::Records(batch) if batch.ring != RecordBatch::CRITICAL => {
                count += batch.len() as u64;
            }
            Observation::Loss(loss) if !loss.reason.is_intended() => {
                bail!("{} records were lost: {:?}", loss.count, loss.reason)
            }
            _ => {}
        }
    }
    Ok(count)
}
