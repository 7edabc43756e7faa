//! Values torn apart: by a line's end, or by a blank after every character.

use memchr::memchr_iter;

use super::Changes;
use crate::detect::class::{self, ALNUM, BASE64, DIGIT, JOINER, SPACE};

/// The shortest row of single characters that is drawn together.
const MIN_SPACED: usize = 9;

/// Takes out line ends that tear something apart.
pub(super) fn wraps(text: &[u8], changes: &mut Changes) {
    for place in memchr_iter(b'\n', text) {
        let mut start = place;
        if start > 0 && text[start - 1] == b'\r' {
            start -= 1;
        }
        // A shell's or a C string's continued line.
        if start > 0 && text[start - 1] == b'\\' {
            start -= 1;
        }
        let mut end = place + 1;
        let blanks = text[end..]
            .iter()
            .take(16)
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'>' | b'|'))
            .count();
        // One blank may belong to the value.
        if blanks > 1 || (blanks == 1 && text[end] != b' ') {
            end += blanks;
        }
        if tears(text, start, end) {
            changes.push(start..end, b"");
        }
    }
}

/// Whether what stands on both sides can be one value.
fn tears(text: &[u8], left: usize, right: usize) -> bool {
    const WINDOW: usize = 24;
    let is_part = |byte: &u8| class::is(*byte, ALNUM | JOINER | BASE64) || b".@%:".contains(byte);
    let right = right + usize::from(text.get(right) == Some(&b' '));
    let before = text[..left]
        .iter()
        .rev()
        .take(WINDOW)
        .take_while(|byte| is_part(byte))
        .count();
    let after = text[right.min(text.len())..]
        .iter()
        .take(WINDOW)
        .take_while(|byte| is_part(byte))
        .count();
    if before == 0 || after == 0 {
        return false;
    }
    if begins_an_assignment(&text[right..]) {
        return false;
    }
    let (head, tail) = (&text[left - before..left], &text[right..right + after]);
    let has_digit = |part: &[u8]| part.iter().any(|byte| class::is(*byte, DIGIT));
    let has_at = |part: &[u8]| part.contains(&b'@');
    // Numbered lines and columns of figures are not torn values.
    let is_number =
        has_digit(head) && has_digit(tail) && before + after >= 8 && before >= 2 && after >= 2;
    let is_token = (before >= 12 && after >= 4) || (before >= 4 && after >= 12 && has_digit(head));
    is_number || is_token || (has_at(head) && after >= 2) || (has_at(tail) && before >= 2)
}

/// `NAME=…` or `name: …`: the next entry of a list, not the rest of a value.
fn begins_an_assignment(line: &[u8]) -> bool {
    const LONGEST: usize = 64;
    let line = &line[..line.len().min(LONGEST)];
    let is_name = |byte: &&u8| class::is(**byte, ALNUM | JOINER) || **byte == b'.';
    let name = line.iter().take_while(is_name).count();
    let after = &line[name..];
    name > 1
        && match after {
            // `=` at a line's end is padding.
            [b'=', next, ..] => !matches!(next, b'=' | b'\n' | b'\r'),
            [b':', next, ..] => class::is(*next, SPACE),
            [b' ', b'=', ..] => true,
            _ => false,
        }
}

/// Draws rows of single characters together: `4 1 1 1 …`.
pub(super) fn spaced(text: &[u8], changes: &mut Changes) {
    let mut place = 0;
    // Such a row has blanks at every other place, so that one look at every eighth finds it.
    while place + 4 < text.len() {
        let alternates =
            |from: usize| text[from] == b' ' && text[from + 2] == b' ' && text[from + 1] != b' ';
        if !(alternates(place) || alternates(place + 1)) {
            place += 8;
            continue;
        }
        let blank = if alternates(place) { place } else { place + 1 };
        let is_step = |at: usize| {
            text[at] == b' '
                && text
                    .get(at + 1)
                    .is_some_and(|byte| !class::is(*byte, SPACE))
        };
        let mut start = blank;
        while start >= 2 && is_step(start - 2) && !class::is(text[start - 1], SPACE) {
            start -= 2;
        }
        let mut end = blank;
        while end + 2 < text.len() && is_step(end) && text[end + 2] == b' ' {
            end += 2;
        }
        // `start` and `end` are the row's first and last blank; a character stands on each side.
        let is_single = start > 0
            && !class::is(text[start - 1], SPACE)
            && (start == 1
                || class::is(text[start - 2], SPACE)
                || !class::is(text[start - 2], ALNUM));
        let first = if is_single { start } else { start + 2 };
        let last_single = end + 2 >= text.len() || !class::is(text[end + 2], ALNUM);
        let last = if last_single {
            end
        } else {
            end.saturating_sub(2)
        };
        if last > first && (last - first) / 2 + 2 >= MIN_SPACED {
            let mut at = first;
            while at <= last {
                if text.get(at + 1).is_some() {
                    changes.push(at..at + 1, b"");
                }
                at += 2;
            }
        }
        place = place.max(end) + 8;
    }
}
