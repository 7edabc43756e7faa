//! How programs write the value of a name: behind a type, in Perl's quotes, as a list of bytes, or
//! as what stands in where nothing else was set.

use std::ops::Range;

use memchr::{memchr, memrchr2};

use super::{
    believe::Name,
    class::{self, ALNUM, DIGIT, JOINER, LETTER, LOWER, SPACE},
    looks::{has_kinds, is_identifier, is_path, is_placeholder, looks_random},
};

/// The quote behind a type: of `password: String = "..."`, seen from the type.
pub(crate) fn behind_type(text: &[u8], from: usize) -> Option<usize> {
    const LONGEST: usize = 40;
    let rest = &text[from..text.len().min(from + LONGEST)];
    let begins = rest
        .first()
        .is_some_and(|byte| class::is(*byte, LETTER) || b"&[?*".contains(byte));
    let is_part = |byte: &u8| class::is(*byte, ALNUM | JOINER) || b"&<>[]?.'*| ".contains(byte);
    let length = rest.iter().take_while(|byte| is_part(byte)).count();
    let ends = rest[length..].strip_prefix(b"=")?;
    let blanks = ends.iter().take_while(|byte| **byte == b' ').count();
    let quote = from + length + 1 + blanks;
    (begins && matches!(text.get(quote), Some(b'"' | b'\'' | b'`'))).then_some(quote)
}

/// Where the value begins that a type, a tag, a list or a call of a conversion is around: `b"`, `$"`, `!!str `,
/// `["`, `[]byte("`, `strdup("`. A call of anything else gives what only the program knows.
pub(crate) fn inside(text: &[u8], from: usize) -> usize {
    const LONGEST: usize = 48;
    #[rustfmt::skip]
    const CONVERSIONS: [&[u8]; 40] = [
        b"byte", b"bytes", b"bytearray", b"getbytes", b"tobytes", b"str", b"string", b"strdup", b"secretstr", b"securestring", b"tochararray", b"cstring",
        b"hex", b"fromhex", b"unhexlify", b"hextobytes", b"hexstringtobytes", b"hexstringtobytearray", b"decodehex", b"decodestring",
        b"decode", b"encode", b"b64decode", b"base64", b"frombase64string", b"from", b"of", b"valueof", b"some", b"just", b"ok", b"ptr", b"literal", b"raw",
        b"password", b"secret", b"secretkeyspec", b"plaintext", b"text", b"parse",
    ];
    let rest = &text[from..text.len().min(from + LONGEST)];
    let is_quote = |place: usize| matches!(rest.get(place), Some(b'"' | b'\'' | b'`'));
    // What stands between a bracket and a quote.
    let quoted = |place: usize| {
        let blanks = rest[place..]
            .iter()
            .take_while(|byte| class::is(**byte, SPACE));
        let place = place + blanks.count();
        let prefix = rest[place..]
            .iter()
            .take(2)
            .take_while(|byte| b"bBuUrRfFLN@$".contains(byte))
            .count();
        (0..=prefix).find_map(|length| is_quote(place + length).then_some(place + length))
    };
    if let Some(place) = quoted(0).filter(|place| *place <= 2 && !class::at(rest, 0, SPACE)) {
        return from + place;
    }
    if rest.starts_with(b"<<\"") {
        return from + 2;
    }
    // A function of nothing.
    if rest.starts_with(b"() => ") && is_quote(6) {
        return from + 6;
    }
    if let Some(tag) = rest.strip_prefix(b"!!") {
        let letters = tag
            .iter()
            .take_while(|byte| class::is(**byte, LOWER))
            .count();
        let is_tag = letters > 0 && tag.get(letters) == Some(&b' ');
        return from + if is_tag { 3 + letters } else { 0 };
    }
    if rest.first() == Some(&b'[')
        && let Some(place) = quoted(1)
    {
        return from + place;
    }
    // Few values have a bracket, and a quote behind it.
    if memchr(b'(', rest).is_none_or(|bracket| quoted(bracket + 1).is_none()) {
        return from;
    }
    let is_name = |byte: &u8| class::is(*byte, ALNUM | JOINER) || b".:[]&*\\".contains(byte);
    let blank = if rest.starts_with(b"new ") { 4 } else { 0 };
    let name = blank
        + rest[blank..]
            .iter()
            .take_while(|byte| is_name(byte))
            .count();
    if rest.get(name) != Some(&b'(') {
        return from;
    }
    let last = rest[..name]
        .rsplit(|byte| !class::is(*byte, ALNUM | JOINER))
        .next()
        .unwrap_or_default();
    let is_conversion = CONVERSIONS.iter().any(|known| {
        let plain = last.iter().filter(|byte| **byte != b'_');
        plain.map(u8::to_ascii_lowercase).eq(known.iter().copied())
    });
    // `flag.String("password", "...")`: a name, and what it is.
    let names = |place: usize| {
        let end = rest[place + 1..]
            .iter()
            .position(|byte| *byte == rest[place]);
        let after = end.map_or(&[][..], |end| &rest[place + 1 + end + 1..]);
        last.eq_ignore_ascii_case(b"string") && after.starts_with(b", ")
    };
    let is_key = |place: usize| {
        let value = &text[from + place + 1..];
        let length = value
            .iter()
            .take(64)
            .take_while(|byte| class::is(**byte, ALNUM))
            .count();
        let digits = value[..length]
            .iter()
            .filter(|byte| class::is(**byte, DIGIT))
            .count();
        length >= 10
            && digits >= 2
            && value.get(length) == rest.get(place)
            && has_kinds(&value[..length], 3)
            && looks_random(&value[..length])
    };
    match quoted(name + 1) {
        Some(place) if (is_conversion && !names(place)) || is_key(place) => from + place,
        _ => from,
    }
}

/// The quote behind a brace, as C++ gives a constant its value: `secret{"..."}`.
pub(crate) fn braced(text: &[u8], from: usize) -> Option<usize> {
    const LONGEST: usize = 24;
    let rest = text.get(from + 1..)?;
    let blanks = rest.iter().take(LONGEST);
    let blanks = blanks.take_while(|byte| class::is(**byte, SPACE)).count();
    matches!(rest.get(blanks), Some(b'"')).then_some(from + 1 + blanks)
}

/// What stands between the brackets of `q(...)` or `qq{...}`.
pub(crate) fn perl(text: &[u8], from: usize) -> Option<Range<usize>> {
    const LONGEST: usize = 128;
    let rest = text[from..].strip_prefix(b"q")?;
    let rest = rest.strip_prefix(b"q").unwrap_or(rest);
    let (opens, rest) = rest.split_first()?;
    let closes = match opens {
        b'(' => b')',
        b'{' => b'}',
        b'[' => b']',
        b'|' => b'|',
        _ => return None,
    };
    let start = text.len() - rest.len();
    let length = rest[..rest.len().min(LONGEST)]
        .iter()
        .position(|byte| *byte == closes || *byte == b'\n')?;
    (rest[length] == closes && length > 2).then_some(start..start + length)
}

/// The last text in quotes on the line, if it is no word: what `getenv("PASSWORD", "...")` or
/// `config.password || "..."` gives when nothing is set.
pub(crate) fn fallback(text: &[u8], from: usize) -> Option<Range<usize>> {
    const LONGEST: usize = 160;
    let rest = &text[from..text.len().min(from + LONGEST)];
    let line = memchr(b'\n', rest).map_or(rest, |end| &rest[..end]);
    let close = memrchr2(b'"', b'\'', line)?;
    let open = line[..close]
        .iter()
        .rposition(|byte| *byte == line[close])?;
    let value = &line[open + 1..close];
    let before = line[..open].trim_ascii_end();
    let stands_in = [&b","[..], b"or", b"||", b"??", b"?:", b"else"]
        .into_iter()
        .any(|word| before.ends_with(word));
    let is_value = (6..=64).contains(&value.len())
        && has_kinds(value, 2)
        && value.iter().any(|byte| class::is(*byte, DIGIT))
        && value.iter().any(|byte| class::is(*byte, LETTER))
        && !value.contains(&b' ')
        && !is_identifier(value)
        && !is_path(value)
        && !is_placeholder(value);
    (stands_in && is_value).then_some(from + open + 1..from + close)
}

/// A list of bytes, as in `key = { 0x35, 0x34, ... }` or `Secret: []byte{33, 9, ...}`.
pub(crate) fn bytes(text: &[u8], from: usize, name: &Name<'_>) -> Option<Range<usize>> {
    const NAMES: [&[u8]; 7] = [
        b"key",
        b"secret",
        b"salt",
        b"nonce",
        b"private",
        b"password",
        b"hmac",
    ];
    const OPENING: usize = 32;
    let is_opening =
        |byte: &u8| class::is(*byte, LETTER | JOINER) || b" []{}()<>:&*.".contains(byte);
    let word = name.word.to_ascii_lowercase();
    if !NAMES.iter().any(|name| word.ends_with(name)) {
        return None;
    }
    let rest = &text[from..];
    let opening = rest
        .iter()
        .take(OPENING)
        .take_while(|byte| is_opening(byte))
        .count();
    if !rest[..opening].iter().any(|byte| b"[{(".contains(byte)) {
        return None;
    }
    let start = from + opening;
    let (mut end, mut place) = (start, start);
    let (mut count, mut hexadecimal) = (0, 0);
    let mut seen = [0_u128; 2];
    while let Some((length, value, is_hex)) = byte(&text[place..]) {
        count += 1;
        hexadecimal += usize::from(is_hex);
        seen[usize::from(value >> 7)] |= 1 << (value & 127);
        end = place + length;
        let gap = text[end..]
            .iter()
            .take(16)
            .take_while(|byte| byte.is_ascii_whitespace() || b",\\".contains(byte))
            .count();
        if gap == 0 {
            break;
        }
        place = end + gap;
    }
    let distinct = seen[0].count_ones() + seen[1].count_ones();
    // Small numbers in decimal digits are lists of many things.
    let is_key = hexadecimal * 2 >= count || (count >= 16 && word != b"key");
    (count >= 8 && distinct >= 6 && is_key).then_some(start..end)
}

/// One byte in hexadecimal, octal or decimal digits: its length, its value, and whether it is not
/// in decimal ones.
fn byte(text: &[u8]) -> Option<(usize, u8, bool)> {
    if let Some(digits) = text.strip_prefix(b"0x") {
        let count = digits
            .iter()
            .take(3)
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let digits = std::str::from_utf8(&digits[..count]).ok()?;
        return Some((2 + count, u8::from_str_radix(digits, 16).ok()?, true));
    }
    let count = text
        .iter()
        .take(4)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let digits = std::str::from_utf8(&text[..count]).ok()?;
    let value: u16 = digits.parse().ok()?;
    let is_octal = count == 3 && digits.starts_with('0');
    // A number too large for a byte is somebody's slip.
    Some((count, u8::try_from(value & 0xFF).ok()?, is_octal)).filter(|_| value < 1000 && count < 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_quotes_and_lists_are_read() {
        assert_eq!(behind_type(b"&str = \"x\"", 0), Some(7));
        assert_eq!(behind_type(b"Optional[str] = 'x'", 0), Some(16));
        assert_eq!(behind_type(b"str == \"x\"", 0), None);
        assert_eq!(perl(b"qq{abc}", 0), Some(3..6));
        assert_eq!(perl(b"quick", 0), None);
        for (text, place) in [
            ("\"x\"", 0),
            ("rb'x'", 2),
            ("$\"x\"", 1),
            ("!!str x", 6),
            ("[\"x\"]", 1),
            ("<<\"x\">>", 2),
            ("[]byte(\"x\")", 7),
            ("bytes.fromhex('x')", 14),
            ("new String(\"x\")", 11),
            ("os.getenv(\"x\")", 0),
            ("decrypt(\"FdqO9Jq1Wn\")", 8),
            ("build", 0),
        ] {
            assert_eq!(inside(text.as_bytes(), 0), place, "{text}");
        }
        let name = |word: &'static str| Name {
            word: word.as_bytes(),
            suffix: b"",
        };
        let list = b"{0x35, 0x34, 0x65, 0x9b, 0x1c, 0x2e, 023, 010}";
        assert_eq!(bytes(list, 0, &name("key")), Some(1..list.len() - 1));
        let ids = b"[1, 15043, 3186, 29991, 306, 626, 263, 4086, 1904]";
        assert_eq!(bytes(ids, 0, &name("secret")), None);
        let small = b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]";
        assert_eq!(bytes(small, 0, &name("key")), None);
    }

    #[test]
    fn what_stands_in_is_found_if_it_is_no_word() {
        let found = |text: &'static str| fallback(text.as_bytes(), 0).map(|range| &text[range]);
        assert_eq!(found("get(\"PW\") or \"at5G6zi!m\""), Some("at5G6zi!m"));
        assert_eq!(found("get(\"PW\", \"postgres\")"), None);
        assert_eq!(found("get(\"DB_PW_2\")"), None);
    }
}
