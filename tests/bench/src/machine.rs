//! What a figure depends on and must stand beside it.

use std::{
    env,
    fmt::{self, Display, Formatter},
    fs,
    process::Command,
    thread,
};

use serde::Serialize;

/// Where and when something was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor, as the kernel names it.
    pub processor: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// Version of the tracer.
    pub tracer: &'static str,
    /// The commit, with `-dirty` behind it where the tree has changes; empty outside a repository.
    pub commit: String,
    /// The compiler.
    pub rustc: String,
    /// How it was compiled: `release` as users get it, or `dev`.
    pub profile: &'static str,
    /// Beginning of the run, in UTC.
    pub date: String,
    /// Processes that were ready to run, over the last minute, when it began.
    pub load: String,
}

impl Machine {
    /// Describes this one. What cannot be found out stays empty.
    #[must_use]
    pub fn describe() -> Self {
        let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        Self {
            processor: processor(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            kernel: text("/proc/sys/kernel/osrelease"),
            tracer: env!("CARGO_PKG_VERSION"),
            commit: says("git", &["describe", "--always", "--dirty"]),
            rustc: says(&rustc, &["--version"]),
            profile: if cfg!(debug_assertions) {
                "dev"
            } else {
                "release"
            },
            date: says("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            load: text("/proc/loadavg")
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

/// One line.
impl Display for Machine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            cpus,
            kernel,
            tracer,
            commit,
            rustc,
            profile,
            date,
            load,
        } = self;
        write!(
            formatter,
            "{date}, {processor}, {cpus} CPUs, load {load} at the beginning, Linux {kernel}, \
             tracer {tracer} ({commit}), {rustc}, {profile}"
        )
    }
}

fn processor() -> String {
    let cpus = text("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let (_, model) = model
        .and_then(|line| line.split_once(':'))
        .unwrap_or_default();
    model.trim().to_owned()
}

fn text(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn says(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
