//! What a jump or call through the procedure linkage table leads to.

use std::collections::HashMap;

use iced_x86::{Code, Decoder, DecoderOptions, Register};
use object::{LittleEndian as Le, elf};

use super::Image;
use crate::code::{ImageError, read::ReadAt};

const MAX_RELOCATIONS: u64 = 256 << 20;
const MAX_IMPORTS: usize = 1 << 20;
const CHUNK: u64 = 1 << 20;

impl<R: ReadAt> Image<R> {
    /// The symbol that the loader binds to the stub at an address, if a stub is there: an optional
    /// `endbr64` and a jump through a word that a relocation fills.
    ///
    /// # Errors
    /// When the relocations cannot be read.
    pub(in crate::code) fn stub_symbol(&self, vaddr: u64) -> Result<Option<String>, ImageError> {
        if self.code_segment(vaddr).is_none() {
            return Ok(None);
        }
        let offset = self.offset_of("stub", vaddr)?;
        let length = self.bytes.size().saturating_sub(offset).min(16);
        let stub = self.bytes.vec("stub", offset, length, 16)?;
        let mut decoder = Decoder::with_ip(64, &stub, vaddr, DecoderOptions::NONE);
        let mut instruction = decoder.decode();
        if instruction.code() == Code::Endbr64 {
            instruction = decoder.decode();
        }
        if instruction.code() != Code::Jmp_rm64 || instruction.memory_base() != Register::RIP {
            return Ok(None);
        }
        self.slot_symbol(instruction.memory_displacement64())
    }

    /// The symbol whose address the loader writes into the word at an address.
    ///
    /// # Errors
    /// When the relocations cannot be read.
    pub(in crate::code) fn slot_symbol(&self, slot: u64) -> Result<Option<String>, ImageError> {
        let imports = match self.imports.get() {
            Some(imports) => imports,
            None => {
                let imports = self.read_imports()?;
                self.imports.get_or_init(|| imports)
            }
        };
        let Some(&number) = imports.get(&slot) else {
            return Ok(None);
        };
        let symbol = self.dynamic_symbol(u64::from(number))?;
        self.dynamic_string("symbol name", u64::from(symbol.st_name.get(Le)))
            .map(Some)
    }

    fn read_imports(&self) -> Result<HashMap<u64, u32>, ImageError> {
        const SIZE: u64 = size_of::<elf::Rela64<Le>>() as u64;
        let mut imports = HashMap::new();
        let tables = [
            (self.dynamic.jmprel, self.dynamic.jmprel_size),
            (self.dynamic.rela, self.dynamic.rela_size),
        ];
        for (table, size) in tables {
            let Some(table) = table else { continue };
            if size > MAX_RELOCATIONS {
                let what = "relocations";
                return Err(ImageError::TooLarge {
                    what,
                    length: size,
                    limit: MAX_RELOCATIONS,
                });
            }
            let start = self.offset_of("relocations", table)?;
            let mut at = 0;
            while at < size {
                let length = (size - at).min(CHUNK / SIZE * SIZE);
                let chunk =
                    self.bytes
                        .vec("relocations", start.saturating_add(at), length, CHUNK)?;
                for entry in chunk.chunks_exact(SIZE as usize) {
                    let word = |at: usize| {
                        u64::from_le_bytes(
                            entry[at..at + 8]
                                .try_into()
                                .expect("eight bytes of twenty-four"),
                        )
                    };
                    let (slot, info) = (word(0), word(8));
                    let kind = info as u32;
                    if kind == elf::R_X86_64_JUMP_SLOT || kind == elf::R_X86_64_GLOB_DAT {
                        imports.insert(slot, (info >> 32) as u32);
                    }
                }
                if imports.len() > MAX_IMPORTS {
                    let (length, limit) = (imports.len() as u64, MAX_IMPORTS as u64);
                    return Err(ImageError::TooLarge {
                        what: "imports",
                        length,
                        limit,
                    });
                }
                at += length;
            }
        }
        Ok(imports)
    }
}
