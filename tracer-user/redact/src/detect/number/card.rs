//! Payment cards: an issuer's prefix, a length it uses, a grouping people write, and Luhn's check.

use memchr::{memchr_iter, memmem};

use super::run::Window;
use crate::detect::{
    checksum,
    class::{self, ALNUM, DIGIT, LETTER},
    hit::{Certainty, Found},
    kind::Kind,
    words::{Context, Topic},
};

/// The month and year up to which the card is good whose number ends at `end`, not far behind it: `exp. 05/29`.
pub(crate) fn expiry(text: &[u8], end: usize) -> Option<Found> {
    const NEAR: usize = 96;
    let limit = text.len().min(end + NEAR);
    let slashes = memchr_iter(b'/', &text[end..limit]).map(|slash| end + slash);
    let mut dates = slashes.filter_map(|slash| month_and_year(text, slash));
    dates.find(|date| is_told(&text[end..date.range.start]))
}

/// Whether nothing but signs stands between a card and a month, or a word for its expiry.
fn is_told(between: &[u8]) -> bool {
    const WORDS: [&str; 15] = [
        "exp",
        "valid",
        "thru",
        "until",
        "bis",
        "gültig",
        "caduc",
        "venc",
        "scad",
        "kullanma",
        "действ",
        "有効",
        "ważn",
        "유효",
        "geldig",
    ];
    let between = between.to_ascii_lowercase();
    let is_near = between.len() <= 8 && !between.iter().any(|byte| class::is(*byte, LETTER));
    is_near
        || WORDS
            .iter()
            .any(|word| memmem::find(&between, word.as_bytes()).is_some())
}

/// The check value close behind a card's month and year: `07/28 code 6207`.
pub(crate) fn check_value(text: &[u8], end: usize) -> Option<Found> {
    const NEAR: usize = 16;
    let between = text[end..].iter().take(NEAR);
    let between = between.take_while(|byte| class::is(**byte, LETTER) || b" ,/:()".contains(byte));
    let start = end + between.count();
    let value = class::run_end(text, start, DIGIT);
    let goes_on =
        matches!(text.get(value), Some(b'/' | b'-' | b'.')) && class::at(text, value + 1, DIGIT);
    let is_value = start > end + 1
        && matches!(value - start, 3 | 4)
        && !class::before(text, start, LETTER)
        && !class::at(text, value, ALNUM)
        && !goes_on;
    is_value.then_some(Found {
        range: start..value,
        rule: "card-check-value",
        kind: Kind::Card,
        certainty: Certainty::Context,
    })
}

/// The month and year around a slash, that are no part of a date with a day.
fn month_and_year(text: &[u8], slash: usize) -> Option<Found> {
    let is_blank = |place: usize| usize::from(text.get(place) == Some(&b' '));
    let month = slash - is_blank(slash - 1);
    let year = slash + 1 + is_blank(slash + 1);
    let start = month.checked_sub(2)?;
    let end = class::run_end(text, year.min(text.len()), DIGIT);
    let is_month = matches!(
        text[start..month],
        [b'0', b'1'..=b'9'] | [b'1', b'0'..=b'2']
    );
    let is_year = matches!(
        text[year.min(end)..end],
        [b'2'..=b'4', _] | [b'2', b'0', _, _]
    );
    let is_part = |place: Option<&u8>| {
        place.is_some_and(|byte| class::is(*byte, ALNUM) || matches!(byte, b'/' | b'-'))
    };
    let before = start.checked_sub(1).and_then(|place| text.get(place));
    (is_month && is_year && !is_part(before) && !is_part(text.get(end))).then_some(Found {
        range: start..end,
        rule: "card-expiry",
        kind: Kind::Card,
        certainty: Certainty::Context,
    })
}

/// Whether the window is a card's number.
pub(crate) fn is_card(context: &Context<'_>, window: Window<'_>) -> bool {
    let digits = window.digits();
    let count = digits.len();
    // Its month of expiry may stand behind a slash.
    let is_free = || {
        window.stands_free(context.text)
            || (window.separator_before() == 0 && context.text[window.end()..].starts_with(b" / "))
    };
    if !(12..=19).contains(&count) || !is_grouped(window) || !is_free() {
        return false;
    }
    if !checksum::luhn(digits) || digits.iter().all(|digit| *digit == digits[0]) {
        return false;
    }
    let (start, end) = (window.start(), window.end());
    let is_said = || context.is_about(start, end, &[Topic::Card]);
    match issuer_lengths(digits) {
        Some(lengths) => {
            (lengths.contains(&count) && count >= 14)
                || is_said()
                || (context.is_alone(start, end) && lengths.contains(&count))
        }
        None => is_said(),
    }
}

fn is_grouped(window: Window<'_>) -> bool {
    const SHAPES: [&str; 16] = [
        "4_4_4_4",
        "4_6_5",
        "4_6_4",
        "4_4_4_1",
        "4_4_4_4_3",
        "4_4_4_3",
        "4_4_4",
        "4_4_5",
        // Two groups that a line's end has drawn together.
        "4_8_4",
        "8_8",
        "4_12",
        "12_4",
        "8_4_4",
        "4_4_8",
        "10_5",
        "4_11",
    ];
    window.groups() == 1
        || (window.is_uniform()
            && matches!(window.separator(0), b' ' | b'-' | b'.' | b'/')
            && SHAPES.into_iter().any(|shape| window.has_shape(shape)))
}

/// The lengths that the issuers with this prefix use (ISO/IEC 7812 issuer identification).
fn issuer_lengths(digits: &[u8]) -> Option<&'static [usize]> {
    let prefix = digits
        .iter()
        .take(4)
        .fold(0_u32, |value, digit| value * 10 + u32::from(*digit));
    Some(match prefix {
        4000..=4999 => &[13, 16, 18, 19],
        5100..=5599 | 2221..=2720 => &[16],
        3400..=3499 | 3700..=3799 => &[15],
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => &[14, 16, 19],
        6011 | 6440..=6599 => &[16, 19],
        6200..=6299 | 8100..=8199 => &[16, 17, 18, 19],
        3528..=3589 => &[16, 17, 18, 19],
        1800 | 2131 | 1220 => &[15],
        2200..=2205 => &[16, 17, 18, 19],
        5000..=5099 | 5600..=5899 | 6300..=6399 | 6700..=6799 | 6000..=6010 | 6012..=6199 => {
            &[12, 13, 14, 15, 16, 17, 18, 19]
        }
        _ => return None,
    })
}
