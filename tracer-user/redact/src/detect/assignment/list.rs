//! Lists of values under one name: `api_keys: ["…", "…"]`, `- …` on lines of their own.

use std::ops::Range;

use super::super::{
    believe::Strength,
    class::{self, SPACE},
    looks::{is_code, is_mixed, is_placeholder, looks_random},
};

/// No more values of one list are read.
const MOST: usize = 32;
/// What may stand between two of them, in blanks and line ends.
const BETWEEN: usize = 24;

/// Where the first value begins of the list that begins at `start`, if its values have no quotes.
pub(crate) fn first(text: &[u8], start: usize) -> Option<usize> {
    let rest = &text[start..];
    let begins_a_line = || text[..start].iter().rev().find(|byte| **byte != b' ') == Some(&b'\n');
    match rest {
        [b'[', next, ..] if next.is_ascii_alphanumeric() => Some(start + 1),
        [b'-', b' ', ..] if begins_a_line() => Some(start + 2),
        _ => None,
    }
}

/// The values behind the first one of a list.
pub(crate) fn others(text: &[u8], first: &Range<usize>, strength: Strength) -> Vec<Range<usize>> {
    let quote = first.start.checked_sub(1).map(|place| text[place]);
    let quote = quote.filter(|byte| matches!(byte, b'"' | b'\''));
    let begins = first.start - usize::from(quote.is_some());
    let before = text[..begins].trim_ascii_end();
    let separator = match before.last() {
        Some(b'[') => b',',
        Some(b'-') if before.len() < begins => b'-',
        _ => return Vec::new(),
    };
    let mut found = Vec::new();
    let mut end = first.end;
    while found.len() < MOST
        && let Some(value) = next(text, end, quote, separator)
        && is_value(&text[value.clone()], strength)
    {
        end = value.end;
        found.push(value);
    }
    found
}

/// The value behind the one that ends at `end`.
fn next(text: &[u8], end: usize, quote: Option<u8>, separator: u8) -> Option<Range<usize>> {
    let blanks = |from: usize| {
        let rest = text.get(from..).unwrap_or_default().iter().take(BETWEEN);
        from + rest.take_while(|byte| class::is(**byte, SPACE)).count()
    };
    let place = match quote {
        Some(quote) if text.get(end) == Some(&quote) => end + 1,
        Some(_) => return None,
        None => end,
    };
    let sign = blanks(place);
    // An entry stands on a line of its own.
    if text.get(sign) != Some(&separator)
        || (separator == b'-' && !text[place..sign].contains(&b'\n'))
    {
        return None;
    }
    let start = blanks(sign + 1);
    let start = match quote {
        Some(quote) if text.get(start) == Some(&quote) => start + 1,
        Some(_) => return None,
        None => start,
    };
    let is_end = |byte: &u8| match quote {
        Some(quote) => *byte == quote || *byte == b'\n',
        None => class::is(*byte, SPACE) || b",]\"'".contains(byte),
    };
    let rest = text.get(start..)?.iter().take(super::MAX_VALUE);
    let length = rest.take_while(|byte| !is_end(byte)).count();
    (length > 0).then_some(start..start + length)
}

fn is_value(value: &[u8], strength: Strength) -> bool {
    const LEAST: usize = 6;
    let looks_like_one = match strength {
        Strength::Password => value.len() >= LEAST && is_mixed(value),
        Strength::Secret => value.len() >= 2 * LEAST && looks_random(value),
    };
    looks_like_one && !is_placeholder(value) && !is_code(value, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_a_list_is_found() {
        let one = "1ec8812d2e9b723c135f6278e7c275e0";
        let two = "2b84fd2d2e9b723c135f6278e7c275e1";
        for text in [
            format!("keys: [\"{one}\", \"{two}\"]"),
            format!("keys: [{one}, {two}]"),
            format!("keys:\n  - {one}\n  - {two}\n"),
            format!("keys:\n  - '{one}'\n  - '{two}'\n"),
        ] {
            let start = text.find(one).expect("the case has it");
            let found = others(
                text.as_bytes(),
                &(start..start + one.len()),
                Strength::Secret,
            );
            let values: Vec<_> = found.into_iter().map(|range| &text[range]).collect();
            assert_eq!(values, [two], "{text}");
        }
        let text = format!("f(\"{one}\", \"{two}\")");
        assert!(others(text.as_bytes(), &(3..3 + one.len()), Strength::Secret).is_empty());
    }
}
