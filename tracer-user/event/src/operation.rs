//! Family `op`: hot operations, which are counted and timed in the kernel and never told call by
//! call.

use serde::{Deserialize, Serialize};

use crate::{
    identity::Name,
    time::{BootNanos, Nanos},
};

/// Calls of a hot operation that ended within a window of time, those of all traced processes
/// together: the kernel keeps one table a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct OperationHistogram {
    /// The operation, as its probe is named.
    pub operation: Name,
    /// Beginning of the window: the last look at the table before. A window without a call is not
    /// told.
    pub from: BootNanos,
    /// End of the window.
    pub to: BootNanos,
    /// Calls: the sum of the buckets.
    pub count: u64,
    /// Their durations' sum. Calls that ended while the table was read may stand in the sum of the
    /// next window.
    pub sum: Nanos,
    /// Calls by duration: bucket `i` counts from 2^i up to 2^(i+1) nanoseconds, the first also
    /// what took less and the last that the kernel has, 39, also what took longer. Empty buckets
    /// at the end are left out.
    pub buckets: Vec<u64>,
}

impl OperationHistogram {
    /// Adds a window of the same operation.
    pub fn add(&mut self, other: &Self) {
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
        self.count = self.count.saturating_add(other.count);
        self.sum.0 = self.sum.0.saturating_add(other.sum.0);
        let length = self.buckets.len().max(other.buckets.len());
        self.buckets.resize(length, 0);
        for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// The mean duration; none without a call.
    #[must_use]
    pub fn mean(&self) -> Option<Nanos> {
        self.sum.0.checked_div(self.count).map(Nanos)
    }

    /// A duration that `percent` of the calls stay below, at most twice the smallest such: the
    /// upper end of a bucket. None without a call.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Nanos> {
        let wanted = u128::from(self.count) * u128::from(percent.min(100));
        let mut below = 0_u128;
        for (power, calls) in (1..).zip(&self.buckets) {
            below += u128::from(*calls);
            if below > 0 && below * 100 >= wanted {
                return Some(Nanos(1_u64.checked_shl(power).unwrap_or(u64::MAX)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[u64]) -> OperationHistogram {
        OperationHistogram {
            operation: Name::new("ggml/mul-mat"),
            from: BootNanos(100),
            to: BootNanos(200),
            count: buckets.iter().sum(),
            sum: Nanos(1_000),
            buckets: buckets.to_vec(),
        }
    }

    #[test]
    fn a_percentile_is_the_upper_end_of_its_bucket() {
        // 98 calls from 1,024 to 2,047 ns, one from 2^20 ns on, one from 2^30 ns on.
        let mut buckets = vec![0; 31];
        (buckets[10], buckets[20], buckets[30]) = (98, 1, 1);
        let histogram = histogram(&buckets);
        assert_eq!(histogram.percentile(50), Some(Nanos(2_048)));
        assert_eq!(histogram.percentile(98), Some(Nanos(2_048)));
        assert_eq!(histogram.percentile(99), Some(Nanos(1 << 21)));
        assert_eq!(histogram.percentile(100), Some(Nanos(1 << 31)));
    }

    #[test]
    fn nothing_is_said_of_no_call() {
        assert_eq!(histogram(&[]).percentile(50), None);
        assert_eq!(histogram(&[]).mean(), None);
        assert_eq!(histogram(&[4]).mean(), Some(Nanos(250)));
    }

    #[test]
    fn windows_add_up_whatever_their_lengths() {
        let mut sum = histogram(&[1, 2]);
        let later = OperationHistogram {
            from: BootNanos(200),
            to: BootNanos(300),
            ..histogram(&[0, 1, 5])
        };
        sum.add(&later);
        assert_eq!(sum.buckets, [1, 3, 5]);
        assert_eq!((sum.count, sum.sum), (9, Nanos(2_000)));
        assert_eq!((sum.from, sum.to), (BootNanos(100), BootNanos(300)));
    }

    #[test]
    fn buckets_that_no_kernel_makes_do_not_overflow() {
        let mut buckets = vec![0; 100];
        buckets[99] = u64::MAX;
        let mut huge = OperationHistogram {
            count: u64::MAX,
            ..histogram(&buckets)
        };
        assert_eq!(huge.percentile(99), Some(Nanos(u64::MAX)));
        huge.sum = Nanos(u64::MAX);
        huge.buckets = vec![];
        huge.count = 0;
        huge.add(&histogram(&[1]));
        assert_eq!(huge.sum, Nanos(u64::MAX));
    }
}
