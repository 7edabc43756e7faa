//! Where things lie: the workspace, its build directory and the download cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders that every step works in.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's build folder, `target` unless `CARGO_TARGET_DIR` says otherwise.
    pub(crate) target: PathBuf,
    /// Downloads and tools that outlive a checkout.
    pub(crate) cache: PathBuf,
}

impl Workspace {
    /// Finds the workspace that this binary was built from.
    ///
    /// `XTASK_ROOT` names another checkout, so that a test can build a copy.
    pub(crate) fn locate() -> Result<Self> {
        let root = match env::var_os("XTASK_ROOT") {
            Some(root) => PathBuf::from(root),
            None => Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .context("xtask lies outside a workspace")?
                .to_owned(),
        };
        let root = root
            .canonicalize()
            .with_context(|| format!("looking for the workspace at {}", root.display()))?;
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |t| root.join(t));
        Ok(Self {
            target,
            cache: cache_folder()?,
            root,
        })
    }

    /// The folder that the BPF objects are written to.
    pub(crate) fn bpf(&self) -> PathBuf {
        self.target.join("bpf")
    }
}

/// `$TRACER_CACHE`, else `tracer` in the user's cache folder.
fn cache_folder() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("TRACER_CACHE") {
        return Ok(cache.into());
    }
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => {
            let home = env::var_os("HOME")
                .context("no cache folder: set TRACER_CACHE, XDG_CACHE_HOME or HOME")?;
            PathBuf::from(home).join(".cache")
        }
    };
    Ok(base.join("tracer"))
}
