//! Times and process ids as people type them.

use std::time::Duration;

/// The largest process id that Linux gives out on 64-bit machines: `PID_MAX_LIMIT` is 2^22, and
/// ids stay below it.
const MAX_PID: u32 = (1 << 22) - 1;

/// Why a word is not a quantity.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuantityError {
    #[error("`{0}` is no time: give numbers with units, for example 500ms, 30s, 5m or 1h30m")]
    NoTime(String),
    #[error("`{0}` needs a unit: {0}s for seconds, {0}m for minutes")]
    NoUnit(String),
    #[error("`{0}` is longer than a year")]
    TooLong(String),
    #[error("a time of zero would trace nothing")]
    Zero,
    #[error("`{0}` is no process id: give a number from 1 to {MAX_PID}")]
    NoPid(String),
}

/// Reads `500ms`, `30s`, `5m`, `1h30m`.
pub(crate) fn duration(word: &str) -> Result<Duration, QuantityError> {
    let no_time = || QuantityError::NoTime(word.to_owned());
    let mut total = Duration::ZERO;
    let mut rest = word;
    if rest.is_empty() {
        return Err(no_time());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| no_time())?;
        let letters = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let milliseconds = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "m" | "min" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            "" => return Err(QuantityError::NoUnit(word.to_owned())),
            _ => return Err(no_time()),
        };
        total = milliseconds
            .and_then(|part| total.checked_add(Duration::from_millis(part)))
            .filter(|&sum| sum <= Duration::from_secs(366 * 24 * 3600))
            .ok_or_else(|| QuantityError::TooLong(word.to_owned()))?;
        rest = after;
    }
    if total.is_zero() {
        return Err(QuantityError::Zero);
    }
    Ok(total)
}

/// Reads a process id.
pub(crate) fn pid(word: &str) -> Result<u32, QuantityError> {
    match word.parse() {
        Ok(pid @ 1..=MAX_PID) => Ok(pid),
        Ok(_) | Err(_) => Err(QuantityError::NoPid(word.to_owned())),
    }
}

/// Writes a time so that [`duration`] reads it back.
pub(crate) fn typed_duration(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let (hours, minutes) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60);
    let (seconds, rest) = (milliseconds / 1_000 % 60, milliseconds % 1_000);
    [(hours, "h"), (minutes, "m"), (seconds, "s"), (rest, "ms")]
        .into_iter()
        .filter(|&(number, _)| number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_numbers_with_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
    }

    #[test]
    fn a_time_without_unit_names_the_unit_it_lacks() {
        assert_eq!(duration("30"), Err(QuantityError::NoUnit("30".into())));
        assert_eq!(duration("1m30"), Err(QuantityError::NoUnit("1m30".into())));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for word in [
            "",
            "s",
            "-5s",
            "5 s",
            "5x",
            "1.5s",
            "99999999999999999999s",
            "5së",
        ] {
            assert_eq!(
                duration(word),
                Err(QuantityError::NoTime(word.into())),
                "{word}"
            );
        }
        assert_eq!(duration("0s"), Err(QuantityError::Zero));
        for word in ["367h99999999m", "18446744073709551615h"] {
            assert_eq!(
                duration(word),
                Err(QuantityError::TooLong(word.into())),
                "{word}"
            );
        }
    }

    #[test]
    fn a_written_time_reads_back_as_itself() {
        for milliseconds in [1, 999, 1_000, 61_001, 3_600_000, 5_400_000] {
            let time = Duration::from_millis(milliseconds);
            assert_eq!(duration(&typed_duration(time)), Ok(time));
        }
    }

    #[test]
    fn a_pid_is_one_that_linux_gives_out() {
        assert_eq!(pid("1"), Ok(1));
        for word in ["0", "-1", "4194304", "x", ""] {
            assert_eq!(pid(word), Err(QuantityError::NoPid(word.into())), "{word}");
        }
    }
}
