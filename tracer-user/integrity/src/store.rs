//! Stores that name each file by its digest, so that they can be checked with nothing else: the
//! caches of Hugging Face (`models--ORG--NAME/blobs/DIGEST`, with links to them in `snapshots`) and
//! of Ollama (`blobs/sha256-DIGEST`, listed in `manifests`). They tell damage and replacement, and
//! say nothing of who published a model.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    digest::{Algorithm, ContentDigest},
    expected::Expected,
    ignore::Ignored,
    tree::{Entry, EntryKind, Symlinks, Tree, TreeError},
};

/// The longest Ollama manifest that is read.
const MAX_MANIFEST: u64 = 4 << 20;

/// A model in a store, with what its names say.
#[derive(Debug)]
pub struct Stored {
    /// The files.
    pub tree: Tree,
    /// Their digests.
    pub expected: Expected,
    /// What is no part of the store.
    pub ignored: Ignored,
    /// Whether other files beside the expected ones belong to other models.
    pub shared: bool,
    /// Whose store it is.
    pub kind: StoreKind,
}

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// `huggingface_hub`'s cache.
    HuggingFace,
    /// Ollama's.
    Ollama,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HuggingFace => "Hugging Face cache",
            Self::Ollama => "Ollama store",
        })
    }
}

/// Why a path is no model in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be looked at.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Nothing in it has its digest for a name.
    #[error("{0} is in no store that names files by their digests")]
    NoStore(PathBuf),
    /// An Ollama manifest that is none.
    #[error("{path} is not an Ollama manifest: {why}")]
    Manifest {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Its files cannot be listed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Opens a model that is compared with something else than its store: of a snapshot in a Hugging
/// Face cache, which is all links, those to its own blobs are followed.
///
/// # Errors
/// If it is not there, or neither file nor folder.
pub fn open_model(path: &Path, symlinks: Symlinks) -> Result<Tree, TreeError> {
    let real = path.canonicalize().ok();
    let snapshot = real
        .as_deref()
        .and_then(|real| Some((real, repository_of(real)?)));
    match snapshot {
        Some((real, repository)) if repository.join("blobs").is_dir() => {
            Tree::open_within(repository, real.strip_prefix(repository).unwrap_or(real))
        }
        _ => Tree::open(path, symlinks),
    }
}

/// The repository of a snapshot's folder.
fn repository_of(folder: &Path) -> Option<&Path> {
    let snapshots = folder.parent()?;
    let is_snapshot = name(snapshots) == Some("snapshots") && folder.is_dir();
    is_snapshot.then(|| snapshots.parent()).flatten()
}

/// Finds out which store a path lies in: a blob or a link to one, a snapshot, a repository's folder,
/// a folder of blobs, a manifest, or all of Ollama's models.
///
/// # Errors
/// If it lies in none, or cannot be read.
pub fn find(path: &Path) -> Result<Stored, StoreError> {
    let real = path.canonicalize().map_err(|cause| StoreError::Io {
        path: path.to_owned(),
        cause,
    })?;
    let found = if real.is_file() {
        match named_by_digest(&real) {
            Some(blob) => Some(one_blob(&real, blob)?),
            None if is_below(&real, "manifests") => Some(ollama_manifest(&real)?),
            None => None,
        }
    } else if real.join("blobs").is_dir() {
        Some(all_blobs(&real.join("blobs"))?)
    } else if name(&real) == Some("blobs") {
        Some(all_blobs(&real)?)
    } else {
        snapshot(&real)?
    };
    found
        .filter(|stored| !stored.expected.files().is_empty())
        .ok_or_else(|| StoreError::NoStore(path.to_owned()))
}

/// What the name of a blob in a store says of it; `None` for any other path.
#[must_use]
pub fn named_by_digest(path: &Path) -> Option<(StoreKind, ContentDigest)> {
    if name(path.parent()?) != Some("blobs") {
        return None;
    }
    named(name(path)?)
}

fn named(name: &str) -> Option<(StoreKind, ContentDigest)> {
    if let Some(hex) = name.strip_prefix("sha256-") {
        let digest = ContentDigest::from_hex(Algorithm::Sha256, hex)?;
        return Some((StoreKind::Ollama, digest));
    }
    // Files in large-file storage by SHA-256, the others as git names them.
    let digest = [Algorithm::Sha256, Algorithm::GitSha1]
        .into_iter()
        .find_map(|algorithm| ContentDigest::from_hex(algorithm, name))?;
    Some((StoreKind::HuggingFace, digest))
}

fn one_blob(path: &Path, (kind, digest): (StoreKind, ContentDigest)) -> Result<Stored, StoreError> {
    let tree = Tree::open(path, Symlinks::Refuse)?;
    let name = tree.name();
    Ok(Stored {
        tree,
        expected: Expected::of_files([(name, digest)]),
        ignored: Ignored::default(),
        shared: false,
        kind,
    })
}

/// A folder of blobs, each under its digest. What is not finished yet has another name.
fn all_blobs(folder: &Path) -> Result<Stored, StoreError> {
    let tree = Tree::open(folder, Symlinks::Refuse)?;
    let mut kind = StoreKind::HuggingFace;
    let mut expected = Vec::new();
    let mut ignored = Ignored::default();
    for Entry { name, .. } in tree.entries(&Ignored::default())? {
        match named(&name) {
            Some((found, digest)) => {
                kind = found;
                expected.push((name, digest));
            }
            None if is_unfinished(&name) => ignored.extend([name.as_str()]),
            // Nothing is known of it; it will count as unexpected.
            None => {}
        }
    }
    Ok(Stored {
        tree,
        expected: Expected::of_files(expected),
        ignored,
        shared: false,
        kind,
    })
}

fn is_unfinished(name: &str) -> bool {
    let ends = |end: &str| name.ends_with(end);
    ends(".incomplete") || ends(".lock") || name.contains("-partial")
}

/// A snapshot is made of links to the blobs of its repository.
fn snapshot(folder: &Path) -> Result<Option<Stored>, StoreError> {
    let Some(repository) = repository_of(folder) else {
        return Ok(None);
    };
    let blobs = repository.join("blobs");
    let inside = folder.strip_prefix(repository).unwrap_or(folder);
    let tree = Tree::open_within(repository, inside)?;
    let mut expected = Vec::new();
    for Entry { name, kind } in tree.entries(&Ignored::default())? {
        if !matches!(kind, EntryKind::File(_)) {
            continue;
        }
        let target = folder.join(&name).canonicalize();
        // A file that is no link to a blob has no digest; it will count as unexpected.
        if let Ok(target) = target
            && target.parent() == Some(&blobs)
            && let Some((_, digest)) = named_by_digest(&target)
        {
            expected.push((name, digest));
        }
    }
    Ok(Some(Stored {
        tree,
        expected: Expected::of_files(expected),
        ignored: Ignored::default(),
        shared: false,
        kind: StoreKind::HuggingFace,
    }))
}

#[derive(Deserialize)]
struct OllamaManifest {
    config: Layer,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    digest: String,
}

/// One Ollama model: its manifest lists the blobs, which lie beside `manifests`.
fn ollama_manifest(path: &Path) -> Result<Stored, StoreError> {
    let refused = |why: String| StoreError::Manifest {
        path: path.to_owned(),
        why,
    };
    let mut text = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(MAX_MANIFEST + 1).read_to_end(&mut text));
    read.map_err(|cause| StoreError::Io {
        path: path.to_owned(),
        cause,
    })?;
    if text.len() as u64 > MAX_MANIFEST {
        return Err(refused(format!(
            "it is longer than {} MiB",
            MAX_MANIFEST >> 20
        )));
    }
    let manifest: OllamaManifest =
        serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    let expected = std::iter::once(&manifest.config)
        .chain(&manifest.layers)
        .map(|layer| {
            let hex = layer.digest.strip_prefix("sha256:");
            let digest = hex.and_then(|hex| ContentDigest::from_hex(Algorithm::Sha256, hex));
            digest
                .map(|digest| (format!("sha256-{}", digest.hex()), digest))
                .ok_or_else(|| refused(format!("`{}` is no SHA-256 digest", layer.digest)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let store = path
        .ancestors()
        .find(|folder| name(folder) == Some("manifests"))
        .and_then(Path::parent)
        .ok_or_else(|| StoreError::NoStore(path.to_owned()))?;
    Ok(Stored {
        tree: Tree::open(&store.join("blobs"), Symlinks::Refuse)?,
        expected: Expected::of_files(expected),
        ignored: Ignored::default(),
        shared: true,
        kind: StoreKind::Ollama,
    })
}

fn is_below(path: &Path, folder: &str) -> bool {
    path.ancestors()
        .skip(1)
        .any(|above| name(above) == Some(folder))
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{
        hash::{Options, Progress},
        lease::tests::leases,
        verify::{Outcome, Rules, Verification, verify},
    };

    fn hex(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = crate::digest::Hasher::new(algorithm, bytes.len() as u64);
        hasher.update(bytes);
        hasher.finish().hex()
    }

    fn checked(path: &Path) -> Verification {
        let stored = find(path).unwrap();
        let rules = Rules {
            ignored: stored.ignored,
            ignore_unsigned: stored.shared,
        };
        let options = Options {
            workers: None,
            check_disk: false,
        };
        let progress = Progress::default();
        verify(
            &stored.tree,
            &stored.expected,
            &rules,
            &leases(),
            options,
            &progress,
        )
        .unwrap()
    }

    /// A cache as `huggingface_hub` lays it out.
    fn hugging_face(folder: &Path) -> PathBuf {
        let repository = folder.join("models--org--name");
        let snapshot = repository.join("snapshots/0123abcd");
        fs::create_dir_all(snapshot.join("sub")).unwrap();
        fs::create_dir_all(repository.join("blobs")).unwrap();
        let large = hex(Algorithm::Sha256, b"weights");
        let small = hex(Algorithm::GitSha1, b"config");
        fs::write(repository.join("blobs").join(&large), b"weights").unwrap();
        fs::write(repository.join("blobs").join(&small), b"config").unwrap();
        fs::write(repository.join("blobs/abc.incomplete"), b"").unwrap();
        symlink(
            format!("../../../blobs/{large}"),
            snapshot.join("sub/weights"),
        )
        .unwrap();
        symlink(format!("../../blobs/{small}"), snapshot.join("config.json")).unwrap();
        repository
    }

    #[test]
    fn a_hugging_face_snapshot_repository_and_blob_verify_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let repository = hugging_face(folder.path());
        let snapshot = repository.join("snapshots/0123abcd");
        for path in [
            &snapshot,
            &repository,
            &repository.join("blobs"),
            &snapshot.join("sub/weights"),
        ] {
            let verification = checked(path);
            assert_eq!(
                verification.outcome(),
                Outcome::Verified,
                "{verification:?}"
            );
        }
        assert_eq!(checked(&snapshot).files.len(), 2);
    }

    #[test]
    fn a_changed_blob_and_a_file_that_is_no_link_do_not_verify() {
        let folder = tempfile::tempdir().unwrap();
        let repository = hugging_face(folder.path());
        let snapshot = repository.join("snapshots/0123abcd");
        fs::write(snapshot.join("extra.py"), b"import os").unwrap();
        assert_eq!(checked(&snapshot).outcome(), Outcome::NotVerified);
        fs::remove_file(snapshot.join("extra.py")).unwrap();
        let blob = repository
            .join("blobs")
            .join(hex(Algorithm::Sha256, b"weights"));
        fs::write(blob, b"wEights").unwrap();
        assert_eq!(checked(&snapshot).outcome(), Outcome::NotVerified);
        assert_eq!(checked(&repository).outcome(), Outcome::NotVerified);
    }

    #[test]
    fn a_snapshot_that_leads_out_of_its_repository_does_not_verify() {
        let folder = tempfile::tempdir().unwrap();
        let repository = hugging_face(folder.path());
        let snapshot = repository.join("snapshots/0123abcd");
        let outside = folder.path().join("blobs");
        fs::create_dir(&outside).unwrap();
        let name = hex(Algorithm::Sha256, b"evil");
        fs::write(outside.join(&name), b"evil").unwrap();
        symlink(outside.join(name), snapshot.join("evil")).unwrap();
        assert_eq!(checked(&snapshot).outcome(), Outcome::NotVerified);
    }

    #[test]
    fn an_ollama_model_verifies_by_its_manifest_and_names_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder
            .path()
            .join("manifests/registry.ollama.ai/library/tiny");
        fs::create_dir_all(&manifests).unwrap();
        fs::create_dir(folder.path().join("blobs")).unwrap();
        let digests = [&b"config"[..], b"weights"].map(|bytes| hex(Algorithm::Sha256, bytes));
        let blob = |digest: &str| folder.path().join(format!("blobs/sha256-{digest}"));
        fs::write(blob(&digests[0]), b"config").unwrap();
        fs::write(blob(&digests[1]), b"weights").unwrap();
        let other = hex(Algorithm::Sha256, b"another model's");
        fs::write(blob(&other), b"another model's").unwrap();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": { "digest": format!("sha256:{}", digests[0]), "size": 6 },
            "layers": [{ "digest": format!("sha256:{}", digests[1]), "size": 7 }],
        });
        let path = manifests.join("latest");
        fs::write(&path, manifest.to_string()).unwrap();
        assert_eq!(checked(&path).outcome(), Outcome::Verified);
        assert_eq!(checked(folder.path()).files.len(), 3);
        fs::remove_file(blob(&digests[1])).unwrap();
        assert_eq!(checked(&path).outcome(), Outcome::NotVerified);
        fs::write(&path, manifest.to_string().replace("sha256:", "sha256:../")).unwrap();
        assert!(matches!(find(&path), Err(StoreError::Manifest { .. })));
    }

    #[test]
    fn what_is_in_no_store_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("weights"), b"x").unwrap();
        for path in [folder.path().to_owned(), folder.path().join("weights")] {
            assert!(matches!(find(&path), Err(StoreError::NoStore(_))));
        }
        let missing = find(&folder.path().join("missing"));
        assert!(matches!(missing, Err(StoreError::Io { .. })));
    }
}
