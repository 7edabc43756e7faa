//! Finds the words of a fixed set in a text, in either case: the leftmost first, of those that
//! begin at one place the longest, and none inside another. Two words may share the last letters of the
//! first: in `credentialsecret` both `credentials` and `secret` are found.
//!
//! This is what an Aho-Corasick automaton gives, made for one use: thousands of words of which few
//! occur. The automaton of the built-in words takes megabytes, and on text of many kinds nearly
//! every step waits for memory. Here a bit for each possible beginning of three characters, 4 KiB
//! in all, says where a word may begin, and only there are words compared.

/// How many classes of characters a beginning tells apart, as a power of two.
const CLASS_BITS: u32 = 5;
const BEGINNINGS: usize = 1 << (3 * CLASS_BITS);
/// Of a word, the part that is compared at once.
const HEAD: usize = 8;
/// How much of a word's end may be the beginning of the next.
const SHARED: usize = 2;

/// A set of words.
pub(crate) struct Finder {
    /// A bit for each beginning that a word has.
    may_begin: Box<[u64; BEGINNINGS / 64]>,
    /// For each 64 of them, how many come before.
    ranks: Box<[u16; BEGINNINGS / 64]>,
    /// For each beginning that a word has, where its words begin in `words`; and their number.
    starts: Vec<u32>,
    /// For each beginning that a word has, a bit for each class that its words go on with.
    fourths: Vec<u32>,
    /// By beginning, longer ones first.
    words: Vec<Word>,
}

/// A word in small letters.
struct Word {
    /// Its first bytes, and a mask with ones for as many as there are.
    head: u64,
    mask: u64,
    text: Box<[u8]>,
    /// Its place in the list that the set was made of.
    place: u32,
}

/// A word found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) place: u32,
}

/// Letters by themselves, everything else in a few classes; 0 is what no word begins with.
static CLASS: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let value = byte as u8;
        classes[byte] = match value {
            b'a'..=b'z' => (value - b'a') as u16 + 1,
            b'A'..=b'Z' => (value - b'A') as u16 + 1,
            b' ' => 27,
            b'-' | b'_' => 28,
            b'0'..=b'9' => 29,
            0x80.. => 30,
            _ => 31,
        };
        byte += 1;
    }
    classes
}

impl Finder {
    /// A set of words; an empty one is never found.
    pub(crate) fn new(words: &[String]) -> Self {
        let mut list: Vec<(u16, Word)> = Vec::with_capacity(words.len());
        let mut may_begin = Box::new([0; BEGINNINGS / 64]);
        for (place, word) in words.iter().enumerate() {
            let place = u32::try_from(place).expect("a policy has fewer words than that");
            let text = word.to_ascii_lowercase().into_bytes();
            for beginning in beginnings(&text) {
                may_begin[usize::from(beginning) / 64] |= 1 << (beginning % 64);
                list.push((beginning, Word::new(&text, place)));
            }
        }
        list.sort_by_key(|(beginning, word)| (*beginning, usize::MAX - word.text.len()));
        let mut starts = Vec::new();
        let mut fourths = Vec::new();
        let mut at = 0;
        for words in list.chunk_by(|(one, _), (other, _)| one == other) {
            starts.push(u32::try_from(at).expect("a policy has fewer words than that"));
            fourths.push(words.iter().fold(0, |any, (_, word)| any | word.fourth()));
            at += words.len();
        }
        starts.push(u32::try_from(list.len()).expect("a policy has fewer words than that"));
        let mut ranks = Box::new([0; BEGINNINGS / 64]);
        let mut rank = 0;
        for (bits, before) in may_begin.iter().zip(ranks.iter_mut()) {
            *before = rank;
            rank += u16::try_from(u64::count_ones(*bits)).expect("there are 64 bits");
        }
        Self {
            may_begin,
            ranks,
            starts,
            fourths,
            words: list.into_iter().map(|(_, word)| word).collect(),
        }
    }

    /// Reports every word found, in order. Words lie over each other where one begins with a dot, and
    /// where one ends with what the next begins with.
    pub(crate) fn find(&self, text: &[u8], mut report: impl FnMut(Match)) {
        let class = |place: usize| text.get(place).map_or(0, |byte| CLASS[usize::from(*byte)]);
        let two = |place: usize| usize::from(class(place) << CLASS_BITS | class(place + 1));
        let mut beginning = two(0);
        let mut place = 0;
        let mut covered = 0;
        while place < text.len() {
            let next = usize::from(class(place + 2));
            beginning = (beginning << CLASS_BITS | next) & (BEGINNINGS - 1);
            let bits = self.may_begin[beginning / 64] >> (beginning % 64);
            if bits & 1 == 1
                && let Some(found) = self.at(text, place, beginning)
                && found.end > covered
            {
                report(found);
                // A host's ending hides no word: `.se` begins `.secret` as well.
                if text[place] == b'.' {
                    place += 1;
                } else {
                    covered = found.end;
                    // Where no letter follows, no word goes on.
                    let goes_on = (1..=26).contains(&class(found.end));
                    let shared = if goes_on { SHARED } else { 0 };
                    place = found.end.saturating_sub(shared).max(place + 1);
                }
                beginning = two(place);
            } else {
                place += 1;
            }
        }
    }

    /// The longest word that begins at `place`, if one may.
    fn at(&self, text: &[u8], place: usize, beginning: usize) -> Option<Match> {
        // No word begins within a character.
        if text[place] & 0xC0 == 0x80 {
            return None;
        }
        let below = self.may_begin[beginning / 64] & ((1 << (beginning % 64)) - 1);
        let rank = usize::from(self.ranks[beginning / 64]) + below.count_ones() as usize;
        let rest = &text[place..];
        let fourth = rest.get(3).map_or(0, |byte| CLASS[usize::from(*byte)]);
        if self.fourths[rank] >> fourth & 1 == 0 {
            return None;
        }
        let (first, end) = (self.starts[rank], self.starts[rank + 1]);
        let head = head(rest);
        let word = self.words[first as usize..end as usize]
            .iter()
            .find(|word| {
                head & word.mask == word.head
                    && rest
                        .get(..word.text.len())
                        .is_some_and(|text| text.eq_ignore_ascii_case(&word.text))
            })?;
        Some(Match {
            start: place,
            end: place + word.text.len(),
            place: word.place,
        })
    }
}

impl Word {
    fn new(text: &[u8], place: u32) -> Self {
        let known = text.len().min(HEAD);
        Self {
            head: head(text),
            mask: u64::MAX >> (8 * (HEAD - known)),
            text: text.into(),
            place,
        }
    }

    /// A bit for each class of characters that the fourth may have: any where a word has fewer.
    fn fourth(&self) -> u32 {
        self.text
            .get(3)
            .map_or(u32::MAX, |byte| 1 << CLASS[usize::from(*byte)])
    }
}

/// The first bytes, capitals as small letters; zeroes where there are none.
fn head(text: &[u8]) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let bytes = match text.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => (text.iter().rev()).fold(0, |bytes, byte| bytes << 8 | u64::from(*byte)),
    };
    // All bytes at once: the upper bit of each says whether it is `A` or more, and more than `Z`.
    let lower = bytes & (EACH * 0x7F);
    let from_a = lower + EACH * (0x80 - b'A' as u64);
    let past_z = lower + EACH * (0x80 - b'Z' as u64 - 1);
    let is_capital = (from_a & !past_z & !bytes) & (EACH * 0x80);
    bytes | is_capital >> 2
}

/// Every beginning that a place has at which the word stands: what follows a short word may be
/// anything, or nothing.
fn beginnings(word: &[u8]) -> std::ops::Range<u16> {
    let class = |place: usize| word.get(place).map_or(0, |byte| CLASS[usize::from(*byte)]);
    let first = class(0) << (2 * CLASS_BITS) | class(1) << CLASS_BITS | class(2);
    let count = match word.len() {
        0 => 0,
        1 => 1 << (2 * CLASS_BITS),
        2 => 1 << CLASS_BITS,
        _ => 1,
    };
    first..first + count
}

#[cfg(test)]
mod tests {
    use aho_corasick::{AhoCorasick, MatchKind};
    use proptest::prelude::*;

    use super::*;

    fn found(words: &[&str], text: &str) -> Vec<(usize, usize, u32)> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut found = Vec::new();
        Finder::new(&words).find(text.as_bytes(), |hit| {
            found.push((hit.start, hit.end, hit.place));
        });
        found
    }

    #[test]
    fn the_longest_word_at_the_first_place_is_found() {
        let words = ["ip", "password", "pass", "pass phrase", "[at]", "né le"];
        assert_eq!(found(&words, "IP"), [(0, 2, 0)]);
        assert_eq!(found(&words, "PassPhrase"), [(0, 4, 2)]);
        assert_eq!(found(&words, "ship passwords"), [(2, 4, 0), (5, 13, 1)]);
        assert_eq!(found(&words, "a[at]né le"), [(1, 5, 4), (5, 11, 5)]);
        assert_eq!(found(&words, "pas"), []);
        let words = [".se", "secret"];
        assert_eq!(found(&words, "x.secret"), [(1, 4, 0), (2, 8, 1)]);
        let words = ["credentials", "secret", "also"];
        assert_eq!(found(&words, "credentialsecret"), [(0, 11, 0), (10, 16, 1)]);
        assert_eq!(found(&words, "credentialso"), [(0, 11, 0)]);
        assert_eq!(found(&[], "pas"), []);
    }

    proptest! {
        #[test]
        fn it_finds_what_an_automaton_finds(
            words in prop::collection::btree_set("[abAé\\-]{1,5}|[ab ]{9,12}", 0..40),
            text in "[abAB é\\-.]{0,80}",
        ) {
            let mut words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
            words.sort();
            words.dedup();
            let automaton = AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .build(&words)
                .expect("a few words fit");
            let mut all: Vec<_> = automaton
                .find_overlapping_iter(&text)
                .map(|found| (found.start(), found.end(), found.pattern().as_u32()))
                .collect();
            all.sort_by_key(|(start, end, _)| (*start, text.len() - end));
            let (mut expected, mut next, mut covered) = (Vec::new(), 0, 0);
            for longest in all.chunk_by(|one, other| one.0 == other.0) {
                let (start, end, _) = longest[0];
                if start >= next && end > covered {
                    expected.push(longest[0]);
                    let follows = text.as_bytes().get(end);
                    let goes_on = follows.is_some_and(u8::is_ascii_alphabetic);
                    let shared = if goes_on { SHARED } else { 0 };
                    (next, covered) = (end.saturating_sub(shared).max(start + 1), end);
                }
            }
            let list: Vec<&str> = words.iter().map(String::as_str).collect();
            prop_assert_eq!(found(&list, &text), expected);
        }
    }
}
