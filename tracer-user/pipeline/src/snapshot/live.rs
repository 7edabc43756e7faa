//! What `/proc` and the cgroup file system say of a running process.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use tracer_event::{
    BuildId, Content, Digest, Known, Name, Raw,
    model::{Backend, CgroupLimits, Limit, Unlimited},
};
use tracer_probe::{
    code::elf::Image,
    process::{MappedFile, executable_mappings},
};
use tracer_profile::Options;

use super::files;

/// Bytes of a process's environment or command line that are looked at; the kernel allows 6 MiB.
const MOST_BYTES: u64 = 8 << 20;
/// Bytes of a chat template.
const LONGEST_TEMPLATE: u64 = 1 << 20;
/// Libraries of one process that are told; real ones have about ten.
const MOST_BACKENDS: usize = 256;
/// Cgroups between a process and the root.
const DEEPEST_CGROUP: usize = 64;

/// What the command line says, of which only digests and paths go further.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Path of the model.
    pub model: Option<PathBuf>,
    /// Digest of the chat template.
    pub template: Option<Digest>,
}

impl CommandLine {
    /// Reads the options that the profile names.
    #[must_use]
    pub fn read(pid: u32, options: &Options) -> Self {
        let path = PathBuf::from(format!("/proc/{pid}/cmdline"));
        let bytes = files::read_at_most(&path, MOST_BYTES).unwrap_or_default();
        let arguments: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
        let path_of =
            |names| value(&arguments, names).map(|path| Path::new(OsStr::from_bytes(path)));
        let template = value(&arguments, &options.template)
            .map(Digest::of)
            .or_else(|| {
                let path = path_of(&options.template_file)?;
                files::small(pid, path, LONGEST_TEMPLATE).map(|text| Digest::of(&text))
            });
        Self {
            model: path_of(&options.model).map(Path::to_owned),
            template,
        }
    }
}

/// The last value that an option is given, as programs take it.
fn value<'a>(arguments: &[&'a [u8]], names: &[String]) -> Option<&'a [u8]> {
    let mut found = None;
    for (index, argument) in arguments.iter().enumerate() {
        for name in names {
            match argument.strip_prefix(name.as_bytes()) {
                Some([]) => found = arguments.get(index + 1).copied().or(found),
                Some([b'=', value @ ..]) => found = Some(value),
                Some(_) | None => {}
            }
        }
    }
    found
}

/// The variables of the environment that are on the list.
#[must_use]
pub fn environment(pid: u32, wanted: &[String]) -> BTreeMap<Name, Raw<Content>> {
    let path = PathBuf::from(format!("/proc/{pid}/environ"));
    let bytes = files::read_at_most(&path, MOST_BYTES).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|variable| {
            let equals = variable.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&variable[..equals], &variable[equals + 1..]);
            let name = wanted.iter().find(|wanted| wanted.as_bytes() == name)?;
            Some((Name::new(name), Raw::new(Content::text(value))))
        })
        .collect()
}

/// The mapped libraries whose file names fit one of the patterns.
#[must_use]
pub fn backends(pid: u32, patterns: &[String]) -> Vec<Backend<Raw<Content>>> {
    let mut found: Vec<Backend<Raw<Content>>> = Vec::new();
    let mut seen = HashSet::new();
    for mapping in executable_mappings(pid).unwrap_or_default() {
        let name = mapping.path.file_name().unwrap_or_default().as_bytes();
        let fits = patterns
            .iter()
            .any(|pattern| matches(pattern.as_bytes(), name));
        if !fits || !seen.insert(mapping.file) {
            continue;
        }
        if found.len() == MOST_BACKENDS {
            break;
        }
        let build_id = MappedFile::open(pid, &mapping)
            .ok()
            .and_then(|file| {
                Image::parse(file.file().try_clone().ok()?)
                    .ok()?
                    .build_id()
                    .ok()?
            })
            .and_then(|id| BuildId::new(&id));
        found.push(Backend {
            path: Raw::new(Content::text(mapping.path.as_os_str().as_bytes())),
            inode: files::inode(mapping.file),
            build_id: build_id.into(),
            deleted: mapping.deleted,
        });
    }
    found
}

/// Whether the process maps any code, as none does that has ended.
#[must_use]
pub fn is_mapped(pid: u32) -> bool {
    executable_mappings(pid).is_ok_and(|mappings| !mappings.is_empty())
}

/// How many threads the process has.
#[must_use]
pub fn threads(pid: u32) -> Known<u32> {
    status(pid, "Threads:")
        .and_then(|text| text.parse().ok())
        .into()
}

/// The limits of the process's cgroup and those above it: of each the lowest.
#[must_use]
pub fn limits(pid: u32) -> CgroupLimits {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = files::read_at_most(&path, MOST_BYTES).unwrap_or_default();
    // The unified hierarchy's line; in a mixed one it has no controllers, and its files are absent.
    let own = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::/"))
        .map(|path| Path::new("/sys/fs/cgroup").join(OsStr::from_bytes(path)));
    let levels: Vec<&Path> = own.as_deref().map_or_else(Vec::new, |own| {
        own.ancestors()
            .take(DEEPEST_CGROUP)
            .take_while(|level| level.starts_with("/sys/fs/cgroup"))
            .collect()
    });
    let lowest = |file: &str, read: fn(&str) -> Option<Limit>| {
        let limits = levels.iter().filter_map(|level| {
            let text = files::read_at_most(&level.join(file), 256).ok()?;
            read(std::str::from_utf8(&text).ok()?.trim())
        });
        // `Limit` orders any number before none.
        Known::from(limits.min())
    };
    CgroupLimits {
        memory_max: lowest("memory.max", limit),
        memory_high: lowest("memory.high", limit),
        swap_max: lowest("memory.swap.max", limit),
        cpu_micros_per_second: lowest("cpu.max", cpu_limit),
        cpus: status(pid, "Cpus_allowed_list:")
            .and_then(|list| count_cpus(&list))
            .into(),
        tasks_max: lowest("pids.max", limit),
    }
}

fn limit(text: &str) -> Option<Limit> {
    match text {
        "max" => Some(Limit::None(Unlimited::Max)),
        number => number.parse().ok().map(Limit::At),
    }
}

/// `cpu.max`: a quota and its period, both in microseconds.
fn cpu_limit(text: &str) -> Option<Limit> {
    let (quota, period) = text.split_once(' ')?;
    match limit(quota)? {
        Limit::At(quota) => {
            let period: u64 = period.parse().ok().filter(|period| *period > 0)?;
            let micros = u128::from(quota) * 1_000_000 / u128::from(period);
            Some(Limit::At(u64::try_from(micros).ok()?))
        }
        none @ Limit::None(_) => Some(none),
    }
}

/// A list of CPUs such as `0-3,8`.
fn count_cpus(list: &str) -> Option<u32> {
    list.split(',').try_fold(0_u32, |total, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        total.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// A line of `/proc/PID/status`.
fn status(pid: u32, key: &str) -> Option<String> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let text = files::read_at_most(&path, MOST_BYTES).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().to_owned())
}

/// Whether a name fits a shell pattern whose only wildcard is `*`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The leftmost place leaves most for the parts that follow.
        let Some(at) = (0..=rest.len()).find(|at| rest[*at..].starts_with(part)) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_needs_its_parts_in_order_and_its_end() {
        assert!(matches(b"libggml*.so*", b"libggml-cpu-haswell.so.0.27"));
        assert!(matches(b"libggml*.so*", b"libggml.so"));
        assert!(!matches(b"libggml*.so*", b"libggml"));
        assert!(matches(b"a.so", b"a.so"));
        assert!(!matches(b"a.so", b"a.so.1"));
    }

    #[test]
    fn an_option_has_its_last_value_in_either_form() {
        let arguments: Vec<&[u8]> = vec![b"server", b"-m", b"a", b"--model=b", b"--model"];
        let names = ["-m".to_owned(), "--model".to_owned()];
        assert_eq!(value(&arguments, &names), Some(b"b".as_slice()));
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        assert_eq!(limit("max"), Some(Limit::None(Unlimited::Max)));
        assert_eq!(cpu_limit("50000 100000"), Some(Limit::At(500_000)));
        assert_eq!(cpu_limit("50000 0"), None);
        assert_eq!(count_cpus("0-3,8"), Some(5));
        assert_eq!(count_cpus("3-0"), None);
    }

    #[test]
    fn this_process_has_threads_and_a_command_line() {
        let pid = std::process::id();
        assert!(matches!(threads(pid), Known::Known(1..)));
        assert!(backends(pid, &["libc.so*".to_owned()]).len() <= 1);
        assert_eq!(
            CommandLine::read(pid, &Options::default()),
            CommandLine::default()
        );
    }
}
