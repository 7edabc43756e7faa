//! The clock of the rows that time this very thread.

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread, in seconds.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(
        clippy::cast_precision_loss,
        reason = "nanoseconds of a run fit 53 bits"
    )]
    return time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
}
