//! What was typed: the command line as clap parses it, with its help. What it means is decided in
//! [`meant`](super::meant).

mod integrity;
mod query;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

pub(crate) use self::{
    integrity::{Effort, Hash, Keyless, Method, Sign, SignModel, Verify, VerifyModel},
    query::{Collector, EventFormat, Key, Nodes, Query},
};

/// Trace machine-learning models that are serving traffic, without changing or stopping them.
///
/// Attaches to the model runtime inside running processes and shows what it does: which model is
/// loaded and how, each request with its tokens and times, and what fails.
#[derive(Debug, Parser)]
#[command(
    name = "tracer",
    version,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 found or traced something, 1 nothing, 2 error.\n\
                  Colours are off where NO_COLOR is set or the output is no terminal."
)]
pub(crate) struct Typed {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Doctor(Doctor),
    Ps(Ps),
    Trace(Trace),
    Diff(Diff),
    Files(Files),
    Profile(Profile),
    Verify(Verify),
    Sign(Sign),
    Query(Query),
    Nodes(Nodes),
    #[command(subcommand)]
    Key(Key),
    Agent(Agent),
    VerifyModel(VerifyModel),
    SignModel(SignModel),
    #[command(hide = true)]
    LeaseKeeper(LeaseKeeper),
    #[command(hide = true)]
    GateWatchdog(GateWatchdog),
    #[command(subcommand)]
    Policy(Policy),
    Completions(Completions),
    Man(Man),
}

/// Show what this kernel and host allow, what is missing, and what that costs
///
/// Tries each kernel feature instead of trusting version numbers. Exit status: 0 everything that
/// tracing needs works at full quality, 1 something is degraded or missing, 2 the check itself
/// failed.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
    pub(crate) output: DocumentFormat,
}

/// List the model runtimes that run here
///
/// Exit status: 0 at least one, 1 none, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Show what `trace` would attach: functions, sites, cost class, how the exit is seen; and
    /// what it would not, with the reason
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = ListFormat::Pretty)]
    pub(crate) output: ListFormat,
    /// Only this process
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<String>,
    #[command(flatten)]
    pub(crate) profiles: Profiles,
}

/// Trace running models, and those that start meanwhile
///
/// Without a selection it traces every known runtime on this host. It ends on Ctrl-C, after
/// --duration, or, with --pid, when the last of those processes has ended; the last line counts
/// events, requests and losses. Nothing is left behind in the traced processes.
///
/// Exit status: 0 at least one runtime was traced, 1 none was, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// End after this time, for example 30s, 5m or 1h30m
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<String>,
    /// How much of a call may leave the process: each level includes those before it
    ///
    /// `tokens` and `text` are content. They need the host's permission in
    /// /etc/tracer/ceiling.toml, and each such run is written to the system's journal.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Capture::Shape)]
    pub(crate) capture: Capture,
    #[command(flatten)]
    pub(crate) profiles: Profiles,
    #[command(flatten)]
    pub(crate) vouch: Vouch,
    /// Redaction policy (TOML) in place of the built-in one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// Never switch off probes that cost too much
    #[arg(long)]
    pub(crate) no_govern: bool,
    /// Print diagnostics of the kernel programs from this level on
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) kernel_log: Option<KernelLog>,
    /// How to print, and where: pretty, json or ndjson, then :FILE unless it is standard output;
    /// repeatable
    #[arg(short, long, value_name = "FORMAT[:FILE]", action = ArgAction::Append,
          default_values_t = [String::from("pretty")])]
    pub(crate) output: Vec<String>,
    /// Print what these arguments mean, every default included, and end
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Watch what happens to model files: who opens, maps, reads, writes, renames or deletes them
///
/// An inode counts, not a path: what is found in a watched folder is watched under every other name
/// too, until it is gone. Nothing is stopped or delayed. `tracer doctor` says in which way files are
/// seen here, and what that way cannot see.
///
/// Exit status: 0 something was done to a watched file, 1 nothing was, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Folders whose files are watched, however deep; or single files
    #[arg(long, value_name = "DIR", num_args = 1.., value_hint = ValueHint::AnyPath,
          required_unless_present_any = ["enforce", "release"])]
    pub(crate) watch: Vec<PathBuf>,
    /// Refuse, or hold until it is verified, who opens a file for which nobody vouches, as this policy
    /// (TOML, docs/enforcement.md) says; it also says what is watched
    #[arg(long, value_name = "POLICY", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["watch", "tier", "release"])]
    pub(crate) enforce: Option<PathBuf>,
    /// Take out of the kernel what a tracer that is gone has left there to go on refusing; exit
    /// status 1 if there is nothing
    #[arg(long, conflicts_with_all = ["watch", "tier", "duration", "policy"])]
    pub(crate) release: bool,
    /// End after this time, for example 30s, 5m or 1h30m
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<String>,
    /// See files in this way, in place of the best one that works
    #[arg(long, value_enum, value_name = "TIER")]
    pub(crate) tier: Option<Tier>,
    /// Redaction policy (TOML) in place of the built-in one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// How to print, and where: pretty, json or ndjson, then :FILE unless it is standard output;
    /// repeatable
    #[arg(short, long, value_name = "FORMAT[:FILE]", action = ArgAction::Append,
          default_values_t = [String::from("pretty")])]
    pub(crate) output: Vec<String>,
}

/// Ways to see what happens to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// BPF LSM
    Lsm,
    /// fentry on the functions that ask the security modules
    Fentry,
    /// kprobes on the same functions
    Kprobe,
    /// Tracepoints of the page cache, and fanotify
    Tracepoint,
}

/// What the files of loaded models are compared with; one at a time.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("vouch").args(["verify_bundle", "verify_sha256sums", "verify_auto"]))]
pub(crate) struct Vouch {
    /// Compare the files that models are mapped from with this signature (Model Signing v1.0)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) verify_bundle: Option<PathBuf>,
    /// With --verify-bundle: the signer's public key, as PEM
    #[arg(long, value_name = "FILE", requires = "verify_bundle", conflicts_with = "cert_chain",
          value_hint = ValueHint::FilePath)]
    pub(crate) public_key: Option<PathBuf>,
    /// With --verify-bundle: trusted certificates, as PEM; repeatable
    #[arg(long, value_name = "FILE", requires = "verify_bundle", action = ArgAction::Append,
          value_hint = ValueHint::FilePath)]
    pub(crate) cert_chain: Vec<PathBuf>,
    /// Compare them with a list as sha256sum writes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) verify_sha256sums: Option<PathBuf>,
    /// Compare them with their names in a Hugging Face cache or an Ollama store
    #[arg(long)]
    pub(crate) verify_auto: bool,
}

/// Compare two model.loaded snapshots
///
/// Each file is what `tracer trace -o json` or `-o ndjson` wrote; anything else in it is skipped.
/// What only one side knows, because the load was not seen on the other, is named and is no
/// difference. Exit status: 0 nothing differs, 1 something does, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// File with the first snapshot, or - for standard input
    #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
    pub(crate) left: PathBuf,
    /// File with the second snapshot, or - for standard input
    #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
    pub(crate) right: PathBuf,
    /// Which snapshot of A: N for the N-th, pid=N for that process's last
    #[arg(long, value_name = "WHICH")]
    pub(crate) pick_a: Option<String>,
    /// Which snapshot of B: N for the N-th, pid=N for that process's last
    #[arg(long, value_name = "WHICH")]
    pub(crate) pick_b: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
    pub(crate) output: DocumentFormat,
}

/// Trace as a service: events go to a collector, sealed for those who may read them
///
/// Two processes: capture sees events and has no network; ship has the network and never anything in
/// the clear. Without a command both are started and kept running; a service manager starts each by
/// itself. SIGHUP makes them read their configuration again.
///
/// Exit status: 0 ended as asked, 2 error. `status`: 0 connected to the collector, 1 not, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// Configuration (TOML)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, global = true,
          default_value = tracer_agent::config::DEFAULT_PATH)]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) part: Option<AgentPart>,
}

/// A part of the agent, or a question to it.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum AgentPart {
    /// Run the process that sees events
    Capture {
        /// End with the process that started this one
        #[arg(long, hide = true)]
        supervised: bool,
    },
    /// Run the process that has the network
    Ship {
        /// End with the process that started this one
        #[arg(long, hide = true)]
        supervised: bool,
    },
    /// Give the agent a token of `tracer-collector token new`: it enrols with it at once, or when it
    /// starts
    Enroll {
        /// The token, or - to read it from standard input
        #[arg(long, value_name = "TOKEN")]
        token: String,
    },
    /// Show how the agent is
    Status {
        /// How to print
        #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
        output: DocumentFormat,
    },
    /// Read the configuration and the files that it names, and say what is wrong
    Check,
}

/// Give back leases for a tracer that hashes; it starts this itself, with a socket as standard input
#[derive(Debug, Args)]
pub(crate) struct LeaseKeeper {}

/// Ends a tracer that is stopped while others wait for its answer; tracer starts it itself
#[derive(Debug, Args)]
pub(crate) struct GateWatchdog {}

/// Check redaction policies and try them on text
///
/// A policy is TOML: which field leaves as it is, which not at all, which is searched, and what
/// stands in the place of what is found. `tracer trace --policy FILE` uses it; without one the
/// built-in policy is in force, which `tracer trace --print-config` shows. None of these commands
/// prints what it found.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Check a policy: every key, every rule with its examples
    ///
    /// Exit status: 0 it can be used, 2 it cannot.
    Lint {
        /// The policy
        #[arg(value_name = "POLICY", value_hint = ValueHint::FilePath)]
        policy: PathBuf,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
        output: DocumentFormat,
    },
    /// Show what a policy leaves of a text
    ///
    /// Exit status: 0 the text leaves as it is, 1 something in it does not, 2 error.
    Test {
        #[command(flatten)]
        try_on: TryOn,
    },
    /// Show which rule found something where in a text, without showing it
    ///
    /// Exit status: 0 nothing is found, 1 something is, 2 error.
    Explain {
        #[command(flatten)]
        try_on: TryOn,
    },
    /// Compare two policies: what they treat differently
    ///
    /// Exit status: 0 nothing differs, 1 something does, 2 error.
    Diff {
        /// The first policy
        #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
        left: PathBuf,
        /// The second policy
        #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
        right: PathBuf,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
        output: DocumentFormat,
    },
}

/// A policy and a text to try it on.
#[derive(Debug, Args)]
pub(crate) struct TryOn {
    /// The text, or - for standard input
    #[arg(value_name = "TEXT", value_hint = ValueHint::FilePath)]
    pub(crate) text: PathBuf,
    /// The policy in place of the built-in one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// As which field the text is treated, as a policy names it
    #[arg(long, value_name = "FIELD", default_value = "error_text")]
    pub(crate) field: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
    pub(crate) output: DocumentFormat,
}

/// List and show runtime profiles, or check one against a library or a process
#[derive(Debug, Args)]
pub(crate) struct Profile {
    #[command(subcommand)]
    pub(crate) command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    List(ProfileList),
    Show(ProfileShow),
    Check(ProfileCheck),
}

/// List the profiles that a run would use
#[derive(Debug, Args)]
pub(crate) struct ProfileList {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = ListFormat::Pretty)]
    pub(crate) output: ListFormat,
    #[command(flatten)]
    pub(crate) profiles: Profiles,
}

/// Show a profile: its probes, and in plain words what each field reads
#[derive(Debug, Args)]
pub(crate) struct ProfileShow {
    /// A built-in profile's name, or a file
    #[arg(value_name = "NAME|FILE")]
    pub(crate) profile: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
    pub(crate) output: DocumentFormat,
}

/// Check a profile: that it compiles, and what it finds in a library or in a running process
///
/// With --pid it also waits for one call of each probe and shows what was captured; calls are only
/// watched, and the watching ends by itself. Exit status: 0 at least one probe can be attached (or,
/// without a library, the profile compiles), 1 none can, 2 error.
#[derive(Debug, Args)]
pub(crate) struct ProfileCheck {
    /// The file, or a built-in profile's name
    #[arg(value_name = "FILE|NAME")]
    pub(crate) profile: PathBuf,
    /// Look the functions up in this library or program
    #[arg(long, value_name = "LIB", value_hint = ValueHint::FilePath, conflicts_with = "pid")]
    pub(crate) binary: Option<PathBuf>,
    /// Look the functions up in what this process maps, and capture one call of each
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<String>,
    /// How much of a call may leave the process; above `shape` as for `trace`
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Capture::Shape, requires = "pid")]
    pub(crate) capture: Capture,
    /// How long to wait for calls
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "pid")]
    pub(crate) duration: String,
    /// Redaction policy (TOML) in place of the built-in one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "pid")]
    pub(crate) policy: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
    pub(crate) output: DocumentFormat,
}

/// Print shell completions
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, or write one page per command to a folder
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder for tracer.1, tracer-trace.1, …
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}

/// Whom to look at; one kind of selection at a time.
#[derive(Debug, Args)]
#[group(id = "whom", multiple = false)]
pub(crate) struct Whom {
    /// Only these processes
    #[arg(long, value_name = "PID", num_args = 1.., value_delimiter = ',')]
    pub(crate) pid: Vec<String>,
    /// Only this runtime, by its profile's name, for example llama.cpp
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<String>,
    /// Only processes that run this executable, also those that start later
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub(crate) exe: Option<PathBuf>,
    /// Only processes of this cgroup (v2) and those below it; with or without /sys/fs/cgroup
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) cgroup: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Profiles {
    /// Runtime profile (TOML) besides the built-in ones; one of the same name replaces it;
    /// repeatable
    ///
    /// `ggml` names a built-in profile that is used only on request: latencies of ggml's graphs, in
    /// histograms.
    #[arg(long, value_name = "FILE|ggml", value_hint = ValueHint::FilePath, action = ArgAction::Append)]
    pub(crate) profile: Vec<PathBuf>,
}

/// How much of a call may leave the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Capture {
    /// When, how long, and the result
    Timing,
    /// Also sizes, counts, positions and model files
    Shape,
    /// Also token ids
    Tokens,
    /// Also text
    Text,
}

/// Levels of the kernel programs' own diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KernelLog {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Formats of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentFormat {
    /// For people
    Pretty,
    /// One JSON document
    Json,
}

/// Formats of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// A table
    Pretty,
    /// One JSON array
    Json,
    /// One JSON object a line
    Ndjson,
}
