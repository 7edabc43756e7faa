use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::DefaultIsZeroes;

/// How far above 1 a sum of 32-bit floats may be that stands for 1.
const ROUNDING: f64 = 1e-4;
const MILLIONTHS: f64 = 1e6;

/// The natural logarithm of a token's probability, in millionths; never above 0.
///
/// It says nearly as much about a text as the token itself, and is content like it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogProbability(i64);

impl LogProbability {
    /// Of a probability. None where it is none: a sampler that computed no probability leaves 0.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the logarithm of a positive `f64` is above -746"
    )]
    pub fn of(probability: f64) -> Option<Self> {
        let is_one = probability > 0.0 && probability <= 1.0 + ROUNDING;
        is_one.then(|| Self((probability.min(1.0).ln() * MILLIONTHS).round() as i64))
    }

    /// As a number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "what `of` makes is below 2^53")]
    pub fn value(self) -> f64 {
        self.0 as f64 / MILLIONTHS
    }
}

impl DefaultIsZeroes for LogProbability {}

impl Serialize for LogProbability {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.value())
    }
}

impl<'de> Deserialize<'de> for LogProbability {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and what was written comes back as it was"
    )]
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        f64::deserialize(from).map(|value| Self((value * MILLIONTHS).round() as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_probability_has_no_logarithm() {
        for none in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
            assert_eq!(LogProbability::of(none), None);
        }
        assert_eq!(LogProbability::of(1.000_000_1), Some(LogProbability(0)));
        assert_eq!(LogProbability::of(0.5), Some(LogProbability(-693_147)));
    }

    #[test]
    fn what_is_written_comes_back() {
        for probability in [1.0, 0.25, 1e-30, f64::MIN_POSITIVE] {
            let known = LogProbability::of(probability).unwrap();
            let written = serde_json::to_string(&known).unwrap();
            assert_eq!(
                serde_json::from_str::<LogProbability>(&written).unwrap(),
                known
            );
        }
    }
}
