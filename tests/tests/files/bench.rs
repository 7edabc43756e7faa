//! What the cases share: a tracer that watches a folder, and a file below it.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Stdio},
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tracer_event::{
    Recorded,
    file::{FileAccess, FileAct},
};
use tracer_tests::{
    cache::Cache,
    requires_root,
    watching::{PATIENCE, Watching},
    workload::Target,
};

/// How long one is waited for that the tracer may be blind to.
const GLANCE: Duration = Duration::from_secs(2);
const SKIPPED: i32 = 77;
const TMPFS: i64 = 0x0102_1994;

pub(crate) const OPENED: &[FileAct] = &[FileAct::Opened, FileAct::OpenedSomehow];
pub(crate) const READ: &[FileAct] = &[FileAct::Read];
pub(crate) const WRITTEN: &[FileAct] = &[FileAct::Written, FileAct::Truncated];

/// A case's own folder below the watched one, and one that is not watched.
pub(crate) struct Bench<'a> {
    pub(crate) watching: &'a mut Watching,
    pub(crate) cache: Cache,
    pub(crate) file: PathBuf,
    pub(crate) inode: u64,
    elsewhere: TempDir,
}

impl Bench<'_> {
    /// Runs the program in one way, and says which process that was and what it printed. `None` where
    /// there is no such way here.
    pub(crate) fn go(&self, way: &str, other: Option<&Path>) -> Result<Option<(u32, String)>> {
        let mut command = Target::Accesses.command(&self.cache, &[way])?;
        command.arg(&self.file).args(other).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let pid = child.id();
        let mut said = String::new();
        child
            .stdout
            .take()
            .context("it has standard output")?
            .read_to_string(&mut said)?;
        let status = child.wait()?;
        match status.code() {
            Some(0) => Ok(Some((pid, said))),
            Some(SKIPPED) => {
                eprintln!("not staged: this host has no way `{way}`");
                Ok(None)
            }
            _ => bail!("`{way}` went wrong: {status}"),
        }
    }

    pub(crate) fn elsewhere(&self, name: &str) -> PathBuf {
        self.elsewhere.path().join(name)
    }

    /// Each of these has to be told of the file, by this process.
    pub(crate) fn told(
        &mut self,
        pid: u32,
        groups: &[&[FileAct]],
    ) -> Result<Vec<FileAccess<Recorded>>> {
        let inode = self.inode;
        groups
            .iter()
            .map(|group| {
                self.watching
                    .until(&format!("{group:?}"), PATIENCE, |line, access| {
                        line.place.pid.is_some_and(|seen| seen.0 == pid)
                            && access.inode.inode == inode
                            && group.contains(&access.act)
                    })
            })
            .collect()
    }

    /// The common case: run in one way, and both the open and the read are told.
    pub(crate) fn opens_and_reads(&mut self, way: &str, other: Option<&Path>) -> Result<()> {
        let Some((pid, _)) = self.go(way, other)? else {
            return Ok(());
        };
        self.told(pid, &[OPENED, READ]).map(drop)
    }

    pub(crate) fn is_on_tmpfs(&self) -> bool {
        rustix::fs::statfs(&self.file).is_ok_and(|system| system.f_type == TMPFS)
    }
}

impl Bench<'_> {
    /// Whether one of `acts` is told. Where it need not be, nobody waits for it for long.
    pub(crate) fn is_told(&mut self, pid: u32, acts: &[FileAct], is_blind: bool) -> bool {
        let inode = self.inode;
        let patience = if is_blind { GLANCE } else { PATIENCE };
        let told = self.watching.until("it", patience, |line, access| {
            line.place.pid.is_some_and(|seen| seen.0 == pid)
                && access.inode.inode == inode
                && acts.contains(&access.act)
        });
        told.is_ok()
    }
}

/// A process that has opened a file in one way and holds it until it is told to go on.
pub(crate) struct Holder {
    pub(crate) pid: u32,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Holder {
    /// Starts one, and waits until it holds the file. `None` where there is no such way here.
    pub(crate) fn start(
        cache: &Cache,
        way: &str,
        file: &Path,
        other: Option<&Path>,
    ) -> Result<Option<Self>> {
        let mut command = Target::Accesses.command(cache, &[way])?;
        command.arg(file).args(other);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().context("it has standard output")?;
        let mut holder = Self {
            pid: child.id(),
            child,
            said: BufReader::new(said),
        };
        let mut word = holder.word()?;
        // A container says which process it is outside.
        if let Ok(pid) = word.parse() {
            holder.pid = pid;
            word = holder.word()?;
        }
        if word == "holding" {
            return Ok(Some(holder));
        }
        match holder.child.wait()?.code() {
            Some(SKIPPED) => {
                eprintln!("not staged: this host has no way `{way}`");
                Ok(None)
            }
            _ => bail!("`{way}` said {word:?}"),
        }
    }

    /// Lets it go on until it holds the file again.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("it was not let go yet")?;
        stdin.write_all(b"\n")?;
        let word = self.word()?;
        ensure!(word == "holding", "it said {word:?}");
        Ok(())
    }

    /// Lets it go on until it ends.
    pub(crate) fn let_go(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "it went wrong: {status}");
        Ok(())
    }

    fn word(&mut self) -> Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

/// A tracer, and the folder that it watches.
struct Shared {
    watching: Watching,
    root: TempDir,
}

impl Shared {
    fn start(tier: &str) -> Result<Self> {
        let root = tempfile::tempdir()?;
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
        let watching = Watching::start(Some(tier), root.path())?;
        Ok(Self { watching, root })
    }
}

/// Runs a case that starts what it needs.
pub(crate) fn alone(tier: &str, _name: &str, case: fn(&str) -> Result<()>) -> Result<()> {
    requires_root!();
    case(tier)
}

/// Runs a case in a folder of its own below the one that the tracer of this process watches.
pub(crate) fn shared(
    tier: &'static str,
    name: &str,
    case: fn(&mut Bench<'_>) -> Result<()>,
) -> Result<()> {
    static TRACERS: LazyLock<Mutex<HashMap<&'static str, Shared>>> = LazyLock::new(Mutex::default);
    requires_root!();
    let mut tracers = TRACERS.lock().unwrap_or_else(PoisonError::into_inner);
    if !tracers.contains_key(tier) {
        tracers.insert(tier, Shared::start(tier)?);
    }
    let Shared { watching, root } = tracers.get_mut(tier).context("it was put in above")?;
    let before = watching.missed();
    let done = once(watching, root.path(), name, case);
    // Every access is told, or that one was missed: then the case is tried once more.
    let missed = watching.missed() > before && watching.is_blind_to("preempted");
    match done {
        Err(error) if missed => {
            eprintln!("again: {error:#}, and that something was missed was told");
            once(watching, root.path(), &format!("{name}-again"), case)
        }
        done => done,
    }
}

fn once(
    watching: &mut Watching,
    root: &Path,
    name: &str,
    case: fn(&mut Bench<'_>) -> Result<()>,
) -> Result<()> {
    let folder = root.join(name);
    fs::create_dir(&folder)?;
    let file = folder.join("model.bin");
    fs::write(&file, vec![0x5a; 65_536])?;
    // What is dirty already would not be told to become so.
    fs::File::open(&file)?.sync_all()?;
    let metadata = fs::metadata(&file)?;
    let inode = metadata.ino();
    watching.until("the new file", PATIENCE, |_, access| {
        access.inode.inode == inode && access.act == FileAct::Created
    })?;
    let mut bench = Bench {
        watching,
        cache: Cache::open()?,
        file,
        inode,
        elsewhere: tempfile::tempdir()?,
    };
    case(&mut bench)
}
