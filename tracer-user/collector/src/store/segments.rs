//! Files that hold records one after another. Which bytes of them count is for the index to say.
//!
//! Names are numbers that the index gave. Each record has its length and a checksum before it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tracer_wire::Record;

use super::{Damage, Place, StoreError};

/// Bytes before a record: its length and its checksum.
pub(super) const HEADER: usize = 8;

/// The folder of segments.
pub(super) struct Segments {
    folder: PathBuf,
}

/// A segment that records are added to.
pub(super) struct Open {
    pub(super) number: u64,
    /// Bytes that count.
    pub(super) length: u64,
    /// Bytes behind them that do not count yet.
    written: u64,
    file: File,
    path: PathBuf,
}

impl Segments {
    pub(super) fn open(folder: PathBuf) -> Result<Self, StoreError> {
        fs::create_dir_all(&folder).map_err(disk("create", &folder))?;
        Ok(Self { folder })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.segment"))
    }

    /// A new, empty segment, whose name is on the disk.
    pub(super) fn create(&self, number: u64) -> Result<Open, StoreError> {
        let path = self.path(number);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(disk("create", &path))?;
        let folder = File::open(&self.folder).map_err(disk("open", &self.folder))?;
        folder.sync_all().map_err(disk("sync", &self.folder))?;
        Ok(Open {
            number,
            length: 0,
            written: 0,
            file,
            path,
        })
    }

    /// A segment as it was left: what follows the bytes that count is cut off.
    pub(super) fn resume(&self, number: u64, length: u64) -> Result<Open, StoreError> {
        let path = self.path(number);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(disk("open", &path))?;
        let found = file.metadata().map_err(disk("read", &path))?.len();
        if found < length {
            log::error!(
                "{} has {found} bytes and should have {length}: records in it are damaged",
                path.display()
            );
        }
        // A file that is too short grows: what is missing reads as zeros and is found damaged.
        file.set_len(length).map_err(disk("truncate", &path))?;
        file.seek(SeekFrom::Start(length))
            .map_err(disk("seek in", &path))?;
        Ok(Open {
            number,
            length,
            written: 0,
            file,
            path,
        })
    }

    /// The record at a place.
    pub(super) fn read(&self, place: Place) -> Result<Result<Record, Damage>, StoreError> {
        let path = self.path(place.segment);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(Damage::Short));
            }
            Err(error) => return Err(disk("open", &path)(error)),
        };
        let mut bytes = vec![0; HEADER + usize::try_from(place.length).unwrap_or(usize::MAX)];
        match file.read_exact_at(&mut bytes, place.position) {
            Ok(()) => Ok(parse(&bytes, place.length)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(Damage::Short)),
            Err(error) => Err(disk("read", &path)(error)),
        }
    }

    /// Overwrites places with zeros, and waits for the disk.
    pub(super) fn overwrite(&self, places: &[Place]) -> Result<(), StoreError> {
        let mut rest = places;
        while let Some(first) = rest.first() {
            let path = self.path(first.segment);
            let of_one = rest
                .iter()
                .take_while(|place| place.segment == first.segment);
            let (these, others) = rest.split_at(of_one.count());
            rest = others;
            let file = match OpenOptions::new().write(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(disk("open", &path)(error)),
            };
            for place in these {
                let zeros = vec![0; HEADER + place.length as usize];
                file.write_all_at(&zeros, place.position)
                    .map_err(disk("overwrite", &path))?;
            }
            file.sync_data().map_err(disk("sync", &path))?;
        }
        Ok(())
    }

    pub(super) fn delete(&self, number: u64) -> Result<(), StoreError> {
        let path = self.path(number);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(disk("delete", &path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Deletes segments that the index does not know: their creation was cut off, or their deletion.
    pub(super) fn keep_only(&self, known: &[u64]) -> Result<(), StoreError> {
        let entries = fs::read_dir(&self.folder).map_err(disk("read", &self.folder))?;
        for entry in entries {
            let path = entry.map_err(disk("read", &self.folder))?.path();
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".segment")?.parse().ok());
            if number.is_some_and(|number: u64| !known.contains(&number)) {
                fs::remove_file(&path).map_err(disk("delete", &path))?;
            }
        }
        Ok(())
    }
}

impl Open {
    /// Adds bytes behind those that count. They count once [`Self::sync`] and the index agree.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .map_err(disk("write to", &self.path))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// What was written counts from now on.
    pub(super) const fn count_written(&mut self) {
        self.length += self.written;
        self.written = 0;
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(disk("sync", &self.path))
    }

    /// Forgets what was written and does not count.
    pub(super) fn revert(&mut self) -> Result<(), StoreError> {
        self.written = 0;
        let reverted = self
            .file
            .set_len(self.length)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
        reverted.map(|_| ()).map_err(disk("truncate", &self.path))
    }
}

/// A record as it stands in a segment.
pub(super) fn append(record: &[u8], to: &mut Vec<u8>) -> u32 {
    let length = u32::try_from(record.len()).expect("a record is at most a few mebibytes");
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(&crc32fast::hash(record).to_be_bytes());
    to.extend_from_slice(record);
    length
}

fn parse(bytes: &[u8], length: u32) -> Result<Record, Damage> {
    let (header, record) = bytes.split_at(HEADER);
    let expected = [length.to_be_bytes(), crc32fast::hash(record).to_be_bytes()].concat();
    if header != expected {
        return Err(Damage::Checksum);
    }
    Ok(Record::parse(record)?)
}

pub(super) fn disk(
    attempt: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Disk {
        attempt,
        path,
        source,
    }
}
