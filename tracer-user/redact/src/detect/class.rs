//! Byte classes, looked up in one table.

pub(crate) const DIGIT: u8 = 1;
pub(crate) const LOWER: u8 = 2;
pub(crate) const UPPER: u8 = 4;
/// `_` and `-`.
pub(crate) const JOINER: u8 = 8;
/// `+`, `/` and `=`: with letters and digits, base64.
pub(crate) const BASE64: u8 = 16;
/// Blank, tab and line ends.
pub(crate) const SPACE: u8 = 32;
/// A byte of a character outside ASCII.
pub(crate) const HIGH: u8 = 64;

pub(crate) const LETTER: u8 = LOWER | UPPER;
pub(crate) const ALNUM: u8 = LETTER | DIGIT;
/// Letters of any script.
pub(crate) const WORD: u8 = LETTER | HIGH;

static TABLE: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let value = byte as u8;
        table[byte] = match value {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'z' => LOWER,
            b'A'..=b'Z' => UPPER,
            b'_' | b'-' => JOINER,
            b'+' | b'/' | b'=' => BASE64,
            b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            0x80.. => HIGH,
            _ => 0,
        };
        byte += 1;
    }
    table
}

/// Whether the byte is in one of the classes.
#[inline]
pub(crate) fn is(byte: u8, classes: u8) -> bool {
    TABLE[usize::from(byte)] & classes != 0
}

/// Which of the classes the byte is in.
#[inline]
pub(crate) fn of(byte: u8, classes: u8) -> u8 {
    TABLE[usize::from(byte)] & classes
}

/// Whether there is a byte at this place, and it is in one of the classes.
#[inline]
pub(crate) fn at(text: &[u8], place: usize, classes: u8) -> bool {
    text.get(place).is_some_and(|byte| is(*byte, classes))
}

/// Whether there is a byte before this place, and it is in one of the classes.
#[inline]
pub(crate) fn before(text: &[u8], place: usize, classes: u8) -> bool {
    place > 0 && at(text, place - 1, classes)
}

/// Whether the character before this place is of a script that sets no blanks: Thai, Chinese, Japanese,
/// Korean with its particles.
pub(crate) fn ends_a_script_without_blanks(text: &[u8], place: usize) -> bool {
    match text[..place] {
        [.., 0xE3..=0xED | 0xEF, _, last] => is(last, HIGH),
        [.., 0xE0, 0xB8..=0xB9, last] => is(last, HIGH),
        _ => false,
    }
}

/// Where the first digit, `:` or `@` is: what the walk over a text stops at.
#[inline]
pub(crate) fn first_stop(text: &[u8]) -> Option<usize> {
    // `:` follows `9`. Whole chunks are compared at once.
    const CHUNK: usize = 16;
    let is_stop = |byte: u8| (byte.wrapping_sub(b'0') <= 10) | (byte == b'@');
    let skipped = text
        .chunks_exact(CHUNK)
        .take_while(|chunk| !chunk.iter().fold(false, |any, byte| any | is_stop(*byte)))
        .count()
        * CHUNK;
    let step = text[skipped..].iter().position(|byte| is_stop(*byte))?;
    Some(skipped + step)
}

/// Where the run of these classes that begins at `from` ends.
#[inline]
pub(crate) fn run_end(text: &[u8], from: usize, classes: u8) -> usize {
    let rest = &text[from.min(text.len())..];
    from + rest
        .iter()
        .position(|byte| !is(*byte, classes))
        .unwrap_or(rest.len())
}

/// Where the run of these classes that ends at `to` begins.
#[inline]
pub(crate) fn run_start(text: &[u8], to: usize, classes: u8) -> usize {
    text[..to]
        .iter()
        .rposition(|byte| !is(*byte, classes))
        .map_or(0, |place| place + 1)
}
