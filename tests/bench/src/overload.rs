//! More calls than anybody can follow: each is told or declared as lost, and the share of each.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tracer_event::{Body, agent::Summary};
use tracer_tests::{
    cache::Cache,
    report::Event,
    tracer::{self, Line},
    workload::{Place, Running, Target},
};

use crate::{
    drain::GROUP,
    row::{Bar, Row},
};

/// How long the tracer may take to attach.
const PATIENCE: Duration = Duration::from_secs(60);
const CALL: &[u8] = b"\"kind\":\"op.call\"";
/// One event for each call of flood.c.
const PROFILE: &str = r#"
name = "overload"
runtime = "flood"
recognise = ["flood_target"]

[[probe]]
name = "call"
signal = "call"
group = "calls"
rate = 1
symbols = ["flood_target"]
fields = { number = "u64 rdi" }
"#;

/// Calls a function `calls` times from each of two threads, as fast as they go, beside `tracer trace`.
///
/// # Errors
/// If nothing is attached, or the tracer says nothing of what it lost.
pub fn measure(repetitions: usize, calls: u64) -> Result<Vec<Row>> {
    let (mut missing, mut lost) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let flood = flood(calls)?;
        missing.push(count(flood.made.abs_diff(flood.told + flood.lost)));
        lost.push(100.0 * count(flood.lost) / count(flood.made));
    }
    let note = format!(
        "{repetitions} repetitions of 2 × {calls} calls as fast as they go, `tracer trace -o ndjson`"
    );
    let row = |name, unit, values, bar| Row::judge(GROUP, name, unit, values, bar, &*note);
    Ok(vec![
        row(
            "overload: calls neither told nor declared as lost",
            "",
            missing,
            Bar::AtMost(0.0),
        )?,
        row("overload: calls declared as lost", "%", lost, Bar::None)?,
    ])
}

/// What became of the calls.
struct Flood {
    made: u64,
    told: u64,
    lost: u64,
}

fn flood(calls: u64) -> Result<Flood> {
    let command = Target::Flood.command(&Cache::open()?, &[&calls.to_string()])?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let mut profile = tempfile::NamedTempFile::with_suffix(".toml")?;
    profile.write_all(PROFILE.as_bytes())?;
    let tracing = Tracing::start(running.pid(), profile.path())?;
    running.go()?;
    let line = running.until(|event| matches!(event, Event::Counts { .. }))?;
    let Event::Counts { functions, .. } = line.event else {
        bail!("not what was waited for: {line:?}");
    };
    let (told, summary) = tracing.end()?;
    running.until_waiting()?;
    running.go()?;
    running.finish()?;
    Ok(Flood {
        made: functions.values().map(|function| function.entered).sum(),
        told,
        lost: summary.unintended_losses(),
    })
}

/// How many calls were told of, and the last line.
type Counted = (u64, Vec<u8>);

/// A `tracer trace` whose lines are counted, and not read: that would take longer than making them.
struct Tracing {
    child: Child,
    counting: Option<JoinHandle<Result<Counted>>>,
}

impl Tracing {
    fn start(pid: u32, profile: &Path) -> Result<Self> {
        let mut child = Command::new(tracer::binary()?)
            .args(["trace", "-o", "ndjson", "--no-govern", "--pid"])
            .arg(pid.to_string())
            .arg("--profile")
            .arg(profile)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the tracer")?;
        let output = child.stdout.take().context("it has standard output")?;
        let (tell, attached) = mpsc::channel();
        let counting = thread::spawn(move || {
            let mut lines = BufReader::with_capacity(1 << 20, output);
            let (mut told, mut line, mut last) = (0, Vec::new(), Vec::new());
            while lines.read_until(b'\n', &mut line)? > 0 {
                let holds = |what: &[u8]| line.windows(what.len()).any(|window| window == what);
                if holds(CALL) {
                    told += 1;
                } else if holds(b"\"kind\":\"agent.attached\"") {
                    // Nobody waits for a second one.
                    let _ = tell.send(());
                }
                std::mem::swap(&mut line, &mut last);
                line.clear();
            }
            Ok((told, last))
        });
        let tracing = Self {
            child,
            counting: Some(counting),
        };
        until(&attached)?;
        Ok(tracing)
    }

    /// Ends it as Ctrl-C does: how many calls it told of, and what it says of the rest.
    fn end(mut self) -> Result<(u64, Summary)> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let counting = self.counting.take().context("it counts until here")?;
        let counted = counting
            .join()
            .map_err(|_| anyhow!("counting has panicked"))?;
        let (told, last) = counted?;
        let last: Line = serde_json::from_slice(&last).context("the tracer's last line")?;
        let Body::Summary(summary) = last.body else {
            bail!("the tracer ended with {:?}", last.body);
        };
        let status = self.child.wait()?;
        ensure!(status.success(), "the tracer ended with {status}");
        Ok((told, *summary))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // After `end` it is gone, and this says so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(attached: &Receiver<()>) -> Result<()> {
    let told = attached.recv_timeout(PATIENCE);
    told.map_err(|_| anyhow!("the tracer attached nothing within {PATIENCE:?}"))
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn count(calls: u64) -> f64 {
    calls as f64
}
