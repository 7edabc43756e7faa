//! Where JSON stands in a text, so that what replaces a part of it leaves it valid.
//!
//! A text may be JSON, or hold some: a tool call in a prompt, a log line. Strings are replaced
//! inside their quotes and whole escapes at a time, numbers and words by a string, and what holds
//! them together stays.

use std::ops::Range;

/// Values within values; deeper ones are taken as text.
const DEEPEST: usize = 128;
/// How often each byte may be looked at, on average, to find out where JSON begins.
const ATTEMPTS: usize = 8;

/// A string, number or word of a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// Its bytes; of a string those between the quotes.
    pub(crate) range: Range<usize>,
    pub(crate) is_string: bool,
}

/// A piece of JSON in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) range: Range<usize>,
    pub(crate) scalars: Vec<Scalar>,
}

/// The objects and arrays of a text, and the text's one value if it is a single one.
pub(crate) fn fragments(text: &[u8]) -> Vec<Fragment> {
    let begins = text.len() - text.trim_ascii_start().len();
    if matches!(text.get(begins), Some(b'"' | b'-' | b'0'..=b'9')) {
        // A lone string or number is JSON only if nothing else is there.
        let mut parser = Parser::new(text, begins);
        if parser.value(0).is_some() && text[parser.at..].trim_ascii().is_empty() {
            return vec![parser.fragment(begins)];
        }
    }
    let mut found = Vec::new();
    let mut budget = text.len().saturating_mul(ATTEMPTS);
    let mut at = 0;
    while budget > 0 {
        let Some(next) = text[at..]
            .iter()
            .position(|byte| matches!(byte, b'{' | b'['))
        else {
            break;
        };
        let start = at + next;
        let mut parser = Parser::new(text, start);
        let is_whole = parser.value(0).is_some();
        budget = budget.saturating_sub(parser.at - start + 1);
        if is_whole {
            at = parser.at;
            found.push(parser.fragment(start));
        } else {
            at = start + 1;
        }
    }
    found
}

/// The part of a string that a range touches, grown so that no escape is cut. A pair of escapes
/// that is one character counts as one.
pub(crate) fn whole_escapes(
    text: &[u8],
    string: &Range<usize>,
    part: Range<usize>,
) -> Range<usize> {
    let (mut start, mut end) = (part.start, part.end);
    let mut at = string.start;
    while at < string.end {
        let length = escape_length(&text[at..string.end]);
        let unit = at..at + length;
        if unit.start < start && start < unit.end {
            start = unit.start;
        }
        if unit.start < end && end < unit.end {
            end = unit.end;
        }
        at = unit.end;
    }
    start..end
}

fn escape_length(rest: &[u8]) -> usize {
    if rest.first() != Some(&b'\\') {
        return 1;
    }
    if rest.get(1) != Some(&b'u') {
        return rest.len().min(2);
    }
    let is_high = matches!(
        rest.get(2..4),
        Some([b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B'])
    );
    let length = match is_high && rest.get(6..8) == Some(b"\\u") {
        true => 12,
        false => 6,
    };
    rest.len().min(length)
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    scalars: Vec<Scalar>,
}

impl<'t> Parser<'t> {
    const fn new(text: &'t [u8], at: usize) -> Self {
        Self {
            text,
            at,
            scalars: Vec::new(),
        }
    }

    fn fragment(self, start: usize) -> Fragment {
        Fragment {
            range: start..self.at,
            scalars: self.scalars,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth == DEEPEST {
            return None;
        }
        match self.peek()? {
            b'{' => self.sequence(b'}', |parser| {
                parser.string()?;
                parser.skip_space();
                parser.take(b':')?;
                parser.skip_space();
                parser.value(depth + 1)
            }),
            b'[' => self.sequence(b']', |parser| parser.value(depth + 1)),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    fn sequence(
        &mut self,
        close: u8,
        mut element: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.at += 1;
        self.skip_space();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            element(self)?;
            self.skip_space();
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(b',')?;
            self.skip_space();
        }
    }

    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        b'u' => {
                            let digits = self.text.get(self.at + 1..self.at + 5)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            self.at += 5;
                        }
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        self.scalars.push(Scalar {
            range: start..self.at,
            is_string: true,
        });
        self.at += 1;
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let _ = self.take(b'-');
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.scalar(start)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self) -> Option<()> {
        let start = self.at;
        let rest = &self.text[start..];
        let word = [&b"true"[..], b"false", b"null"]
            .into_iter()
            .find(|word| rest.starts_with(word))?;
        self.at += word.len();
        self.scalar(start)
    }

    fn scalar(&mut self, start: usize) -> Option<()> {
        self.scalars.push(Scalar {
            range: start..self.at,
            is_string: false,
        });
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(&str, Vec<&str>)> {
        fragments(text.as_bytes())
            .into_iter()
            .map(|fragment| {
                let scalars = fragment.scalars.into_iter();
                let scalars = scalars.map(|scalar| &text[scalar.range]).collect();
                (&text[fragment.range], scalars)
            })
            .collect()
    }

    #[test]
    fn json_is_found_in_the_midst_of_prose() {
        assert_eq!(
            found(r#"call {"a": [1, true], "b": "x\"y"} (see [4] and [this])"#),
            [
                (
                    r#"{"a": [1, true], "b": "x\"y"}"#,
                    vec!["a", "1", "true", "b", r#"x\"y"#]
                ),
                ("[4]", vec!["4"]),
            ]
        );
    }

    #[test]
    fn a_lone_string_or_number_is_json_only_on_its_own() {
        assert_eq!(found(r#" "a b" "#), [(r#""a b""#, vec!["a b"])]);
        assert_eq!(
            found("4111111111111111"),
            [("4111111111111111", vec!["4111111111111111"])]
        );
        assert_eq!(found(r#""a" said Bob"#), []);
    }

    #[test]
    fn a_part_of_a_string_never_cuts_an_escape() {
        let text = br#"a\u0041\ud83d\ude00b"#;
        let all = 0..text.len();
        assert_eq!(whole_escapes(text, &all, 3..4), 1..7);
        assert_eq!(whole_escapes(text, &all, 0..8), 0..19);
        assert_eq!(whole_escapes(text, &all, 19..20), 19..20);
    }

    #[test]
    fn text_that_only_opens_costs_no_more_than_a_few_looks_at_each_byte() {
        assert_eq!(found(&"[".repeat(1 << 16)), []);
        assert_eq!(found(&"{\"a\":".repeat(1 << 14)), []);
    }

    proptest! {
        #[test]
        fn what_serde_takes_as_json_is_found_whole(text in r#"[\[{][\[\]{},:"a1 -]{0,12}[\]}]"#) {
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert_eq!(fragments(text.as_bytes())[0].range.clone(), 0..text.len());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for fragment in fragments(&bytes) {
                for scalar in fragment.scalars.iter().filter(|scalar| scalar.is_string) {
                    whole_escapes(&bytes, &scalar.range, scalar.range.clone());
                }
            }
        }
    }
}
