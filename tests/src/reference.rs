//! The reference implementation of Model Signing, in a Python environment of its own in the cache:
//! every package is pinned by version and SHA-256.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result};

use crate::{cache::Cache, python};

const REQUIREMENTS: &str = include_str!("reference/requirements.txt");
/// Signs and verifies as its arguments say, through the package's own interface.
const DRIVER: &str = include_str!("../workloads/model_signing_driver.py");

/// PyPI's `model-signing`, ready to run.
#[derive(Debug)]
pub struct Reference {
    python: PathBuf,
}

impl Reference {
    /// Installs it unless that was done before.
    ///
    /// # Errors
    /// When Python 3.11 or a package is missing, or a package is not the pinned one.
    pub fn install(cache: &Cache) -> Result<Self> {
        let python = python::environment(cache, "model-signing", REQUIREMENTS)?;
        Ok(Self { python })
    }

    /// Runs it in `folder`; its status is 0 if it signed or verified.
    ///
    /// # Errors
    /// When Python cannot be started.
    pub fn call(&self, folder: &Path, arguments: &[&str]) -> Result<Output> {
        Command::new(&self.python)
            .args(["-c", DRIVER])
            .args(arguments)
            .current_dir(folder)
            .output()
            .with_context(|| format!("cannot run {}", self.python.display()))
    }
}
