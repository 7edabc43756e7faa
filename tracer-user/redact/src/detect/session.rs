//! What files and headers carry of sessions and logins in fields of their own: cookies, and the lines of a
//! password file.

use std::ops::Range;

use super::{
    class::{self, ALNUM, DIGIT, LETTER, LOWER, SPACE, UPPER},
    looks::{is_path, is_placeholder, looks_random},
};

/// Values of the cookies behind the name of their header that look like what a session is known by: `Cookie:
/// theme=dark; PHPSESSID=3eb5…`.
pub(crate) fn cookies(text: &[u8], end: usize) -> Vec<Range<usize>> {
    /// How much of a header is read.
    const MOST: usize = 1024;
    let joint = text[end..].iter().take(6);
    let joint = joint.take_while(|byte| b"\"' :=".contains(byte)).count();
    let start = end + joint;
    let is_header = text[end..start]
        .iter()
        .any(|byte| matches!(byte, b':' | b'='));
    if !is_header {
        return Vec::new();
    }
    let line = text[start..].iter().take(MOST);
    let line = line.take_while(|byte| !b"\n\r\"'".contains(byte)).count();
    let mut place = start;
    let mut found = Vec::new();
    for cookie in text[start..start + line].split(|byte| *byte == b';') {
        let value = cookie
            .iter()
            .position(|byte| *byte == b'=')
            .map(|sign| sign + 1);
        if let Some(value) = value
            && identifies(&cookie[value..])
        {
            found.push(place + value..place + cookie.len());
        }
        place += cookie.len() + 1;
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
        && (looks_random(value) || (has(LOWER) && has(UPPER)))
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
    let password = text[user + 1..].iter().take(FIELD);
    let end = user
        + 1
        + password
            .take_while(|byte| !class::is(**byte, SPACE))
            .count();
    let value = &text[user + 1..end];
    let is_password = value.len() >= 4 && !is_placeholder(value) && !value.contains(&b':');
    let is_host = text[host..colon].iter().any(|byte| class::is(*byte, ALNUM));
    (is_first && is_host && is_password).then_some(user + 1..end)
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
