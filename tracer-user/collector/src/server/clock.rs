//! Whether the clock can be believed when it says that something is old.
//!
//! A clock that is set to a wrong time would make everything too old to be kept, and what was deleted
//! does not come back when it is set right. So where it has jumped ahead, nothing is deleted for its age
//! until the clock has stood by it for a day.

use std::time::{Duration, Instant};

use tracer_event::WallNanos;

/// How far it may go ahead of the time that has passed without anybody wondering. Clocks are slewed, and
/// a machine may sleep.
const TOLERANCE: Duration = Duration::from_hours(1);
/// How far ahead of the last record it may be when the collector starts.
const AWAY: Duration = Duration::from_hours(24);
/// How long it must stand by a jump.
const GRACE: Duration = Duration::from_hours(24);

/// The clock as it was believed last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    believed: WallNanos,
    at: Instant,
    doubted_since: Option<Instant>,
}

/// What the clock is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It is believed.
    Believed,
    /// It jumped ahead by so much: this is told once.
    Jumped(Duration),
    /// It is not believed yet.
    Doubted,
}

impl Clock {
    /// Begins at a start of the collector, which stored its last record then, if it has one.
    pub(super) fn start(last: Option<WallNanos>, wall: WallNanos, at: Instant) -> Self {
        let latest = last.map(|last| last.0.saturating_add(nanos(AWAY)));
        let is_late = latest.is_some_and(|latest| wall.0 > latest);
        Self {
            // Far behind, so that it counts as a jump.
            believed: last.filter(|_| is_late).unwrap_or(wall),
            at,
            doubted_since: None,
        }
    }

    /// Looks at it.
    pub(super) fn look(&mut self, wall: WallNanos, at: Instant) -> Worth {
        let passed = at.saturating_duration_since(self.at);
        let expected = self.believed.0.saturating_add(nanos(passed));
        let ahead = Duration::from_nanos(wall.0.saturating_sub(expected));
        let is_doubtful = ahead > TOLERANCE;
        if is_doubtful && self.doubted_since.is_none() {
            self.doubted_since = Some(at);
            return Worth::Jumped(ahead);
        }
        let since = self.doubted_since.filter(|_| is_doubtful);
        if since.is_some_and(|since| at.saturating_duration_since(since) < GRACE) {
            return Worth::Doubted;
        }
        (self.believed, self.at, self.doubted_since) = (wall, at, None);
        Worth::Believed
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_mins(10);
    const YEARS: Duration = Duration::from_hours(24 * 3650);
    const BEGIN: WallNanos = WallNanos(1_795_402_800_000_000_000);

    fn after(duration: Duration) -> WallNanos {
        WallNanos(BEGIN.0 + nanos(duration))
    }

    #[test]
    fn a_clock_that_goes_on_is_believed_and_one_that_was_set_back_too() {
        let at = Instant::now();
        let mut clock = Clock::start(Some(BEGIN), after(MINUTES), at);
        assert_eq!(
            clock.look(after(2 * MINUTES), at + MINUTES),
            Worth::Believed
        );
        assert_eq!(clock.look(BEGIN, at + 2 * MINUTES), Worth::Believed);
        assert_eq!(
            clock.look(after(MINUTES), at + 3 * MINUTES),
            Worth::Believed
        );
    }

    #[test]
    fn a_jump_ahead_counts_once_it_has_lasted_for_a_day() {
        let at = Instant::now();
        let mut clock = Clock::start(None, BEGIN, at);
        let jumped = clock.look(after(YEARS), at + MINUTES);
        assert_eq!(jumped, Worth::Jumped(YEARS - MINUTES));
        let more = clock.look(after(YEARS + MINUTES), at + 2 * MINUTES);
        assert_eq!(more, Worth::Doubted);
        // Set right again, it is as if nothing had been.
        assert_eq!(
            clock.look(after(3 * MINUTES), at + 3 * MINUTES),
            Worth::Believed
        );
        let mut clock = Clock::start(None, BEGIN, at);
        clock.look(after(YEARS), at + MINUTES);
        let later = GRACE + MINUTES;
        assert_eq!(
            clock.look(after(YEARS + GRACE), at + later),
            Worth::Believed
        );
        let next = clock.look(after(YEARS + later), at + later + MINUTES);
        assert_eq!(next, Worth::Believed);
    }

    #[test]
    fn a_start_long_after_the_last_record_is_a_jump() {
        let at = Instant::now();
        let mut clock = Clock::start(Some(BEGIN), after(YEARS), at);
        assert!(matches!(clock.look(after(YEARS), at), Worth::Jumped(_)));
        let mut clock = Clock::start(Some(BEGIN), after(AWAY), at);
        assert_eq!(clock.look(after(AWAY), at), Worth::Believed);
    }
}
