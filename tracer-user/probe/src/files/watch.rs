//! The inodes that are watched, and where they are.
//!
//! An inode counts, never a path: what is found under a watched folder is watched under every other
//! name too, until it is gone. Folders are walked from one opened folder to the next, so that nothing
//! that is swapped meanwhile is followed.

use std::{
    collections::{HashMap, VecDeque},
    ffi::{CStr, CString, OsStr},
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use tracer_abi::file::{MAX_FOLDERS, MAX_WATCHED};

use super::{
    load::{Tables, key},
    look::{Found, look, look_at, look_in, open_folder},
};
use crate::{
    process::FileId,
    sys::{
        fanotify::{self, Entry, Fanotify, Handle},
        permission::Permission,
    },
};

/// Folders below each other that are walked; what lies deeper is counted and told.
const DEEPEST: usize = 64;
/// Inodes that are gone and still recognised.
const MOST_GONE: usize = 1024;

/// A watched inode.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// Where it was found, or is by the newest rename.
    pub(super) path: Option<PathBuf>,
    /// Bytes, when last looked at.
    pub(super) size: u64,
    /// Names, when last looked at.
    pub(super) links: u32,
    /// Whether `path` has ceased to be its name.
    pub(super) moved: bool,
    handle: Option<Handle>,
}

impl Watched {
    /// Whether fanotify tells of it.
    pub(super) fn is_marked(&self) -> bool {
        self.handle.is_some()
    }
}

/// Every watched inode and folder.
#[derive(Default)]
pub(super) struct Watch {
    files: HashMap<FileId, Watched>,
    folders: HashMap<FileId, PathBuf>,
    folder_handles: HashMap<FileId, Handle>,
    by_handle: HashMap<Handle, FileId>,
    /// Handles of inodes that are gone: notices about them may still come.
    gone: VecDeque<Handle>,
    /// Masks of the marks on folders and files.
    masks: (u64, u64),
    /// Files that were found in a folder that had just come, until they are told.
    fresh: Option<Vec<FileId>>,
    /// Entries that found no room or could not be looked at, or lay too deep, since the last look.
    pub(super) full: u64,
    pub(super) too_deep: u64,
    /// Where openers of files and of what is in the folders wait, if they have to.
    pub(super) gate: Option<Arc<Permission>>,
    /// Why names and notices of a file system are not told, by device.
    pub(super) unmarked: HashMap<u32, String>,
}

/// What the walk needs.
pub(super) struct Means<'a> {
    pub(super) tables: &'a Tables,
    pub(super) fanotify: Option<&'a Fanotify>,
}

impl Watch {
    pub(super) fn new(folder_mask: u64, file_mask: u64, gate: Option<Arc<Permission>>) -> Self {
        Self {
            masks: (folder_mask, file_mask),
            gate,
            ..Self::default()
        }
    }

    /// Watches a folder and all below it, or a single file.
    pub(super) fn add_root(&mut self, means: &Means<'_>, path: &Path) -> io::Result<()> {
        let path = fs::canonicalize(path)?;
        let name = fanotify::path(&path)?;
        let found = look(rustix::fs::CWD, &name)?;
        match found.kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let folder = openat(rustix::fs::CWD, &name, flags, Mode::empty())?;
                self.walk(means, folder, path, DEEPEST, true)
            }
            FileType::RegularFile => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                let folder = open_folder(parent)?;
                let name = CString::new(path.file_name().unwrap_or_default().as_bytes())
                    .map_err(io::Error::other)?;
                let found = look(folder.as_fd(), &name)?;
                self.add_file(means, folder.as_fd(), &name, &found, Some(path))
            }
            _ => Err(io::Error::other("it is neither a folder nor a file")),
        }
    }

    /// Watches an inode of which no name is known.
    pub(super) fn add_inode(
        &mut self,
        tables: &Tables,
        id: FileId,
        path: Option<PathBuf>,
    ) -> io::Result<()> {
        tables.watch(key(id))?;
        self.files.entry(id).or_insert(Watched {
            path,
            size: 0,
            links: 0,
            moved: false,
            handle: None,
        });
        Ok(())
    }

    /// Watches the file behind a descriptor.
    pub(super) fn add_open(
        &mut self,
        means: &Means<'_>,
        file: BorrowedFd<'_>,
        id: FileId,
        path: Option<PathBuf>,
    ) -> io::Result<()> {
        let found = Found {
            id,
            ..look(file, c"")?
        };
        self.add_file(means, file, c"", &found, path)
    }

    /// Takes a file or folder that has come into a watched folder. Returns what it is, and whether it
    /// was known.
    pub(super) fn came(
        &mut self,
        means: &Means<'_>,
        entry: &Entry,
    ) -> io::Result<Option<(FileId, PathBuf, bool)>> {
        let Some(folder) = self.folder_of(entry) else {
            return Ok(None);
        };
        let folder = folder.to_owned();
        let path = folder.join(OsStr::from_bytes(&entry.name));
        self.came_to(means, &folder, path)
    }

    fn came_to(
        &mut self,
        means: &Means<'_>,
        folder: &Path,
        path: PathBuf,
    ) -> io::Result<Option<(FileId, PathBuf, bool)>> {
        let opened = open_folder(folder)?;
        let name = CString::new(path.file_name().unwrap_or_default().as_bytes())
            .map_err(io::Error::other)?;
        let found = look(opened.as_fd(), &name)?;
        let before = self.files.get(&found.id).map(|file| file.handle.clone());
        match found.kind {
            FileType::RegularFile => {
                self.add_file(means, opened.as_fd(), &name, &found, Some(path.clone()))?;
                let now = self.files.get(&found.id).map(|file| file.handle.clone());
                // Its number may be that of a file that is gone.
                let known = before.is_some() && before == now;
                Ok(Some((found.id, path, known)))
            }
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = openat(&opened, &name, flags, Mode::empty())?;
                self.fresh.get_or_insert_default();
                self.walk(means, below, path, DEEPEST, false)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Files that came with a folder: whoever made them was faster than the folder's mark.
    pub(super) fn take_fresh(&mut self) -> Vec<FileId> {
        self.fresh.take().unwrap_or_default()
    }

    /// Learns where an inode is that the programs began to watch by themselves.
    pub(super) fn learn(&mut self, means: &Means<'_>, id: FileId, folder: FileId, name: &[u8]) {
        let known = self.files.get(&id).and_then(|file| file.path.as_deref());
        if name.is_empty() {
            return;
        }
        let Some(folder) = self.folders.get(&folder).cloned() else {
            if known.is_none() {
                let _ = self.add_inode(means.tables, id, None);
            }
            return;
        };
        let path = folder.join(OsStr::from_bytes(name));
        // Another name of the same file, or another file that got its number.
        if known == Some(path.as_path()) {
            return;
        }
        // By now another file may have that name; then this one's place is not known.
        if !matches!(self.came_to(means, &folder, path), Ok(Some((found, ..))) if found == id) {
            let _ = self.add_inode(means.tables, id, None);
        }
    }

    /// Forgets the inode with this handle, which is gone. What has its number by now is left alone.
    pub(super) fn gone(&mut self, tables: &Tables, id: FileId, handle: &Handle) {
        let is_it = |known: Option<&Handle>| known == Some(handle);
        if is_it(self.files.get(&id).and_then(|file| file.handle.as_ref())) {
            self.files.remove(&id);
            let _ = tables.watched.remove(key(id));
        }
        if is_it(self.folder_handles.get(&id)) {
            self.folder_handles.remove(&id);
            self.folders.remove(&id);
            // Another folder may get its number.
            let _ = tables.folders.remove(key(id));
        }
        if self.by_handle.contains_key(handle) {
            self.gone.push_back(handle.clone());
        }
        while self.gone.len() > MOST_GONE {
            if let Some(handle) = self.gone.pop_front() {
                self.by_handle.remove(&handle);
            }
        }
    }

    /// Looks at a file again: its size and number of names, before and now. None if another file is
    /// at its path.
    pub(super) fn refresh(&mut self, id: FileId) -> Option<(Watched, Watched)> {
        let file = self.files.get_mut(&id)?;
        let before = file.clone();
        let found = look_at(file.path.as_ref()?)
            .ok()
            .filter(|found| found.id == id)?;
        file.size = found.size;
        file.links = found.links;
        Some((before, file.clone()))
    }

    /// Notes that a file's path is no longer its name; says whether that is new.
    pub(super) fn lost_its_path(&mut self, id: FileId) -> bool {
        match self.files.get_mut(&id) {
            Some(file) => !std::mem::replace(&mut file.moved, true),
            None => false,
        }
    }

    /// A rename inside the watched folders: where the file or folder was, and is.
    pub(super) fn renamed(&mut self, id: FileId, to: &Path) {
        if let Some(file) = self.files.get_mut(&id) {
            file.path = Some(to.to_owned());
            file.moved = false;
        }
        let Some(from) = self.folders.get(&id).cloned() else {
            return;
        };
        let moved = |path: &Path| path.strip_prefix(&from).map(|rest| to.join(rest)).ok();
        for path in self.folders.values_mut() {
            if let Some(now) = moved(path) {
                *path = now;
            }
        }
        for file in self.files.values_mut() {
            if let Some(now) = file.path.as_deref().and_then(moved) {
                file.path = Some(now);
            }
        }
    }

    /// The watched inode that a notice is about.
    pub(super) fn by_handle(&self, handle: &Handle) -> Option<FileId> {
        self.by_handle.get(handle).copied()
    }

    /// Whether it is this inode that is watched, and not one that got its number.
    pub(super) fn is_current(&self, id: FileId, handle: &Handle) -> bool {
        let known = self.files.get(&id).and_then(|file| file.handle.as_ref());
        known.is_none_or(|known| known == handle)
    }

    /// The path of a name in a watched folder.
    pub(super) fn path_of(&self, entry: &Entry) -> Option<PathBuf> {
        let folder = self.folder_of(entry)?;
        Some(folder.join(OsStr::from_bytes(&entry.name)))
    }

    /// What is known of an inode.
    pub(super) fn file(&self, id: FileId) -> Option<&Watched> {
        self.files.get(&id)
    }

    /// Whether it is a watched folder.
    pub(super) fn is_folder(&self, id: FileId) -> bool {
        self.folders.contains_key(&id)
    }

    /// Every watched inode.
    pub(super) fn files(&self) -> impl Iterator<Item = (FileId, &Watched)> {
        self.files.iter().map(|(id, file)| (*id, file))
    }

    /// How many files and folders are watched.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.files.len(), self.folders.len())
    }

    fn folder_of(&self, entry: &Entry) -> Option<&Path> {
        let id = self.by_handle.get(&entry.folder)?;
        self.folders.get(id).map(PathBuf::as_path)
    }

    /// Marks a folder, and then everything in it: what comes meanwhile is either found or told.
    fn walk(
        &mut self,
        means: &Means<'_>,
        folder: OwnedFd,
        path: PathBuf,
        depth: usize,
        is_root: bool,
    ) -> io::Result<()> {
        let here = look(folder.as_fd(), c".")?;
        self.add_folder(means, folder.as_fd(), &here, &path, is_root)?;
        if depth == 0 {
            self.too_deep += 1;
            return Ok(());
        }
        for entry in Dir::read_from(&folder)? {
            let Ok(entry) = entry else {
                self.full += 1;
                break;
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            // What is gone again is no error; what cannot be looked at is counted, and not the rest.
            let found = match look_in(folder.as_fd(), name, Some(&here)) {
                Ok(found) => found,
                Err(error) => {
                    self.full += u64::from(error.kind() != io::ErrorKind::NotFound);
                    continue;
                }
            };
            let inside = path.join(OsStr::from_bytes(name.to_bytes()));
            let done = match found.kind {
                FileType::RegularFile => {
                    self.add_file(means, folder.as_fd(), name, &found, Some(inside))
                }
                FileType::Directory => {
                    let flags =
                        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    openat(&folder, name, flags, Mode::empty())
                        .map_err(io::Error::from)
                        .and_then(|below| {
                            // Where another file system is mounted, its root is a root of its own.
                            let mounted = found.id.device != here.id.device;
                            self.walk(means, below, inside, depth - 1, mounted)
                        })
                }
                _ => Ok(()),
            };
            if done.is_err() {
                self.full += 1;
            }
        }
        Ok(())
    }

    fn add_folder(
        &mut self,
        means: &Means<'_>,
        folder: BorrowedFd<'_>,
        here: &Found,
        path: &Path,
        is_root: bool,
    ) -> io::Result<()> {
        if self.folders.len() >= MAX_FOLDERS as usize && !self.folders.contains_key(&here.id) {
            return Err(io::Error::other("more folders than can be watched"));
        }
        self.folders.insert(here.id, path.to_owned());
        if is_root {
            means.tables.folders.put(key(here.id), &1)?;
            means.tables.mark_device(key(here.id))?;
            // Last: what was found out about other folders until now is void from here on.
            means.tables.folders_changed()?;
        }
        let handle = self.mark(means, folder, c".", here.id, self.masks.0);
        self.folder_handles
            .extend(handle.map(|handle| (here.id, handle)));
        Ok(())
    }

    fn add_file(
        &mut self,
        means: &Means<'_>,
        folder: BorrowedFd<'_>,
        name: &CStr,
        found: &Found,
        path: Option<PathBuf>,
    ) -> io::Result<()> {
        if self.files.len() >= MAX_WATCHED as usize && !self.files.contains_key(&found.id) {
            return Err(io::Error::other("more files than can be watched"));
        }
        means.tables.watch(key(found.id))?;
        let handle = self.mark(means, folder, name, found.id, self.masks.1);
        // A number goes to another file once its own is gone, and that may not have been told yet.
        if let (Some(known), Some(handle)) = (self.files.get(&found.id), &handle)
            && known.handle.as_ref().is_some_and(|known| known != handle)
        {
            self.files.remove(&found.id);
        }
        // One that the programs told of before its folder was known has no path yet.
        let has_path = |file: &Watched| file.path.is_some();
        if let Some(fresh) = &mut self.fresh
            && !self.files.get(&found.id).is_some_and(has_path)
        {
            fresh.push(found.id);
        }
        let file = self.files.entry(found.id).or_insert(Watched {
            path: None,
            size: found.size,
            links: found.links,
            moved: false,
            handle: None,
        });
        file.links = found.links;
        file.path = file.path.take().or(path);
        file.handle = file.handle.take().or(handle);
        Ok(())
    }

    fn mark(
        &mut self,
        means: &Means<'_>,
        folder: BorrowedFd<'_>,
        name: &CStr,
        id: FileId,
        mask: u64,
    ) -> Option<Handle> {
        if let Some(gate) = &self.gate
            && let Err(error) = gate.mark(folder, name)
        {
            // Nobody waits there: told as a loss, for whoever relies on it.
            self.unmarked.insert(id.device, error.to_string());
            self.full += 1;
        }
        let fanotify = means.fanotify?;
        let marked = fanotify::handle_at(folder, name)
            .and_then(|handle| fanotify.mark(folder, name, mask).map(|()| handle));
        match marked {
            Ok(handle) => {
                self.by_handle.insert(handle.clone(), id);
                Some(handle)
            }
            Err(error) => {
                self.unmarked.insert(id.device, error.to_string());
                // Where no program sees who opens it, nobody does.
                self.full += u64::from(mask & libc::FAN_OPEN != 0);
                None
            }
        }
    }
}
