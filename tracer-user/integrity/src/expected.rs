//! What a model must consist of, whoever says so: the common form of bundles, lists and stores.

use std::{num::NonZeroU64, ops::Range};

use crate::{
    digest::{Algorithm, ContentDigest},
    hash::Hashed,
    oms::{Manifest, Serialization},
    sums::Sums,
};

/// The files of a model with the digests that they must have, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub(crate) files: Vec<ExpectedFile>,
}

/// A file and its digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedFile {
    /// Its name in the model.
    pub name: String,
    /// How it was hashed.
    pub algorithm: Algorithm,
    /// The size of its shards, unless it was hashed whole.
    pub shard_size: Option<NonZeroU64>,
    /// Its pieces in order; one for a whole file.
    pub pieces: Vec<ExpectedPiece>,
}

/// A piece of a file and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedPiece {
    /// The shard; all of the file unless in shards.
    pub range: Option<Range<u64>>,
    /// What it must be.
    pub digest: ContentDigest,
}

impl ExpectedFile {
    /// Whether a hashed file has these contents, whatever its name.
    #[must_use]
    pub fn is(&self, hashed: &Hashed) -> bool {
        self.pieces.len() == hashed.pieces.len()
            && std::iter::zip(&self.pieces, &hashed.pieces).all(|(expected, found)| {
                let same_range = expected
                    .range
                    .as_ref()
                    .is_none_or(|range| *range == found.range);
                expected.digest == found.digest && same_range
            })
    }
}

impl Expected {
    /// What a signed manifest says of a model, whose only file is `only_file` if it is one.
    #[must_use]
    pub fn of_manifest(manifest: &Manifest, only_file: Option<&str>) -> Self {
        let shard_size = match manifest.serialization() {
            Serialization::Files => None,
            Serialization::Shards(size) => Some(size),
        };
        let mut resources: Vec<_> = manifest.resources().iter().collect();
        resources.sort_by(|a, b| {
            let start = |range: &Option<Range<u64>>| range.as_ref().map(|range| range.start);
            (&a.path, start(&a.range)).cmp(&(&b.path, start(&b.range)))
        });
        let files = resources
            .chunk_by(|a, b| a.path == b.path)
            .map(|pieces| ExpectedFile {
                name: match only_file {
                    Some(only) if manifest.is_only_file() => only.to_owned(),
                    _ => pieces[0].path.clone(),
                },
                algorithm: manifest.algorithm(),
                shard_size,
                pieces: pieces
                    .iter()
                    .map(|resource| ExpectedPiece {
                        range: resource.range.clone(),
                        digest: resource.digest.clone(),
                    })
                    .collect(),
            })
            .collect();
        Self { files }
    }

    /// What a list says of a model. A list may be of many models' files; that of a model which is
    /// one file is searched for its name, in whatever folder.
    #[must_use]
    pub fn of_sums(sums: &Sums, only_file: Option<&str>) -> Self {
        let whole = |name: &str, digest: &ContentDigest| Self::whole_file(name, digest.clone());
        let files = match only_file {
            None => sums
                .iter()
                .map(|(name, digest)| whole(name, digest))
                .collect(),
            Some(only) => {
                let exact = sums.get_key_value(only);
                let within = || {
                    let mut named = sums
                        .iter()
                        .filter(|(name, _)| name.rsplit('/').next() == Some(only));
                    // Two files of that name in different folders: either could be meant.
                    named.next().filter(|_| named.next().is_none())
                };
                exact
                    .or_else(within)
                    .map(|(_, digest)| whole(only, digest))
                    .into_iter()
                    .collect()
            }
        };
        Self { files }
    }

    /// Whole files with their digests.
    #[must_use]
    pub fn of_files(files: impl IntoIterator<Item = (String, ContentDigest)>) -> Self {
        let mut files: Vec<_> = files
            .into_iter()
            .map(|(name, digest)| Self::whole_file(&name, digest))
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup();
        Self { files }
    }

    /// The files, sorted by name.
    #[must_use]
    pub fn files(&self) -> &[ExpectedFile] {
        &self.files
    }

    fn whole_file(name: &str, digest: ContentDigest) -> ExpectedFile {
        ExpectedFile {
            name: name.to_owned(),
            algorithm: digest.algorithm(),
            shard_size: None,
            pieces: vec![ExpectedPiece {
                range: None,
                digest,
            }],
        }
    }
}
