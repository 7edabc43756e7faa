//! A distribution's own builds: llama.cpp, unpacked with everything it depends on, libc++, and the library
//! of NVIDIA's driver.
//!
//! Packages are found and checked by apt itself, through the suite's signed index, with a state of
//! its own: nothing is installed. A suite's index offers what it offers, so the version may differ
//! from one day to the next.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{cache::Cache, package::run};

/// The suite that ships llama.cpp.
const SUITE: &str = "forky";
const PACKAGE: &str = "llama.cpp-tools";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A folder with the package and its dependencies, to be used as the root of a process.
#[derive(Clone, Debug)]
pub struct DebianRoot {
    /// The folder; `usr/bin/llama-server` is in it.
    pub folder: PathBuf,
    /// The version that the index offered.
    pub version: String,
}

/// Fetches and unpacks llama.cpp from the suite, once.
///
/// # Errors
/// When the machine's apt knows no Debian mirror, the index does not verify, or the package is gone.
pub fn llama_cpp(cache: &Cache) -> Result<DebianRoot> {
    let folder = cache.once(&format!("debian/{SUITE}-{PACKAGE}"), |into| {
        let apt = Apt::prepare(&into.join("apt"), "main")?;
        let root = into.join("root");
        prepare_root(&root)?;
        for archive in apt.download()? {
            run(Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&archive)
                .arg(&root))?;
        }
        fs::write(into.join("version"), apt.version()?)?;
        fs::remove_dir_all(into.join("apt")).context("cannot remove apt's working files")
    })?;
    let version = fs::read_to_string(folder.join("version"))
        .context("the unpacked packages say no version")?;
    Ok(DebianRoot {
        folder: folder.join("root"),
        version,
    })
}

/// Fetches the library of NVIDIA's driver from the suite and unpacks it, without the driver: the folder with
/// `libcuda.so.1`. It is in the section `non-free`, which a mirror need not have.
///
/// # Errors
/// When the machine's apt knows no Debian mirror, the index does not verify, or the package is gone.
pub fn cuda_driver(cache: &Cache) -> Result<PathBuf> {
    const DRIVER: &str = "libcuda1";
    let folder = cache.once(&format!("debian/{SUITE}-{DRIVER}"), |into| {
        let working = into.join("apt");
        let apt = Apt::prepare(&working, "non-free")?;
        let mut download = apt.command("apt-get");
        run(download.args(["download", DRIVER]).current_dir(&working))
            .with_context(|| format!("cannot fetch {DRIVER} of {SUITE}"))?;
        for archive in archives(&working)? {
            run(Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&archive)
                .arg(into.join("root")))?;
        }
        fs::remove_dir_all(&working).context("cannot remove apt's working files")
    })?;
    Ok(folder.join("root/usr/lib/x86_64-linux-gnu/nvidia/current"))
}

/// Fetches the host's own libc++ and unpacks it: the folder with its `include` and `lib`. Nothing is
/// installed.
///
/// # Errors
/// When the machine's apt knows no Debian mirror, or has no libc++.
pub fn libcxx(cache: &Cache) -> Result<PathBuf> {
    let depends = Command::new("apt-cache")
        .args(["depends", "libc++-dev"])
        .output()
        .context("cannot run `apt-cache`; this test needs a Debian system")?;
    let depends = String::from_utf8_lossy(&depends.stdout);
    let release = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: libc++-"))
        .and_then(|rest| rest.strip_suffix("-dev"))
        .context("apt knows no libc++-dev; run `apt-get update`")?;
    let folder = cache.once(&format!("debian/libcxx-{release}"), |into| {
        let archives = into.join("archives");
        fs::create_dir(&archives)?;
        run(Command::new("apt-get")
            // The folder belongs to us, and apt's own user could not reach it.
            .args(["-o", "APT::Sandbox::User=root", "download"])
            .args([
                format!("libc++-{release}-dev"),
                format!("libc++abi-{release}-dev"),
            ])
            .current_dir(&archives))?;
        for archive in fs::read_dir(&archives)? {
            run(Command::new("dpkg-deb")
                .arg("--extract")
                .arg(archive?.path())
                .arg(into.join("root")))?;
        }
        fs::remove_dir_all(&archives).context("cannot remove the archives")
    })?;
    Ok(folder.join(format!("root/usr/lib/llvm-{release}")))
}

/// What a merged-/usr system has before its first package, and where the kernel's file systems go.
/// Makes a minimal Debian system in `root`, as an installer would: the current stable release, with
/// nothing but its essential packages.
///
/// # Errors
/// When debootstrap is not there, or the machine's apt knows no Debian mirror.
pub fn fresh_root(root: &Path) -> Result<()> {
    run(Command::new("debootstrap")
        .args(["--variant=minbase", "stable"])
        .arg(root)
        .arg(mirror()?))
    .context("a fresh Debian root is made with debootstrap: `apt-get install debootstrap`")
}

fn prepare_root(root: &Path) -> Result<()> {
    for folder in [
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "proc",
        "dev",
        "tmp",
        "models",
    ] {
        fs::create_dir_all(root.join(folder))
            .with_context(|| format!("cannot make {folder} in {}", root.display()))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))
            .with_context(|| format!("cannot link {name}"))?;
    }
    Ok(())
}

/// apt with its own sources, lists and (empty) list of installed packages.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn prepare(folder: &Path, component: &str) -> Result<Self> {
        for part in ["lists/partial", "archives/partial", "parts"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("status"), "")?;
        let mirror = mirror()?;
        let source = format!("deb [signed-by={KEYRING}] {mirror} {SUITE} {component}\n");
        fs::write(folder.join("sources.list"), source)?;
        let apt = Self {
            folder: folder.to_owned(),
        };
        run(apt.command("apt-get").arg("update"))
            .with_context(|| format!("cannot read the package index of {SUITE}"))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &Path| {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        };
        option("Dir::State", &self.folder);
        option("Dir::State::lists", &self.folder.join("lists"));
        option("Dir::State::status", &self.folder.join("status"));
        option("Dir::Cache", &self.folder);
        option("Dir::Cache::archives", &self.folder.join("archives"));
        option("Dir::Etc::sourcelist", &self.folder.join("sources.list"));
        option("Dir::Etc::sourceparts", &self.folder.join("parts"));
        option("Dir::Etc::preferencesparts", &self.folder.join("parts"));
        // The working folder belongs to us, and apt's own user could not reach it.
        option("APT::Sandbox::User", Path::new("root"));
        option("APT::Architecture", Path::new("amd64"));
        command
    }

    fn download(&self) -> Result<Vec<PathBuf>> {
        let mut command = self.command("apt-get");
        command.args([
            "install",
            "--yes",
            "--quiet",
            "--no-install-recommends",
            "--download-only",
            PACKAGE,
        ]);
        run(&mut command).with_context(|| format!("cannot fetch {PACKAGE} of {SUITE}"))?;
        archives(&self.folder.join("archives"))
    }

    fn version(&self) -> Result<String> {
        let output = self
            .command("apt-cache")
            .args(["show", "--no-all-versions", PACKAGE])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
        version
            .map(str::to_owned)
            .with_context(|| format!("apt-cache shows no version of {PACKAGE}"))
    }
}

/// The packages in a folder.
fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let archives: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    if archives.is_empty() {
        bail!("apt fetched no package into {}", folder.display());
    }
    Ok(archives)
}

/// The Debian mirror that this machine's apt is set up with.
fn mirror() -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Origin: Debian",
        "Label: Debian",
        "Identifier: Packages",
    ]);
    let output = command
        .output()
        .context("cannot run `apt-get`; this workload needs a Debian system")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().map(str::to_owned);
    first.context(
        "this machine's apt has no Debian index; run `apt-get update`, or set up a Debian mirror",
    )
}
