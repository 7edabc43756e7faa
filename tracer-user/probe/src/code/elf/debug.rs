//! Symbols that a stripped image keeps elsewhere: compressed in itself (`.gnu_debugdata`), or in a
//! separate file of the same build.

use std::{
    fs::File,
    io::{self, Read},
};

use super::Image;
use crate::code::{ImageError, read::ReadAt};

/// Most bytes of `.gnu_debugdata`, compressed and not: it holds names of functions only.
const MAX_PACKED: u64 = 16 << 20;
const MAX_UNPACKED: u64 = 64 << 20;
/// Memory of the decompressor in KiB. `xz` takes 8 MiB by default and 64 MiB at its highest level.
const DECODER_KIB: u32 = 80 << 10;

/// Why debug symbols are not used.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// The file cannot be read or is no ELF file.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It belongs to another build, or does not say to which.
    #[error(
        "the debug file is of build {}, the library of {}",
        hexadecimal(found.as_deref()),
        hexadecimal(wanted.as_deref())
    )]
    OtherBuild {
        /// The library's build-id.
        wanted: Option<Vec<u8>>,
        /// The debug file's.
        found: Option<Vec<u8>>,
    },
    /// `.gnu_debugdata` cannot be unpacked.
    #[error("cannot unpack .gnu_debugdata: {0}")]
    Packed(io::Error),
    /// `.gnu_debugdata` is larger than any sound one.
    #[error(".gnu_debugdata unpacks to more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

/// Bytes of a debug file.
#[derive(Debug)]
pub(super) enum DebugBytes {
    Unpacked(Vec<u8>),
    File(File),
}

impl ReadAt for DebugBytes {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Unpacked(bytes) => bytes.as_slice().read_exact_at(buffer, offset),
            Self::File(file) => ReadAt::read_exact_at(file, buffer, offset),
        }
    }

    fn size(&self) -> io::Result<u64> {
        match self {
            Self::Unpacked(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => ReadAt::size(file),
        }
    }
}

impl<R: ReadAt> Image<R> {
    /// Whether the image has no table of all its functions of its own.
    pub fn is_stripped(&self) -> bool {
        self.sections.symtab.is_none()
    }

    /// Adopts the symbols that the image holds compressed; whether there are any.
    ///
    /// # Errors
    /// When they cannot be unpacked within bounds, or say that they are another build's.
    pub fn adopt_embedded_symbols(&mut self) -> Result<bool, DebugError> {
        let Some(range) = self.sections.debugdata.clone() else {
            return Ok(false);
        };
        let length = range.end - range.start;
        let packed = self
            .bytes
            .vec(".gnu_debugdata", range.start, length, MAX_PACKED)?;
        let mut unpacked = Vec::new();
        lzma_rust2::XzReader::new_mem_limit(packed.as_slice(), true, DECODER_KIB)
            .take(MAX_UNPACKED + 1)
            .read_to_end(&mut unpacked)
            .map_err(DebugError::Packed)?;
        if unpacked.len() as u64 > MAX_UNPACKED {
            let limit = MAX_UNPACKED;
            return Err(DebugError::TooLarge { limit });
        }
        let debug = Image::parse_debug(DebugBytes::Unpacked(unpacked))?;
        let (wanted, found) = (self.build_id()?, debug.build_id()?);
        if found.is_some() && found != wanted {
            return Err(DebugError::OtherBuild { wanted, found });
        }
        self.adopt(debug);
        Ok(true)
    }

    /// Adopts the symbols of a separate debug file.
    ///
    /// # Errors
    /// When it cannot be read, or its build-id is not this image's.
    pub fn adopt_debug_file(&mut self, file: File) -> Result<(), DebugError> {
        let debug = Image::parse_debug(DebugBytes::File(file))?;
        let (wanted, found) = (self.build_id()?, debug.build_id()?);
        if wanted.is_none() || found != wanted {
            return Err(DebugError::OtherBuild { wanted, found });
        }
        self.adopt(debug);
        Ok(())
    }

    fn adopt(&mut self, debug: Image<DebugBytes>) {
        self.debug.push(debug);
        self.index.take();
    }

    /// Reads what a debug file has: sections. Its program headers are those of the file that it was
    /// made from, and point nowhere.
    fn parse_debug(reader: R) -> Result<Self, ImageError> {
        let (mut image, header) = Self::begin(reader)?;
        image.sections = image.read_sections(&header)?;
        Ok(image)
    }
}

/// A build-id as people write it.
pub(crate) fn hexadecimal(id: Option<&[u8]>) -> String {
    match id {
        None => "an unknown one".to_owned(),
        Some(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
