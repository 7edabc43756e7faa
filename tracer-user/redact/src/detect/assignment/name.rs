//! The name around a word for a secret.

use std::ops::Range;

use super::super::class::{self, ALNUM, HIGH, JOINER, LETTER, LOWER, SPACE, UPPER};

/// Whether the word begins a name or a part of one: `dbPassword`, `MYSQLPASS`, `dbpassword`.
pub(super) fn starts_a_name(text: &[u8], word: &Range<usize>) -> bool {
    let start = word.start;
    // An entry of a vocabulary, `'Ġpassword'`, whose blank is a letter of its own. Without the quote it may be
    // a text in such letters, which holds whatever its writer wrote.
    let is_entry = ["'Ġ", "\"Ġ", "'▁", "\"▁"]
        .into_iter()
        .any(|entry| text[..start].ends_with(entry.as_bytes()));
    if is_entry {
        return false;
    }
    let is_camel = class::before(text, start, LOWER) && class::at(text, start, UPPER);
    // Names in capitals are glued together.
    let is_capital = class::before(text, start, UPPER) && class::at(text, start, UPPER);
    // `compass` and `monkey` are words, `dbpassword` is none, and neither is Java's `-Dpassword`.
    let is_defined = text[..start].ends_with(b"-D");
    let is_long = (class::before(text, start, LETTER) || is_defined) && word.len() >= 6;
    !class::before(text, start, LETTER) || is_camel || is_capital || is_long
}

/// `public_key`, `PublicKeyToken`: everybody may know it.
pub(super) fn is_public(text: &[u8], word: usize) -> bool {
    let before = &text[word.saturating_sub(11)..word];
    let before = match before.len().checked_sub(3) {
        Some(key) if before[key..].eq_ignore_ascii_case(b"key") => &before[..key],
        _ => before,
    };
    let before = before
        .strip_suffix(b"_")
        .or(before.strip_suffix(b"-"))
        .unwrap_or(before);
    before.len() >= 6 && before[before.len() - 6..].eq_ignore_ascii_case(b"public")
}

/// `$TOKEN`, `${TOKEN}`: the value stands elsewhere.
pub(super) fn is_reference(text: &[u8], word: usize) -> bool {
    let start = class::run_start(
        &text[word.saturating_sub(40)..],
        word.min(40),
        ALNUM | JOINER,
    );
    let start = word.saturating_sub(40) + start;
    start > 0 && matches!(text[start - 1], b'$' | b'{' | b'%')
}

/// `--db-password`, `-storepass`: whether the name is an option's.
pub(super) fn is_option(text: &[u8], word: usize) -> bool {
    let floor = word.saturating_sub(40);
    let start = floor + class::run_start(&text[floor..], word - floor, ALNUM | JOINER);
    let is_short = || word == start + 1 && class::before(text, start, SPACE);
    text[start..].starts_with(b"--") || (text[start..].starts_with(b"-") && is_short())
}

/// The end of the name that goes on after the word: `_hash`, `Id`, `s`, `[0]`.
pub(super) fn name_end(text: &[u8], word: &Range<usize>) -> Option<usize> {
    let end = word.end;
    let mut place = end;
    while place < text.len()
        && place < end + 40
        && (class::is(text[place], ALNUM | JOINER) || text[place] == b'.')
    {
        place += 1;
    }
    // A sentence's full stop is not a part of the name, and neither is a flag's dash.
    while place > end && matches!(text[place - 1], b'.' | b'-') {
        place -= 1;
    }
    let suffix = &text[end..place];
    // `passing`, `keyboard`, `tokenizer`, `secretary`: the word goes on in lower case.
    let continues =
        |with: &[u8]| suffix.len() >= with.len() && suffix[..with.len()].eq_ignore_ascii_case(with);
    let names_a_secret = [&b"key"[..], b"token", b"secret", b"code"]
        .into_iter()
        .any(continues);
    // The article or the possessive at the end of a Scandinavian, Turkish or Romanian word.
    let is_inflected = |with: &[u8]| {
        suffix.starts_with(with)
            && !class::at(text, end + with.len(), ALNUM)
            && end >= 6
            && text[end - 6..end]
                .iter()
                .all(|byte| class::is(*byte, LETTER | HIGH))
    };
    let names_a_secret = names_a_secret
        || [
            &b"et"[..],
            b"en",
            b"em",
            b"im",
            b"m",
            b"niz",
            b"iniz",
            b"ni",
        ]
        .into_iter()
        .any(is_inflected);
    let goes_on = !names_a_secret
        && suffix.first().is_some_and(|byte| class::is(*byte, LOWER))
        && class::before(text, end, LOWER)
        && !suffix.starts_with(b"s")
        && !suffix.starts_with(b"e =")
        && suffix
            .iter()
            .take_while(|byte| class::is(**byte, LOWER))
            .count()
            // `Pwh` in an id is no password.
            > usize::from(word.len() > 2);
    (!goes_on && place < end + 40).then_some(place)
}
