//! What stands around `://`: a user's name and password; the whole as a place.

use std::ops::Range;

use super::{
    class::{self, ALNUM, HIGH},
    looks,
};

/// Users that say nothing.
const STOCK_USERS: [&[u8]; 14] = [
    b"x-access-token",
    b"oauth2",
    b"x-token-auth",
    b"x-oauth-basic",
    b"git",
    b"token",
    b"user",
    b"username",
    b"root",
    b"admin",
    b"postgres",
    b"svc",
    b"default",
    b"gitlab-ci-token",
];
/// No URL is followed further.
const MAX: usize = 1024;

/// What of the URL whose `://` is at `mark` opens something: its password, and its user where
/// that is a token.
pub(crate) fn credentials(text: &[u8], mark: usize) -> Option<Range<usize>> {
    let start = mark + 3;
    let limit = text.len().min(start + MAX);
    let is_part = |byte: u8| byte > b' ' && !b"\"'`<>".contains(&byte);
    let length = text[start..limit]
        .iter()
        .take_while(|byte| is_part(**byte))
        .count();
    let rest = &text[start..start + length];
    let first = rest.iter().position(|byte| *byte == b'@')?;
    // Passwords may hold an `@` or a slash; a path may hold an `@` too.
    let host = rest[first + 1..]
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .map_or(rest.len(), |step| first + 1 + step);
    let at = rest[..host].iter().rposition(|byte| *byte == b'@')?;
    let information = &rest[..at];
    let Some(colon) = information.iter().position(|byte| *byte == b':') else {
        let is_token = information.len() >= 16 && looks::looks_random(information);
        return is_token.then(|| start..start + at);
    };
    let (user, secret) = (&information[..colon], &information[colon + 1..]);
    if secret.is_empty() || is_variable(secret) || stands_for_one(secret) || user.contains(&b'/') {
        return None;
    }
    // Who the user is goes with the password, unless everybody is called that.
    let is_stock = user.is_empty() || STOCK_USERS.contains(&user);
    let from = if is_stock { start + colon + 1 } else { start };
    Some(from..start + at)
}

/// `YOUR_PASSWORD`, `xxxxx`, `********`: what a manual writes there.
fn stands_for_one(secret: &[u8]) -> bool {
    let is_name = secret
        .iter()
        .all(|byte| class::is(*byte, class::UPPER) || *byte == b'_');
    let is_row = secret.len() >= 4
        && b"xX*.-_".contains(&secret[0])
        && secret.iter().all(|byte| *byte == secret[0]);
    let ends = [&b"_PASS"[..], b"_PASSWD", b"_PASSWORD"];
    is_row || (is_name && ends.into_iter().any(|end| secret.ends_with(end)))
}

fn is_variable(secret: &[u8]) -> bool {
    let is_wrapped =
        |open: &[u8], close: u8| secret.starts_with(open) && secret.last() == Some(&close);
    let is_formatted = matches!(secret, b"%s" | b"%v" | b"%q" | b"%@");
    is_formatted
        || is_wrapped(b"${", b'}')
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
    let is_scheme = |byte: &u8| class::is(*byte, ALNUM) || matches!(byte, b'+' | b'-' | b'.');
    let start = mark
        - text[..mark]
            .iter()
            .rev()
            .take(16)
            .take_while(|byte| is_scheme(byte))
            .count();
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
