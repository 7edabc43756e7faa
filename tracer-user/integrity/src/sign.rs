//! Makes the manifest of a model.

use std::num::NonZeroU64;

use crate::{
    digest::Algorithm,
    guarantee::{Assurance, Guarantee},
    hash::{self, Contents, HashError, Options, Progress, Target},
    ignore::Ignored,
    lease::Leases,
    oms::{Manifest, ManifestError, Resource, Serialization},
    tree::{Entry, EntryKind, Tree, TreeError},
};

/// How a model is to be described.
#[derive(Clone, Debug)]
pub struct Form {
    /// How to hash.
    pub algorithm: Algorithm,
    /// Shards of so many bytes instead of whole files.
    pub shard_size: Option<NonZeroU64>,
    /// Whether the model's links were followed; it is written into the manifest.
    pub allow_symlinks: bool,
    /// What is left out; it is written into the manifest.
    pub ignored: Ignored,
}

/// Why a model has no manifest.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// Its folders cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It has something that no manifest can hold.
    #[error("`{name}` is {kind}; remove it or leave it out with --ignore-paths")]
    NotAFile {
        /// Its name.
        name: String,
        /// What it is.
        kind: EntryKind,
    },
    /// A file cannot be hashed.
    #[error("`{name}`: {cause}")]
    Hash {
        /// Its name.
        name: String,
        /// Why.
        cause: HashError,
    },
    /// A file may have changed while it was hashed.
    #[error("`{name}` may not be what was hashed: {}", .assurance.reason)]
    Unstable {
        /// Its name.
        name: String,
        /// Why.
        assurance: Assurance,
    },
    /// Nothing is left.
    #[error("there are no files to sign")]
    Empty,
    /// The files' names contradict each other.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Hashes all files of a model and lists them in the order of their names' code points.
///
/// # Errors
/// If anything in it cannot be listed, or may have changed meanwhile.
pub fn describe(
    tree: &Tree,
    form: &Form,
    leases: &Leases,
    options: Options,
    progress: &Progress,
) -> Result<Manifest, DescribeError> {
    let entries = tree.entries(&form.ignored)?;
    let mut targets = Vec::with_capacity(entries.len());
    for Entry { name, kind } in &entries {
        let EntryKind::File(size_hint) = *kind else {
            return Err(DescribeError::NotAFile {
                name: name.clone(),
                kind: *kind,
            });
        };
        targets.push(Target {
            contents: Contents::InTree(tree, name),
            algorithm: form.algorithm,
            shard_size: form.shard_size,
            size_hint,
        });
    }
    let serialization = match form.shard_size {
        None => Serialization::Files,
        Some(size) => Serialization::Shards(size),
    };
    let mut resources = Vec::with_capacity(entries.len());
    for (Entry { name, .. }, hashed) in
        std::iter::zip(&entries, hash::hash(&targets, leases, options, progress))
    {
        let hashed = hashed.map_err(|cause| DescribeError::Hash {
            name: name.clone(),
            cause,
        })?;
        if hashed.assurance.guarantee == Guarantee::Unstable {
            return Err(DescribeError::Unstable {
                name: name.clone(),
                assurance: hashed.assurance,
            });
        }
        resources.extend(hashed.pieces.into_iter().map(|piece| Resource {
            path: name.clone(),
            range: form.shard_size.map(|_| piece.range),
            digest: piece.digest,
        }));
    }
    if resources.is_empty() {
        return Err(DescribeError::Empty);
    }
    // Bytes of UTF-8 sort as code points do.
    resources.sort_by_cached_key(Resource::name);
    Ok(Manifest::new(
        tree.name(),
        serialization,
        form.algorithm,
        form.allow_symlinks,
        form.ignored.names().to_vec(),
        resources,
    )?)
}
