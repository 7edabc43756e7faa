//! The kernel modules that guests load, kept beside a kernel's image.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{digest, process};

/// What tests need and the cloud kernels do not build in, in the order in which guests load them:
/// overlays, and files as block devices.
const MODULES: [&str; 2] = ["fs/overlayfs/overlay.ko", "drivers/block/loop.ko"];

/// The digests of what is kept, by file name.
pub(super) type Kept = BTreeMap<String, String>;

/// Whether an unpacked package holds modules; from 7.2 on those have a package of their own.
pub(super) fn are_in(unpacked: &Path) -> bool {
    below(unpacked).is_some()
}

/// Takes the modules out of an unpacked package and writes them to `folder`, uncompressed: older
/// kernels load them in no other form.
pub(super) fn keep(unpacked: &Path, folder: &Path) -> Result<Kept> {
    let below = below(unpacked).context("the package holds no modules")?;
    let mut kept = Kept::new();
    for module in MODULES {
        let name = name(module);
        let to = folder.join(name);
        let plain = below.join(module);
        let packed = below.join(format!("{module}.xz"));
        if plain.is_file() {
            fs::copy(&plain, &to).with_context(|| format!("keeping {}", to.display()))?;
        } else if packed.is_file() {
            let output = File::create(&to).with_context(|| format!("making {}", to.display()))?;
            process::run(Command::new("xz").arg("-dc").arg(&packed).stdout(output))?;
        } else {
            bail!("the kernel's package holds no module {module}");
        }
        kept.insert(name.to_owned(), digest::of_file(&to)?);
    }
    Ok(kept)
}

/// The modules in `folder`, in order, if they are what `kept` says; `None` where one is not kept.
pub(super) fn checked(folder: &Path, kept: &Kept) -> Result<Option<Vec<PathBuf>>> {
    let mut found = Vec::new();
    for module in MODULES {
        let path = folder.join(name(module));
        let Some(expected) = kept.get(name(module)) else {
            return Ok(None);
        };
        if digest::of_file(&path)? != *expected {
            bail!(
                "{} is not what was fetched: delete {} and fetch again",
                path.display(),
                folder.display()
            );
        }
        found.push(path);
    }
    Ok(Some(found))
}

/// Where `unpacked` has the modules of its one kernel.
fn below(unpacked: &Path) -> Option<PathBuf> {
    ["lib/modules", "usr/lib/modules"]
        .iter()
        .flat_map(|folder| fs::read_dir(unpacked.join(folder)).into_iter().flatten())
        .flatten()
        .map(|entry| entry.path().join("kernel"))
        .find(|path| path.is_dir())
}

fn name(module: &str) -> &str {
    module.rsplit('/').next().unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_kept_unpacked_and_checked_when_they_are_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let (unpacked, kept) = (folder.path().join("unpacked"), folder.path().join("kept"));
        fs::create_dir(&kept).expect("a folder");
        assert!(!are_in(&unpacked));
        for module in MODULES {
            let path = unpacked.join("usr/lib/modules/7.3.4/kernel").join(module);
            fs::create_dir_all(path.parent().expect("it has a folder")).expect("folders");
            fs::write(path, module).expect("a module");
        }
        assert!(are_in(&unpacked));
        let record = keep(&unpacked, &kept).expect("both are there");
        let found = checked(&kept, &record).expect("they are the same");
        assert_eq!(found.map(|found| found.len()), Some(MODULES.len()));
        assert_eq!(
            checked(&kept, &Kept::new()).expect("none is looked at"),
            None
        );

        fs::write(kept.join("loop.ko"), "another").expect("a module");
        checked(&kept, &record).expect_err("it is another");
        fs::remove_file(
            unpacked
                .join("usr/lib/modules/7.3.4/kernel")
                .join(MODULES[0]),
        )
        .expect("it was there");
        keep(&unpacked, &kept).expect_err("one is missing");
    }
}
