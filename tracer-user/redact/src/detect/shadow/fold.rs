//! Characters that stand for others: invisible ones, wide ones, other scripts' look-alikes.

use std::ops::Range;

use super::Changes;
use crate::detect::class::{self, ALNUM, DIGIT, SPACE};

/// Finds every character that stands for another or for none.
pub(super) fn find(text: &[u8], changes: &mut Changes) {
    let mut place = 0;
    while let Some(step) = text[place..].iter().position(|byte| *byte >= 0xC2) {
        place += step;
        let Some((character, length)) = character(text, place) else {
            place += 1;
            continue;
        };
        match fold(character) {
            Folded::No => {}
            Folded::Nothing => changes.push(place..place + length, b""),
            Folded::Always(byte) => changes.push(place..place + length, &[byte]),
            Folded::AmongDigits(byte) => {
                let is_among = class::before(text, place, DIGIT)
                    || class::at(text, place + length, DIGIT)
                    || is_spacing(text, place..place + length);
                if is_among {
                    changes.push(place..place + length, &[byte]);
                }
            }
            Folded::AmongAscii(byte) => {
                if is_among_ascii(text, place) {
                    changes.push(place..place + length, &[byte]);
                }
            }
        }
        place += length;
    }
}

enum Folded {
    No,
    /// Nobody sees it.
    Nothing,
    Always(u8),
    /// It is common in prose, and means something else only between digits.
    AmongDigits(u8),
    /// It is a letter of its own script, and a look-alike only in a word with ASCII in it.
    AmongAscii(u8),
}

/// Whether the character stands after every single one: `r s t`.
fn is_spacing(text: &[u8], range: Range<usize>) -> bool {
    let character = &text[range.clone()];
    let follows = text
        .get(range.end + 1..)
        .is_some_and(|rest| rest.starts_with(character));
    let leads = range.start > 0 && text[..range.start - 1].ends_with(character);
    follows || leads
}

/// Whether the word around has an ASCII letter, digit or `@`.
fn is_among_ascii(text: &[u8], place: usize) -> bool {
    const REACH: usize = 48;
    let is_mark = |byte: &u8| class::is(*byte, ALNUM) || *byte == b'@';
    let goes_on = |byte: &&u8| !class::is(**byte, SPACE);
    text[..place]
        .iter()
        .rev()
        .take(REACH)
        .take_while(goes_on)
        .any(is_mark)
        || text[place..]
            .iter()
            .take(REACH)
            .take_while(goes_on)
            .any(is_mark)
}

/// The character at `place` and its length, if the bytes are one.
fn character(text: &[u8], place: usize) -> Option<(char, usize)> {
    let length = match text[place] {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return None,
    };
    let bytes = text.get(place..place + length)?;
    let character = std::str::from_utf8(bytes).ok()?.chars().next()?;
    Some((character, length))
}

/// Where runs of ten decimal digits begin (Unicode's class Nd).
const DIGIT_ZEROES: [u32; 24] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
    0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x17E0, 0x1810, 0x1946, 0x19D0, 0xA620, 0xA8D0, 0xAA50, 0xFF10,
];

/// Letters that look like ASCII ones, after Unicode Technical Standard 39.
const LOOK_ALIKES: &[(&str, &str)] = &[
    ("абвгеёіїјкмнорсѕтухԁԛԝһӏьѵ", "a6Breeiijkmhopcstyxdqwhl6v"),
    ("АВЕЁЅІЇЈКМНОРСТУХԌԚԜҺӀЗЬ", "ABEESIIJKMHOPCTYXGQWHl3b"),
    ("αβγεηικνορτυχωϲϳ", "aByenikvoptuxwcj"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϿ", "ABEZHIKMNOPTYXCC"),
    ("օսհցոզլԁաԼ", "ouhgnqldwL"),
    (
        "ıɑɡɩʏƽǃƖɪʀɴᴏᴄᴠᴡᴢᴀʙᴅᴇꜰɢʜᴊᴋʟᴍᴘꜱᴛᴜ",
        "iagiy5!lirnocvwzabdefghjklmpstu",
    ),
    ("ⅰⅴⅹⅼⅽⅾⅿⅠⅤⅩⅬⅭⅮⅯ", "ivxlcdmIVXLCDM"),
    (
        "ℂℊℋℌℍℐℑℒℓℕℙℚℛℜℝℤℨKℬℭℯℰℱℳℴℹⅅⅆⅇⅈⅉ",
        "CgHHHIILlNPQRRRZZKBCeEFMoiDdeij",
    ),
    ("ꓐꓑꓒꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓨꓪꓫꓬꓮꓰꓲꓳꓴ", "BPdDTGKJCZFMNLSRVHGWXYAEIOU"),
    ("ЬԎօ٠۰०০〇", "bGo00000"),
];

fn fold(character: char) -> Folded {
    let code = u32::from(character);
    if let Some(zero) = DIGIT_ZEROES
        .iter()
        .find(|zero| (**zero..**zero + 10).contains(&code))
    {
        return ascii('0', code - zero);
    }
    match code {
        // Soft hyphen, joiners, directions, variation selectors, tags, the byte order mark.
        0xAD
        | 0x34F
        | 0x61C
        | 0x115F..=0x1160
        | 0x17B4..=0x17B5
        | 0x180B..=0x180F
        | 0x200B..=0x200F
        | 0x202A..=0x202E
        | 0x2060..=0x206F
        | 0x3164
        | 0xFE00..=0xFE0F
        | 0xFEFF
        | 0xFFA0
        | 0xFFF9..=0xFFFB
        | 0x1D173..=0x1D17A
        | 0xE0000..=0xE0FFF => Folded::Nothing,
        // Marks that are put on or across letters.
        0x300..=0x36F | 0x20D0..=0x20FF => Folded::Nothing,
        0xA0 | 0x2000..=0x200A | 0x202F | 0x205F => Folded::AmongDigits(b' '),
        0x3000 => Folded::Always(b' '),
        0x2010..=0x2015 | 0x2212 => Folded::AmongDigits(b'-'),
        0xFE58 | 0xFE63 => Folded::Always(b'-'),
        0xFE52 | 0x3002 | 0xFF61 | 0x2024 => Folded::Always(b'.'),
        0xFE55 => Folded::Always(b':'),
        0xFE6B => Folded::Always(b'@'),
        0xFF01..=0xFF5E => ascii('!', code - 0xFF01),
        0x1D400..=0x1D6A3 => match (code - 0x1D400) % 52 {
            letter @ 0..=25 => ascii('A', letter),
            letter => ascii('a', letter - 26),
        },
        0x1D7CE..=0x1D7FF => ascii('0', (code - 0x1D7CE) % 10),
        0x24B6..=0x24CF => ascii('A', code - 0x24B6),
        0x24D0..=0x24E9 => ascii('a', code - 0x24D0),
        0x2460..=0x2468 => ascii('1', code - 0x2460),
        0x24EA => Folded::Always(b'0'),
        0x1F130..=0x1F149 => ascii('A', code - 0x1F130),
        0x1F170..=0x1F189 => ascii('A', code - 0x1F170),
        0x1FBF0..=0x1FBF9 => ascii('0', code - 0x1FBF0),
        0xB2..=0xB3 => ascii('2', code - 0xB2),
        0xB9 => Folded::Always(b'1'),
        0x2070 | 0x2074..=0x2079 => ascii('0', code - 0x2070),
        0x2080..=0x2089 => ascii('0', code - 0x2080),
        0xC0..=0x17F if code != 0x131 => Folded::No,
        0x131..=0x588 | 0x1D00..=0x1D2F | 0x2100..=0x217F | 0xA4D0..=0xA7FF | 0x3007 => {
            look_alike(character)
        }
        _ => Folded::No,
    }
}

fn ascii(first: char, offset: u32) -> Folded {
    match u8::try_from(u32::from(first) + offset) {
        Ok(byte) if byte.is_ascii() => Folded::Always(byte),
        _ => Folded::No,
    }
}

fn look_alike(character: char) -> Folded {
    for (like, plain) in LOOK_ALIKES {
        if let Some(place) = like.chars().position(|letter| letter == character) {
            return plain
                .as_bytes()
                .get(place)
                .map_or(Folded::No, |byte| Folded::AmongAscii(*byte));
        }
    }
    Folded::No
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_alike_has_its_letter() {
        for (like, plain) in LOOK_ALIKES {
            assert!(plain.is_ascii());
            assert_eq!(like.chars().count(), plain.len(), "{like} {plain}");
        }
    }
}
