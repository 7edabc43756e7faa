//! What a probe costs the thread that hits it: our programs against an empty one at the same sites,
//! and against what users would otherwise attach.
//!
//! The target measures its own calls in thread CPU time, on a CPU that the reader stays away from.
//! In each repetition every condition is attached, measured and detached once, in random order, so
//! that a change of the machine's speed meets all of them; a ratio is taken within a repetition.

mod peers;
mod target;

use std::{
    collections::{BTreeMap, HashMap},
    thread,
};

use anyhow::{Context, Result};
use tracer_probe::bench::Empty;

use self::{
    peers::{Job, Tracefs},
    target::{CALLS, Function, Probe, Target},
};
use crate::{
    affinity::Pinned,
    bpftrace::Bpftrace,
    peer::LeftOut,
    row::{Bar, Row},
    served::Prices,
    statistics::{SplitMix, median},
};

/// Group on the command line.
pub const GROUP: &str = "probe-cost";

/// 1.0 µs, where two empty programs at the same sites cost 2 × 413 ns: see ARCHITECTURE.md.
const HISTOGRAM_BAR: f64 = 1.21;
/// bpftrace takes seconds to attach, and its figures stand far from ours: it is measured in one of so
/// many repetitions, and in the first.
const EVERY_OF_BPFTRACE: usize = 5;

/// What is called, and what is attached meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Condition {
    /// Nothing is attached.
    Untraced,
    /// Our pair with a record, in another process of the same program.
    Bystander,
    /// Our pair with a record, called from two threads at once.
    TwoThreads,
    /// The same in two processes of the program.
    TwoProcesses,
    /// The empty program at the entry.
    EmptyEntry(Function),
    /// The empty program at the first instruction, which is not the entry that is chosen.
    EmptyFirst(Function),
    /// The empty program at entry and exit.
    EmptyPair(Function),
    /// Our program.
    Ours(Function, Probe),
    /// bpftrace.
    Bpftrace(Function, Job),
    /// Probe events of the kernel.
    Tracefs(Function, Job),
}

use Condition::{Bpftrace as Theirs, EmptyEntry, EmptyFirst, EmptyPair, Ours};
use Function::{Cet, Nop5, Plain, Ret};
use Probe::{EntryRead, EntryRecord, EntryWithheld, PairHistogram, PairRecord};

impl Condition {
    const ALL: [Self; 28] = [
        Self::Untraced,
        Self::Bystander,
        Self::TwoThreads,
        Self::TwoProcesses,
        EmptyEntry(Plain),
        EmptyPair(Plain),
        Ours(Plain, EntryRecord),
        Ours(Plain, EntryRead),
        Ours(Plain, EntryWithheld),
        Ours(Plain, PairRecord),
        Ours(Plain, PairHistogram),
        EmptyEntry(Nop5),
        Ours(Nop5, EntryRecord),
        Ours(Nop5, PairRecord),
        EmptyEntry(Cet),
        EmptyFirst(Cet),
        Ours(Cet, EntryRecord),
        Ours(Cet, PairRecord),
        Ours(Cet, PairHistogram),
        Ours(Ret, PairRecord),
        Theirs(Plain, Job::Count),
        Theirs(Plain, Job::Entry),
        Theirs(Plain, Job::Histogram),
        Theirs(Cet, Job::Entry),
        Theirs(Cet, Job::Pair),
        Theirs(Ret, Job::Pair),
        Self::Tracefs(Plain, Job::Entry),
        Self::Tracefs(Plain, Job::Pair),
    ];
}

/// What the repetitions gave.
#[derive(Debug)]
pub struct Measured {
    /// The group's rows.
    pub rows: Vec<Row>,
    /// Comparisons that this machine does not allow.
    pub left_out: Vec<LeftOut>,
    /// What a probed call costs.
    pub prices: Prices,
}

/// Measures every condition `repetitions` times, those with bpftrace in one of five.
///
/// # Errors
/// If something cannot be attached, a site is not what the rows say, or a call is not accounted for.
pub fn measure(repetitions: usize) -> Result<Measured> {
    const SEED: u64 = 0x7072_6f62;
    let mut bench = Bench::start()?;
    let mut random = SplitMix(SEED);
    let mut costs = Costs::new();
    for repetition in 0..repetitions {
        let mut left = Condition::ALL.to_vec();
        left.retain(|&condition| bench.can(condition, repetition));
        while !left.is_empty() {
            let condition = left.swap_remove(random.below(left.len()));
            let cost = bench
                .cost(condition)
                .with_context(|| format!("measuring {condition:?}"))?;
            costs.entry(condition).or_default().insert(repetition, cost);
        }
    }
    let peers = format!("{}; ", bench.peers());
    let price = |of: Condition| {
        let measured = costs.get(&of).into_iter().flat_map(BTreeMap::values);
        median(&measured.copied().collect::<Vec<f64>>()).context("nothing was measured")
    };
    let prices = Prices {
        pair: price(Ours(Plain, PairRecord))?,
        stepped: price(Ours(Ret, PairRecord))?,
    };
    Ok(Measured {
        rows: rows(&costs, &peers)?,
        left_out: bench.left_out,
        prices,
    })
}

/// Nanoseconds a call of each condition, by the repetition.
type Costs = HashMap<Condition, BTreeMap<usize, f64>>;

fn rows(costs: &Costs, peers: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let note = |of: Condition, repetitions: usize| {
        let peer = if matches!(of, Theirs(..)) { peers } else { "" };
        format!("{peer}{repetitions} repetitions of {CALLS} calls")
    };
    // Rows of what this machine does not allow are left out.
    let mut ratio = |name: &str, of: Condition, to: Condition, bar: Bar| -> Result<()> {
        if let (Some(of_it), Some(to_it)) = (costs.get(&of), costs.get(&to)) {
            let ratio = |(repetition, other): (&usize, &f64)| {
                let cost = of_it.get(repetition)?;
                Some(cost / other)
            };
            let ratios: Vec<_> = to_it.iter().filter_map(ratio).collect();
            let note = note(to, ratios.len());
            rows.push(Row::judge(GROUP, name, "x", ratios, bar, note)?);
        }
        Ok(())
    };
    let empty = "empty program";
    ratio(
        &format!("entry, 64 B record ÷ {empty}"),
        Ours(Plain, EntryRecord),
        EmptyEntry(Plain),
        Bar::AtMost(1.6),
    )?;
    ratio(
        &format!("entry, 256 B read ÷ {empty}"),
        Ours(Plain, EntryRead),
        EmptyEntry(Plain),
        Bar::AtMost(2.0),
    )?;
    ratio(
        "entry + exit, record ÷ two empty programs",
        Ours(Plain, PairRecord),
        EmptyPair(Plain),
        Bar::AtMost(1.8),
    )?;
    ratio(
        "entry + exit, histogram ÷ two empty programs",
        Ours(Plain, PairHistogram),
        EmptyPair(Plain),
        Bar::AtMost(HISTOGRAM_BAR),
    )?;
    ratio(
        &format!("entry at a 5-byte nop, 64 B record ÷ {empty}"),
        Ours(Nop5, EntryRecord),
        EmptyEntry(Nop5),
        Bar::None,
    )?;
    ratio(
        &format!("endbr64: {empty} at the chosen entry ÷ at the first instruction"),
        EmptyEntry(Cet),
        EmptyFirst(Cet),
        Bar::None,
    )?;
    ratio(
        "entry, 256 B read above the capture level ÷ the same granted",
        Ours(Plain, EntryWithheld),
        Ours(Plain, EntryRead),
        Bar::None,
    )?;
    ratio(
        "entry + exit, record: two threads ÷ one",
        Condition::TwoThreads,
        Ours(Plain, PairRecord),
        Bar::None,
    )?;
    ratio(
        "entry + exit, record: two traced processes ÷ one",
        Condition::TwoProcesses,
        Ours(Plain, PairRecord),
        Bar::None,
    )?;
    ratio(
        "another process of the program ÷ untraced",
        Condition::Bystander,
        Condition::Untraced,
        Bar::None,
    )?;
    ratio(
        "endbr64: entry, record ÷ bpftrace's printf",
        Ours(Cet, EntryRecord),
        Theirs(Cet, Job::Entry),
        Bar::AtMost(0.1),
    )?;
    ratio(
        "endbr64: entry + exit, record ÷ bpftrace's printf",
        Ours(Cet, PairRecord),
        Theirs(Cet, Job::Pair),
        Bar::AtMost(0.1),
    )?;
    ratio(
        "endbr64, exit at ret: record ÷ bpftrace's printf",
        Ours(Ret, PairRecord),
        Theirs(Ret, Job::Pair),
        Bar::AtMost(1.1),
    )?;
    ratio(
        "push: histogram ÷ bpftrace's hist",
        Ours(Plain, PairHistogram),
        Theirs(Plain, Job::Histogram),
        Bar::None,
    )?;
    ratio(
        "push: entry, record ÷ kernel's probe event",
        Ours(Plain, EntryRecord),
        Condition::Tracefs(Plain, Job::Entry),
        Bar::None,
    )?;
    ratio(
        "push: entry + exit, record ÷ kernel's probe events",
        Ours(Plain, PairRecord),
        Condition::Tracefs(Plain, Job::Pair),
        Bar::None,
    )?;
    for condition in Condition::ALL {
        if let Some(values) = costs.get(&condition) {
            let microseconds = values
                .values()
                .map(|nanoseconds| nanoseconds / 1e3)
                .collect();
            let name = name(condition);
            let note = note(condition, values.len());
            rows.push(Row::judge(
                GROUP,
                name,
                "µs",
                microseconds,
                Bar::None,
                note,
            )?);
        }
    }
    Ok(rows)
}

/// Of the row that gives a condition's own figure.
fn name(condition: Condition) -> String {
    let site = |function: Function| match function {
        Plain => "push",
        Cet => "endbr64",
        Ret => "endbr64, exit at ret",
        Nop5 => "5-byte nop",
    };
    let job = |job: Job| match job {
        Job::Count => "count",
        Job::Entry => "line per entry",
        Job::Pair => "line per exit",
        Job::Histogram => "histogram",
    };
    let probe = |probe: Probe| match probe {
        EntryRecord => "entry, 64 B record",
        EntryRead => "entry, 256 B read",
        EntryWithheld => "entry, 256 B read above the capture level",
        PairRecord => "entry + exit, record",
        PairHistogram => "entry + exit, histogram",
    };
    match condition {
        Condition::Untraced => "a call, untraced".to_owned(),
        Condition::Bystander => "a call, while another process is traced".to_owned(),
        Condition::TwoThreads => "push: entry + exit, record, two threads".to_owned(),
        Condition::TwoProcesses => "push: entry + exit, record, two processes".to_owned(),
        EmptyEntry(function) => format!("{}: empty program, entry", site(function)),
        EmptyFirst(function) => format!("{}: empty program, first instruction", site(function)),
        EmptyPair(function) => format!("{}: empty program, entry + exit", site(function)),
        Ours(function, does) => format!("{}: {}", site(function), probe(does)),
        Theirs(function, does) => format!("{}: bpftrace, {}", site(function), job(does)),
        Condition::Tracefs(function, does) => {
            format!("{}: probe event, {}", site(function), job(does))
        }
    }
}

/// The targets, and what is attached to them.
struct Bench {
    targets: HashMap<Function, Target>,
    two_threads: Target,
    /// One on each CPU.
    two_processes: [Target; 2],
    bystander: Target,
    empty: Empty,
    bpftrace: Option<Bpftrace>,
    tracefs: Option<Tracefs>,
    left_out: Vec<LeftOut>,
    /// The reader's CPU is not the target's, where there are two.
    _pinned: Pinned,
}

impl Bench {
    fn start() -> Result<Self> {
        let last = thread::available_parallelism()?.get() - 1;
        // Before this thread is pinned: compiling and installing may use every CPU.
        let mut left_out = Vec::new();
        let bpftrace = Bpftrace::find()
            .map_err(|why| left_out.push(LeftOut::because(GROUP, "bpftrace", &why)))
            .ok();
        let tracefs = Tracefs::find()
            .map_err(|why| left_out.push(LeftOut::because(GROUP, "probe events", &why)))
            .ok();
        let pinned = Pinned::to(0)?;
        let targets = [Plain, Cet, Ret, Nop5].map(|function| {
            let target = Target::start(function, &[last])?;
            Ok((function, target))
        });
        Ok(Self {
            targets: targets.into_iter().collect::<Result<_>>()?,
            two_threads: Target::start(Plain, &[last.saturating_sub(1), last])?,
            two_processes: [
                Target::start(Plain, &[last.saturating_sub(1)])?,
                Target::start(Plain, &[last])?,
            ],
            bystander: Target::start(Plain, &[last])?,
            empty: Empty::load()?,
            bpftrace,
            tracefs,
            left_out,
            _pinned: pinned,
        })
    }

    fn can(&self, condition: Condition, repetition: usize) -> bool {
        match condition {
            Theirs(..) => self.bpftrace.is_some() && repetition.is_multiple_of(EVERY_OF_BPFTRACE),
            Condition::Tracefs(..) => self.tracefs.is_some(),
            _ => true,
        }
    }

    fn peers(&self) -> String {
        let bpftrace = self.bpftrace.as_ref();
        bpftrace.map(ToString::to_string).unwrap_or_default()
    }

    /// CPU time of a call, in nanoseconds.
    fn cost(&mut self, condition: Condition) -> Result<f64> {
        match condition {
            Condition::Untraced => self.target(Plain)?.cost(),
            Condition::Bystander => {
                let traced = self.targets.get(&Plain).context("it was started")?;
                self.bystander.cost_beside(traced)
            }
            Condition::TwoThreads => self.two_threads.cost_with(PairRecord),
            Condition::TwoProcesses => {
                let [one, other] = &mut self.two_processes;
                Target::cost_of_both(one, other, PairRecord)
            }
            EmptyEntry(function) => self.cost_with_empty(function, 1),
            EmptyFirst(function) => {
                let target = self.targets.get_mut(&function).context("it was started")?;
                target.cost_with_empty_first(&self.empty)
            }
            EmptyPair(function) => self.cost_with_empty(function, 2),
            Ours(function, probe) => self.target(function)?.cost_with(probe),
            Theirs(function, job) => {
                let target = self.targets.get_mut(&function).context("it was started")?;
                let bpftrace = self.bpftrace.as_ref().context("it was found")?;
                peers::cost_with(bpftrace, job, target)
            }
            Condition::Tracefs(function, job) => {
                let target = self.targets.get_mut(&function).context("it was started")?;
                let tracefs = self.tracefs.as_ref().context("it was found")?;
                tracefs.cost(job, target)
            }
        }
    }

    fn cost_with_empty(&mut self, function: Function, sites: usize) -> Result<f64> {
        let target = self.targets.get_mut(&function).context("it was started")?;
        target.cost_with_empty(&self.empty, sites)
    }

    fn target(&mut self, function: Function) -> Result<&mut Target> {
        self.targets.get_mut(&function).context("it was started")
    }
}
