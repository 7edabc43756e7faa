//! The dynamic section.

use std::ops::Range;

use object::elf;

use crate::code::{
    ImageError,
    read::{Bytes, ReadAt},
};

const MAX_DYNAMIC: u64 = 1 << 20;

/// The entries of the dynamic section that matter here; addresses unless said otherwise.
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    pub(super) symtab: Option<u64>,
    pub(super) strtab: u64,
    /// Size in bytes.
    pub(super) strtab_size: u64,
    pub(super) gnu_hash: Option<u64>,
    pub(super) hash: Option<u64>,
    pub(super) jmprel: Option<u64>,
    /// Size in bytes.
    pub(super) jmprel_size: u64,
    pub(super) rela: Option<u64>,
    /// Size in bytes.
    pub(super) rela_size: u64,
    pub(super) relr: Option<u64>,
    /// Size in bytes.
    pub(super) relr_size: u64,
    /// Offset in the string table.
    pub(super) soname: Option<u64>,
    /// Offsets in the string table.
    pub(super) needed: Vec<u64>,
}

impl Dynamic {
    pub(super) fn read<R: ReadAt>(bytes: &Bytes<R>, range: Range<u64>) -> Result<Self, ImageError> {
        let length = range.end - range.start;
        let entries = bytes.vec("dynamic section", range.start, length, MAX_DYNAMIC)?;
        let mut found = Self::default();
        for entry in entries.as_chunks::<16>().0 {
            let (tag, value) = entry.split_at(8);
            let value = u64::from_le_bytes(value.try_into().expect("half of sixteen bytes"));
            let tag = i64::from_le_bytes(tag.try_into().expect("half of sixteen bytes"));
            match tag {
                elf::DT_NULL => break,
                elf::DT_SYMTAB => found.symtab = Some(value),
                elf::DT_STRTAB => found.strtab = value,
                elf::DT_STRSZ => found.strtab_size = value,
                elf::DT_GNU_HASH => found.gnu_hash = Some(value),
                elf::DT_HASH => found.hash = Some(value),
                elf::DT_JMPREL => found.jmprel = Some(value),
                elf::DT_PLTRELSZ => found.jmprel_size = value,
                elf::DT_RELA => found.rela = Some(value),
                elf::DT_RELASZ => found.rela_size = value,
                elf::DT_RELR => found.relr = Some(value),
                elf::DT_RELRSZ => found.relr_size = value,
                elf::DT_SONAME => found.soname = Some(value),
                elf::DT_NEEDED => found.needed.push(value),
                _ => {}
            }
        }
        Ok(found)
    }
}
