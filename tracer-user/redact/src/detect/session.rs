//! What files and headers carry of sessions and logins in fields of their own: cookies, and the lines of a
//! password file.

use std::ops::Range;

use super::{
    assignment::MAX_VALUE,
    class::{self, ALNUM, DIGIT, LETTER, LOWER, SPACE, UPPER},
    looks::{has_kinds, is_code, is_path, is_placeholder, looks_random},
};

/// Values of the cookies behind the name of their header that look like what a session is known by: `Cookie:
/// theme=dark; PHPSESSID=3eb5…`.
pub(crate) fn cookies(text: &[u8], end: usize) -> Vec<Range<usize>> {
    /// Where the last cookie that is read begins at most, and how long it may be.
    const MOST: usize = 1024;
    const LONGEST: usize = 4096;
    let joint = text[end..].iter().take(6);
    let joint = joint.take_while(|byte| b"\"' :=".contains(byte)).count();
    let start = end + joint;
    // A quote stands before what a command is given.
    let opening = &text[end.saturating_sub(1)..start];
    let quote = opening
        .iter()
        .copied()
        .find(|byte| matches!(byte, b'"' | b'\''));
    if quote.is_none() && !opening.iter().any(|byte| matches!(byte, b':' | b'=')) {
        return Vec::new();
    }
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r') || Some(*byte) == quote;
    let mut place = start;
    let mut found = Vec::new();
    while place < text.len().min(start + MOST) {
        let rest = text[place..].iter().take(LONGEST);
        let length = rest
            .take_while(|byte| !is_end(byte) && **byte != b';')
            .count();
        let cookie = &text[place..place + length];
        let sign = cookie.iter().position(|byte| *byte == b'=');
        if let Some(sign) = sign
            && identifies(&cookie[sign + 1..])
        {
            found.push(place + sign + 1..place + length);
        }
        place += length + 1;
        if text.get(place - 1) != Some(&b';') {
            break;
        }
    }
    found
}

/// Whether a cookie's value is long and mixed enough to be nobody else's.
fn identifies(value: &[u8]) -> bool {
    const LEAST: usize = 16;
    let has = |classes: u8| value.iter().any(|byte| class::is(*byte, classes));
    value.len() >= LEAST
        && !has(SPACE)
        && has(DIGIT)
        && has(LETTER)
        && !is_path(value)
        && !is_code(value, false)
        && !is_time(value)
        && (looks_random(value) || (has(LOWER) && has(UPPER)))
}

/// `2024-01-01T00:00:00Z`
fn is_time(value: &[u8]) -> bool {
    let is_digit = |place: usize| class::at(value, place, DIGIT);
    (0..4).all(is_digit) && value.get(4) == Some(&b'-') && is_digit(5) && is_digit(6)
}

/// The password at the end of a line of PostgreSQL's password file, whose port stands behind the colon at
/// `colon`: `host:5432:database:user:password`.
pub(crate) fn password_file(text: &[u8], colon: usize) -> Option<Range<usize>> {
    const FIELD: usize = 64;
    let port = class::run_end(text, (colon + 1).min(text.len()), DIGIT);
    if !(4..=5).contains(&(port - colon - 1)) || text.get(port) != Some(&b':') {
        return None;
    }
    let is_part = |byte: &&u8| !class::is(**byte, SPACE) && !b":/\"'".contains(byte);
    let field = |from: usize| {
        let length = text[from..].iter().take(FIELD).take_while(is_part).count();
        (length > 0).then_some(from + length)
    };
    let host = text[..colon].iter().rev().take(2 * FIELD);
    let host = colon - host.take_while(is_part).count();
    let is_first = host == 0 || matches!(text[host - 1], b'\n' | b' ' | b'"' | b'\'' | b'\t');
    let database = field(port + 1).filter(|end| text.get(*end) == Some(&b':'))?;
    let user = field(database + 1).filter(|end| text.get(*end) == Some(&b':'))?;
    let password = text[user + 1..].iter().take(MAX_VALUE);
    let is_rest = |byte: &&u8| !class::is(**byte, SPACE) && !b"\"'".contains(byte);
    let end = user + 1 + password.take_while(is_rest).count();
    let value = &text[user + 1..end];
    let is_password = value.len() >= 4 && !is_placeholder(value) && !value.contains(&b':');
    // Programs number lines so as well.
    let is_usual = [&b":5432:"[..], b":5433:", b":6432:"].contains(&&text[colon..=port]);
    let is_likely = is_usual || (has_kinds(value, 3) && value.iter().any(|b| class::is(*b, DIGIT)));
    let is_host = text[host..colon].iter().any(|byte| class::is(*byte, ALNUM));
    (is_first && is_host && is_password && is_likely).then_some(user + 1..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_that_identify_a_session_are_found() {
        let text =
            "Cookie: theme=dark; PHPSESSID=3eb53b6c7d4475aad7d8562d9b0788d3; lang=en\nHost: x";
        let found = cookies(text.as_bytes(), 6);
        let values: Vec<_> = found.into_iter().map(|range| &text[range]).collect();
        assert_eq!(values, ["3eb53b6c7d4475aad7d8562d9b0788d3"]);
        assert!(cookies(b"cookies are small texts that browsers keep", 7).is_empty());
        assert!(cookies(b"cookie: path=/; expires=Wed, 21 Oct 2026 07:28:00 GMT", 6).is_empty());
    }

    #[test]
    fn a_password_files_line_gives_its_password() {
        let found = |text: &'static str| {
            let colon = text.find(':').expect("the case has a colon");
            password_file(text.as_bytes(), colon).map(|range| &text[range])
        };
        assert_eq!(
            found("db.local:5432:*:reporting:3QISlT3Ou6AK\n"),
            Some("3QISlT3Ou6AK")
        );
        assert_eq!(found("127.0.0.1:8080:80:8443:443"), None);
        assert_eq!(found("main.c:1234: error: no"), None);
        assert_eq!(found("12:30:45:12:1234"), None);
    }
}
