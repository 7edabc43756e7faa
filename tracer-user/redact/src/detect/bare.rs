//! Tokens without a fixed beginning, known by their composition alone: how many characters of which
//! kind stand between which marks. All are as their issuers document them.

use std::ops::Range;

use memchr::memmem;

use super::{
    armour::{self, WIDTH},
    class::{self, ALNUM, BASE64, DIGIT, JOINER, LETTER, LOWER, UPPER},
    hit::{Certainty, Found},
    kind::Kind::{self, ChatToken, PrivateKey, ServiceToken},
    looks::is_path,
    shadow::is_base64_of_text,
};

/// The token that the run of letters and digits at `run` is a part of, seen from its first digit.
pub(crate) fn read(text: &[u8], run: &Range<usize>) -> Option<Found> {
    let found = |range, rule, kind: Kind| Found {
        range,
        rule,
        kind,
        certainty: Certainty::Shape,
    };
    let is_mixed = |range: &Range<usize>| {
        let has = |classes: u8| {
            text[range.clone()]
                .iter()
                .any(|byte| class::is(*byte, classes))
        };
        has(DIGIT) && has(LOWER) && has(UPPER)
    };
    let length = run.len();
    if length >= 10 {
        if let Some(range) = armoured_line(text, run) {
            return Some(found(range, "armoured-line", PrivateKey));
        }
        if let Some(range) = azure_account_key(text, run) {
            return Some(found(range, "azure-account-key", Kind::CloudKey));
        }
        if length <= 32
            && let Some(range) = discord_bot(text, run)
        {
            return Some(found(range, "discord-bot-token", ChatToken));
        }
    }
    if length >= 2
        && text[run.start..].starts_with(b"00")
        && let Some(range) = okta_token(text, run)
    {
        return Some(found(range, "okta-token", ServiceToken));
    }
    // Vault's tokens up to version 1.9.
    if length == 24
        && text[..run.start].ends_with(b"s.")
        && !class::before(text, run.start - 2, ALNUM | JOINER)
        && is_mixed(run)
    {
        return Some(found(run.start - 2..run.end, "vault-token", Kind::CloudKey));
    }
    if is_random_key(text, run) {
        // No issuer's form says so.
        return Some(Found {
            certainty: Certainty::Context,
            ..found(run.clone(), "random-key", Kind::Secret)
        });
    }
    if let Some(range) = super::prefixed::read(text, run) {
        return Some(Found {
            certainty: Certainty::Context,
            ..found(range, "prefixed-key", Kind::Secret)
        });
    }
    let next = *text.get(run.end)?;
    if !matches!(next, b'-' | b'|' | b':' | b'/') || class::before(text, run.start, ALNUM | JOINER)
    {
        return None;
    }
    let is_number = text[run.clone()].iter().all(|byte| class::is(*byte, DIGIT));
    let tail = run.end + 1..class::run_end(text, run.end + 1, ALNUM);
    let is_hex = |range: &Range<usize>| text[range.clone()].iter().all(u8::is_ascii_hexdigit);
    let is_free = !class::at(text, tail.end, JOINER);
    match (next, is_number, length, tail.len()) {
        // TrueNAS: the key's number and 64 characters.
        (b'-', true, 1..=4, 64) if is_free && is_mixed(&tail) => {
            Some(found(run.start..tail.end, "truenas-key", ServiceToken))
        }
        // UptimeRobot: a letter, the account's number and 24 or 32 hexadecimal digits.
        (b'-', false, 7..=10, 24 | 32)
            if is_free && matches!(text[run.start], b'u' | b'm') && is_hex(&tail) =>
        {
            let number = text[run.start + 1..run.end].iter();
            number
                .copied()
                .all(|byte| class::is(byte, DIGIT))
                .then(|| found(run.start..tail.end, "uptimerobot-key", ServiceToken))
        }
        // Asana: a version, one or two numbers, and 32 hexadecimal digits.
        (b'/', true, 1, 15..=19) => {
            let second = class::run_end(text, tail.end + 1, DIGIT);
            let numbers = if text.get(tail.end) == Some(&b'/') {
                second
            } else {
                tail.end
            };
            let end = class::run_end(text, numbers + 1, ALNUM);
            let is_key = text.get(numbers) == Some(&b':') && end - numbers == 33;
            (is_key && is_hex(&(numbers + 1..end)))
                .then(|| found(run.start..end, "asana-token", ServiceToken))
        }
        // Twitter's access token: the user's number and 40 characters.
        (b'-', true, 5..=20, 40) if is_free && is_mixed(&tail) => Some(found(
            run.start..tail.end,
            "twitter-access-token",
            ServiceToken,
        )),
        // A Telegram bot's number and 35 characters.
        (b':', true, 8..=10, _) => {
            let end = class::run_end(text, run.end + 1, ALNUM | JOINER);
            (end - run.end == 36 && is_mixed(&(run.end + 1..end)))
                .then(|| found(run.start..end, "telegram-bot-token", ChatToken))
        }
        // What Windows keeps of a password: two digests.
        (b':', false, 32, 32) if is_free && is_hex(run) && is_hex(&tail) => Some(found(
            run.start..tail.end,
            "ntlm-hashes",
            Kind::PasswordHash,
        )),
        // What Windows sends of a password: a challenge, a digest, and what it was made of.
        (b':', _, 16, 32) if is_hex(run) && is_hex(&tail) && text.get(tail.end) == Some(&b':') => {
            let end = class::run_end(text, tail.end + 1, ALNUM);
            Some(found(run.start..end, "ntlm-hashes", Kind::PasswordHash))
        }
        // Facebook's app token: the app's number and 27 characters.
        (b'|', true, 13..=17, _) => {
            let end = class::run_end(text, run.end + 1, ALNUM | JOINER);
            (end - run.end == 28).then(|| found(run.start..end, "facebook-app-token", ServiceToken))
        }
        // Mailgun: 32, 8 and 8 hexadecimal digits.
        (b'-', _, 32, 8) => {
            let last = tail.end + 1..class::run_end(text, (tail.end + 1).min(text.len()), ALNUM);
            (text.get(tail.end) == Some(&b'-')
                && last.len() == 8
                && [run, &tail, &last].into_iter().all(is_hex))
            .then(|| found(run.start..last.end, "mailgun-key", ServiceToken))
        }
        _ => None,
    }
}

/// The secret of so many characters that stands close to a key's id, with no word of its own.
pub(crate) fn beside(text: &[u8], id: &Range<usize>, length: usize) -> Option<Range<usize>> {
    const NEAR: usize = 120;
    let is_part = |byte: u8| class::is(byte, ALNUM) || matches!(byte, b'/' | b'+');
    let (floor, limit) = (
        id.start.saturating_sub(NEAR),
        text.len().min(id.end + NEAR + length),
    );
    let mut place = floor;
    while place < limit {
        let size = text[place..limit]
            .iter()
            .take_while(|byte| is_part(**byte))
            .count();
        let token = &text[place..place + size];
        let has = |classes: u8| token.iter().any(|byte| class::is(*byte, classes));
        // Twilio's is hexadecimal, and stands in quotes.
        let is_mixed = has(UPPER) && has(LOWER);
        let is_hex = || {
            text[id.start] == b'A'
                && text[id.start + 1] == b'C'
                && has(DIGIT)
                && has(LETTER)
                && token.iter().all(u8::is_ascii_hexdigit)
                && matches!(text.get(place + size), Some(b'"' | b'\''))
        };
        if size == length && place != id.start && (is_mixed || is_hex()) && !is_path(token) {
            return Some(place..place + size);
        }
        place += size.max(1);
    }
    None
}

/// Okta's token: two zeroes and 40 characters.
fn okta_token(text: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    let end = class::run_end(text, run.start, ALNUM | JOINER);
    let token = &text[run.start..end];
    let has = |classes: u8| token.iter().any(|byte| class::is(*byte, classes));
    (token.len() == 42
        && has(UPPER)
        && has(LOWER)
        && !class::before(text, run.start, ALNUM | JOINER | BASE64))
    .then_some(run.start..end)
}

/// Letters of both cases and digits, shuffled as no name and no number is, and as long as keys are.
/// Ids in the path of a URL, pieces of base64 and what says that it is a digest are left.
fn is_random_key(text: &[u8], run: &Range<usize>) -> bool {
    let token = &text[run.clone()];
    if !(32..=128).contains(&token.len()) {
        return false;
    }
    let is_piece = |byte: Option<&u8>| byte.is_some_and(|byte| class::is(*byte, BASE64 | JOINER));
    let before = run.start.checked_sub(1).map(|place| &text[place]);
    // An assignment's sign stands before a value, not in it.
    if (is_piece(before) && before != Some(&b'=')) || is_piece(text.get(run.end)) {
        return false;
    }
    let count = |classes: u8| {
        token
            .iter()
            .filter(|byte| class::is(**byte, classes))
            .count()
    };
    let kinds = token.windows(2);
    let turns = kinds
        .filter(|pair| class::of(pair[0], ALNUM) != class::of(pair[1], ALNUM))
        .count();
    let is_row = token
        .windows(4)
        .any(|four| four.iter().all(|byte| *byte == four[0]));
    // Go's digest of a module.
    let is_digest = text[..run.start].ends_with(b" h1:");
    // C++ encodes names with lengths between them.
    let is_symbol = token.starts_with(b"ZN") || text[..run.start].ends_with(b"_");
    // What would be a Bitcoin address if its check held.
    let is_mistyped_address = token.len() <= 35
        && matches!(token[0], b'1' | b'3')
        && !token.iter().any(|byte| b"0OIl".contains(byte));
    // The shadows show what stands in it.
    let is_encoded = token.iter().all(u8::is_ascii_hexdigit) || is_base64_of_text(text, run.start);
    count(DIGIT) >= 3
        && !is_encoded
        && !is_digest
        && count(UPPER) * 6 >= token.len()
        && count(LOWER) * 6 >= token.len()
        && turns * 5 >= token.len() * 2
        && !is_row
        && !is_symbol
        && !is_mistyped_address
        && !(token.len() == WIDTH && armour::is_public(text, run.start))
}

/// One line of an armoured key, whatever stands before and after it.
fn armoured_line(text: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    let floor = run.start.saturating_sub(WIDTH);
    let start = floor + class::run_start(&text[floor..], run.start - floor, ALNUM | BASE64);
    let end = start
        + text[start..]
            .iter()
            .take(WIDTH + 1)
            .take_while(|byte| class::is(**byte, ALNUM | BASE64))
            .count();
    (armour::is_line(&text[start..end])
        && !class::before(text, start, JOINER)
        && !armour::is_public(text, start))
    .then_some(start..end)
}

/// The key of a storage account at Azure: 64 bytes in base64, not far behind a word for what it opens. Digests of
/// SHA-512 and signatures look alike.
fn azure_account_key(text: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    const LENGTH: usize = 88;
    const BEFORE: usize = 160;
    const WORDS: [&[u8]; 4] = [b"account", b"storage", b"azure", b"cosmos"];
    let floor = run.start.saturating_sub(LENGTH);
    let start = floor + class::run_start(&text[floor..], run.start - floor, ALNUM | BASE64);
    // An assignment's sign stands before the key.
    let start = start + usize::from(text[start] == b'=');
    let key = text.get(start..start + LENGTH)?;
    let body = key.strip_suffix(b"==")?;
    let has = |classes: u8| body.iter().any(|byte| class::is(*byte, classes));
    let is_key = body.iter().all(|byte| class::is(*byte, ALNUM | BASE64))
        && !body.contains(&b'=')
        && has(UPPER)
        && has(LOWER)
        && !class::at(text, start + LENGTH, ALNUM | BASE64)
        && !class::before(text, start, JOINER);
    let before = &text[start.saturating_sub(BEFORE)..start];
    let is_told = || {
        if memmem::rfind(before, b"sha512").is_some() {
            return false;
        }
        let words = before.split(|byte| !class::is(*byte, LETTER));
        let mut words = words.map(<[u8]>::to_ascii_lowercase);
        words.any(|word| WORDS.iter().any(|told| memmem::find(&word, told).is_some()))
    };
    (is_key && is_told()).then_some(start..start + LENGTH)
}

/// A bot's token: its number in base64, when it was made, and a signature.
fn discord_bot(text: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    let is_part = |from: usize| class::run_end(text, from, ALNUM | JOINER);
    let floor = run.start.saturating_sub(28);
    let start = floor + class::run_start(&text[floor..], run.start - floor, ALNUM | JOINER);
    let first = is_part(start);
    // Base64 of a digit begins with one of these.
    let begins = matches!(text[start], b'M' | b'N' | b'O');
    if !begins || !(23..=28).contains(&(first - start)) || text.get(first) != Some(&b'.') {
        return None;
    }
    let second = is_part(first + 1);
    if !(6..=7).contains(&(second - first - 1)) || text.get(second) != Some(&b'.') {
        return None;
    }
    let third = is_part(second + 1);
    let has_letters = text[second + 1..third]
        .iter()
        .any(|byte| class::is(*byte, LETTER));
    ((27..=45).contains(&(third - second - 1)) && has_letters).then_some(start..third)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(&'static str, &str)> {
        let text_bytes = text.as_bytes();
        let digit = text_bytes.iter().position(u8::is_ascii_digit)?;
        let start = class::run_start(text_bytes, digit, ALNUM);
        let end = class::run_end(text_bytes, digit, ALNUM);
        read(text_bytes, &(start..end)).map(|found| (found.rule, &text[found.range]))
    }

    #[test]
    fn composition_says_what_a_token_is() {
        let letters = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kM9nP2rS5uV8xY1aB4dE7gH0jK3mN6";
        let take = |count: usize| &letters[..count];
        for (text, rule) in [
            (
                format!("MTA{}.{}.{}", take(22), take(6), take(38)),
                "discord-bot-token",
            ),
            (format!("8-{}", take(64)), "truenas-key"),
            (format!("819797-{}", take(40)), "twitter-access-token"),
            (
                format!("1527194624358273|{}", take(27)),
                "facebook-app-token",
            ),
            (
                "0123456789abcdef0123456789abcdef-0a1b2c3d-4e5f6071".to_owned(),
                "mailgun-key",
            ),
            (take(64).to_owned(), "armoured-line"),
        ] {
            assert_eq!(found(&text), Some((rule, text.as_str())), "{text}");
        }
    }

    #[test]
    fn an_account_key_is_known_by_what_it_opens() {
        let key = format!(
            "{}==",
            "aB3xE6gH9jK2m+5pQ8sT1vW4y/".repeat(4)[..86].to_owned()
        );
        let told = format!("the storage account's: {key}");
        assert_eq!(found(&told), Some(("azure-account-key", key.as_str())));
        assert_eq!(found(&format!("\"integrity\": \"sha512-{key}\"")), None);
        assert_eq!(found(&format!("it is {key}")), None);
    }

    #[test]
    fn digests_and_versions_are_none() {
        for text in [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "1234-abc",
            "12.04.1",
            "2026-11-25",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
