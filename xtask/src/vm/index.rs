//! Reading a Debian suite's index: the signed release file and the list of packages.
//!
//! Formats: <https://wiki.debian.org/DebianRepository/Format>. Signatures are checked by gpgv
//! before anything here sees the text.

use anyhow::{Result, bail};

use super::series::{self, Series};

/// A file that the release file vouches for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vouched {
    /// SHA-256 in lower-case hexadecimal.
    pub(crate) sha256: String,
    /// Relative to the suite's folder.
    pub(crate) path: String,
}

/// A package that holds a kernel image, or the modules of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KernelPackage {
    /// For example `linux-image-6.1.0-50-cloud-amd64`.
    pub(crate) name: String,
    /// The kernel's own release without its flavour, for example `6.1.0-50`.
    pub(crate) release: String,
    /// The package's version.
    pub(crate) version: String,
    /// Relative to the repository's folder.
    pub(crate) path: String,
    /// SHA-256 in lower-case hexadecimal.
    pub(crate) sha256: String,
}

/// The flavour made for virtual machines: small, and without an initramfs of its own it boots.
const FLAVOUR: &str = "-cloud-amd64";
/// Until 7.1 the image package holds the kernel; from 7.2 on an image package only depends on a
/// binary package.
const PREFIXES: [&str; 2] = ["linux-binary-", "linux-image-"];

/// Finds what the release file says about `path`, after checking that it is the release file of
/// `suite`: a correctly signed file of another suite must not pass for it.
pub(crate) fn vouched(release: &str, suite: &str, path: &str) -> Result<Vouched> {
    let named = |key: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    };
    if named("Codename") != Some(suite) && named("Suite") != Some(suite) {
        bail!(
            "the release file is that of {}, not of {suite}",
            named("Codename").unwrap_or("an unnamed suite")
        );
    }
    let digests = release
        .lines()
        .skip_while(|line| *line != "SHA256:")
        .skip(1)
        .take_while(|line| line.starts_with(' '));
    for line in digests {
        let mut words = line.split_whitespace();
        if let (Some(sha256), Some(_size), Some(name)) = (words.next(), words.next(), words.next())
            && name == path
        {
            return Ok(Vouched {
                sha256: sha256.to_owned(),
                path: path.to_owned(),
            });
        }
    }
    bail!("the release file of {suite} lists no {path}")
}

/// Every kernel image in a list of packages.
pub(crate) fn kernels(packages: &str) -> Vec<KernelPackage> {
    packages.split("\n\n").filter_map(kernel).collect()
}

/// The newest kernel of `series`, or when the series has left the index, the newest there.
pub(crate) fn choose(kernels: &[KernelPackage], series: Series) -> Option<&KernelPackage> {
    let newest = |of_series: Option<Series>| {
        kernels
            .iter()
            .filter(|kernel| {
                of_series.is_none() || series::of_release(&kernel.release) == of_series
            })
            // Of two packages for one release the binary one holds the image.
            .max_by(|one, other| {
                series::compare_releases(&one.release, &other.release)
                    .then_with(|| other.name.cmp(&one.name))
            })
    };
    newest(Some(series)).or_else(|| newest(None))
}

/// The package that holds the modules of `kernel`, where they are not in its own.
pub(crate) fn modules(packages: &str, kernel: &KernelPackage) -> Option<KernelPackage> {
    packages
        .split("\n\n")
        .filter_map(|stanza| package(stanza, &["linux-modules-"]))
        .find(|found| found.release == kernel.release && found.version == kernel.version)
}

fn kernel(stanza: &str) -> Option<KernelPackage> {
    package(stanza, &PREFIXES)
}

fn package(stanza: &str, prefixes: &[&str]) -> Option<KernelPackage> {
    let field = |key: &str| {
        stanza
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    };
    let name = field("Package")?;
    let release = prefixes
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?
        .strip_suffix(FLAVOUR)?;
    series::of_release(release)?;
    Some(KernelPackage {
        name: name.to_owned(),
        release: release.to_owned(),
        version: field("Version")?.to_owned(),
        path: field("Filename")?.to_owned(),
        sha256: field("SHA256")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "Origin: Debian\nSuite: oldstable\nCodename: bookworm\nMD5Sum:\n \
        00 12 main/binary-amd64/Packages.xz\nSHA256:\n aa 10 main/binary-amd64/Packages.gz\n \
        bb 12 main/binary-amd64/Packages.xz\n";

    fn stanza(name: &str) -> String {
        format!(
            "Package: {name}\nVersion: 1\nFilename: pool/{name}.deb\nSHA256: cc\nDescription: x\n \
             Package: linux-image-9.9.9-cloud-amd64\n"
        )
    }

    fn index(names: &[&str]) -> Vec<KernelPackage> {
        kernels(
            &names
                .iter()
                .map(|name| stanza(name))
                .collect::<Vec<_>>()
                .join("\n"),
        )
    }

    #[test]
    fn the_digest_comes_from_the_sha256_section() {
        let path = "main/binary-amd64/Packages.xz";
        let found = vouched(RELEASE, "bookworm", path).expect("it is listed");
        assert_eq!(found.sha256, "bb");
        assert!(vouched(RELEASE, "oldstable", path).is_ok());
    }

    #[test]
    fn a_release_file_of_another_suite_is_refused() {
        let error = vouched(RELEASE, "trixie", "main/binary-amd64/Packages.xz")
            .expect_err("bookworm is not trixie");
        assert!(error.to_string().contains("bookworm"), "{error}");
    }

    #[test]
    fn only_cloud_kernels_with_an_image_are_kernels() {
        let found = index(&[
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64-dbg",
            "linux-image-6.1.0-50-cloud-amd64-unsigned",
            "linux-image-6.1.0-50-amd64",
            "linux-image-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].release, "6.1.0-50");
        assert_eq!(found[0].path, "pool/linux-image-6.1.0-50-cloud-amd64.deb");
    }

    #[test]
    fn the_newest_of_the_series_is_chosen_and_its_binary_package_preferred() {
        let found = index(&[
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.3+deb13-cloud-amd64",
            "linux-binary-7.2.12+deb13-cloud-amd64",
        ]);
        let chosen = choose(&found, Series(7, 3)).expect("there is one");
        assert_eq!(chosen.name, "linux-binary-7.3.4+deb13-cloud-amd64");
    }

    #[test]
    fn modules_are_those_of_the_same_build() {
        let names = [
            "linux-modules-7.3.3+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
        ];
        let listing = names.map(stanza).join("\n");
        let kernel = choose(&kernels(&listing), Series(7, 3))
            .cloned()
            .expect("there is one");
        let found = modules(&listing, &kernel).expect("they have a package");
        assert_eq!(found.name, names[1]);
        let newer = KernelPackage {
            version: "2".into(),
            ..kernel
        };
        assert_eq!(modules(&listing, &newer), None);
    }

    #[test]
    fn a_series_that_left_the_index_is_replaced_by_the_newest() {
        let found = index(&[
            "linux-binary-7.4.1+deb13-cloud-amd64",
            "linux-binary-7.5.2+deb13-cloud-amd64",
        ]);
        let chosen = choose(&found, Series(7, 3)).expect("there is one");
        assert_eq!(chosen.release, "7.5.2+deb13");
        assert_eq!(choose(&[], Series(7, 3)), None);
    }
}
