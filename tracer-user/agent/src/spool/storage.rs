//! The few things that a spool asks of a disk, so that tests can give it a bad one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A folder of files that are only ever appended to, read and removed.
pub trait Storage {
    /// A file that is appended to.
    type File: Append;

    /// The names of all files.
    ///
    /// # Errors
    /// If the folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file, which must not be there.
    ///
    /// # Errors
    /// If it is there, or cannot be made.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// A file's bytes, at most `limit` of them.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>>;

    /// Some bytes of a file.
    ///
    /// # Errors
    /// If they cannot be read, or the file ends before.
    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Waits until a file that an earlier process wrote is on the disk.
    ///
    /// # Errors
    /// If the disk says so. What can be read of it may not be there.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// If it cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until files that were made are on the disk under their names.
    ///
    /// # Errors
    /// If the disk says so. What was made since the last time may be gone.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A file that is appended to.
pub trait Append {
    /// Appends bytes.
    ///
    /// # Errors
    /// If not all of them could be written; some may be.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until what was appended is on the disk.
    ///
    /// # Errors
    /// If the disk says so. What was appended since the last time may be gone, and trying again
    /// proves nothing (<https://wiki.postgresql.org/wiki/Fsync_Errors>).
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file back. After a failed sync this is the only way to read later what is on the disk,
    /// and not what the system remembers of it.
    ///
    /// # Errors
    /// If it cannot be cut.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// A folder of a file system, used by one process at a time.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked while this value lives.
    folder: File,
}

impl Folder {
    /// Opens a folder for this process alone, and makes it, for its owner alone, if it is not there.
    ///
    /// # Errors
    /// If it cannot be made or opened, or another process has it open (`WouldBlock`).
    pub fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path)?;
        let folder = File::open(path)?;
        folder.try_lock()?;
        Ok(Self {
            path: path.to_owned(),
            folder,
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A process that this one starts meanwhile has a copy of the descriptor until it runs its program,
        // and a lock lasts as long as any copy. If it cannot be let go of, closing the last one does it.
        let _ = self.folder.unlock();
    }
}

impl Storage for Folder {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        // A name that is no text is none of ours.
        let names = entries.filter_map(|entry| {
            entry
                .map(|entry| entry.file_name().into_string().ok())
                .transpose()
        });
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path.join(name))?;
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path.join(name))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.path.join(name))?.sync_data()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_is_free_though_a_process_that_starts_has_a_copy_of_its_lock() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path()).unwrap();
        let copy = folder.folder.try_clone().unwrap();
        drop(folder);
        assert!(Folder::open(parent.path()).is_ok());
        drop(copy);
    }
}
