//! Reading a file without changing what the page cache holds of it: pages that are in memory are
//! read from there, the others past the cache, and holes not at all. What is in memory is what a
//! process that maps the file sees; what is not will come from the disk when somebody touches it.

use std::{fs::File, io, num::NonZeroU64, ops::Range};

use rustix::{
    fs::{Advice, Mode, OFlags, SeekFrom},
    io::Errno,
};
use tracer_probe::model_file::Residency;

/// Bytes that are looked at together; a multiple of every page size.
const WINDOW: u64 = 1 << 20;
/// Bytes that are copied from the page cache at once: they stay in the processor's second-level
/// cache until they are hashed.
const CACHED_STEP: usize = 256 << 10;
/// What `O_DIRECT` wants buffers and offsets to be multiples of, on every device in use.
const ALIGNMENT: usize = 4096;

/// A part of the contents.
pub(crate) enum Part<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many zeroes, of a hole that was not read.
    Zeroes(u64),
}

/// Where bytes are to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// What a process that maps the file sees: the page cache where it has the page.
    Mapped,
    /// The disk alone. Dirty pages are written out first by the kernel.
    Disk,
}

/// Reads one open file; any number of threads can share it.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    /// The same inode once more, past the page cache; none where the file system cannot.
    direct: Option<File>,
    residency: Option<Residency>,
    size: u64,
}

/// Memory of one thread for reading, a little more than a window.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    pages: Vec<bool>,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        let memory = vec![0; WINDOW as usize + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self {
            memory,
            start,
            pages: Vec::new(),
        }
    }

    fn aligned(&mut self, length: usize) -> &mut [u8] {
        &mut self.memory[self.start..self.start + length]
    }
}

impl Reader {
    /// A reader of `size` bytes of `file`.
    pub(crate) fn new(file: File, size: u64) -> Self {
        let direct = reopen_direct(&file).ok();
        // No readahead into the cache, and no promotion of what is read from it (since 6.3). Where
        // the kernel does not know an advice, less is gained and nothing lost.
        for advice in [Advice::Random, Advice::NoReuse] {
            let _ = rustix::fs::fadvise(&file, 0, None, advice);
        }
        let residency = (size > 0)
            .then(|| Residency::of(&file, size).ok())
            .flatten();
        Self {
            file,
            direct,
            residency,
            size,
        }
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether the disk can be read past the page cache.
    pub(crate) fn reads_disk(&self) -> bool {
        self.direct.is_some()
    }

    /// Hands the bytes of `range` to `take`, in order.
    ///
    /// # Errors
    /// If a read fails, or the file ends before the range does.
    pub(crate) fn read(
        &self,
        range: Range<u64>,
        source: Source,
        buffer: &mut Buffer,
        take: &mut impl FnMut(Part<'_>),
    ) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let window = at / WINDOW * WINDOW;
            let end = range.end.min(window + WINDOW);
            self.read_window(at..end, source, buffer, take)?;
            at = end;
        }
        Ok(())
    }

    /// Reads a range within one window, run by run of pages that are in memory or not.
    fn read_window(
        &self,
        range: Range<u64>,
        source: Source,
        buffer: &mut Buffer,
        take: &mut impl FnMut(Part<'_>),
    ) -> io::Result<()> {
        let residency = match (source, &self.residency) {
            (Source::Mapped, Some(residency)) => residency,
            (Source::Mapped, None) => return self.read_cached(range, buffer, take),
            (Source::Disk, _) => {
                let mut at = range.start;
                return self.read_disk(&mut at, range.end, buffer, take);
            }
        };
        let page = residency.page_size() as u64;
        let first = range.start / page * page;
        let mut pages = std::mem::take(&mut buffer.pages);
        let known = residency.pages(first..range.end, &mut pages);
        let result = known.and_then(|()| {
            let mut at = range.start;
            for run in pages.chunk_by(|a, b| a == b) {
                let end = range.end.min((at / page + run.len() as u64) * page);
                if run[0] {
                    self.read_cached(at..end, buffer, take)?;
                } else {
                    self.read_uncached(at..end, buffer, take)?;
                }
                at = end;
            }
            Ok(())
        });
        buffer.pages = pages;
        result
    }

    fn read_cached(
        &self,
        range: Range<u64>,
        buffer: &mut Buffer,
        take: &mut impl FnMut(Part<'_>),
    ) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let wanted = CACHED_STEP.min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
            let bytes = buffer.aligned(wanted);
            let length = retried(|| rustix::io::pread(&self.file, &mut *bytes, at))?;
            if length == 0 {
                return Err(shrunk());
            }
            take(Part::Bytes(&bytes[..length]));
            at += length as u64;
        }
        Ok(())
    }

    /// Pages that are not in memory: from the disk, and holes from nowhere.
    fn read_uncached(
        &self,
        range: Range<u64>,
        buffer: &mut Buffer,
        take: &mut impl FnMut(Part<'_>),
    ) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let data = self.next_data(at)?.min(range.end);
            if data > at {
                take(Part::Zeroes(data - at));
                at = data;
                continue;
            }
            let hole = match rustix::fs::seek(&self.file, SeekFrom::Hole(at)) {
                Ok(hole) => hole.min(range.end),
                // A file system without holes.
                Err(_) => range.end,
            };
            // A file that is being punched full of holes while it is read still comes to an end.
            let end = hole.max(at + 1).min(range.end);
            match self.read_disk(&mut at, end, buffer, take) {
                Ok(()) => {}
                // No O_DIRECT here, or a device with larger blocks than any known one.
                Err(error) if is_unsupported(&error) => {
                    self.read_cached(at..end, buffer, take)?;
                    // They were not in memory before; nobody misses them.
                    let length = NonZeroU64::new(end - at);
                    let _ = rustix::fs::fadvise(&self.file, at, length, Advice::DontNeed);
                    at = end;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where data begins at or behind `at`; the end of the file if only a hole follows.
    fn next_data(&self, at: u64) -> io::Result<u64> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) => Ok(data),
            Err(Errno::NXIO) => {
                // Behind the last data, or behind the end of a file that became shorter.
                let size = self.file.metadata()?.len();
                if size < self.size {
                    return Err(shrunk());
                }
                Ok(self.size)
            }
            // A file system without holes.
            Err(_) => Ok(at),
        }
    }

    /// Reads from `at`, which moves along, to `end`, past the page cache.
    fn read_disk(
        &self,
        at: &mut u64,
        end: u64,
        buffer: &mut Buffer,
        take: &mut impl FnMut(Part<'_>),
    ) -> io::Result<()> {
        let Some(direct) = &self.direct else {
            return Err(Errno::OPNOTSUPP.into());
        };
        let alignment = ALIGNMENT as u64;
        while *at < end {
            let first = *at / alignment * alignment;
            let wanted = (end - first).next_multiple_of(alignment).min(WINDOW);
            let bytes = buffer.aligned(usize::try_from(wanted).expect("at most a window"));
            let length = retried(|| rustix::io::pread(direct, &mut *bytes, first))?;
            let skipped = usize::try_from(*at - first).expect("below the alignment");
            let length = length.min(usize::try_from(end - first).unwrap_or(usize::MAX));
            if length <= skipped {
                return Err(shrunk());
            }
            take(Part::Bytes(&bytes[skipped..length]));
            *at = first + length as u64;
        }
        Ok(())
    }
}

fn reopen_direct(file: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

fn retried(read: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(read)?)
}

fn is_unsupported(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::OPNOTSUPP))
}

fn shrunk() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "it became shorter while it was read",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::*;

    fn contents(reader: &Reader, range: Range<u64>, source: Source) -> Vec<u8> {
        let mut all = Vec::new();
        reader
            .read(range, source, &mut Buffer::new(), &mut |part| match part {
                Part::Bytes(bytes) => all.extend_from_slice(bytes),
                Part::Zeroes(count) => all.resize(all.len() + count as usize, 0),
            })
            .unwrap();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_range_reads_as_the_file_whatever_is_in_memory_or_a_hole(
            pieces in proptest::collection::vec((0_u64..3 << 20, 1_usize..70_000, any::<u8>()), 0..6),
            dropped in proptest::collection::vec((0_u64..3 << 20, 4096_u64..400_000), 0..3),
            (start, end) in (0_u64..3 << 20, 0_u64..3 << 20),
        ) {
            let file = tempfile::tempfile_in(".").unwrap();
            file.set_len(3 << 20).unwrap();
            for (at, length, byte) in pieces {
                file.write_all_at(&vec![byte; length], at.min((3 << 20) - length as u64)).unwrap();
            }
            file.sync_all().unwrap();
            for (at, length) in dropped {
                let length = NonZeroU64::new(length);
                rustix::fs::fadvise(&file, at, length, Advice::DontNeed).unwrap();
            }
            let (start, end) = (start.min(end), start.max(end));
            let mut expected = vec![0; (end - start) as usize];
            let reader = Reader::new(file.try_clone().unwrap(), 3 << 20);
            let mapped = contents(&reader, start..end, Source::Mapped);
            let disk = contents(&reader, start..end, Source::Disk);
            file.read_exact_at(&mut expected, start).unwrap();
            prop_assert!(mapped == expected);
            prop_assert!(disk == expected);
        }
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let reader = Reader::new(file.try_clone().unwrap(), 1 << 20);
        file.set_len(5000).unwrap();
        for source in [Source::Mapped, Source::Disk] {
            let read = reader.read(0..1 << 20, source, &mut Buffer::new(), &mut |_| {});
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
