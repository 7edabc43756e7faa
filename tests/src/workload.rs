//! Starts a program that reports what it does, as `nobody`, and collects its report.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cache::Cache,
    compile::{compiled, compiled_with},
    model::{self, Shape},
    package::{LLAMA_CPP_PYTHON, NODE_LLAMA_CPP, XLLAMACPP},
    python::{python, readable},
    report::{Event, Line},
};

/// The user and group `nobody` on Debian.
pub const NOBODY: u32 = 65534;
/// How long a workload may take to reach the next line that a test waits for, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which build of llama.cpp a workload runs, and so which decode call it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// node-llama-cpp's libllama, driven by a C program: `llama_decode`.
    NodeLlamaCpp,
    /// xllamacpp's extension module in a Python process: `llama_process`.
    Xllamacpp,
    /// llama-cpp-python's libllama, compiled here for minutes, driven by the C program: `llama_decode`.
    LlamaCppPython,
}

impl Runtime {
    /// The command line that runs `steps` on `shape` with this build; see `workloads/README.md`.
    ///
    /// # Errors
    /// When the package cannot be fetched, or the program or the model not made.
    pub fn command(self, cache: &Cache, shape: Shape, steps: &[&str]) -> Result<Command> {
        let model = model::model(cache, shape)?;
        let sources = ["llama.c", "llama_abi.h"];
        let mut command = match self {
            Self::NodeLlamaCpp => {
                let folder = NODE_LLAMA_CPP
                    .unpacked(cache)?
                    .join("package/bins/linux-x64");
                let mut command = Command::new(compiled(cache, &sources, &[])?);
                command
                    .args(["--api", "decode", "--library"])
                    .arg(folder.join("libllama.v0.5.0.so"));
                command.arg("--backends").arg(folder);
                command
            }
            Self::LlamaCppPython => {
                let folder = LLAMA_CPP_PYTHON.compiled(cache)?.join("llama_cpp/lib");
                let mut command = Command::new(compiled(cache, &sources, &[])?);
                command
                    .args(["--api", "decode", "--library"])
                    .arg(folder.join("libllama.so"));
                command
            }
            Self::Xllamacpp => {
                let mut command = Command::new(python()?);
                command
                    .arg(readable(cache, "host.py")?)
                    .arg(XLLAMACPP.unpacked(cache)?);
                command
                    .arg(compiled(cache, &sources, &["-shared", "-fPIC"])?)
                    .args(["--api", "process"]);
                command
            }
        };
        command.args(["--mute", "--model"]).arg(model).args(steps);
        Ok(command)
    }
}

/// A small target with counts of its own; see `workloads/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Calls as fast as possible from every CPU.
    Flood,
    /// A reader held in the middle of its read beside a fast caller.
    Stall,
    /// C++ exceptions and long jumps through every kind of exit.
    Unwind,
    /// Rust panics.
    Panic,
    /// Measures what its own calls cost.
    Cost,
    /// Every way in which C++ passes a value.
    Shapes,
    /// The same with libc++.
    ShapesLibcxx,
    /// Every way in which Rust passes text and slices.
    Slices,
    /// Calls three functions at a rate that is given.
    Paced,
    /// Calls a decode step as fast as it goes.
    Steps,
    /// Gets at a file in every way that there is.
    Accesses,
}

impl Target {
    /// The program, compiled, with its arguments. `-rdynamic` puts its functions into `.dynsym`.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn command(self, cache: &Cache, arguments: &[&str]) -> Result<Command> {
        let c = ["-rdynamic", "-fcf-protection=none"];
        let rust = ["-O", "-g", "--edition", "2024", "-C", "link-args=-rdynamic"];
        let program = match self {
            Self::Flood => compiled(cache, &["flood.c", "report.h"], &c),
            Self::Stall => compiled(cache, &["stall.c", "report.h"], &c),
            Self::Unwind => compiled(cache, &["unwind.cpp", "report.h"], &c),
            Self::Paced => compiled(cache, &["paced.c", "report.h"], &c),
            Self::Steps => compiled(cache, &["steps.c", "report.h"], &c),
            Self::Accesses => compiled(cache, &["accesses.c"], &c),
            Self::Cost => compiled(cache, &["cost.c", "report.h"], &c),
            Self::Panic => compiled(cache, &["panic.rs"], &rust),
            Self::Slices => compiled(cache, &["slices.rs"], &rust),
            Self::Shapes => compiled(cache, &["shapes.cpp", "report.h"], &c),
            Self::ShapesLibcxx => {
                let folder = crate::debian::libcxx(cache)?;
                let headers = folder.join("include/c++/v1").display().to_string();
                let libraries =
                    ["libc++.a", "libc++abi.a"].map(|name| folder.join("lib").join(name));
                let [library, abi] = libraries.map(|path| path.display().to_string());
                let other = ["-nostdinc++", "-isystem", &headers, "-nodefaultlibs"];
                let libraries = [&library, &abi, "-lm", "-lc", "-lgcc_s", "-lgcc"];
                let flags = [&c[..], &other].concat();
                compiled_with(cache, &["shapes.cpp", "report.h"], &flags, &libraries)
            }
        }?;
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }
}

/// Where a workload runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Beside the test.
    Host,
    /// In mount and pid namespaces of its own, with its own `/proc`, as in a container.
    OwnNamespaces,
    /// The same with a root of its own: the host's programs and the cache, and an empty `/tmp`, so that
    /// what it makes has no path on the host.
    Container,
}

/// Makes a container's root around the command and enters it as the user.
const ENTER_CONTAINER: &str = r#"
set -e
mount -t tmpfs -o mode=0755 root /mnt
cd /mnt
for name in bin etc lib lib32 lib64 opt sbin usr var; do
    if [ -L "/$name" ]; then cp -P "/$name" .
    elif [ -d "/$name" ]; then mkdir "$name"; mount --rbind "/$name" "$name"
    fi
done
mkdir -p dev proc sys tmp old ".$CACHE"
chmod 1777 tmp
mount --rbind /dev dev
mount --rbind /sys sys
mount -t proc proc proc
mount --bind "$CACHE" ".$CACHE"
pivot_root . old
umount --lazy /old
cd /
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups -- "$@"
"#;

/// A running workload. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    incoming: Receiver<Line>,
    lines: Vec<Line>,
    pid: u32,
}

impl Running {
    /// Starts `command` as `nobody` (as the current user, when that is not root) and waits until it runs.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it reports its start.
    pub fn start(command: Command, place: Place) -> Result<Self> {
        let user = rustix::process::geteuid().is_root().then_some(NOBODY);
        Self::start_as(command, place, user)
    }

    /// As [`Running::start`], with the user given; `None` keeps the current one.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub fn start_as(command: Command, place: Place, user: Option<u32>) -> Result<Self> {
        let mut command = match place {
            Place::Host => command,
            Place::OwnNamespaces => in_own_namespaces(&command, user),
            Place::Container => in_container(&command, user)?,
        };
        if let (Place::Host, Some(user)) = (place, user) {
            command.uid(user).gid(user);
        }
        command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let program = format!("{:?}", command.get_program());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdin = child.stdin.take();
        let stdout = child
            .stdout
            .take()
            .context("the workload has no standard output")?;
        // Unbounded: a report is a few thousand lines, and a full channel would stall the workload.
        let (sender, incoming) = mpsc::channel();
        thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(line) = Line::parse(&text).inspect_err(|error| eprintln!("{error:#}"))
                else {
                    continue;
                };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut running = Self {
            pid: child.id(),
            child,
            stdin,
            incoming,
            lines: Vec::new(),
        };
        running.until(|event| matches!(event, Event::Start { .. }))?;
        if place != Place::Host {
            running.pid = only_child(running.child.id())?;
        }
        Ok(running)
    }

    /// The workload's process id in this process's namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What was reported until now.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Reads the report up to the first new line that `wanted` accepts.
    ///
    /// # Errors
    /// When the workload ends, or says nothing for two minutes.
    pub fn until(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> Result<Line> {
        loop {
            match self.incoming.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.lines.push(line.clone());
                    if wanted(&line.event) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "the workload said nothing for {PATIENCE:?}; last: {:?}",
                    self.lines.last()
                ),
                Err(RecvTimeoutError::Disconnected) => bail!(
                    "the workload ended ({:?}) before the line that was waited for; last: {:?}",
                    self.child.wait(),
                    self.lines.last()
                ),
            }
        }
    }

    /// The report's next line, if one comes within `wait`.
    ///
    /// # Errors
    /// When the workload has ended.
    pub fn poll(&mut self, wait: Duration) -> Result<Option<Line>> {
        match self.incoming.recv_timeout(wait) {
            Ok(line) => {
                self.lines.push(line.clone());
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the workload ended; last: {:?}", self.lines.last())
            }
        }
    }

    /// Reads the report up to the workload's next `wait`.
    ///
    /// # Errors
    /// As [`Running::until`].
    pub fn until_waiting(&mut self) -> Result<()> {
        self.until(|event| matches!(event, Event::Waiting { .. }))
            .map(drop)
    }

    /// Lets a waiting workload go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn go(&mut self) -> Result<()> {
        let stdin = self
            .stdin
            .as_mut()
            .context("the workload's standard input is closed")?;
        stdin
            .write_all(b"\n")
            .context("the workload does not listen any more")
    }

    /// Kills the workload with SIGKILL, wherever it is, and returns all that it had reported.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(mut self) -> Result<Vec<Line>> {
        let pid = Pid::from_raw(self.pid.cast_signed()).context("no process has the id 0")?;
        kill_process(pid, Signal::KILL)
            .with_context(|| format!("cannot kill process {}", self.pid))?;
        self.child.wait()?;
        self.rest()
    }

    /// Waits for the workload's own end and returns the whole report.
    ///
    /// # Errors
    /// When it fails, or does not end within two minutes.
    pub fn finish(mut self) -> Result<Vec<Line>> {
        let status = self.ended()?;
        let lines = self.rest()?;
        if !status.success() {
            bail!("the workload ended with {status}; last: {:?}", lines.last());
        }
        Ok(lines)
    }

    fn ended(&mut self) -> Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!(
            "the workload did not end within {PATIENCE:?}; last: {:?}",
            self.lines.last()
        )
    }

    fn rest(&mut self) -> Result<Vec<Line>> {
        loop {
            match self.incoming.recv_timeout(PATIENCE) {
                Ok(line) => self.lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(std::mem::take(&mut self.lines)),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("somebody still holds the ended workload's report open")
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn in_own_namespaces(command: &Command, user: Option<u32>) -> Command {
    let mut outer = Command::new("unshare");
    outer.args([
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "--",
    ]);
    if let Some(user) = user {
        outer.args([
            "setpriv",
            "--reuid",
            &user.to_string(),
            "--regid",
            &user.to_string(),
            "--clear-groups",
            "--",
        ]);
    }
    around(outer, command)
}

/// # Errors
/// When there is no cache, whose programs it runs.
fn in_container(command: &Command, user: Option<u32>) -> Result<Command> {
    let mut outer = Command::new("unshare");
    outer
        .args(["--mount", "--pid", "--fork", "--kill-child", "--"])
        .args(["sh", "-c", ENTER_CONTAINER, "container"])
        .env("CACHE", Cache::open()?.folder())
        .env("USER_ID", user.unwrap_or_default().to_string());
    Ok(around(outer, command))
}

/// `outer`, which runs the program, the arguments and the environment of `command`.
fn around(mut outer: Command, command: &Command) -> Command {
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// The one child of `parent`: what `unshare --fork` started.
fn only_child(parent: u32) -> Result<u32> {
    let file = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let child = children
        .split_whitespace()
        .next()
        .with_context(|| format!("process {parent} has no child"))?;
    child
        .parse()
        .with_context(|| format!("`{child}` in {file} is no process id"))
}
