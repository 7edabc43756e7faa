//! What a model consists of, checked so far that it can be compared with files: names that stay
//! inside the model, each once, and shards that cover their file without gap or overlap.

use std::{collections::HashMap, num::NonZeroU64, ops::Range};

use sha2::{Digest as _, Sha256};

use crate::digest::{Algorithm, ContentDigest};

/// The name of a model's only file in bundles of the Python reference.
const ONLY_FILE: &str = ".";
/// Bytes of a name; the longest path that Linux takes.
const MAX_NAME: usize = 4096;

/// The files of a model with their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    model: String,
    serialization: Serialization,
    algorithm: Algorithm,
    allow_symlinks: bool,
    ignore_paths: Vec<String>,
    /// In the order of the statement, in which the root digest is made.
    resources: Vec<Resource>,
}

/// How files become resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serialization {
    /// Each file is one.
    Files,
    /// Each run of so many bytes of a file is one; an empty file is none.
    Shards(NonZeroU64),
}

/// One file or shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The file's name in the model; `.` for the only file of a model that is one.
    pub path: String,
    /// The part of the file; all of it unless in shards.
    pub range: Option<Range<u64>>,
    /// Its digest.
    pub digest: ContentDigest,
}

/// Why a manifest cannot be compared with files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// An empty model is not signed.
    #[error("the statement lists no files")]
    Empty,
    /// A name that no file of a model can have.
    #[error("the resource name `{name}` {why}")]
    Name {
        /// As it stands there.
        name: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// Two digests for one file.
    #[error("`{0}` is listed twice")]
    Twice(String),
    /// A name is a file's and a folder's at once.
    #[error("`{0}` is listed as a file and as a folder")]
    FileAndFolder(String),
    /// A shard does not begin where the one before ends, or has another size.
    #[error("the shards of `{path}` do not cover it: {found:?} stands where {expected} begins")]
    Shards {
        /// The file.
        path: String,
        /// The shard that does not fit.
        found: Range<u64>,
        /// The byte at which the next shard must begin.
        expected: u64,
    },
    /// The subject is not what the resources add up to.
    #[error("the statement's subject is {found}, and its resources add up to {expected}")]
    Root {
        /// The subject's digest.
        found: String,
        /// The digest of the resources.
        expected: String,
    },
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or far too much.
    #[error("is empty or longer than {MAX_NAME} bytes")]
    Length,
    /// It begins with `/`.
    #[error("is absolute")]
    Absolute,
    /// It has `..`.
    #[error("leads out of the model")]
    Outside,
    /// It has `.`, `//` or a `/` at its end: the same file would have several names.
    #[error("is not in its shortest form")]
    NotCanonical,
    /// No file has such a name.
    #[error("has a zero byte")]
    Zero,
    /// A shard's name ends in `:start:end`.
    #[error("does not end in the shard's first byte and end, as `:0:1000`")]
    NoRange,
}

impl Manifest {
    /// A manifest of these resources, in this order.
    ///
    /// # Errors
    /// If they are none, or contradict each other.
    pub fn new(
        model: String,
        serialization: Serialization,
        algorithm: Algorithm,
        allow_symlinks: bool,
        ignore_paths: Vec<String>,
        resources: Vec<Resource>,
    ) -> Result<Self, ManifestError> {
        if resources.is_empty() {
            return Err(ManifestError::Empty);
        }
        let manifest = Self {
            model,
            serialization,
            algorithm,
            allow_symlinks,
            ignore_paths,
            resources,
        };
        manifest.check_files()?;
        Ok(manifest)
    }

    /// Reads a statement whatever its signature, to show or to test it. What is to be believed comes
    /// from [`Bundle::verify`](super::Bundle::verify).
    ///
    /// # Errors
    /// If it is no statement about a model.
    pub fn read_unverified(statement: &[u8]) -> Result<Self, super::StatementError> {
        super::statement::read(statement)
    }

    /// The model's name, for information.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Files or shards.
    #[must_use]
    pub fn serialization(&self) -> Serialization {
        self.serialization
    }

    /// How contents are hashed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the signer followed symbolic links.
    #[must_use]
    pub fn allow_symlinks(&self) -> bool {
        self.allow_symlinks
    }

    /// What the signer left out.
    #[must_use]
    pub fn ignore_paths(&self) -> &[String] {
        &self.ignore_paths
    }

    /// The resources in the order of the statement.
    #[must_use]
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// Whether the model is one file that the signer gave no name.
    #[must_use]
    pub fn is_only_file(&self) -> bool {
        self.resources.iter().all(|found| found.path == ONLY_FILE)
    }

    /// SHA-256 over the digests' bytes, in the order of the statement.
    #[must_use]
    pub fn root(&self) -> ContentDigest {
        let mut hasher = Sha256::new();
        for resource in &self.resources {
            hasher.update(resource.digest.bytes());
        }
        ContentDigest::new(Algorithm::Sha256, &hasher.finalize()).expect("SHA-256 has 32 bytes")
    }

    pub(super) fn check_root(&self, found: &ContentDigest) -> Result<(), ManifestError> {
        let expected = self.root();
        if *found == expected {
            return Ok(());
        }
        Err(ManifestError::Root {
            found: found.hex(),
            expected: expected.hex(),
        })
    }

    /// Each file once and whole, and none that is another's folder.
    fn check_files(&self) -> Result<(), ManifestError> {
        let mut files: HashMap<&str, Vec<&Range<u64>>> = HashMap::new();
        for Resource { path, range, .. } in &self.resources {
            let ranges = files.entry(path).or_default();
            match range {
                Some(range) => ranges.push(range),
                None if ranges.is_empty() => ranges.push(&(0..0)),
                None => return Err(ManifestError::Twice(path.clone())),
            }
        }
        if files.contains_key(ONLY_FILE) && files.len() > 1 {
            return Err(ManifestError::Name {
                name: ONLY_FILE.into(),
                why: NameError::NotCanonical,
            });
        }
        for path in files.keys() {
            let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
            if let Some(file) = folders
                .into_iter()
                .find(|folder| files.contains_key(folder))
            {
                return Err(ManifestError::FileAndFolder(file.to_owned()));
            }
        }
        if let Serialization::Shards(size) = self.serialization {
            for (path, mut ranges) in files {
                ranges.sort_by_key(|range| (range.start, range.end));
                check_shards(path, &ranges, size.get())?;
            }
        }
        Ok(())
    }
}

fn check_shards(path: &str, ranges: &[&Range<u64>], size: u64) -> Result<(), ManifestError> {
    let mut expected = 0;
    for (number, &range) in ranges.iter().enumerate() {
        if number > 0 && *range == *ranges[number - 1] {
            return Err(ManifestError::Twice(path.to_owned()));
        }
        let is_last = number + 1 == ranges.len();
        let length = range.end.saturating_sub(range.start);
        let fits = length == size || (is_last && (1..size).contains(&length));
        if range.start != expected || !fits {
            return Err(ManifestError::Shards {
                path: path.to_owned(),
                found: range.clone(),
                expected,
            });
        }
        expected = range.end;
    }
    Ok(())
}

impl Resource {
    /// A resource by the name that a statement gives it.
    ///
    /// # Errors
    /// If no file or shard of a model can have that name.
    pub fn parse(
        name: &str,
        serialization: Serialization,
        digest: ContentDigest,
    ) -> Result<Self, ManifestError> {
        let refused = |why| ManifestError::Name {
            name: name.chars().take(200).collect(),
            why,
        };
        let (path, range) = match serialization {
            Serialization::Files => (name, None),
            Serialization::Shards(_) => {
                let (path, range) = split_range(name).ok_or(refused(NameError::NoRange))?;
                (path, Some(range))
            }
        };
        check_path(path).map_err(refused)?;
        Ok(Self {
            path: path.to_owned(),
            range,
            digest,
        })
    }

    /// The name in a statement.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.range {
            None => self.path.clone(),
            Some(Range { start, end }) => format!("{}:{start}:{end}", self.path),
        }
    }
}

/// The last two fields are the range: a file's own name may have colons.
fn split_range(name: &str) -> Option<(&str, Range<u64>)> {
    let (rest, end) = name.rsplit_once(':')?;
    let (path, start) = rest.rsplit_once(':')?;
    Some((path, number(start)?..number(end)?))
}

/// Decimal digits alone: `parse` would take a sign, and leading zeroes make two names of one.
fn number(digits: &str) -> Option<u64> {
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    is_canonical.then(|| digits.parse().ok()).flatten()
}

/// Checks that a name is a path inside a model, in the one form that it can have.
pub(crate) fn check_path(path: &str) -> Result<(), NameError> {
    if path.is_empty() || path.len() > MAX_NAME {
        return Err(NameError::Length);
    }
    if path == ONLY_FILE {
        return Ok(());
    }
    if path.contains('\0') {
        return Err(NameError::Zero);
    }
    if path.starts_with('/') {
        return Err(NameError::Absolute);
    }
    let mut names = path.split('/');
    if names.clone().any(|name| name == "..") {
        return Err(NameError::Outside);
    }
    if names.any(|name| name.is_empty() || name == ".") {
        return Err(NameError::NotCanonical);
    }
    Ok(())
}
