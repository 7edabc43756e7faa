//! The labelled documents that detectors are judged on. They stay where they are: beside the
//! checkout, in `../shared/data/redaction`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// One labelled text.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) spans: Vec<Span>,
    /// How its values are encoded, in the set that has such.
    #[serde(default)]
    pub(crate) transform: Option<String>,
    /// The spans mean only that the text must be flagged.
    #[serde(default)]
    pub(crate) weak_span: bool,
    /// Left out of scoring.
    #[serde(default)]
    pub(crate) ambiguous: bool,
    #[serde(default)]
    template: Option<i64>,
    #[serde(default)]
    template_id: Option<i64>,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    rule: Option<String>,
    #[serde(default)]
    target_type: Option<String>,
}

/// What a text holds where.
#[derive(Debug, Deserialize)]
pub(crate) struct Span {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
    #[serde(default)]
    value: String,
    #[serde(default)]
    canonical: Option<String>,
}

/// One file of documents.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) documents: Vec<Document>,
}

/// Rules are written against the first half and judged on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    First,
    Second,
}

impl Document {
    /// The half that the document's template or source belongs to.
    pub(crate) fn half(&self, seed: u64) -> Half {
        let number = self
            .template
            .filter(|id| *id >= 0)
            .or(self.template_id)
            .map(|id| id.to_string());
        let source = [&self.rule, &self.file, &self.target_type];
        // Where one file is the whole set, its lines are split.
        let source = source
            .into_iter()
            .flatten()
            .find(|name| !name.ends_with(".conll") && !name.ends_with(".conll.txt"));
        let key = number.as_ref().or(source).unwrap_or(&self.id);
        match fnv(seed, key.as_bytes()) & 1 {
            0 => Half::First,
            _ => Half::Second,
        }
    }
}

impl Span {
    /// Whether the value stands there in another form than its own.
    pub(crate) fn is_encoded(&self) -> bool {
        self.canonical
            .as_ref()
            .is_some_and(|own| *own != self.value)
    }
}

/// The folder with the sets, if it is there.
pub(crate) fn folder(root: &Path) -> Option<PathBuf> {
    let folder = root.parent()?.join("shared").join("data").join("redaction");
    folder.is_dir().then_some(folder)
}

/// Every set of the folder, by name.
pub(crate) fn sets(folder: &Path) -> Result<Vec<Set>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.to_string_lossy().ends_with(".jsonl.gz"));
    files.sort();
    files.iter().map(|file| set(file)).collect()
}

fn set(file: &Path) -> Result<Set> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str()?.split('.').next())
        .with_context(|| format!("{} has no name", file.display()))?;
    let lines = process::read(Command::new("gzip").arg("-dc").arg(file))?;
    let documents = lines
        .lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}, line {}", file.display(), number + 1))
        })
        .collect::<Result<_>>()?;
    Ok(Set {
        name: name.to_owned(),
        documents,
    })
}

/// Fowler, Noll and Vo's hash, with its bits mixed once more so that the lowest says something.
fn fnv(seed: u64, bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let mixed = (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> 40
}
