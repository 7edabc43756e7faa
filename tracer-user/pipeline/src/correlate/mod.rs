//! Makes models, contexts and requests of calls.

use tracer_event::{BootNanos, LossReason, Pid};
use tracer_probe::observation::Runtime;
use tracer_profile::Profile;

use crate::{call::Call, output::Output};

/// What is known of every traced process. Bounded: the oldest is given up and counted.
#[derive(Debug, Default)]
pub struct Correlator {}

impl Correlator {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call, in the order of time as far as the window of the merge reaches.
    pub fn call(&mut self, call: &Call<'_>, output: &mut Output) {
        let _ = (call, output);
    }

    /// A process with a known runtime.
    pub fn runtime_found(&mut self, runtime: &Runtime, profile: &Profile, output: &mut Output) {
        let _ = (runtime, profile, output);
    }

    /// A process ended, or replaced its program: what it had is over.
    pub fn process_gone(&mut self, pid: Pid, time: BootNanos, output: &mut Output) {
        let _ = (pid, time, output);
    }

    /// Something was lost: what it may concern is no longer exact.
    pub fn lost(&mut self, reason: LossReason, time: BootNanos) {
        let _ = (reason, time);
    }

    /// Time passed without calls.
    pub fn tick(&mut self, now: BootNanos, output: &mut Output) {
        let _ = (now, output);
    }

    /// Tracing ends: what is open is closed as it stands.
    pub fn finish(&mut self, now: BootNanos, output: &mut Output) {
        let _ = (now, output);
    }
}
