//! `gate = "wait"`: who opens waits until somebody has decided. On any host.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::{atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use tracer_tests::{
    fuse::{self, Fuse},
    requires_root, tracer,
};

use crate::{Enforcing, Models, PATIENCE, WAIT, cut, is_refused, sha256, soon};

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
    let large = models.listed_large()?;
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
    let large = models.listed_large()?;
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
    enforcing.stop()?;
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
