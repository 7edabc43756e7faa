//! Link-layer addresses and IP version 6: hexadecimal groups with colons (or dashes, or dots).

use std::ops::Range;

use super::class::{self, ALNUM, DIGIT};

/// An address around the first colon of a run, and which of the two it is.
pub(crate) enum Colon {
    Mac(usize, usize),
    V6(usize, usize),
}

/// Reads around the colon at `place`; the second value is where the walk goes on.
pub(crate) fn read(text: &[u8], place: usize) -> (Option<Colon>, usize) {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
    let floor = place.saturating_sub(5);
    let mut start = place;
    while start > floor && text[start - 1].is_ascii_hexdigit() {
        start -= 1;
    }
    let limit = text.len().min(place + 48);
    let mut end = place;
    while end < limit && is_part(text[end]) {
        end += 1;
    }
    let run = end;
    // No group of an address is longer than four digits: a key or a digest, which the walk reads from its own.
    let resume = || {
        let groups = &text[place + 1..run.max(place + 1)];
        // `cell:720-727-4583`: a number that begins here.
        if !groups.contains(&b':') {
            return place + 1;
        }
        let mut start = place + 1;
        for group in groups.split(|byte| *byte == b':') {
            if group.len() > 4 {
                return start;
            }
            start += group.len() + 1;
        }
        run.max(place + 1)
    };
    if class::before(text, start, ALNUM) || (start > 0 && matches!(text[start - 1], b'_' | b'.')) {
        return (None, resume());
    }
    // `fe80::1:` at a sentence's colon.
    if end > start + 1 && text[end - 1] == b':' && text[end - 2] != b':' {
        end -= 1;
    }
    // An IP version 4 address as the last group.
    let mut tail = end;
    if text.get(end) == Some(&b'.') {
        while tail < limit && (text[tail].is_ascii_digit() || text[tail] == b'.') {
            tail += 1;
        }
        while text[tail - 1] == b'.' {
            tail -= 1;
        }
    }
    let has_v4 = text[end..tail].iter().filter(|byte| **byte == b'.').count() == 3;
    let whole = &text[start..end];
    // `:: a remark` in a batch file.
    let is_remark = whole == b"::"
        && matches!(text.get(end), Some(b' '))
        && (start == 0 || text[start - 1] == b'\n');
    if class::at(text, end, ALNUM) || is_nobody(whole) || is_remark {
        return (None, resume());
    }
    if is_mac(whole) {
        return (Some(Colon::Mac(start, end)), end.max(run));
    }
    if is_v6(whole, has_v4) {
        let mut end = if has_v4 { tail } else { end };
        // A zone: `fe80::1%eth0`.
        if text.get(end) == Some(&b'%') && class::at(text, end + 1, ALNUM) {
            end = class::run_end(text, end + 1, ALNUM);
        }
        // A network: `2001:db8::/32`.
        if text.get(end) == Some(&b'/') && class::at(text, end + 1, DIGIT) {
            let mask = class::run_end(text, end + 1, DIGIT);
            if mask <= end + 4 && !class::at(text, mask, ALNUM) {
                end = mask;
            }
        }
        return (Some(Colon::V6(start, end)), end.max(run));
    }
    (None, resume())
}

/// No address at all, or that of everybody: zeroes, `ff:ff:ff:ff:ff:ff`.
fn is_nobody(text: &[u8]) -> bool {
    text.iter().filter(|byte| **byte == b'0').count() > 1
        && text.iter().all(|byte| matches!(byte, b'0' | b':'))
        || text.iter().all(|byte| matches!(byte, b'f' | b'F' | b':'))
}

fn is_mac(text: &[u8]) -> bool {
    let mut groups = 0;
    text.split(|byte| *byte == b':')
        .inspect(|_| groups += 1)
        .all(|group| group.len() == 2)
        && matches!(groups, 6 | 8 | 20)
}

fn is_v6(text: &[u8], has_v4: bool) -> bool {
    let is_short = text.windows(2).any(|pair| pair == b"::");
    let shorts = text.windows(2).filter(|pair| *pair == b"::").count();
    if shorts > 1 || text.windows(3).any(|three| three == b":::") {
        return false;
    }
    let groups = text
        .split(|byte| *byte == b':')
        .filter(|group| !group.is_empty());
    let count = groups.clone().count() + usize::from(has_v4);
    if groups.clone().any(|group| group.len() > 4) {
        return false;
    }
    // `12:30::` and `std::f` have colons too.
    let is_hexadecimal = groups.clone().any(|group| group.len() > 2);
    match (is_short, count) {
        (false, 8) => true,
        (true, 0..=1) => text.len() <= 6,
        (true, 2..=7) => is_hexadecimal || count > 3 || text.starts_with(b"::"),
        _ => false,
    }
}

/// `AA-BB-CC-DD-EE-FF` or `aabb.ccdd.eeff`, beginning at `start`.
pub(crate) fn dashed_mac(text: &[u8], start: usize) -> Option<usize> {
    let is_shape = |length: usize, group: usize, separator: u8| {
        let candidate = text.get(start..start + length)?;
        let fits = candidate.iter().enumerate().all(|(place, byte)| {
            if place % (group + 1) == group {
                *byte == separator
            } else {
                byte.is_ascii_hexdigit()
            }
        });
        let goes_on = text.get(start + length) == Some(&separator)
            && class::at(text, start + length + 1, ALNUM);
        let is_free = !class::at(text, start + length, ALNUM)
            && !matches!(text.get(start + length), Some(b'-'))
            && !goes_on;
        (fits && is_free).then_some(start + length)
    };
    is_shape(17, 2, b'-').or_else(|| is_shape(14, 4, b'.'))
}

/// The first dashed or dotted address behind a word for one: it may have no digit, at which the
/// walk over a text would find it.
pub(crate) fn lettered_mac(text: &[u8], from: usize) -> Option<Range<usize>> {
    let starts = (from..text.len())
        .filter(|place| text[*place].is_ascii_hexdigit() && !class::before(text, *place, ALNUM));
    starts
        .take(24)
        .find_map(|start| dashed_mac(text, start).map(|end| start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        let place = text.find(':').expect("the case has a colon");
        match read(text.as_bytes(), place).0 {
            Some(Colon::Mac(start, end) | Colon::V6(start, end)) => Some(&text[start..end]),
            None => None,
        }
    }

    #[test]
    fn addresses_of_either_kind_are_found() {
        assert_eq!(found("(1c:93:56:24:48:f8)"), Some("1c:93:56:24:48:f8"));
        assert_eq!(
            found("at 2001:db8:85a3::8a2e:370."),
            Some("2001:db8:85a3::8a2e:370")
        );
        assert_eq!(found("ping ::1"), Some("::1"));
        assert_eq!(found("::ffff:192.0.2.1 x"), Some("::ffff:192.0.2.1"));
    }

    #[test]
    fn times_and_paths_of_code_are_none() {
        assert_eq!(found("at 10:11:12"), None);
        assert_eq!(found("std::fs"), None);
        assert_eq!(found("llama::decode"), None);
        assert_eq!(found("key: value"), None);
    }
}
