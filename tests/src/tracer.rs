//! The `tracer` binary, driven as a person would: arguments in, lines of JSON out.

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
use serde_json::Value;
use tempfile::TempDir;

/// How long the tracer may take to say the line that a test waits for, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lays the host's permission to capture token ids over `/etc`, in a mount namespace that ends with
/// the tracer: the host's own files are never touched.
const WITH_CEILING: &str = r#"
set -e
mkdir -p "$LAYER/upper/tracer" "$LAYER/work"
chmod 0755 "$LAYER/upper" "$LAYER/upper/tracer"
echo 'capture = "tokens"' > "$LAYER/upper/tracer/ceiling.toml"
chmod 0644 "$LAYER/upper/tracer/ceiling.toml"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$LAYER/upper,workdir=$LAYER/work" /etc
exec "$@"
"#;

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

/// A running `tracer trace -o ndjson`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Tracing {
    child: Child,
    incoming: Receiver<Value>,
    events: Vec<Value>,
    folder: TempDir,
}

/// What a run of the tracer left.
#[derive(Debug)]
pub struct Trace {
    /// Every line, in order.
    pub events: Vec<Value>,
    /// What it said to the person who started it.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Tracing {
    /// Starts `tracer trace` with `arguments`, at capture level `tokens` and with nothing shed: as
    /// tests that compare exact counts need it.
    ///
    /// # Errors
    /// When it has not been built or cannot be started.
    pub fn exact(arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
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
        command.env("LAYER", folder.path()).arg(binary()?);
        command
            .args([
                "trace",
                "--capture",
                "tokens",
                "--no-govern",
                "--output",
                "ndjson",
            ])
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
        let stdout = child
            .stdout
            .take()
            .context("the tracer has no standard output")?;
        // Unbounded: a full channel would make the tracer lose events that it had seen.
        let (sender, incoming) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(event) => drop(sender.send(event)),
                    Err(error) => {
                        eprintln!("the tracer wrote a line that is no JSON ({error}): {line}")
                    }
                }
            }
        });
        Ok(Self {
            child,
            incoming,
            events: Vec::new(),
            folder,
        })
    }

    /// The tracer's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads events up to the first new one that `wanted` accepts.
    ///
    /// # Errors
    /// When the tracer ends, or stays silent for a minute.
    pub fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self
                .incoming
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) => {
                    self.events.push(event.clone());
                    if wanted(&event) {
                        return Ok(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "no such event within {PATIENCE:?}; {} others\n{}",
                        self.events.len(),
                        self.stderr()
                    )
                }
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

    /// Ends the tracer as Ctrl-C does and returns everything that it said.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub fn interrupt(self) -> Result<Trace> {
        kill_process(Pid::from_child(&self.child), Signal::INT)
            .context("cannot interrupt the tracer")?;
        self.finish()
    }

    /// Waits for the tracer's own end and returns everything that it said.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub fn finish(mut self) -> Result<Trace> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!(
                    "the tracer did not end within {PATIENCE:?}:\n{}",
                    self.stderr()
                );
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.events.extend(self.incoming.iter());
        let stderr = self.stderr();
        Ok(Trace {
            events: std::mem::take(&mut self.events),
            stderr,
            status,
        })
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
