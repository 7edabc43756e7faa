//! What processes hold in memory, and folders in files.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use anyhow::{Context as _, Result};

/// Everything that a process has in memory and may read, one region after the other.
///
/// # Errors
/// When it is gone, or not for this user to read.
pub fn memory(pid: u32) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    each_region(
        pid,
        |_| true,
        |region| {
            all.extend_from_slice(region);
            false
        },
    )?;
    Ok(all)
}

/// Whether `holds` finds something in what a process has in memory that is not just a file which it reads.
///
/// # Errors
/// As [`memory`].
pub fn holds_in_memory(pid: u32, holds: impl Fn(&[u8]) -> bool) -> Result<bool> {
    let is_own = |mapping: &str| mapping.contains(" rw") || !mapping.contains('/');
    each_region(pid, is_own, holds)
}

/// Looks at the readable regions whose line of `/proc/PID/maps` is `wanted`, up to the first that is the
/// last: whether there was one.
fn each_region(
    pid: u32,
    wanted: impl Fn(&str) -> bool,
    mut is_last: impl FnMut(&[u8]) -> bool,
) -> Result<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut region = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let range = fields.next().and_then(|range| range.split_once('-'));
        let (from, to) = range.context("a mapping has a range")?;
        let from = u64::from_str_radix(from, 16)?;
        let length = usize::try_from(u64::from_str_radix(to, 16)? - from)?;
        if !fields.next().is_some_and(|rights| rights.starts_with('r')) || !wanted(line) {
            continue;
        }
        region.resize(length, 0);
        // The kernel's own pages among them cannot be read.
        let read = memory.read_at(&mut region, from).unwrap_or(0);
        if is_last(&region[..read]) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The contents of every file below a folder, one after the other.
///
/// # Errors
/// When one cannot be read.
pub fn contents(folder: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.extend(contents(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            all.extend(fs::read(entry.path())?);
        }
    }
    Ok(all)
}
