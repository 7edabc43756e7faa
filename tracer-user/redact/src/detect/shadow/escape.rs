//! `\u0040`, `\x40`, `\n`, `%40`, `%u0040`, `&#64;`, `&commat;`, `=40`, the zeroes of UTF-16, and the blanks of
//! a form: `5312+3456`.

use memchr::{memchr_iter, memchr3_iter};

use super::Changes;
use crate::detect::class::{self, ALNUM, DIGIT, SPACE};

/// Finds every escape.
pub(super) fn find(text: &[u8], changes: &mut Changes) {
    let mut resume = 0;
    for place in memchr3_iter(b'\\', b'%', b'&', text) {
        if place < resume {
            continue;
        }
        let escape = match text[place] {
            b'\\' => backslash(text, place),
            b'%' => percent(text, place),
            _ => entity(text, place),
        };
        if let Some((length, character)) = escape {
            resume = place + length;
            let mut bytes = [0; 4];
            changes.push(place..resume, character.encode(&mut bytes));
        }
    }
}

/// Reads a plus sign between digits as the blank that forms write so.
pub(super) fn pluses(text: &[u8], changes: &mut Changes) {
    for place in memchr_iter(b'+', text) {
        // Two digits on either side: base64 has one often.
        let is_number = |digits: Option<&[u8]>| {
            digits.is_some_and(|digits| digits.iter().all(|byte| class::is(*byte, DIGIT)))
        };
        let before = place.checked_sub(2).map(|from| &text[from..place]);
        if is_number(before) && is_number(text.get(place + 1..place + 3)) {
            changes.push(place..place + 1, b" ");
        }
    }
}

/// Reads what mails write for a byte (RFC 2045, 6.7): `=6D=61`, `rosa=2Ed=40example.org`. One alone is most often a
/// number behind its name.
pub(super) fn quoted(text: &[u8], changes: &mut Changes) {
    const NEAR: usize = 24;
    let mut resume = 0;
    // Up to where another is known to follow.
    let mut company = 0;
    for place in memchr_iter(b'=', text) {
        if let Some(end) = soft_break(text, place) {
            changes.push(place..end, b"");
            continue;
        }
        let Some(byte) = quoted_byte(text, place).filter(|_| place >= resume) else {
            continue;
        };
        let rest = &text[place + 3..text.len().min(place + 3 + NEAR)];
        let next = rest
            .iter()
            .take_while(|byte| !class::is(**byte, SPACE))
            .enumerate()
            .filter(|(_, byte)| **byte == b'=')
            .find(|(step, _)| quoted_byte(text, place + 3 + step).is_some());
        if let Some((step, _)) = next {
            company = company.max(place + 3 + step);
        }
        let is_row = next.is_some_and(|(step, _)| step == 0) || (resume == place && place > 0);
        let is_mark = !class::is(byte, ALNUM) && (place <= company && company > 0);
        if is_row || is_mark || has_company(text, place) {
            changes.push(place..place + 3, &[byte]);
            resume = place + 3;
        }
    }
}

/// Where the line goes on whose end is no end, in a text with other bytes written so.
fn soft_break(text: &[u8], place: usize) -> Option<usize> {
    const NEAR: usize = 76;
    let end = match text.get(place + 1..)? {
        [b'\n', ..] => place + 2,
        [b'\r', b'\n', ..] => place + 3,
        _ => return None,
    };
    let near = &text[place.saturating_sub(NEAR)..text.len().min(end + NEAR)];
    let mut signs = memchr_iter(b'=', near);
    signs
        .any(|sign| quoted_byte(near, sign).is_some())
        .then_some(end)
}

/// Whether two more bytes are written so in the same run of letters and digits.
fn has_company(text: &[u8], place: usize) -> bool {
    const NEAR: usize = 64;
    // A soft line break is a part of it.
    let is_part = |place: &usize| {
        let byte = text[*place];
        class::is(byte, ALNUM)
            || b"=.@-_".contains(&byte)
            || (byte == b'\n' && *place > 0 && matches!(text[*place - 1], b'=' | b'\r'))
    };
    let before = (place.saturating_sub(NEAR)..place)
        .rev()
        .take_while(is_part);
    let behind = (place..text.len().min(place + NEAR)).take_while(is_part);
    let run = &text[place - before.count()..place + behind.count()];
    let signs = memchr_iter(b'=', run).filter(|sign| quoted_byte(run, *sign).is_some());
    signs.take(3).count() == 3
}

/// The printable byte that `=40` stands for.
fn quoted_byte(text: &[u8], place: usize) -> Option<u8> {
    let digits = text.get(place..place + 3)?.strip_prefix(b"=")?;
    let byte = u8::try_from(hex(Some(digits))?).ok()?;
    matches!(byte, b' '..=b'~').then_some(byte)
}

/// Takes out the zeroes beside the bytes of UTF-16.
pub(super) fn zeroes(text: &[u8], changes: &mut Changes) {
    for place in memchr_iter(0, text) {
        let is_zero = |place: Option<usize>| place.and_then(|at| text.get(at)) == Some(&0);
        let is_beside = |place: Option<usize>| {
            place
                .and_then(|at| text.get(at))
                .is_some_and(|byte| *byte > 0)
        };
        let follows = is_zero(place.checked_sub(2)) && is_beside(place.checked_sub(1));
        let leads = is_zero(Some(place + 2)) && is_beside(Some(place + 1));
        if follows || leads {
            changes.push(place..place + 1, b"");
        }
    }
}

/// Takes out what colours a terminal's text: `ESC [ 1 ; 31 m`.
pub(super) fn colours(text: &[u8], changes: &mut Changes) {
    for place in memchr_iter(0x1B, text) {
        if text.get(place + 1) != Some(&b'[') {
            continue;
        }
        let is_parameter = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b';' | b'?' | b':');
        let rest = &text[place + 2..text.len().min(place + 34)];
        let length = rest.iter().take_while(|byte| is_parameter(byte)).count();
        if rest.get(length).is_some_and(u8::is_ascii_alphabetic) {
            changes.push(place..place + length + 3, b"");
        }
    }
}

/// What an escape stands for: a byte or a character.
enum Escaped {
    Byte(u8),
    Character(char),
}

impl Escaped {
    fn encode(self, bytes: &mut [u8; 4]) -> &[u8] {
        match self {
            Self::Byte(byte) => {
                bytes[0] = byte;
                &bytes[..1]
            }
            Self::Character(character) => character.encode_utf8(bytes).as_bytes(),
        }
    }
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    let digits = digits?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn backslash(text: &[u8], place: usize) -> Option<(usize, Escaped)> {
    let simple = |byte| Some((2, Escaped::Byte(byte)));
    match text.get(place + 1)? {
        b'n' => simple(b'\n'),
        b'r' => simple(b'\r'),
        b't' => simple(b'\t'),
        quoted @ (b'/' | b'"' | b'\'' | b'\\' | b'@' | b'.' | b'-' | b'_') => simple(*quoted),
        // PostgreSQL writes bytes so, all of them behind one sign.
        b'x' if is_row_of_bytes(text, place + 2) => None,
        b'x' => {
            let value = hex(text.get(place + 2..place + 4))?;
            Some((4, Escaped::Byte(u8::try_from(value).ok()?)))
        }
        b'u' if text.get(place + 2) == Some(&b'{') => {
            let rest = text.get(place + 3..text.len().min(place + 10))?;
            let length = rest.iter().position(|byte| *byte == b'}')?;
            let value = char::from_u32(hex(Some(&rest[..length]))?)?;
            Some((length + 4, Escaped::Character(value)))
        }
        b'u' => {
            let high = hex(text.get(place + 2..place + 6))?;
            if (0xD800..0xDC00).contains(&high) && text.get(place + 6..place + 8) == Some(b"\\u") {
                let low = hex(text.get(place + 8..place + 12))?;
                let low = low.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                let value = 0x10000 + ((high - 0xD800) << 10) + low;
                return Some((12, Escaped::Character(char::from_u32(value)?)));
            }
            Some((6, Escaped::Character(char::from_u32(high)?)))
        }
        b'U' => {
            let value = hex(text.get(place + 2..place + 10))?;
            Some((10, Escaped::Character(char::from_u32(value)?)))
        }
        b'0' if !class::at(text, place + 2, DIGIT) || is_beside_zero(text, place) => simple(0),
        b'0'..=b'3' => {
            // Octal, as shells and C write it.
            let digits = text.get(place + 1..place + 4)?;
            if !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
                return None;
            }
            let value = digits
                .iter()
                .fold(0, |value, digit| value * 8 + u32::from(digit - b'0'));
            Some((4, Escaped::Byte(u8::try_from(value).ok()?)))
        }
        _ => None,
    }
}

/// Whether hexadecimal digits go on for so long that they are no one byte's.
fn is_row_of_bytes(text: &[u8], start: usize) -> bool {
    const LEAST: usize = 14;
    let digits = text[start..].iter().take(LEAST);
    digits.take_while(|byte| byte.is_ascii_hexdigit()).count() == LEAST
}

/// Whether another `\0` stands one character before or behind the one here: they are no octal numbers.
fn is_beside_zero(text: &[u8], place: usize) -> bool {
    text.get(place + 3..place + 5) == Some(b"\\0")
        || place
            .checked_sub(3)
            .is_some_and(|before| &text[before..place - 1] == b"\\0")
}

fn percent(text: &[u8], place: usize) -> Option<(usize, Escaped)> {
    if let Some(b'u' | b'U') = text.get(place + 1) {
        let value = char::from_u32(hex(text.get(place + 2..place + 6))?)?;
        return Some((6, Escaped::Character(value)));
    }
    let value = hex(text.get(place + 1..place + 3))?;
    Some((3, Escaped::Byte(u8::try_from(value).ok()?)))
}

fn entity(text: &[u8], place: usize) -> Option<(usize, Escaped)> {
    const NAMES: [(&[u8], char); 26] = [
        (b"amp", '&'),
        (b"lt", '<'),
        (b"gt", '>'),
        (b"quot", '"'),
        (b"apos", '\''),
        (b"nbsp", ' '),
        (b"commat", '@'),
        (b"period", '.'),
        (b"colon", ':'),
        (b"sol", '/'),
        (b"bsol", '\\'),
        (b"lowbar", '_'),
        (b"hyphen", '-'),
        (b"dash", '-'),
        (b"plus", '+'),
        (b"equals", '='),
        (b"num", '#'),
        (b"percnt", '%'),
        (b"dollar", '$'),
        (b"excl", '!'),
        (b"lpar", '('),
        (b"rpar", ')'),
        (b"comma", ','),
        (b"semi", ';'),
        (b"quest", '?'),
        (b"ast", '*'),
    ];
    let rest = &text[place + 1..text.len().min(place + 12)];
    if let [b'#', number @ ..] = rest {
        let (length, value) = numbered(number)?;
        return Some((length + 2, Escaped::Character(value)));
    }
    let length = rest.iter().position(|byte| *byte == b';')?;
    let value = NAMES.iter().find(|(known, _)| *known == &rest[..length])?.1;
    Some((length + 2, Escaped::Character(value)))
}

/// The character whose number follows `&#`, and how long that is. Browsers read it without its semicolon too.
fn numbered(number: &[u8]) -> Option<(usize, char)> {
    let (prefix, radix) = match number {
        [b'x' | b'X', ..] => (1, 16),
        _ => (0, 10),
    };
    let digits = number[prefix..].iter();
    let count = digits
        .take_while(|byte| char::from(**byte).is_digit(radix))
        .count();
    let end = prefix + count;
    let digits = std::str::from_utf8(&number[prefix..end]).ok()?;
    let value = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
    match number.get(end) {
        Some(b';') => Some((end + 1, value)),
        _ => (count > 1 && matches!(value, ' '..='~')).then_some((end, value)),
    }
}
