//! A Rust program with candle in it, compiled from the registry's sources.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{
    cache::Cache,
    compile::{SOURCES, scratch},
    package::run,
};

/// The command line of `workloads/candle`. It waits before its calls and after them.
///
/// # Errors
/// When its crates cannot be fetched, or do not compile.
pub fn command(cache: &Cache) -> Result<Command> {
    let sources = Path::new(SOURCES).join("candle");
    let mut hasher = Sha256::new();
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        hasher.update(fs::read(sources.join(file)).context(file)?);
        hasher.update([0]);
    }
    let key: String = hasher.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = cache.once(&format!("build/candle-{key}"), |into| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = tempfile::tempdir()?;
        run(Command::new(cargo)
            .current_dir(&sources)
            .args(["build", "--quiet", "--release", "--locked"])
            .env_remove("RUSTFLAGS")
            .env("CARGO_TARGET_DIR", target.path()))?;
        let built = target.path().join("release/candle-workload");
        fs::copy(built, into.join("candle-workload")).context("cargo built no program")?;
        Ok(())
    })?;
    let mut command = Command::new(folder.join("candle-workload"));
    command.arg(scratch("candle", "safetensors"));
    Ok(command)
}
