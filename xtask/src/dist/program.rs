//! The static programs of a release.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

use crate::{cargo, workspace::Workspace};

/// The machine that a release is for. The C library is glibc's static one: the triple is named so
/// that it is linked into the programs alone and not into build scripts.
pub(super) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`, so that a path may hold spaces.
const FLAG_SEPARATOR: &str = "\x1f";

/// The package of each program that is released.
pub(super) const PROGRAMS: [(&str, &str); 2] = [
    ("tracer", "tracer-cli"),
    ("tracer-collector", "tracer-collector"),
];

/// Compiles the programs, with no path of this machine in them, and returns their folder.
pub(super) fn build(workspace: &Workspace, epoch: &str) -> Result<PathBuf> {
    let remapped = [
        (workspace.root.clone(), "/tracer"),
        (cargo_home()?, "/cargo"),
    ];
    let rust: Vec<String> = ["-C", "target-feature=+crt-static"]
        .into_iter()
        .map(str::to_owned)
        .chain(
            remapped
                .iter()
                .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())),
        )
        .collect();
    let c: Vec<String> = remapped
        .iter()
        .map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display()))
        .collect();
    let folder = workspace.target.join("release-build");
    let mut command = cargo::command(workspace);
    command
        .args(["build", "--quiet", "--locked", "--release"])
        .args(
            PROGRAMS
                .iter()
                .flat_map(|(_, package)| ["--package", package]),
        )
        .args(PROGRAMS.iter().flat_map(|(program, _)| ["--bin", program]))
        .args(["--target", TARGET, "--target-dir"])
        .arg(&folder)
        // The library looks for the BPF object in the build folder of the workspace.
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env("CARGO_ENCODED_RUSTFLAGS", rust.join(FLAG_SEPARATOR))
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .env("CFLAGS_x86_64_unknown_linux_gnu", c.join(" "))
        .env("SOURCE_DATE_EPOCH", epoch)
        .env_remove("RUSTFLAGS");
    crate::process::run(&mut command)?;
    Ok(folder.join(TARGET).join("release"))
}

/// Where cargo keeps the sources of other crates.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// Refuses a program that needs a loader or a library of the host.
pub(super) fn ensure_static(program: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    let read = || -> object::read::Result<Option<&'static str>> {
        let header = elf::FileHeader64::<object::Endianness>::parse(&*bytes)?;
        let endian = header.endian()?;
        for segment in header.program_headers(endian, &*bytes)? {
            if segment.p_type(endian) == elf::PT_INTERP {
                return Ok(Some("a loader"));
            }
            let entries = segment.dynamic(endian, &*bytes)?.unwrap_or_default();
            if entries
                .iter()
                .any(|entry| entry.d_tag.get(endian) == elf::DT_NEEDED)
            {
                return Ok(Some("a shared library"));
            }
        }
        Ok(None)
    };
    match read().with_context(|| format!("reading {}", program.display()))? {
        None => Ok(()),
        Some(what) => bail!("{} needs {what} of the host", program.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_refused() {
        let this = env::current_exe().expect("a test has a file");
        let refused = ensure_static(&this).expect_err("tests are linked dynamically");
        assert!(refused.to_string().contains("needs a loader"), "{refused}");
    }
}
