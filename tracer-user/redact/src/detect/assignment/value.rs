//! Where a value begins and ends.

use std::ops::Range;

use memchr::memmem;

use super::super::{
    believe::{Link, Strength},
    class::{self, ALNUM, DIGIT, JOINER, SPACE},
    literal,
};

/// How much of a value is looked at, in bytes. What is longer is masked to its end all the same.
pub(crate) const MAX_VALUE: usize = 512;

/// The value at `start`, without its quotes, and whether it had some.
pub(super) fn value(
    text: &[u8],
    start: usize,
    link: Link,
    strength: Strength,
) -> Option<(Range<usize>, bool)> {
    let mut place = literal::inside(text, start);
    if let Some(range) = literal::perl(text, place) {
        return Some((range, true));
    }
    let escape = text[place..]
        .iter()
        .take(4)
        .take_while(|byte| **byte == b'\\')
        .count();
    let quote = *text.get(place + escape)?;
    let limit = text.len().min(place + MAX_VALUE);
    if matches!(quote, b'"' | b'\'' | b'`') {
        place += escape + 1;
        // Nothing is in it.
        let is_over = |byte: Option<&u8>| {
            byte.is_none_or(|byte| class::is(*byte, SPACE) || b",;)>/]}".contains(byte))
        };
        if escape == 0 && text.get(place) == Some(&quote) && is_over(text.get(place + 1)) {
            return None;
        }
        // `"""` opens a text of several lines.
        while place < limit && text[place] == quote && place < start + escape + 3 {
            place += 1;
        }
        let mut end = place;
        while end < limit && text[end] != quote && text[end] != b'\n' {
            // An escaped character is a part of the value, unless the quotes are escaped as well.
            end += if text[end] == b'\\' && escape == 0 && end + 1 < limit {
                2
            } else {
                1
            };
        }
        let mut end = end.min(limit);
        while escape > 0 && end > place && text[end - 1] == b'\\' {
            end -= 1;
        }
        return (end > place).then_some((place..end, true));
    }
    let is_parameter = link == Link::Tight && text[..start].ends_with(b"=");
    let is_end = |byte: u8| {
        class::is(byte, SPACE)
            || byte < 0x20
            || match link {
                Link::Tight | Link::Loose => b"\"'`,;".contains(&byte),
                Link::Verb | Link::Blank => b"\"`".contains(&byte),
            }
    };
    let run_length = |from: usize| {
        let run = text[from..limit].iter().enumerate();
        // What ends a parameter begins the next.
        let is_joint = |place: usize| is_parameter && class::at(text, from + place + 1, ALNUM);
        run.take_while(|(place, byte)| !(is_end(**byte) || **byte == b'&' && is_joint(*place)))
            .count()
    };
    let mut length = run_length(place);
    // A password may have the marks in it that separate others.
    let mut least = 3;
    while strength == Strength::Password && is_within(&text[place + length..limit], least) {
        length += 1 + run_length(place + length + 1);
        least = 1;
    }
    // A tag after the value, or what HTML escapes in it.
    let run = &text[place..place + length];
    let length = memmem::find(run, b"</")
        .or_else(|| memmem::find(run, b"<br"))
        .or_else(|| memmem::find(run, b"<|"))
        .or_else(|| memmem::find(run, b"<end_of_turn>"))
        .unwrap_or(length);
    let end = trim(text, place, place + length);
    (end > place).then_some((place..end, false))
}

/// Whether the mark that `rest` begins with stands within a password: what follows it up to the next blank
/// is no other name with its value and, for the first such mark, no word; and how long that is at least.
fn is_within(rest: &[u8], least: usize) -> bool {
    let Some((b',' | b';', rest)) = rest.split_first() else {
        return false;
    };
    let run = rest.iter().take(MAX_VALUE).take_while(|byte| {
        !class::is(**byte, SPACE) && **byte >= 0x20 && !b"\"'`<>()[]{}".contains(byte)
    });
    let run = &rest[..run.count()];
    let is_name = |byte: &u8| class::is(*byte, ALNUM | JOINER) || *byte == b'.';
    // `;User Id=…`: a name may have a blank in it.
    let name = rest
        .iter()
        .take(24)
        .take_while(|byte| is_name(byte) || **byte == b' ');
    let is_assigned = matches!(rest.get(name.count()), Some(b'=' | b':'));
    let is_odd = |byte: &u8| class::is(*byte, DIGIT) || byte.is_ascii_punctuation();
    let is_word = !run
        .iter()
        .any(|byte| is_odd(byte) && !b",;.".contains(byte));
    !is_assigned && run.len() >= least && (!is_word || least == 1)
}

/// Without the punctuation that ends a sentence or an expression.
pub(crate) fn trim(text: &[u8], start: usize, end: usize) -> usize {
    let mut end = end;
    while end > start && b".,;:)]}".contains(&text[end - 1]) {
        let opens = match text[end - 1] {
            b')' => b'(',
            b']' => b'[',
            b'}' => b'{',
            _ => 0,
        };
        if opens != 0 && text[start..end].contains(&opens) {
            break;
        }
        end -= 1;
    }
    end
}
