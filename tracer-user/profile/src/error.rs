//! What can be wrong with a profile, and where.

use std::{io, path::PathBuf};

/// A profile that cannot be used. Messages name the file, the line and the column.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("profile {}: cannot read it: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The text is not TOML, or not a profile.
    #[error("profile {file}, line {line}, column {column}: {problem}")]
    Wrong {
        /// The file as it was named, or the built-in's name.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong, and where useful what to write instead.
        problem: String,
    },
}
