//! ELF images of programs and shared libraries for x86-64, read lazily.
//!
//! What the loader uses (program headers, the dynamic section) is trusted before what only linkers
//! and debuggers use (section headers), which stripped and packed files may lack.

mod debug;
mod dynamic;
mod hash_table;
mod imports;
mod names;
mod pointers;
mod symbols;

use std::{cell::OnceCell, collections::HashMap, ops::Range};

use object::{LittleEndian as Le, elf};

pub(crate) use self::debug::hexadecimal;
pub(super) use self::symbols::SymbolIndex;
use self::{debug::DebugBytes, dynamic::Dynamic, pointers::Pointers};
pub use self::{
    debug::DebugError,
    symbols::{Binding, Lookup, Symbol, SymbolKind, SymbolTable},
};
use super::{
    ImageError,
    read::{Bytes, ReadAt},
};

const MAX_NAME: usize = 16 * 1024;
const MAX_NOTES: u64 = 1 << 20;
const MAX_HEADERS: u64 = 8 << 20;

/// An ELF image. It keeps the open file and a few megabytes of what was read last.
///
/// Addresses (`vaddr`) are the image's own, before the loader adds where it put it.
#[derive(Debug)]
pub struct Image<R> {
    pub(super) bytes: Bytes<R>,
    segments: Vec<Segment>,
    notes: Vec<Range<u64>>,
    eh_frame_hdr: Option<u64>,
    dynamic: Dynamic,
    sections: Sections,
    /// Debug symbols that were adopted.
    debug: Vec<Image<DebugBytes>>,
    imports: OnceCell<HashMap<u64, u32>>,
    pointers: OnceCell<Pointers>,
    index: OnceCell<SymbolIndex>,
}

/// A part of the file that the loader maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub vaddr: u64,
    /// Where it begins in the file.
    pub file_offset: u64,
    /// How many bytes come from the file.
    pub file_size: u64,
    /// Whether it is mapped executable.
    pub executable: bool,
}

/// Where the debug information of a stripped file is (`.gnu_debuglink`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugLink {
    /// The debug file's name, without a folder.
    pub name: String,
    /// CRC-32 of its content.
    pub crc: u32,
}

#[derive(Debug, Default)]
struct Sections {
    symtab: Option<Range<u64>>,
    strtab: Option<Range<u64>>,
    debuglink: Option<Range<u64>>,
    debugdata: Option<Range<u64>>,
    notes: Vec<Range<u64>>,
}

impl<R: ReadAt> Image<R> {
    /// Reads the headers of an image.
    ///
    /// # Errors
    /// When it is no 64-bit x86-64 program or shared library, cannot be read, or is damaged.
    pub fn parse(reader: R) -> Result<Self, ImageError> {
        let (mut image, header) = Self::begin(reader)?;
        let dynamic = image.read_program_headers(&header)?;
        if let Some(range) = dynamic {
            image.dynamic = Dynamic::read(&image.bytes, range)?;
        }
        // A file without sections, or with damaged ones, still loads and can still be probed.
        image.sections = image.read_sections(&header).unwrap_or_default();
        Ok(image)
    }

    /// Checks that the file is an ELF file that this code can read.
    fn begin(reader: R) -> Result<(Self, elf::FileHeader64<Le>), ImageError> {
        let bytes = Bytes::new(reader)?;
        let magic: [u8; 4] = bytes.array("ELF identification", 0)?;
        if magic != elf::ELFMAG {
            return Err(ImageError::NotElf { found: magic });
        }
        let header: elf::FileHeader64<Le> = match bytes.array::<2>("ELF identification", 4)? {
            [elf::ELFCLASS64, elf::ELFDATA2LSB] => bytes.structure("ELF header", 0)?,
            [elf::ELFCLASS64, _] => return Err(ImageError::BigEndian),
            [_, _] => return Err(ImageError::ThirtyTwoBit),
        };
        let machine = header.e_machine.get(Le);
        if machine != elf::EM_X86_64 {
            return Err(ImageError::Machine { machine });
        }
        let kind = header.e_type.get(Le);
        if kind != elf::ET_DYN && kind != elf::ET_EXEC {
            return Err(ImageError::NotLoadable { kind });
        }

        let image = Self {
            bytes,
            segments: Vec::new(),
            notes: Vec::new(),
            eh_frame_hdr: None,
            dynamic: Dynamic::default(),
            sections: Sections::default(),
            debug: Vec::new(),
            imports: OnceCell::new(),
            pointers: OnceCell::new(),
            index: OnceCell::new(),
        };
        Ok((image, header))
    }

    fn read_program_headers(
        &mut self,
        header: &elf::FileHeader64<Le>,
    ) -> Result<Option<Range<u64>>, ImageError> {
        const SIZE: u64 = size_of::<elf::ProgramHeader64<Le>>() as u64;
        if u64::from(header.e_phentsize.get(Le)) != SIZE {
            return Err(ImageError::Malformed {
                what: "program headers",
                at: header.e_phoff.get(Le),
                reason: "their size is not that of a 64-bit file's",
            });
        }
        let mut dynamic = None;
        for number in 0..u64::from(header.e_phnum.get(Le)) {
            let at = header.e_phoff.get(Le).saturating_add(number * SIZE);
            let segment: elf::ProgramHeader64<Le> = self.bytes.structure("program header", at)?;
            let file_offset = segment.p_offset.get(Le);
            let file_size = segment.p_filesz.get(Le);
            let range = file_offset..file_offset.saturating_add(file_size);
            match segment.p_type.get(Le) {
                elf::PT_LOAD => self.segments.push(Segment {
                    vaddr: segment.p_vaddr.get(Le),
                    file_offset,
                    file_size,
                    executable: segment.p_flags.get(Le) & elf::PF_X != 0,
                }),
                elf::PT_DYNAMIC => dynamic = Some(range),
                elf::PT_NOTE => self.notes.push(range),
                elf::PT_GNU_EH_FRAME => self.eh_frame_hdr = Some(segment.p_vaddr.get(Le)),
                _ => {}
            }
        }
        Ok(dynamic)
    }

    fn read_sections(&self, header: &elf::FileHeader64<Le>) -> Result<Sections, ImageError> {
        const SIZE: u64 = size_of::<elf::SectionHeader64<Le>>() as u64;
        let table = header.e_shoff.get(Le);
        if table == 0 || u64::from(header.e_shentsize.get(Le)) != SIZE {
            return Ok(Sections::default());
        }
        let section = |number: u64| -> Result<elf::SectionHeader64<Le>, ImageError> {
            self.bytes.structure(
                "section header",
                table.saturating_add(number.saturating_mul(SIZE)),
            )
        };
        let range = |section: &elf::SectionHeader64<Le>| {
            let start = section.sh_offset.get(Le);
            start..start.saturating_add(section.sh_size.get(Le))
        };
        // Counts above 65,279 are kept in the first section header (System V ABI, chapter 4).
        let count = match header.e_shnum.get(Le) {
            0 => section(0)?.sh_size.get(Le).min(MAX_HEADERS / SIZE),
            count => u64::from(count),
        };
        let names = match header.e_shstrndx.get(Le) {
            elf::SHN_XINDEX => u64::from(section(0)?.sh_link.get(Le)),
            number => u64::from(number),
        };
        let names = range(&section(names)?);
        let mut found = Sections::default();
        for number in 0..count {
            let header = section(number)?;
            if header.sh_type.get(Le) == elf::SHT_SYMTAB {
                found.symtab = Some(range(&header));
                found.strtab = Some(range(&section(u64::from(header.sh_link.get(Le)))?));
            } else if header.sh_type.get(Le) == elf::SHT_NOTE {
                found.notes.push(range(&header));
            } else if header.sh_type.get(Le) == elf::SHT_PROGBITS {
                let name = names
                    .start
                    .saturating_add(u64::from(header.sh_name.get(Le)));
                match self.bytes.c_string("section name", name, 64)?.as_slice() {
                    b".gnu_debuglink" => found.debuglink = Some(range(&header)),
                    b".gnu_debugdata" => found.debugdata = Some(range(&header)),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// The parts of the file that the loader maps, in the file's order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Where in the file the byte at an address is; `None` where no segment has it.
    pub fn file_offset(&self, vaddr: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let into = vaddr.checked_sub(segment.vaddr)?;
            (into < segment.file_size).then(|| segment.file_offset.checked_add(into))?
        })
    }

    /// The address of a byte of the file; `None` where no segment has it.
    pub fn vaddr(&self, file_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let into = file_offset.checked_sub(segment.file_offset)?;
            (into < segment.file_size).then(|| segment.vaddr.checked_add(into))?
        })
    }

    /// The segment of code that holds an address.
    pub(super) fn code_segment(&self, vaddr: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| {
            segment.executable
                && vaddr
                    .checked_sub(segment.vaddr)
                    .is_some_and(|into| into < segment.file_size)
        })
    }

    pub(super) fn offset_of(&self, what: &'static str, vaddr: u64) -> Result<u64, ImageError> {
        self.file_offset(vaddr)
            .ok_or(ImageError::Unmapped { what, vaddr })
    }

    /// Address of `.eh_frame_hdr`, where the file has one.
    pub(super) fn eh_frame_hdr(&self) -> Option<u64> {
        self.eh_frame_hdr
    }

    /// The GNU build-id, where the file has one.
    ///
    /// # Errors
    /// When a note cannot be read.
    pub fn build_id(&self) -> Result<Option<Vec<u8>>, ImageError> {
        for range in self.notes.iter().chain(&self.sections.notes) {
            let length = range.end - range.start;
            let notes = self.bytes.vec("notes", range.start, length, MAX_NOTES)?;
            if let Some(id) = build_id_in(&notes) {
                return Ok(Some(id.to_vec()));
            }
        }
        Ok(None)
    }

    /// The name that the loader looks for (`DT_SONAME`).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn soname(&self) -> Result<Option<String>, ImageError> {
        self.dynamic
            .soname
            .map(|name| self.dynamic_string("soname", name))
            .transpose()
    }

    /// The libraries that the loader brings along (`DT_NEEDED`).
    ///
    /// # Errors
    /// When a name cannot be read.
    pub fn needed(&self) -> Result<Vec<String>, ImageError> {
        let names = self.dynamic.needed.iter();
        names
            .map(|&name| self.dynamic_string("needed library", name))
            .collect()
    }

    /// Where the debug information of this stripped file is.
    ///
    /// # Errors
    /// When the section cannot be read.
    pub fn debuglink(&self) -> Result<Option<DebugLink>, ImageError> {
        let Some(range) = &self.sections.debuglink else {
            return Ok(None);
        };
        let name = self.bytes.c_string(".gnu_debuglink", range.start, 4096)?;
        let crc_at = (name.len() as u64 + 1).next_multiple_of(4);
        let crc = self
            .bytes
            .u32(".gnu_debuglink", range.start.saturating_add(crc_at))?;
        Ok(Some(DebugLink {
            name: text(name),
            crc,
        }))
    }

    fn dynamic_string(&self, what: &'static str, at: u64) -> Result<String, ImageError> {
        let strings = self.offset_of(what, self.dynamic.strtab)?;
        self.bytes
            .c_string(what, strings.saturating_add(at), MAX_NAME)
            .map(text)
    }
}

fn build_id_in(mut notes: &[u8]) -> Option<&[u8]> {
    loop {
        let (header, rest) = notes.split_first_chunk::<12>()?;
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (name_size, size, kind) = (word(0) as usize, word(4) as usize, word(8));
        let padded = name_size.checked_next_multiple_of(4)?;
        let name = rest.get(..name_size)?;
        let content = rest.get(padded..)?;
        if kind == elf::NT_GNU_BUILD_ID && name == b"GNU\0" {
            return content.get(..size);
        }
        notes = content.get(size.checked_next_multiple_of(4)?..)?;
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|invalid| String::from_utf8_lossy(invalid.as_bytes()).into_owned())
}
