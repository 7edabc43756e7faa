//! Finding what has no symbol: the functions that refer to a known string, and the string that a
//! function returns.

use std::{collections::BTreeSet, ops::ControlFlow};

use super::{
    Image, ImageError,
    elf::Segment,
    read::{Bytes, ReadAt},
    unwind::UnwindError,
};

const CHUNK: u64 = 1 << 20;
/// A string at more places than this tells nothing.
const MAX_PLACES: usize = 256;
const MAX_STRING: usize = 4096;

impl<R: ReadAt> Image<R> {
    /// The beginnings of the functions (or of their cold parts) that load the address of a string,
    /// found through the unwind table. `text` ends with a NUL if the whole string is meant, and
    /// otherwise stands for every string that begins with it.
    ///
    /// # Errors
    /// When the image cannot be read or has no unwind table.
    pub fn functions_referring_to(&self, text: &[u8]) -> Result<BTreeSet<u64>, UnwindError> {
        let places = self.places_of(text)?;
        let mut functions = BTreeSet::new();
        if places.is_empty() {
            return Ok(functions);
        }
        for segment in self.segments().iter().filter(|segment| segment.executable) {
            let mut references = Vec::new();
            each_chunk(&self.bytes, segment, 8, |code, vaddr| {
                references.extend(
                    address_loads(code, vaddr)
                        .filter_map(|(from, target)| places.contains(&target).then_some(from)),
                );
                ControlFlow::Continue(())
            })?;
            for from in references {
                if let Some(frame) = self.frame_at(from)? {
                    functions.insert(frame.range.start);
                }
            }
        }
        Ok(functions)
    }

    /// The string whose address a function returns, where that is all it does (`llama_version`).
    ///
    /// # Errors
    /// When the image cannot be read there.
    pub fn returned_string(&self, vaddr: u64) -> Result<Option<String>, ImageError> {
        let Some(address) = self.returned_address(vaddr)? else {
            return Ok(None);
        };
        let at = self.offset_of("returned string", address)?;
        let text = self.bytes.c_string("returned string", at, MAX_STRING)?;
        Ok(String::from_utf8(text).ok())
    }

    fn places_of(&self, text: &[u8]) -> Result<BTreeSet<u64>, ImageError> {
        let mut places = BTreeSet::new();
        let finder = memchr::memmem::Finder::new(text);
        for segment in self.segments().iter().filter(|segment| !segment.executable) {
            each_chunk(&self.bytes, segment, text.len() as u64, |data, vaddr| {
                places.extend(
                    finder
                        .find_iter(data)
                        .map(|at| vaddr.wrapping_add(at as u64)),
                );
                if places.len() > MAX_PLACES {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        }
        if places.len() > MAX_PLACES {
            let (length, limit) = (places.len() as u64, MAX_PLACES as u64);
            return Err(ImageError::TooLarge {
                what: "occurrences of the string",
                length,
                limit,
            });
        }
        Ok(places)
    }
}

/// Reads a segment in chunks that overlap by `overlap` bytes, so that nothing looked for is cut.
fn each_chunk<R: ReadAt>(
    bytes: &Bytes<R>,
    segment: &Segment,
    overlap: u64,
    mut visit: impl FnMut(&[u8], u64) -> ControlFlow<()>,
) -> Result<(), ImageError> {
    let mut at = 0;
    while at < segment.file_size {
        let length = (segment.file_size - at).min(CHUNK + overlap);
        let start = segment.file_offset.saturating_add(at);
        let chunk = bytes.vec("segment", start, length, CHUNK + overlap)?;
        if visit(&chunk, segment.vaddr.wrapping_add(at)).is_break() {
            break;
        }
        at += CHUNK;
    }
    Ok(())
}

/// Bytes that would be `lea register, [rip + displacement]`, with where they stand and lead.
fn address_loads(code: &[u8], vaddr: u64) -> impl Iterator<Item = (u64, u64)> {
    memchr::memchr_iter(0x8d, code).filter_map(move |at| {
        let prefix = *code.get(at.checked_sub(1)?)?;
        let operands = *code.get(at + 1)?;
        if prefix & 0xf8 != 0x48 || operands & 0xc7 != 0x05 {
            return None;
        }
        let displacement = code.get(at + 2..at + 6)?;
        let displacement = i32::from_le_bytes(displacement.try_into().expect("four bytes"));
        let next = vaddr.wrapping_add(at as u64 + 6);
        Some((
            next.wrapping_sub(7),
            next.wrapping_add_signed(i64::from(displacement)),
        ))
    })
}
