//! Reading an image piece by piece: bounded, and never through a mapping.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::Arc,
};

use object::Pod;

use super::ImageError;

/// Bytes that can be read at any position.
///
/// Files are read with `pread`. A mapping would be faster, but whoever owns the file can truncate it,
/// and touching a page that is gone kills the reader with SIGBUS.
pub trait ReadAt {
    /// Fills `buffer` with the bytes that begin at `offset`.
    ///
    /// # Errors
    /// When the bytes cannot be read, or end before `buffer` is full.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// How many bytes there are.
    ///
    /// # Errors
    /// When the file cannot be asked.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for &[u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

const BLOCK: u64 = 64 * 1024;
const BLOCKS: usize = 64;

/// A reader with a few recently used blocks in memory (at most 4 MiB).
#[derive(Debug)]
pub(super) struct Bytes<R> {
    reader: R,
    size: u64,
    cache: RefCell<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    blocks: HashMap<u64, Arc<[u8]>>,
    oldest_first: VecDeque<u64>,
}

impl<R: ReadAt> Bytes<R> {
    pub(super) fn new(reader: R) -> Result<Self, ImageError> {
        let size = reader.size().map_err(|cause| ImageError::Read {
            offset: 0,
            length: 0,
            cause,
        })?;
        Ok(Self {
            reader,
            size,
            cache: RefCell::default(),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Reads `length` bytes; more than `limit` is an error before anything is allocated.
    pub(super) fn vec(
        &self,
        what: &'static str,
        offset: u64,
        length: u64,
        limit: u64,
    ) -> Result<Vec<u8>, ImageError> {
        if length > limit {
            return Err(ImageError::TooLarge {
                what,
                length,
                limit,
            });
        }
        self.check(what, offset, length)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes, offset)?;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(
        &self,
        what: &'static str,
        offset: u64,
    ) -> Result<[u8; N], ImageError> {
        self.check(what, offset, N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes, offset)?;
        Ok(bytes)
    }

    pub(super) fn u32(&self, what: &'static str, offset: u64) -> Result<u32, ImageError> {
        self.array(what, offset).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, what: &'static str, offset: u64) -> Result<u64, ImageError> {
        self.array(what, offset).map(u64::from_le_bytes)
    }

    /// Reads one of `object`'s file structures.
    pub(super) fn structure<T: Pod>(
        &self,
        what: &'static str,
        offset: u64,
    ) -> Result<T, ImageError> {
        let bytes = self.vec(what, offset, size_of::<T>() as u64, BLOCK)?;
        let (value, _) = object::pod::from_bytes(&bytes).map_err(|()| ImageError::Malformed {
            what,
            at: offset,
            reason: "misaligned",
        })?;
        Ok(*value)
    }

    /// Reads up to the next NUL, or `limit` bytes where there is none.
    pub(super) fn c_string(
        &self,
        what: &'static str,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<u8>, ImageError> {
        let mut string = Vec::new();
        self.check(what, offset, 1)?;
        let mut at = offset;
        while string.len() < limit && at < self.size {
            let block = self.block(at / BLOCK)?;
            let rest = block.get((at % BLOCK) as usize..).unwrap_or_default();
            if let Some(end) = memchr::memchr(0, rest) {
                string.extend_from_slice(&rest[..end]);
                string.truncate(limit);
                return Ok(string);
            }
            string.extend_from_slice(rest);
            at += rest.len().max(1) as u64;
        }
        string.truncate(limit);
        Ok(string)
    }

    fn check(&self, what: &'static str, offset: u64, length: u64) -> Result<(), ImageError> {
        match offset.checked_add(length) {
            Some(end) if end <= self.size => Ok(()),
            Some(_) | None => Err(ImageError::Outside {
                what,
                offset,
                length,
                size: self.size,
            }),
        }
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> Result<(), ImageError> {
        if buffer.len() as u64 >= BLOCK {
            return self.read(buffer, offset);
        }
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let block = self.block(at / BLOCK)?;
            let available = block.get((at % BLOCK) as usize..).unwrap_or_default();
            let count = available.len().min(rest.len());
            if count == 0 {
                return Err(ImageError::Outside {
                    what: "data",
                    offset: at,
                    length: rest.len() as u64,
                    size: self.size,
                });
            }
            let (filled, unfilled) = rest.split_at_mut(count);
            filled.copy_from_slice(&available[..count]);
            rest = unfilled;
            at += count as u64;
        }
        Ok(())
    }

    fn block(&self, number: u64) -> Result<Arc<[u8]>, ImageError> {
        let mut cache = self.cache.borrow_mut();
        if let Some(block) = cache.blocks.get(&number) {
            return Ok(Arc::clone(block));
        }
        let offset = number * BLOCK;
        let mut bytes = vec![0; self.size.saturating_sub(offset).min(BLOCK) as usize];
        self.read(&mut bytes, offset)?;
        if cache.oldest_first.len() >= BLOCKS
            && let Some(oldest) = cache.oldest_first.pop_front()
        {
            cache.blocks.remove(&oldest);
        }
        let block: Arc<[u8]> = bytes.into();
        cache.blocks.insert(number, Arc::clone(&block));
        cache.oldest_first.push_back(number);
        Ok(block)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), ImageError> {
        let length = buffer.len() as u64;
        self.reader
            .read_exact_at(buffer, offset)
            .map_err(|cause| ImageError::Read {
                offset,
                length,
                cause,
            })
    }
}
