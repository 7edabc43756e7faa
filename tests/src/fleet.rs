//! A collector and an agent as they are installed: three processes, each of which may be killed. All
//! that they keep lies in one folder, which goes with them.

mod kept;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tracer_agent::status::ShipStatus;
use tracer_wire::RecipientSecret;

pub use self::kept::{contents, holds_in_memory, memory};
use crate::{tracer::binary, workload::NOBODY};

/// How long a state may take to be reached on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Permits content in a copy of `/etc`, in a mount namespace that ends with the process.
const WITH_CEILING: &str = "mount --bind \"$0\" /etc && exec \"$@\"";
/// Gives the spool a disk of its own, which is gone with the process.
const WITH_DISK: &str = "mount -t tmpfs -o \"$TRACER_DISK\" spool \"$0\" && exec \"$@\"";

/// What an agent is to do, beside what all of them do.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Text is captured, for [`Fleet::reader`].
    pub is_content: bool,
    /// The only program that is traced, if it is not all of them.
    pub exe: Option<PathBuf>,
    /// Profiles besides the built-in ones.
    pub profiles: Vec<PathBuf>,
    /// What the spool may use.
    pub spool: &'static str,
    /// The size of a disk of the spool's own, if it has one.
    pub disk: Option<&'static str>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            is_content: false,
            exe: None,
            profiles: Vec::new(),
            spool: "64MiB",
            disk: None,
        }
    }
}

/// A process of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Stores what arrives.
    Collector,
    /// Keeps records and has the network.
    Ship,
    /// Sees events.
    Capture,
}

/// All of them, and their folder.
pub struct Fleet {
    folder: TempDir,
    wishes: Wishes,
    running: [Option<Child>; 3],
    /// Opens content.
    pub reader: RecipientSecret,
    /// What ships that are gone had said to keep.
    kept_before: u64,
}

impl Fleet {
    /// Sets a collector up, enrols an agent, and starts all three.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(wishes: Wishes) -> Result<Self> {
        let mut fleet = Self::prepare(wishes)?;
        for part in [Part::Collector, Part::Ship, Part::Capture] {
            fleet.run(part)?;
        }
        fleet.until("connected", |status| status.is_connected)?;
        Ok(fleet)
    }

    /// Sets a collector up, and an agent that has a token; starts neither.
    ///
    /// # Errors
    /// When the collector makes no folder, or the agent takes no token.
    pub fn prepare(wishes: Wishes) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Ship's user goes through it to its own.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let reader = RecipientSecret::generate()?;
        if wishes.is_content {
            permit_content(folder.path())?;
        }
        let fleet = Self {
            folder,
            wishes,
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
    ///
    /// # Errors
    /// When the agent does not take it.
    pub fn enroll(&self, token: &str) -> Result<()> {
        let enrolled = self
            .tracer(&["agent", "enroll", "--token", token])
            .output()?;
        let said = String::from_utf8_lossy(&enrolled.stderr).into_owned();
        ensure!(enrolled.status.success(), "enroll: {said}");
        Ok(())
    }

    /// SIGHUP.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self, part: Part) -> Result<()> {
        let raw = i32::try_from(self.pid(part)?)?;
        Ok(kill_process(
            Pid::from_raw(raw).context("it has a pid")?,
            Signal::HUP,
        )?)
    }

    /// What a part has said so far.
    #[must_use]
    pub fn log(&self, part: Part) -> String {
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
        let folder = self.folder.path().display();
        let profiles = &self.wishes.profiles;
        let mut text = format!(
            "[collector]\nname = \"durable\"\n[ship]\nuser = \"nobody\"\nstate = \"{folder}/ship\"\n\
             sockets = \"{folder}/sockets\"\nspool = \"{}\"\n[capture]\nstate = \"{folder}/capture\"\n\
             profiles = {profiles:?}\ngovern = false\n",
            self.wishes.spool,
        );
        if let Some(exe) = &self.wishes.exe {
            text.push_str(&format!("exe = {exe:?}\n"));
        }
        if self.wishes.is_content {
            let until = Command::new("date")
                .args(["--utc", "--date=+1 hour", "+%Y-%m-%dT%H:%M:%SZ"])
                .output()?;
            let until = String::from_utf8(until.stdout)?;
            text.push_str(&format!(
                "level = \"text\"\nuntil = \"{}\"\npolicy = \"{folder}/policy.toml\"\n\
                 [content]\nrecipients = [\"{}\"]\n",
                until.trim(),
                self.reader.recipient(),
            ));
        }
        let path = self.path("agent.toml");
        fs::write(&path, text)?;
        Ok(fs::set_permissions(
            path,
            fs::Permissions::from_mode(0o644),
        )?)
    }

    /// A path in the folder of all.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
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
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&mut self, part: Part) -> Result<()> {
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
            Part::Ship => {
                let ship = self.tracer(&["agent", "ship"]);
                match self.wishes.disk {
                    Some(size) => self.on_own_disk(&ship, size)?,
                    None => ship,
                }
            }
            Part::Capture => {
                let capture = self.tracer(&["agent", "capture"]);
                match self.wishes.is_content {
                    true => in_own_mounts(WITH_CEILING, &self.path("etc"), &capture),
                    false => capture,
                }
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

    fn on_own_disk(&self, ship: &Command, size: &str) -> Result<Command> {
        let spool = self.path("ship/spool");
        fs::create_dir_all(&spool)?;
        let mut command = in_own_mounts(WITH_DISK, &spool, ship);
        command.env(
            "TRACER_DISK",
            format!("size={size},uid={NOBODY},gid={NOBODY},mode=700"),
        );
        Ok(command)
    }

    /// The process id of one that runs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self, part: Part) -> Result<u32> {
        let child = self.running[part as usize].as_ref();
        Ok(child
            .with_context(|| format!("{part:?} is not running"))?
            .id())
    }

    /// kill -9.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, part: Part) -> Result<()> {
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
    ///
    /// # Errors
    /// When ship does not answer.
    pub fn kept(&self) -> Result<u64> {
        Ok(self.kept_before + self.status()?.records_kept)
    }

    /// Hands `take` each line that `tracer query` with these arguments prints, asked with a new token.
    ///
    /// # Errors
    /// When there is no token, or it fails.
    pub fn query(&self, arguments: &[&str], take: impl FnMut(String)) -> Result<()> {
        let made = Command::new(collector_binary()?)
            .args(["token", "new", "--reader", "fleet", "--config"])
            .arg(self.path("collector/collector.toml"))
            .output()?;
        let said = String::from_utf8(made.stdout)?;
        let mut words = said.split_whitespace();
        let token = words.find(|word| word.starts_with("tracer-reader-1."));
        let token = token.with_context(|| format!("no reader's token:\n{said}"))?;
        let mut asking = Command::new(binary()?)
            .args(["query", "--output", "ndjson"])
            .args(arguments)
            .env("TRACER_READER_TOKEN", token)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = asking.stdout.take().context("it has a standard output")?;
        let lines = BufReader::new(output).lines();
        lines.map_while(Result::ok).for_each(take);
        let status = asking.wait()?;
        ensure!(status.success(), "tracer query ended with {status}");
        Ok(())
    }

    /// What `tracer agent status` says.
    ///
    /// # Errors
    /// When ship does not answer.
    pub fn status(&self) -> Result<ShipStatus> {
        let output = self
            .tracer(&["agent", "status", "--output", "json"])
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).with_context(|| format!("status: {error}"))
    }

    /// Waits for a state. Whoever has ended by itself meanwhile, as a service manager would, is
    /// started again.
    ///
    /// # Errors
    /// When it is not reached in time, or a part fails.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&ShipStatus) -> bool) -> Result<()> {
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
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn stop(&mut self, part: Part) -> Result<()> {
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

/// A copy of `/etc` that permits content, and a policy that keeps it.
fn permit_content(folder: &Path) -> Result<()> {
    let etc = folder.join("etc");
    let copied = Command::new("cp").args(["-a", "/etc"]).arg(&etc).status()?;
    ensure!(copied.success(), "cannot copy /etc");
    fs::create_dir_all(etc.join("tracer"))?;
    let ceiling = etc.join("tracer/ceiling.toml");
    fs::write(&ceiling, "capture = \"text\"\n")?;
    fs::set_permissions(&ceiling, fs::Permissions::from_mode(0o644))?;
    Ok(fs::write(
        folder.join("policy.toml"),
        "[fields]\ntext = \"keep\"\n",
    )?)
}

/// A command behind a script that mounts something at a place which only they see.
fn in_own_mounts(script: &str, place: &Path, inner: &Command) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(place)
        .arg(inner.get_program())
        .args(inner.get_args());
    command
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
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
