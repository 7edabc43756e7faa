//! What the tracer takes on a host where nothing happens: memory, processor time, the program itself
//! and what it is made of.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tracer_tests::{
    cache::Cache,
    model::TINY,
    tracer::binary,
    workload::{Place, Running, Runtime},
};

use crate::{
    peer,
    row::{Bar, Row},
};

/// Group on the command line.
pub const GROUP: &str = "footprint";

/// Of a core, in percent.
const IDLE_BAR: f64 = 0.1;
/// MiB without the rings.
const RESIDENT_BAR: f64 = 40.0;
/// How long the tracer gets to settle after it has attached.
const SETTLES: Duration = Duration::from_secs(3);

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Figures of the rows about a running tracer.
    pub repetitions: usize,
    /// How long each looks at an idle process.
    pub idle: Duration,
}

/// Measures `tracer trace` beside a llama.cpp process that waits, and the program itself.
///
/// # Errors
/// If nothing can be traced, or a file cannot be read.
pub fn measure(extent: Extent) -> Result<Vec<Row>> {
    let steps = ["--n", "1", "load", "context", "wait", "generate"];
    let command = Runtime::NodeLlamaCpp.command(&Cache::open()?, TINY, &steps)?;
    let mut runtime = Running::start(command, Place::Host)?;
    runtime.until_waiting()?;
    let (mut with, mut without, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..extent.repetitions {
        let tracer = Tracer::beside(runtime.pid())?;
        thread::sleep(SETTLES);
        let Resident { all, rings } = tracer.resident()?;
        with.push(mebibytes(all));
        without.push(mebibytes(all - rings));
        idle.push(tracer.busy_percent(extent.idle)?);
    }
    let note = "`tracer trace` with llama.cpp and ggml attached, nothing called";
    let row = |name: &str, unit, values, bar| Row::judge(GROUP, name, unit, values, bar, note);
    let mut rows = vec![
        row("resident, rings included", "MiB", with, Bar::None)?,
        row(
            "resident without the rings",
            "MiB",
            without,
            Bar::AtMost(RESIDENT_BAR),
        )?,
        row("idle, of a core", "%", idle, Bar::AtMost(IDLE_BAR))?,
    ];
    rows.push(program()?);
    rows.extend(dependencies()?);
    Ok(rows)
}

/// The size of the program without debug information.
fn program() -> Result<Row> {
    let scratch = tempfile::tempdir()?;
    let stripped = scratch.path().join("tracer");
    let status = Command::new(peer::distribution("strip", "binutils")?)
        .arg("-o")
        .arg(&stripped)
        .arg(binary()?)
        .status()
        .context("cannot run `strip`")?;
    ensure!(status.success(), "`strip` ended with {status}");
    let size = mebibytes(fs::metadata(&stripped)?.len());
    let note = "stripped; every command is in it";
    Row::judge(GROUP, "program", "MiB", vec![size], Bar::None, note)
}

/// How many crates that are not ours each program is made of.
fn dependencies() -> Result<Vec<Row>> {
    // What ran this program is there, and its lock file says everything.
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let count = |package: &str| -> Result<Option<Row>> {
        let output = Command::new(&cargo)
            .args(["tree", "--locked", "--offline", "--edges", "normal"])
            .args(["--prefix", "none", "--format", "{p}", "--package", package])
            .output()
            .context("cannot run cargo")?;
        if !output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8(output.stdout)?;
        // Ours have their folder behind them.
        let crates: BTreeSet<&str> = text.lines().filter(|line| !line.contains(" (/")).collect();
        let crates: BTreeSet<_> = crates
            .iter()
            .map(|line| {
                line.trim_end_matches(" (*)")
                    .trim_end_matches(" (proc-macro)")
            })
            .filter(|line| !line.is_empty())
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "some hundred")]
        let value = vec![crates.len() as f64];
        let name = format!("{package}: crates of others");
        let note = "cargo tree, without what only builds it";
        Row::judge(GROUP, name, "", value, Bar::None, note).map(Some)
    };
    let mut rows = Vec::new();
    for package in ["tracer-cli", "tracer-agent", "tracer-collector"] {
        rows.extend(count(package)?);
    }
    ensure!(!rows.is_empty(), "cargo knows none of our programs");
    Ok(rows)
}

/// A `tracer trace` that has attached to a process.
struct Tracer(Child);

/// Bytes.
struct Resident {
    all: u64,
    /// Those of them that are rings, which are as large as they are told to be.
    rings: u64,
}

impl Tracer {
    fn beside(pid: u32) -> Result<Self> {
        let mut child = Command::new(binary()?)
            .args(["trace", "--output", "ndjson", "--pid", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the tracer")?;
        let output = child.stdout.take().context("it has no standard output")?;
        let tracer = Self(child);
        let mut lines = BufReader::new(output).lines();
        loop {
            let Some(line) = lines.next() else {
                bail!("the tracer attached nothing to process {pid}");
            };
            if line?.contains("\"kind\":\"agent.attached\"") {
                break;
            }
        }
        // What it says later must not stop it.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(tracer)
    }

    /// From proc(5): a line with the mapping's name, and below it lines with what is resident.
    fn resident(&self) -> Result<Resident> {
        let text = self.proc("smaps")?;
        let mut resident = Resident { all: 0, rings: 0 };
        let mut is_ring = false;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("Rss:") => {
                    let size = words.next().and_then(|size| size.parse::<u64>().ok());
                    let bytes = size.context("a size in /proc/PID/smaps is no number")? << 10;
                    resident.all += bytes;
                    resident.rings += if is_ring { bytes } else { 0 };
                }
                Some(first) if first.contains('-') => is_ring = line.contains("bpf-map"),
                _ => {}
            }
        }
        ensure!(resident.all > 0, "the tracer has no memory");
        Ok(resident)
    }

    /// Percent of a core that it takes in `time`.
    fn busy_percent(&self, time: Duration) -> Result<f64> {
        let (before, begin) = (self.busy()?, Instant::now());
        thread::sleep(time);
        let busy = self.busy()? - before;
        Ok(100.0 * busy.as_secs_f64() / begin.elapsed().as_secs_f64())
    }

    /// Time that its threads have run, from the first field of /proc/PID/task/TID/schedstat, which
    /// counts nanoseconds where /proc/PID/stat counts ticks of 10 ms.
    fn busy(&self) -> Result<Duration> {
        let tasks = Path::new("/proc")
            .join(self.0.id().to_string())
            .join("task");
        let mut busy = Duration::ZERO;
        for task in fs::read_dir(&tasks).context("has the tracer ended?")? {
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let nanoseconds = text.split_whitespace().next().map(str::parse);
            let nanoseconds = nanoseconds.context("a thread's schedstat is empty")??;
            busy += Duration::from_nanos(nanoseconds);
        }
        Ok(busy)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = Path::new("/proc").join(self.0.id().to_string()).join(file);
        fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; has it ended?", path.display()))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
