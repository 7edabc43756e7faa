//! `/proc/PID/maps`.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{FileId, ProcessError};

/// Far above `vm.max_map_count`'s default of 65,530.
const MOST_LINES: usize = 1 << 20;
/// `PATH_MAX`, each byte perhaps written as `\012`, and what stands before.
const LONGEST_LINE: u64 = 4 * 4096 + 128;

/// A file-backed mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file as the kernel's `maps` names it. On overlayfs and btrfs this may differ from what
    /// `stat` says of the same file.
    pub file: FileId,
    /// The path as the process sees it.
    pub path: PathBuf,
    /// The file has been removed or replaced since.
    pub deleted: bool,
    /// A store through the mapping changes the file.
    pub may_write_file: bool,
}

/// The executable mappings of files of a process.
///
/// # Errors
/// If the process has ended, or its mappings may not be read.
pub fn executable_mappings(pid: u32) -> Result<Vec<Mapping>, ProcessError> {
    read(pid, |executable| executable)
}

/// All mappings of files of a process, executable or not.
///
/// # Errors
/// If the process has ended, or its mappings may not be read.
pub fn file_mappings(pid: u32) -> Result<Vec<Mapping>, ProcessError> {
    read(pid, |_| true)
}

fn read(pid: u32, wanted: impl Fn(bool) -> bool) -> Result<Vec<Mapping>, ProcessError> {
    let path = PathBuf::from(format!("/proc/{pid}/maps"));
    let failed = |source| ProcessError::reading(&path, pid, source);
    let mut reader = BufReader::with_capacity(64 << 10, File::open(&path).map_err(failed)?);
    let mut mappings = Vec::new();
    let mut line = Vec::new();
    for _ in 0..MOST_LINES {
        line.clear();
        let read = (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        if read == 0 {
            break;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if let Some((mapping, executable)) = parse_line(line)
            && wanted(executable)
        {
            mappings.push(mapping);
        }
    }
    Ok(mappings)
}

/// A place in a file.
pub(crate) struct FileOffset {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
}

/// Where the code at `address` of this process lies in its executable.
pub(crate) fn own_file_offset(address: u64) -> io::Result<FileOffset> {
    let mappings = executable_mappings(std::process::id()).map_err(io::Error::other)?;
    let mapping = mappings
        .iter()
        .find(|mapping| (mapping.start..mapping.end).contains(&address))
        .ok_or_else(|| io::Error::other(format!("no file is mapped at {address:#x}")))?;
    Ok(FileOffset {
        path: format!("/proc/self/map_files/{:x}-{:x}", mapping.start, mapping.end).into(),
        offset: address - mapping.start + mapping.offset,
    })
}

/// A mapping of a file, and whether it is executable. `None` for memory without a file, and for
/// what is not a line of `maps`.
fn parse_line(line: &[u8]) -> Option<(Mapping, bool)> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (start, end) = text()?.split_once('-')?;
    let permissions = text()?;
    let offset = hexadecimal(text()?)?;
    let (major, minor) = text()?.split_once(':')?;
    let device = hexadecimal(major)?.checked_shl(20)? | hexadecimal(minor)?;
    let inode: u64 = text()?.parse().ok()?;
    let path = fields.next()?.trim_ascii_start();
    if inode == 0 || path.first() != Some(&b'/') {
        return None;
    }
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let mapping = Mapping {
        start: hexadecimal(start)?,
        end: hexadecimal(end)?,
        offset,
        file: FileId {
            device: u32::try_from(device).ok()?,
            inode,
        },
        path: Path::new(OsStr::from_bytes(path)).to_owned(),
        deleted,
        may_write_file: permissions.as_bytes().get(1) == Some(&b'w')
            && permissions.as_bytes().get(3) == Some(&b's'),
    };
    Some((mapping, permissions.as_bytes().get(2) == Some(&b'x')))
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read() {
        let line = b"7f0000001000-7f0000003000 r-xp 00001000 fd:02 12345678901  /lib/a b (deleted)";
        let (mapping, executable) = parse_line(line).expect("a whole line");
        assert!(executable && mapping.deleted && !mapping.may_write_file);
        assert_eq!(mapping.start, 0x7f00_0000_1000);
        assert_eq!(mapping.offset, 0x1000);
        assert_eq!(
            mapping.file,
            FileId {
                device: 0xfd << 20 | 2,
                inode: 12_345_678_901
            }
        );
        assert_eq!(mapping.path, Path::new("/lib/a b"));
    }

    #[test]
    fn what_is_no_mapping_of_a_file_is_passed_over() {
        for line in [
            b"".as_slice(),
            b"7f-80 r-xp 0 00:00 0 [vdso]",
            b"7f-80 r-xp 0 00:00 0 ",
            b"x-y r-xp 0 08:01 5 /a",
            b"\xff\xff",
            b"1-2 r-xp 0 ffffffffffffffffff:0 5 /a",
        ] {
            assert_eq!(parse_line(line), None, "{line:?}");
        }
    }

    #[test]
    fn this_process_maps_its_own_executable() {
        let mappings = executable_mappings(std::process::id()).expect("own maps are readable");
        let exe = std::env::current_exe().expect("/proc is mounted");
        assert!(
            mappings
                .iter()
                .any(|mapping| mapping.path == exe && !mapping.deleted)
        );
    }
}
