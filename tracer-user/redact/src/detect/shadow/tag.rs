//! Markup within a value: `rosa<wbr>@example.org`, `4111 <b>1111</b>1111`.

use memchr::memchr_iter;

use super::Changes;
use crate::detect::class::{self, ALNUM, JOINER, LETTER};

/// Tags that change how characters look, and none of which ends a word.
const TAGS: [&[u8]; 20] = [
    b"wbr", b"b", b"i", b"u", b"s", b"em", b"strong", b"span", b"font", b"mark", b"code", b"tt",
    b"small", b"sub", b"sup", b"a", b"kbd", b"samp", b"var", b"big",
];

/// Finds every tag with a character of a value on both sides.
pub(super) fn find(text: &[u8], changes: &mut Changes) {
    for place in memchr_iter(b'<', text) {
        let is_value = |byte: &u8| {
            class::is(*byte, ALNUM | JOINER) || matches!(byte, b'@' | b'.' | b'+' | b'>')
        };
        if !text[..place].last().is_some_and(is_value) {
            continue;
        }
        let Some(end) = end(text, place) else {
            continue;
        };
        let goes_on = |byte: &u8| is_value(byte) || *byte == b'<';
        if text.get(end).is_some_and(goes_on) {
            changes.push(place..end, b"");
        }
    }
}

/// Where the tag that begins at `start` ends.
fn end(text: &[u8], start: usize) -> Option<usize> {
    const LONGEST: usize = 80;
    let rest = &text[start + 1..text.len().min(start + LONGEST)];
    let name = rest.strip_prefix(b"/").unwrap_or(rest);
    let length = name
        .iter()
        .take_while(|byte| class::is(**byte, LETTER))
        .count();
    let is_known = TAGS
        .iter()
        .any(|tag| name[..length].eq_ignore_ascii_case(tag));
    let is_ended = matches!(name.get(length), Some(b'>' | b' ' | b'/'));
    let close = rest
        .iter()
        .position(|byte| matches!(byte, b'>' | b'<' | b'\n'))?;
    (is_known && is_ended && rest[close] == b'>').then_some(start + 1 + close + 1)
}
