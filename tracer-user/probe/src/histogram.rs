//! The kernel half's latency histograms, turned into what was added since the last look.

use std::collections::HashMap;

use tracer_abi::{HISTOGRAM_BUCKETS, Histogram};

use crate::{
    observation::{Operations, ProbeId},
    time::BootNanos,
};

const NOTHING: Histogram = Histogram {
    sum: 0,
    buckets: [0; HISTOGRAM_BUCKETS],
};

/// Remembers what was already reported.
pub(crate) struct Windows {
    reported: HashMap<ProbeId, Histogram>,
    last_look: BootNanos,
}

impl Windows {
    /// Nothing was reported before `now`.
    pub(crate) fn new(now: BootNanos) -> Self {
        Self {
            reported: HashMap::new(),
            last_look: now,
        }
    }

    /// What `totals`, read just before `now`, hold more than at the last look.
    pub(crate) fn look(
        &mut self,
        now: BootNanos,
        totals: Vec<(ProbeId, Histogram)>,
    ) -> Vec<Operations> {
        let since = std::mem::replace(&mut self.last_look, now);
        let mut operations = Vec::new();
        for (probe, total) in totals {
            let calls = difference(&total, self.reported.get(&probe).unwrap_or(&NOTHING));
            if calls.calls() > 0 {
                self.reported.insert(probe, total);
                operations.push(Operations {
                    probe,
                    calls,
                    since,
                    until: now,
                });
            }
        }
        operations
    }
}

/// A table is read while calls are added to it, and one that is added just then may be in the sum
/// and not yet in its bucket: it is then counted in the next window.
fn difference(now: &Histogram, before: &Histogram) -> Histogram {
    let mut calls = *now;
    for (bucket, before) in calls.buckets.iter_mut().zip(before.buckets) {
        *bucket = bucket.saturating_sub(before);
    }
    calls.sum = now.sum.saturating_sub(before.sum);
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: ProbeId = ProbeId(3);

    fn total(sum: u64, filled: &[(usize, u64)]) -> Histogram {
        let mut buckets = [0; HISTOGRAM_BUCKETS];
        for &(bucket, calls) in filled {
            buckets[bucket] = calls;
        }
        Histogram { sum, buckets }
    }

    #[test]
    fn each_call_is_in_exactly_one_window() {
        let mut windows = Windows::new(BootNanos(10));
        let first = windows.look(BootNanos(20), vec![(PROBE, total(9, &[(1, 1), (2, 1)]))]);
        let none = windows.look(BootNanos(30), vec![(PROBE, total(9, &[(1, 1), (2, 1)]))]);
        let last = windows.look(BootNanos(40), vec![(PROBE, total(90, &[(1, 1), (2, 4)]))]);
        assert!(none.is_empty(), "a window without a call is not told");
        let told = [first, last].concat();
        assert_eq!(
            told,
            [
                Operations {
                    probe: PROBE,
                    calls: total(9, &[(1, 1), (2, 1)]),
                    since: BootNanos(10),
                    until: BootNanos(20),
                },
                Operations {
                    probe: PROBE,
                    calls: total(81, &[(2, 3)]),
                    since: BootNanos(30),
                    until: BootNanos(40),
                }
            ]
        );
    }

    #[test]
    fn a_call_that_was_read_half_is_counted_with_its_bucket() {
        let mut windows = Windows::new(BootNanos(0));
        // Its bucket was read, its duration not yet; then both, and nothing new.
        let [half] = windows.look(BootNanos(1), vec![(PROBE, total(0, &[(4, 1)]))])[..] else {
            panic!("one probe had a call");
        };
        assert_eq!((half.calls.calls(), half.calls.sum), (1, 0));
        let whole = vec![(PROBE, total(20, &[(4, 1)]))];
        assert!(windows.look(BootNanos(2), whole).is_empty());
        let [next] = windows.look(BootNanos(3), vec![(PROBE, total(50, &[(4, 2)]))])[..] else {
            panic!("one probe had a call");
        };
        assert_eq!((next.calls.calls(), next.calls.sum), (1, 50));
    }
}
