//! Who has a watched file open or mapped when the watch begins.

use std::{collections::HashMap, fs, path::PathBuf};

use super::{observation::Act, watch::Watch};
use crate::{
    process::{self, FileId, device_of_mount},
    time::BootNanos,
};

/// Descriptors of one process that are looked at.
const MOST_DESCRIPTORS: usize = 65_536;

/// A file that a process has.
pub(super) struct Found {
    pub(super) pid: u32,
    pub(super) file: FileId,
    pub(super) act: Act,
    pub(super) time: BootNanos,
}

/// Looks at every process. Nothing of a file is opened or asked of its file system.
pub(super) fn look(watch: &Watch) -> Vec<Found> {
    let mut by_number: HashMap<u64, Vec<FileId>> = HashMap::new();
    for (file, _) in watch.files() {
        by_number.entry(file.inode).or_default().push(file);
    }
    let mut found = Vec::new();
    let own = std::process::id();
    for pid in process::all().unwrap_or_default() {
        if pid == own {
            continue;
        }
        let mut acts = descriptors(pid, &by_number);
        acts.extend(mappings(pid, watch));
        acts.sort_unstable_by_key(|(file, act)| (*file, *act as u8));
        acts.dedup();
        found.extend(acts.into_iter().map(|(file, act)| Found {
            pid,
            file,
            act,
            time: BootNanos::now(),
        }));
    }
    found
}

/// What `/proc/PID/fdinfo` says of a descriptor.
#[derive(Debug, PartialEq, Eq)]
struct Descriptor {
    inode: u64,
    mount: u64,
    flags: u32,
}

fn descriptors(pid: u32, by_number: &HashMap<u64, Vec<FileId>>) -> Vec<(FileId, Act)> {
    let folder = PathBuf::from(format!("/proc/{pid}/fdinfo"));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries.take(MOST_DESCRIPTORS) {
        let Some(descriptor) = fs::read_to_string(entry.path())
            .ok()
            .and_then(|text| parse(&text))
        else {
            continue;
        };
        let Descriptor {
            inode,
            mount,
            flags,
        } = descriptor;
        let Some(candidates) = by_number.get(&inode) else {
            continue;
        };
        if flags & libc::O_PATH.cast_unsigned() != 0 {
            continue;
        }
        // Numbers of inodes repeat from one file system to the next: the mount decides.
        let Some(device) = device_of_mount(pid, mount) else {
            continue;
        };
        let writable = flags & libc::O_ACCMODE.cast_unsigned() != libc::O_RDONLY.cast_unsigned();
        let act = if writable {
            Act::FoundOpenForWriting
        } else {
            Act::FoundOpen
        };
        let file = candidates.iter().find(|file| file.device == device);
        found.extend(file.map(|file| (*file, act)));
    }
    found
}

fn mappings(pid: u32, watch: &Watch) -> Vec<(FileId, Act)> {
    let mappings = process::file_mappings(pid).unwrap_or_default();
    mappings
        .into_iter()
        .filter(|mapping| watch.file(mapping.file).is_some())
        .map(|mapping| {
            let act = if mapping.may_write_file {
                Act::FoundMappedForWriting
            } else {
                Act::FoundMapped
            };
            (mapping.file, act)
        })
        .collect()
}

fn parse(text: &str) -> Option<Descriptor> {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    };
    Some(Descriptor {
        inode: value("ino")?.parse().ok()?,
        mount: value("mnt_id")?.parse().ok()?,
        flags: u32::from_str_radix(value("flags")?, 8).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_read() {
        let text = "pos:\t0\nflags:\t0100002\nmnt_id:\t29\nino:\t4711\n";
        assert_eq!(
            parse(text),
            Some(Descriptor {
                inode: 4711,
                mount: 29,
                flags: 0o100_002
            })
        );
        assert_eq!(parse("flags:\t02\n"), None);
    }
}
