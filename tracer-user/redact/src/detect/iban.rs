//! Bank account numbers of ISO 13616: a country, its length, and the check over all of it.

use super::{
    checksum,
    class::{self, ALNUM, DIGIT, LETTER},
};

/// Country and length, from the registry of ISO 13616.
#[rustfmt::skip]
const LENGTHS: [(&[u8; 2], usize); 88] = [
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AT", 20), (b"AZ", 28), (b"BA", 20), (b"BE", 16), (b"BG", 22),
    (b"BH", 22), (b"BI", 27), (b"BR", 29), (b"BY", 28), (b"CH", 21), (b"CR", 22), (b"CY", 28), (b"CZ", 24),
    (b"DE", 22), (b"DJ", 27), (b"DK", 18), (b"DO", 28), (b"EE", 20), (b"EG", 29), (b"ES", 24), (b"FI", 18),
    (b"FK", 18), (b"FO", 18), (b"FR", 27), (b"GB", 22), (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GR", 27),
    (b"GT", 28), (b"HN", 28), (b"HR", 21), (b"HU", 28), (b"IE", 22), (b"IL", 23), (b"IQ", 23), (b"IS", 26),
    (b"IT", 27), (b"JO", 30), (b"KW", 30), (b"KZ", 20), (b"LB", 28), (b"LC", 32), (b"LI", 21), (b"LT", 20),
    (b"LU", 20), (b"LV", 21), (b"LY", 25), (b"MC", 27), (b"MD", 24), (b"ME", 22), (b"MK", 19), (b"MN", 20),
    (b"MR", 27), (b"MT", 31), (b"MU", 30), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23), (b"PK", 24),
    (b"PL", 28), (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22), (b"RU", 33), (b"SA", 24),
    (b"SC", 31), (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24), (b"SM", 27), (b"SO", 23), (b"ST", 25),
    (b"SV", 28), (b"TL", 23), (b"TN", 24), (b"TR", 26), (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20),
];

/// Where the account number that begins at `start` ends. Blanks, dashes or dots may group it.
pub(crate) fn end(text: &[u8], start: usize) -> Option<usize> {
    let mut head = text.get(start..start + 4)?;
    let check = [head[0], head[1], head[3], *text.get(start + 4)?];
    // `PL 61 1090 …`
    if head[2] == b' ' {
        head = &check;
    }
    let is_head = class::is(head[0], LETTER)
        && class::is(head[1], LETTER)
        && class::is(head[2], DIGIT)
        && class::is(head[3], DIGIT);
    // Glued to its own name it is told by it: `IBANDE89…`.
    let is_named = text[..start].len() >= 4 && text[start - 4..start].eq_ignore_ascii_case(b"iban");
    if !is_head || (class::before(text, start, ALNUM) && !is_named) {
        return None;
    }
    let country = [head[0].to_ascii_uppercase(), head[1].to_ascii_uppercase()];
    let place = LENGTHS
        .binary_search_by(|(code, _)| code.as_slice().cmp(&country))
        .ok()?;
    let length = LENGTHS[place].1;
    let mut characters = [0; 34];
    let mut count = 0;
    let mut end = start;
    while count < length {
        let byte = *text.get(end)?;
        if class::is(byte, ALNUM) {
            characters[count] = byte;
            count += 1;
        } else if !(matches!(byte, b' ' | b'-' | b'.' | b'\n') && class::at(text, end + 1, ALNUM)) {
            return None;
        }
        end += 1;
    }
    let is_free = !class::at(text, end, ALNUM);
    (is_free && checksum::iban(&characters[..length])).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched() {
        assert!(LENGTHS.is_sorted());
    }

    #[test]
    fn an_account_number_is_found_however_it_is_grouped() {
        assert_eq!(end(b"GB82 WEST 1234 5698 7654 32, please", 0), Some(27));
        assert_eq!(end(b"gb82west12345698765432", 0), Some(22));
        assert_eq!(end(b"GB82WEST12345698765433", 0), None);
        assert_eq!(end(b"GB82WEST123456987654321", 0), None);
    }
}
