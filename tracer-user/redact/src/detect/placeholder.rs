//! What stands where a secret would: nothing, a variable, a template, what manuals write.

use super::{
    class::{self, DIGIT, JOINER, LETTER, LOWER, UPPER},
    looks::{distinct, has_kinds},
};

/// What stands where a secret would: nothing, a variable, a template, a row of the same letter.
pub(crate) fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 26] = [
        b"none",
        b"null",
        b"nil",
        b"true",
        b"false",
        b"undefined",
        b"example",
        b"changeme_",
        b"redacted",
        b"your",
        b"xxxx",
        b"****",
        b"....",
        b"placeholder",
        b"<",
        b"${",
        b"$(",
        b"{{",
        b"%s",
        b"%(",
        b"{",
        b"[",
        b"$env",
        b"process.env",
        b"#{",
        b"\\$",
    ];
    let lower = value[..value.len().min(16)].to_ascii_lowercase();
    let is_named = |classes: u8| {
        value[1..]
            .iter()
            .all(|byte| class::is(*byte, classes) || *byte == b'_')
    };
    let is_variable = value.first() == Some(&b'$')
        && value.len() > 1
        && (is_named(UPPER | DIGIT) || (is_named(LOWER) && value.contains(&b'_')));
    let is_exact = matches!(
        lower.as_slice(),
        b"none" | b"null" | b"nil" | b"true" | b"false" | b"undefined"
    );
    let starts = WORDS[6..].iter().any(|word| lower.starts_with(word))
        && (lower.first().is_some_and(|b| !class::is(*b, LETTER))
            || value.len() < 40 && !has_kinds(value, 3));
    // A tag of YAML: `!vault`.
    let is_tag = value.first() == Some(&b'!')
        && value.len() > 1
        && value[1..]
            .iter()
            .all(|byte| class::is(*byte, LETTER | JOINER));
    distinct(value) < 3
        || is_tag
        || is_exact
        || starts
        || is_variable
        || (value.first() == Some(&b'%') && value.last() == Some(&b'%'))
        || is_masked(value)
        || has_field(value)
        // `--password PASSWORD`: what a program's help calls it.
        || matches!(value, b"PASSWORD" | b"PASSWD" | b"TOKEN" | b"SECRET" | b"API_KEY")
}

/// Whether most of it is a row of the same mark or letter, as in `bP88Q~xxxxxxxxxxxx`.
fn is_masked(value: &[u8]) -> bool {
    const LEAST: usize = 12;
    let longest = value
        .chunk_by(|one, other| one == other)
        .map(<[u8]>::len)
        .max();
    longest.is_some_and(|longest| longest >= LEAST && longest * 2 >= value.len())
}

/// Whether it is a word with a format's field, as in `prefix_{name}`.
fn has_field(value: &[u8]) -> bool {
    let Some(opens) = value.iter().position(|byte| *byte == b'{') else {
        return false;
    };
    let name = class::run_end(value, opens + 1, LOWER | JOINER);
    let name = class::run_end(value, name, DIGIT);
    let is_word = |part: &[u8]| part.iter().all(|byte| class::is(*byte, LOWER | JOINER));
    value.get(name) == Some(&b'}')
        && name != opens + 2
        && is_word(&value[..opens])
        && is_word(&value[name + 1..])
}
