//! Tokens of issuers that no table knows: today's tokens begin with words that say whose they are and go on
//! with letters of both cases and digits, as in `vcp_8Gk2…`, `acme_live_9xQ…`, `sk-vendor-v1-…`.
//!
//! Ids begin so too, as `chatcmpl-…` does: words that begin ids are left, and so is what mixes as little
//! as names of things do.

use std::ops::Range;

use super::class::{self, ALNUM, DIGIT, JOINER, LETTER, LOWER, UPPER};

/// The words may be so long together.
const LONGEST_PREFIX: usize = 24;
/// What follows them is at least so long.
const LEAST: usize = 24;
/// The same where a word says what it is.
const LEAST_OF_TOLD: usize = 20;
/// No more of a value is judged.
const MOST: usize = 300;

/// Words of which one says that what follows is secret.
const TELLING: [&[u8]; 16] = [
    b"sk", b"rk", b"key", b"apikey", b"api", b"tok", b"token", b"secret", b"pat", b"oat", b"live",
    b"prod", b"test", b"dev", b"sandbox", b"auth",
];

/// Words that begin an id, which everybody may know.
const IDS: [&[u8]; 58] = [
    b"id",
    b"chatcmpl",
    b"cmpl",
    b"msg",
    b"message",
    b"req",
    b"request",
    b"resp",
    b"response",
    b"run",
    b"thread",
    b"call",
    b"toolu",
    b"tool",
    b"file",
    b"asst",
    b"batch",
    b"step",
    b"item",
    b"evt",
    b"event",
    b"embd",
    b"rs",
    b"fc",
    b"vs",
    b"job",
    b"task",
    b"trace",
    b"span",
    b"img",
    b"image",
    b"gen",
    b"conv",
    b"chat",
    b"ws",
    b"seq",
    b"node",
    b"pod",
    b"worker",
    b"cus",
    b"pi",
    b"ch",
    b"in",
    b"sub",
    b"price",
    b"prod",
    b"acct",
    b"pm",
    b"seti",
    b"txn",
    b"org",
    b"proj",
    b"user",
    b"usr",
    b"model",
    b"models",
    b"video",
    b"ftjob",
];

/// The whole token, whose first digit after its words stands in the run of letters and digits at `run`.
pub(crate) fn read(text: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    let is_joined = class::before(text, run.start, JOINER) || class::at(text, run.end, JOINER);
    if !is_joined {
        return None;
    }
    let floor = run.start.saturating_sub(LONGEST_PREFIX + 1);
    let start = floor + class::run_start(&text[floor..], run.start - floor, ALNUM | JOINER);
    let is_cut = start == floor && floor > 0;
    // A path, an attribute or a piece of base64 goes on here.
    let goes_on = |place: usize| matches!(text.get(place), Some(b'+' | b'/'));
    if is_cut || (start > 0 && goes_on(start - 1)) || !class::at(text, start, LETTER) {
        return None;
    }
    let limit = text.len().min(start + MOST);
    let end = class::run_end(&text[..limit], start, ALNUM | JOINER);
    if end - start < LEAST_OF_TOLD + 3 || goes_on(end) {
        return None;
    }
    let (value, is_told) = value(&text[start..end])?;
    // Hexadecimal digits are an id's or a digest's as well.
    let is_hex = is_told && value.len() >= 32 && value.iter().all(u8::is_ascii_hexdigit);
    if is_hex
        && has_telling_head(&text[start..end])
        && value.iter().any(|byte| class::is(*byte, DIGIT))
    {
        return Some(start..end);
    }
    let least = if is_told { LEAST_OF_TOLD } else { LEAST };
    // A signature may follow, behind a dot.
    let signature = class::run_end(&text[..limit], (end + 1).min(limit), ALNUM | JOINER);
    let is_signed = text.get(end) == Some(&b'.') && signature > end + LEAST;
    let whole = start..if is_signed { signature } else { end };
    (value.len() >= least && is_mixed_up(value)).then_some(whole)
}

/// What follows the words, and whether one of them says that it is secret; nothing if they begin an id.
fn value(token: &[u8]) -> Option<(&[u8], bool)> {
    let mut rest = token;
    let (mut count, mut is_told) = (0, false);
    while count < 3 {
        let length = rest
            .iter()
            .take_while(|byte| class::is(**byte, ALNUM))
            .count();
        let word = &rest[..length];
        if length == rest.len() || !is_prefix(word) {
            break;
        }
        if count == 0 && IDS.contains(&word) {
            return None;
        }
        is_told |= TELLING.contains(&word);
        count += 1;
        rest = &rest[length + 1..];
    }
    (count > 0 && !rest.is_empty()).then_some((rest, is_told))
}

/// A token that is a UUID, the one at `start`, behind a word for a secret: `acme-secret-6f1e…`. Behind `key` or
/// `api` alone it may be an id.
pub(crate) fn uuid(text: &[u8], start: usize) -> Option<Range<usize>> {
    if !class::before(text, start, JOINER) {
        return None;
    }
    let floor = start.saturating_sub(LONGEST_PREFIX + 1);
    let head = floor + class::run_start(&text[floor..], start - floor, ALNUM | JOINER);
    let mut words = text[head..start - 1]
        .rsplit(|byte| class::is(*byte, JOINER))
        .map(<[u8]>::to_ascii_lowercase);
    let last = words.next()?;
    let is_secret = |word: &[u8]| matches!(word, b"secret" | b"private" | b"token" | b"apikey");
    let is_told = match last.as_slice() {
        b"key" => words
            .next()
            .is_some_and(|word| word == b"api" || is_secret(&word)),
        last => is_secret(last),
    };
    is_told.then_some(head..start + 36)
}

/// Whether the token begins with the word for a key: `test` and `dev` begin names of things as well.
fn has_telling_head(token: &[u8]) -> bool {
    let head = token.split(|byte| class::is(*byte, JOINER)).next();
    head.is_some_and(|head| TELLING[..10].contains(&head))
}

/// A word of small letters, or of capitals, that may end with a digit or two.
fn is_prefix(word: &[u8]) -> bool {
    let letters = |classes: u8| {
        let letters = word
            .iter()
            .take_while(|byte| class::is(**byte, classes))
            .count();
        let rest = &word[letters..];
        letters > 0 && rest.len() <= 2 && rest.iter().all(|byte| class::is(*byte, DIGIT | classes))
    };
    (1..=12).contains(&word.len()) && (letters(LOWER) || letters(UPPER))
}

/// Letters of both cases and digits, in an order that no name has.
fn is_mixed_up(value: &[u8]) -> bool {
    let count = |classes: u8| value.iter().filter(|b| class::is(**b, classes)).count();
    let length = value.len();
    let turns = value
        .windows(2)
        .filter(|pair| class::of(pair[0], ALNUM) != class::of(pair[1], ALNUM))
        .count();
    let is_row = value
        .windows(4)
        .any(|four| four.iter().all(|byte| *byte == four[0]));
    // Hexadecimal digits of both cases are somebody's digest.
    let hexadecimal = value.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    count(DIGIT) >= 2
        && hexadecimal * 8 < length * 7
        && count(DIGIT) * 20 >= length
        && count(UPPER) * 6 >= length
        && count(LOWER) * 6 >= length
        && count(JOINER) * 10 <= length
        && turns * 5 >= length * 2
        && !is_row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        let bytes = text.as_bytes();
        let digits = (0..bytes.len()).filter(|place| class::at(bytes, *place, DIGIT));
        let mut runs = digits.map(|digit| {
            class::run_start(bytes, digit, ALNUM)..class::run_end(bytes, digit, ALNUM)
        });
        runs.find_map(|run| read(bytes, &run))
            .map(|range| &text[range])
    }

    #[test]
    fn tokens_of_unknown_issuers_are_found_with_their_words() {
        for token in [
            "acme_9kQ2xW7vLm4RbJ8cGd5PyN3sFh6TkZq",
            "acme_live_9kQ2xW7vLm4RbJ8cGd5P",
            "sk-vendor-v1-9kQ2xW7vLm4RbJ8cGd5PyN3s",
            "VENDORKEY-9kQ2xW7vLm4RbJ8-cGd5PyN3sFh6Tk",
            "tok2_9kQ2xW7vLm4RbJ8cGd5_yN3sFh6TkZq",
        ] {
            assert_eq!(found(&format!("use {token}, please")), Some(token));
            assert_eq!(found(token), Some(token));
        }
    }

    #[test]
    fn a_uuid_is_a_token_behind_a_word_for_a_secret() {
        const UUID: &str = "6f1e4567-e89b-42d3-a456-426614174000";
        for (words, is_token) in [
            ("acme-secret-", true),
            ("acme-secret-key-", true),
            ("ACME_API_KEY_", true),
            ("cache-key-", false),
            ("secret ", false),
            ("", false),
        ] {
            let text = format!("{words}{UUID}");
            let found = uuid(text.as_bytes(), words.len());
            assert_eq!(found, is_token.then_some(0..text.len()), "{text}");
        }
    }

    #[test]
    fn ids_and_names_of_things_are_left() {
        for text in [
            "chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ01",
            "call_9kQ2xW7vLm4RbJ8cGd5PyN3sFh6TkZq",
            "meta-llama-Llama-3-8B-Instruct-Q4_K_M",
            "ncclDevKernel_AllReduce_Sum_f32_RING_LL",
            "ggml_vec_dot_q4_K_q8_K_avx512_vnni_256",
            "cutlass_80_tensorop_s16816gemm_f16_256x128_32x3_tn_align8",
            "test_UserAuthenticationTokenProviderFactory2Impl",
            "trace_4bf92f3577b34da6a3ce929d0e0e4736",
            "a1_a1_a1_a1_a1_a1_a1_a1_a1_a1_a1_a1_a1",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
