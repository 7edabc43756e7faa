//! The walk over a text: every byte that a shape can begin or hinge on.

use std::ops::Range;

use super::{
    address, bare,
    class::{self, ALNUM, DIGIT, LETTER, WORD},
    code, colon,
    colon::Colon,
    crypto, email,
    hit::{Certainty, Found, Hits, said, shape},
    iban,
    kind::Kind,
    login,
    looks::is_uuid,
    number, prefixed, service, session, tokens,
    words::{Context, Topic},
};

/// Reads every shape.
pub(crate) fn read(context: &Context<'_>, hits: &mut Hits) {
    let text = context.text;
    let mut place = 0;
    while let Some(step) = class::first_stop(&text[place..]) {
        place += step;
        let next = match text[place] {
            b'0'..=b'9' => digit(context, place, hits),
            b'@' => {
                let mut next = place + 1;
                if let Some((start, end)) = email::read(text, place) {
                    hits.push(shape(start..end, "email", Kind::Email));
                    if let Some(range) = login::behind_mail(text, end) {
                        next = range.end;
                        hits.push(said(range, "password-behind-mail", Kind::Password));
                    }
                }
                next
            }
            b':' => match session::password_file(text, place) {
                Some(range) => {
                    let next = range.end;
                    hits.push(said(range, "password-file", Kind::Password));
                    next
                }
                None => colon_groups(text, place, hits).1,
            },
            _ => place + 1,
        };
        // What is read back from a digit may end before it, as `0xa` does in `0xag7`.
        place = next.max(place + 1);
    }
}

/// Whether an address stands around the colon, and where the walk goes on.
fn colon_groups(text: &[u8], place: usize, hits: &mut Hits) -> (bool, usize) {
    let (found, next) = colon::read(text, place);
    let is_found = found.is_some();
    hits.extend(found.map(|found| match found {
        Colon::Mac(start, end) => shape(start..end, "mac", Kind::MacAddress),
        Colon::V6(start, end) => shape(start..end, "ip-v6", Kind::IpAddress),
    }));
    (is_found, next)
}

/// A digit: the beginning of a number, or a part of a code.
fn digit(context: &Context<'_>, place: usize, hits: &mut Hits) -> usize {
    /// No code that is looked for is longer.
    const BACK: usize = 64;
    let text = context.text;
    let floor = place.saturating_sub(BACK);
    let start = floor + class::run_start(&text[floor..], place - floor, ALNUM);
    let end = class::run_end(text, place, ALNUM);
    let token = &text[start..end];
    if let Some(range) = service::key(text, start, end) {
        let next = range.end;
        hits.push(said(range, "key-of-a-service", Kind::Secret));
        return next;
    }
    if let Some(end) = opaque(text, start) {
        let told = prefixed::uuid(text, start).filter(|range| range.end == end);
        hits.extend(told.map(|range| said(range, "told-uuid", Kind::Secret)));
        return end;
    }
    let starts_a_word = !class::before(text, start, WORD);
    if let Some(found) = bare::read(text, &(start..end)) {
        let next = found.range.end;
        hits.push(found);
        return next;
    }
    if start == place
        && starts_a_word
        && let Some(range) = address::read(context, start..end)
    {
        let next = range.end.max(end);
        hits.push(shape(range, "street-address", Kind::PostalAddress));
        return next;
    }
    if let Some(end) = colon::dashed_mac(text, start).filter(|_| starts_a_word) {
        hits.push(shape(start..end, "mac", Kind::MacAddress));
        return end;
    }
    let may_be_a_group =
        text.get(end) == Some(&b':') && token.len() <= 4 && token.iter().all(u8::is_ascii_hexdigit);
    if may_be_a_group && let (true, next) = colon_groups(text, end, hits) {
        return next.max(place + 1);
    }
    let has_letter = token.iter().any(|byte| class::is(*byte, LETTER));
    let account = |start: usize| Some(start..iban::end(text, start)?);
    let account = match text[..place] {
        _ if has_letter => account(start).or_else(|| account(place.saturating_sub(2))),
        // `PL 61 1090 …`
        [.., b'A'..=b'Z', b'A'..=b'Z', b' '] if token.len() == 2 => account(place - 3),
        _ => None,
    };
    if let Some(range) = account {
        let next = range.end;
        hits.push(Found {
            certainty: Certainty::Checked,
            ..shape(range, "iban", Kind::Iban)
        });
        return next;
    }
    if starts_a_word && crypto::is_bitcoin(token) {
        hits.push(Found {
            certainty: Certainty::Checked,
            ..shape(start..end, "bitcoin-address", Kind::CryptoAddress)
        });
        return end;
    }
    let starts_a_code = starts_a_word || class::ends_a_script_without_blanks(text, start);
    if starts_a_code && let Some(found) = code::read(context, start..end) {
        let next = found.range.end.max(end);
        hits.push(found);
        return next;
    }
    let letters = token.iter().filter(|byte| class::is(**byte, LETTER));
    // `5272x565` is a number and its extension.
    if !has_letter || (start == place && letters.count() == 1) {
        return number::read(context, place, hits).max(end);
    }
    let is_grouped = end - place == 4
        && matches!(text.get(end), Some(b' ' | b'-'))
        && class::at(text, end + 1, DIGIT);
    if (end - place >= 9 || is_grouped) && starts_a_word && tokens::is_glued(text, place) {
        return glued(context, place..end, hits).max(end);
    }
    end
}

/// A number behind a word with nothing between them, as in `code is030594W903B`: only one whose check
/// digits hold is told from the many names of things that end in digits.
fn glued(context: &Context<'_>, token: Range<usize>, hits: &mut Hits) -> usize {
    const ABOUT: [Topic; 5] = [
        Topic::Card,
        Topic::Identity,
        Topic::Tax,
        Topic::Health,
        Topic::Bank,
    ];
    let is_checked = |found: &Found| {
        let range = &found.range;
        found.certainty == Certainty::Checked
            && (context.is_about(range.start, range.end, &ABOUT)
                || context.is_glued_to(range.start, &ABOUT))
    };
    if let Some(found) = code::read(context, token.clone()).filter(is_checked) {
        let next = found.range.end;
        hits.push(found);
        return next;
    }
    let mut numbers = Hits::with_capacity(1);
    let next = number::read(context, token.start, &mut numbers);
    hits.extend(numbers.into_iter().filter(is_checked));
    next
}

/// A UUID or a pointer: so common where programs talk that no part of one is taken for more.
fn opaque(text: &[u8], start: usize) -> Option<usize> {
    if text[start..].starts_with(b"0x") {
        let digits = text[start + 2..].iter().take(64);
        let count = digits.take_while(|byte| byte.is_ascii_hexdigit()).count();
        return (count > 0).then_some(start + 2 + count);
    }
    // `libfoo.so[7f237c385a2c+1a2b000]`: where the kernel says a library lies.
    if text[..start].ends_with(b"[") {
        let digits = |from: usize| {
            text[from..]
                .iter()
                .take(17)
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count()
        };
        let base = start + digits(start);
        if text.get(base) == Some(&b'+') {
            let end = base + 1 + digits(base + 1);
            return (text.get(end) == Some(&b']')).then_some(end);
        }
    }
    is_uuid(text.get(start..start + 36)?).then_some(start + 36)
}
