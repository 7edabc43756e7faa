//! What a profile asks about a process, and what only a living process can answer.

use std::collections::BTreeMap;

use tracer_event::{
    Content, Known, Name, Pid, Raw,
    model::{Backend, CgroupLimits},
};
use tracer_profile::{Options, Profile};

use crate::snapshot::live;

/// What a profile says about snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    environment: Vec<String>,
    libraries: Vec<String>,
    pub(super) options: Options,
}

impl Surroundings {
    pub(super) fn of(profile: &Profile) -> Self {
        Self {
            environment: profile.environment.clone(),
            libraries: profile.libraries.clone(),
            options: profile.options.clone(),
        }
    }

    /// Adds what another profile of the same process says.
    pub(super) fn extend(&mut self, other: Self) {
        let Self {
            environment,
            libraries,
            options,
        } = other;
        for name in environment {
            if !self.environment.contains(&name) {
                self.environment.push(name);
            }
        }
        self.libraries.extend(libraries);
        if self.options == Options::default() {
            self.options = options;
        }
    }
}

/// What only a living process can tell.
pub(super) struct Live {
    pub(super) backends: Vec<Backend<Raw<Content>>>,
    pub(super) environment: BTreeMap<Name, Raw<Content>>,
    pub(super) threads: u32,
    pub(super) limits: CgroupLimits,
}

impl Live {
    /// `None` if the process is gone.
    pub(super) fn read(pid: Pid, surroundings: &Surroundings) -> Option<Self> {
        let Surroundings {
            environment,
            libraries,
            options: _,
        } = surroundings;
        let Known::Known(threads) = live::threads(pid.0) else {
            return None;
        };
        let backends = live::backends(pid.0, libraries);
        if !live::is_mapped(pid.0) {
            // A process that has ended and waits for its parent has a status, but no mapping.
            return None;
        }
        Some(Self {
            backends,
            environment: live::environment(pid.0, environment),
            threads,
            limits: live::limits(pid.0),
        })
    }
}
