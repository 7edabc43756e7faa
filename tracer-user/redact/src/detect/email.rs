//! Mail addresses: what stands around an `@`.

use memchr::memmem;

use super::class::{self, ALNUM, DIGIT, HIGH, JOINER, LETTER};

/// Longest local part and longest domain (RFC 5321, 4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

/// The address around the `@` at `at`.
pub(crate) fn read(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let start = local_start(text, at)?;
    if is_in_url(text, start) {
        return None;
    }
    let end = domain_end(text, at + 1)?;
    Some((start, end))
}

/// Whether what stands before the `@` is a URL's user or password.
fn is_in_url(text: &[u8], start: usize) -> bool {
    let before = &text[start.saturating_sub(MAX_LOCAL)..start];
    let word = before
        .rsplit(|byte| byte.is_ascii_whitespace() || b"\"'<>()=,;".contains(byte))
        .next()
        .unwrap_or(before);
    memmem::rfind(word, b"://").is_some_and(|mark| !word[mark + 3..].contains(&b'/'))
}

fn local_start(text: &[u8], at: usize) -> Option<usize> {
    let is_local =
        |byte: u8| class::is(byte, ALNUM | JOINER | HIGH) || b".+'!#$%&*/=?^`{|}~".contains(&byte);
    let floor = at.saturating_sub(MAX_LOCAL + 1);
    let mut start = at;
    while start > floor && is_local(text[start - 1]) {
        start -= 1;
    }
    // What a sentence, a query or a quotation puts before an address is no part of it.
    while start < at && !class::is(text[start], ALNUM | HIGH | JOINER) {
        start += 1;
    }
    if let Some(place) = text[start..at]
        .iter()
        .rposition(|byte| b"=?&'`{|/".contains(byte))
    {
        start += place + 1;
    }
    (start < at && text[at - 1] != b'.').then_some(start)
}

fn domain_end(text: &[u8], start: usize) -> Option<usize> {
    let limit = text.len().min(start + MAX_DOMAIN);
    let mut end = start;
    let mut last_dot = None;
    while end < limit
        && (class::is(text[end], ALNUM | HIGH) || text[end] == b'-' || text[end] == b'.')
    {
        if text[end] == b'.' {
            if last_dot == Some(end.wrapping_sub(1)) || end == start {
                break;
            }
            last_dot = Some(end);
        }
        end += 1;
    }
    while end > start && (text[end - 1] == b'.' || text[end - 1] == b'-') {
        end -= 1;
    }
    let domain = &text[start..end];
    let dot = domain.iter().rposition(|byte| *byte == b'.')?;
    let top = &domain[dot + 1..];
    let is_name = top.len() >= 2
        && top.len() <= 24
        && top
            .iter()
            .all(|byte| class::is(*byte, LETTER | HIGH | DIGIT | JOINER))
        && top.iter().any(|byte| class::is(*byte, LETTER | HIGH));
    (dot > 0 && is_name).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<&str> {
        let at = text.find('@').expect("the case has an @");
        read(text.as_bytes(), at).map(|(start, end)| &text[start..end])
    }

    #[test]
    fn an_address_ends_where_the_sentence_goes_on() {
        assert_eq!(
            address("write to jo.li+x@mail.example.org."),
            Some("jo.li+x@mail.example.org")
        );
        assert_eq!(address("<a@b.de>,"), Some("a@b.de"));
        assert_eq!(address("?to=me@b.co.uk&x=1"), Some("me@b.co.uk"));
    }

    #[test]
    fn a_handle_a_decorator_and_a_bare_host_are_no_addresses() {
        assert_eq!(address("thanks @someone.else"), None);
        assert_eq!(address("@app.route"), None);
        assert_eq!(address("root@localhost"), None);
        assert_eq!(address("info@site."), None);
        assert_eq!(address("postgres://svc:secret@db.example.org/x"), None);
    }
}
