//! The host's ceiling: the most that local capture may copy out of a process, in a file that only
//! root can write. The path is fixed, so that a user who may run `tracer` through sudo and nothing
//! else cannot bring a ceiling along.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use tracer_abi::CaptureLevel;

use crate::{arguments::meant::level_name, trouble::Trouble};

/// Where the ceiling stands.
pub(crate) const PATH: &str = "/etc/tracer/ceiling.toml";

/// Bytes that a ceiling file may have.
const LIMIT: u64 = 64 * 1024;

/// Write permission for the group and for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ceiling {
    capture: Level,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Timing,
    Shape,
    Tokens,
    Text,
}

/// Why the ceiling file does not count.
#[derive(Debug, thiserror::Error)]
enum CeilingError {
    #[error("{PATH} does not exist, and without it this host allows no more than shape")]
    Missing,
    #[error("{PATH} cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("{PATH} is no regular file")]
    NotRegular,
    #[error("{path} belongs to user {owner}, not to root")]
    NotRoots { path: &'static str, owner: u32 },
    #[error("{path} can be written by others than its owner (mode {mode:o})")]
    Writable { path: &'static str, mode: u32 },
    #[error("{PATH} is longer than {LIMIT} bytes")]
    TooLong,
    #[error("{PATH}: {0}")]
    Malformed(String),
}

/// Lets a level at or below `shape` pass, and a higher one only as far as the ceiling allows.
///
/// # Errors
/// If the ceiling is missing, is not root's alone, cannot be read, or is lower than `wanted`.
pub(crate) fn permit(wanted: CaptureLevel) -> Result<(), Trouble> {
    if wanted <= CaptureLevel::Shape {
        return Ok(());
    }
    let wanted_name = level_name(wanted);
    let remedy = format!(
        "to allow it on this host, write as root to {PATH} (owned by root, mode 0644) the line\n\
         capture = \"{wanted_name}\""
    );
    let refuse = |why: String| {
        Trouble::new(
            format!("cannot capture at level {wanted_name}: {why}"),
            remedy.clone(),
        )
    };
    let allowed = read().map_err(|error| refuse(error.to_string()))?;
    if wanted > allowed {
        return Err(refuse(format!(
            "{PATH} allows {} at most",
            level_name(allowed)
        )));
    }
    Ok(())
}

fn read() -> Result<CaptureLevel, CeilingError> {
    let directory = Path::new(PATH)
        .parent()
        .and_then(Path::to_str)
        .expect("PATH has a folder");
    let folder = std::fs::symlink_metadata(directory).map_err(missing_or_unreadable)?;
    only_roots(directory, folder.uid(), folder.mode())?;
    // The checks below are on the descriptor, so nobody can swap the file between check and read.
    let file = rustix::fs::open(
        PATH,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let file = File::from(file.map_err(|error| missing_or_unreadable(error.into()))?);
    let metadata = file.metadata().map_err(CeilingError::Unreadable)?;
    if !metadata.is_file() {
        return Err(CeilingError::NotRegular);
    }
    only_roots(PATH, metadata.uid(), metadata.mode())?;
    let mut text = String::new();
    file.take(LIMIT + 1)
        .read_to_string(&mut text)
        .map_err(CeilingError::Unreadable)?;
    if text.len() as u64 > LIMIT {
        return Err(CeilingError::TooLong);
    }
    parse(&text)
}

fn missing_or_unreadable(error: io::Error) -> CeilingError {
    match error.kind() {
        io::ErrorKind::NotFound => CeilingError::Missing,
        _ => CeilingError::Unreadable(error),
    }
}

fn only_roots(path: &'static str, owner: u32, mode: u32) -> Result<(), CeilingError> {
    if owner != 0 {
        return Err(CeilingError::NotRoots { path, owner });
    }
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(CeilingError::Writable {
            path,
            mode: mode & 0o7777,
        });
    }
    Ok(())
}

fn parse(text: &str) -> Result<CaptureLevel, CeilingError> {
    let ceiling: Ceiling = toml::from_str(text)
        .map_err(|error| CeilingError::Malformed(error.to_string().trim_end().to_owned()))?;
    Ok(match ceiling.capture {
        Level::Timing => CaptureLevel::Timing,
        Level::Shape => CaptureLevel::Shape,
        Level::Tokens => CaptureLevel::Tokens,
        Level::Text => CaptureLevel::Text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_is_one_line() {
        assert_eq!(
            parse("capture = \"tokens\"\n").ok(),
            Some(CaptureLevel::Tokens)
        );
    }

    #[test]
    fn a_ceiling_with_an_unknown_key_or_level_allows_nothing() {
        for text in [
            "",
            "capture = \"all\"",
            "capture = 3",
            "capture = \"text\"\nmax = 1",
        ] {
            assert!(
                matches!(parse(text), Err(CeilingError::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn only_a_file_that_only_root_writes_counts() {
        assert!(only_roots(PATH, 0, 0o100_644).is_ok());
        assert!(matches!(
            only_roots(PATH, 1000, 0o100_644),
            Err(CeilingError::NotRoots { owner: 1000, .. })
        ));
        for mode in [0o100_664, 0o100_646, 0o100_666] {
            assert!(matches!(
                only_roots(PATH, 0, mode),
                Err(CeilingError::Writable { .. })
            ));
        }
    }

    #[test]
    fn levels_up_to_shape_need_no_ceiling() {
        assert!(permit(CaptureLevel::Timing).is_ok());
        assert!(permit(CaptureLevel::Shape).is_ok());
    }
}
