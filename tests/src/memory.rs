//! Whether a process's code is as its file has it: a probe is a changed byte.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use anyhow::{Context, Result};

use crate::patience;

/// How many bytes of `file`'s executable mappings in process `pid` differ from the file.
///
/// The processes of this crate's tests map their code privately and never change it themselves.
///
/// # Errors
/// When the process is gone, or maps no code of that file.
pub fn changed_code_bytes(pid: u32, file: &Path) -> Result<usize> {
    let inode = fs::metadata(file)
        .with_context(|| format!("cannot look at {}", file.display()))?
        .ino();
    let code = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let memory = File::open(format!("/proc/{pid}/mem"))
        .with_context(|| format!("cannot open the memory of {pid}"))?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mappings: Vec<_> = maps
        .lines()
        .filter_map(Mapping::parse)
        .filter(|it| it.executable && it.inode == inode)
        .collect();
    mappings
        .first()
        .with_context(|| format!("process {pid} maps no code of {}", file.display()))?;
    let mut changed = 0;
    for mapping in mappings {
        let mut mapped = vec![0; usize::try_from(mapping.end - mapping.start)?];
        memory.read_exact_at(&mut mapped, mapping.start)?;
        let mut original = vec![0; mapped.len()];
        let read = code.read_at(&mut original, mapping.offset)?;
        changed += mapped
            .iter()
            .zip(&original[..read])
            .filter(|(mapped, original)| mapped != original)
            .count();
    }
    Ok(changed)
}

/// Waits until a probe is in `file`'s code in process `pid`.
///
/// # Errors
/// As [`changed_code_bytes`], and when none comes.
pub fn until_probed(pid: u32, file: &Path) -> Result<()> {
    patience::until("a probe is in the code", || {
        Ok(changed_code_bytes(pid, file)? > 0)
    })
}

/// One line of `/proc/PID/maps`.
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    inode: u64,
    executable: bool,
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let executable = fields.next()?.contains('x');
        let offset = fields.next()?;
        let inode = fields.nth(1)?;
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            offset: u64::from_str_radix(offset, 16).ok()?,
            inode: inode.parse().ok()?,
            executable,
        })
    }
}
