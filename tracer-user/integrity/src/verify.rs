//! Compares a model with what it must be.

use std::collections::BTreeSet;

use crate::{
    digest::ContentDigest,
    expected::{Expected, ExpectedFile},
    guarantee::{Assurance, Guarantee},
    hash::{self, Contents, HashError, Hashed, Options, Progress, Target},
    ignore::Ignored,
    lease::Leases,
    tree::{Entry, EntryKind, Tree, TreeError},
};

/// What counts as wrong beside the digests.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Names that need not be expected.
    pub ignored: Ignored,
    /// Whether files that nothing is known of are accepted.
    pub ignore_unsigned: bool,
}

/// How the comparison ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every expected file is there, has its digest, and could not have changed meanwhile.
    Verified,
    /// At least one file is wrong, missing or unexpected.
    NotVerified,
    /// No file is wrong, but for at least one nothing can be vouched for.
    Undetermined,
}

/// The result for a whole model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Every expected file, and every other that counts as wrong; sorted by name.
    pub files: Vec<FileResult>,
    /// Names that were left out of the comparison, as the rules have them.
    pub ignored: Vec<String>,
    /// Whether unexpected files were accepted unseen.
    pub unsigned_ignored: bool,
}

/// The result for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileResult {
    /// Its name in the model.
    pub name: String,
    /// What was found.
    pub finding: Finding,
}

/// What was found of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It has the digests that it must have.
    Match {
        /// Its digest, or that of its first shard.
        digest: Option<ContentDigest>,
        /// Whether that is the digest of the whole file.
        whole: bool,
        /// Bytes.
        size: u64,
        /// How far the digest binds the bytes.
        assurance: Assurance,
    },
    /// Its contents are others.
    Mismatch {
        /// What it must be.
        expected: ContentDigest,
        /// What it is; none where the file ends before.
        found: Option<ContentDigest>,
        /// The first byte of the shard, of a file in shards.
        at: Option<u64>,
    },
    /// It is longer than its shards.
    TooLong {
        /// Bytes that are signed.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Page cache and disk hold different bytes.
    DiskDiffers,
    /// It is not there.
    Missing,
    /// It is there, and nothing is known of it.
    Unexpected(EntryKind),
    /// It could not be hashed.
    Failed(String),
}

impl Finding {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Match { assurance, .. } if assurance.guarantee == Guarantee::Unstable => {
                Outcome::Undetermined
            }
            Self::Match { .. } => Outcome::Verified,
            Self::Failed(_) => Outcome::Undetermined,
            Self::Mismatch { .. }
            | Self::TooLong { .. }
            | Self::DiskDiffers
            | Self::Missing
            | Self::Unexpected(_) => Outcome::NotVerified,
        }
    }
}

impl FileResult {
    /// What the finding means for the model.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.finding.outcome()
    }
}

impl Verification {
    /// How it ended. Nothing expected is nothing verified.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let has = |outcome| self.files.iter().any(|file| file.outcome() == outcome);
        if has(Outcome::NotVerified) {
            Outcome::NotVerified
        } else if has(Outcome::Undetermined) || self.files.is_empty() {
            Outcome::Undetermined
        } else {
            Outcome::Verified
        }
    }

    /// The weakest guarantee of all files that match.
    #[must_use]
    pub fn guarantee(&self) -> Option<Guarantee> {
        self.files
            .iter()
            .filter_map(|file| match &file.finding {
                Finding::Match { assurance, .. } => Some(assurance.guarantee),
                _ => None,
            })
            .min()
    }

    /// Bytes of all files that match.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .map(|file| match file.finding {
                Finding::Match { size, .. } => size,
                _ => 0,
            })
            .sum()
    }
}

/// Looks a model through, hashes what is expected and compares.
///
/// # Errors
/// If the model's folders cannot be read.
pub fn verify(
    tree: &Tree,
    expected: &Expected,
    rules: &Rules,
    leases: &Leases,
    options: Options,
    progress: &Progress,
) -> Result<Verification, TreeError> {
    let entries = tree.entries(&rules.ignored)?;
    let targets: Vec<Target<'_>> = expected
        .files()
        .iter()
        .map(|file| Target {
            contents: Contents::InTree(tree, &file.name),
            algorithm: file.algorithm,
            shard_size: file.shard_size,
            size_hint: size_of(&entries, &file.name),
        })
        .collect();
    let hashed = hash::hash(&targets, leases, options, progress);
    let mut files: Vec<FileResult> = std::iter::zip(expected.files(), hashed)
        .map(|(file, hashed)| FileResult {
            name: file.name.clone(),
            finding: finding(file, hashed),
        })
        .collect();
    if !rules.ignore_unsigned {
        // Once more: what appeared while the others were hashed is there as well.
        let mut unexpected = BTreeSet::from_iter(entries);
        unexpected.extend(tree.entries(&rules.ignored)?);
        files.extend(unexpected.into_iter().filter_map(|Entry { name, kind }| {
            let known = expected
                .files()
                .binary_search_by(|file| file.name.as_str().cmp(&name))
                .is_ok();
            // Shards do not tell of empty files.
            let is_empty_beside_shards = kind == EntryKind::File(0)
                && expected
                    .files()
                    .iter()
                    .all(|file| file.shard_size.is_some());
            (!known && !is_empty_beside_shards).then_some(FileResult {
                name,
                finding: Finding::Unexpected(kind),
            })
        }));
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
    }
    Ok(Verification {
        files,
        ignored: rules.ignored.names().to_vec(),
        unsigned_ignored: rules.ignore_unsigned,
    })
}

fn size_of(entries: &[Entry], name: &str) -> u64 {
    entries
        .binary_search_by(|entry| entry.name.as_str().cmp(name))
        .map_or(0, |found| match entries[found].kind {
            EntryKind::File(size) => size,
            _ => 0,
        })
}

/// Compares a file with what it must be.
pub(crate) fn finding(expected: &ExpectedFile, hashed: Result<Hashed, HashError>) -> Finding {
    let hashed = match hashed {
        Ok(hashed) => hashed,
        Err(error) if error.is_missing() => return Finding::Missing,
        Err(error) => return Finding::Failed(error.to_string()),
    };
    let in_shards = expected.shard_size.is_some();
    for (number, piece) in expected.pieces.iter().enumerate() {
        let found = hashed.pieces.get(number);
        let same_range = |range| {
            let wanted = piece.range.as_ref();
            wanted.is_none_or(|wanted| wanted == range)
        };
        let matches =
            found.is_some_and(|found| found.digest == piece.digest && same_range(&found.range));
        if !matches {
            return Finding::Mismatch {
                expected: piece.digest.clone(),
                found: found.map(|found| found.digest.clone()),
                at: piece.range.as_ref().map(|range| range.start),
            };
        }
    }
    if in_shards && hashed.pieces.len() > expected.pieces.len() {
        let end = |piece: &crate::expected::ExpectedPiece| piece.range.as_ref().map(|r| r.end);
        return Finding::TooLong {
            expected: expected.pieces.last().and_then(end).unwrap_or(0),
            found: hashed.size,
        };
    }
    if hashed.same_on_disk == Some(false) {
        return Finding::DiskDiffers;
    }
    Finding::Match {
        digest: hashed.pieces.first().map(|piece| piece.digest.clone()),
        whole: !in_shards,
        size: hashed.size,
        assurance: hashed.assurance,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, num::NonZeroU64, path::Path};

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::{
        digest::Algorithm, expected::ExpectedPiece, guarantee::Reason, lease::tests::leases,
        tree::Symlinks,
    };

    const OPTIONS: Options = Options {
        workers: None,
        check_disk: false,
    };

    fn sha256(bytes: &[u8]) -> ContentDigest {
        ContentDigest::new(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
    }

    fn compared(model: &Path, expected: &Expected, ignore_unsigned: bool) -> Verification {
        let tree = Tree::open(model, Symlinks::Refuse).unwrap();
        let rules = Rules {
            ignored: Ignored::git(),
            ignore_unsigned,
        };
        let progress = Progress::default();
        verify(&tree, expected, &rules, &leases(), OPTIONS, &progress).unwrap()
    }

    fn model() -> (tempfile::TempDir, Expected) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        fs::write(folder.path().join(".git/config"), b"not the model's").unwrap();
        let files = ["config", "sub/weights"];
        for name in files {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let digests = files.map(|name| (name.to_owned(), sha256(name.as_bytes())));
        (folder, Expected::of_files(digests))
    }

    fn of<'a>(verification: &'a Verification, name: &str) -> &'a Finding {
        let found = verification.files.iter().find(|file| file.name == name);
        &found.unwrap().finding
    }

    #[test]
    fn a_model_as_it_must_be_is_verified() {
        let (folder, expected) = model();
        let verification = compared(folder.path(), &expected, false);
        assert_eq!(
            verification.outcome(),
            Outcome::Verified,
            "{verification:?}"
        );
        assert_eq!(verification.guarantee(), Some(Guarantee::Leased));
        assert_eq!(verification.files.len(), 2);
    }

    #[test]
    fn a_changed_a_missing_and_an_added_file_are_each_named() {
        let (folder, expected) = model();
        fs::write(folder.path().join("config"), b"changed").unwrap();
        fs::remove_file(folder.path().join("sub/weights")).unwrap();
        fs::write(folder.path().join("sub/added"), b"").unwrap();
        std::os::unix::fs::symlink("config", folder.path().join("link")).unwrap();
        let verification = compared(folder.path(), &expected, false);
        assert_eq!(verification.outcome(), Outcome::NotVerified);
        let mismatch = Finding::Mismatch {
            expected: sha256(b"config"),
            found: Some(sha256(b"changed")),
            at: None,
        };
        assert_eq!(*of(&verification, "config"), mismatch);
        assert_eq!(*of(&verification, "sub/weights"), Finding::Missing);
        let file = Finding::Unexpected(EntryKind::File(0));
        assert_eq!(*of(&verification, "sub/added"), file);
        let link = Finding::Unexpected(EntryKind::Symlink);
        assert_eq!(*of(&verification, "link"), link);
    }

    #[test]
    fn unsigned_files_are_accepted_only_when_asked_for() {
        let (folder, expected) = model();
        fs::write(folder.path().join("notes"), b"").unwrap();
        let strict = compared(folder.path(), &expected, false).outcome();
        assert_eq!(strict, Outcome::NotVerified);
        let lenient = compared(folder.path(), &expected, true).outcome();
        assert_eq!(lenient, Outcome::Verified);
    }

    #[test]
    fn a_file_in_place_of_which_there_is_a_link_is_not_verified() {
        let (folder, expected) = model();
        let path = folder.path().join("config");
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        let verification = compared(folder.path(), &expected, true);
        assert_ne!(verification.outcome(), Outcome::Verified);
        assert!(matches!(of(&verification, "config"), Finding::Failed(_)));
    }

    #[test]
    fn a_file_that_somebody_writes_is_never_verified() {
        let (folder, expected) = model();
        let _writer = fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join("config"))
            .unwrap();
        let verification = compared(folder.path(), &expected, false);
        assert_eq!(verification.outcome(), Outcome::Undetermined);
        let Finding::Match { assurance, .. } = of(&verification, "config") else {
            panic!("{verification:?}");
        };
        assert_eq!(assurance.reason, Reason::Writer);
    }

    #[test]
    fn a_file_longer_or_shorter_than_its_shards_is_not_verified() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let shard = |start: usize, bytes: &[u8]| ExpectedPiece {
            range: Some(start as u64..(start + bytes.len()) as u64),
            digest: sha256(bytes),
        };
        let expected = Expected {
            files: vec![ExpectedFile {
                name: "weights".into(),
                algorithm: Algorithm::Sha256,
                shard_size: NonZeroU64::new(4),
                pieces: vec![shard(0, b"abcd"), shard(4, b"efgh")],
            }],
        };
        let outcome = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let verification = compared(folder.path(), &expected, false);
            verification.files[0].finding.clone()
        };
        assert!(matches!(outcome(b"abcdefgh"), Finding::Match { .. }));
        let longer = Finding::TooLong {
            expected: 8,
            found: 9,
        };
        assert_eq!(outcome(b"abcdefghi"), longer);
        for shorter in [&b"abcd"[..], b"abcdefg", b""] {
            assert!(matches!(outcome(shorter), Finding::Mismatch { .. }));
        }
    }

    #[test]
    fn nothing_expected_is_nothing_verified() {
        let folder = tempfile::tempdir().unwrap();
        let verification = compared(folder.path(), &Expected::of_files([]), false);
        assert_eq!(verification.outcome(), Outcome::Undetermined);
    }
}
