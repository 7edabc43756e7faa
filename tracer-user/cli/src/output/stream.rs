//! Where lines go: standard output or a file. Events are committed whole or not at all, and one
//! that could not be written is counted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::arguments::Destination;

/// Bytes that are gathered before they are written in one go.
const GATHERED: usize = 256 * 1024;

/// A destination that takes whole events.
#[derive(Debug)]
pub(crate) struct Stream {
    sink: Sink,
    /// Events that are not written yet.
    gathered: Vec<u8>,
    gathered_events: u64,
    written_events: u64,
    unwritten_events: u64,
    /// The first thing that went wrong.
    failure: Option<io::Error>,
}

#[derive(Debug)]
enum Sink {
    StandardOutput(io::Stdout),
    File {
        file: File,
        path: PathBuf,
        /// Where the last whole event ends; none if the file has no positions (a pipe, a device).
        end: Option<u64>,
    },
}

/// What became of a stream's events.
#[derive(Debug)]
pub(crate) struct StreamReport {
    /// Its name for people.
    pub(crate) name: String,
    /// Events that are in it.
    pub(crate) written: u64,
    /// Events that are not.
    pub(crate) unwritten: u64,
    /// Why.
    pub(crate) failure: Option<io::Error>,
}

impl Stream {
    /// Opens a destination. A file is emptied; `private` gives a new one to its owner alone.
    ///
    /// # Errors
    /// If the file cannot be opened for writing.
    pub(crate) fn open(destination: &Destination, private: bool) -> Result<Self> {
        let sink = match destination {
            Destination::StandardOutput => Sink::StandardOutput(io::stdout()),
            Destination::File(path) => open_file(path, private)?,
        };
        Ok(Self {
            sink,
            gathered: Vec::new(),
            gathered_events: 0,
            written_events: 0,
            unwritten_events: 0,
            failure: None,
        })
    }

    /// Adds an event's bytes; they are written when enough has gathered, or by [`Self::flush`].
    pub(crate) fn event(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        self.gathered_events += 1;
        if self.gathered.len() >= GATHERED {
            self.flush();
        }
    }

    /// Adds bytes that are no event: a heading, a closing bracket.
    pub(crate) fn frame(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
    }

    /// Writes what has gathered.
    pub(crate) fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        match self.sink.commit(&self.gathered) {
            Ok(()) => self.written_events += self.gathered_events,
            Err(error) => {
                self.unwritten_events += self.gathered_events;
                self.failure.get_or_insert(error);
            }
        }
        self.gathered.clear();
        self.gathered_events = 0;
    }

    /// Whether at least one event is in the stream or on its way.
    pub(crate) fn has_events(&self) -> bool {
        self.written_events + self.gathered_events > 0
    }

    /// Whether the reader has gone: nothing that is written from now on can be read.
    pub(crate) fn is_closed(&self) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The first failure.
    pub(crate) fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Whether it is standard output.
    pub(crate) fn is_standard_output(&self) -> bool {
        matches!(self.sink, Sink::StandardOutput(_))
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> String {
        match &self.sink {
            Sink::StandardOutput(_) => "standard output".to_owned(),
            Sink::File { path, .. } => path.display().to_string(),
        }
    }

    /// Writes the rest and tells what became of the events.
    pub(crate) fn close(mut self) -> StreamReport {
        self.flush();
        StreamReport {
            name: self.name(),
            written: self.written_events,
            unwritten: self.unwritten_events,
            failure: self.failure,
        }
    }
}

impl Sink {
    /// Writes all bytes or, where the destination can be cut back, none of them.
    fn commit(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::StandardOutput(stdout) => {
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::File { file, end, .. } => {
                let Err(error) = file.write_all(bytes) else {
                    if let Some(end) = end {
                        *end += bytes.len() as u64;
                    }
                    return Ok(());
                };
                if let &mut Some(end) = end {
                    // A half-written event would spoil the file for every reader. If cutting it
                    // off fails as well, the disk is gone, and the first error says so.
                    let _ = file.set_len(end);
                    let _ = file.seek(SeekFrom::Start(end));
                }
                Err(error)
            }
        }
    }
}

fn open_file(path: &Path, private: bool) -> Result<Sink> {
    if private {
        make_way(path).with_context(|| format!("make a private file of {}", path.display()))?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(if private { 0o600 } else { 0o666 })
        .open(path)
        .with_context(|| format!("open {} for the output", path.display()))?;
    let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    Ok(Sink::File {
        file,
        path: path.to_owned(),
        end: is_regular.then_some(0),
    })
}

/// Removes a file that somebody else may read, or has open already, so that a new one takes its name.
/// It would have been emptied anyway.
fn make_way(path: &Path) -> Result<()> {
    let Ok(path) = path.canonicalize() else {
        return Ok(());
    };
    let metadata = path.metadata()?;
    let is_private = metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.nlink() == 1
        && metadata.mode() & 0o077 == 0;
    if metadata.is_file() && !is_private {
        fs::remove_file(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_the_events_that_were_flushed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("events");
        let mut stream =
            Stream::open(&Destination::File(path.clone()), false).expect("the file can be made");
        stream.event(b"one\n");
        assert!(stream.has_events());
        stream.flush();
        assert_eq!(fs::read(&path).expect("the file is there"), b"one\n");
        stream.event(b"two\n");
        let report = stream.close();
        assert_eq!((report.written, report.unwritten), (2, 0));
        assert_eq!(fs::read(&path).expect("the file is there"), b"one\ntwo\n");
    }

    #[test]
    fn events_that_meet_a_full_disk_are_counted() {
        let full = Destination::File("/dev/full".into());
        let mut stream = Stream::open(&full, false).expect("the device opens");
        stream.event(b"one\n");
        stream.event(b"two\n");
        stream.flush();
        let error = stream.failure().map(io::Error::kind);
        assert_eq!(error, Some(io::ErrorKind::StorageFull));
        assert!(!stream.is_closed());
        stream.event(b"three\n");
        let report = stream.close();
        assert_eq!((report.written, report.unwritten), (0, 3));
    }

    #[test]
    fn a_private_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tokens");
        let private = || {
            Stream::open(&Destination::File(path.clone()), true).expect("the file can be made");
            let metadata = fs::metadata(&path).expect("the file is there");
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            metadata.ino()
        };
        let first = private();
        assert_eq!(private(), first);
        // Who could read what was there before may have it open.
        let public = fs::Permissions::from_mode(0o644);
        fs::set_permissions(&path, public).expect("it is ours");
        let held = File::open(&path).expect("the file is there");
        assert_ne!(private(), first);
        assert_eq!(held.metadata().expect("it is open").nlink(), 0);
    }
}
