//! What stands around `://`: a user's name and password; the whole as a place.

use std::ops::Range;

use super::class::{self, ALNUM, HIGH};

/// No URL is followed further.
const MAX: usize = 2048;

/// User information with its password, if the URL whose `://` is at `mark` has some.
pub(crate) fn credentials(text: &[u8], mark: usize) -> Option<Range<usize>> {
    let start = mark + 3;
    let limit = text.len().min(start + MAX);
    let is_part = |byte: u8| byte > b' ' && !b"\"'`<>".contains(&byte);
    let length = text[start..limit]
        .iter()
        .take_while(|byte| is_part(**byte))
        .count();
    let rest = &text[start..start + length];
    // The authority ends at the first slash after the `@`; passwords may hold slashes.
    let at = rest.iter().position(|byte| *byte == b'@')?;
    let at = rest[..at
        + 1
        + rest[at + 1..]
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len() - at - 1)]
        .iter()
        .rposition(|byte| *byte == b'@')
        .unwrap_or(at);
    let user = &rest[..at];
    let colon = user.iter().position(|byte| *byte == b':')?;
    let secret = &user[colon + 1..];
    if secret.is_empty() || user.contains(&b' ') || is_variable(secret) {
        return None;
    }
    if secret.contains(&b'/') && secret.starts_with(b"//") {
        return None;
    }
    Some(start..start + at)
}

fn is_variable(secret: &[u8]) -> bool {
    let is_wrapped =
        |open: &[u8], close: u8| secret.starts_with(open) && secret.last() == Some(&close);
    is_wrapped(b"${", b'}')
        || is_wrapped(b"{", b'}')
        || is_wrapped(b"<", b'>')
        || is_wrapped(b"$(", b')')
        || (secret[0] == b'$'
            && secret.len() > 1
            && secret[1..]
                .iter()
                .all(|byte| class::is(*byte, class::UPPER) || *byte == b'_'))
}

/// The whole URL whose `://` is at `mark`.
pub(crate) fn whole(text: &[u8], mark: usize) -> Option<Range<usize>> {
    let start = class::run_start(text, mark, class::LETTER).max(mark.saturating_sub(16));
    let limit = text.len().min(mark + MAX);
    let is_part =
        |byte: u8| class::is(byte, ALNUM | HIGH) || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let mut end = mark + 3;
    while end < limit && is_part(text[end]) {
        end += 1;
    }
    while end > mark + 3 && b".,;:!?')]".contains(&text[end - 1]) {
        end -= 1;
    }
    (start < mark && end > mark + 3).then_some(start..end)
}
