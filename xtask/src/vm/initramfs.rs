//! Collecting the guest's files: programs with every library they load, at the paths they have
//! here, so that run paths and paths compiled into a test stay right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result};

use super::archive::{Archive, Entry};
use crate::process;

/// A file or folder of this machine that the guest gets too: `PATH` or `PATH:DESTINATION`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Addition {
    pub(crate) source: PathBuf,
    pub(crate) destination: PathBuf,
}

impl FromStr for Addition {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (source, destination) = text.split_once(':').unwrap_or((text, text));
        let absolute = |path: &str| {
            std::path::absolute(path).with_context(|| format!("`{path}` is not a path"))
        };
        Ok(Self {
            source: absolute(source)?,
            destination: absolute(destination)?,
        })
    }
}

/// The guest's first and only root file system.
pub(crate) struct Initramfs(Archive);

impl Initramfs {
    /// Begins with `init` as the first process and the devices that it needs before `/dev` is
    /// mounted.
    pub(crate) fn new(init: &Path) -> Result<Self> {
        let mut archive = Archive::default();
        archive.add("/dev/console", Entry::Device { major: 5, minor: 1 });
        for folder in ["/proc", "/sys", "/tmp", "/run", "/root", "/var/tmp", "/etc"] {
            archive.add(folder, Entry::Folder);
        }
        let accounts = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
        archive.add("/etc/passwd", text(accounts));
        archive.add("/etc/group", text("root:x:0:\nnogroup:x:65534:\n"));
        let mut this = Self(archive);
        this.add(&Addition {
            source: init.to_owned(),
            destination: "/init".into(),
        })?;
        Ok(this)
    }

    /// Adds a text file.
    pub(crate) fn add_text(&mut self, path: &str, content: &str) {
        self.0.add(path, text(content));
    }

    /// Adds a file, or a folder with all it holds, and the libraries of every program in it.
    pub(crate) fn add(&mut self, addition: &Addition) -> Result<()> {
        let Addition {
            source,
            destination,
        } = addition;
        let about =
            fs::metadata(source).with_context(|| format!("inspecting {}", source.display()))?;
        if about.is_dir() {
            let entries = fs::read_dir(source)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .with_context(|| format!("listing {}", source.display()))?;
            self.0.add(name_of(destination)?, Entry::Folder);
            for entry in entries {
                // A dangling link or a socket is nothing that a test could read.
                if entry.path().is_file() || entry.path().is_dir() {
                    self.add(&Addition {
                        source: entry.path(),
                        destination: destination.join(entry.file_name()),
                    })?;
                }
            }
            return Ok(());
        }
        let content = fs::read(source).with_context(|| format!("reading {}", source.display()))?;
        let is_program = content.starts_with(b"\x7fELF");
        self.0.add(
            name_of(destination)?,
            Entry::File {
                mode: about.permissions().mode() & 0o777,
                content,
            },
        );
        if is_program {
            for library in libraries(source) {
                if !self.0.contains(name_of(&library)?) {
                    let content = fs::read(&library)
                        .with_context(|| format!("reading {}", library.display()))?;
                    self.0.add(
                        name_of(&library)?,
                        Entry::File {
                            mode: 0o755,
                            content,
                        },
                    );
                }
            }
        }
        Ok(())
    }

    /// The archive, uncompressed: an emulated guest would spend longer unpacking it than QEMU
    /// takes to hand it over.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        self.0.to_bytes()
    }
}

fn text(content: &str) -> Entry {
    Entry::File {
        mode: 0o644,
        content: content.as_bytes().to_vec(),
    }
}

fn name_of(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| {
        format!(
            "{} is not UTF-8, which the guest's paths are",
            path.display()
        )
    })
}

/// What the dynamic loader would map for `program`; nothing for a static program, an object file
/// or one whose libraries are not here.
fn libraries(program: &Path) -> Vec<PathBuf> {
    process::read(Command::new("ldd").arg(program))
        .map(|listing| parse_libraries(&listing))
        .unwrap_or_default()
}

/// The paths in the output of `ldd`.
fn parse_libraries(listing: &str) -> Vec<PathBuf> {
    listing
        .lines()
        .filter_map(|line| {
            let (name, found) = line.split_once("=>").unwrap_or(("", line));
            let path = found.split_whitespace().next().unwrap_or(name);
            path.starts_with('/').then(|| path.into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_in_what_ldd_prints() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                       \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                       \tlibgone.so => not found\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            parse_libraries(listing),
            [
                PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"),
                PathBuf::from("/lib64/ld-linux-x86-64.so.2"),
            ]
        );
        assert!(parse_libraries("\tstatically linked\n").is_empty());
    }

    #[test]
    fn an_addition_lands_where_it_came_from_unless_told_otherwise() {
        let here: Addition = "/bin/sh".parse().expect("a path");
        assert_eq!(here.destination, Path::new("/bin/sh"));
        let there: Addition = "/bin/sh:/bin/dash".parse().expect("two paths");
        assert_eq!(there.destination, Path::new("/bin/dash"));
    }
}
