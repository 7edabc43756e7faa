//! Phone numbers: with a country code anywhere, in the usual groupings anywhere, and otherwise
//! where a word says that a number is one.

use super::run::Window;
use crate::detect::{
    class::{self, ALNUM, DIGIT, SPACE, UPPER},
    hit::Hits,
    kind::Kind,
    words::{Context, Topic},
};

/// The number with its `+`, brackets and extension, if the window is one.
pub(crate) fn read(context: &Context<'_>, window: Window<'_>) -> Option<(usize, usize)> {
    let text = context.text;
    let (start, plus) = prefix(text, window.start());
    let end = window.end();
    let digits = window.digits();
    let count = digits.len();
    if !(6..=18).contains(&count) || !window.stands_free(text) {
        return None;
    }
    let has_colon = (0..window.groups() - 1).any(|group| window.separator(group) == b':');
    if has_colon {
        return None;
    }
    let is_country_code = plus && digits[0] != 0 && (7..=18).contains(&count);
    let is_said = || {
        let is_near = |topic| context.is_near(start, end, 60, 24, &[topic]);
        // `call_id=1234567` is no number that anybody calls.
        let is_grouped = window.groups() > 1 || class::before(text, start, SPACE) && count >= 9;
        is_plausible(window) && (is_near(Topic::Phone) || (is_grouped && is_near(Topic::Call)))
            || (context.is_alone(start, end)
                && ((digits[0] == 0 && (9..=11).contains(&count)) || count == 10)
                && (window.groups() > 1 || count == 11)
                && is_plausible(window))
    };
    // The tail of a longer code: `DE89 3704 0044 0532 01`.
    if !plus && follows_a_code(text, start) {
        return None;
    }
    (is_country_code
        || (is_dialled_abroad(window) && !is_dumped(text, window))
        || is_north_american(window)
        || is_behind_a_trunk_prefix(window)
        || (is_grouped_national(window) && !is_dumped(text, window))
        || is_dialled_with_an_area(window)
        || is_said())
    .then(|| (start, extension(text, end)))
}

/// A number as they are dialled at home, close behind one that was found.
pub(crate) fn second(
    context: &Context<'_>,
    window: Window<'_>,
    hits: &Hits,
) -> Option<(usize, usize)> {
    const NEAR: usize = 32;
    let (start, end) = (window.start(), window.end());
    let count = window.digits().len();
    let is_near = hits
        .last()
        .is_some_and(|hit| hit.kind == Kind::Phone && start <= hit.range.end + NEAR);
    let holds = is_near
        && window.digits()[0] == 0
        && (9..=11).contains(&count)
        && window.stands_free(context.text)
        && is_plausible(window);
    holds.then_some((start, end))
}

/// Where the number begins if a `+` or a bracket stands before its digits.
fn prefix(text: &[u8], start: usize) -> (usize, bool) {
    let mut place = start;
    if place > 0 && text[place - 1] == b'(' {
        place -= 1;
    }
    match text[..place] {
        [.., b'+', b' '] => (place - 2, true),
        // `(+41) 22 730 5989`
        [.., b'(', b'+'] => (place - 2, true),
        [.., b'+'] => (place - 1, true),
        _ => (place, false),
    }
}

/// Whether a short group of capitals and digits stands right before.
fn follows_a_code(text: &[u8], start: usize) -> bool {
    if start < 4 || text[start - 1] != b' ' {
        return false;
    }
    let from = class::run_start(&text[..start - 1], start - 1, ALNUM);
    let group = &text[from..start - 1];
    (3..=8).contains(&group.len())
        && group.iter().any(|byte| class::is(*byte, DIGIT))
        && group.iter().all(|byte| class::is(*byte, DIGIT | UPPER))
}

fn extension(text: &[u8], end: usize) -> usize {
    let rest = &text[end..];
    let marked = [
        &b" ext. "[..],
        b" ext ",
        b" x ",
        b" x",
        b"x",
        b"ext",
        b" ext.",
        b" #",
    ]
    .into_iter()
    .find(|mark| rest.len() > mark.len() && rest[..mark.len()].eq_ignore_ascii_case(mark));
    match marked {
        Some(mark) if class::at(text, end + mark.len(), DIGIT) => {
            let last = class::run_end(text, end + mark.len(), DIGIT);
            if last - end <= mark.len() + 6 {
                last
            } else {
                end
            }
        }
        _ => end,
    }
}

/// `00` and a country code.
fn is_dialled_abroad(window: Window<'_>) -> bool {
    let digits = window.digits();
    digits.starts_with(&[0, 0])
        && window.length(0) > 1
        && digits[2] != 0
        && window.groups() > 2
        && digits.len() >= 10
}

/// `(212) 555-0123`, `212-555-0123`, `212.555.0123`, with or without a leading 1.
fn is_north_american(window: Window<'_>) -> bool {
    const SHAPES: [&str; 8] = [
        "2)5-4", "2)5 4", "3)3-4", "3-3-4", "3.3.4", "3)3.4", "3)3 4", "3)7",
    ];
    const LONG: [&str; 6] = [
        "1-3-3-4", "1.3.3.4", "1 3 3 4", "1)3)3-4", "1 3-3-4", "1)3-3-4",
    ];
    let digits = window.digits();
    (SHAPES.into_iter().any(|shape| window.has_shape(shape)))
        || (digits[0] == 1 && LONG.into_iter().any(|shape| window.has_shape(shape)))
}

/// `8(495)500-56-23`, `0(212) 219 79 35`: Russia leads its areas with an 8 or its country's 7, Turkey with a zero.
fn is_behind_a_trunk_prefix(window: Window<'_>) -> bool {
    const SHAPES: [&str; 4] = ["1)3)3-2-2", "1)3)3 2 2", "1)3)3-4", "1)3)3 4"];
    matches!(window.digits()[0], 0 | 7 | 8)
        && SHAPES.into_iter().any(|shape| window.has_shape(shape))
}

/// A trunk zero and then groups of two to four digits, as most of Europe writes: `01 84 17 61 18`.
fn is_grouped_national(window: Window<'_>) -> bool {
    let groups = window.groups();
    let even = (1..groups).all(|group| (2..=4).contains(&window.length(group)));
    let count = window.digits().len();
    if window.has_shape("2)4 4") || window.has_shape("2)4-4") {
        return true;
    }
    // `07429 805220`, `091 79647 94552`
    if (window.has_shape("5 6") && matches!(window.digits(), [0, 1 | 2 | 7, ..]))
        || (window.has_shape("3 5 5") && matches!(window.digits(), [0, 9, 1, 6..=9, ..]))
    {
        return true;
    }
    matches!(window.digits(), [0, 1..=9, ..])
        && (9..=11).contains(&count)
        && groups >= 3
        && (2..=5).contains(&window.length(0))
        && even
        && window.is_uniform()
        && window.separator(0) != b'/'
}

/// A trunk zero and an area, and what follows them in whatever groups: `0151/2345 6789`, `070-482 19 03`,
/// `01712-482190`, `02)482-1903`.
fn is_dialled_with_an_area(window: Window<'_>) -> bool {
    let groups = window.groups();
    let digits = window.digits();
    let area = window.length(0);
    groups >= 2
        && matches!(digits, [0, 1..=9, ..])
        && (9..=11).contains(&digits.len())
        && match window.separator(0) {
            b')' => (2..=5).contains(&area),
            b'-' | b'/' => (3..=5).contains(&area),
            _ => false,
        }
        && (groups > 2 || (6..=8).contains(&window.length(1)))
        && (1..groups).all(|group| window.length(group) >= 2)
}

/// Whether pairs of digits are a part of a row of bytes: `02 01 01 00 00`.
fn is_dumped(text: &[u8], window: Window<'_>) -> bool {
    let is_pair = |pair: Option<&[u8]>| {
        pair.is_some_and(|pair| pair[0] == b' ' && pair[1..].iter().all(u8::is_ascii_hexdigit))
    };
    let (start, end) = (window.start(), window.end());
    let before = start.checked_sub(4).map(|from| &text[from..start - 1]);
    (0..window.groups()).all(|group| window.length(group) == 2)
        && (!window.is_whole_run()
            || is_pair(before)
            || (is_pair(text.get(end..end + 3)) && !class::at(text, end + 3, ALNUM)))
}

/// Whether a number of which a word says that it is one can be one.
fn is_plausible(window: Window<'_>) -> bool {
    let count = window.digits().len();
    let looks_like_a_date = window.has_shape("4-2-2")
        || window.has_shape("2/2/4")
        || window.has_shape("2.2.4")
        || window.has_shape("4/2/2");
    let is_decimal = window.groups() == 2 && window.separator(0) == b'.' && window.length(1) <= 3;
    (6..=15).contains(&count)
        && !is_decimal
        && (window.groups() > 1 || count >= 7)
        && window.groups() <= 7
        && !looks_like_a_date
        && (0..window.groups()).all(|group| window.length(group) <= 11)
}
