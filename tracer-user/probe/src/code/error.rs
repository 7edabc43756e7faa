//! Why an image cannot be read.

use std::io;

/// Why an image, or a part of it, cannot be read. The caller knows the file's name and adds it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file could not be read.
    #[error("cannot read {length} bytes at offset {offset:#x}: {cause}")]
    Read {
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The file does not begin as an ELF file does.
    #[error("not an ELF file (it begins with {found:02x?})")]
    NotElf {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A 32-bit image. Uprobes work there too, but registers and arguments differ.
    #[error("a 32-bit ELF file; only 64-bit x86-64 code can be probed")]
    ThirtyTwoBit,
    /// An image of another byte order.
    #[error("a big-endian ELF file; only 64-bit x86-64 code can be probed")]
    BigEndian,
    /// An image of another machine.
    #[error("an ELF file for machine {machine} (EM_*); only x86-64 (62) can be probed")]
    Machine {
        /// The header's `e_machine`.
        machine: u16,
    },
    /// An object that no process can map as a library or program.
    #[error("an ELF file of type {kind} (ET_*), neither a program nor a shared library")]
    NotLoadable {
        /// The header's `e_type`.
        kind: u16,
    },
    /// Something points beyond the file.
    #[error(
        "{what}: {length} bytes at {offset:#x} lie outside the file of {size} bytes; it is truncated or damaged"
    )]
    Outside {
        /// What was looked for.
        what: &'static str,
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// The file's size.
        size: u64,
    },
    /// Something is larger than any sound file has it.
    #[error("{what}: {length} exceeds the limit of {limit}")]
    TooLarge {
        /// What was looked for.
        what: &'static str,
        /// What the file claims.
        length: u64,
        /// What is accepted.
        limit: u64,
    },
    /// An address that no segment of the file holds.
    #[error("{what}: address {vaddr:#x} is in no segment of the file")]
    Unmapped {
        /// What was looked for.
        what: &'static str,
        /// The address.
        vaddr: u64,
    },
    /// Something contradicts its format.
    #[error("{what} at {at:#x}: {reason}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// File offset or address, as `what` says.
        at: u64,
        /// What is wrong.
        reason: &'static str,
    },
}
