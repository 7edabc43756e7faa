//! Lists of CPUs as sysfs writes them.

use std::{fs, io, sync::OnceLock};

/// How many CPUs the kernel could ever have: per-CPU maps hold a value for each.
///
/// Reads a file the first time only, which loading programs does: whoever runs out of descriptors
/// later can still read his maps.
pub(crate) fn possible() -> io::Result<usize> {
    static CPUS: OnceLock<usize> = OnceLock::new();
    if let Some(&cpus) = CPUS.get() {
        return Ok(cpus);
    }
    let cpus = list("/sys/devices/system/cpu/possible")?;
    let count = cpus.last().map_or(1, |&last| last as usize + 1);
    Ok(*CPUS.get_or_init(|| count))
}

/// The CPUs that run now.
pub(crate) fn online() -> io::Result<Vec<u32>> {
    list("/sys/devices/system/cpu/online")
}

fn list(path: &str) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(path)?;
    parse(text.trim()).ok_or_else(|| io::Error::other(format!("{path} holds {text:?}")))
}

/// `0-3,8` and the like; at most 8192 CPUs, which is the kernel's own limit.
fn parse(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= 8192 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn ranges_and_single_cpus_are_read() {
        assert_eq!(parse("0-2,7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-99999999"), None);
        assert_eq!(parse("x"), None);
    }
}
