//! What travels through a ring.
//!
//! A call record is a [`RecordHeader`], `value_count` 64-bit slots, and `chunk_count` times a
//! [`Chunk`] followed by its bytes, padded to 8. All integers are little-endian: tracer runs on
//! x86-64, and aarch64 Linux is little-endian.

use core::fmt;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A probed call; [`Phase`] says which part of it.
    Call = 1,
    /// A process replaced its program: [`Exec`] follows the header.
    Exec = 2,
    /// A process ended: [`Exit`] follows the header.
    Exit = 3,
    /// A process was made: [`Fork`] follows the header.
    Fork = 4,
}

/// Which part of a call a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The call began.
    Entry = 1,
    /// The call returned: `duration` and result are there.
    Exit = 2,
    /// The call was left without returning: an exception, `longjmp`, or the thread's end.
    Unwound = 3,
}

/// The front of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecordHeader {
    /// [`RecordKind`].
    pub kind: u8,
    /// [`Phase`] of a call, else 0.
    pub phase: u8,
    /// CPU on which the program ran.
    pub cpu: u16,
    /// Index of the spec.
    pub spec: u16,
    /// Index of the site.
    pub site: u16,
    /// Process (tgid) in the initial pid namespace.
    pub pid: u32,
    /// Thread in the initial pid namespace.
    pub tid: u32,
    /// Sequence number in this ring; a gap is a record that found no room.
    pub sequence: u64,
    /// Boot time of the hit, in nanoseconds.
    pub time: u64,
    /// From entry to exit, in nanoseconds; 0 in an entry record.
    pub duration: u64,
    /// Names the call: the same in its entry and exit record, unique within a run.
    pub call: u64,
    /// Slots that follow.
    pub value_count: u8,
    /// Chunks that follow the slots.
    pub chunk_count: u8,
    /// Slots that could not be read, by bit.
    pub faulted: u16,
    /// Slots above the target's capture level, by bit.
    pub skipped: u16,
    /// [`CaptureLevel`](crate::CaptureLevel) in force.
    pub level: u8,
    /// Zero.
    pub reserved: u8,
}

/// How a chunk's bytes came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChunkStatus {
    /// All that was asked for.
    Whole = 0,
    /// The beginning; `wanted` says how long the whole is, where that is known.
    Truncated = 1,
    /// The memory could not be read.
    Faulted = 2,
}

/// The front of a chunk of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Chunk {
    /// The operation's field number.
    pub field: u8,
    /// [`ChunkStatus`].
    pub status: u8,
    /// Bytes that follow, padding excluded.
    pub length: u16,
    /// Bytes that the whole has, cut to 32 bits; for C strings that were cut short, 0. Of a chunk of
    /// texts, how many texts the whole has.
    pub wanted: u32,
}

/// The front of one text in a chunk of [`OpKind::Texts`](crate::OpKind).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TextFront {
    /// [`ChunkStatus`] of this text.
    pub status: u8,
    /// Zero.
    pub reserved: u8,
    /// Bytes that follow, padding excluded.
    pub length: u16,
    /// Bytes that the whole text has, cut to 32 bits; 0 where a C string was cut.
    pub wanted: u32,
}

/// After the header of [`RecordKind::Exec`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Exec {
    /// Start of the process since boot, in nanoseconds.
    pub started: u64,
    /// Inode of the executable.
    pub exe_inode: u64,
    /// Kernel device number of the executable's file system.
    pub exe_device: u32,
    /// Parent process.
    pub parent: u32,
}

/// After the header of [`RecordKind::Exit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Exit {
    /// Start of the process since boot, in nanoseconds.
    pub started: u64,
    /// Wait status as `wait(2)` has it.
    pub status: u32,
    /// 1 if this was the thread group's last thread.
    pub whole_process: u32,
}

/// After the header of [`RecordKind::Fork`]; the header's process is the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fork {
    /// Start of the child since boot, in nanoseconds.
    pub started: u64,
    /// The child.
    pub child: u32,
    /// 1 if the child became a target.
    pub target: u32,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Fewer bytes than the part needs; the offset in the record is given.
    Short {
        /// Where the missing part begins.
        offset: usize,
    },
    /// A number that is none of the enum's.
    Unknown {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u8,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { offset } => write!(f, "record ends inside the part at byte {offset}"),
            Self::Unknown { field, value } => write!(f, "record has unknown {field} {value}"),
        }
    }
}

impl core::error::Error for RecordError {}

/// Reads little-endian integers one after another.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let part = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<N>());
        let part = part.ok_or(RecordError::Short { offset: self.at })?;
        self.at += N;
        Ok(*part)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.take().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.take().map(u64::from_le_bytes)
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

impl RecordKind {
    fn parse(value: u8) -> Result<Self, RecordError> {
        match value {
            1 => Ok(Self::Call),
            2 => Ok(Self::Exec),
            3 => Ok(Self::Exit),
            4 => Ok(Self::Fork),
            _ => Err(RecordError::Unknown {
                field: "kind",
                value,
            }),
        }
    }
}

impl RecordHeader {
    /// Splits a record into its header and what follows.
    ///
    /// # Errors
    /// If the bytes end early.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        let mut cursor = Cursor { bytes, at: 0 };
        let header = Self {
            kind: cursor.u8()?,
            phase: cursor.u8()?,
            cpu: cursor.u16()?,
            spec: cursor.u16()?,
            site: cursor.u16()?,
            pid: cursor.u32()?,
            tid: cursor.u32()?,
            sequence: cursor.u64()?,
            time: cursor.u64()?,
            duration: cursor.u64()?,
            call: cursor.u64()?,
            value_count: cursor.u8()?,
            chunk_count: cursor.u8()?,
            faulted: cursor.u16()?,
            skipped: cursor.u16()?,
            level: cursor.u8()?,
            reserved: cursor.u8()?,
        };
        Ok((header, cursor.rest()))
    }

    /// The header as it lies in memory, for the kernel half: whole words are the cheapest stores, and
    /// the compiler makes no call to `memset` of them.
    #[must_use]
    #[inline(always)]
    pub fn to_words(&self) -> [u64; 7] {
        [
            u64::from(self.kind)
                | u64::from(self.phase) << 8
                | u64::from(self.cpu) << 16
                | u64::from(self.spec) << 32
                | u64::from(self.site) << 48,
            u64::from(self.pid) | u64::from(self.tid) << 32,
            self.sequence,
            self.time,
            self.duration,
            self.call,
            u64::from(self.value_count)
                | u64::from(self.chunk_count) << 8
                | u64::from(self.faulted) << 16
                | u64::from(self.skipped) << 32
                | u64::from(self.level) << 48
                | u64::from(self.reserved) << 56,
        ]
    }

    /// What the record is.
    ///
    /// # Errors
    /// If the number is unknown.
    pub fn record_kind(&self) -> Result<RecordKind, RecordError> {
        RecordKind::parse(self.kind)
    }

    /// Which part of a call it tells.
    ///
    /// # Errors
    /// If the number is unknown.
    pub fn call_phase(&self) -> Result<Phase, RecordError> {
        match self.phase {
            1 => Ok(Phase::Entry),
            2 => Ok(Phase::Exit),
            3 => Ok(Phase::Unwound),
            value => Err(RecordError::Unknown {
                field: "phase",
                value,
            }),
        }
    }
}

impl TextFront {
    /// Splits the first text of a chunk of texts, its bytes, and what follows.
    ///
    /// # Errors
    /// If the bytes end early.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), RecordError> {
        let mut cursor = Cursor { bytes, at: 0 };
        let front = Self {
            status: cursor.u8()?,
            reserved: cursor.u8()?,
            length: cursor.u16()?,
            wanted: cursor.u32()?,
        };
        let (content, after) = padded(cursor.rest(), front.length, cursor.at)?;
        Ok((front, content, after))
    }
}

/// `length` bytes, and what follows their padding to 8; `at` is where they begin.
fn padded(bytes: &[u8], length: u16, at: usize) -> Result<(&[u8], &[u8]), RecordError> {
    let length = usize::from(length);
    let content = bytes.get(..length);
    let content = content.ok_or(RecordError::Short { offset: at })?;
    let after = bytes.get(length.next_multiple_of(8)..).unwrap_or_default();
    Ok((content, after))
}

impl Chunk {
    /// Splits the first chunk, its bytes, and what follows from a record's tail.
    ///
    /// # Errors
    /// If the bytes end early.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), RecordError> {
        let mut cursor = Cursor { bytes, at: 0 };
        let chunk = Self {
            field: cursor.u8()?,
            status: cursor.u8()?,
            length: cursor.u16()?,
            wanted: cursor.u32()?,
        };
        let (content, after) = padded(cursor.rest(), chunk.length, cursor.at)?;
        Ok((chunk, content, after))
    }

    /// How the bytes came about.
    ///
    /// # Errors
    /// If the number is unknown.
    pub fn chunk_status(&self) -> Result<ChunkStatus, RecordError> {
        match self.status {
            0 => Ok(ChunkStatus::Whole),
            1 => Ok(ChunkStatus::Truncated),
            2 => Ok(ChunkStatus::Faulted),
            value => Err(RecordError::Unknown {
                field: "chunk status",
                value,
            }),
        }
    }
}

impl Exec {
    /// Reads what follows the header.
    ///
    /// # Errors
    /// If the bytes end early.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut cursor = Cursor { bytes, at: 0 };
        Ok(Self {
            started: cursor.u64()?,
            exe_inode: cursor.u64()?,
            exe_device: cursor.u32()?,
            parent: cursor.u32()?,
        })
    }
}

impl Exit {
    /// Reads what follows the header.
    ///
    /// # Errors
    /// If the bytes end early.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut cursor = Cursor { bytes, at: 0 };
        Ok(Self {
            started: cursor.u64()?,
            status: cursor.u32()?,
            whole_process: cursor.u32()?,
        })
    }
}

impl Fork {
    /// Reads what follows the header.
    ///
    /// # Errors
    /// If the bytes end early.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut cursor = Cursor { bytes, at: 0 };
        Ok(Self {
            started: cursor.u64()?,
            child: cursor.u32()?,
            target: cursor.u32()?,
        })
    }
}

const _: () = assert!(size_of::<RecordHeader>() == 56);
const _: () = assert!(size_of::<Chunk>() == 8);
const _: () = assert!(size_of::<TextFront>() == 8);
const _: () = assert!(size_of::<Exec>() == 24);
const _: () = assert!(size_of::<Exit>() == 16);
const _: () = assert!(size_of::<Fork>() == 16);

#[cfg(test)]
mod tests {
    use super::RecordHeader;

    #[test]
    fn a_header_written_as_words_reads_back_as_it_was() {
        let header = RecordHeader {
            kind: 1,
            phase: 2,
            cpu: 0x0304,
            spec: 0x0506,
            site: 0x0708,
            pid: 0x090a_0b0c,
            tid: 0x0d0e_0f10,
            sequence: 0x1112_1314_1516_1718,
            time: 0x191a_1b1c_1d1e_1f20,
            duration: 0x2122_2324_2526_2728,
            call: 0x292a_2b2c_2d2e_2f30,
            value_count: 0x31,
            chunk_count: 0x32,
            faulted: 0x3334,
            skipped: 0x3536,
            level: 0x37,
            reserved: 0x38,
        };
        let mut bytes = [0; 56];
        for (place, word) in bytes.chunks_exact_mut(8).zip(header.to_words()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        assert_eq!(RecordHeader::parse(&bytes), Ok((header, &[][..])));
    }
}
