//! Writers, and what holds them off while a file is hashed.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Bench, NO_DIGEST, Said};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// On a loaded machine; the kernel ends a lease by itself after 45 seconds, and hashing takes as long.
const AT_ONCE: Duration = Duration::from_secs(10);

impl Bench {
    /// A file without data that takes seconds to hash, and a list that names it.
    fn large(&self, bytes: u64) -> PathBuf {
        fs::create_dir(self.path("large")).expect("the folder is ours");
        let path = self.path("large/weights");
        let file = File::create(&path).expect("the folder is ours");
        file.set_len(bytes).expect("holes take no room");
        fs::write(self.path("sums"), format!("{NO_DIGEST}  weights\n")).expect("it is ours");
        path
    }

    /// Begins to hash that file and waits until it is held by a lease, which is before its first byte.
    fn hashing(&self) -> Child {
        let child = self
            .command(&["verify", "large", "--sha256sums", "sums"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary that cargo built can be run");
        let inode = fs::metadata(self.path("large/weights"))
            .expect("it is ours")
            .ino();
        let start = Instant::now();
        while !is_leased(inode) {
            assert!(start.elapsed() < PATIENCE, "{inode} is not leased");
            thread::sleep(Duration::from_millis(10));
        }
        child
    }
}

#[test]
fn a_file_that_somebody_has_open_for_writing_is_never_verified() {
    let bench = Bench::new();
    bench.sign(&[]);
    let _writer = OpenOptions::new()
        .append(true)
        .open(bench.model("config.json"));
    let said = bench.verify(&[]);
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.out.starts_with("undetermined"), "{said:?}");
    assert!(
        said.out.contains("G0: it is open or mapped for writing"),
        "{said:?}"
    );
}

/// A store through a mapping that was made before changes neither size nor times.
#[test]
fn a_file_that_is_only_mapped_for_writing_is_never_verified() {
    const MAP: &str = "
import mmap, sys
with open(sys.argv[1], 'r+b') as file:
    memory = mmap.mmap(file.fileno(), 0)
memory[0] = memory[0]
print('mapped', flush=True)
sys.stdin.read()
";
    let bench = Bench::new();
    bench.sign(&[]);
    let mut mapper = Command::new("python3")
        .args(["-c", MAP])
        .arg(bench.model("config.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut mapped = [0; 7];
    let out = mapper.stdout.as_mut().expect("it was piped");
    std::io::Read::read_exact(out, &mut mapped).expect("it says so");
    let said = bench.verify(&[]);
    drop(mapper.stdin.take());
    mapper.wait().expect("it is ours");
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(
        said.out.contains("G0: it is open or mapped for writing"),
        "{said:?}"
    );
    assert_eq!(bench.verify(&[]).status, Some(0));
}

#[test]
fn a_writer_that_comes_while_a_file_is_hashed_does_not_wait_for_its_end() {
    let bench = Bench::new();
    let path = bench.large(16 << 30);
    let hashing = bench.hashing();
    let waited = wait_to_write(&path);
    assert!(waited < AT_ONCE, "{waited:?}");
    interrupt(hashing);
}

#[test]
fn a_writer_ends_the_guarantee_of_what_is_being_hashed() {
    let bench = Bench::new();
    let path = bench.large(2 << 30);
    let right = Command::new("sh")
        .args(["-c", "sha256sum large/weights | sed 's,large/,,' > sums"])
        .current_dir(bench.folder.path())
        .status();
    assert!(right.expect("sha256sum is there").success());
    let hashing = bench.hashing();
    drop(
        OpenOptions::new()
            .append(true)
            .open(path)
            .expect("it is ours"),
    );
    let said = Said::from(hashing.wait_with_output().expect("it is ours"));
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(
        said.out
            .contains("opened for writing or truncated while it was hashed"),
        "{said:?}"
    );
    let said = bench.tracer(&["verify", "large", "--sha256sums", "sums"]);
    assert_eq!(said.status, Some(0), "{said:?}");
}

#[test]
fn a_stopped_tracer_holds_a_writer_up_for_a_moment_only() {
    let bench = Bench::new();
    let path = bench.large(16 << 30);
    let hashing = bench.hashing();
    signal(&hashing, Signal::STOP);
    let waited = wait_to_write(&path);
    assert!(waited < AT_ONCE, "{waited:?}");
    signal(&hashing, Signal::CONT);
    interrupt(hashing);
}

#[test]
fn a_stopped_lease_keeper_holds_nobody_up_and_nothing_is_left_of_a_killed_tracer() {
    let bench = Bench::new();
    let path = bench.large(16 << 30);
    let hashing = bench.hashing();
    let keeper = keeper_of(&hashing);
    kill_process(keeper, Signal::STOP).expect("it is there");
    let waited = wait_to_write(&path);
    assert!(waited < AT_ONCE, "{waited:?}");
    kill_process(keeper, Signal::CONT).expect("it is there");
    interrupt(hashing);

    let hashing = bench.hashing();
    let keeper = keeper_of(&hashing);
    signal(&hashing, Signal::KILL);
    let waited = wait_to_write(&path);
    assert!(waited < AT_ONCE, "{waited:?}");
    let start = Instant::now();
    while rustix::process::test_kill_process(keeper).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the keeper outlives its tracer");
        thread::sleep(Duration::from_millis(10));
    }
    let mut hashing = hashing;
    hashing.wait().expect("it is ours");
}

/// Whether somebody, tracer or its keeper, holds a lease on a file: a line of `/proc/locks` is `1: LEASE
/// ACTIVE READ PID MAJOR:MINOR:INODE 0 EOF`.
fn is_leased(inode: u64) -> bool {
    let inode = inode.to_string();
    let locks = fs::read_to_string("/proc/locks").expect("the kernel lists locks");
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"LEASE")
            && words.get(5).and_then(|file| file.rsplit(':').next()) == Some(inode.as_str())
    })
}

fn wait_to_write(path: &Path) -> Duration {
    let start = Instant::now();
    drop(
        OpenOptions::new()
            .append(true)
            .open(path)
            .expect("it is ours"),
    );
    start.elapsed()
}

fn keeper_of(child: &Child) -> Pid {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let children = fs::read_to_string(children).expect("the kernel lists children");
    let keeper = children
        .split_whitespace()
        .next()
        .and_then(|pid| pid.parse().ok());
    keeper.and_then(Pid::from_raw).expect("it has a keeper")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is there");
}

fn interrupt(mut child: Child) {
    assert!(
        child.try_wait().expect("it is ours").is_none(),
        "it ended before it was needed"
    );
    signal(&child, Signal::INT);
    child.wait().expect("it is ours");
}
