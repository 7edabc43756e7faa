//! Family `process`: what comes and goes.

use serde::{Deserialize, Serialize};
use tracer_redact::Field;

use crate::{
    identity::{Inode, Pid},
    known::Known,
};

/// A process that is traced from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ProcessSeen<C> {
    /// How it came.
    pub origin: ProcessOrigin,
    /// Its short name (`/proc/PID/comm`).
    pub name: Known<C>,
    /// Path of its executable.
    pub executable: Known<C>,
    /// The executable's file.
    pub executable_inode: Known<Inode>,
    /// Its arguments, in order.
    pub arguments: Known<C>,
    /// Path of its cgroup.
    pub cgroup_path: Known<C>,
    /// Its parent.
    pub parent: Known<Pid>,
}

impl<C> ProcessSeen<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> ProcessSeen<D> {
        let Self {
            origin,
            name,
            executable,
            executable_inode,
            arguments,
            cgroup_path,
            parent,
        } = self;
        ProcessSeen {
            origin,
            name: name.map(|content| change(Field::Executable, content)),
            executable: executable.map(|content| change(Field::Executable, content)),
            executable_inode,
            arguments: arguments.map(|content| change(Field::Arguments, content)),
            cgroup_path: cgroup_path.map(|content| change(Field::Path, content)),
            parent,
        }
    }
}

/// How a process became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ProcessOrigin {
    /// It ran already.
    Running,
    /// It replaced its program.
    Exec,
    /// A traced process made it.
    Fork,
}

/// A process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ProcessExited {
    /// What it returned, if it returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The signal that killed it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    /// Whether it left a core dump.
    pub core_dumped: bool,
}

impl ProcessExited {
    /// Takes a wait status apart, as `wait(2)` describes it.
    #[must_use]
    pub const fn from_status(status: u32) -> Self {
        let [low, code, ..] = status.to_le_bytes();
        let signal = low & 0x7f;
        Self {
            code: if signal == 0 { Some(code) } else { None },
            signal: if signal == 0 { None } else { Some(signal) },
            core_dumped: low & 0x80 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_a_code_or_a_signal() {
        let returned = ProcessExited::from_status(3 << 8);
        assert_eq!((returned.code, returned.signal), (Some(3), None));
        let killed = ProcessExited::from_status(9);
        assert_eq!((killed.code, killed.signal), (None, Some(9)));
        assert!(ProcessExited::from_status(0x80 | 11).core_dumped);
    }
}
