//! Payment cards: an issuer's prefix, a length it uses, a grouping people write, and Luhn's check.

use super::run::Window;
use crate::detect::{
    checksum,
    words::{Context, Topic},
};

/// Whether the window is a card's number.
pub(crate) fn is_card(context: &Context<'_>, window: Window<'_>) -> bool {
    let digits = window.digits();
    let count = digits.len();
    if !(12..=19).contains(&count) || !is_grouped(window) || !window.stands_free(context.text) {
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
