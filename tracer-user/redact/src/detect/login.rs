//! Values that follow a word by custom: `Bearer ...`, `creds: admin / ...`, `-u user:...`.

use std::ops::Range;

use memchr::memmem;

use super::{
    assignment::{MAX_VALUE, trim},
    class::{self, ALNUM, DIGIT, JOINER, LETTER, SPACE},
    looks::{has_kinds, is_mixed, is_placeholder, looks_random},
};

/// The value of a header or option that ends at `end`, as in `Bearer ...`.
pub(crate) fn scheme(text: &[u8], end: usize) -> Option<Range<usize>> {
    let mut start = class::run_end(text, end, SPACE);
    if start == end || start > end + 3 {
        return None;
    }
    // `Authorization: SSWS ...`: whatever the scheme is called.
    let word = class::run_end(text, start, LETTER);
    if text[..end].ends_with(b":") && word - start <= 12 && text.get(word) == Some(&b' ') {
        start = word + 1;
    }
    while start < text.len() && b"\"'\\<{".contains(&text[start]) && start < end + 6 {
        start += 1;
    }
    let is_value = |byte: u8| class::is(byte, ALNUM | JOINER) || b"+/=.~%:".contains(&byte);
    let length = text[start..]
        .iter()
        .take(MAX_VALUE)
        .take_while(|byte| is_value(**byte))
        .count();
    let range = start..trim(text, start, start + length);
    let value = &text[range.clone()];
    // A digest or a pointer says what it is.
    let says_what = value.starts_with(b"0x") || value.contains(&b':');
    (!says_what
        && value.len() >= 12
        && (looks_random(value) || value.len() >= 24)
        && !is_placeholder(value))
    .then_some(range)
}

/// User and password of `creds: admin / ...`, `login with admin:...` or `login for it is admin / ...`, seen
/// from the end of the first word.
pub(crate) fn pair(text: &[u8], end: usize) -> Option<[Range<usize>; 2]> {
    const FAR: usize = 48;
    pair_at(text, end).or_else(|| {
        let near = &text[end..text.len().min(end + FAR)];
        let is_said = |byte: &u8| class::is(*byte, LETTER) || b" '-".contains(byte);
        let said = near.iter().take_while(|byte| is_said(byte)).count();
        let is = memmem::rfind(&near[..said], b" is ")?;
        pair_at(text, end + is)
    })
}

/// The same, seen from what joins them to the word.
fn pair_at(text: &[u8], end: usize) -> Option<[Range<usize>; 2]> {
    let line = &text[end..text.len().min(end + 96)];
    let line = line
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(line, |place| &line[..place]);
    let mut place = 0;
    let blanks = |place: usize| {
        line[place..]
            .iter()
            .take_while(|byte| **byte == b' ')
            .count()
    };
    for joint in [&b" with"[..], b" as", b" is", b" are", b" :", b":"] {
        if line[place..].starts_with(joint) {
            place += joint.len();
        }
    }
    place += blanks(place);
    let is_user = |byte: &u8| class::is(*byte, ALNUM | JOINER) || b".@".contains(byte);
    let user = line[place..]
        .iter()
        .take_while(|byte| is_user(byte))
        .count();
    if place == 0
        || user < 2
        || !line[place..place + user]
            .iter()
            .any(|b| class::is(*b, LETTER))
    {
        return None;
    }
    let name = end + place..end + place + user;
    place += user;
    // `a / b`, `a:b`, `a | b`: one without blanks would be a path or a choice.
    let (before, sign) = (blanks(place), line.get(place + blanks(place))?);
    let after = blanks(place + before + 1);
    let joins = match sign {
        b':' => before == 0,
        b',' => before == 0 && after > 0,
        b'/' | b'|' => before > 0 && after > 0,
        _ => false,
    };
    place += before + 1 + after;
    let length = line[place..]
        .iter()
        .take_while(|byte| !class::is(**byte, SPACE) && !b"\"'`".contains(byte))
        .count();
    let value = trim(line, place, place + length);
    let value = place..value;
    let is_password = value.len() >= 6
        && is_mixed(&line[value.clone()])
        && has_kinds(&line[value.clone()], 3)
        && !line[value.clone()].contains(&b'/');
    (joins && is_password).then(|| [name, end + value.start..end + value.end])
}

/// The password behind a mail's address that ends at `end`: `jo@example.org / S3cret-47`, `jo@example.org:S3cret-47`.
pub(crate) fn behind_mail(text: &[u8], end: usize) -> Option<Range<usize>> {
    const LEAST: usize = 8;
    let joint = [&b" / "[..], b":"]
        .into_iter()
        .find(|joint| text[end..].starts_with(joint))?;
    let start = end + joint.len();
    let is_part = |byte: &&u8| !class::is(**byte, SPACE) && !b"\"'`,;/@<>()".contains(byte);
    let run = text[start..].iter().take(MAX_VALUE).take_while(is_part);
    let length = run.count();
    let ends = text
        .get(start + length)
        .is_none_or(|byte| class::is(*byte, SPACE));
    let value = start..trim(text, start, start + length);
    let password = &text[value.clone()];
    let is_password = password.len() >= LEAST
        && has_kinds(password, 3)
        && is_mixed(password)
        && password.iter().any(|byte| class::is(*byte, DIGIT));
    (ends && is_password).then_some(value)
}

/// `user:password` after `-u` or `--user`, as curl takes it.
pub(crate) fn user(text: &[u8], end: usize) -> Option<Range<usize>> {
    let start = end
        + text[end..]
            .iter()
            .take(3)
            .take_while(|byte| matches!(byte, b' ' | b'=' | b'"' | b'\''))
            .count();
    let is_end = |byte: &u8| class::is(*byte, SPACE) || b"`<>|&;".contains(byte);
    let limit = text.len().min(start + 256);
    let length = text[start..limit]
        .iter()
        .take_while(|byte| !is_end(byte))
        .count();
    let unquoted = |part: &[u8]| -> Vec<u8> {
        let is_quote = |byte: &u8| b"\"'".contains(byte);
        part.iter()
            .copied()
            .filter(|byte| !is_quote(byte))
            .collect()
    };
    let value = &text[start..start + length];
    let length = length
        - value
            .iter()
            .rev()
            .take_while(|byte| b"\"',".contains(byte))
            .count();
    let value = &text[start..start + length];
    let colon = value.iter().position(|byte| *byte == b':')?;
    let (user, secret) = (unquoted(&value[..colon]), unquoted(&value[colon + 1..]));
    let stock: [&[u8]; 6] = [b"pass", b"password", b"passwd", b"test", b"pwd", b"token"];
    let is_stock = stock.contains(&secret.as_slice()) || secret.starts_with(b"$");
    // `-u "token:"` and `-u ":password"` leave one side out.
    let is_value = |part: &[u8]| {
        part.len() >= 3 && !part.contains(&b'/') && (!is_placeholder(part) || is_mixed(part))
    };
    let holds = match (user.is_empty(), secret.is_empty()) {
        (false, true) => is_value(&user) && is_mixed(&user),
        (true, false) => is_value(&secret) && is_mixed(&secret) && !is_stock,
        (false, false) => {
            // `bob` has two letters, as a row of signs has.
            let is_name = user.iter().all(|byte| class::is(*byte, ALNUM));
            let is_user = is_name || !is_placeholder(&user) || is_mixed(&user);
            is_user && !user.contains(&b'/') && is_value(&secret) && !is_stock
        }
        (true, true) => false,
    };
    (start > end && holds).then(|| start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_behind_a_mails_address_is_found() {
        let found = |text: &'static str| {
            let at = text.find('@').expect("the case has an address");
            let end = at + text[at..].find([' ', ':']).expect("something follows it");
            behind_mail(text.as_bytes(), end).map(|range| &text[range])
        };
        assert_eq!(found("a@b.de / S3cret-47x\n"), Some("S3cret-47x"));
        assert_eq!(found("a@b.de:S3cret-47x"), Some("S3cret-47x"));
        assert_eq!(found("git@github.com:acme/Repo-2.git"), None);
        assert_eq!(found("a@b.de: hello"), None);
        assert_eq!(found("a@b.de / c@D-1.example"), None);
    }
}
