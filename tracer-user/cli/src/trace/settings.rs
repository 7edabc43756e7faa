//! Everything that a run does not ask for again: the arguments, with the files that they name
//! read and checked.

use std::{fmt, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use tracer_abi::CaptureLevel;
use tracer_probe::{Config, Selection, time::BootNanos};
use tracer_profile::Profile;
use tracer_redact::{Action, Field, Policy, Treatment};

use crate::{
    arguments::{
        Destination, Output, OutputFormat,
        meant::{self, level_name},
        quantity::typed_duration,
    },
    consent::journal,
    profiles,
};

/// Bytes that a policy file may have.
const LARGEST_POLICY: u64 = 1 << 20;
/// From the end of a run to the kernel's deadline, where no content is captured: longer than
/// attaching takes on a loaded machine.
const GRACE: Duration = Duration::from_secs(60);

/// A run's arguments with their files read.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) arguments: meant::Trace,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) policy: Policy,
}

impl Settings {
    /// Reads the files that the arguments name.
    ///
    /// # Errors
    /// If one cannot be read or is not what it should be, or a runtime is selected that no profile
    /// knows.
    pub(crate) fn read(arguments: meant::Trace) -> Result<Self> {
        let profiles = profiles::load(&arguments.profiles)?;
        if let Selection::Runtime(name) = &arguments.selection {
            profiles::known_runtime(name, &profiles)?;
        }
        let policy = match &arguments.policy {
            Some(path) => read_policy(path)?,
            None => Policy::default(),
        };
        Ok(Self {
            arguments,
            profiles,
            policy,
        })
    }

    /// What the probe crate is asked to do, its deadline counted from now.
    pub(crate) fn probe_config(&self) -> Config {
        let deadline = match self.arguments.duration {
            Some(duration) => BootNanos::now().after(duration).after(self.grace()),
            None => BootNanos::NEVER,
        };
        Config {
            selection: self.arguments.selection.clone(),
            level: self.arguments.level,
            deadline,
            govern: self.arguments.govern,
            kernel_log: self.arguments.kernel_log,
            ..Config::new(self.profiles.clone())
        }
    }

    /// How long after the run's own end the kernel's deadline lies.
    ///
    /// Content stops at the deadline to the nanosecond, however long attaching took. Else the
    /// kernel's deadline only guards against a tracer that hangs, and must not cut short a run
    /// whose time is counted from the first probe.
    fn grace(&self) -> Duration {
        if self.captures_content() {
            Duration::ZERO
        } else {
            GRACE
        }
    }

    /// Whether the policy lets anything of the content through.
    pub(crate) fn shows_content(&self) -> bool {
        *self.policy.treatment(Field::Text) != Treatment::Act(Action::Drop)
    }

    /// Whether what is captured can tell what a user typed.
    pub(crate) fn captures_content(&self) -> bool {
        self.arguments.level > CaptureLevel::Shape
    }
}

/// Reads a policy file.
///
/// # Errors
/// If it cannot be read, or is no policy; the message names file and line.
pub(crate) fn read_policy(path: &Path) -> Result<Policy> {
    let name = path.display();
    let length = fs::metadata(path)
        .with_context(|| format!("read the policy {name}"))?
        .len();
    ensure!(
        length <= LARGEST_POLICY,
        "read the policy {name}: its {length} bytes are more than the {LARGEST_POLICY} allowed"
    );
    let text = fs::read_to_string(path).with_context(|| format!("read the policy {name}"))?;
    Policy::parse(&text).with_context(|| format!("the policy {name}"))
}

impl Settings {
    /// The entry that a capture of content leaves in the host's log before its first event.
    pub(crate) fn journal_entry(&self) -> String {
        let meant::Trace {
            selection,
            duration,
            level,
            outputs,
            ..
        } = &self.arguments;
        let outputs: Vec<String> = outputs.iter().map(typed_output).collect();
        format!(
            "capture at level {} begins: by {}; of {}; for at most {}; to {}; policy {}",
            level_name(*level),
            journal::caller(),
            typed_selection(selection),
            duration.map_or_else(|| "ever".to_owned(), typed_duration),
            outputs.join(", "),
            self.policy.digest(),
        )
    }
}

/// The settings as TOML, every default included.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            arguments,
            profiles,
            policy,
        } = self;
        let meant::Trace {
            selection,
            duration,
            level,
            profiles: _,
            policy: _,
            vouch,
            govern,
            kernel_log,
            outputs,
            print_only: _,
        } = arguments;
        writeln!(f, "[trace]")?;
        writeln!(f, "selection = {}", typed_selection(selection))?;
        let duration = duration.map_or_else(|| "until stopped".to_owned(), typed_duration);
        writeln!(f, "duration = {}", quoted(&duration))?;
        writeln!(f, "capture = {}", quoted(level_name(*level)))?;
        writeln!(f, "govern = {govern}")?;
        let vouch = vouch
            .as_ref()
            .map_or("nothing".to_owned(), ToString::to_string);
        writeln!(f, "verify_against = {}", quoted(&vouch))?;
        let kernel_log = kernel_log.map_or("off".to_owned(), |level| level.as_str().to_lowercase());
        writeln!(f, "kernel_log = {}", quoted(&kernel_log))?;
        writeln!(f, "ring_bytes = {}", Config::RING_BYTES)?;
        let outputs: Vec<String> = outputs
            .iter()
            .map(|output| quoted(&typed_output(output)))
            .collect();
        writeln!(f, "outputs = [{}]", outputs.join(", "))?;
        let names: Vec<String> = profiles
            .iter()
            .map(|profile| quoted(&profile.name))
            .collect();
        writeln!(f, "profiles = [{}]", names.join(", "))?;
        writeln!(
            f,
            "\n# The redaction policy, as --policy reads it.\n{policy}"
        )
    }
}

/// A selection as TOML.
fn typed_selection(selection: &Selection) -> String {
    match selection {
        Selection::Everything => quoted("everything"),
        Selection::Pids(pids) => format!("{{ pid = {pids:?} }}"),
        Selection::Runtime(name) => format!("{{ runtime = {} }}", quoted(name)),
        Selection::Exe(path) => format!("{{ exe = {} }}", quoted_path(path)),
        Selection::Cgroup(path) => format!("{{ cgroup = {} }}", quoted_path(path)),
    }
}

/// An output as it is typed.
fn typed_output(output: &Output) -> String {
    let format = match output.format {
        OutputFormat::Pretty => "pretty",
        OutputFormat::Json => "json",
        OutputFormat::Ndjson => "ndjson",
    };
    match &output.destination {
        Destination::StandardOutput => format.to_owned(),
        Destination::File(path) => format!("{format}:{}", path.display()),
    }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
