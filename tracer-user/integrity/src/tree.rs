//! The files of a model: one file, or all files below a folder. Names are resolved from the folder
//! that was opened once, never through its path again, so that nobody can swap what lies between.

use std::{
    fmt,
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::ignore::Ignored;

/// Entries of a model, at most: beyond, its manifest would not be read either.
pub(crate) const MAX_FILES: usize = 1_000_000;
/// Folders within folders, at most.
const MAX_DEPTH: usize = 128;

/// What to do with symbolic links inside a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// They are no files of the model.
    Refuse,
    /// Follow those that stay inside.
    FollowInside,
}

/// A model on disk.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    kind: Kind,
    symlinks: Symlinks,
}

#[derive(Debug)]
enum Kind {
    /// One file, under this name.
    File(String),
    /// A folder: links may lead anywhere below `boundary`, and the files lie in its subfolder
    /// `inside`, which is empty for the boundary itself.
    Folder { boundary: OwnedFd, inside: PathBuf },
}

/// Something in a model's folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name: relative to the model, with `/` between folders.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file of so many bytes.
    File(u64),
    /// A symbolic link that is not followed.
    Symlink,
    /// A symbolic link that leads out of the model or nowhere.
    StrayLink,
    /// A FIFO, socket or device. It is never opened.
    Special,
    /// A file whose name is not UTF-8; the name is shown with replacements.
    NotUtf8,
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "a file",
            Self::Symlink => "a symbolic link",
            Self::StrayLink => "a symbolic link that leads out of the model or nowhere",
            Self::Special => "a FIFO, socket or device",
            Self::NotUtf8 => "a file whose name is not UTF-8",
        })
    }
}

/// Why a model could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A system call failed.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The model is neither file nor folder.
    #[error("{0} is neither a file nor a folder")]
    Neither(PathBuf),
    /// The name cannot stand in a manifest.
    #[error("the name of {0} is not UTF-8, or it has none")]
    NoName(PathBuf),
    /// A link leads to a folder that contains it.
    #[error("{0} leads to a folder that it lies in")]
    Cycle(PathBuf),
    /// More than anybody would sign.
    #[error("{path} has more than {MAX_FILES} entries or {MAX_DEPTH} folders in each other")]
    TooLarge {
        /// The model.
        path: PathBuf,
    },
}

impl Tree {
    /// Opens a model. The path itself may be a link: whoever names it means what it leads to.
    ///
    /// # Errors
    /// If it is not there, or neither file nor folder.
    pub fn open(path: &Path, symlinks: Symlinks) -> Result<Self, TreeError> {
        let root = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| failed(path, error))?;
        let status = rustix::fs::fstat(&root).map_err(|error| failed(path, error))?;
        let kind = match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {
                let name = path.file_name().and_then(|name| name.to_str());
                Kind::File(
                    name.ok_or_else(|| TreeError::NoName(path.to_owned()))?
                        .into(),
                )
            }
            FileType::Directory => Kind::Folder {
                boundary: root,
                inside: PathBuf::new(),
            },
            _ => return Err(TreeError::Neither(path.to_owned())),
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
            symlinks,
        })
    }

    /// Opens the folder `inside` of `boundary` as a model whose links may lead anywhere within the
    /// boundary: a snapshot in a Hugging Face cache is made of links to the blobs beside it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_within(boundary: &Path, inside: &Path) -> Result<Self, TreeError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(boundary, flags, Mode::empty())
            .map_err(|error| failed(boundary, error))?;
        let tree = Self {
            path: boundary.join(inside),
            kind: Kind::Folder {
                boundary: root,
                inside: inside.to_owned(),
            },
            symlinks: Symlinks::FollowInside,
        };
        tree.resolve(Path::new(""))
            .map_err(|error| failed(&tree.path, error))?;
        Ok(tree)
    }

    /// Where the model lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The only file's name, if the model is one.
    #[must_use]
    pub fn single_file(&self) -> Option<&str> {
        match &self.kind {
            Kind::File(name) => Some(name),
            Kind::Folder { .. } => None,
        }
    }

    /// The model's own name: that of its file or folder.
    #[must_use]
    pub fn name(&self) -> String {
        let own = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        own(&self.path)
            .or_else(|| own(&self.path.canonicalize().ok()?))
            .unwrap_or_else(|| "model".into())
    }

    /// Everything in the model that is not ignored, sorted by name.
    ///
    /// # Errors
    /// If a folder cannot be read, there is far too much, or links form a cycle.
    pub fn entries(&self, ignored: &Ignored) -> Result<Vec<Entry>, TreeError> {
        if let Kind::File(name) = &self.kind {
            let size = std::fs::metadata(&self.path)
                .map_err(|cause| TreeError::Io {
                    path: self.path.clone(),
                    cause,
                })?
                .len();
            let kind = EntryKind::File(size);
            return Ok(vec![Entry {
                name: name.clone(),
                kind,
            }]);
        }
        let mut walk = Walk {
            tree: self,
            ignored,
            entries: Vec::new(),
            above: Vec::new(),
        };
        walk.folder(Path::new(""))?;
        walk.entries.sort();
        Ok(walk.entries)
    }

    /// Opens a file of the model for reading, if it is a regular one.
    ///
    /// # Errors
    /// If it is missing, no regular file, a link that is not to be followed, or unreadable.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let handle = match &self.kind {
            Kind::File(own) if own == name => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                rustix::fs::open(&self.path, flags, Mode::empty())?
            }
            Kind::File(_) => return Err(Errno::NOENT.into()),
            Kind::Folder { .. } => self.resolve(Path::new(name)).map_err(|error| match error {
                Errno::LOOP => io::Error::other("it is, or lies behind, a symbolic link"),
                Errno::XDEV => io::Error::other("a symbolic link in it leads out of the model"),
                error => error.into(),
            })?,
        };
        open_regular(&handle)
    }

    /// A handle on an entry, which is not opened for reading yet.
    fn resolve(&self, name: &Path) -> Result<OwnedFd, Errno> {
        let Kind::Folder { boundary, inside } = &self.kind else {
            return Err(Errno::NOTDIR);
        };
        let path = inside.join(name);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &path
        };
        let mut how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if self.symlinks == Symlinks::Refuse {
            how |= ResolveFlags::NO_SYMLINKS;
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        // The kernel gives up with EAGAIN where a rename elsewhere crossed its way.
        for _ in 0..64 {
            match rustix::fs::openat2(boundary, path, flags, Mode::empty(), how) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// Opens what `handle` stands for, if it is a regular file: opening a device or a FIFO can have
/// effects of its own, or block.
pub(crate) fn open_regular(handle: &OwnedFd) -> io::Result<File> {
    let status = rustix::fs::fstat(handle)?;
    if !FileType::from_raw_mode(status.st_mode).is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    // NONBLOCK: where somebody else holds a write lease, refuse rather than wait for it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?.into())
}

struct Walk<'a> {
    tree: &'a Tree,
    ignored: &'a Ignored,
    entries: Vec<Entry>,
    /// Device and inode of the folders on the way down.
    above: Vec<(u64, u64)>,
}

impl Walk<'_> {
    fn folder(&mut self, name: &Path) -> Result<(), TreeError> {
        let path = self.tree.path.join(name);
        let handle = self
            .tree
            .resolve(name)
            .map_err(|error| failed(&path, error))?;
        let status = rustix::fs::fstat(&handle).map_err(|error| failed(&path, error))?;
        let identity = identity(&status);
        if self.above.contains(&identity) {
            return Err(TreeError::Cycle(path));
        }
        if self.above.len() >= MAX_DEPTH {
            return Err(self.too_large());
        }
        self.above.push(identity);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&handle, ".", flags, Mode::empty())
            .map_err(|error| failed(&path, error))?;
        let listing = Dir::read_from(&folder).map_err(|error| failed(&path, error))?;
        for entry in listing {
            let entry = entry.map_err(|error| failed(&path, error))?;
            let own = entry.file_name().to_bytes();
            if own == b"." || own == b".." {
                continue;
            }
            self.entry(&folder, name, own)?;
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, within: &Path, own: &[u8]) -> Result<(), TreeError> {
        use std::os::unix::ffi::OsStrExt;
        let own = std::ffi::OsStr::from_bytes(own);
        let name = within.join(own);
        let Some(text) = name.to_str() else {
            return self.add(name.to_string_lossy().into_owned(), EntryKind::NotUtf8);
        };
        if self.ignored.covers(text) {
            return Ok(());
        }
        let path = self.tree.path.join(&name);
        let status = match rustix::fs::statat(folder, own, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            // Gone since the folder was listed; if it was signed it is missing.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(failed(&path, error)),
        };
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => self.add(text.to_owned(), EntryKind::File(size(&status))),
            FileType::Directory => self.folder(&name),
            FileType::Symlink => self.link(&name, text),
            _ => self.add(text.to_owned(), EntryKind::Special),
        }
    }

    fn link(&mut self, name: &Path, text: &str) -> Result<(), TreeError> {
        if self.tree.symlinks == Symlinks::Refuse {
            return self.add(text.to_owned(), EntryKind::Symlink);
        }
        let Ok(handle) = self.tree.resolve(name) else {
            return self.add(text.to_owned(), EntryKind::StrayLink);
        };
        let path = self.tree.path.join(name);
        let status = rustix::fs::fstat(&handle).map_err(|error| failed(&path, error))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => self.add(text.to_owned(), EntryKind::File(size(&status))),
            FileType::Directory => self.folder(name),
            _ => self.add(text.to_owned(), EntryKind::Special),
        }
    }

    fn add(&mut self, name: String, kind: EntryKind) -> Result<(), TreeError> {
        if self.entries.len() >= MAX_FILES {
            return Err(self.too_large());
        }
        self.entries.push(Entry { name, kind });
        Ok(())
    }

    fn too_large(&self) -> TreeError {
        TreeError::TooLarge {
            path: self.tree.path.clone(),
        }
    }
}

fn size(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or(0)
}

fn identity(status: &Stat) -> (u64, u64) {
    (status.st_dev, status.st_ino)
}

fn failed(path: &Path, error: Errno) -> TreeError {
    TreeError::Io {
        path: path.to_owned(),
        cause: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{ffi::OsStrExt, fs::symlink},
    };

    use super::*;

    fn names(tree: &Tree) -> Vec<(String, EntryKind)> {
        let entries = tree.entries(&Ignored::default()).unwrap();
        entries
            .into_iter()
            .map(|entry| (entry.name, entry.kind))
            .collect()
    }

    #[test]
    fn what_is_no_regular_file_is_listed_and_never_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("deep")).unwrap();
        fs::write(root.join("deep/weights"), b"abc").unwrap();
        symlink("deep/weights", root.join("inside")).unwrap();
        symlink("/etc/passwd", root.join("outside")).unwrap();
        rustix::fs::mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff")), b"").unwrap();

        let refusing = Tree::open(root, Symlinks::Refuse).unwrap();
        assert_eq!(
            names(&refusing),
            [
                ("deep/weights".into(), EntryKind::File(3)),
                ("fifo".into(), EntryKind::Special),
                ("inside".into(), EntryKind::Symlink),
                ("outside".into(), EntryKind::Symlink),
                ("\u{fffd}".into(), EntryKind::NotUtf8),
            ]
        );
        let following = Tree::open(root, Symlinks::FollowInside).unwrap();
        assert!(names(&following).contains(&("inside".into(), EntryKind::File(3))));
        assert!(names(&following).contains(&("outside".into(), EntryKind::StrayLink)));
        for (tree, name) in [
            (&refusing, "inside"),
            (&refusing, "fifo"),
            (&refusing, "deep"),
            (&following, "outside"),
            (&following, "../etc/passwd"),
            (&following, "/etc/passwd"),
        ] {
            assert!(tree.open_file(name).is_err(), "{name}");
        }
        assert!(following.open_file("inside").is_ok());
    }

    #[test]
    fn links_that_form_a_cycle_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        symlink("..", folder.path().join("a/up")).unwrap();
        let tree = Tree::open(folder.path(), Symlinks::FollowInside).unwrap();
        let error = tree.entries(&Ignored::default()).unwrap_err();
        assert!(matches!(error, TreeError::Cycle(_)), "{error}");
    }

    #[test]
    fn a_model_of_one_file_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        fs::write(&path, b"abc").unwrap();
        let tree = Tree::open(&path, Symlinks::Refuse).unwrap();
        assert_eq!(names(&tree), [("model.gguf".into(), EntryKind::File(3))]);
        assert!(tree.open_file("model.gguf").is_ok());
        assert!(tree.open_file("other").is_err());
    }
}
