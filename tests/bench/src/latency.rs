//! How long it takes from a call's end to its line on a terminal: `tracer trace -o ndjson`, whose output is
//! a pseudo-terminal, beside llama.cpp.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    time::{ClockId, clock_gettime},
};
use tracer_tests::{
    cache::Cache,
    model::TINY,
    report::Event,
    tracer::binary,
    workload::{Place, Running, Runtime},
};

use crate::{
    row::{Bar, Row},
    statistics::percentile,
};

/// Group on the command line.
pub const GROUP: &str = "latency";

/// Steps of one repetition.
const STEPS: usize = 256;
/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after a library's probes those of another one may follow.
const SETTLING: Duration = Duration::from_millis(500);

/// Measures `repetitions` generations.
///
/// # Errors
/// If a step is not told of.
pub fn measure(repetitions: usize) -> Result<Vec<Row>> {
    let (mut middle, mut high) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let delays = delays()?;
        middle.extend(percentile(&delays, 50));
        high.extend(percentile(&delays, 99));
    }
    let note = format!(
        "{repetitions} repetitions of {STEPS} decode steps of a toy model; events wait 20 ms for their order"
    );
    let row = |name, values| Row::judge(GROUP, name, "ms", values, Bar::None, &*note);
    Ok(vec![
        row("end of a call to its line on a terminal: p50", middle)?,
        row("end of a call to its line on a terminal: p99", high)?,
    ])
}

/// Milliseconds of each step.
fn delays() -> Result<Vec<f64>> {
    let count = STEPS.to_string();
    let steps = ["--n", &count, "load", "context", "wait", "generate"];
    let command = Runtime::NodeLlamaCpp.command(&Cache::open()?, TINY, &steps)?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let terminal = Terminal::start(running.pid())?;
    terminal.until_attached()?;
    running.go()?;
    let report = running.finish()?;
    let ends = report.iter().filter_map(|line| match line.event {
        Event::DecodeEnd { .. } => Some(line.boot_ns),
        _ => None,
    });
    let ends: Vec<u64> = ends.collect();
    ensure!(
        ends.len() >= STEPS,
        "the workload made {} calls",
        ends.len()
    );
    let mut delays = Vec::new();
    for end in ends {
        let shown = terminal.step()?;
        #[expect(clippy::cast_precision_loss, reason = "some milliseconds")]
        delays.push(shown.saturating_sub(end) as f64 / 1e6);
    }
    Ok(delays)
}

/// What was shown.
enum Shown {
    /// A library has its probes.
    Attached,
    /// A decode step, at this time since the start of the system, in nanoseconds.
    Step(u64),
}

/// A tracer on a terminal of its own.
struct Terminal {
    child: Child,
    shown: Receiver<Shown>,
}

impl Terminal {
    fn start(pid: u32) -> Result<Self> {
        let terminal =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pseudo-terminal")?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let name = ptsname(&terminal, Vec::new())?;
        let mut inner = OpenOptions::new();
        let inner = inner.read(true).write(true).open(name.to_str()?)?;
        let child = Command::new(binary()?)
            .args(["trace", "-o", "ndjson", "--pid", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(inner)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the tracer")?;
        let (to, shown) = mpsc::channel();
        thread::spawn(move || {
            // When the tracer ends its terminal gives an error, and so do those lines.
            for line in BufReader::new(File::from(terminal))
                .lines()
                .map_while(Result::ok)
            {
                let what = if line.contains("\"kind\":\"inference.step\"") {
                    Shown::Step(boot_time())
                } else if line.contains("\"kind\":\"agent.attached\"") {
                    Shown::Attached
                } else {
                    continue;
                };
                if to.send(what).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, shown })
    }

    fn until_attached(&self) -> Result<()> {
        let mut patience = PATIENCE;
        loop {
            match self.shown.recv_timeout(patience) {
                Ok(Shown::Attached) => patience = SETTLING,
                Ok(Shown::Step(_)) => bail!("a step before any"),
                Err(_) if patience == SETTLING => return Ok(()),
                Err(_) => bail!("the tracer attached nothing within {PATIENCE:?}"),
            }
        }
    }

    fn step(&self) -> Result<u64> {
        loop {
            match self.shown.recv_timeout(PATIENCE) {
                Ok(Shown::Step(at)) => return Ok(at),
                Ok(Shown::Attached) => {}
                Err(_) => bail!("a step was not shown within {PATIENCE:?}"),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn boot_time() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
