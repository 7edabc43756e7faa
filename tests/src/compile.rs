//! Compiles the C, C++ and Rust programs beside this crate with the system's compilers.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};

use crate::{cache::Cache, package::run};

/// The folder of the workloads' sources.
pub const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads");

/// A path for a file that a workload makes: no other process of these tests has it.
#[must_use]
pub fn scratch(name: &str, extension: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    Path::new("/tmp").join(format!("tracer-{name}-{process}-{number}.{extension}"))
}

/// Compiles `sources` (the first is the program, the rest are what it includes) with `flags`.
///
/// The result is kept under the digest of sources and flags, so that a changed line is a new program
/// and two tests never wait for the same one twice.
///
/// # Errors
/// When a source is missing or does not compile.
pub fn compiled(cache: &Cache, sources: &[&str], flags: &[&str]) -> Result<PathBuf> {
    compiled_with(cache, sources, flags, &[])
}

/// As [`compiled`], with `libraries` behind the program for the linker.
///
/// # Errors
/// As [`compiled`].
pub fn compiled_with(
    cache: &Cache,
    sources: &[&str],
    flags: &[&str],
    libraries: &[&str],
) -> Result<PathBuf> {
    let [program, ..] = sources else {
        bail!("nothing to compile")
    };
    let mut hasher = Sha256::new();
    for source in sources {
        hasher.update(std::fs::read(Path::new(SOURCES).join(source))?);
        hasher.update([0]);
    }
    hasher.update([flags, libraries].concat().join("\0"));
    let key: String = hasher.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = program.split('.').next().unwrap_or(program);
    let folder = cache.once(&format!("build/{name}-{key}"), |into| {
        let source = Path::new(SOURCES).join(program);
        let mut compiler = compiler_of(&source)?;
        compiler
            .args(flags)
            .arg("-o")
            .arg(into.join(name))
            .arg(&source)
            .args(libraries);
        if source
            .extension()
            .is_some_and(|extension| extension != "rs")
        {
            compiler.args(["-ldl", "-lpthread", "-lm"]);
        }
        run(&mut compiler)
    })?;
    Ok(folder.join(name))
}

fn compiler_of(source: &Path) -> Result<Command> {
    let mut command = match source.extension().and_then(|extension| extension.to_str()) {
        Some("c") => Command::new("cc"),
        Some("cpp") => Command::new("c++"),
        Some("rs") => return Ok(Command::new("rustc")),
        _ => bail!("no compiler for {}", source.display()),
    };
    command.args(["-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
    Ok(command)
}
