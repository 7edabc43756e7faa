//! Medians and what can be said of them.

pub use tracer_tests::random::SplitMix;

/// The middle value; the mean of the two middle ones of an even number.
///
/// Returns `None` for no values, or where one is not a number.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() || values.iter().any(|value| value.is_nan()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    Some(if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    })
}

/// The smallest value that at least `percent` of all do not exceed (nearest rank).
///
/// Returns `None` for no values, or where one is not a number.
#[must_use]
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    median(values)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent.min(100)).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// A two-sided interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 95 % percentile-bootstrap interval of the median (Efron 1979), from 10,000 resamples drawn
/// with `seed`: the same values and seed give the same interval.
#[must_use]
pub fn bootstrap_median(values: &[f64], seed: u64) -> Option<Interval> {
    const RESAMPLES: usize = 10_000;
    median(values)?;
    let mut random = SplitMix(seed);
    let mut medians = Vec::with_capacity(RESAMPLES);
    let mut sample = vec![0.0; values.len()];
    for _ in 0..RESAMPLES {
        for place in &mut sample {
            *place = values[random.below(values.len())];
        }
        medians.extend(median(&sample));
    }
    medians.sort_by(f64::total_cmp);
    Some(Interval {
        low: medians[RESAMPLES / 40],
        high: medians[RESAMPLES - 1 - RESAMPLES / 40],
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(100.0));
        assert_eq!(percentile(&values, 99), Some(198.0));
        assert_eq!(percentile(&values, 100), Some(200.0));
        assert_eq!(percentile(&[7.0], 1), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_median_and_stays_within_the_values(
            values in proptest::collection::vec(0.5f64..2.0, 1..40),
            seed: u64,
        ) {
            let interval = bootstrap_median(&values, seed).expect("values are numbers");
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            let middle = median(&values).expect("values are numbers");
            prop_assert!(least <= interval.low && interval.high <= most);
            prop_assert!(interval.low <= middle && middle <= interval.high);
        }
    }
}
