//! Private keys in ASCII armour: from `-----BEGIN` to the matching end, or as far as it looks like
//! a key's body where the end is missing.

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
