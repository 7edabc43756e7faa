use serde::{Deserialize, Serialize};
use tracer_redact::CaptureLevel;

use crate::identity::{Cgroup, ContainerId, Cpu, Digest, Name, Pid, StartTicks, Tid};

/// A process for good: a pid alone is reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ProcessKey {
    /// The process.
    pub pid: Pid,
    /// When it started.
    pub start: StartTicks,
}

/// Where something happened. What does not apply, or is not known, is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Place {
    /// The machine, by its host name.
    pub node: Name,
    /// The CPU on which the probe ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<Pid>,
    /// The thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<Tid>,
    /// When the process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartTicks>,
    /// The process's cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// The container, if its cgroup's path names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
}

impl Place {
    /// Somewhere on a machine.
    #[must_use]
    pub const fn node(node: Name) -> Self {
        Self {
            node,
            cpu: None,
            pid: None,
            tid: None,
            start: None,
            cgroup: None,
            container: None,
        }
    }

    /// The process, if both its numbers are known.
    #[must_use]
    pub fn process(&self) -> Option<ProcessKey> {
        let (pid, start) = self.pid.zip(self.start)?;
        Some(ProcessKey { pid, start })
    }
}

/// How much of a call may leave the process; [`CaptureLevel`] with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// When, for how long, and the result code.
    Timing,
    /// Also sizes, counts, positions and paths.
    Shape,
    /// Also token ids.
    Tokens,
    /// Also text.
    Text,
}

impl From<CaptureLevel> for Level {
    fn from(level: CaptureLevel) -> Self {
        match level {
            CaptureLevel::Timing => Self::Timing,
            CaptureLevel::Shape => Self::Shape,
            CaptureLevel::Tokens => Self::Tokens,
            CaptureLevel::Text => Self::Text,
        }
    }
}

/// Under whose permission an event was captured, and what became of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Grant {
    /// The grant's name; `local` for root on this host.
    pub name: Name,
    /// The capture level in force.
    pub level: Level,
    /// Digest of the redaction policy.
    pub policy: Digest,
}
