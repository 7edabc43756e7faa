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
    // A run of the shortest length covers one of every eight places, and the six bytes behind it.
    while let Some(window) = text.get(place..).and_then(<[u8]>::first_chunk) {
        // Most of prose has a blank in it.
        if has_blank(*window) {
            place += 8;
            continue;
        }
        // All of them without a branch for each, which nothing would foresee.
        let is_long = window[..7]
            .iter()
            .fold(true, |all, byte| all & class::is(*byte, TOKEN));
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

/// Whether one of the first seven bytes is a blank, looked at together.
fn has_blank(window: [u8; 8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Zero where a blank is, and the eighth byte never.
    let bytes = u64::from_le_bytes(window) ^ (EACH * b' ' as u64) | 0xFF << 56;
    bytes.wrapping_sub(EACH) & !bytes & (EACH << 7) != 0
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
    if text[start..end].starts_with(b"0x") {
        let (length, decoded) = digits(text, start + 2, end)?;
        return Some((length + 2, decoded));
    }
    // PostgreSQL's `\\x6769…`.
    if text[start..end].starts_with(b"x") && text[..start].ends_with(b"\\") {
        let (length, decoded) = digits(text, start + 1, end)?;
        return Some((length + 1, decoded));
    }
    digits(text, start, end)
        .or_else(|| base64(text, start))
        .or_else(|| base32(text, start, end))
}

/// An even number of hexadecimal digits.
fn digits(text: &[u8], start: usize, end: usize) -> Option<(usize, Vec<u8>)> {
    let digits = text[start..end]
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let is_run = digits >= MIN
        && digits % 2 == 0
        && (start + digits == end || !class::at(text, start + digits, ALNUM));
    let decoded = is_run.then(|| hexadecimal(&text[start..start + digits]))??;
    Some((digits, decoded))
}

/// Base32 in capitals, padded or not.
fn base32(text: &[u8], start: usize, end: usize) -> Option<(usize, Vec<u8>)> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'2'..=b'7' => Some(u32::from(byte - b'2') + 26),
        _ => None,
    };
    let digits = text[start..end].iter().map_while(|byte| value(*byte));
    let length = digits.clone().count();
    let padding = text[start + length..].iter().take(6);
    let padding = padding.take_while(|byte| **byte == b'=').count();
    if length < MIN || class::at(text, start + length + padding, ALNUM) {
        return None;
    }
    let (mut bits, mut count) = (0_u32, 0);
    let bytes = digits.filter_map(|digit| {
        bits = bits << 5 | digit;
        count += 5;
        (count >= 8).then(|| {
            count -= 8;
            (bits >> count & 0xFF) as u8
        })
    });
    let decoded = collect(bytes, length)?;
    Some((length + padding, decoded))
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

/// Base64 of either alphabet, also over long lines: as far as its lines decode to text.
fn base64(text: &[u8], start: usize) -> Option<(usize, Vec<u8>)> {
    if !is_base64_of_text(text, start) {
        return None;
    }
    let mut decoded = Vec::new();
    let mut end = start;
    loop {
        let line = line(text, end, &mut decoded);
        let is_first = end == start;
        if !line.is_text {
            break;
        }
        end = line.end;
        let next = end
            + text[end..]
                .iter()
                .take(2)
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
        // Lines are wrapped at whole groups of four.
        let goes_on = next > end
            && line.length >= 48
            && line.length.is_multiple_of(4)
            && text.get(next).is_some_and(|byte| sextet(*byte).is_some());
        if !goes_on {
            break;
        }
        if is_first && decoded.len() < SAMPLE {
            return None;
        }
        end = next;
    }
    // A line's end before a line that is no text does not belong to the run.
    while end > start && matches!(text[end - 1], b'\r' | b'\n') {
        end -= 1;
    }
    // UTF-16 has a zero beside every ASCII byte.
    if decoded.iter().skip(1).step_by(2).all(|byte| *byte == 0) {
        decoded.retain(|byte| *byte != 0);
    }
    (decoded.len() >= SAMPLE).then_some((end - start, decoded))
}

/// Whether the first decoded bytes can be text: few words of a language pass.
pub(crate) fn is_base64_of_text(text: &[u8], start: usize) -> bool {
    let Some(run) = text.get(start..start + SAMPLE / 3 * 4) else {
        return false;
    };
    // A sextet has the upper six bits of every third byte. Text begins with a printable byte, a
    // tab, a line's end or the first byte of a longer character; it goes on with any but control
    // characters, or with the zero of UTF-16.
    let is_lead = |byte: u8| matches!(SEXTETS[usize::from(byte)], 2 | 3 | 8..32 | 48..62);
    let goes_on = |byte: u8| matches!(SEXTETS[usize::from(byte)], 0 | 2 | 3 | 8..64);
    if !is_lead(run[0]) || !goes_on(run[4]) || !goes_on(run[8]) {
        return false;
    }
    let mut sample = [0; SAMPLE];
    for (bytes, four) in sample.chunks_exact_mut(3).zip(run.chunks_exact(4)) {
        let mut bits = 0;
        for character in four {
            let sextet = SEXTETS[usize::from(*character)];
            if sextet == NO_SEXTET {
                return false;
            }
            bits = bits << 6 | u32::from(sextet);
        }
        bytes.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    is_text(&sample)
}

/// A decoded line of base64.
struct Line {
    end: usize,
    /// Characters without padding.
    length: usize,
    is_text: bool,
}

/// Decodes one line behind what is decoded already; what is no text is taken back.
fn line(text: &[u8], start: usize, decoded: &mut Vec<u8>) -> Line {
    let before = decoded.len();
    let (mut bits, mut count) = (0_u32, 0);
    let mut end = start;
    while let Some(value) = text.get(end).and_then(|byte| sextet(*byte)) {
        bits = bits << 6 | value;
        count += 6;
        end += 1;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count & 0xFF) as u8);
        }
    }
    let length = end - start;
    let padding = text[end..]
        .iter()
        .take(2)
        .take_while(|byte| **byte == b'=')
        .count();
    // A line may begin inside a character of several bytes.
    let part = &decoded[before..];
    let cut = part
        .iter()
        .take(3)
        .take_while(|byte| (0x80..0xC0).contains(*byte))
        .count();
    let is_text = length % 4 != 1 && is_text(&part[if before > 0 { cut } else { 0 }..]);
    if !is_text {
        decoded.truncate(before);
    }
    Line {
        end: end + padding,
        length,
        is_text,
    }
}

fn sextet(byte: u8) -> Option<u32> {
    let sextet = SEXTETS[usize::from(byte)];
    (sextet != NO_SEXTET).then_some(u32::from(sextet))
}

const NO_SEXTET: u8 = 0xFF;

/// What each character of base64 stands for, in either alphabet.
static SEXTETS: [u8; 256] = sextets();

const fn sextets() -> [u8; 256] {
    let mut sextets = [NO_SEXTET; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut value = 0;
    while value < alphabet.len() {
        #[expect(clippy::cast_possible_truncation, reason = "there are 62 of them")]
        let sextet = value as u8;
        sextets[alphabet[value] as usize] = sextet;
        value += 1;
    }
    sextets[b'+' as usize] = 62;
    sextets[b'-' as usize] = 62;
    sextets[b'/' as usize] = 63;
    sextets[b'_' as usize] = 63;
    sextets
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
    let is_wide = |plain: usize, zeroes: usize| {
        bytes
            .iter()
            .skip(plain)
            .step_by(2)
            .all(|byte| is_plain(*byte))
            && bytes.iter().skip(zeroes).step_by(2).all(|byte| *byte == 0)
    };
    let is_utf16 = bytes.len() > 3 && (is_wide(0, 1) || is_wide(1, 0));
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
