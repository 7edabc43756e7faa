//! Street addresses, around their house number: `12 Main Street`, `24, rue Lenoir`, `Via Roma 131`,
//! `Lindenallee 10/60`; and what follows a word for an address.

mod part;
mod told;
mod town;
mod words;

use std::ops::Range;

use super::{
    class::{self, DIGIT, WORD},
    words::{Context, Topic},
};

pub(crate) use self::told::{belongs, told};
use self::{
    part::with_part,
    town::with_town,
    words::{
        LINKS, STREETS, STREETS_PERHAPS, STREETS_PERHAPS_TOO, SUFFIXES, is_capital, is_prefix,
        lower, trim, word_end, word_start,
    },
};

/// How far an address may reach before or after its number.
const REACH: usize = 72;

/// The address around the number at `number`.
pub(crate) fn read(context: &Context<'_>, number: Range<usize>) -> Option<Range<usize>> {
    if number.len() > 6 {
        return None;
    }
    let text = context.text;
    let is_said = || context.is_near(number.start, number.end, 64, 0, &[Topic::Address]);
    let after = after(text, number.end, &is_said);
    let before = before(text, number.start, &is_said);
    let range = match (before, after) {
        (Some(start), Some(end)) => start..end,
        (None, Some(end)) => number.start..end,
        (Some(start), None) => start..house_number_end(text, number.end),
        (None, None) => return None,
    };
    Some(with_town(text, with_part(text, range)))
}

/// The end of a street whose name follows its number.
fn after(text: &[u8], number: usize, is_said: &dyn Fn() -> bool) -> Option<usize> {
    let mut place = match text.get(number..) {
        Some([b',', b' ', ..]) => number + 2,
        Some([b' ', ..]) => number + 1,
        _ => return None,
    };
    // `59 bis rue …`
    let again = ["bis ", "ter ", "quater "]
        .into_iter()
        .find(|again| text[place..].starts_with(again.as_bytes()));
    place += again.map_or(0, str::len);
    let begins = place;
    let limit = text.len().min(number + REACH);
    let mut names = 0;
    let mut found = None;
    let mut last_name = None;
    let mut is_prefixed = false;
    while place < limit && names < 6 {
        let end = word_end(text, place, limit);
        let word = lower(&text[place..end]);
        let word = word.trim_end_matches(['.', ',']);
        let is_name = is_capital(text, place);
        if names == 0 && !is_name && is_prefix(word) {
            is_prefixed = true;
        } else if !(is_name || names > 0 || is_prefixed || is_ordinal(word)) {
            return None;
        } else if !is_name && !LINKS.contains(&word) && !is_ordinal(word) {
            break;
        }
        names += 1;
        if is_name {
            last_name = Some(end);
        }
        let is_street = || {
            STREETS.contains(&word)
                || ((number_digits(text, number) >= 3 || is_said())
                    && (STREETS_PERHAPS.contains(&word) || STREETS_PERHAPS_TOO.contains(&word)))
        };
        if names > 1 && is_name && is_street() {
            found = Some(match word {
                "road" | "route" | "highway" | "hwy" | "rd" => numbered_street(text, end),
                _ => end,
            });
        }
        // A full stop ends the sentence, a comma the street.
        if text.get(end) != Some(&b' ') || matches!(text[end - 1], b',' | b'.') && found.is_some() {
            break;
        }
        place = end + 1;
    }
    if is_prefixed {
        return last_name.map(|end| trim(text, begins, end));
    }
    // `221 Bahnhofstraße` is written that way by the French and the Belgians.
    found.map(|end| trim(text, begins, end))
}

/// `43rd`, as streets are called.
fn is_ordinal(word: &str) -> bool {
    if !word.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_number = matches!(digits.len(), 1..=3) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number && matches!(&word[digits.len()..], "st" | "nd" | "rd" | "th")
}

/// Where `County Road 12` ends whose `Road` ends at `end`.
fn numbered_street(text: &[u8], end: usize) -> usize {
    let number = class::run_end(text, (end + 1).min(text.len()), DIGIT);
    let is_numbered = text.get(end) == Some(&b' ')
        && (1..=4).contains(&(number.saturating_sub(end + 1)))
        && !class::at(text, number, WORD)
        && text.get(number) != Some(&b'.');
    if is_numbered { number } else { end }
}

fn number_digits(text: &[u8], end: usize) -> usize {
    end - class::run_start(text, end, DIGIT)
}

/// The start of a street whose name precedes its number.
fn before(text: &[u8], number: usize, is_said: &dyn Fn() -> bool) -> Option<usize> {
    let mut end = match text.get(..number) {
        Some([.., b',', b' ']) => number - 2,
        Some([.., b' ']) => number - 1,
        _ => return None,
    };
    if !(class::before(text, end, WORD) || end > 0 && text[end - 1] == b'.') {
        return None;
    }
    let floor = number.saturating_sub(REACH);
    let mut names = 0;
    while names < 6 && end > floor {
        let start = word_start(text, end, floor);
        let word = lower(&text[start..end]);
        if word.is_empty() {
            return None;
        }
        let is_name = is_capital(text, start);
        if names > 0 && is_prefix(&word) {
            return Some(start);
        }
        if names == 0 {
            let name = word.rsplit('-').next().unwrap_or(&word);
            let is_compound = is_name
                && SUFFIXES.iter().any(|suffix| {
                    (word.len() >= suffix.len() + 3 && word.ends_with(suffix))
                        || (name == *suffix && name.len() < word.len())
                });
            let digits = text[number..]
                .iter()
                .take_while(|byte| class::is(**byte, DIGIT))
                .count();
            // `Spring 2024` is no street, and neither is a page.
            if is_compound
                && (is_said()
                    || (digits <= 3
                        && word.len() >= 7
                        && !word.ends_with("spring")
                        && !word.ends_with("string")))
            {
                return Some(with_first_names(text, start, floor));
            }
        }
        if !is_name && !LINKS.contains(&word.as_ref()) {
            return None;
        }
        names += 1;
        if start == 0 || text[start - 1] != b' ' {
            return None;
        }
        end = start - 1;
    }
    None
}

/// `Lille Vibyvej 8`: capitals before a compound name belong to it where a word for an address
/// does not stand between.
fn with_first_names(text: &[u8], start: usize, floor: usize) -> usize {
    if start < 2 || text[start - 1] != b' ' {
        return start;
    }
    let previous = word_start(text, start - 1, floor);
    let is_name = is_capital(text, previous)
        && start - 1 - previous < 12
        && previous > 0
        && text[previous - 1] == b' ';
    if is_name { previous } else { start }
}

fn house_number_end(text: &[u8], end: usize) -> usize {
    // `10/60`, `12a`, `12-14`
    let mut end = end;
    if matches!(text.get(end), Some(b'/' | b'-')) && class::at(text, end + 1, DIGIT) {
        end = class::run_end(text, end + 1, DIGIT);
    }
    end
}
