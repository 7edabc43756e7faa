//! What users would otherwise pick: where it comes from, and why it does not stand beside us where it
//! cannot.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use serde::Serialize;
use tracer_tests::{cache::Cache, package::run};

/// A comparison that this run does not have.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// Group on the command line.
    pub group: &'static str,
    /// What would have been compared with.
    pub peer: String,
    /// Why it was not.
    pub reason: String,
}

impl LeftOut {
    /// `peer` could not run, because of `why`.
    #[must_use]
    pub fn because(group: &'static str, peer: impl Into<String>, why: &anyhow::Error) -> Self {
        Self {
            group,
            peer: peer.into(),
            reason: format!("{why:#}"),
        }
    }
}

/// The distribution's `program`, out of `package`, which is installed if the program is missing.
///
/// # Errors
/// If it is missing and cannot be installed: without root, without apt, without the package.
pub fn distribution(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    ensure!(
        geteuid().is_root(),
        "`{program}` is not installed, and only root can install the package {package}"
    );
    println!("installing {package}");
    let apt = |arguments: &[&str]| -> Result<bool> {
        let output = Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .output()
            .context("there is no apt-get to install it with")?;
        Ok(output.status.success())
    };
    let install = ["install", "--no-install-recommends", package];
    let is_there = apt(&install)? || (apt(&["update"])? && apt(&install)?);
    ensure!(is_there, "apt-get cannot install the package {package}");
    find(program).with_context(|| format!("the package {package} brought no program {program}"))
}

/// The distribution's `packages`, unpacked in the cache and not installed: for a program whose package
/// starts a service.
///
/// # Errors
/// If they cannot be fetched.
pub fn unpacked(packages: &[&str]) -> Result<PathBuf> {
    let name = format!("tools/{}", packages.join("-"));
    Cache::open()?.once(&name, |into| {
        let archives = into.join("archives");
        fs::create_dir(&archives)?;
        run(Command::new("apt-get")
            // The folder belongs to us, and apt's own user could not reach it.
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
            .args(packages)
            .current_dir(&archives))?;
        for archive in fs::read_dir(&archives)? {
            run(Command::new("dpkg-deb")
                .arg("--extract")
                .arg(archive?.path())
                .arg(into))?;
        }
        fs::remove_dir_all(&archives).context("cannot remove the archives")
    })
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The first line of what `program` says of its version; empty if it says nothing.
#[must_use]
pub fn version(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}
