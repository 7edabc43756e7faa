//! What follows a word for an address.

use std::ops::Range;

use super::{
    super::class::{self, DIGIT, HIGH, WORD},
    REACH,
    words::{
        PARTS, SHORT_PARTS, STREETS, SUFFIXES, ends_in_short_form, is_capital, is_prefix, lower,
        starts_with_part, starts_with_prefix, trim,
    },
};

/// How many blanks what a word calls an address may have.
const MOST_WORDS: usize = 12;

/// How far it may reach: characters of most scripts have two or three bytes.
const TOLD_REACH: usize = 120;

/// What follows a word for an address, as far as a sentence or a line goes.
pub(crate) fn told(text: &[u8], word: Range<usize>) -> Option<Range<usize>> {
    let word_end = word.end;
    const LINKS: [&[u8]; 18] = [
        b":\n",
        b": \n",
        b"\n",
        b" is ",
        b" ist ",
        b" est ",
        b" lautet ",
        b" jest ",
        b" \xc3\xa8 ",
        b": ",
        b" : ",
        b"\": \"",
        b" = ",
        b"=",
        b" at ",
        b" ",
        // A wide colon, and a particle.
        b"\xef\xbc\x9a",
        b"\xe3\x81\xaf",
    ];
    // Scripts without blanks need none.
    let is_glued = class::before(text, word_end, HIGH) && class::at(text, word_end, HIGH);
    let link = LINKS
        .into_iter()
        .find(|link| text[word_end..].starts_with(link))
        .or(is_glued.then_some(&b""[..]))?;
    let start = word_end + link.len();
    let start = start + article(&text[start..]);
    let starts_well =
        is_capital(text, start) || class::at(text, start, DIGIT) || starts_with_prefix(text, start);
    if !starts_well || text[start..].starts_with(b"0x") {
        return None;
    }
    let limit = text.len().min(
        start
            + if text[start..].first().is_some_and(u8::is_ascii) {
                REACH
            } else {
                TOLD_REACH
            },
    );
    let mut end = start;
    let mut has_number = false;
    let mut words = 0;
    while end < limit {
        match text[end] {
            // A part of a building has a line of its own.
            b'\n' if has_number && words < 3 => {}
            b'\n' | b';' | b'"' | b'<' | b'(' | b')' | b'|' | b'?' | b'!' | b'\\' => break,
            b'.' if text
                .get(end + 1)
                .is_none_or(|next| class::is(*next, class::SPACE))
                && end - start > 4
                && class::before(text, end, WORD | DIGIT)
                && !ends_in_short_form(&text[start..end]) =>
            {
                break;
            }
            b',' if has_number
                && words >= 1
                && !is_capital(text, end + 2)
                && !class::at(text, end + 2, DIGIT)
                && !starts_with_prefix(text, end + 2)
                && !starts_with_part(text, end + 2) =>
            {
                break;
            }
            // Their comma, their full stop.
            0xE3 if matches!(text.get(end + 1..end + 3), Some([0x80, 0x81 | 0x82])) => break,
            0xEF if matches!(text.get(end + 1..end + 3), Some([0xBC, 0x8C | 0x9B])) => break,
            b':' if ends_with(&text[start..end], "no") => {}
            b'@' | b':' | b'=' => return None,
            b' ' => words += 1,
            byte if class::is(byte, DIGIT) => {
                if text.get(end + 1) == Some(&b'.') && class::at(text, end + 2, DIGIT) {
                    return None;
                }
                has_number = true;
            }
            _ => {}
        }
        end += 1;
    }
    let range = start..trim(text, start, end);
    let told = lower(&text[range.clone()]);
    let mut parts = told.split([' ', '\n', ',']);
    let has_street = parts.clone().enumerate().any(|(place, word)| {
        (place > 0 && STREETS.contains(&word))
            || SUFFIXES
                .iter()
                .any(|suffix| word.len() > suffix.len() + 2 && word.ends_with(suffix))
    });
    let has_short_part = parts.clone().any(|word| SHORT_PARTS.contains(&word));
    let has_prefix = parts.next().is_some_and(is_prefix);
    // `bydlím v Dlouhá 14, 110 00 Praha`: the word means nothing else.
    let is_certain = has_number && told.contains(',') && !text[word].is_ascii();
    let has_part = told
        .split(' ')
        .next()
        .is_some_and(|word| PARTS.contains(&word));
    // `address issue 45` is a request.
    let is_bare = link.len() == 1 && link[0] == b' ';
    let has_town = || {
        let mut parts = told.split(' ');
        parts.any(|part| {
            (4..=6).contains(&part.len()) && part.bytes().all(|byte| class::is(byte, DIGIT))
        })
    };
    if is_bare
        && !(has_street
            || has_prefix
            || has_short_part
            || is_certain
            || has_part
            || class::at(text, start, DIGIT)
            || has_town())
    {
        return None;
    }
    let has_letters = text[range.clone()]
        .iter()
        .filter(|byte| class::is(**byte, WORD))
        .count()
        >= 3;
    (has_letters && (has_number || has_street || has_prefix) && words <= MOST_WORDS)
        .then_some(range)
}

/// How long the article is that begins the text.
fn article(text: &[u8]) -> usize {
    const ARTICLES: [&[u8]; 10] = [
        b"the ", b"la ", b"el ", b"le ", b"der ", b"den ", b"v ", b"w ", b"na ", b"ul ",
    ];
    let article = ARTICLES
        .into_iter()
        .find(|article| text.starts_with(article));
    article.map_or(0, <[u8]>::len)
}

/// Whether the word is a part of the address that follows it.
pub(crate) fn belongs(word: &[u8]) -> bool {
    let ends = |part: &[u8]| {
        word.len() >= part.len() && word[word.len() - part.len()..].eq_ignore_ascii_case(part)
    };
    ends(b"box") || ends(b"postfach") || word == "〒".as_bytes()
}

fn ends_with(text: &[u8], end: &str) -> bool {
    let from = text.len().saturating_sub(end.len());
    text[from..].eq_ignore_ascii_case(end.as_bytes())
}
