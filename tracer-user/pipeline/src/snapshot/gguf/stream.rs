//! The bytes of a header as they come: numbers, strings and values, each within its bounds.

use std::io::Read;

use sha2::{Digest as _, Sha256};
use tracer_event::Digest;

use super::GgufError;

/// Strings, and arrays in arrays, of a header: one is read at a time, and the largest vocabularies and
/// their merges are about a million.
const MOST_PARTS: u64 = 4 << 20;
/// Arrays in arrays; the format has no use for more than one.
const DEEPEST: u32 = 4;
/// Bytes of a header that are read; the largest vocabularies take some 30 MiB.
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// Bytes of a single string that is kept.
pub(super) const LONGEST_KEPT: u64 = 256;

/// What the format calls a string and an array.
pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;

/// A metadata value, as far as it is kept.
pub(super) enum Value {
    Text(Vec<u8>),
    /// A whole number; a negative one wraps.
    Number(u64),
    Other,
}

/// A file that is read once, hashed as it passes by.
pub(super) struct Stream<R> {
    file: R,
    at: u64,
    /// Strings and arrays so far.
    parts: u64,
    whole: Sha256,
    entry: Option<Sha256>,
}

impl<R: Read> Stream<R> {
    pub(super) fn new(file: R) -> Self {
        Self {
            file,
            at: 0,
            parts: 0,
            whole: Sha256::new(),
            entry: None,
        }
    }

    /// Hashes what comes now apart, too.
    pub(super) fn begin_entry(&mut self) {
        self.entry = Some(Sha256::new());
    }

    /// The digest of what came since.
    pub(super) fn end_entry(&mut self) -> Option<[u8; 32]> {
        self.entry.take().map(|entry| entry.finalize().into())
    }

    /// The digest of everything.
    pub(super) fn finish(self) -> Digest {
        Digest(self.whole.finalize().into())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), GgufError> {
        let at = self.at;
        self.at += buffer.len() as u64;
        if self.at > MOST_BYTES {
            return Err(self.bounds("header size", self.at));
        }
        self.file
            .read_exact(buffer)
            .map_err(|cause| GgufError::Read { at, cause })?;
        self.whole.update(&*buffer);
        if let Some(entry) = &mut self.entry {
            entry.update(&*buffer);
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn count(&mut self, what: &'static str, most: u64) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > most {
            return Err(self.bounds(what, count));
        }
        Ok(count)
    }

    /// How long the next string or array is.
    fn length(&mut self, what: &'static str, most: u64) -> Result<u64, GgufError> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(self.bounds("number of strings", self.parts));
        }
        self.count(what, most)
    }

    /// Reads past bytes, piece by piece.
    pub(super) fn pass(
        &mut self,
        length: u64,
        mut look: impl FnMut(&[u8]),
    ) -> Result<(), GgufError> {
        let mut piece = [0; 4096];
        let mut left = length;
        while left > 0 {
            let size = left.min(piece.len() as u64);
            // At most the piece's size, so the cast is exact.
            let piece = &mut piece[..size as usize];
            self.fill(piece)?;
            look(piece);
            left -= size;
        }
        Ok(())
    }

    pub(super) fn string(&mut self, what: &'static str, most: u64) -> Result<Vec<u8>, GgufError> {
        let length = self.length(what, most)?;
        let mut text = Vec::new();
        self.pass(length, |bytes| text.extend_from_slice(bytes))?;
        Ok(text)
    }

    /// A string, if it is short enough to be kept.
    pub(super) fn short_string(&mut self) -> Result<Option<Vec<u8>>, GgufError> {
        let length = self.length("string length", MOST_BYTES)?;
        if length > LONGEST_KEPT {
            self.pass(length, |_| {})?;
            return Ok(None);
        }
        let mut text = vec![0; length as usize];
        self.fill(&mut text)?;
        Ok(Some(text))
    }

    pub(super) fn value(&mut self, kind: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            STRING => self.short_string()?.map_or(Value::Other, Value::Text),
            ARRAY => {
                let kind = self.u32()?;
                let count = self.length("array length", MOST_BYTES)?;
                self.elements(kind, count, 1)?;
                Value::Other
            }
            0 | 7 => Value::Number(u64::from(self.array::<1>()?[0])),
            1 => Value::Number(i64::from(i8::from_le_bytes(self.array()?)).cast_unsigned()),
            2 => Value::Number(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Number(i64::from(i16::from_le_bytes(self.array()?)).cast_unsigned()),
            4 => Value::Number(self.u32()?.into()),
            5 => Value::Number(i64::from(i32::from_le_bytes(self.array()?)).cast_unsigned()),
            10 | 11 => Value::Number(self.u64()?),
            _ => {
                let size = self.scalar_size(kind)?;
                self.pass(size, |_| {})?;
                Value::Other
            }
        })
    }

    pub(super) fn elements(&mut self, kind: u32, count: u64, depth: u32) -> Result<(), GgufError> {
        match kind {
            STRING => {
                for _ in 0..count {
                    let length = self.length("string length", MOST_BYTES)?;
                    self.pass(length, |_| {})?;
                }
            }
            ARRAY => {
                if depth == DEEPEST {
                    return Err(self.bounds("array depth", u64::from(depth) + 1));
                }
                for _ in 0..count {
                    let kind = self.u32()?;
                    let count = self.length("array length", MOST_BYTES)?;
                    self.elements(kind, count, depth + 1)?;
                }
            }
            _ => {
                let size = self.scalar_size(kind)?;
                // Both factors are below 2^32.
                self.pass(count * size, |_| {})?;
            }
        }
        Ok(())
    }

    fn scalar_size(&self, kind: u32) -> Result<u64, GgufError> {
        match kind {
            0 | 1 | 7 => Ok(1),
            2 | 3 => Ok(2),
            4..=6 => Ok(4),
            10..=12 => Ok(8),
            _ => Err(self.bounds("value type", kind.into())),
        }
    }

    pub(super) const fn bounds(&self, what: &'static str, value: u64) -> GgufError {
        GgufError::Bounds {
            at: self.at,
            what,
            value,
        }
    }
}
