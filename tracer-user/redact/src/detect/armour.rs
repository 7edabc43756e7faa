//! Private keys in ASCII armour: from `-----BEGIN` to the matching end, or as far as it looks like
//! a key's body where the end is missing.

use std::ops::Range;

use memchr::memmem;

use super::class::{self, ALNUM, BASE64};

/// No armoured key is longer.
pub(crate) const MAX: usize = 16 << 10;

/// Where a private key that begins at `start` with `-----BEGIN` ends.
pub(crate) fn end(text: &[u8], start: usize) -> Option<usize> {
    let limit = text.len().min(start + MAX);
    let label_end = start + memmem::find(&text[start + 10..limit.min(start + 80)], b"-----")? + 15;
    let label = &text[start..label_end];
    memmem::find(label, b"PRIVATE")
        .or_else(|| memmem::find(label, b"SECRET"))
        .or_else(|| memmem::find(label, b"SEED"))?;
    if let Some(found) = memmem::find(&text[label_end..limit], b"-----END") {
        let tail = label_end + found + 8;
        let close = memmem::find(&text[tail..limit.min(tail + 80)], b"-----");
        return Some(close.map_or(tail, |close| tail + close + 5));
    }
    Some(body_end(text, label_end, limit))
}

/// A private key whose end, `-----END`, is at `mark` and whose beginning is missing: a part of a
/// file, or what a window began with.
pub(crate) fn headless(text: &[u8], mark: usize) -> Option<Range<usize>> {
    let label = &text[mark..text.len().min(mark + 80)];
    let close = 8 + memmem::find(&label[8..], b"-----")?;
    memmem::find(&label[..close], b"PRIVATE")
        .or_else(|| memmem::find(&label[..close], b"SECRET"))?;
    let floor = mark.saturating_sub(MAX);
    let mut start = mark;
    // Full lines of base64, each with the line's end behind it.
    while start > floor {
        let line_end = start - 1;
        let line = class::run_start(&text[floor..], line_end - floor, ALNUM | BASE64) + floor;
        let is_line = text[line_end] == b'\n' && line < line_end && line_end - line <= 76;
        if !is_line || (line > floor && text[line - 1] != b'\n') {
            break;
        }
        start = line;
    }
    Some(start..mark + close + 5)
}

/// How wide a line of an armoured key is (RFC 7468, section 2).
pub(crate) const WIDTH: usize = 64;

/// A full line of an armoured key that stands alone: so wide, letters of both cases and digits all
/// mixed, and no other word beside it in its place.
pub(crate) fn is_line(token: &[u8]) -> bool {
    let count = |classes: u8| {
        token
            .iter()
            .filter(|byte| class::is(**byte, classes))
            .count()
    };
    token.len() == WIDTH
        && count(ALNUM | BASE64) == WIDTH
        && !token[..WIDTH - 2].contains(&b'=')
        && count(class::UPPER) >= 8
        && count(class::LOWER) >= 8
        && count(class::DIGIT) >= 1
}

/// Whether the line at `place` stands in an armoured text that everybody may see: a certificate, a public key.
pub(crate) fn is_public(text: &[u8], place: usize) -> bool {
    let before = &text[place.saturating_sub(MAX)..place];
    let Some(begins) = memmem::rfind(before, b"-----BEGIN ") else {
        return false;
    };
    let rest = &before[begins + 11..];
    let label = &rest[..rest
        .iter()
        .position(|byte| *byte == b'-')
        .unwrap_or(rest.len())];
    let is_known = [&b"CERTIFICATE"[..], b"PUBLIC KEY"]
        .into_iter()
        .any(|end| label.ends_with(end));
    is_known && memmem::find(rest, b"-----END").is_none()
}

/// Lines of base64, with whatever wraps them: quotes, escapes, log prefixes are not skipped.
fn body_end(text: &[u8], start: usize, limit: usize) -> usize {
    let mut end = start;
    let mut place = start;
    while place < limit {
        match text[place] {
            byte if class::is(byte, ALNUM | BASE64) => {
                place += 1;
                end = place;
            }
            b'\\' | b'\n' | b'\r' | b' ' | b'\t' | b':' | b',' | b'-' => place += 1,
            _ => break,
        }
        // After two blank lines something else begins.
        if text[end..place]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            > 2
            || place - end > 8
        {
            break;
        }
    }
    end
}
