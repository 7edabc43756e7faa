//! What the tokens of a vocabulary stand for, as bytes.
//!
//! A token's text in a GGUF file is not yet its bytes: SPM vocabularies write a blank as `▁` and a
//! single byte as `<0xNN>`, byte-level BPE writes every byte as a printable character. Control
//! tokens are shown as they are written, so that nothing hides across one.
//!
//! Source: `llama_vocab::impl::token_to_piece` at build 11434; the table of characters is GPT-2's
//! `bytes_to_unicode` (<https://github.com/openai/gpt-2/blob/master/src/encoder.py>).

use std::fmt;

/// Bytes of all pieces together; the largest vocabularies have some 3 MiB.
const MOST_BYTES: usize = 64 << 20;
/// Tokens; the largest vocabularies have some 260,000.
const MOST_TOKENS: usize = 1 << 22;

/// `LLAMA_TOKEN_TYPE_*` as GGUF files have them.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const BYTE: i64 = 6;

/// The bytes of each token of a vocabulary.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    bytes: Vec<u8>,
    /// Where each piece ends.
    ends: Vec<u32>,
}

impl Pieces {
    /// A token's bytes; none if the vocabulary has no such token.
    #[must_use]
    pub fn get(&self, id: i32) -> Option<&[u8]> {
        let index = usize::try_from(id).ok()?;
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => 0,
        };
        self.bytes.get(start..end)
    }

    /// How many tokens there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        // Bounded by `MOST_BYTES` before.
        self.ends
            .push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }
}

/// The number of tokens alone: the pieces are a file's, and long.
impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pieces({})", self.len())
    }
}

/// How a vocabulary writes its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// Blanks as `▁`, bytes as `<0xNN>`.
    Blanks,
    /// Each byte as a character.
    Characters,
}

/// Gathers a vocabulary as its file is read; its entries come in any order.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    writing: Option<Writing>,
    texts: Pieces,
    kinds: Vec<u8>,
    /// Whether something is there that cannot be read as tokens.
    broken: bool,
}

impl Gathering {
    /// The tokenizer's kind.
    pub(super) fn set_model(&mut self, model: &str) {
        self.writing = match model {
            "llama" | "bert" | "t5" | "plamo2" => Some(Writing::Blanks),
            "gpt2" => Some(Writing::Characters),
            _ => None,
        };
    }

    /// The next token's text.
    pub(super) fn text(&mut self, text: &[u8]) {
        let fits = self.texts.bytes.len() + text.len() <= MOST_BYTES;
        if !fits || self.texts.len() == MOST_TOKENS {
            self.broken = true;
            return;
        }
        self.texts.push(text);
    }

    /// The next token's type.
    pub(super) fn kind(&mut self, kind: i64) {
        if self.kinds.len() < MOST_TOKENS {
            self.kinds.push(u8::try_from(kind).unwrap_or(0));
        }
    }

    /// The pieces, if the vocabulary is of a known kind.
    pub(super) fn finish(self) -> Option<Pieces> {
        let Self {
            writing,
            texts,
            kinds,
            broken,
        } = self;
        let writing = writing.filter(|_| !broken && !texts.is_empty())?;
        let others: Vec<u8> = others().collect();
        let mut pieces = Pieces::default();
        let mut piece = Vec::new();
        for index in 0..texts.len() {
            let text = texts.get(i32::try_from(index).ok()?)?;
            piece.clear();
            match (kinds.get(index).copied().map(i64::from), writing) {
                (Some(CONTROL | USER_DEFINED), _) => piece.extend_from_slice(text),
                (Some(BYTE), Writing::Blanks) => match byte(text) {
                    Some(byte) => piece.push(byte),
                    None => piece.extend_from_slice(text),
                },
                (_, Writing::Blanks) => blanks(text, &mut piece),
                (_, Writing::Characters) => characters(text, &others, &mut piece),
            }
            pieces.push(&piece);
        }
        Some(pieces)
    }
}

/// `<0x0A>`
fn byte(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digits = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

/// `▁` (U+2581) is a blank.
fn blanks(text: &[u8], piece: &mut Vec<u8>) {
    const BLANK: &[u8] = "\u{2581}".as_bytes();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(BLANK) {
            piece.push(b' ');
            rest = after;
        } else {
            piece.push(rest[0]);
            rest = &rest[1..];
        }
    }
}

/// Each character stands for a byte: printable ones of Latin-1 for themselves, the others for the
/// characters from U+0100 on, in order.
fn characters(text: &[u8], others: &[u8], piece: &mut Vec<u8>) {
    let Ok(text) = std::str::from_utf8(text) else {
        piece.extend_from_slice(text);
        return;
    };
    for character in text.chars() {
        let code = u32::from(character);
        match u8::try_from(code) {
            Ok(byte) if stands_for_itself(byte) => piece.push(byte),
            _ => {
                let index = code
                    .checked_sub(0x100)
                    .and_then(|index| usize::try_from(index).ok());
                match index.and_then(|index| others.get(index)) {
                    Some(byte) => piece.push(*byte),
                    None => piece.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
        }
    }
}

/// The bytes that stand for no character of their own, in order.
fn others() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(|byte| !stands_for_itself(*byte))
}

const fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(model: &str, tokens: &[(&str, i64)]) -> Option<Vec<Vec<u8>>> {
        let mut gathering = Gathering::default();
        for (text, kind) in tokens {
            gathering.text(text.as_bytes());
            gathering.kind(*kind);
        }
        gathering.set_model(model);
        let pieces = gathering.finish()?;
        let ids = 0..i32::try_from(pieces.len()).unwrap();
        Some(ids.map(|id| pieces.get(id).unwrap().to_vec()).collect())
    }

    #[test]
    fn spm_writes_blanks_and_single_bytes() {
        let tokens = [
            ("<s>", 3),
            ("<0x0A>", 6),
            ("\u{2581}Once\u{2581}upon", 1),
            ("<0x41>", 1),
            ("\u{2581}", 4),
        ];
        let expected: [&[u8]; 5] = [
            b"<s>",
            b"\n",
            b" Once upon",
            b"<0x41>",
            "\u{2581}".as_bytes(),
        ];
        assert_eq!(pieces("llama", &tokens).unwrap(), expected);
    }

    #[test]
    fn byte_level_bpe_writes_each_byte_as_a_character() {
        let tokens = [
            ("\u{120}time", 1),
            ("\u{10a}", 1),
            ("\u{c3}\u{a9}", 1),
            ("\u{e2}\u{122}\u{142}", 1),
            ("<|im_end|>", 3),
        ];
        let expected: [&[u8]; 5] = [
            b" time",
            b"\n",
            "é".as_bytes(),
            &[0xe2, 0x80, 0xa0],
            b"<|im_end|>",
        ];
        assert_eq!(pieces("gpt2", &tokens).unwrap(), expected);
    }

    #[test]
    fn every_byte_has_one_character() {
        let mut seen = std::collections::BTreeSet::new();
        for code in (0..0x144).filter_map(char::from_u32) {
            let mut piece = Vec::new();
            characters(
                code.to_string().as_bytes(),
                &others().collect::<Vec<_>>(),
                &mut piece,
            );
            if let [byte] = piece[..] {
                seen.insert(byte);
            }
        }
        assert_eq!(seen.len(), 256);
    }

    #[test]
    fn a_vocabulary_of_another_kind_has_no_pieces() {
        assert_eq!(pieces("rwkv", &[("a", 1)]), None);
        assert_eq!(pieces("llama", &[]), None);
    }

    #[test]
    fn an_id_outside_the_vocabulary_has_no_piece() {
        let mut gathering = Gathering::default();
        gathering.set_model("llama");
        gathering.text(b"a");
        let pieces = gathering.finish().unwrap();
        assert_eq!(
            (pieces.get(0), pieces.get(1), pieces.get(-1)),
            (Some(&b"a"[..]), None, None)
        );
    }
}
