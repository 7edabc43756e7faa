//! Small real programs to attach to, and what they say that they did.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tracer_abi::{Phase, RecordHeader};
use tracer_probe::{
    Config, LoadError, Observation, Selection, StartError, Supervisor,
    observation::{Loss, Means},
};
use tracer_profile::Profile;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/workloads");
/// Far above what anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Compiles a workload, under `name` so that tests do not share an inode.
pub(crate) fn compile(source: &str, name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let compiler = if source.ends_with(".c") { "cc" } else { "c++" };
    let fresh = program.with_extension("new");
    let status = Command::new(compiler)
        .args(["-O2", "-g", "-o"])
        .arg(&fresh)
        .arg(Path::new(SOURCES).join(source))
        .arg("-lpthread")
        .status()
        .expect("a C compiler is installed");
    assert!(status.success(), "{source} does not compile");
    // A rename gives the name a new inode while an older process may still map the old one.
    fs::rename(&fresh, &program).expect("the target folder is writable");
    program
}

/// The profile for a workload.
pub(crate) fn profile(file: &str) -> Profile {
    let text = fs::read_to_string(Path::new(SOURCES).join(file)).expect("the profile is there");
    tracer_profile::read(file, &text).unwrap_or_else(|error| panic!("{error}"))
}

/// A run without the governor, which may rightly switch off what a flood calls.
pub(crate) fn config(profile_file: &str, selection: Selection) -> Config {
    Config {
        selection,
        govern: false,
        ..Config::new(vec![profile(profile_file)])
    }
}

/// Tests that trace every process would see each other's: they run one after another.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a run; `None`, with a word, where the host does not allow it. Under CI that fails.
pub(crate) fn start(config: Config) -> Option<Supervisor> {
    match Supervisor::start(config) {
        Ok(supervisor) => Some(supervisor),
        Err(StartError::Load(LoadError::Obstacle(obstacle))) => {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            assert!(std::env::var_os("CI").is_none(), "{test}: {obstacle}");
            eprintln!("skipped {test}: {obstacle}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// As [`start`] by these means beside one process, once it was found.
pub(crate) fn beside(pid: u32, profile_file: &str, means: Means) -> Option<(Supervisor, Seen)> {
    let mut supervisor = start(Config {
        means: Some(means),
        ..config(profile_file, Selection::Pids(vec![pid]))
    })?;
    let mut seen = Seen::default();
    seen.until(&mut supervisor, |seen| seen.found(pid));
    Some((supervisor, seen))
}

/// A running workload.
pub(crate) struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it and waits until it waits.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the workload was just compiled");
        let input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut running = Self {
            child,
            input,
            output,
        };
        running.until("waiting");
        running
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads until a line of this kind.
    pub(crate) fn until(&mut self, event: &str) -> Value {
        loop {
            let mut line = String::new();
            let read = self
                .output
                .read_line(&mut line)
                .expect("its output is a pipe");
            assert!(read > 0, "the workload ended before it said {event}");
            let value: Value = serde_json::from_str(&line).expect("it writes JSON lines");
            if value["ev"] == event {
                return value;
            }
        }
    }

    /// Lets it go on.
    pub(crate) fn go(&mut self) {
        self.input.write_all(b"\n").expect("it reads its input");
    }

    /// Lets it end; it must end well.
    pub(crate) fn finish(mut self) {
        self.go();
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "the workload ended with {status}");
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

/// What a run has seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) everything: Vec<Observation>,
    /// Call records by process, spec and phase.
    pub(crate) calls: BTreeMap<(u32, u16, u8), u64>,
    pub(crate) losses: Vec<Loss>,
}

impl Seen {
    pub(crate) fn take(&mut self, observations: Vec<Observation>) {
        for observation in observations {
            match observation {
                Observation::Records(batch) => {
                    for record in batch.iter() {
                        let (header, _) = RecordHeader::parse(record).expect("records are whole");
                        *self
                            .calls
                            .entry((header.pid, header.spec, header.phase))
                            .or_default() += 1;
                    }
                }
                Observation::Loss(loss) => self.losses.push(loss),
                other => self.everything.push(other),
            }
        }
    }

    /// Looks until `done`.
    pub(crate) fn until(&mut self, supervisor: &mut Supervisor, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < end,
                "nothing came; seen: {:#?}",
                self.everything
            );
            let observations = supervisor
                .next(Duration::from_millis(50))
                .expect("rings are readable");
            self.take(observations);
        }
    }

    /// Records of one phase of a process's calls, whatever the probe.
    pub(crate) fn count(&self, pid: u32, phase: Phase) -> u64 {
        let matches = |&(&(of, _, in_phase), _): &(&(u32, u16, u8), &u64)| {
            of == pid && in_phase == phase as u8
        };
        self.calls
            .iter()
            .filter(matches)
            .map(|(_, count)| count)
            .sum()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.losses
            .iter()
            .filter(|loss| loss.reason.loses_record())
            .map(|loss| loss.count)
            .sum()
    }

    pub(crate) fn found(&self, pid: u32) -> bool {
        self.everything.iter().any(|observation| {
            matches!(observation, Observation::RuntimeFound(found) if found.process.id.pid == pid)
        })
    }
}

/// Both ways of attaching.
pub(crate) const BOTH: [Means; 2] = [Means::UprobeMulti, Means::PerfEvent];
