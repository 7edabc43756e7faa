//! Parts of a building beside its address: `Flat 1, …`, `… #194`, `… 2º izq.`.

use std::ops::Range;

use super::words::{PARTS, lower, word_end, word_start};
use crate::detect::class::{self, ALNUM, DIGIT};

/// The range with a flat, suite or floor before or behind it: `Flat 1, …`, `… #194`.
pub(super) fn with_part(text: &[u8], range: Range<usize>) -> Range<usize> {
    let mut range = range;
    if let Some(start) = part_before(text, range.start) {
        range.start = start;
    }
    let rest = &text[range.end..text.len().min(range.end + 24)];
    let skip = rest
        .iter()
        .take_while(|byte| b" ,\n".contains(byte))
        .count();
    let place = range.end + skip;
    if skip > 0 && text.get(place) == Some(&b'#') && class::at(text, place + 1, DIGIT) {
        range.end = class::run_end(text, place + 1, ALNUM);
    } else if skip > 0
        && let Some(end) = spanish_floor(text, place)
    {
        range.end = end;
    } else if skip > 0 {
        let word = word_end(text, place, text.len().min(place + 16));
        let value = class::run_end(text, (word + 1).min(text.len()), ALNUM);
        let is_part = PARTS.contains(&lower(&text[place..word]).as_ref());
        if is_part && text.get(word) == Some(&b' ') && value > word + 1 && value - word < 8 {
            range.end = value;
        }
    }
    range
}

/// Where `2º izq.` or `3ª B` ends.
fn spanish_floor(text: &[u8], start: usize) -> Option<usize> {
    let floor = class::run_end(text, start, DIGIT);
    let is_ordinal = matches!(floor - start, 1 | 2)
        && matches!(text.get(floor..floor + 2), Some([0xC2, 0xBA | 0xAA]));
    if !is_ordinal {
        return None;
    }
    if text.get(floor + 2) != Some(&b' ') {
        return Some(floor + 2);
    }
    let door = class::run_end(text, floor + 3, ALNUM);
    let is_door = (1..=5).contains(&(door - floor - 3));
    let end = if is_door { door } else { floor + 2 };
    Some(end + usize::from(is_door && text.get(end) == Some(&b'.')))
}

/// Where a part of a building begins that ends in a comma before the address: `Flat 1, `.
fn part_before(text: &[u8], start: usize) -> Option<usize> {
    let end = start
        .checked_sub(2)
        .filter(|_| text[..start].ends_with(b", "))?;
    let floor = start.saturating_sub(24);
    let number = word_start(text, end, floor);
    let part_end = number.checked_sub(1).filter(|end| text[*end] == b' ')?;
    let part = word_start(text, part_end, floor);
    let is_part = number < end && PARTS.contains(&lower(&text[part..part_end]).as_ref());
    is_part.then_some(part)
}
