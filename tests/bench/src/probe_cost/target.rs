//! The process whose calls are measured, and our own programs in it.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tracer_abi::CaptureLevel;
use tracer_probe::{
    Config, Observation, Selection, Supervisor,
    bench::Empty,
    observation::{AttachReport, RecordBatch, SiteCost},
};
use tracer_tests::{
    cache::Cache,
    report::Event,
    workload::{self, Place, Running},
};

/// Calls of one thread in one measurement.
pub(super) const CALLS: u64 = 20_000;
/// How long a measurement may take, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the rings are read meanwhile.
const NAP: Duration = Duration::from_millis(2);
/// Holds what one measurement makes, so that a reader that has to wait for its CPU loses nothing.
const RING_BYTES: usize = 64 << 20;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Function {
    /// Entry and exit are emulated.
    Plain,
    /// Begins with `endbr64`, as every function of a build with CET.
    Cet,
    /// The same, and its only exit is its return.
    Ret,
    /// Has a nop of five bytes at its entry and before its return.
    Nop5,
}

impl Function {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Plain => "cost_target",
            Self::Cet => "cost_cet",
            Self::Ret => "cost_ret",
            Self::Nop5 => "cost_nop5",
        }
    }

    /// What the kernel makes of our entry and exit.
    fn costs(self) -> [SiteCost; 2] {
        match self {
            Self::Plain | Self::Cet => [SiteCost::Emulated; 2],
            // Until Linux 6.17; later kernels need no trap at all.
            Self::Nop5 => [SiteCost::SingleStepped; 2],
            Self::Ret => [SiteCost::Emulated, SiteCost::SingleStepped],
        }
    }
}

/// What our probe does at each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Probe {
    /// A record of 64 bytes.
    EntryRecord,
    /// A record with 256 bytes of the process's memory.
    EntryRead,
    /// The same at a capture level below: the kernel passes the text over.
    EntryWithheld,
    /// A record at the exit, with what the entry saw.
    PairRecord,
    /// The duration into a histogram in the kernel.
    PairHistogram,
}

impl Probe {
    fn profile(self) -> &'static str {
        match self {
            Self::EntryRecord => {
                "signal = \"step\"\nemit = \"entry\"\nfields = { size = \"u64 rsi\" }"
            }
            Self::EntryRead | Self::EntryWithheld => {
                "signal = \"step\"\nemit = \"entry\"\nfields = { text_length = \"u32 rsi\", \
                 text = \"bytes rdi count text_length limit 256\" }"
            }
            Self::PairRecord => {
                "signal = \"step\"\nemit = \"exit\"\nfields = { result = \"i64 ret\" }"
            }
            Self::PairHistogram => "signal = \"operation\"\nmode = \"histogram\"",
        }
    }

    fn level(self) -> CaptureLevel {
        match self {
            Self::EntryWithheld => CaptureLevel::Shape,
            Self::EntryRecord | Self::EntryRead | Self::PairRecord | Self::PairHistogram => {
                CaptureLevel::Text
            }
        }
    }
}

/// A process that calls one function, and where its two sites are.
pub(super) struct Target {
    process: Running,
    file: PathBuf,
    function: Function,
    /// File offsets of the entry and of the exit, as the supervisor chooses them.
    sites: Vec<u64>,
}

impl Target {
    /// Starts a process that calls `function` on each of `cpus`.
    ///
    /// # Errors
    /// If it cannot be traced, or its sites are not those that the rows speak of.
    pub(super) fn start(function: Function, cpus: &[usize]) -> Result<Self> {
        let mut arguments = vec![function.symbol().to_owned(), CALLS.to_string()];
        arguments.extend(cpus.iter().map(usize::to_string));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let command = workload::Target::Cost.command(&Cache::open()?, &arguments)?;
        let file = PathBuf::from(command.get_program());
        let mut process = Running::start(command, Place::Host)?;
        process.until_waiting()?;
        let (supervisor, report) = supervise(function, Probe::PairRecord, &[process.pid()])?;
        supervisor.stop()?;
        let sites = report.probes.first().map_or(&[][..], |probe| &probe.sites);
        ensure!(
            sites.len() == 2
                && std::iter::zip(sites, function.costs()).all(|(site, cost)| site.cost == cost),
            "the sites of {} are no longer what the rows say: {sites:?}",
            function.symbol()
        );
        let sites = sites.iter().map(|site| site.offset).collect();
        Ok(Self {
            process,
            file,
            function,
            sites,
        })
    }

    /// The program, for whoever attaches by its path.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn symbol(&self) -> &'static str {
        self.function.symbol()
    }

    /// File offset of the entry that we choose.
    pub(super) fn entry(&self) -> u64 {
        self.sites[0]
    }

    /// A call's CPU time with nothing attached by us, in nanoseconds.
    pub(super) fn cost(&mut self) -> Result<f64> {
        Ok(self.round(|| Ok(()))?.1)
    }

    /// The same, and how many calls there were.
    pub(super) fn calls_and_cost(&mut self) -> Result<(u64, f64)> {
        self.round(|| Ok(()))
    }

    /// A call's CPU time with the empty program at the entry, or at both sites.
    pub(super) fn cost_with_empty(&mut self, empty: &Empty, sites: usize) -> Result<f64> {
        let _sites = empty.attach(&self.file, &self.sites[..sites], self.process.pid())?;
        self.cost()
    }

    /// A call's CPU time with the empty program at the first instruction, an `endbr64` that the chosen entry
    /// leaves out.
    pub(super) fn cost_with_empty_first(&mut self, empty: &Empty) -> Result<f64> {
        const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
        let first = self.entry() - ENDBR64.len() as u64;
        let mut begins = ENDBR64.map(|_| 0);
        File::open(&self.file)?.read_exact_at(&mut begins, first)?;
        ensure!(
            begins == ENDBR64,
            "{} does not begin with endbr64 before its entry: {begins:x?}",
            self.symbol()
        );
        let _site = empty.attach(&self.file, &[first], self.process.pid())?;
        self.cost()
    }

    /// A call's CPU time with our probe; every call is accounted for.
    pub(super) fn cost_with(&mut self, probe: Probe) -> Result<f64> {
        let (mut supervisor, _) = supervise(self.function, probe, &[self.process.pid()])?;
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

    /// The same of two processes that call at once: the mean of both.
    pub(super) fn cost_of_both(one: &mut Self, other: &mut Self, probe: Probe) -> Result<f64> {
        let pids = [one.process.pid(), other.process.pid()];
        let (mut supervisor, _) = supervise(one.function, probe, &pids)?;
        let mut seen = 0;
        one.process.go()?;
        other.process.go()?;
        let mut meanwhile = || {
            seen += records(supervisor.next(NAP)?)?;
            Ok(())
        };
        let (first, cost_of_first) = one.measured(&mut meanwhile)?;
        let (second, cost_of_second) = other.measured(&mut meanwhile)?;
        seen += records(supervisor.stop()?)?;
        let calls = first + second;
        ensure!(seen == calls, "{seen} of {calls} calls were accounted for");
        Ok(f64::midpoint(cost_of_first, cost_of_second))
    }

    /// A call's CPU time while `other`, a process of the same program, has our probe.
    pub(super) fn cost_beside(&mut self, other: &Self) -> Result<f64> {
        let (supervisor, _) = supervise(self.function, Probe::PairRecord, &[other.pid()])?;
        let cost = self.cost()?;
        let seen = records(supervisor.stop()?)?;
        ensure!(seen == 0, "{seen} calls of another process were recorded");
        Ok(cost)
    }

    /// One round of the target's: how many calls it made, and what each of the measured ones cost.
    fn round(&mut self, mut meanwhile: impl FnMut() -> Result<()>) -> Result<(u64, f64)> {
        self.process.go()?;
        self.measured(&mut meanwhile)
    }

    /// The end of a round that has begun.
    fn measured(&mut self, meanwhile: &mut dyn FnMut() -> Result<()>) -> Result<(u64, f64)> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            meanwhile()?;
            let Some(line) = self.process.poll(NAP)? else {
                continue;
            };
            if let Event::Measured {
                calls,
                warm_up,
                cpu_ns,
                ..
            } = line.event
            {
                self.process.until_waiting()?;
                #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
                return Ok((calls + warm_up, cpu_ns as f64 / calls as f64));
            }
        }
        bail!("the target did not finish its calls within {PATIENCE:?}")
    }
}

/// Attaches `probe` to the processes `pids`.
fn supervise(
    function: Function,
    probe: Probe,
    pids: &[u32],
) -> Result<(Supervisor, Arc<AttachReport>)> {
    let symbol = function.symbol();
    let profile = format!(
        "name = \"cost\"\nruntime = \"cost\"\nrecognise = [\"{symbol}\"]\n[[probe]]\n\
         name = \"call\"\ngroup = \"calls\"\nrate = 1\nsymbols = [\"{symbol}\"]\n{}\n",
        probe.profile()
    );
    let mut config = Config::new(vec![tracer_profile::read("cost", &profile)?]);
    config.selection = Selection::Pids(pids.to_vec());
    config.level = probe.level();
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
    bail!("nothing was attached to {pids:?} within {PATIENCE:?}")
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
