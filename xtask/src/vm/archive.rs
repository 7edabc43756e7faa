//! Writing a cpio archive in the `newc` format, the one that the kernel unpacks as its first root
//! file system.
//!
//! Format: Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's sources.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Every header field is eight hexadecimal digits.
const MAGIC: &[u8] = b"070701";
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// What a path in the archive is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// A folder with mode 0755.
    Folder,
    /// A file with these permission bits.
    File { mode: u32, content: Vec<u8> },
    /// A character device.
    Device { major: u32, minor: u32 },
}

/// A file tree in the making; folders above an entry come by themselves.
#[derive(Debug, Default)]
pub(crate) struct Archive(BTreeMap<String, Entry>);

impl Archive {
    /// Puts `entry` at the absolute `path`, replacing what was there.
    pub(crate) fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            self.0
                .entry(path[..end].to_owned())
                .or_insert(Entry::Folder);
        }
        self.0.insert(path.to_owned(), entry);
    }

    /// Whether something lies at the absolute `path`.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path.trim_start_matches('/'))
    }

    /// The archive's bytes; a folder always precedes what it holds.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (number, (path, entry)) in self.0.iter().enumerate() {
            let inode = u32::try_from(number + 1).context("counting the archive's entries")?;
            write_entry(&mut bytes, inode, path, entry)
                .with_context(|| format!("archiving {path}"))?;
        }
        let end = Entry::File {
            mode: 0,
            content: Vec::new(),
        };
        write_entry(&mut bytes, 0, TRAILER, &end)?;
        Ok(bytes)
    }
}

fn write_entry(bytes: &mut Vec<u8>, inode: u32, path: &str, entry: &Entry) -> Result<()> {
    let (mode, content, device) = match entry {
        Entry::Folder => (0o040_755, [].as_slice(), (0, 0)),
        Entry::File { mode, content } => (0o100_000 | mode, content.as_slice(), (0, 0)),
        Entry::Device { major, minor } => (0o020_600, [].as_slice(), (*major, *minor)),
    };
    let size = u32::try_from(content.len()).context("the format holds files below 4 GiB only")?;
    let name_size = u32::try_from(path.len() + 1).context("the name is too long")?;
    let fields = [
        inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0,
    ];
    bytes.extend_from_slice(MAGIC);
    for field in fields {
        bytes.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    bytes.extend_from_slice(path.as_bytes());
    bytes.push(0);
    pad(bytes);
    bytes.extend_from_slice(content);
    pad(bytes);
    Ok(())
}

/// Names and contents end on a multiple of four bytes.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn file(content: &[u8]) -> Entry {
        Entry::File {
            mode: 0o755,
            content: content.to_vec(),
        }
    }

    #[test]
    fn a_header_is_110_bytes_and_everything_is_padded_to_four() {
        let mut archive = Archive::default();
        archive.add("/init", file(b"hello"));
        let bytes = archive.to_bytes().expect("a small archive");
        assert_eq!(&bytes[..6], MAGIC);
        assert_eq!(&bytes[54..62], b"00000005", "file size");
        assert_eq!(
            &bytes[94..102],
            b"00000005" as &[u8],
            "name size with its NUL"
        );
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..121], b"hello");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn folders_above_an_entry_come_before_it() {
        let mut archive = Archive::default();
        archive.add("/a/b/c", file(b""));
        let names: Vec<_> = archive.0.keys().cloned().collect();
        assert_eq!(names, ["a", "a/b", "a/b/c"]);
    }

    #[test]
    fn a_folder_that_is_already_there_keeps_what_it_is() {
        let mut archive = Archive::default();
        archive.add("/dev/console", Entry::Device { major: 5, minor: 1 });
        archive.add("/dev/null", Entry::Device { major: 1, minor: 3 });
        assert!(archive.contains("/dev/console"));
        assert_eq!(archive.0["dev"], Entry::Folder);
    }

    #[test]
    fn cpio_itself_lists_what_was_written() {
        let mut archive = Archive::default();
        archive.add("/bin/tool", file(&[7; 1001]));
        archive.add("/init", file(b"x"));
        let bytes = archive.to_bytes().expect("a small archive");
        let Ok(mut cpio) = Command::new("cpio")
            .args(["--list", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            let remedy = "cpio is not installed: run scripts/setup";
            assert!(std::env::var_os("CI").is_none(), "{remedy}");
            eprintln!("skipped cpio_itself_lists_what_was_written: {remedy}");
            return;
        };
        cpio.stdin
            .take()
            .expect("stdin is piped")
            .write_all(&bytes)
            .expect("cpio reads its input");
        let output = cpio.wait_with_output().expect("cpio ends");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "bin\nbin/tool\ninit\n"
        );
    }
}
