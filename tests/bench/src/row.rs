//! One line of the result table, and what its figure means for its bar.

use serde::Serialize;

use crate::statistics::{Interval, bootstrap_median, median};

/// What a measurement says of its bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The bar holds.
    Pass,
    /// It does not.
    Fail,
    /// The spread is too wide to tell. This is no pass.
    Inconclusive,
    /// The row has no bar: it stands beside one.
    Shown,
}

/// The limit that a row's ratio must keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// The median must not be above it.
    AtMost(f64),
    /// The median must not be below it.
    AtLeast(f64),
    /// The whole 95 % interval of the median must lie above it.
    IntervalAbove(f64),
    /// No limit.
    None,
}

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Group on the command line.
    pub group: &'static str,
    /// What was measured.
    pub name: String,
    /// Unit of `values`; ratios have `x`.
    pub unit: &'static str,
    /// Every repetition.
    pub values: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// 95 % bootstrap interval of the median.
    pub interval: Interval,
    /// The limit.
    pub bar: Bar,
    /// What follows.
    pub verdict: Verdict,
    /// What a reader must know beside the figure.
    pub note: String,
}

impl Row {
    /// Judges the repetitions `values`, of which there is at least one.
    ///
    /// # Errors
    /// If there are none, or one is not a number.
    pub fn judge(
        group: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        values: Vec<f64>,
        bar: Bar,
        note: impl Into<String>,
    ) -> anyhow::Result<Self> {
        const SEED: u64 = 15;
        let name = name.into();
        let (Some(middle), Some(interval)) = (median(&values), bootstrap_median(&values, SEED))
        else {
            anyhow::bail!("{group}/{name}: no usable repetition was measured: {values:?}");
        };
        let verdict = match bar {
            Bar::None => Verdict::Shown,
            Bar::AtMost(limit) => verdict(interval.high <= limit, middle > limit),
            Bar::AtLeast(limit) => verdict(interval.low >= limit, middle < limit),
            Bar::IntervalAbove(limit) => verdict(interval.low > limit, interval.high <= limit),
        };
        let note = note.into();
        Ok(Self {
            group,
            name,
            unit,
            values,
            median: middle,
            interval,
            bar,
            verdict,
            note,
        })
    }
}

fn verdict(holds: bool, fails: bool) -> Verdict {
    match (holds, fails) {
        (true, _) => Verdict::Pass,
        (false, true) => Verdict::Fail,
        (false, false) => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(values: &[f64], bar: Bar) -> Verdict {
        Row::judge("test", "row", "x", values.to_vec(), bar, "")
            .expect("values are numbers")
            .verdict
    }

    #[test]
    fn a_median_within_the_bar_with_a_spread_across_it_is_inconclusive() {
        assert_eq!(
            verdict_of(&[1.0, 1.1, 1.2], Bar::AtMost(1.6)),
            Verdict::Pass
        );
        assert_eq!(
            verdict_of(&[1.0, 1.1, 1.9], Bar::AtMost(1.6)),
            Verdict::Inconclusive
        );
        assert_eq!(
            verdict_of(&[1.7, 1.8, 1.9], Bar::AtMost(1.6)),
            Verdict::Fail
        );
        assert_eq!(
            verdict_of(&[0.97, 0.99, 1.01], Bar::IntervalAbove(0.98)),
            Verdict::Inconclusive
        );
        assert_eq!(
            verdict_of(&[0.5, 0.6, 0.7], Bar::IntervalAbove(0.98)),
            Verdict::Fail
        );
    }
}
