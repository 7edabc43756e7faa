//! The `tracer` binary, driven as a person would: arguments in, lines of JSON out.

mod trace;

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tracer_event::{Body, Event, Inode, Pid as EventPid, Recorded};

pub use self::trace::Trace;
use crate::patience::PATIENCE;

/// One line of the tracer's output. Reading it back fails when it is not what the schema says.
pub type Line = Event<Recorded>;

/// How long no further library of a process may turn up before it counts as attached.
const SETTLING: Duration = Duration::from_millis(500);
/// Puts the host's permission to capture content into a copy of `/etc`, in a mount namespace that
/// ends with the tracer: the host's own files are never touched.
const WITH_CEILING: &str = r#"
set -e
cp -a /etc "$LAYER/etc"
mkdir -p "$LAYER/etc/tracer"
chmod 0755 "$LAYER/etc/tracer"
echo "capture = \"$LEVEL\"" > "$LAYER/etc/tracer/ceiling.toml"
chmod 0644 "$LAYER/etc/tracer/ceiling.toml"
mount --bind "$LAYER/etc" /etc
exec "$@"
"#;

/// Content as it was captured: for comparing it with what was done.
pub const KEEP_CONTENT: &str = "[fields]\ntext = \"keep\"\n";

/// The `tracer` binary of this build: `$TRACER_BIN`, else the one beside the running test.
///
/// # Errors
/// When it has not been built.
pub fn binary() -> Result<PathBuf> {
    if let Some(binary) = env::var_os("TRACER_BIN") {
        return Ok(PathBuf::from(binary));
    }
    let test = env::current_exe()?;
    let profile = test
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "deps"));
    let binary = profile
        .and_then(Path::parent)
        .unwrap_or(&test)
        .join("tracer");
    if !binary.exists() {
        bail!(
            "{} does not exist; run `cargo xtask build-ebpf && cargo build` first",
            binary.display()
        );
    }
    Ok(binary)
}

/// Runs a command of the tracer to its end.
///
/// # Errors
/// When it has not been built or cannot be started.
pub fn output(arguments: &[&str]) -> Result<Output> {
    let binary = binary()?;
    Command::new(&binary)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))
}

/// What a tracer writes as NDJSON on its standard output, read on a thread of its own until it ends.
///
/// # Errors
/// When its standard output is no pipe.
pub fn lines(child: &mut Child) -> Result<Receiver<Line>> {
    let stdout = child
        .stdout
        .take()
        .context("the tracer has no standard output")?;
    // Unbounded: a full channel would make the tracer lose events that it had seen.
    let (sender, incoming) = mpsc::channel();
    thread::spawn(move || {
        for text in BufReader::new(stdout).lines().map_while(Result::ok) {
            let sent = match serde_json::from_str(&text) {
                Ok(line) => sender.send(line).is_ok(),
                Err(error) => {
                    eprintln!("the tracer wrote a line that is no JSON ({error}): {text}");
                    true
                }
            };
            if !sent {
                return;
            }
        }
    });
    Ok(incoming)
}

/// A running `tracer trace -o ndjson`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Tracing {
    child: Child,
    incoming: Receiver<Line>,
    events: Vec<Line>,
    folder: TempDir,
}

impl Tracing {
    /// Starts `tracer trace` with `arguments`, at capture level `tokens` and with nothing shed: as
    /// tests that compare exact counts need it.
    ///
    /// # Errors
    /// When it has not been built or cannot be started.
    pub fn exact(arguments: &[&str]) -> Result<Self> {
        Self::exact_at("tokens", arguments)
    }

    /// As [`Tracing::exact`], at another capture level.
    ///
    /// # Errors
    /// As [`Tracing::exact`].
    pub fn exact_at(level: &str, arguments: &[&str]) -> Result<Self> {
        Self::content(level, KEEP_CONTENT, arguments)
    }

    /// Starts `tracer trace` at a capture level under a redaction policy, with nothing shed. Its
    /// temporary files lie in [`Tracing::folder`].
    ///
    /// # Errors
    /// When it has not been built or cannot be started.
    pub fn content(level: &str, policy: &str, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let policy_file = folder.path().join("policy.toml");
        fs::write(&policy_file, policy)?;
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            WITH_CEILING,
            "tracer",
        ]);
        command.env("LAYER", folder.path()).env("LEVEL", level);
        command.arg(binary()?);
        command.env("TMPDIR", folder.path());
        command
            .args(["trace", "--capture", level, "--no-govern"])
            .args(["--output", "ndjson", "--policy"])
            .arg(policy_file)
            .args(arguments);
        Self::spawn(command, folder)
    }

    /// Starts `tracer trace` with `arguments` as they are.
    ///
    /// # Errors
    /// When it has not been built or cannot be started.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command
            .args(["trace", "--output", "ndjson"])
            .args(arguments);
        Self::spawn(command, tempfile::tempdir()?)
    }

    fn spawn(mut command: Command, folder: TempDir) -> Result<Self> {
        let stderr = File::create(folder.path().join("stderr"))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let incoming = lines(&mut child)?;
        Ok(Self {
            child,
            incoming,
            events: Vec::new(),
            folder,
        })
    }

    /// Where the tracer's files lie until this is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The tracer's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads events up to the first new one that `wanted` accepts.
    ///
    /// # Errors
    /// When the tracer ends, or does not say it within [`PATIENCE`].
    pub fn until(&mut self, wanted: impl FnMut(&Line) -> bool) -> Result<Line> {
        self.within(PATIENCE, wanted)?.with_context(|| {
            let others = self.events.len();
            format!(
                "no such event within {PATIENCE:?}; {others} others\n{}",
                self.stderr()
            )
        })
    }

    /// The first event that `wanted` accepts, whether it was read already or not.
    ///
    /// # Errors
    /// As [`Tracing::until`].
    pub fn find(&mut self, mut wanted: impl FnMut(&Line) -> bool) -> Result<Line> {
        match self.events.iter().find(|line| wanted(line)) {
            Some(line) => Ok(line.clone()),
            None => self.until(wanted),
        }
    }

    /// Reads events up to the first new one that `wanted` accepts; `None` where none comes for so long.
    ///
    /// # Errors
    /// When the tracer ends.
    pub fn within(
        &mut self,
        patience: Duration,
        mut wanted: impl FnMut(&Line) -> bool,
    ) -> Result<Option<Line>> {
        let deadline = Instant::now() + patience;
        loop {
            match self
                .incoming
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) => {
                    self.events.push(event.clone());
                    if wanted(&event) {
                        return Ok(Some(event));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!(
                        "the tracer ended ({:?}) before it:\n{}",
                        self.child.wait(),
                        self.stderr()
                    )
                }
            }
        }
    }

    /// Waits until the libraries that `pid` maps have their probes: the first, and those that follow
    /// without a pause of half a second.
    ///
    /// # Errors
    /// When none has within [`PATIENCE`].
    pub fn until_attached(&mut self, pid: u32) -> Result<()> {
        let is_found = |line: &Line| {
            line.place.pid == Some(EventPid(pid)) && matches!(line.body, Body::RuntimeFound(_))
        };
        if !self.events.iter().any(is_found) {
            self.until(is_found)?;
        }
        loop {
            let found = self
                .events
                .iter()
                .filter(|line| line.place.pid == Some(EventPid(pid)));
            let inodes: Vec<Inode> = found
                .filter_map(|line| match &line.body {
                    Body::RuntimeFound(runtime) => Some(runtime.library.inode),
                    _ => None,
                })
                .collect();
            for inode in inodes {
                let is_attached = |line: &Line| matches!(&line.body, Body::Attached(attached) if attached.library.inode == inode);
                if !self.events.iter().any(is_attached) {
                    self.until(is_attached)?;
                }
            }
            let settled = Instant::now() + SETTLING;
            loop {
                let left = settled.saturating_duration_since(Instant::now());
                let Ok(line) = self.incoming.recv_timeout(left) else {
                    return Ok(());
                };
                let is_another = is_found(&line);
                self.events.push(line);
                if is_another {
                    break;
                }
            }
        }
    }

    /// Asks the tracer to end, as Ctrl-C does.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn signal_end(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::INT)
            .context("cannot interrupt the tracer")
    }

    /// Ends the tracer as Ctrl-C does and returns everything that it said.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn interrupt(self) -> Result<Trace> {
        self.signal_end()?;
        self.finish()
    }

    /// Waits for the tracer's own end and returns everything that it said.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn finish(mut self) -> Result<Trace> {
        let status = self.until_ended()?;
        self.events.extend(self.incoming.iter());
        let stderr = self.stderr();
        Ok(Trace {
            events: std::mem::take(&mut self.events),
            stderr,
            status,
        })
    }

    /// Waits for the tracer's own end; its files stay.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn until_ended(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "the tracer did not end within {PATIENCE:?}:\n{}",
                    self.stderr()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the tracer with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
