//! Keeps common words and nothing else: for names, which no pattern finds.
//!
//! A word is kept if it is among some ten thousand common English ones that are no names; a
//! capitalised one only where a sentence begins or a closed class of words (articles, pronouns,
//! weekdays) has it, and not beside a capitalised word that is unknown: *Will* in *Will Sommer*
//! is a name. Numbers and punctuation are kept: the detectors judge them.
//!
//! The list is made by `cargo xtask words` from SCOWL, whose licence lies beside it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// One word a line; a plus before those that may begin a sentence.
static LIST: &str = include_str!("words.txt");

/// Common words, and whether each may begin a sentence.
static COMMON: LazyLock<HashMap<&str, bool>> = LazyLock::new(|| {
    LIST.lines()
        .map(|line| match line.strip_prefix('+') {
            Some(word) => (word, true),
            None => (line, false),
        })
        .collect()
});

/// Words of closed classes: never a name on their own, however they are written.
#[rustfmt::skip]
const CLOSED: &[&str] = &[
    "a", "about", "above", "after", "again", "against", "all", "also", "am", "an", "and", "any", "are", "as", "at", "bad", "be", "because", "been", "before", "being", "below", "between", "both", "but", "by",
    "came", "can", "come", "could", "d", "day", "days", "did", "do", "does", "doing", "don", "done", "dont", "down", "during", "each", "eight", "few", "first", "five", "for", "four", "from", "further", "get", "go", "going", "gone", "good", "got",
    "had", "haha", "has", "have", "having", "he", "her", "here", "hers", "hey", "hi", "him", "his", "how", "i", "if", "im", "in", "into", "is", "it", "its", "ive", "just", "knew", "know", "let", "like", "ll", "lol", "m", "made", "make", "makes", "may", "me", "might", "mine", "month", "months", "more", "most", "must", "my",
    "n't", "need", "new", "night", "nine", "no", "nor", "not", "now", "nt", "of", "off", "oh", "ok", "okay", "old", "omg", "on", "once", "one", "only", "or", "other", "our", "ours", "out", "over", "own", "please", "pls", "re",
    "s", "said", "same", "saw", "say", "says", "second", "see", "seen", "seven", "shall", "she", "should", "six", "so", "some", "such", "t", "take", "ten", "than", "thanks", "that", "thats", "the", "their", "theirs", "them", "then", "there", "these", "they", "think", "third", "this", "those", "thought", "three", "through", "time", "to", "today", "tomorrow", "too", "took", "two",
    "u", "under", "until", "up", "us", "ve", "very", "wanna", "want", "was", "we", "week", "weeks", "went", "were", "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "yeah", "year", "years", "yes", "yesterday", "you", "your", "yours",
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "january", "february", "march", "april", "june", "july", "august", "september", "october", "november", "december",
];

/// Small words inside names: kept elsewhere, masked between two parts of one.
const LINKS: [&str; 18] = [
    "of", "the", "de", "van", "der", "den", "von", "da", "di", "la", "le", "ten", "el", "bin",
    "al", "del", "du", "y",
];

/// Months that are given names too: kept beside a number.
const MONTH_NAMES: [&str; 5] = ["may", "april", "march", "june", "august"];

/// No common word is longer, in bytes.
const MAX_WORD: usize = 24;
/// How many words an unknown capitalised one takes along on each side.
const NEIGHBOURS: usize = 3;

struct Word {
    range: Range<usize>,
    is_capital: bool,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Common,
    Closed,
}

/// The words of a text that are not common: where they stand, sorted. What is not UTF-8 counts as
/// a part of a word.
#[must_use]
pub fn uncommon(text: &[u8]) -> Vec<Range<usize>> {
    let mut words = words(text);
    let unknown: Vec<usize> = (0..words.len())
        .filter(|place| words[*place].verdict == Verdict::Unknown && words[*place].is_capital)
        .collect();
    for place in unknown {
        spread(text, &mut words, place, 1);
        spread(text, &mut words, place, -1);
    }
    link(text, &mut words);
    let masked = words.into_iter();
    masked
        .filter(|word| word.verdict == Verdict::Unknown)
        .map(|word| word.range)
        .collect()
}

fn words(text: &[u8]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut start = None;
    let mut place = 0;
    for chunk in text.utf8_chunks() {
        for (at, character) in chunk.valid().char_indices() {
            let at = place + at;
            // An apostrophe between letters is a part of the word.
            let is_inner = matches!(character, '\'' | '’')
                && start.is_some()
                && begins_with_letter(&text[at + character.len_utf8()..]);
            if character.is_alphabetic() || is_inner {
                start.get_or_insert(at);
            } else if let Some(start) = start.take() {
                words.push(word(text, start..at));
            }
        }
        place += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            start.get_or_insert(place);
            place += chunk.invalid().len();
        }
    }
    if let Some(start) = start {
        words.push(word(text, start..text.len()));
    }
    words
}

fn begins_with_letter(text: &[u8]) -> bool {
    text.utf8_chunks()
        .next()
        .and_then(|chunk| chunk.valid().chars().next())
        .is_some_and(char::is_alphabetic)
}

fn word(text: &[u8], range: Range<usize>) -> Word {
    let written = &text[range.clone()];
    let is_capital = !written[0].is_ascii_lowercase();
    let verdict = match lower(written) {
        Some(word) if !is_glued(text, &range) => judge(text, &range, &word, is_capital),
        _ => Verdict::Unknown,
    };
    Word {
        range,
        is_capital,
        verdict,
    }
}

fn judge(text: &[u8], range: &Range<usize>, word: &str, is_capital: bool) -> Verdict {
    if is_capital && MONTH_NAMES.contains(&word) {
        let before = &text[range.start.saturating_sub(3)..range.start];
        let after = &text[range.end..text.len().min(range.end + 3)];
        let has_number = before.iter().chain(after).any(u8::is_ascii_digit);
        return if has_number {
            Verdict::Closed
        } else {
            Verdict::Unknown
        };
    }
    // Initials.
    if is_capital && word.len() == 1 && !matches!(word, "i" | "a") {
        return Verdict::Unknown;
    }
    if CLOSED.contains(&word) {
        return Verdict::Closed;
    }
    let stem = word.strip_suffix("'s").unwrap_or(word);
    match COMMON.get(stem) {
        Some(_) if !is_capital => Verdict::Common,
        Some(true) if begins_sentence(text, range.start) => Verdict::Common,
        _ => Verdict::Unknown,
    }
}

/// In small letters, if it is ASCII but for the apostrophe and not longer than common words are.
fn lower(word: &[u8]) -> Option<String> {
    if word.len() > MAX_WORD {
        return None;
    }
    let word = std::str::from_utf8(word).ok()?.replace('’', "'");
    word.is_ascii().then(|| word.to_ascii_lowercase())
}

/// Whether it is a part of a handle, a tag or a name with digits in it.
fn is_glued(text: &[u8], range: &Range<usize>) -> bool {
    let is_glue = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'_' | b'@' | b'#');
    let before = text[..range.start].last().copied().is_some_and(is_glue);
    let after = text
        .get(range.end)
        .is_some_and(|byte| byte.is_ascii_digit() || *byte == b'_');
    before || after || text[..range.start].ends_with(b"@ ")
}

fn begins_sentence(text: &[u8], start: usize) -> bool {
    let before = &text[start.saturating_sub(8)..start];
    let last = before.iter().rev().find(|byte| !b" \"'([".contains(byte));
    last.map_or(start <= before.len(), |byte| b".!?:;\n".contains(byte))
}

/// Masks capitalised words beside an unknown one.
fn spread(text: &[u8], words: &mut [Word], from: usize, step: isize) {
    let mut place = from;
    for _ in 0..NEIGHBOURS {
        let Some(next) = place
            .checked_add_signed(step)
            .filter(|next| *next < words.len())
        else {
            return;
        };
        let (left, right) = (place.min(next), place.max(next));
        let between = &text[words[left].range.end..words[right].range.start];
        let is_beside = matches!(between, b" " | b"-" | b"." | b". " | b" . " | b" - ");
        if !is_beside || !words[next].is_capital {
            return;
        }
        let is_initial = words[next].range.len() == 1
            && (text[words[next].range.start] != b'I'
                || between.contains(&b'.')
                || text.get(words[next].range.end) == Some(&b'.'));
        match words[next].verdict {
            Verdict::Common => words[next].verdict = Verdict::Unknown,
            Verdict::Closed if is_initial => words[next].verdict = Verdict::Unknown,
            Verdict::Closed => return,
            Verdict::Unknown => {}
        }
        place = next;
    }
}

/// Masks `van der` in `Anna van der Berg`.
fn link(text: &[u8], words: &mut [Word]) {
    let is_name = |word: &Word| word.verdict == Verdict::Unknown && word.is_capital;
    let is_link = |word: &Word| {
        let written = &text[word.range.clone()];
        LINKS
            .iter()
            .any(|link| link.as_bytes().eq_ignore_ascii_case(written))
    };
    for place in 1..words.len().saturating_sub(1) {
        let Some(after) =
            (1..3).find_map(|step| words.get(place + step).filter(|word| !is_link(word)))
        else {
            continue;
        };
        let span = words[place - 1].range.end..after.range.start;
        let is_close = text[span]
            .iter()
            .all(|byte| byte.is_ascii_alphabetic() || *byte == b' ');
        if is_link(&words[place]) && is_name(&words[place - 1]) && is_name(after) && is_close {
            words[place].verdict = Verdict::Unknown;
            // The next link looks at this one.
            words[place].is_capital = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut shown = text.as_bytes().to_vec();
        for range in uncommon(text.as_bytes()) {
            shown[range].fill(b'_');
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    #[test]
    fn names_are_masked_and_common_words_kept() {
        assert_eq!(
            masked("My name is Rita Briccialdi and I need a letter."),
            "My name is ____ __________ and I need a letter."
        );
        assert_eq!(
            masked("please call anneliese now"),
            "please call _________ now"
        );
    }

    #[test]
    fn a_common_word_beside_a_name_is_a_part_of_it() {
        assert_eq!(masked("Stone Kowalczyk left."), "_____ _________ left.");
        assert_eq!(
            masked("we met Anna van der Berg"),
            "we met ____ ___ ___ ____"
        );
        assert_eq!(masked("by J. R. Kowalczyk"), "by _. _. _________");
    }

    #[test]
    fn a_month_is_kept_beside_a_number_only() {
        assert_eq!(masked("on May 3 we met"), "on May 3 we met");
        assert_eq!(masked("we saw May and June"), "we saw ___ and ____");
    }

    #[test]
    fn handles_and_bytes_that_are_no_text_are_masked() {
        assert_eq!(
            masked("thanks @maker, from team_9"),
            "thanks @_____, from _____9"
        );
        assert_eq!(uncommon(b"ok \xff\xfe now").first(), Some(&(3..5)));
    }

    #[test]
    fn the_list_is_sorted_and_without_doubles() {
        let words: Vec<&str> = LIST
            .lines()
            .map(|line| line.trim_start_matches('+'))
            .collect();
        assert!(words.is_sorted());
        assert_eq!(COMMON.len(), words.len());
    }
}
