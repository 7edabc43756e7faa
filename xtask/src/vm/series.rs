//! Kernel series and releases, and their order.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};

/// The first two numbers of a kernel's version, such as 6.12.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Series(pub(crate) u16, pub(crate) u16);

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self(major.parse().ok()?, minor.parse().ok()?))
        };
        parse().with_context(|| format!("`{text}` is no kernel series; write it like 6.12"))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// The series that a release such as `6.12.107+deb13` or `5.10.0-32` belongs to.
pub(crate) fn of_release(release: &str) -> Option<Series> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some(Series(
        numbers.next()?.parse().ok()?,
        numbers.next()?.parse().ok()?,
    ))
}

/// Orders releases by their numbers, so that 6.1.0-9 comes before 6.1.0-10.
pub(crate) fn compare_releases(one: &str, other: &str) -> Ordering {
    fn numbers(release: &str) -> impl Iterator<Item = u64> + '_ {
        release
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|part| part.parse().ok())
    }
    numbers(one).cmp(numbers(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_orders_by_number_and_not_by_text() {
        let series = |text: &str| text.parse::<Series>().expect("a series");
        assert!(series("6.1") < series("6.12"));
        assert!(series("5.10") < series("6.1"));
        assert!("6".parse::<Series>().is_err());
        assert!("6.x".parse::<Series>().is_err());
    }

    #[test]
    fn debian_release_names_belong_to_their_series() {
        assert_eq!(of_release("5.10.0-32"), Some(Series(5, 10)));
        assert_eq!(of_release("6.12.107+deb13"), Some(Series(6, 12)));
        assert_eq!(of_release("cloud"), None);
    }

    #[test]
    fn releases_order_by_their_numbers() {
        assert!(compare_releases("6.1.0-9", "6.1.0-10").is_lt());
        assert!(compare_releases("6.12.107+deb13", "6.12.117+deb13").is_lt());
    }
}
