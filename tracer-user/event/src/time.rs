//! When: boot time orders events, wall time lets people find them.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// Nanoseconds since boot, suspend included (`CLOCK_BOOTTIME`, `bpf_ktime_get_boot_ns`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct BootNanos(pub u64);

impl BootNanos {
    /// How long after an earlier moment; zero if it was not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The duration in seconds, for people and for OpenTelemetry.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 ns, 104 days")]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// Nanoseconds since 1970 in UTC, leap seconds ignored; written as RFC 3339 with nine decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallNanos(pub u64);

impl fmt::Display for WallNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / NANOS_PER_SECOND;
        let (year, month, day) = civil_date(seconds / SECONDS_PER_DAY);
        let of_day = seconds % SECONDS_PER_DAY;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let nanos = self.0 % NANOS_PER_SECOND;
        // Every event carries one: filled in here, it costs a tenth of what a formatter takes for it.
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let numbers = [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, hour),
            (14..16, minute),
            (17..19, second),
            (20..29, nanos),
        ];
        for (place, number) in numbers {
            write_decimal(&mut text[place], number);
        }
        f.write_str(str::from_utf8(&text).expect("digits between ASCII"))
    }
}

/// A number's last digits, as many as there is room for.
fn write_decimal(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        // Below 10.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A wall time that is not written as this crate writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 2026-01-31T23:59:59.000000000Z")]
pub struct ParseWallError;

impl FromStr for WallNanos {
    type Err = ParseWallError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |range| {
            text.get::<std::ops::Range<usize>>(range)
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse::<u64>().ok())
        };
        let parse = || {
            let days = days_since_1970(number(0..4)?, number(5..7)?, number(8..10)?)?;
            let seconds = (days * SECONDS_PER_DAY)
                .checked_add(number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?)?;
            let wall = Self(
                seconds
                    .checked_mul(NANOS_PER_SECOND)?
                    .checked_add(number(20..29)?)?,
            );
            (wall.to_string() == text).then_some(wall)
        };
        parse().ok_or(ParseWallError)
    }
}

impl Serialize for WallNanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallNanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(any(test, feature = "schema"))]
impl schemars::JsonSchema for WallNanos {
    fn schema_name() -> Cow<'static, str> {
        "WallNanos".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// When something happened, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Moment {
    /// On the clock that never goes back.
    pub boot: BootNanos,
    /// On the clock that people read, as it stood against the boot clock at that moment.
    pub wall: WallNanos,
}

/// Day of the proleptic Gregorian calendar. Counting years from March puts the leap day last, so
/// that a month's first day is a linear function of its number.
fn civil_date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + DAYS_0000_TO_1970;
    let (era, of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * DAYS_PER_ERA + of_era).checked_sub(DAYS_0000_TO_1970)
}

/// Days of 400 years.
const DAYS_PER_ERA: u64 = 146_097;
/// From 1 March of year 0 to 1 January 1970.
const DAYS_0000_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wall_times_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (1_795_417_200, "2026-11-23T07:00:00.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(WallNanos(seconds * NANOS_PER_SECOND).to_string(), text);
        }
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in [
            "2026-02-30T00:00:00.000000000Z",
            "2026-13-01T00:00:00.000000000Z",
            "2026-01-01T24:00:00.000000000Z",
            "2026-01-01 00:00:00.000000000Z",
            "2026-01-01T00:00:00Z",
            "+026-01-01T00:00:00.000000000Z",
            "",
        ] {
            assert_eq!(text.parse::<WallNanos>(), Err(ParseWallError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn wall_times_read_back_as_themselves(nanos: u64) {
            let wall = WallNanos(nanos);
            prop_assert_eq!(wall.to_string().parse(), Ok(wall));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,40}") {
            let _ = text.parse::<WallNanos>();
        }
    }
}
