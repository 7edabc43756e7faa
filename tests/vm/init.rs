//! The first process of a test guest: mounts what tests expect, runs those that the kernel's
//! command line names, and reports on the console in lines that `cargo xtask vm` reads:
//!
//! ```text
//! TRACER-VM BANNER 6.1.0-50-cloud-amd64
//! TRACER-VM START guest-is-complete
//! TRACER-VM RESULT guest-is-complete pass 12
//! TRACER-VM DONE
//! ```
//!
//! Each line is there twice, because the kernel may print into one of them.
//!
//! A test passes with exit status 0, is skipped with 77, and fails with anything else. Called with
//! `--check-guest` this program is itself the first test.
//!
//! Where a test wants systemd as the first process, this one becomes it, after it has started itself
//! once more for what is left to do.
#![forbid(unsafe_code)]

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};
use rustix::system::{RebootCommand, finit_module, reboot};

/// Written by `cargo xtask vm`: name, seconds, first process (`init` or `systemd`), program and arguments,
/// separated by tabs.
const PLAN: &str = "/etc/tracer-tests";
/// Written there too: one `NAME=VALUE` a line.
const ENVIRONMENT: &str = "/etc/tracer-environment";
/// Written there too: the path of one kernel module a line, in the order in which they are loaded.
const MODULES: &str = "/etc/tracer-modules";
/// How long a killed test may take to go.
const KILL_LIMIT: Duration = Duration::from_secs(20);
/// Runs the tests from the one that is named on, below another first process.
const GO_ON: &str = "--go-on";
const SYSTEMD: &str = "/lib/systemd/systemd";
/// Without one systemd would take this for an installation's first boot, and enable every unit.
const MACHINE: &str = "/etc/machine-id";
/// The exit status by which a test says that it was skipped.
const SKIPPED: i32 = 77;

/// Source, folder and type of what is mounted, in this order.
///
/// Nothing lies over `/tmp`: the programs keep the paths that they have on the machine that built
/// them, and a checkout may be there. The guest's root is in memory anyway.
const MOUNTS: [(&str, &str, &str); 8] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("devpts", "/dev/pts", "devpts"),
    ("bpf", "/sys/fs/bpf", "bpf"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
    ("securityfs", "/sys/kernel/security", "securityfs"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2"),
];

/// How many huge pages there are, of 2 MiB each.
const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some("--check-guest") {
        return match check_guest() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let mut words = env::args().skip(1);
    let done = match (words.next().as_deref(), words.next()) {
        (Some(GO_ON), Some(name)) => run_tests(Some(&name)),
        _ => set_up().and_then(|()| run_tests(None)),
    };
    if let Err(error) = done {
        println!("vm-init: {error:#}");
    }
    match reboot(RebootCommand::PowerOff) {
        Ok(()) => ExitCode::SUCCESS,
        // Ending the first process panics the kernel, which ends the guest too.
        Err(_) => ExitCode::FAILURE,
    }
}

fn set_up() -> Result<()> {
    for (source, folder, kind) in MOUNTS {
        mount_at(source, folder, kind)?;
    }
    fs::write(HUGE_PAGES, "4").with_context(|| format!("writing {HUGE_PAGES}"))?;
    fs::set_permissions("/tmp", Permissions::from_mode(0o1777)).context("opening /tmp to all")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("reading osrelease")?;
    state(&format!("BANNER {}", release.trim()));
    load_modules()
}

/// Runs the tests that the command line names, or those of them from `first` on.
fn run_tests(first: Option<&str>) -> Result<()> {
    let parameters = fs::read_to_string("/proc/cmdline").context("reading the command line")?;
    let plan = fs::read_to_string(PLAN).with_context(|| format!("reading {PLAN}"))?;
    let wanted = parameters
        .split_whitespace()
        .find_map(|parameter| parameter.strip_prefix("tracer.tests="))
        .unwrap_or_default();
    let wanted = wanted.split(',').filter(|name| !name.is_empty());
    for name in wanted.skip_while(|name| first.is_some_and(|first| first != *name)) {
        let line = plan
            .lines()
            .find(|line| line.split('\t').next() == Some(name))
            .with_context(|| format!("{PLAN} does not say how to run {name}"))?;
        if first.is_none() && line.split('\t').nth(2) == Some("systemd") {
            return Err(become_systemd(name));
        }
        state(&format!("START {name}"));
        let begun = Instant::now();
        let verdict = run_test(line).unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            "fail"
        });
        let took = begun.elapsed().as_millis();
        state(&format!("RESULT {name} {verdict} {took}"));
        reap();
    }
    state("DONE");
    Ok(())
}

/// Starts this program for the tests from `name` on, and makes systemd of the first process. Returns only
/// if that fails.
fn become_systemd(name: &str) -> anyhow::Error {
    if let Err(error) = fs::write(MACHINE, "6b1f0e2a9c3d4e5f8a7b6c5d4e3f2a1b\n") {
        return anyhow::Error::new(error).context("writing the machine's id");
    }
    // Nobody waits for it: systemd collects whatever ends.
    if let Err(error) = Command::new("/init").args([GO_ON, name]).spawn() {
        return anyhow::Error::new(error).context("starting what runs below systemd");
    }
    let log = ["--log-target=console", "--log-level=warning"];
    let error = Command::new(SYSTEMD)
        .args(["--unit=basic.target", "--show-status=no"])
        .args(log)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .exec();
    anyhow::Error::new(error).context("becoming systemd")
}

/// Says something twice: the kernel prints where it likes, also into the middle of a line.
fn state(what: &str) {
    println!("TRACER-VM {what}");
    println!("TRACER-VM {what}");
}

fn load_modules() -> Result<()> {
    let list = fs::read_to_string(MODULES).with_context(|| format!("reading {MODULES}"))?;
    for path in list.lines() {
        let module = fs::File::open(path).with_context(|| format!("opening {path}"))?;
        finit_module(module, c"", 0).with_context(|| format!("loading {path}"))?;
    }
    Ok(())
}

fn mount_at(source: &str, folder: &str, kind: &str) -> Result<()> {
    let shown = || format!("mounting {kind} at {folder}");
    if !Path::new(folder).exists() {
        fs::create_dir_all(folder).with_context(shown)?;
    }
    mount(source, folder, kind, MountFlags::empty(), None).with_context(shown)
}

/// Runs one line of the plan within its time and returns the word for its result.
fn run_test(line: &str) -> Result<&'static str> {
    let mut words = line.split('\t').skip(1);
    let seconds = words.next().and_then(|text| text.parse().ok());
    let (Some(seconds), Some(_), Some(program)) = (seconds, words.next(), words.next()) else {
        bail!("`{line}` is not a line of a plan");
    };
    let environment =
        fs::read_to_string(ENVIRONMENT).with_context(|| format!("reading {ENVIRONMENT}"))?;
    let mut child = Command::new(program)
        .args(words)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("HOME", "/root")
        .env("CI", "true")
        .env("NO_COLOR", "1")
        .envs(environment.lines().filter_map(|line| line.split_once('=')))
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(status) = child.try_wait().context("waiting for the test")? {
            return Ok(verdict(status));
        }
        if Instant::now() >= deadline {
            print_processes();
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            // The id came from the kernel a moment ago and is not reaped yet.
            let group = group.context("the test has no process id")?;
            kill_process_group(group, Signal::KILL).context("ending the test")?;
            let killed = Instant::now();
            while child.try_wait().context("waiting for the test")?.is_none() {
                ensure!(
                    killed.elapsed() < KILL_LIMIT,
                    "not finished after {seconds} s, and not to be killed"
                );
                thread::sleep(Duration::from_millis(10));
            }
            bail!("not finished after {seconds} s");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Says of every thread but the kernel's where it waits, for who reads why a test did not end.
fn print_processes() {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    let numbered =
        |entry: &fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    for process in processes.flatten().filter(numbered) {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if command.is_empty() {
            continue;
        }
        println!("{}", String::from_utf8_lossy(&command).replace('\0', " "));
        let threads = fs::read_dir(process.path().join("task"));
        for thread in threads.into_iter().flatten().flatten() {
            let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let (name, stack) = (read("comm"), read("stack"));
            println!(" {} {}", thread.file_name().display(), name.trim_end());
            for frame in stack.lines() {
                println!("  {frame}");
            }
        }
    }
}

fn verdict(status: ExitStatus) -> &'static str {
    match status.code() {
        Some(0) => "pass",
        Some(SKIPPED) => "skip",
        Some(_) | None => {
            println!("the test ended with {status}");
            "fail"
        }
    }
}

/// Collects the processes that tests left to the first process.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// The first test: the guest offers what every other test stands on.
fn check_guest() -> Result<()> {
    let mounted = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    for (_, folder, kind) in MOUNTS {
        let is_there = mounted.lines().any(|line| {
            let words: Vec<_> = line.split(' ').collect();
            words.get(1) == Some(&folder) && words.get(2) == Some(&kind)
        });
        ensure!(is_there, "{kind} is not mounted at {folder}");
    }
    let systems = fs::read_to_string("/proc/filesystems").context("reading /proc/filesystems")?;
    ensure!(systems.contains("\toverlay\n"), "there are no overlays");
    fs::metadata("/dev/loop-control").context("there are no loop devices")?;
    let pages = fs::read_to_string(HUGE_PAGES).context("counting huge pages")?;
    ensure!(pages.trim() == "4", "there are {} huge pages", pages.trim());
    let types = fs::read("/sys/kernel/btf/vmlinux").context("reading the kernel's BTF")?;
    ensure!(
        types.starts_with(&[0x9f, 0xeb]),
        "the kernel's BTF does not begin with its magic"
    );
    let processors = thread::available_parallelism().context("counting processors")?;
    ensure!(
        processors.get() >= 2,
        "{processors} processor, tests of per-CPU rings need two"
    );
    fs::write("/tmp/writable", b"x").context("writing to /tmp")?;
    let events = "/sys/bus/event_source/devices/uprobe/type";
    fs::read_to_string(events).with_context(|| format!("reading {events}: no uprobes"))?;
    Ok(())
}
