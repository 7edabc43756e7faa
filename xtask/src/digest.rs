//! SHA-256 of files and of whole source folders.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// SHA-256 of `bytes`, in lower-case hexadecimal.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 of the file at `path`, in lower-case hexadecimal.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(of_bytes(&bytes))
}

/// A digest over named parts; each part's length is hashed too, so that moving a byte from one
/// part to its neighbour changes the result.
#[derive(Default)]
pub(crate) struct Parts(Sha256);

impl Parts {
    /// Adds `content` under `name`.
    pub(crate) fn add(&mut self, name: &str, content: &[u8]) {
        for piece in [name.as_bytes(), content] {
            // usize is never wider than 64 bits on a supported host.
            self.0.update((piece.len() as u64).to_le_bytes());
            self.0.update(piece);
        }
    }

    /// Adds every file below `folder`, in the order of their names.
    pub(crate) fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let mut entries = fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("listing {}", folder.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry
                .file_type()
                .with_context(|| format!("inspecting {}", path.display()))?;
            if kind.is_dir() {
                self.add_folder(&path)?;
            } else {
                let content =
                    fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                self.add(&entry.file_name().to_string_lossy(), &content);
            }
        }
        Ok(())
    }

    /// The digest, in lower-case hexadecimal.
    pub(crate) fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_fips_180() {
        assert_eq!(
            of_bytes(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_byte_that_moves_to_the_next_part_changes_the_digest() {
        let digest = |first: &[u8], second: &[u8]| {
            let mut parts = Parts::default();
            parts.add("a", first);
            parts.add("a", second);
            parts.finish()
        };
        assert_ne!(digest(b"xy", b"z"), digest(b"x", b"yz"));
    }
}
