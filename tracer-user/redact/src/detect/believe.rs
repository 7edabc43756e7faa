//! Whether a value is what its name calls it: a password may look like anything but what programs
//! say about passwords, a key must look like one.

use memchr::memmem;

use super::{
    class::{self, ALNUM, DIGIT, LOWER},
    looks::{
        has_kinds, is_cmdlet, is_code, is_digest, is_message, is_mixed, is_path, is_placeholder,
        is_plain_word, is_plate, is_product_key, is_prose, is_shuffled, is_type, is_uuid,
        looks_random, names_a_password, names_something_else,
    },
    spelling::is_unpronounceable,
};

/// What the name says of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// A password: it may look like anything.
    Password,
    /// A key, a token, a secret: those look like what they are.
    Secret,
}

/// How the value is joined to the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// `=`, `:` and their kin, without blanks around.
    Tight,
    /// The same with blanks, a comma between arguments, a tag.
    Loose,
    /// `is`, `was`.
    Verb,
    /// Blanks only.
    Blank,
}

/// The name's deciding word, and what follows it in the name.
pub(crate) struct Name<'t> {
    pub(crate) word: &'t [u8],
    pub(crate) suffix: &'t [u8],
}

/// Names of secrets and of nothing beside them.
const CREDENTIALS: [&[u8]; 16] = [
    b"api_key",
    b"api-key",
    b"api key",
    b"apikey",
    b"api_token",
    b"api-token",
    b"api token",
    b"apitoken",
    b"access_token",
    b"accesstoken",
    b"auth_token",
    b"authtoken",
    b"client_secret",
    b"clientsecret",
    b"secret_access_key",
    b"secretaccesskey",
];

/// Whether the value is what the name calls it.
pub(crate) fn accepts(
    value: &[u8],
    strength: Strength,
    link: Link,
    quoted: bool,
    name: &Name<'_>,
) -> bool {
    let is_asked_for = !quoted && is_cmdlet(value);
    if is_placeholder(value) || is_code(value, quoted) || names_a_password(value) || is_asked_for {
        return false;
    }
    match strength {
        Strength::Password => is_password(value, link, quoted, name.suffix),
        Strength::Secret => is_secret(value, link, quoted, name),
    }
}

fn is_password(value: &[u8], link: Link, quoted: bool, suffix: &[u8]) -> bool {
    let is_number = || value.iter().all(|byte| class::is(*byte, DIGIT));
    let is_other = || !is_mixed(value) || is_number() || value.first() == Some(&b'/');
    if names_something_else(suffix) && is_other() {
        return false;
    }
    // `13文字以上`, `15자`: how long it has to be.
    let digits = class::run_end(value, 0, DIGIT);
    let is_counted = || {
        let unit = value.get(digits);
        unit.is_some_and(|byte| (0xE3..=0xED).contains(byte))
            && !value[digits..].iter().any(|byte| class::is(*byte, ALNUM))
    };
    if !quoted && (1..=3).contains(&digits) && is_counted() {
        return false;
    }
    let has_blank = value.contains(&b' ');
    // The next attribute, or the last word of a question.
    let is_word = || {
        let ended = value.strip_suffix(b"=").or(value.strip_suffix(b"?"));
        ended.is_some_and(is_plain_word)
    };
    if !quoted && matches!(link, Link::Verb | Link::Blank) && is_word() {
        return false;
    }
    match (link, quoted) {
        (Link::Verb, true) => value.len() >= 3 && !is_message(value),
        // Several words may be a pass phrase, or what a program says about one.
        (Link::Tight | Link::Loose, true) if has_blank && is_prose(value) => {
            suffix.is_empty() && value.len() >= 12 && !is_message(value)
        }
        (_, true) => value.len() >= 3 && !(has_blank && is_prose(value)),
        (Link::Tight, false) => value.len() >= 4 && !is_type(value),
        (Link::Loose, false) => {
            value.len() >= 4
                && (is_mixed(value)
                    || is_unpronounceable(value)
                    || (value.len() >= 6 && !is_type(value) && !is_plain_word(value)))
        }
        (Link::Verb, false) => value.len() >= 4 && is_mixed(value) && !is_path(value),
        (Link::Blank, false) => {
            value.len() >= 6 && is_mixed(value) && has_kinds(value, 2) && !is_path(value)
        }
    }
}

fn is_secret(value: &[u8], link: Link, quoted: bool, name: &Name<'_>) -> bool {
    // `client_id`: what begins such a name says that it is an id as well.
    let is_id = |word: &[u8]| {
        word.len() > 2
            && word[word.len() - 2..].eq_ignore_ascii_case(b"id")
            // What Vault and Code Climate call so is the secret itself.
            && !word.eq_ignore_ascii_case(b"secret_id")
            && !word.eq_ignore_ascii_case(b"reporter_id")
    };
    let says_other = || names_something_else(name.suffix) || is_id(name.word);
    let digits_only = value
        .iter()
        .all(|byte| class::is(*byte, DIGIT) || b".,- ".contains(byte));
    let is_long_enough = match (link, quoted) {
        (Link::Tight | Link::Loose, _) | (Link::Blank | Link::Verb, true) => value.len() >= 8,
        (Link::Verb | Link::Blank, false) => value.len() >= 16,
    };
    // `secret: "development#product"` is what it says, whatever it looks like.
    let is_plain_secret = quoted
        && matches!(link, Link::Tight | Link::Loose)
        && name.suffix.is_empty()
        && name.word.to_ascii_lowercase().ends_with(b"secret")
        && is_mixed(value)
        && !is_path(value);
    // Nothing but a secret is called so; what is told of one begins with a capital.
    let is_telling = CREDENTIALS
        .iter()
        .any(|credential| name.word.eq_ignore_ascii_case(credential))
        && name.suffix.is_empty();
    let is_phrase = is_telling
        && quoted
        && matches!(link, Link::Tight | Link::Loose)
        && value.len() >= 12
        && is_prose(value)
        && value.contains(&b' ')
        && value.first().is_some_and(|byte| class::is(*byte, LOWER))
        && !is_message(value)
        && ![&b"key"[..], b"token", b"api "]
            .iter()
            .any(|word| memmem::find(value, word).is_some_and(|at| at < 40));
    if is_phrase {
        return true;
    }
    // `cache key: linux-cargo-3f9a…`
    let is_key_of_a_cache = || {
        let digest = value
            .rsplit(|byte| *byte == b'-')
            .next()
            .unwrap_or_default();
        name.word.eq_ignore_ascii_case(b"key")
            && digest.len() < value.len()
            && is_digest(digest)
            && value.iter().filter(|byte| **byte == b'-').count() > 1
    };
    if is_key_of_a_cache() {
        return false;
    }
    // What fits a register is a number.
    let is_register = value.starts_with(b"0x") && value.len() <= 20;
    if is_register {
        return false;
    }
    // Long numbers are ids of tokens nearly everywhere but in quotes.
    let is_number = digits_only && (link == Link::Loose || value.len() < 24);
    (!is_number || (quoted && value.len() >= 16) || (is_telling && value.len() >= 12))
        && is_long_enough
        && !value.contains(&b' ')
        && (link != Link::Blank || !value.contains(&b':'))
        && (looks_random(value)
            || is_plate(value)
            || is_product_key(value)
            || is_shuffled(value)
            || is_unpronounceable(value)
            || digits_only
            || is_plain_secret)
        && (!says_other()
            || (value.len() >= 20 && !is_uuid(value) && !is_path(value) && !is_digest(value)))
}
