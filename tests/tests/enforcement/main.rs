//! `tracer files --enforce`: who gets at a watched file, and who does not. Needs root and BPF.
//!
//! This process is the one that opens: to the tracer it is anybody. With `gate = "wait"` the tests run
//! on any host; with `gate = "deny"` in guests, whose kernels let programs refuse.

mod deny;
mod wait;

use std::{
    env,
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tracer_event::{
    Body, Recorded,
    file::{FileAccess, FileAct},
};
use tracer_tests::{
    cache::Cache,
    requires_root,
    tracer::{self, Line},
    workload::Target,
};

/// How long something may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes whose hashing takes some tenths of a second.
const LARGE: u64 = 64 << 20;

const WAIT: &str = "gate = \"wait\"\non_agent_death = \"allow\"";

/// A folder with a model that is listed and one that is not, and what was written beside it.
struct Models {
    folder: TempDir,
    beside: TempDir,
    good: PathBuf,
    bad: PathBuf,
}

impl Models {
    fn new() -> Result<Self> {
        Self::below(&env::temp_dir())
    }

    /// In folders of their own below one.
    fn below(place: &Path) -> Result<Self> {
        let (folder, beside) = (tempfile::tempdir_in(place)?, tempfile::tempdir_in(place)?);
        let (good, bad) = (
            folder.path().join("good.bin"),
            folder.path().join("bad.bin"),
        );
        fs::write(&good, b"the model that was signed")?;
        fs::write(&bad, b"another one")?;
        let list = format!("{}  good.bin\n", sha256(&fs::read(&good)?));
        fs::write(beside.path().join("list"), list)?;
        Ok(Self {
            folder,
            beside,
            good,
            bad,
        })
    }

    /// Adds bytes to the list of what is verified.
    fn list(&self, digest: &str) -> Result<()> {
        let path = self.beside.path().join("list");
        let text = fs::read_to_string(&path)?;
        Ok(fs::write(path, format!("{text}{digest}  listed.bin\n"))?)
    }

    /// A large file of zeros that is listed too.
    fn listed_large(&self) -> Result<PathBuf> {
        let large = self.folder.path().join("large.bin");
        File::create(&large)?.set_len(LARGE)?;
        let mut zeros = Sha256::new();
        io::copy(&mut File::open(&large)?, &mut zeros)?;
        self.list(&hex(&zeros.finalize()))?;
        Ok(large)
    }

    fn policy(&self, rules: &str) -> Result<PathBuf> {
        let path = self.beside.path().join("policy.toml");
        let text = format!(
            "watch = [{:?}]\n{rules}\n[[trust]]\nsha256sums = {:?}\n",
            self.folder.path(),
            self.beside.path().join("list")
        );
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }

    fn enforce(&self, rules: &str) -> Result<Enforcing> {
        Enforcing::start(&self.policy(rules)?)
    }
}

/// A tracer that enforces; killed when it is dropped.
struct Enforcing {
    child: Child,
    incoming: mpsc::Receiver<Line>,
}

impl Enforcing {
    fn start(policy: &Path) -> Result<Self> {
        let mut child = Command::new(tracer::binary()?)
            .args(["files", "-o", "ndjson", "--enforce"])
            .arg(policy)
            .stdout(Stdio::piped())
            .spawn()?;
        let incoming = tracer::lines(&mut child)?;
        let this = Self { child, incoming };
        this.until("that it begins", |body| {
            matches!(body, Body::FilesWatched(_)).then_some(())
        })?;
        Ok(this)
    }

    fn until<T>(&self, what: &str, wanted: impl Fn(&Body<Recorded>) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.incoming.recv_timeout(left);
            let line = line.with_context(|| format!("{what} was not told"))?;
            if let Some(found) = wanted(&line.body) {
                return Ok(found);
            }
        }
    }

    /// Waits until it is told that somebody was refused.
    fn refusal(&self) -> Result<FileAccess<Recorded>> {
        self.until("the refusal", |body| match body {
            Body::FileAccess(access) if access.act == FileAct::Refused => Some((**access).clone()),
            _ => None,
        })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("it has a number")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Stops it, all of its threads.
    fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let stat = format!("/proc/{}/stat", self.child.id());
        soon("it stops", || {
            fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
        })
    }

    fn interrupt(mut self) -> Result<()> {
        self.signal(Signal::INT)?;
        let status = self.child.wait()?;
        ensure!(
            matches!(status.code(), Some(0 | 1)),
            "it ended with {status}"
        );
        Ok(())
    }

    fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Enforcing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_refused<T: std::fmt::Debug>(opened: io::Result<T>) -> Result<()> {
    match opened {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => bail!("it was not refused: {other:?}"),
    }
}

/// Waits until something that is decided in the background is so.
fn soon(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        ensure!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Makes a file shorter and longer again by its name, which opens nothing.
fn cut(path: &Path) -> Result<bool> {
    accesses("truncate", path, Stdio::null())
}

/// Whether another process can get at a file in this way.
fn accesses(way: &str, path: &Path, input: Stdio) -> Result<bool> {
    let mut command = Target::Accesses.command(&Cache::open()?, &[way])?;
    command.arg(path).stdin(input).stderr(Stdio::null());
    Ok(command.status()?.success())
}

#[test]
fn a_policy_that_others_can_change_is_refused() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let policy = models.policy(WAIT)?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o666))?;
    let output = Command::new(tracer::binary()?)
        .args(["files", "--enforce"])
        .arg(&policy)
        .output()?;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("can be changed by others"), "{said}");
    ensure!(said.contains("chmod go-w"), "{said}");
    Ok(())
}
