//! Finding a compiler that can build `core` for BPF, among those already installed.
//!
//! A usable compiler has the standard library's sources of its own version beside it and an LLVM
//! that the installed `bpf-linker` can read. Nothing is ever downloaded from here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// The release of `bpf-linker` that `scripts/setup` installs.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";

/// A compiler with the sources of its own standard library.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    /// The `rustc` program.
    pub(crate) rustc: PathBuf,
    /// `lib/rustlib/src/rust` in its sysroot.
    pub(crate) sources: PathBuf,
    /// For example `1.96.0`.
    pub(crate) release: String,
    /// The commit that the compiler was built from, or `unknown`.
    pub(crate) commit: String,
    /// For example `22.1.8`.
    pub(crate) llvm: String,
}

/// A compiler and the linker that reads its bitcode.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) compiler: Compiler,
    /// The `bpf-linker` program.
    pub(crate) linker: PathBuf,
}

/// Picks the first installed compiler that can build the BPF programs.
pub(crate) fn find_compiler() -> Result<Compiler> {
    let mut refused = Vec::new();
    for rustc in installed_compilers() {
        match inspect(&rustc) {
            Ok(compiler) => return Ok(compiler),
            Err(reason) => refused.push(format!("  {}: {reason:#}", rustc.display())),
        }
    }
    bail!(
        "no installed Rust compiler can build for BPF:\n{}\nrun scripts/setup, or add the sources \
         to a rustup toolchain with `rustup component add rust-src`",
        refused.join("\n")
    )
}

impl Toolchain {
    /// Picks a compiler and the `bpf-linker` that was installed for its LLVM.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self> {
        let compiler = find_compiler()?;
        let linker = linker_folder(workspace, &compiler).join("bin/bpf-linker");
        if !linker.is_file() {
            bail!(
                "bpf-linker {BPF_LINKER_VERSION} for LLVM {} is not installed: run scripts/setup",
                compiler.llvm_major()
            );
        }
        Ok(Self { compiler, linker })
    }
}

impl Compiler {
    /// The part of the LLVM version that decides which bitcode it writes.
    pub(crate) fn llvm_major(&self) -> &str {
        self.llvm.split('.').next().unwrap_or(&self.llvm)
    }
}

/// The folder that holds `bpf-linker` for this compiler's LLVM; its name keeps builds against
/// different LLVMs apart, because the program itself does not report its LLVM.
pub(crate) fn linker_folder(workspace: &Workspace, compiler: &Compiler) -> PathBuf {
    workspace.cache.join(format!(
        "tools/bpf-linker-{BPF_LINKER_VERSION}-llvm-{}",
        compiler.llvm_major()
    ))
}

/// rustup's toolchains by name, then every `rustc` on the path that is not rustup's proxy.
///
/// The toolchain folder is read directly: asking rustup could make it install something.
fn installed_compilers() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let rustup = env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let cargo = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);

    let mut toolchains: Vec<_> = fs::read_dir(rustup.join("toolchains"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/rustc"))
        .collect();
    toolchains.sort();

    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path)
        .filter(|folder| *folder != cargo.join("bin"))
        .map(|folder| folder.join("rustc"));

    let mut found: Vec<PathBuf> = Vec::new();
    for rustc in toolchains.into_iter().chain(on_path) {
        if rustc.is_file() && !found.contains(&rustc) {
            found.push(rustc);
        }
    }
    found
}

/// Asks `rustc` what it is and checks that its library sources are there and its own.
fn inspect(rustc: &Path) -> Result<Compiler> {
    let about = process::read(Command::new(rustc).arg("-vV"))?;
    let sysroot = process::read(Command::new(rustc).args(["--print", "sysroot"]))?;
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    let sources = rustlib.join("src/rust");
    if !sources.join("library/core/src/lib.rs").is_file() {
        bail!("no library sources");
    }
    let release = field(&about, "release").unwrap_or_default();
    // A distribution's source package can be upgraded apart from its compiler; rustup installs
    // both as one.
    if let Ok(version) = fs::read_to_string(sources.join("src/version")) {
        if version.split_whitespace().next() != Some(release) {
            bail!("library sources of {}, compiler {release}", version.trim());
        }
    } else if !rustlib.join("manifest-rust-src").is_file() {
        bail!("library sources of unknown version");
    }
    let Some(llvm) = field(&about, "LLVM version") else {
        bail!("built without LLVM");
    };
    Ok(Compiler {
        rustc: rustc.to_owned(),
        sources,
        release: release.to_owned(),
        commit: field(&about, "commit-hash").unwrap_or("unknown").to_owned(),
        llvm: llvm.to_owned(),
    })
}

/// The value of `name: value` in the output of `rustc -vV`.
fn field<'a>(about: &'a str, name: &str) -> Option<&'a str> {
    about.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: &str = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\n\
                         LLVM version: 22.1.8\n";

    #[test]
    fn fields_of_the_version_text_are_found_by_their_whole_name() {
        assert_eq!(field(ABOUT, "LLVM version"), Some("22.1.8"));
        assert_eq!(field(ABOUT, "LLVM"), None);
    }
}
