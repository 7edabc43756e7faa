//! What is wrong with labels, by rule. Six sets were labelled by those who wrote one rule or another
//! for scanners: they name one value of a text, cut it by a pattern's group, or take a user's name
//! for the secret. The raw figures stay as they are; beside them stand figures under these rules.
//!
//! Of what is masked outside of labels, this is not counted against a set:
//!
//! * a valid instance of a published format: an issuer's prefix and length, check digits, the form
//!   of a mail, IP or link-layer address;
//! * personal data, in sets that label credentials alone;
//! * the whole value of a name that says password, secret, token, key or credential;
//! * a user's name that is masked with the password beside it;
//! * the rest of an unbroken run that a label cuts.
//!
//! Of the labels, these are not counted:
//!
//! * placeholders: less than four different characters, the same one for half of its length, or
//!   a word for one;
//! * a UUID, which is an id in every log;
//! * a user's, host's or account's name or an id, where the text before the label says that it is
//!   one (`User ID=`, `-u `, `AccountName=`), and a host or URL that the places cover.
//!
//! A label that begins with a sign of assignment or ends within a run is moved to the run's borders.

use std::ops::Range;

use tracer_redact::detect::{Certainty, Finding, Group, Kind, RuleId};

use super::document::{Document, Span};

/// Sets that label credentials and nothing else.
const CREDENTIALS_ALONE: [&str; 5] = [
    "credsweeper_samples",
    "detect_secrets_tests",
    "gitleaks_literals",
    "kingfisher_rule_examples",
    "noseyparker_rule_examples",
];

/// Whether what a finding masks outside of labels is right to be masked.
pub(crate) fn is_justified(set: &str, document: &Document, finding: &Finding) -> bool {
    let text = &document.text;
    let touches = |span: &Span| span.start < finding.range.end && finding.range.start < span.end;
    let is_same_run = || {
        let run = run_around(text, &finding.range);
        document
            .spans
            .iter()
            .any(|span| touches(span) || (span.start < run.end && run.start < span.end))
    };
    let credentials_alone = CREDENTIALS_ALONE.contains(&set);
    let has_format = match finding.certainty {
        // Any number of which a word says that it is an id has no check.
        Certainty::Checked => {
            !matches!(finding.rule, RuleId::BuiltIn(name) if name.starts_with("any-"))
        }
        Certainty::Shape => !matches!(finding.kind, Kind::Phone | Kind::PostalAddress),
        Certainty::Context => false,
    };
    has_format
        || (credentials_alone && finding.group != Group::Credentials)
        || (credentials_alone && is_assigned(text, finding.range.start))
        || (credentials_alone && finding.kind == Kind::BasicAuth)
        || is_same_run()
}

/// Whether the name before the value at `start` says that it is secret.
fn is_assigned(text: &str, start: usize) -> bool {
    const NAMES: [&str; 11] = [
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "pass",
        "secret",
        "token",
        "key",
        "credential",
        "auth",
        "pw",
    ];
    let before = tail(text, start, 64);
    if [" -p ", " -P ", " -p", " -w ", " -a "]
        .iter()
        .any(|option| before.ends_with(option))
    {
        return true;
    }
    let is_joint = |c: char| c.is_whitespace() || "\"'`=:>,({[@\\]".contains(c);
    let name = before.trim_end_matches(is_joint);
    let name = name
        .strip_suffix("value")
        .map_or(name, |name| name.trim_end_matches(is_joint));
    let joint = &before[name.len()..];
    let lower = name.to_ascii_lowercase();
    let word = lower
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)))
        .next()
        .unwrap_or_default();
    !joint.is_empty() && NAMES.iter().any(|name| word.contains(name))
}

/// Whether a label names a secret.
pub(crate) fn is_secret(set: &str, document: &Document, span: &Span) -> bool {
    if !CREDENTIALS_ALONE.contains(&set) {
        return true;
    }
    let value = &document.text[span.start..span.end];
    !is_placeholder(value) && !is_uuid(value) && !is_named_otherwise(&document.text, span.start)
}

fn is_placeholder(value: &str) -> bool {
    const WORDS: [&str; 6] = [
        "your",
        "xxxx",
        "example",
        "placeholder",
        "some_",
        "changeme",
    ];
    let mut distinct: Vec<char> = value.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let lower = value.to_ascii_lowercase();
    let is_row = value.bytes().any(|byte| {
        let count = value.bytes().filter(|other| *other == byte).count();
        count * 2 >= value.len() && count >= 6
    });
    distinct.len() < 4
        || is_row
        || (!value.contains(|c: char| c.is_ascii_digit())
            && WORDS.iter().any(|word| lower.starts_with(word)))
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `User ID=`, `login `, `-u `, `AccountName=`, `"clientId": "`: a name or an id follows.
fn is_named_otherwise(text: &str, start: usize) -> bool {
    const NAMES: [&str; 12] = [
        "user", "userid", "username", "user id", "login", "uid", "account", "name", "id", "domain",
        "host", "-u",
    ];
    let before = tail(text, start, 48).to_ascii_lowercase();
    let name = before.trim_end_matches(|c: char| c.is_whitespace() || "\"'`=:(".contains(c));
    name.len() < before.len() && NAMES.iter().any(|ending| name.ends_with(ending))
}

/// The label's borders moved to those of the run that it cuts.
pub(crate) fn repaired(set: &str, document: &Document, span: &Span) -> Range<usize> {
    if !CREDENTIALS_ALONE.contains(&set) {
        return span.start..span.end;
    }
    let value = &document.text[span.start..span.end];
    let lead = value.len()
        - value
            .trim_start_matches(|c: char| "=:- \"'`".contains(c))
            .len();
    if lead == value.len() {
        return span.start..span.end;
    }
    let tail = value.len() - value.trim_end_matches(|c: char| " \"'`".contains(c)).len();
    span.start + lead..span.end - tail
}

/// The unbroken run of a token's characters around a range.
fn run_around(text: &str, range: &Range<usize>) -> Range<usize> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+/=.:".contains(byte);
    let bytes = text.as_bytes();
    let before = bytes[..range.start]
        .iter()
        .rev()
        .take_while(|byte| is_part(byte));
    let after = bytes[range.end..].iter().take_while(|byte| is_part(byte));
    range.start - before.count()..range.end + after.count()
}

/// Up to `length` bytes before `end`, from a character's border.
fn tail(text: &str, end: usize, length: usize) -> &str {
    let mut from = end.saturating_sub(length);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_before_a_value_say_what_it_is() {
        assert!(is_assigned("db_password = \"x", 15));
        assert!(is_assigned("\"apiKey\": \"x", 11));
        assert!(!is_assigned("digest: x", 8));
        assert!(is_named_otherwise("Server=h;User Id=x", 17));
        assert!(is_named_otherwise("psexec -u x", 10));
        assert!(!is_named_otherwise("the secret x", 11));
    }

    #[test]
    fn placeholders_and_uuids_are_no_secrets() {
        assert!(is_placeholder("YOURPASSWROD"));
        assert!(is_placeholder("aaaaaaaaa-"));
        assert!(!is_placeholder("goodspec"));
        assert!(is_uuid("81f50f8d-4c1a-de4d-8e3f-c1bc8b429a36"));
    }
}
