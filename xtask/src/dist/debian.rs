//! The Debian package: the staged files below /usr, and what dpkg wants to know.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Release, copy_folder, write};
use crate::process;

/// Makes the users, with what the system has for it. They stay when the package goes, so that no other
/// user ever gets their files.
const MAKE_USERS: &str = "#!/bin/sh
set -e
[ \"$1\" = configure ] || exit 0
for user in tracer-ship tracer-collector; do
    if grep -q \"^$user:\" /etc/passwd; then
        continue
    elif command -v systemd-sysusers >/dev/null; then
        systemd-sysusers /usr/lib/sysusers.d/tracer.conf
    elif command -v useradd >/dev/null; then
        useradd --system --user-group --no-create-home --home-dir \"/var/lib/$user\" \
            --shell /usr/sbin/nologin \"$user\"
    else
        echo \"tracer: its services need a user $user, and nothing here can make one\" >&2
    fi
done
";

/// Packs what lies below `staged` and returns the package.
///
/// It needs nothing but itself, so it depends on nothing. It holds no configuration and starts
/// nothing: installing only makes the users of the processes that have the network.
pub(super) fn package(staged: &Path, out: &Path, release: &Release) -> Result<PathBuf> {
    let root = out.join("debian");
    copy_folder(staged, &root.join("usr"))?;
    let kibibytes = size(&root)?.div_ceil(1024);
    let version = &release.version;
    let control = format!(
        "Package: tracer\nVersion: {version}\nArchitecture: amd64\nMaintainer: The tracer authors \
         <tracer@localhost>\nInstalled-Size: {kibibytes}\nSection: admin\nPriority: optional\n\
         Description: eBPF tracer for machine-learning models in production\n \
         Attaches to the inference functions of model runtimes in running processes,\n \
         tells what they load, are asked and answer, and vouches for the model files\n \
         that they serve, without a change to the serving code.\n"
    );
    write(&root.join("DEBIAN/control"), &control)?;
    write(&root.join("DEBIAN/postinst"), MAKE_USERS)?;
    process::run(
        Command::new("chmod")
            .arg("755")
            .arg(root.join("DEBIAN/postinst")),
    )?;
    // dpkg-deb takes modes as they are and times no later than SOURCE_DATE_EPOCH.
    process::run(
        Command::new("chmod")
            .arg("--recursive")
            .arg("u=rwX,go=rX")
            .arg(&root),
    )?;
    let package = out.join(format!("tracer_{version}_amd64.deb"));
    process::run(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(&root)
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", &release.epoch)
            .stdout(std::process::Stdio::null()),
    )
    .context("a Debian package is made with dpkg-deb")?;
    fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
    Ok(package)
}

/// Bytes of all files below `folder`.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry.with_context(|| format!("listing {}", folder.display()))?;
        let metadata = entry
            .metadata()
            .with_context(|| format!("inspecting {}", entry.path().display()))?;
        bytes += if metadata.is_dir() {
            size(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
