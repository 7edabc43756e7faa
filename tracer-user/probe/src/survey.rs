//! What runs here and what would be attached to it, without attaching anything.

use std::path::PathBuf;

use tracer_profile::Profile;

use crate::{
    observation::{AttachedProbe, NotAttachable, Runtime},
    process::ProcessId,
};

/// A runtime that runs, and what [`Supervisor`](crate::Supervisor) would attach to it.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The process and library.
    pub runtime: Runtime,
    /// What would be attached. Empty unless asked for.
    pub probes: Vec<AttachedProbe>,
    /// What would not, and why. Empty unless asked for.
    pub not_attachable: Vec<NotAttachable>,
}

/// The result of [`survey`].
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Runtimes by process id.
    pub runtimes: Vec<Surveyed>,
    /// Processes looked at.
    pub processes: usize,
    /// Processes that could not be looked at, and why.
    pub unreadable: Vec<(ProcessId, String)>,
    /// Different files looked at.
    pub files: usize,
    /// Files that look like a runtime's by name but have none of its functions.
    pub stripped: Vec<PathBuf>,
}

/// Looks at every process, or only at `pid`, for what `profiles` recognise. With `plan` every
/// probe's sites are chosen too, which reads the libraries' code.
#[must_use]
pub fn survey(profiles: &[Profile], pid: Option<u32>, plan: bool) -> Survey {
    let _ = (profiles, pid, plan);
    Survey::default()
}
