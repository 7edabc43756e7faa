//! A collector and an agent as they are installed: three processes, each of which may be killed.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tracer_agent::status::ShipStatus;
use tracer_tests::tracer::binary;
use tracer_wire::RecipientSecret;

/// How long a state may take to be reached on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Permits content in a copy of `/etc`, in a mount namespace that ends with the process.
const WITH_CEILING: &str = "mount --bind \"$0\" /etc && exec \"$@\"";

/// A process of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Collector,
    Ship,
    Capture,
}

/// All of them, and their folder.
pub(crate) struct Fleet {
    folder: TempDir,
    running: [Option<Child>; 3],
    /// Opens content.
    pub(crate) reader: RecipientSecret,
    /// What ships that are gone had said to keep.
    kept_before: u64,
}

impl Fleet {
    /// Sets a collector up, enrols an agent that captures text, and starts all three.
    pub(crate) fn start() -> Result<Self> {
        let mut fleet = Self::prepare()?;
        for part in [Part::Collector, Part::Ship, Part::Capture] {
            fleet.run(part)?;
        }
        fleet.until("connected", |status| status.is_connected)?;
        Ok(fleet)
    }

    /// Sets a collector up, and an agent that has a token; starts neither.
    pub(crate) fn prepare() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Ship's user goes through it to its own.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let reader = RecipientSecret::generate()?;
        let etc = folder.path().join("etc");
        let copied = Command::new("cp").args(["-a", "/etc"]).arg(&etc).status()?;
        ensure!(copied.success(), "cannot copy /etc");
        fs::create_dir_all(etc.join("tracer"))?;
        let ceiling = etc.join("tracer/ceiling.toml");
        fs::write(&ceiling, "capture = \"text\"\n")?;
        fs::set_permissions(&ceiling, fs::Permissions::from_mode(0o644))?;
        fs::write(
            folder.path().join("policy.toml"),
            "[fields]\ntext = \"keep\"\n",
        )?;
        let fleet = Self {
            folder,
            running: [None, None, None],
            reader,
            kept_before: 0,
        };
        let token = fleet.init_collector()?;
        fleet.write_config()?;
        fleet.enroll(&token)?;
        Ok(fleet)
    }

    /// Gives the agent a token.
    pub(crate) fn enroll(&self, token: &str) -> Result<()> {
        let enrolled = self
            .tracer(&["agent", "enroll", "--token", token])
            .output()?;
        let said = String::from_utf8_lossy(&enrolled.stderr).into_owned();
        ensure!(enrolled.status.success(), "enroll: {said}");
        Ok(())
    }

    /// SIGHUP.
    pub(crate) fn reload(&self, part: Part) -> Result<()> {
        let raw = i32::try_from(self.pid(part)?)?;
        Ok(kill_process(
            Pid::from_raw(raw).context("it has a pid")?,
            Signal::HUP,
        )?)
    }

    /// What a part has said so far.
    pub(crate) fn log(&self, part: Part) -> String {
        fs::read_to_string(self.path(&format!("{part:?}.log"))).unwrap_or_default()
    }

    fn init_collector(&self) -> Result<String> {
        let [agents, https] = [free_port()?, free_port()?].map(|port| format!("127.0.0.1:{port}"));
        let output = Command::new(collector_binary()?)
            .arg("init")
            .arg(self.path("collector"))
            .args(["--agents", &agents, "--https", &https])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success(),
            "init: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let token = text
            .split_whitespace()
            .find(|word| word.starts_with("tracer-enroll-1."));
        token
            .map(str::to_owned)
            .with_context(|| format!("init prints no token:\n{text}"))
    }

    fn write_config(&self) -> Result<()> {
        let until = Command::new("date")
            .args(["--utc", "--date=+1 hour", "+%Y-%m-%dT%H:%M:%SZ"])
            .output()?;
        let until = String::from_utf8(until.stdout)?;
        let folder = self.folder.path().display();
        let text = format!(
            "[collector]\nname = \"durable\"\n[capture]\nstate = \"{folder}/capture\"\n\
             level = \"text\"\nuntil = \"{}\"\npolicy = \"{folder}/policy.toml\"\ngovern = false\n\
             [content]\nrecipients = [\"{}\"]\n[ship]\nuser = \"nobody\"\nstate = \"{folder}/ship\"\n\
             sockets = \"{folder}/sockets\"\nspool = \"64MiB\"\n",
            until.trim(),
            self.reader.recipient(),
        );
        let path = self.path("agent.toml");
        fs::write(&path, text)?;
        Ok(fs::set_permissions(
            path,
            fs::Permissions::from_mode(0o644),
        )?)
    }

    /// A path in the folder of all.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tracer(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary().unwrap_or_else(|_| "tracer".into()));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("agent.toml"));
        command
    }

    /// Starts a process that is not running.
    pub(crate) fn run(&mut self, part: Part) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{part:?}.log")))?;
        let mut command = match part {
            Part::Collector => {
                let mut command = Command::new(collector_binary()?);
                command
                    .args(["serve", "--config"])
                    .arg(self.path("collector/collector.toml"));
                command
            }
            Part::Ship => self.tracer(&["agent", "ship"]),
            Part::Capture => {
                let inner = self.tracer(&["agent", "capture"]);
                let mut command = Command::new("unshare");
                command
                    .args([
                        "--mount",
                        "--propagation",
                        "private",
                        "sh",
                        "-c",
                        WITH_CEILING,
                    ])
                    .arg(self.path("etc"))
                    .arg(inner.get_program())
                    .args(inner.get_args());
                command
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {part:?}"))?;
        self.running[part as usize] = Some(child);
        Ok(())
    }

    /// The process id of one that runs.
    pub(crate) fn pid(&self, part: Part) -> Result<u32> {
        let child = self.running[part as usize].as_ref();
        Ok(child
            .with_context(|| format!("{part:?} is not running"))?
            .id())
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, part: Part) -> Result<()> {
        if part == Part::Ship
            && let Ok(status) = self.status()
        {
            self.kept_before += status.records_kept;
        }
        let mut child = self.running[part as usize].take().context("it runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Records that a ship has said to keep, at least.
    pub(crate) fn kept(&self) -> Result<u64> {
        Ok(self.kept_before + self.status()?.records_kept)
    }

    /// What `tracer agent status` says.
    pub(crate) fn status(&self) -> Result<ShipStatus> {
        let output = self
            .tracer(&["agent", "status", "--output", "json"])
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).with_context(|| format!("status: {error}"))
    }

    /// Waits for a state. Whoever has ended by itself meanwhile, as a service manager would, is
    /// started again.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&ShipStatus) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < end {
            for part in [Part::Collector, Part::Ship, Part::Capture] {
                let ended = match &mut self.running[part as usize] {
                    Some(child) => child.try_wait()?,
                    None => None,
                };
                if let Some(status) = ended {
                    ensure!(
                        status.success(),
                        "{part:?} ended: {status}\n{}",
                        self.logs()
                    );
                    self.run(part)?;
                }
            }
            if let Ok(status) = self.status() {
                if wanted(&status) {
                    return Ok(());
                }
                last = Some(status);
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("not {what} in time: {last:#?}\n{}", self.logs())
    }

    /// SIGTERM, and the end.
    pub(crate) fn stop(&mut self, part: Part) -> Result<()> {
        let mut child = self.running[part as usize].take().context("it runs")?;
        let raw = i32::try_from(child.id())?;
        kill_process(Pid::from_raw(raw).context("it has a pid")?, Signal::TERM)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = child.try_wait()? {
                ensure!(
                    status.success(),
                    "{part:?} ended: {status}\n{}",
                    self.logs()
                );
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        child.kill()?;
        bail!("{part:?} does not end\n{}", self.logs())
    }

    fn logs(&self) -> String {
        let parts = [Part::Collector, Part::Ship, Part::Capture];
        let logs = parts.map(|part| {
            let text = self.log(part);
            format!("--- {part:?}\n{text}")
        });
        logs.concat()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Everything that a process has in memory and may read, one region after the other.
pub(crate) fn memory(pid: u32) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    each_region(
        pid,
        |_| true,
        |region| {
            all.extend_from_slice(region);
            false
        },
    )?;
    Ok(all)
}

/// Whether `holds` finds something in what a process has in memory that is not just a file which it reads.
pub(crate) fn holds_in_memory(pid: u32, holds: impl Fn(&[u8]) -> bool) -> Result<bool> {
    let is_own = |mapping: &str| mapping.contains(" rw") || !mapping.contains('/');
    each_region(pid, is_own, holds)
}

/// Looks at the readable regions whose line of `/proc/PID/maps` is `wanted`, up to the first that is the
/// last: whether there was one.
fn each_region(
    pid: u32,
    wanted: impl Fn(&str) -> bool,
    mut is_last: impl FnMut(&[u8]) -> bool,
) -> Result<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut region = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let range = fields.next().and_then(|range| range.split_once('-'));
        let (from, to) = range.context("a mapping has a range")?;
        let from = u64::from_str_radix(from, 16)?;
        let length = usize::try_from(u64::from_str_radix(to, 16)? - from)?;
        if !fields.next().is_some_and(|rights| rights.starts_with('r')) || !wanted(line) {
            continue;
        }
        region.resize(length, 0);
        // The kernel's own pages among them cannot be read.
        let read = memory.read_at(&mut region, from).unwrap_or(0);
        if is_last(&region[..read]) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The contents of every file below a folder, one after the other.
pub(crate) fn contents(folder: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.extend(contents(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            all.extend(fs::read(entry.path())?);
        }
    }
    Ok(all)
}

fn collector_binary() -> Result<PathBuf> {
    let path = binary()?.with_file_name("tracer-collector");
    ensure!(
        path.exists(),
        "{} does not exist; run `cargo build --workspace` first",
        path.display()
    );
    Ok(path)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
