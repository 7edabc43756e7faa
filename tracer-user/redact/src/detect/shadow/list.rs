//! Bytes written one by one or in groups: `70 68 69`, `70:68:69`, `7068 6970`, `0x70, 0x68`, `[112, 104, 105]`,
//! `01110000 01101000`.

use std::ops::Range;

use memchr::memchr;

use super::Changes;

/// Fewest bytes that are tried.
const MIN: usize = 10;
/// The shortest list: two characters for each byte and one between two.
const SHORTEST: usize = 3 * MIN - 1;
/// How far apart the places are that are looked at first. The shortest list covers two of them with all
/// that lies between.
const STEP: usize = 14;

/// Finds every list that stands for text.
pub(super) fn find(text: &[u8], changes: &mut Changes) {
    let mut place = 0;
    while place + STEP <= text.len() {
        let window = &text[place..place + STEP];
        // Few windows of other text pass all four places: one branch, which is foreseen.
        let may_be = is_part(window[0])
            & is_part(window[4])
            & is_part(window[9])
            & is_part(window[STEP - 1]);
        if !may_be || !window.iter().all(|byte| is_part(*byte)) {
            place += STEP;
            continue;
        }
        let before = text[..place].iter().rev().take(STEP);
        let start = place - before.take_while(|byte| is_part(**byte)).count();
        let length = text[place..].iter().take_while(|byte| is_part(**byte));
        let end = place + length.count();
        if end - start >= SHORTEST {
            region(text, start..end, changes);
        }
        place = end.max(place + STEP);
    }
}

/// Whether a list may hold the byte: digits, and what stands between numbers.
fn is_part(byte: u8) -> bool {
    PARTS[usize::from(byte)]
}

static PARTS: [bool; 256] = parts();

const fn parts() -> [bool; 256] {
    let mut parts = [false; 256];
    let listed = b"0123456789abcdefABCDEF ,:;-x\n";
    let mut place = 0;
    while place < listed.len() {
        parts[listed[place] as usize] = true;
        place += 1;
    }
    parts
}

/// How bytes are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notation {
    /// One or several, two digits each.
    Pairs,
    Prefixed,
    Decimal,
    Binary,
}

impl Notation {
    const ALL: [Self; 4] = [Self::Prefixed, Self::Pairs, Self::Decimal, Self::Binary];
}

/// Lists among what may be a part of one.
fn region(text: &[u8], range: Range<usize>, changes: &mut Changes) {
    let region = &text[range.clone()];
    let may_be = |notation: Notation| match notation {
        Notation::Prefixed => memchr(b'x', region).is_some(),
        Notation::Pairs | Notation::Decimal => true,
        Notation::Binary => !region
            .iter()
            .take(2 * STEP)
            .any(|byte| matches!(byte, b'2'..=b'9')),
    };
    for notation in Notation::ALL.into_iter().filter(|it| may_be(*it)) {
        let mut list = List::default();
        let mut place = range.start;
        while place < range.end {
            let length = text[place..range.end]
                .iter()
                .take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'x')
                .count();
            let gap = text[place + length..range.end]
                .iter()
                .take_while(|byte| !byte.is_ascii_hexdigit())
                .count();
            if !list.push(text, place..place + length, notation) {
                list.end(changes);
            }
            let between = &text[place + length..place + length + gap];
            list.has_commas |= between.contains(&b',');
            if gap > 2 {
                list.end(changes);
            }
            place += (length + gap).max(1);
        }
        list.end(changes);
    }
}

fn value(digits: &[u8], radix: u32) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// A list as far as it was read.
#[derive(Default)]
struct List {
    range: Range<usize>,
    decoded: Vec<u8>,
    is_in_pairs: bool,
    has_commas: bool,
    has_letters: bool,
}

impl List {
    /// Appends what is written at the range, if it is written so.
    fn push(&mut self, text: &[u8], range: Range<usize>, notation: Notation) -> bool {
        const MOST: usize = 16;
        let before = self.decoded.len();
        let digits = &text[range.clone()];
        match (notation, digits) {
            (Notation::Pairs, _) if digits.len().is_multiple_of(2) && digits.len() <= MOST => {
                let bytes = digits.chunks_exact(2).map_while(|pair| value(pair, 16));
                self.decoded.extend(bytes);
                self.has_letters |= digits.iter().any(u8::is_ascii_alphabetic);
                self.is_in_pairs = true;
            }
            (Notation::Prefixed, [b'0', b'x', digits @ ..]) if digits.len() == 2 => {
                self.decoded.extend(value(digits, 16));
            }
            (Notation::Decimal, [_, _] | [_, _, _]) => self.decoded.extend(value(digits, 10)),
            (Notation::Binary, digits) if digits.len() == 8 => {
                self.decoded.extend(value(digits, 2));
            }
            _ => {}
        }
        if self.decoded.len() == before || !self.decoded[before..].iter().all(is_plain) {
            self.decoded.truncate(before);
            return false;
        }
        if before == 0 {
            self.range.start = range.start;
        }
        self.range.end = range.end;
        true
    }

    /// The list ends here: it stands for text, or for nothing.
    fn end(&mut self, changes: &mut Changes) {
        // Without a prefix, what commas separate are decimal numbers, if no letter says otherwise.
        let is_decimal = self.is_in_pairs && self.has_commas && !self.has_letters;
        if self.decoded.len() >= MIN && !is_decimal {
            changes.push(self.range.clone(), &self.decoded);
        }
        self.decoded.clear();
        self.has_commas = false;
        self.has_letters = false;
    }
}

fn is_plain(byte: &u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}
