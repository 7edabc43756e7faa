//! Markup within a value: `rosa<wbr>@example.org`, `4111 <b>1111</b>1111`, `rosa@**example**.org`.

use memchr::memchr_iter;

use super::Changes;
use crate::detect::class::{self, ALNUM, DIGIT, JOINER, LETTER};

/// Tags that change how characters look, and none of which ends a word.
const TAGS: [&[u8]; 20] = [
    b"wbr", b"b", b"i", b"u", b"s", b"em", b"strong", b"span", b"font", b"mark", b"code", b"tt",
    b"small", b"sub", b"sup", b"a", b"kbd", b"samp", b"var", b"big",
];

/// Finds every tag with a character of a value on both sides.
pub(super) fn find(text: &[u8], changes: &mut Changes) {
    for place in memchr_iter(b'<', text) {
        if let Some(end) = end(text, place).filter(|end| tears(text, place, *end)) {
            changes.push(place..end, b"");
        }
    }
    for place in memchr_iter(b'*', text) {
        let end = place + 2;
        if is_bold(text, place) && tears(text, place, end) {
            changes.push(place..end, b"");
        }
    }
}

/// Whether `**` stands here and again on the line: what is masked with stars has one row of them.
fn is_bold(text: &[u8], place: usize) -> bool {
    const LONGEST: usize = 80;
    let is_pair =
        |place: usize| text[place..].starts_with(b"**") && text.get(place + 2) != Some(&b'*');
    if !is_pair(place) || text[..place].ends_with(b"*") {
        return false;
    }
    let line = |bytes: &mut dyn Iterator<Item = &u8>| {
        let line = bytes.take(LONGEST).take_while(|byte| **byte != b'\n');
        let mut last = 0;
        let mut found = false;
        for byte in line {
            found |= last == b'*' && *byte == b'*';
            last = *byte;
        }
        found
    };
    line(&mut text[place + 2..].iter()) || line(&mut text[..place].iter().rev())
}

/// Whether what stands on both sides can be one value.
fn tears(text: &[u8], start: usize, end: usize) -> bool {
    let is_value =
        |byte: &u8| class::is(*byte, ALNUM | JOINER) || matches!(byte, b'@' | b'.' | b'+' | b'>');
    let begun = text[..start].last();
    match text.get(end..) {
        Some([byte, ..]) if is_value(byte) || *byte == b'<' => begun.is_some_and(is_value),
        // `914<b> 82 190</b>`
        Some([b' ', byte, ..]) => class::is(*byte, DIGIT) && class::before(text, start, DIGIT),
        _ => false,
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
