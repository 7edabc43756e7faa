//! What an open costs while files are watched: the tiers of this host, the gate, and other tools.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::TempDir;
use tracer_tests::{package::sha256_of, tracer::binary};

use crate::{
    peer::{self, LeftOut},
    row::{Bar, Row},
};

/// Group on the command line.
pub const GROUP: &str = "files";

/// Opens of one repetition.
const OPENS: u32 = 20_000;
/// Of those that wait for an answer.
const HELD_OPENS: u32 = 1000;
/// How long another tool may take to begin.
const SETTLING: Duration = Duration::from_secs(2);
const TIERS: [&str; 4] = ["lsm", "fentry", "kprobe", "tracepoint"];

/// A watched folder with a file, and a file of the same file system that nobody watches.
struct Place {
    watched: TempDir,
    beside: TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        let (watched, beside) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for folder in [&watched, &beside] {
            fs::write(folder.path().join("model.bin"), [0; 4096])?;
        }
        Ok(Self { watched, beside })
    }

    fn file(&self) -> PathBuf {
        self.watched.path().join("model.bin")
    }

    fn unwatched(&self) -> PathBuf {
        self.beside.path().join("model.bin")
    }
}

/// Measures everything `repetitions` times. What a tier or tool that cannot run here would have shown
/// goes to `left_out`, with the reason.
///
/// # Errors
/// If a file cannot be opened, or the tracer does not end.
pub fn measure(repetitions: usize, left_out: &mut Vec<LeftOut>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut leave_out = |what: &str, why: &anyhow::Error| {
        left_out.push(LeftOut::because(GROUP, what, why));
    };
    for tier in TIERS {
        match of_tier(tier, repetitions)? {
            Ok(of_tier) => rows.extend(of_tier),
            Err(why) => leave_out(tier, &anyhow!(why)),
        }
    }
    match of_gate(repetitions)? {
        Ok(row) => rows.push(row),
        Err(why) => leave_out("gate = \"wait\"", &anyhow!(why)),
    }
    match of_fatrace(repetitions.div_ceil(3)) {
        Ok(row) => rows.push(row),
        Err(why) => leave_out("fatrace", &why),
    }
    match of_audit(repetitions) {
        Ok(row) => rows.push(row),
        Err(why) => leave_out("auditd", &why),
    }
    Ok(rows)
}

/// The inner error is why this tier does not work here.
fn of_tier(tier: &str, repetitions: usize) -> Result<Result<Vec<Row>, String>> {
    let place = Place::new()?;
    let (mut unwatched, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let before = [
            opens(&place.unwatched(), OPENS)?,
            opens(&place.file(), OPENS)?,
        ];
        let arguments = ["--tier", tier, "--watch"];
        let running = match Watching::start(&arguments, place.watched.path())? {
            Ok(running) => running,
            Err(why) => return Ok(Err(why)),
        };
        let after = [
            opens(&place.unwatched(), OPENS)?,
            opens(&place.file(), OPENS)?,
        ];
        running.end()?;
        unwatched.push(after[0] / before[0]);
        watched.push(after[1] / before[1]);
    }
    let note = format!("against no tracer; {OPENS} opens, {repetitions} starts of the tracer");
    let row = |what: &str, values, bar| {
        let name = format!("open+close, {what} file, {tier}");
        Row::judge(GROUP, name, "x", values, bar, &note)
    };
    Ok(Ok(vec![
        row("unwatched", unwatched, Bar::AtMost(1.4))?,
        row("watched", watched, Bar::None)?,
    ]))
}

/// A verified file, whose openers wait for the tracer's answer.
fn of_gate(repetitions: usize) -> Result<Result<Row, String>> {
    let place = Place::new()?;
    let list = place.beside.path().join("list");
    let digest = sha256_of(&place.file())?;
    fs::write(&list, format!("{digest}  model.bin\n"))?;
    let policy = place.beside.path().join("policy.toml");
    let text = format!(
        "watch = [{:?}]\ngate = \"wait\"\non_agent_death = \"allow\"\n\
         [[trust]]\nsha256sums = {list:?}\n",
        place.watched.path()
    );
    fs::write(&policy, text)?;
    // A file that was changed a moment ago is hashed for each opener.
    thread::sleep(Duration::from_millis(200));
    let mut values = Vec::new();
    for _ in 0..repetitions {
        let running = match Watching::start(&["--enforce"], &policy)? {
            Ok(running) => running,
            Err(why) => return Ok(Err(why)),
        };
        opens(&place.file(), 10)?;
        values.push(opens(&place.file(), HELD_OPENS)? / 1e3);
        running.end()?;
    }
    let name = "open+close, watched and verified file, gate = \"wait\"";
    let note = format!("{HELD_OPENS} opens, one after the other");
    Row::judge(GROUP, name, "µs", values, Bar::None, note).map(Ok)
}

fn of_fatrace(repetitions: usize) -> Result<Row> {
    let program = peer::distribution("fatrace", "fatrace")?;
    let place = Place::new()?;
    let mut values = Vec::new();
    for _ in 0..repetitions {
        let before = opens(&place.file(), OPENS)?;
        let child = Command::new(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut child = Watching(child);
        thread::sleep(SETTLING);
        if let Some(status) = child.0.try_wait()? {
            bail!("it ended with {status}");
        }
        values.push(opens(&place.file(), OPENS)? / before);
    }
    let note = "it watches every file of the machine";
    Row::judge(GROUP, "open+close, fatrace", "x", values, Bar::None, note)
}

/// `auditd` itself only writes; what an open costs is the kernel's part, for which a rule is enough.
fn of_audit(repetitions: usize) -> Result<Row> {
    let root = peer::unpacked(&["auditd", "libauparse0", "libaudit1"])?;
    let program = root.join("sbin/auditctl");
    let libraries = root.join("lib/x86_64-linux-gnu");
    let status = Command::new(&program)
        .env("LD_LIBRARY_PATH", &libraries)
        .arg("-s")
        .output()
        .context("auditctl cannot be started")?;
    let status = String::from_utf8_lossy(&status.stdout);
    let is = |line: &str| status.lines().any(|found| found.trim() == line);
    ensure!(
        is("enabled 1") && !is("pid 0"),
        "the kernel's audit is off or nobody reads it, and turning it on would fill this host's log"
    );
    let place = Place::new()?;
    let rule = |flag: &str| -> Result<()> {
        let output = Command::new(&program)
            .env("LD_LIBRARY_PATH", &libraries)
            .arg(flag)
            .arg(place.file())
            .args(["-p", "rwa"])
            .output()
            .context("auditctl cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "auditctl: {}", said.trim());
        Ok(())
    };
    let mut values = Vec::new();
    for _ in 0..repetitions {
        let before = opens(&place.file(), OPENS)?;
        rule("-w")?;
        let after = opens(&place.file(), OPENS);
        rule("-W")?;
        values.push(after? / before);
    }
    let note = "one rule for the file";
    Row::judge(
        GROUP,
        "open+close, watched file, auditd",
        "x",
        values,
        Bar::None,
        note,
    )
}

/// Nanoseconds of an open and a close.
fn opens(file: &Path, times: u32) -> Result<f64> {
    let begin = Instant::now();
    for _ in 0..times {
        drop(File::open(file).with_context(|| format!("open {}", file.display()))?);
    }
    Ok(begin.elapsed().as_nanos() as f64 / f64::from(times))
}

/// A program that watches files; killed when it is dropped.
struct Watching(Child);

impl Watching {
    /// Starts it; the inner error is why it cannot watch here.
    fn start(arguments: &[&str], last: &Path) -> Result<Result<Self, String>> {
        let mut child = Command::new(binary()?)
            .args(["files", "-o", "ndjson"])
            .args(arguments)
            .arg(last)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the tracer")?;
        let output = child.stdout.take().context("it has standard output")?;
        let mut lines = BufReader::new(output).lines();
        for line in lines.by_ref() {
            if line?.contains("\"kind\":\"file.watched\"") {
                // Read on, or it stalls; this ends with the tracer.
                thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok(Ok(Self(child)));
            }
        }
        let said = std::io::read_to_string(child.stderr.take().context("it has standard error")?)?;
        child.wait()?;
        let why: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Err(why.chars().take(320).collect()))
    }

    fn end(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        if self.0.wait()?.code() == Some(2) {
            bail!("the tracer ended with an error");
        }
        Ok(())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
