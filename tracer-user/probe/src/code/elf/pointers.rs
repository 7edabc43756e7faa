//! Words that the loader fills with addresses of the image itself: pointers in `.data.rel.ro`, of
//! which the file may hold nothing but the relocation.

use object::{LittleEndian as Le, elf};

use super::Image;
use crate::code::{ImageError, read::ReadAt};

/// More than any library has: 64 MiB of them in memory.
const MAX_POINTERS: usize = 4 << 20;
const MAX_RELOCATIONS: u64 = 256 << 20;
const CHUNK: u64 = 1 << 20;

/// Pointers by their addresses.
#[derive(Debug, Default)]
pub(super) struct Pointers(Vec<(u64, u64)>);

impl Pointers {
    /// All, in order: address of the word, and what it will point to.
    pub(super) fn all(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Where the word at an address will point to.
    pub(super) fn at(&self, address: u64) -> Option<u64> {
        let place = self.0.binary_search_by_key(&address, |&(at, _)| at).ok()?;
        Some(self.0[place].1)
    }

    fn push(&mut self, at: u64, target: u64) -> Result<(), ImageError> {
        if self.0.len() >= MAX_POINTERS {
            return Err(ImageError::TooLarge {
                what: "number of relocations",
                length: self.0.len() as u64 + 1,
                limit: MAX_POINTERS as u64,
            });
        }
        self.0.push((at, target));
        Ok(())
    }
}

impl<R: ReadAt> Image<R> {
    /// Where the word at an address will point to, if it is a pointer into this image.
    ///
    /// # Errors
    /// When the relocations cannot be read.
    pub fn pointer_at(&self, address: u64) -> Result<Option<u64>, ImageError> {
        Ok(self.pointers()?.at(address))
    }

    /// Every pointer into this image, in order of address.
    pub(in crate::code) fn all_pointers(&self) -> Result<&[(u64, u64)], ImageError> {
        Ok(self.pointers()?.all())
    }

    fn pointers(&self) -> Result<&Pointers, ImageError> {
        if let Some(pointers) = self.pointers.get() {
            return Ok(pointers);
        }
        let mut pointers = Pointers::default();
        self.read_full_relocations(&mut pointers)?;
        self.read_packed_relocations(&mut pointers)?;
        pointers.0.sort_unstable();
        pointers.0.dedup_by_key(|&mut (at, _)| at);
        Ok(self.pointers.get_or_init(|| pointers))
    }

    /// `DT_RELA`: (address, kind and symbol, addend).
    fn read_full_relocations(&self, pointers: &mut Pointers) -> Result<(), ImageError> {
        const SIZE: u64 = size_of::<elf::Rela64<Le>>() as u64;
        let Some(table) = self.dynamic.rela else {
            return Ok(());
        };
        let start = self.offset_of("relocations", table)?;
        let mut at = 0;
        let size = bounded(self.dynamic.rela_size)?;
        while at < size {
            let length = (size - at).min(CHUNK / SIZE * SIZE);
            let chunk = self
                .bytes
                .vec("relocations", start.saturating_add(at), length, CHUNK)?;
            for entry in chunk.as_chunks::<24>().0 {
                let word = |at: usize| {
                    let bytes = entry[at..at + 8].try_into();
                    u64::from_le_bytes(bytes.expect("eight bytes of twenty-four"))
                };
                let (address, kind, addend) = (word(0), word(8), word(16));
                if kind as u32 == elf::R_X86_64_RELATIVE {
                    pointers.push(address, addend)?;
                } else if kind as u32 == elf::R_X86_64_64 {
                    let symbol = self.dynamic_symbol(kind >> 32)?;
                    if symbol.st_shndx.get(Le) != elf::SHN_UNDEF {
                        let target = symbol.st_value.get(Le).wrapping_add(addend);
                        pointers.push(address, target)?;
                    }
                }
            }
            at += length;
        }
        Ok(())
    }

    /// `DT_RELR`: an even word is an address, an odd one a bitmap of the 63 words that follow; the
    /// pointers stand in their places.
    fn read_packed_relocations(&self, pointers: &mut Pointers) -> Result<(), ImageError> {
        let Some(table) = self.dynamic.relr else {
            return Ok(());
        };
        let what = "packed relocations";
        let start = self.offset_of(what, table)?;
        let size = bounded(self.dynamic.relr_size)?;
        let mut next = 0_u64;
        let mut at = 0;
        while at < size {
            let length = (size - at).min(CHUNK);
            let chunk = self
                .bytes
                .vec(what, start.saturating_add(at), length, CHUNK)?;
            for word in chunk.as_chunks::<8>().0 {
                let word = u64::from_le_bytes(*word);
                if word & 1 == 0 {
                    self.push_in_place(pointers, word)?;
                    next = word.wrapping_add(8);
                    continue;
                }
                for bit in (1..64).filter(|bit| word >> bit & 1 == 1) {
                    self.push_in_place(pointers, next.wrapping_add((bit - 1) * 8))?;
                }
                next = next.wrapping_add(63 * 8);
            }
            at += length;
        }
        Ok(())
    }

    fn push_in_place(&self, pointers: &mut Pointers, address: u64) -> Result<(), ImageError> {
        // A word that the file does not hold begins as 0 and points nowhere.
        match self.file_offset(address) {
            Some(offset) => {
                let target = self.bytes.u64("pointer", offset)?;
                pointers.push(address, target)
            }
            None => Ok(()),
        }
    }
}

fn bounded(size: u64) -> Result<u64, ImageError> {
    if size > MAX_RELOCATIONS {
        return Err(ImageError::TooLarge {
            what: "relocations",
            length: size,
            limit: MAX_RELOCATIONS,
        });
    }
    Ok(size)
}
