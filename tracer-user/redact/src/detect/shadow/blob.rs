//! Base64 and hexadecimal runs that decode to text.

use super::Changes;
use crate::detect::class::{self, ALNUM, BASE64, JOINER};

/// The shortest run that is tried, in characters.
const MIN: usize = 14;
/// How many decoded bytes must look like text before the rest is decoded.
const SAMPLE: usize = 9;
const TOKEN: u8 = ALNUM | JOINER | BASE64;

/// Finds every run that decodes to text.
pub(super) fn find(text: &[u8], changes: &mut Changes) {
    let mut place = 0;
    // A run of the shortest length covers one of every eight places, and seven bytes around it.
    while place + 7 < text.len() {
        let is_long = [0, 2, 4, 6]
            .into_iter()
            .all(|step| class::is(text[place + step], TOKEN));
        if !is_long {
            place += 8;
            continue;
        }
        let start = place
            - text[..place]
                .iter()
                .rev()
                .take_while(|byte| class::is(**byte, TOKEN))
                .take(8)
                .count();
        let end = class::run_end(text, place, TOKEN);
        if end - start >= MIN {
            run(text, start, end, changes);
        }
        place = place.max(end) / 8 * 8 + 8;
    }
}

/// One run: all of it, or what follows its last slash, dash or equals sign.
fn run(text: &[u8], start: usize, end: usize, changes: &mut Changes) {
    let mut start = start;
    loop {
        if let Some((length, decoded)) = decode(text, start, end) {
            changes.push(start..start + length, &decoded);
            return;
        }
        let inner = text[start..end]
            .iter()
            .position(|byte| matches!(byte, b'/' | b'-' | b'_' | b'=' | b'+'));
        match inner {
            // A handful of paths is tried; a megabyte of slashes is not.
            Some(step) if end - (start + step + 1) >= MIN && start + step < end.min(start + 64) => {
                start += step + 1;
            }
            _ => return,
        }
    }
}

fn decode(text: &[u8], start: usize, end: usize) -> Option<(usize, Vec<u8>)> {
    let digits = text[start..end]
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if digits >= MIN
        && digits % 2 == 0
        && (start + digits == end || !class::at(text, start + digits, ALNUM))
    {
        let decoded = hexadecimal(&text[start..start + digits]);
        if decoded.is_some() {
            return decoded.map(|decoded| (digits, decoded));
        }
    }
    base64(text, start)
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    };
    let bytes = digits
        .chunks_exact(2)
        .map(|pair| value(pair[0]) << 4 | value(pair[1]));
    collect(bytes, digits.len() / 2)
}

/// Base64 of either alphabet, also over lines of equal length.
fn base64(text: &[u8], start: usize) -> Option<(usize, Vec<u8>)> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut decoded = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    let mut place = start;
    let mut line = start;
    let mut length = 0;
    loop {
        match text.get(place).copied() {
            Some(byte) if value(byte).is_some() => {
                bits = bits << 6 | u32::from(value(byte).unwrap_or(0));
                count += 6;
                place += 1;
                length += 1;
                if count >= 8 {
                    count -= 8;
                    decoded.push((bits >> count & 0xFF) as u8);
                    if decoded.len() == SAMPLE && !is_text(&decoded) {
                        return None;
                    }
                }
            }
            // A long line's end, after which the run goes on.
            Some(b'\r' | b'\n') if place - line >= 48 && length % 4 == 0 => {
                let next = place
                    + if text[place..].starts_with(b"\r\n") {
                        2
                    } else {
                        1
                    };
                if text.get(next).is_none_or(|byte| value(*byte).is_none()) {
                    break;
                }
                place = next;
                line = next;
            }
            _ => break,
        }
    }
    while text.get(place) == Some(&b'=') && place - start < length + 64 {
        place += 1;
    }
    let is_aligned = length % 4 != 1;
    // UTF-16 has a zero beside every ASCII byte.
    if decoded.iter().skip(1).step_by(2).all(|byte| *byte == 0) {
        decoded.retain(|byte| *byte != 0);
    }
    (is_aligned && decoded.len() >= SAMPLE && is_text(&decoded)).then_some((place - start, decoded))
}

fn collect(bytes: impl Iterator<Item = u8>, length: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    for byte in bytes {
        decoded.push(byte);
        if decoded.len() == 7 {
            if !is_text(&decoded) {
                return None;
            }
            decoded.reserve(length);
        }
    }
    is_text(&decoded).then_some(decoded)
}

/// Printable ASCII, line ends, or bytes of longer characters that follow each other as such.
fn is_text(bytes: &[u8]) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    if bytes.iter().all(|byte| is_plain(*byte)) {
        return true;
    }
    let is_utf16 = bytes.len() > 3
        && bytes.iter().step_by(2).all(|byte| is_plain(*byte))
        && bytes.iter().skip(1).step_by(2).all(|byte| *byte == 0);
    let plain = bytes.iter().filter(|byte| is_plain(**byte)).count();
    let is_unicode = plain * 2 >= bytes.len()
        && bytes.iter().all(|byte| is_plain(*byte) || *byte >= 0x80)
        && match std::str::from_utf8(bytes) {
            Ok(_) => true,
            // The sample may end inside a character.
            Err(error) => error.error_len().is_none(),
        };
    is_utf16 || is_unicode
}
