//! The model's files: opened through the process, so that its own paths and mounts count, and
//! named by inode.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use tracer_event::{
    Content, Device, Inode, Known, Raw,
    model::{FileRole, ModelFile},
};
use tracer_probe::process::{FileId, MappedFile, Mapping, file_mappings, open_inside};

use super::gguf::{Header, Want};

/// Files of one process that are looked at.
const MOST_FILES: usize = 64;
/// Where GGUF files begin.
const MAGIC: [u8; 4] = *b"GGUF";
/// Where TFLite's files say what they are, and what.
const TFLITE: std::ops::Range<usize> = 4..8;
/// The largest header that safetensors' own reader takes.
const LONGEST_SAFETENSORS_HEADER: u64 = 100_000_000;

/// A model file and what its header says.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path as the process sees it.
    pub path: PathBuf,
    /// The file itself.
    pub file: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Whether the process maps it.
    pub mapped: bool,
    /// Whether it has been removed or replaced since.
    pub deleted: bool,
    /// Its header, if it is GGUF, readable and sound.
    pub header: Option<Header>,
    /// Whether it is the model where it has no such header: a load call named it, or it begins as
    /// model files do.
    pub is_model: bool,
}

impl Found {
    /// What the file is for, as its header says.
    #[must_use]
    pub fn role(&self) -> FileRole {
        let Some(header) = &self.header else {
            return match self.is_model {
                true => FileRole::Weights,
                false => FileRole::Other,
            };
        };
        match header.kind.as_deref() {
            // Older files do not say; a projector's architecture does.
            None if header.architecture.as_deref() == Some("clip") => FileRole::Projector,
            None | Some("model") => FileRole::Weights,
            Some("adapter") => FileRole::Adapter,
            Some("mmproj") => FileRole::Projector,
            Some(_) => FileRole::Other,
        }
    }

    /// The file as an event has it.
    #[must_use]
    pub fn to_event(&self) -> ModelFile<Raw<Content>> {
        ModelFile {
            role: self.role(),
            path: Raw::new(Content::text(self.path.as_os_str().as_bytes())),
            inode: Known::Known(inode(self.file)),
            size: Known::Known(self.size),
            mapped: self.mapped,
            deleted: self.deleted,
        }
    }
}

/// An inode as events name it.
pub(super) const fn inode(file: FileId) -> Inode {
    Inode {
        device: Device {
            major: file.device >> 20,
            minor: file.device & 0xf_ffff,
        },
        inode: file.inode,
    }
}

/// The model files that a process maps: those whose first bytes are a model format's.
#[must_use]
pub fn mapped(pid: u32, want: Want) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut seen: Vec<FileId> = Vec::new();
    for mapping in file_mappings(pid).unwrap_or_default() {
        // llama.cpp unmaps the header once it has read it: not every mapping begins at 0.
        if seen.contains(&mapping.file) {
            continue;
        }
        seen.push(mapping.file);
        if let Some(file) = open_mapping(pid, &mapping, want) {
            found.push(file);
        }
        if found.len() == MOST_FILES {
            break;
        }
    }
    found
}

/// The file at a path as the process sees it, whether it maps it or not.
#[must_use]
pub fn named(pid: u32, path: &Path, want: Want) -> Option<Found> {
    found(pid, path, Some(want))
}

fn found(pid: u32, path: &Path, want: Option<Want>) -> Option<Found> {
    let file = open_inside(pid, path).ok()?;
    let metadata = file.metadata().ok()?;
    let id = FileId::of(&metadata);
    let mapped = file_mappings(pid)
        .unwrap_or_default()
        .iter()
        .any(|mapping| mapping.file == id);
    Some(Found {
        path: path.to_owned(),
        file: id,
        size: metadata.size(),
        mapped,
        deleted: metadata.nlink() == 0,
        header: want.and_then(|want| Header::read(BufReader::new(&file), want).ok()),
        is_model: true,
    })
}

/// The other files of a model that is split: `name-00001-of-00003.gguf` names them all. What is said of
/// the model stands in the first.
#[must_use]
pub fn siblings(pid: u32, first: &Found) -> Vec<Found> {
    let count = first.header.as_ref().and_then(|header| header.split_count);
    let Some(count) = count.filter(|count| (2..=MOST_FILES as u64).contains(count)) else {
        return Vec::new();
    };
    let Some(name) = first.path.to_str() else {
        return Vec::new();
    };
    let marker = format!("-00001-of-{count:05}.gguf");
    let Some(stem) = name.strip_suffix(&marker) else {
        return Vec::new();
    };
    (2..=count)
        .filter_map(|number| {
            let path = format!("{stem}-{number:05}-of-{count:05}.gguf");
            found(pid, Path::new(&path), None)
        })
        .collect()
}

/// The contents of a small file as the process sees it.
pub(super) fn small(pid: u32, path: &Path, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_inside(pid, path).ok()?;
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A file of `/proc` or the like, cut at a bound.
pub(super) fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open_mapping(pid: u32, mapping: &Mapping, want: Want) -> Option<Found> {
    let opened = MappedFile::open(pid, mapping).ok()?;
    let mut beginning = [0; 9];
    let mut file = opened.file();
    file.read_exact(&mut beginning).ok()?;
    let is_gguf = beginning.starts_with(&MAGIC);
    if !is_gguf && !is_other_model(&beginning) {
        return None;
    }
    let whole = BufReader::new(beginning.as_slice().chain(file));
    let header = is_gguf.then(|| Header::read(whole, want).ok()).flatten();
    Some(Found {
        path: mapping.path.clone(),
        file: opened.id(),
        size: file.metadata().ok()?.size(),
        mapped: true,
        deleted: mapping.deleted,
        header,
        is_model: !is_gguf,
    })
}

/// Whether a file begins as TFLite's or safetensors' do: the latter with the length of their header,
/// which is JSON.
fn is_other_model(beginning: &[u8; 9]) -> bool {
    let (length, rest) = beginning.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
    let is_safetensors = rest == b"{" && (2..=LONGEST_SAFETENSORS_HEADER).contains(&length);
    is_safetensors || &beginning[TFLITE] == b"TFL3"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_files_are_known_by_their_beginnings() {
        assert!(is_other_model(b"\x1c\0\0\0TFL3\x14"));
        assert!(is_other_model(b"\x80\0\0\0\0\0\0\0{"));
        // A script, a longer header than any reader takes, and a table of contents.
        assert!(!is_other_model(b"#!/bin/sh"));
        assert!(!is_other_model(b"\x80\0\0\0\0\0\0\x01{"));
        assert!(!is_other_model(b"\x80\0\0\0\0\0\0\0["));
    }
}
