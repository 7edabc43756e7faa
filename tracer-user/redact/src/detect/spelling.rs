//! Whether letters stand beside each other as they do in words: what letters of one case alone, or with few
//! digits, say of a key.

/// For each letter those that seldom follow it, a bit for each: in fewer than eight of the common words that
/// the lexical mode knows.
const SELDOM: [u32; 26] = [
    0x201_4291, 0x3e9_b6ec, 0x2e1_b26a, 0x3c9_a6a6, 0x210_0600, 0x2e5_b6ce, 0x3e9_962e, 0x2e1_beee,
    0x1d1_0780, 0x3ef_bfef, 0x3fb_deef, 0x2c3_b6e6, 0x3eb_0eec, 0x3c3_8002, 0x281_0280, 0x3e1_366e,
    0x3ef_ffff, 0x281_0280, 0x2a2_222a, 0x2a1_866a, 0x3f1_4680, 0x3ff_beee, 0x3f9_9e6e, 0x3f7_7eea,
    0x3fb_4eeb, 0x3ff_feee,
];

/// Twelve or more letters of one case and digits, in an order that no words have: a key, if its name says so.
pub(crate) fn is_unpronounceable(value: &[u8]) -> bool {
    const LEAST: usize = 12;
    /// So many pairs of letters say something.
    const PAIRS: usize = 7;
    let is_of = |letters: fn(&u8) -> bool| {
        let is_part = |byte: &u8| byte.is_ascii_digit() || letters(byte);
        value.iter().all(is_part)
    };
    if value.len() < LEAST || !(is_of(u8::is_ascii_lowercase) || is_of(u8::is_ascii_uppercase)) {
        return false;
    }
    let is_row = |four: &[u8]| four.iter().all(|byte| *byte == four[0]);
    if value.windows(4).any(is_row) {
        return false;
    }
    let (mut pairs, mut seldom) = (0, 0);
    for pair in value.windows(2) {
        if let (Some(first), Some(second)) = (place(pair[0]), place(pair[1])) {
            pairs += 1;
            seldom += usize::from(SELDOM[first] >> second & 1 == 1);
        }
    }
    pairs >= PAIRS && seldom * 4 >= pairs
}

/// A letter's place in the alphabet.
fn place(letter: u8) -> Option<usize> {
    letter
        .is_ascii_alphabetic()
        .then(|| usize::from((letter | 0x20) - b'a'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_can_say_is_told_from_words() {
        for key in [
            "zqcngbvhfdxxekllwluzyxmt",
            "moswmojye7splbow",
            "KE0SFEDIGJKQQZWC",
            "abcdefghijklmnop",
        ] {
            assert!(is_unpronounceable(key.as_bytes()), "{key}");
        }
        for text in [
            "authenticationprovider",
            "tokenizerfastparallel",
            "PRODUCTIONDATABASE2",
            "whatsappbusinessaccount",
            "my_key",
            "AKIAXXXXXXXXXXXXXXXX",
            "4bf92f3577b34da6a3ce929d",
        ] {
            assert!(!is_unpronounceable(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn common_words_in_a_row_are_no_key() {
        let words = include_str!("lexical/words.txt").lines();
        let words: Vec<&str> = words
            .filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
            .collect();
        let rows = words.windows(2).map(|two| two.concat());
        let taken = rows
            .filter(|row| is_unpronounceable(row.as_bytes()))
            .count();
        assert!(taken * 200 < words.len(), "{taken} of {}", words.len());
    }
}
