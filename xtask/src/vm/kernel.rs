//! Fetching distribution kernels and keeping them in the cache folder.
//!
//! Everything is found through the suites' signed index, at the repository that this machine's
//! apt is configured to use.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::index::{self, KernelPackage};
use super::modules::{self, Kept};
use super::series::{self, Series};
use crate::digest;
use crate::process;

/// The suite in which each tested series is kept.
pub(crate) const SUITES: [(Series, &str); 4] = [
    (Series(5, 10), "bullseye"),
    (Series(6, 1), "bookworm"),
    (Series(6, 12), "trixie"),
    (Series(7, 3), "trixie-backports"),
];

/// Series that nothing may stand in for.
const INDISPENSABLE: [Series; 2] = [Series(6, 1), Series(6, 12)];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// apt's own downloader: it knows the machine's proxies and credentials.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
const PACKAGES: &str = "main/binary-amd64/Packages.xz";

/// How often an index is asked for: a mirror that is being updated has a release file that does not
/// match its lists for a moment.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_secs(10);

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The series that was asked for.
    pub(crate) asked: Series,
    /// The kernel's release, for example `6.1.0-50`.
    pub(crate) release: String,
    /// The image that QEMU loads.
    pub(crate) image: PathBuf,
    /// What guests load into it, in this order.
    pub(crate) modules: Vec<PathBuf>,
}

impl Kernel {
    /// The series that really runs.
    pub(crate) fn series(&self) -> Series {
        series::of_release(&self.release).unwrap_or(self.asked)
    }
}

/// What is written beside a cached image.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    package: String,
    version: String,
    release: String,
    package_sha256: String,
    image_sha256: String,
    /// Empty in the records of older versions of this program.
    #[serde(default)]
    modules: Kept,
}

/// Whether the network may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Network {
    /// Read the indexes anew.
    Refresh,
    /// Fetch what the cache lacks.
    WhenMissing,
    /// Use the cache only.
    Never,
}

/// Kernels and indexes below the cache folder.
pub(crate) struct Store {
    folder: PathBuf,
    network: Network,
}

impl Store {
    pub(crate) fn new(cache: &Path, network: Network) -> Self {
        Self {
            folder: cache.join("kernels"),
            network,
        }
    }

    /// Returns the kernel for `series`, from the cache or the network.
    pub(crate) fn kernel(&self, series: Series) -> Result<Kernel> {
        let Some((_, suite)) = SUITES.iter().find(|(known, _)| *known == series) else {
            let known: Vec<_> = SUITES.iter().map(|(known, _)| known.to_string()).collect();
            bail!(
                "no suite is known for kernel {series}; known are {}",
                known.join(", ")
            );
        };
        let (image, modules, record) =
            match (self.offered(series, suite, self.network), self.network) {
                // What the cached index names may have left the repository since.
                (Err(error), Network::WhenMissing) => {
                    println!("vm: {series}: {error:#}; reading the index anew");
                    self.offered(series, suite, Network::Refresh)?
                }
                (offered, _) => offered?,
            };
        println!(
            "vm: {series}: {} {} (package sha256 {}, image sha256 {})",
            record.package, record.version, record.package_sha256, record.image_sha256
        );
        Ok(Kernel {
            asked: series,
            release: record.release,
            image,
            modules,
        })
    }

    /// The image that `suite` offers for `series`, its modules and its record.
    fn offered(
        &self,
        series: Series,
        suite: &str,
        network: Network,
    ) -> Result<(PathBuf, Vec<PathBuf>, Record)> {
        let index = self
            .index(suite, network)
            .with_context(|| format!("reading the package index of {suite}"))?;
        let kernels = index::kernels(&index);
        let package = index::choose(&kernels, series)
            .with_context(|| format!("{suite} offers no cloud kernel"))?;
        let found = series::of_release(&package.release);
        if found != Some(series) {
            if INDISPENSABLE.contains(&series) {
                bail!("{suite} offers no {series} kernel any more, and {series} must be tested");
            }
            println!(
                "vm: {series} has left {suite}; its newest kernel {} runs instead",
                package.release
            );
        }
        let modules = index::modules(&index, package);
        self.image(suite, package, modules.as_ref())
    }

    /// The verified list of packages of `suite`.
    fn index(&self, suite: &str, network: Network) -> Result<String> {
        let folder = self.folder.join("indexes");
        let (release, packages) = (
            folder.join(format!("{suite}.InRelease")),
            folder.join(format!("{suite}.Packages.xz")),
        );
        let present = release.is_file() && packages.is_file();
        match network {
            Network::Never if !present => bail!(
                "{} is missing and --offline forbids fetching it: run `cargo xtask vm --fetch`",
                if release.is_file() {
                    packages.display()
                } else {
                    release.display()
                }
            ),
            Network::Refresh => self.fetch_index(suite, &release, &packages)?,
            Network::WhenMissing if !present => self.fetch_index(suite, &release, &packages)?,
            Network::Never | Network::WhenMissing => {}
        }
        let vouched = index::vouched(&signed_text(&release)?, suite, PACKAGES)?;
        let found = digest::of_file(&packages)?;
        if found != vouched.sha256 {
            bail!(
                "{} has sha256 {found}, the signed index says {}: run `cargo xtask vm --fetch`",
                packages.display(),
                vouched.sha256
            );
        }
        process::read(Command::new("xz").args(["-dc"]).arg(&packages))
    }

    fn fetch_index(&self, suite: &str, release: &Path, packages: &Path) -> Result<()> {
        let folder = release.parent().context("the index lies in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let unfinished = folder.join(format!("{suite}.unfinished"));
        let repositories = repositories()?;
        let mut refused = Vec::new();
        for (number, repository) in repositories
            .iter()
            .cycle()
            .take(TRIES * repositories.len())
            .enumerate()
        {
            if number > 0 && number % repositories.len() == 0 {
                thread::sleep(PAUSE);
            }
            let attempt = || {
                let dists = format!("{repository}dists/{suite}");
                // What an earlier try left would be taken for the beginning of this one.
                if unfinished.exists() {
                    fs::remove_file(&unfinished).context("removing an unfinished index")?;
                }
                download(&format!("{dists}/InRelease"), &unfinished, None)?;
                let vouched = index::vouched(&signed_text(&unfinished)?, suite, PACKAGES)?;
                download(
                    &format!("{dists}/{}", vouched.path),
                    packages,
                    Some(&vouched.sha256),
                )?;
                fs::rename(&unfinished, release).context("keeping the release file")?;
                fs::write(folder.join(format!("{suite}.repository")), repository)
                    .context("keeping the repository's address")
            };
            match attempt() {
                Ok(()) => return Ok(()),
                Err(error) => refused.push(format!("{error:#}")),
            }
        }
        bail!(
            "no repository in apt's configuration offers {suite}: {}",
            refused.join("; ")
        )
    }

    /// The cached image of `package`, its modules and its record.
    fn image(
        &self,
        suite: &str,
        package: &KernelPackage,
        modules: Option<&KernelPackage>,
    ) -> Result<(PathBuf, Vec<PathBuf>, Record)> {
        let folder = self.folder.join(format!(
            "{}_{}",
            package.name,
            package.version.replace([':', '/'], "_")
        ));
        let mut kept = kept(package, &folder)?;
        if kept.is_none() {
            if self.network == Network::Never {
                bail!(
                    "{} {} or its modules are not in the cache and --offline forbids fetching them: \
                     run `cargo xtask vm --fetch`",
                    package.name,
                    package.version
                );
            }
            self.fetch_image(suite, package, modules, &folder)?;
            kept = self::kept(package, &folder)?;
        }
        let (record, modules) = kept.context("what was just fetched is not complete")?;
        Ok((folder.join("vmlinuz"), modules, record))
    }

    fn fetch_image(
        &self,
        suite: &str,
        package: &KernelPackage,
        modules: Option<&KernelPackage>,
        folder: &Path,
    ) -> Result<()> {
        let unpacked = folder.join("unpacked");
        self.unpack(suite, package, folder)?;
        let image = find_image(&unpacked)
            .with_context(|| format!("{} holds no kernel image", package.name))?;
        let kept = folder.join("vmlinuz");
        fs::rename(&image, &kept).with_context(|| format!("keeping {}", kept.display()))?;
        if !modules::are_in(&unpacked) {
            let package = modules.with_context(|| {
                format!(
                    "neither {} nor a package beside it holds modules",
                    package.name
                )
            })?;
            self.unpack(suite, package, folder)?;
        }
        let modules = modules::keep(&unpacked, folder)?;
        fs::remove_dir_all(&unpacked).context("removing the unpacked package")?;
        let record = Record {
            package: package.name.clone(),
            version: package.version.clone(),
            release: package.release.clone(),
            package_sha256: package.sha256.clone(),
            image_sha256: digest::of_file(&kept)?,
            modules,
        };
        let text = serde_json::to_string_pretty(&record).context("writing the kernel's record")?;
        fs::write(folder.join("record.json"), text + "\n").context("writing the kernel's record")
    }

    /// Fetches a package and unpacks it to `unpacked` in `folder`.
    fn unpack(&self, suite: &str, package: &KernelPackage, folder: &Path) -> Result<()> {
        let address = self.folder.join(format!("indexes/{suite}.repository"));
        let repository = fs::read_to_string(&address)
            .with_context(|| format!("reading {}; run with --fetch", address.display()))?;
        let unpacked = folder.join("unpacked");
        fs::create_dir_all(&unpacked).with_context(|| format!("making {}", unpacked.display()))?;
        let archive = folder.join("package.deb");
        download(
            &format!("{}{}", repository.trim(), package.path),
            &archive,
            Some(&package.sha256),
        )?;
        process::run(
            Command::new("dpkg-deb")
                .arg("--extract")
                .args([&archive, &unpacked]),
        )?;
        fs::remove_file(&archive).context("removing the package")
    }
}

/// The record and the modules of `package`, if `folder` holds all of it, unchanged.
fn kept(package: &KernelPackage, folder: &Path) -> Result<Option<(Record, Vec<PathBuf>)>> {
    let note = folder.join("record.json");
    if !note.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&note).with_context(|| format!("reading {}", note.display()))?;
    let record: Record =
        serde_json::from_str(&text).with_context(|| format!("reading {}", note.display()))?;
    let image = folder.join("vmlinuz");
    if record.package_sha256 != package.sha256 || digest::of_file(&image)? != record.image_sha256 {
        bail!(
            "{} is not what the signed index names: delete {} and fetch again",
            image.display(),
            folder.display()
        );
    }
    let modules = modules::checked(folder, &record.modules)?;
    Ok(modules.map(|modules| (record, modules)))
}

/// Where a package keeps its kernel: `boot/vmlinuz-RELEASE`, or since 7.3
/// `usr/lib/modules/RELEASE/vmlinuz`.
fn find_image(unpacked: &Path) -> Option<PathBuf> {
    let entries = |folder: &str| {
        fs::read_dir(unpacked.join(folder))
            .into_iter()
            .flatten()
            .flatten()
    };
    let in_boot = entries("boot")
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))
        .map(|entry| entry.path());
    let beside_modules = entries("usr/lib/modules").map(|entry| entry.path().join("vmlinuz"));
    in_boot.chain(beside_modules).find(|path| path.is_file())
}

/// The repositories that apt is configured for, in its order.
fn repositories() -> Result<Vec<String>> {
    let listing = process::read(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(IDENTIFIER) $(REPO_URI)",
    ]))
    .context("asking apt for its repositories")?;
    let mut seen = HashSet::new();
    Ok(listing
        .lines()
        .filter_map(|line| line.strip_prefix("Packages "))
        .filter(|repository| seen.insert(*repository))
        .map(str::to_owned)
        .collect())
}

/// Fetches `address` into `file`; where a digest is given, nothing else is ever left there.
fn download(address: &str, file: &Path, sha256: Option<&str>) -> Result<()> {
    let mut command = Command::new(APT_HELPER);
    command
        .arg("-qq")
        .arg("download-file")
        .arg(address)
        .arg(file);
    if let Some(sha256) = sha256 {
        command.arg(format!("SHA256:{sha256}"));
    }
    process::read(&mut command).context("downloading")?;
    Ok(())
}

/// The text of a clear-signed file, once a key of the distribution's keyring vouches for it.
///
/// A release file carries several signatures, some by keys younger than the keyring: one valid
/// signature is enough, and a bad one refuses the file.
fn signed_text(path: &Path) -> Result<String> {
    let text = path.with_extension("verified");
    let output = Command::new("gpgv")
        .args(["--keyring", KEYRING, "--status-fd", "1", "--output"])
        .args([&text, path])
        .output()
        .context("starting gpgv to check the package index")?;
    let status = String::from_utf8_lossy(&output.stdout);
    let says = |word: &str| {
        status.lines().any(|line| {
            line.strip_prefix("[GNUPG:] ")
                .is_some_and(|l| l.starts_with(word))
        })
    };
    if !says("VALIDSIG") || says("BADSIG") {
        bail!(
            "no key of {KEYRING} vouches for {}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let verified =
        fs::read_to_string(&text).with_context(|| format!("reading {}", text.display()))?;
    fs::remove_file(&text).with_context(|| format!("removing {}", text.display()))?;
    Ok(verified)
}
