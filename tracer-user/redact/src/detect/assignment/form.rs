//! Values that no sign joins to their name: parts of it, what is compared with it, what it ends in.

use std::ops::Range;

use super::{
    super::{
        believe::{Link, Strength},
        class::{self, ALNUM, BASE64, DIGIT, JOINER, LETTER},
        link,
        looks::{self, is_code, is_digest, is_grouped, is_mixed, is_plate, is_uuid, looks_random},
        spelling::is_unpronounceable,
    },
    value::{MAX_VALUE, value},
};

/// Where the value begins behind what the name begins with: `acme_secret = acme …`.
pub(super) fn named_again(text: &[u8], word: usize, start: usize) -> Option<usize> {
    const LONGEST: usize = 24;
    let floor = word.saturating_sub(LONGEST);
    let name = floor + class::run_start(&text[floor..word], word - floor, ALNUM | JOINER);
    let owner = class::run_end(text, start, LETTER) - start;
    let is_owner = owner >= 3
        && name + owner <= word
        && text[name..name + owner].eq_ignore_ascii_case(&text[start..start + owner]);
    (is_owner && text.get(start + owner) == Some(&b' ')).then_some(start + owner + 1)
}

/// The value of a name in small letters whose last part is the word: `dbpass=…`, `vendorkey: …`. A monkey
/// and a compass end so too, so the value must be what no word is.
pub(super) fn behind_compound(text: &[u8], end: usize, strength: Strength) -> Option<Range<usize>> {
    if !matches!(text.get(end), Some(b'=' | b':')) {
        return None;
    }
    let (start, link) = link::find(text, end)?;
    let (mut range, _) = value(text, start, link, strength)?;
    // In a URL an `@` ends what opens it.
    let at = text[range.clone()].iter().position(|byte| *byte == b'@');
    if let Some(at) = at.filter(|_| strength == Strength::Secret) {
        range.end = range.start + at;
    }
    let value = &text[range.clone()];
    let count = |classes: u8| value.iter().filter(|b| class::is(**b, classes)).count();
    let is_mix = count(DIGIT) >= 2 && count(LETTER) >= 2 && !is_code(value, false);
    let is_value = match strength {
        Strength::Password => {
            value.len() >= 8
                && is_mix
                && is_mixed(value)
                && !looks::is_path(value)
                && !looks::is_identifier(value)
        }
        Strength::Secret => {
            value.len() >= 12
                && is_mix
                && (looks_random(value) || is_plate(value))
                && !is_digest(value)
                && !is_uuid(value)
        }
    };
    (is_value && link != Link::Blank).then_some(range)
}

/// A value that is a part of the name: `service-secret-3f9a…`, `SECRET_KEY.access.77d0…`.
pub(super) fn glued(text: &[u8], end: usize) -> Option<Range<usize>> {
    let is_joint = |byte: u8| matches!(byte, b'-' | b'_' | b'.');
    let name = class::run_end(text, end, ALNUM | JOINER).max(end);
    let name = match text.get(name) {
        Some(b'.') => class::run_end(text, name + 1, ALNUM | JOINER),
        _ => name,
    };
    let run = &text[end..name.min(end + 300)];
    let joints = (0..run.len()).filter(|place| is_joint(run[*place]));
    joints.take(4).find_map(|joint| {
        let value = &run[joint + 1..];
        let is_single = value.iter().all(|byte| class::is(*byte, ALNUM));
        let digits = value.iter().filter(|byte| class::is(**byte, DIGIT)).count();
        let is_random = || looks_random(value) && (value.len() >= 20 || digits >= 4);
        let is_value =
            (is_single && value.len() >= 16 && (is_random() || is_unpronounceable(value)))
                || is_uuid(value)
                || is_grouped(value)
                || looks::is_product_key(value);
        is_value.then(|| end + joint + 1..rest_of_key(text, end + run.len()))
    })
}

/// Where a key ends whose first part ends at `end`: base64 and signatures go on behind a sign.
fn rest_of_key(text: &[u8], end: usize) -> usize {
    const LEAST: usize = 16;
    let limit = text.len().min(end + MAX_VALUE);
    let rest = class::run_end(&text[..limit], end, ALNUM | BASE64);
    let signature = class::run_end(&text[..limit], (end + 1).min(limit), ALNUM | JOINER);
    let is_signed = text.get(end) == Some(&b'.')
        && signature > end + LEAST
        && looks_random(&text[end + 1..signature]);
    if is_signed { signature } else { rest }
}

/// A value compared with the name after it: `"s3cret" == password`.
pub(super) fn compared(text: &[u8], word: usize) -> Option<Range<usize>> {
    let head = class::run_start(
        &text[word.saturating_sub(24)..word],
        word.min(24),
        ALNUM | JOINER,
    );
    let name = word.saturating_sub(24) + head;
    let before = &text[name.saturating_sub(128)..name];
    let before = before.strip_suffix(b" ").unwrap_or(before);
    let operator = before
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b'=' | b'!'))
        .count();
    let before = &before[..before.len() - operator];
    let before = before.strip_suffix(b" ").unwrap_or(before);
    let (quote, value) = before.split_last()?;
    if !(2..=3).contains(&operator) || !matches!(quote, b'"' | b'\'') {
        return None;
    }
    let start = value.iter().rposition(|byte| byte == quote)? + 1;
    let length = value.len() - start;
    let end = name.saturating_sub(128) + value.len();
    (length >= 4).then(|| end - length..end)
}
