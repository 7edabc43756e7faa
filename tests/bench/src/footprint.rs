//! What the tracer takes on a host where nothing happens: memory, processor time, the program itself
//! and what it is made of.

mod process;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tracer_tests::{
    cache::Cache,
    fleet::{Fleet, Part, Wishes},
    model::TINY,
    tracer::binary,
    workload::{Place, Running, Runtime},
};

pub(crate) use self::process::Process;
use self::process::Resident;
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

/// Measures `tracer trace` and both processes of `tracer agent` beside a llama.cpp process that waits,
/// and the program itself.
///
/// # Errors
/// If nothing can be traced, or a file cannot be read.
pub fn measure(extent: Extent) -> Result<Vec<Row>> {
    let steps = ["--n", "1", "load", "context", "wait", "generate"];
    let command = Runtime::NodeLlamaCpp.command(&Cache::open()?, TINY, &steps)?;
    let mut runtime = Running::start(command, Place::Host)?;
    runtime.until_waiting()?;
    let (mut with, mut without, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    let started = process::started()?;
    for _ in 0..extent.repetitions {
        let tracer = Tracer::beside(runtime.pid())?;
        thread::sleep(SETTLES);
        let Resident { all, rings } = tracer.process().resident()?;
        with.push(mebibytes(all));
        without.push(mebibytes(all - rings));
        idle.push(tracer.process().busy_percent(extent.idle)?);
    }
    let started = process::started()? - started;
    let note = format!(
        "`tracer trace` with llama.cpp and ggml attached, nothing called; {started} processes and threads \
         started meanwhile"
    );
    let row =
        |name: &str, unit, values, bar| Row::judge(GROUP, name, unit, values, bar, note.as_str());
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
    rows.extend(agent(extent)?);
    rows.push(program()?);
    rows.extend(dependencies()?);
    Ok(rows)
}

/// Both processes of `tracer agent` beside the same idle process, connected to a collector.
fn agent(extent: Extent) -> Result<Vec<Row>> {
    let mut fleet = Fleet::start(Wishes::default())?;
    fleet.until("attached", |status| {
        let mut capture = status.capture.iter();
        capture.any(|capture| capture.attached > 0)
    })?;
    thread::sleep(SETTLES);
    let mut rows = Vec::new();
    for (part, name) in [(Part::Capture, "capture"), (Part::Ship, "ship")] {
        let process = Process(fleet.pid(part)?);
        let (mut with, mut without, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        let started = process::started()?;
        for _ in 0..extent.repetitions {
            idle.push(process.busy_percent(extent.idle)?);
            let Resident { all, rings } = process.resident()?;
            with.push(mebibytes(all));
            without.push(mebibytes(all - rings));
        }
        let started = process::started()? - started;
        let note = format!(
            "`tracer agent` with llama.cpp and ggml attached, nothing called, connected; {started} processes \
             and threads started meanwhile"
        );
        let mut row = |what: &str, unit, values, bar| -> Result<()> {
            let name = format!("{name}: {what}");
            rows.push(Row::judge(GROUP, name, unit, values, bar, note.as_str())?);
            Ok(())
        };
        if part == Part::Capture {
            row("resident, rings included", "MiB", with, Bar::None)?;
        }
        let resident = "resident without the rings";
        row(resident, "MiB", without, Bar::AtMost(RESIDENT_BAR))?;
        row("idle, of a core", "%", idle, Bar::AtMost(IDLE_BAR))?;
    }
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
    let note = "stripped; every command is in it, and both processes of the agent are it";
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

    fn process(&self) -> Process {
        Process(self.0.id())
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
