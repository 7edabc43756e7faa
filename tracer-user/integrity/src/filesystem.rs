//! What kind of file system a file lies on.

use std::{fs::File, io, os::unix::fs::MetadataExt as _};

use rustix::fs::SealFlags;

/// Whether what one process reads is what every other reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// A local one: all its readers share one page cache.
    Local,
    /// An overlay of local ones.
    Overlay,
    /// Memory without a name that can still be written to, such as `memfd_create` makes.
    ///
    /// The kernel hands such a file out open without counting whoever has it as a writer
    /// (`alloc_file_pseudo` in fs/file_table.c), so that a lease is had beside them. A file of `tmpfs`
    /// whose last name is gone looks the same.
    Nameless,
    /// A network or user-space one, or one that is not known.
    Foreign(String),
}

/// Magic numbers of `linux/magic.h` and of the file systems' own headers.
const LOCAL: [u64; 14] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0xf2f5_2010, // F2FS
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x9584_58f6, // hugetlbfs
    0x7371_7368, // squashfs
    0xe0f5_e1e2, // EROFS
    0x9660,      // ISO 9660
    0x1501_3346, // UDF
    0xca45_1a4e, // bcachefs
    0x2fc1_2fc1, // ZFS
    0x3153_464a, // JFS
];
/// Of these, the ones whose files the kernel may have made itself.
const MEMORY: [u64; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];
const OVERLAY: u64 = 0x794c_7630;
/// Names for messages; not being listed is no harm.
const FOREIGN: [(u64, &str); 10] = [
    (0x6573_5546, "FUSE"),
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x5346_414f, "AFS"),
    (0x4d44, "FAT"),
    (0x2011_bab0, "exFAT"),
];

impl FileSystem {
    /// Where `file` lies.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let magic = rustix::fs::fstatfs(file)?.f_type;
        // The kernel's field is signed on some architectures; the magics have 32 bits.
        let magic = (magic as u64) & 0xffff_ffff;
        Ok(if MEMORY.contains(&magic) && is_nameless(file)? {
            Self::Nameless
        } else if LOCAL.contains(&magic) {
            Self::Local
        } else if magic == OVERLAY {
            Self::Overlay
        } else {
            let known = FOREIGN.iter().find(|(foreign, _)| *foreign == magic);
            Self::Foreign(known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).into()))
        })
    }
}

/// Whether a file in memory has no name and is not sealed against writing for good.
fn is_nameless(file: &File) -> io::Result<bool> {
    if file.metadata()?.nlink() > 0 {
        return Ok(false);
    }
    // What knows no seals has none.
    let seals = rustix::fs::fcntl_get_seals(file).unwrap_or(SealFlags::empty());
    Ok(!seals.contains(SealFlags::WRITE))
}
