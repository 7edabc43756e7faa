//! Values torn apart: by a line's end, by a blank or a mark after every character, by what joins two texts in
//! a program.

use memchr::memchr_iter;

use super::Changes;
use crate::detect::class::{self, ALNUM, BASE64, DIGIT, JOINER, LETTER, LOWER, SPACE};

/// The shortest row of single characters that is drawn together.
const MIN_SPACED: usize = 9;

/// Takes out line ends that tear something apart.
pub(super) fn wraps(text: &[u8], changes: &mut Changes) {
    for place in memchr_iter(b'\n', text) {
        let mut start = place;
        if start > 0 && text[start - 1] == b'\r' {
            start -= 1;
        }
        // A shell's or a C string's continued line, or that of a mail (RFC 2045, 6.7).
        if start > 0 && matches!(text[start - 1], b'\\' | b'=') {
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

/// Takes out what joins two texts of a program: `"rosa@" + "example.org"`, also with a line's end between.
pub(super) fn concatenated(text: &[u8], changes: &mut Changes) {
    const MOST: usize = 32;
    for place in memchr_iter(b'+', text) {
        let blanks = |bytes: &mut dyn Iterator<Item = &u8>| {
            bytes
                .take(MOST)
                .take_while(|byte| class::is(**byte, SPACE))
                .count()
        };
        let before = place - blanks(&mut text[..place].iter().rev());
        let after = place + 1 + blanks(&mut text[place + 1..].iter());
        let closes = text[..before].last();
        if matches!(closes, Some(b'"' | b'\'')) && closes == text.get(after) {
            changes.push(before - 1..after + 1, b"");
        }
    }
}

/// Whether what stands on both sides can be one value.
fn tears(text: &[u8], left: usize, right: usize) -> bool {
    const WINDOW: usize = 24;
    let is_part = |byte: &u8| class::is(*byte, ALNUM | JOINER | BASE64) || b".@%:".contains(byte);
    // One blank may belong to the value.
    let right = right + usize::from(text.get(right) == Some(&b' '));
    let left = left - usize::from(left > 0 && text[left - 1] == b' ');
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
    if begins_an_assignment(&text[right..]) || begins_an_entry(text, left, right) {
        return false;
    }
    let (head, tail) = (&text[left - before..left], &text[right..right + after]);
    let has_digit = |part: &[u8]| part.iter().any(|byte| class::is(*byte, DIGIT));
    let has_at = |part: &[u8]| part.contains(&b'@');
    // A card's number in groups, or a phone's behind a sign, torn inside a group or between two.
    let figures = |byte: &&u8| class::is(**byte, DIGIT) || matches!(**byte, b' ' | b'-');
    let count = |byte: &&u8| class::is(**byte, DIGIT);
    let is_grouped = || {
        let begun = text[..left].iter().rev().take(WINDOW).take_while(figures);
        let is_foreign = text[..left - begun.clone().count()].ends_with(b"+");
        let ended = text[right..].iter().take(WINDOW).take_while(figures);
        let digits = begun.filter(count).count() + ended.filter(count).count();
        (if is_foreign { 9 } else { 12 }..=24).contains(&digits)
    };
    let is_grouped =
        class::before(text, left, DIGIT) && class::at(text, right, DIGIT | JOINER) && is_grouped();
    // Numbered lines and columns of figures are not torn values.
    let is_number =
        has_digit(head) && has_digit(tail) && before + after >= 8 && before >= 2 && after >= 2;
    let is_token =
        (before >= 12 && after >= 4 && !begins_with_a_word(tail, text.get(right + after)))
            || (before >= 4 && after >= 12 && (has_digit(head) || has_digit(tail)));
    is_number && !ends_a_date(head)
        || is_grouped
        || is_token
        || (has_at(head) && after >= 2 && !ends_a_domain(head))
        || (has_at(tail) && before >= 2)
}

/// `5. `, `41) `, ` 58 |`, `503  `: an entry of a list, a row of a table or a line with its number begins there.
fn begins_an_entry(text: &[u8], left: usize, right: usize) -> bool {
    let number = class::run_end(text, right, DIGIT);
    if number == right {
        return false;
    }
    let line = text[..left].iter().rev().take_while(|byte| **byte != b'\n');
    let is_row = line.take(256).any(|byte| *byte == b'|');
    match text[number..] {
        [b'.' | b')', b' ', ..] => number - right <= 2,
        [b' ', b'|', ..] => is_row,
        // A card's last group is no line's number.
        [b' ', b' ', ..] | [b'\t', ..] => number - right < 4 || !class::before(text, left, DIGIT),
        // A time stamp.
        [b'-', m, n, b'-', ..] => number - right == 4 && class::is(m, DIGIT) && class::is(n, DIGIT),
        _ => false,
    }
}

/// Whether the next line begins with a word and not with the rest of a token, whose letters are mixed.
fn begins_with_a_word(tail: &[u8], next: Option<&u8>) -> bool {
    let marks = tail.iter().rev().take_while(|byte| b".:%".contains(byte));
    let length = tail.len() - marks.count();
    let tail = &tail[..length];
    let is_small = |byte: &u8| class::is(*byte, LOWER | JOINER);
    let is_followed = || matches!(next, Some(b' ' | b',' | b'=' | b'|'));
    length >= 3
        && class::is(tail[0], LETTER)
        && tail[1..].iter().all(is_small)
        && (length >= 5 || is_followed())
}

/// Whether a date with its year ends there, so that nothing of it is torn off.
fn ends_a_date(head: &[u8]) -> bool {
    let Some(from) = head.len().checked_sub(8) else {
        return false;
    };
    let date = &head[from..];
    let is_sign = |byte: u8| matches!(byte, b'/' | b'-' | b'.');
    class::is(date[7], DIGIT)
        && date[4..].iter().all(|byte| class::is(*byte, DIGIT))
        && is_sign(date[3])
        && class::is(date[2], DIGIT)
        && (is_sign(date[1]) || (is_sign(date[0]) && class::is(date[1], DIGIT)))
}

/// Whether a mail's address ends there with one of the usual domains, which nothing goes on from.
fn ends_a_domain(head: &[u8]) -> bool {
    const DOMAINS: [&[u8]; 20] = [
        b"com", b"org", b"net", b"edu", b"gov", b"io", b"de", b"fr", b"uk", b"it", b"es", b"pl",
        b"nl", b"se", b"jp", b"cn", b"kr", b"ru", b"br", b"eu",
    ];
    let head = head.strip_suffix(b".").unwrap_or(head);
    let Some(at) = head.iter().rposition(|byte| *byte == b'@') else {
        return false;
    };
    let mut labels = head[at + 1..].rsplit(|byte| *byte == b'.');
    let last = labels.next().unwrap_or_default();
    labels.next().is_some() && DOMAINS.contains(&last)
}

/// `NAME=…` or `name: …`: the next entry of a list, not the rest of a value.
fn begins_an_assignment(line: &[u8]) -> bool {
    const LONGEST: usize = 64;
    // Longer is the rest of a token, and what follows it its padding or its check.
    const NAME: usize = 40;
    let line = &line[..line.len().min(LONGEST)];
    let is_name = |byte: &&u8| class::is(**byte, ALNUM | JOINER) || **byte == b'.';
    let name = line.iter().take_while(is_name).count();
    let after = &line[name..];
    // `secret key: …`, `export NAME=…`: two words before the sign.
    let second = match after {
        [b' ', rest @ ..] => rest.iter().take_while(is_name).count(),
        _ => 0,
    };
    let after = match second {
        0 => after,
        second => {
            let further = &after[second + 1..];
            if !matches!(further, [b'=', ..] | [b':', ..]) {
                return false;
            }
            further
        }
    };
    name > 1
        && name <= NAME
        && match after {
            // `=` at a line's end is padding.
            [b'=', next, ..] => !matches!(next, b'=' | b'\n' | b'\r'),
            [b':', next, ..] => second > 0 || class::is(*next, SPACE),
            [b' ', b'=' | b':', ..] => true,
            _ => false,
        }
}

/// Draws rows of single characters together: `4 1 1 1 …`. Two or three blanks in such a row stand
/// for one.
pub(super) fn spaced(text: &[u8], changes: &mut Changes) {
    let mut place = 0;
    // Such a row has blanks at every other place, so that one look at every eighth finds it.
    while place + 4 < text.len() {
        let window = &text[place..place + 4];
        // A row with pairs of blanks has one in any four bytes.
        if has_pair_of_blanks([window[0], window[1], window[2], window[3]])
            && let Some(single) = between_pairs(text, place)
        {
            let end = row(text, row_start(text, single), changes);
            place = place.max(end) + 8;
            continue;
        }
        if window[0] != window[2] && window[1] != window[3] {
            place += 8;
            continue;
        }
        let alternates = |from: usize| {
            window[from] == window[from + 2]
                && matches!(window[from], b' ' | b'.' | b'-' | b'_')
                && !class::is(window[from + 1], SPACE)
        };
        let mark = match (alternates(0), alternates(1)) {
            (true, _) => place,
            (false, true) => place + 1,
            (false, false) => {
                place += 8;
                continue;
            }
        };
        let end = match text[mark] {
            b' ' => row(text, row_start(text, mark + 1), changes),
            _ => marked_row(text, mark, changes),
        };
        place = place.max(end) + 8;
    }
}

/// Whether two blanks stand side by side, looked at together; seldom also where none do.
fn has_pair_of_blanks(window: [u8; 4]) -> bool {
    const EACH: u32 = 0x0101_0101;
    // The upper bit of each byte that is a blank.
    let bytes = u32::from_le_bytes(window) ^ (EACH * b' ' as u32);
    let blanks = bytes.wrapping_sub(EACH) & !bytes & (EACH << 7);
    blanks & blanks >> 8 != 0
}

/// The single character between two pairs of blanks, if one begins here or at one of the next two places.
fn between_pairs(text: &[u8], place: usize) -> Option<usize> {
    let first = text[place..place + 3]
        .iter()
        .position(|byte| *byte == b' ')?;
    let place = place + first;
    let [b' ', b' ', single, b' ', b' '] = text.get(place..place + 5)? else {
        return None;
    };
    (!class::is(*single, SPACE)).then_some(place + 2)
}

/// Takes the marks out of a row such as `4-1-1-1-…` around the mark at `mark`, and gives its end.
fn marked_row(text: &[u8], mark: usize, changes: &mut Changes) -> usize {
    /// Fewer are an abbreviation or a version.
    const LEAST: usize = MIN_SPACED;
    let between = text[mark];
    let is_mark = |place: usize| text.get(place) == Some(&between);
    let is_single = |place: usize| {
        text.get(place)
            .is_some_and(|byte| matches!(byte, b' '..=b'~'))
    };
    let mut first = mark;
    while first > 2 && is_mark(first - 2) && is_single(first - 1) {
        first -= 2;
    }
    // The first character stands before the first mark, and is no word's last one.
    let mut first = first.saturating_sub(1);
    if !is_single(first) || class::before(text, first, ALNUM) {
        first += 2;
    }
    let mut last = first;
    while is_mark(last + 1) && is_single(last + 2) {
        last += 2;
    }
    if class::at(text, last + 1, ALNUM) {
        last -= 2.min(last - first);
    }
    let singles = || (first..=last).step_by(2);
    let letters = singles().filter(|place| class::at(text, *place, ALNUM));
    if singles().count() >= LEAST && letters.count() * 4 >= LEAST * 3 {
        for place in singles().skip(1) {
            changes.push(place - 1..place, b"");
        }
    }
    last
}

/// The first single character of the row that the one at `place` belongs to.
fn row_start(text: &[u8], place: usize) -> usize {
    let mut first = place;
    loop {
        let blanks = text[..first]
            .iter()
            .rev()
            .take(4)
            .take_while(|byte| **byte == b' ')
            .count();
        if !(1..=3).contains(&blanks) || first <= blanks {
            return first;
        }
        let previous = first - blanks - 1;
        // A sign that stands close to what is before it is no part of the row.
        let is_sign = b":=".contains(&text[previous])
            && previous > 0
            && !class::before(text, previous, SPACE);
        let is_single = !class::is(text[previous], SPACE)
            && !class::before(text, previous, ALNUM | JOINER)
            && !is_sign;
        if !is_single {
            return first;
        }
        first = previous;
    }
}

/// Takes the blanks out of the row that begins at `first`, if it is long enough, and gives its end.
fn row(text: &[u8], first: usize, changes: &mut Changes) -> usize {
    let single = |at: usize| {
        text.get(at).is_some_and(|byte| !class::is(*byte, SPACE))
            && !class::at(text, at + 1, ALNUM | JOINER)
    };
    // Each character's place, and how many blanks follow it.
    let gap = |at: usize| {
        text[at + 1..]
            .iter()
            .take(4)
            .take_while(|byte| **byte == b' ')
            .count()
    };
    let mut length = 1;
    let mut last = first;
    while let blanks @ 1..=3 = gap(last) {
        if !single(last + 1 + blanks) {
            break;
        }
        last += 1 + blanks;
        length += 1;
    }
    if length >= MIN_SPACED {
        // As many stand between all of them, and more for a blank.
        let mut usual = 3;
        let mut at = first;
        while at < last {
            usual = usual.min(gap(at));
            at += 1 + gap(at);
        }
        let mut at = first;
        while at < last {
            let blanks = gap(at);
            let kept = if blanks > usual { b" ".as_slice() } else { b"" };
            changes.push(at + 1..at + 1 + blanks, kept);
            at += 1 + blanks;
        }
    }
    last
}
