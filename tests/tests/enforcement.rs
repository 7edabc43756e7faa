//! `tracer files --enforce`: who gets at a watched file, and who does not. Needs root and BPF.
//!
//! This process is the one that opens: to the tracer it is anybody. With `gate = "wait"` the tests run
//! on any host; with `gate = "deny"` in guests, whose kernels let programs refuse.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tracer_event::{
    Body, Recorded,
    file::{FileAccess, FileAct},
};
use tracer_tests::{
    cache::Cache,
    fuse::{self, Fuse},
    requires_root,
    tracer::{self, Line},
    workload::Target,
};

/// How long something may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes whose hashing takes some tenths of a second.
const LARGE: u64 = 64 << 20;

/// A folder with a model that is listed and one that is not, and what was written beside it.
struct Models {
    folder: TempDir,
    beside: TempDir,
    good: PathBuf,
    bad: PathBuf,
}

impl Models {
    fn new() -> Result<Self> {
        let (folder, beside) = (tempfile::tempdir()?, tempfile::tempdir()?);
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

const WAIT: &str = "gate = \"wait\"\non_agent_death = \"allow\"";

#[test]
fn who_waits_gets_a_verified_file_and_no_other() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let enforcing = models.enforce(WAIT)?;
    let mut text = String::new();
    File::open(&models.good)?.read_to_string(&mut text)?;
    assert_eq!(text, "the model that was signed");
    is_refused(File::open(&models.bad))?;
    let refusal = enforcing.refusal()?;
    let reason = refusal.reason.as_ref().context("it has a reason")?;
    assert_eq!(reason.as_str(), "nobody vouches for these bytes");
    // By another name and another way in, too.
    let alias = models.beside.path().join("alias");
    if fs::hard_link(&models.bad, &alias).is_ok() {
        is_refused(File::open(&alias))?;
    }
    enforcing.interrupt()?;
    File::open(&models.bad)?;
    Ok(())
}

/// What is hashed when the tracer starts may be asked for at that moment: neither disturbs the other.
#[test]
fn who_opens_what_is_being_hashed_already_gets_it() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let large = models.folder.path().join("large.bin");
    File::create(&large)?.set_len(LARGE)?;
    let mut zeros = Sha256::new();
    io::copy(&mut File::open(&large)?, &mut zeros)?;
    models.list(&hex(&zeros.finalize()))?;
    let enforcing = models.enforce(WAIT)?;
    // The first waits; the others come while, and after, what the first asked for is being done.
    for _ in 0..100 {
        File::open(&large)?;
        thread::sleep(Duration::from_millis(10));
    }
    enforcing.interrupt()
}

/// What one hash finds of a file's earlier state is nothing against who came after the change.
#[test]
fn who_opens_what_changed_while_it_was_hashed_for_another_gets_it() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let large = models.folder.path().join("large.bin");
    File::create(&large)?.set_len(LARGE)?;
    let mut zeros = Sha256::new();
    io::copy(&mut File::open(&large)?, &mut zeros)?;
    models.list(&hex(&zeros.finalize()))?;
    let enforcing = models.enforce(WAIT)?;
    let change = |mode| fs::set_permissions(&large, fs::Permissions::from_mode(mode));
    for _ in 0..50 {
        change(0o600)?;
        let path = large.clone();
        let (say, number) = mpsc::channel();
        let first = thread::spawn(move || {
            // The receiver below outlives this.
            let _ = say.send(rustix::thread::gettid().as_raw_nonzero());
            File::open(path)
        });
        let number = number.recv()?;
        let at = format!("/proc/self/task/{number}/wchan");
        soon("the first opener waits or has its file", || {
            fs::read_to_string(&at).map_or(true, |function| function.contains("fanotify"))
        })?;
        change(0o640)?;
        File::open(&large).context("the second opener, who came after the change")?;
        let first = first.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        if first.is_err() {
            return enforcing.interrupt();
        }
        // It was hashed before or after the change, and not during it.
    }
    bail!("the file never changed while it was hashed")
}

/// The kernel refuses then, and names neither the opener nor the file.
#[test]
fn an_opener_whose_file_the_tracer_cannot_be_given_is_told() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let enforcing = models.enforce(WAIT)?;
    let tracer = Pid::from_raw(i32::try_from(enforcing.child.id())?);
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(3),
        ..limit
    };
    let before = prlimit(tracer, Resource::Nofile, none)?;
    is_refused(File::open(&models.good))?;
    prlimit(tracer, Resource::Nofile, before)?;
    let refusal = enforcing.refusal()?;
    let reason = refusal.reason.as_ref().context("it has a reason")?;
    assert_eq!(
        reason.as_str(),
        "the kernel could not open it for the tracer"
    );
    assert_eq!(refusal.inode.inode, 0, "{refusal:?}");
    File::open(&models.good)?;
    enforcing.interrupt()
}

#[test]
fn a_watched_file_is_not_written_and_a_new_one_is_moved_in() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let enforcing = models.enforce(WAIT)?;
    File::open(&models.good)?;
    is_refused(OpenOptions::new().append(true).open(&models.good))?;
    is_refused(File::create(models.folder.path().join("new.bin")))?;
    // The same bytes under another name are verified, others are not.
    let staged = models.beside.path().join("staged");
    fs::write(&staged, b"the model that was signed")?;
    let moved = models.folder.path().join("moved.bin");
    fs::rename(&staged, &moved)?;
    File::open(&moved)?;
    fs::write(&staged, b"a third one")?;
    fs::rename(&staged, &models.good)?;
    is_refused(File::open(&models.good))?;
    // Cut by its name, which opens nothing: seen by its next opener.
    fs::write(&staged, b"the model that was signed")?;
    fs::rename(&staged, &models.good)?;
    File::open(&models.good)?;
    ensure!(cut(&models.good)?, "it could not be truncated");
    is_refused(File::open(&models.good))?;
    enforcing.interrupt()
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

/// C24, C27: hashing takes longer than anybody may be held.
#[test]
fn nobody_is_held_beyond_the_deadline() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let large = models.beside.path().join("large");
    File::create(&large)?.set_len(64 << 30)?;
    let rules = format!("{WAIT}\ndeadline = \"300ms\"");
    let enforcing = models.enforce(&rules)?;
    let inside = models.folder.path().join("large.bin");
    fs::rename(&large, &inside)?;
    let start = Instant::now();
    is_refused(File::open(&inside))?;
    let held = start.elapsed();
    ensure!(held >= Duration::from_millis(250), "held for {held:?} only");
    ensure!(held < PATIENCE, "held for {held:?}");
    let reason = enforcing.refusal()?.reason.context("it has a reason")?;
    assert_eq!(reason.as_str(), "it was not verified before the deadline");
    enforcing.kill()
}

/// D32: whoever stops the tracer stops nobody else.
#[test]
fn a_stopped_tracer_lets_openers_go_within_seconds() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let mut enforcing = models.enforce(WAIT)?;
    enforcing.signal(Signal::STOP)?;
    let stat = format!("/proc/{}/stat", enforcing.child.id());
    soon("it stops", || {
        fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
    })?;
    let start = Instant::now();
    File::open(&models.bad)?;
    let held = start.elapsed();
    ensure!(held < PATIENCE, "held for {held:?}");
    eprintln!("an opener was held for {held:?} by a stopped tracer");
    assert!(!enforcing.child.wait()?.success());
    Ok(())
}

/// D32: nor does whoever kills it, also while somebody waits.
#[test]
fn a_killed_tracer_lets_openers_go() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let large = models.folder.path().join("large.bin");
    File::create(&large)?.set_len(64 << 30)?;
    let enforcing = models.enforce(WAIT)?;
    let opener = thread::spawn(move || File::open(large));
    thread::sleep(Duration::from_millis(200));
    enforcing.kill()?;
    let opened = opener.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
    opened?;
    File::open(&models.bad)?;
    Ok(())
}

/// C26, C27: a file system in user space may serve other bytes each time, or none.
#[test]
fn a_file_system_that_anybody_answers_for_is_never_verified_and_stalls_nobody() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let Ok(fuse) = Fuse::mount(b"the model that was signed".to_vec()) else {
        eprintln!("not staged: this host has no FUSE");
        return Ok(());
    };
    let list = models.beside.path().join("fuse-list");
    let digest = sha256(b"the model that was signed");
    fs::write(&list, format!("{digest}  {}\n", fuse::NAME))?;
    let status = Command::new(tracer::binary()?)
        .arg("verify")
        .arg(fuse.file())
        .arg("--sha256sums")
        .arg(list)
        .status()?;
    assert_eq!(
        status.code(),
        Some(2),
        "the digest is right, and proves nothing"
    );
    let policy = models.policy(&format!("{WAIT}\ndeadline = \"500ms\""))?;
    let text = fs::read_to_string(&policy)?;
    let folder = fuse.file();
    let folder = folder.parent().context("it lies in a folder")?;
    let watch = format!("watch = [{folder:?}, ");
    fs::write(&policy, text.replacen("watch = [", &watch, 1))?;
    let enforcing = Enforcing::start(&policy)?;
    is_refused(File::open(fuse.file()))?;
    let reason = enforcing.refusal()?.reason.context("it has a reason")?;
    ensure!(
        reason.as_str().contains("cannot vouch"),
        "refused for another reason: {reason}"
    );
    fuse.behaviour.stalls.store(true, Ordering::Relaxed);
    fuse.behaviour.changes.store(true, Ordering::Relaxed);
    let start = Instant::now();
    is_refused(File::open(fuse.file()))?;
    ensure!(start.elapsed() < PATIENCE, "it was held");
    File::open(&models.good)?;
    enforcing.signal(Signal::KILL)?;
    drop(fuse);
    Ok(())
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

/// Where the kernel refuses: in guests.
mod deny {
    use super::*;

    const UNTIL_IT_ENDS: &str = "gate = \"deny\"\non_agent_death = \"allow\"";
    const FOR_GOOD: &str = "gate = \"deny\"\non_agent_death = \"deny\"";

    fn release() -> Result<Option<i32>> {
        let status = Command::new(tracer::binary()?)
            .args(["files", "--release"])
            .status()?;
        Ok(status.code())
    }

    #[test]
    #[ignore = "runs in guests"]
    fn the_kernel_lets_in_what_is_verified_and_nothing_else() -> Result<()> {
        requires_root!();
        let models = Models::new()?;
        let before = File::open(&models.bad)?;
        let writer = OpenOptions::new().append(true).open(&models.bad)?;
        let enforcing = models.enforce(UNTIL_IT_ENDS)?;
        let mut text = String::new();
        File::open(&models.good)?.read_to_string(&mut text)?;
        assert_eq!(text, "the model that was signed");
        is_refused(File::open(&models.bad))?;
        let refusal = enforcing.refusal()?;
        assert_eq!(refusal.seen_by.as_str(), "lsm");
        assert!(refusal.reason.is_some(), "{refusal:?}");
        // A descriptor from before reads, as the policy's document says, and maps nothing.
        before.read_at(&mut [0; 4], 0)?;
        let mapped = accesses("map-input", &models.bad, Stdio::from(before))?;
        ensure!(!mapped, "it was mapped");
        is_refused(OpenOptions::new().append(true).open(&models.good))?;
        is_refused(File::create(models.folder.path().join("new.bin")))?;
        ensure!(!cut(&models.good)?, "it was truncated");
        drop(writer);
        enforcing.interrupt()?;
        soon("it is refused without a tracer", || {
            File::open(&models.bad).is_ok()
        })?;
        assert_eq!(release()?, Some(1), "nothing was pinned");
        Ok(())
    }

    #[test]
    #[ignore = "runs in guests"]
    fn a_file_that_is_moved_in_opens_once_it_is_verified() -> Result<()> {
        requires_root!();
        let models = Models::new()?;
        models.list(&sha256(b"the next model"))?;
        let enforcing = models.enforce(UNTIL_IT_ENDS)?;
        let staged = models.beside.path().join("staged");
        let moved = models.folder.path().join("moved.bin");
        fs::write(&staged, b"the next model")?;
        fs::rename(&staged, &moved)?;
        soon("the new model is verified", || File::open(&moved).is_ok())?;
        fs::write(&staged, b"something else")?;
        fs::rename(&staged, &moved)?;
        is_refused(File::open(&moved))?;
        thread::sleep(Duration::from_secs(1));
        is_refused(File::open(&moved))?;
        enforcing.interrupt()
    }

    /// A descriptor that could write was there before the policy.
    #[test]
    #[ignore = "runs in guests"]
    fn what_is_written_through_an_old_descriptor_is_no_longer_let_in() -> Result<()> {
        requires_root!();
        let models = Models::new()?;
        let writer = OpenOptions::new().write(true).open(&models.good)?;
        let enforcing = models.enforce(UNTIL_IT_ENDS)?;
        // While it can write, nobody vouches for the file.
        is_refused(File::open(&models.good))?;
        writer.write_at(b"THE", 0)?;
        drop(writer);
        soon("it is refused still", || File::open(&models.good).is_err())?;
        enforcing.interrupt()
    }

    #[test]
    #[ignore = "runs in guests"]
    fn the_policy_outlives_the_tracer_only_where_that_was_chosen() -> Result<()> {
        requires_root!();
        let models = Models::new()?;
        // The kernel takes its time to let go of a program.
        let opens = || File::open(&models.bad).is_ok();
        models.enforce(UNTIL_IT_ENDS)?.kill()?;
        soon("it is refused without a tracer", opens)?;

        models.enforce(FOR_GOOD)?.kill()?;
        is_refused(File::open(&models.bad))?;
        File::open(&models.good)?;
        // The next one takes over, and locks itself out of nothing.
        let next = models.enforce(FOR_GOOD)?;
        is_refused(File::open(&models.bad))?;
        File::open(&models.good)?;
        let second = Command::new(tracer::binary()?)
            .args(["files", "--enforce"])
            .arg(models.policy(FOR_GOOD)?)
            .output()?;
        assert_eq!(second.status.code(), Some(2));
        let said = String::from_utf8_lossy(&second.stderr);
        ensure!(
            said.contains("enforces a policy on this host already"),
            "{said}"
        );
        next.kill()?;
        is_refused(File::open(&models.bad))?;

        assert_eq!(release()?, Some(0));
        soon("it is refused after the release", opens)?;
        assert_eq!(release()?, Some(1));
        Ok(())
    }
}
