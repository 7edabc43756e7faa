//! Opening a file by the path that a process knows it by.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

/// How often it is tried while somebody renames folders on the way.
const TRIES: u32 = 3;

/// Opens a regular file for reading by its path as the process sees it: links and `..` lead nowhere above
/// the process's own root; neither a named pipe nor a lease on the file holds this up.
///
/// # Errors
/// If the process has ended, or there is no such file.
///
/// # Minimum kernel version
/// 5.6, for `openat2`.
pub fn open_inside(pid: u32, path: &Path) -> io::Result<File> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let path = if path.is_absolute() {
        path.to_owned()
    } else {
        working_folder(pid, &root)?.join(path)
    };
    let root = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(root)?;
    open_within(&root, &path)
}

/// Opens a regular file below a root. Links and `..` lead nowhere above it; neither a named pipe nor a
/// lease on the file holds this up.
pub(super) fn open_within(root: &File, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 1;
    let file = loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < TRIES => tries += 1,
            opened => break File::from(opened?),
        }
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// The process's working folder, as a path from its root.
fn working_folder(pid: u32, root: &Path) -> io::Result<PathBuf> {
    let folder = fs::read_link(format!("/proc/{pid}/cwd"))?;
    // In the same mount namespace the kernel tells both as this process sees them (chroot).
    let root = fs::read_link(root)?;
    match folder.strip_prefix(&root) {
        Ok(inside) => Ok(Path::new("/").join(inside)),
        Err(_) => Ok(folder),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_path_means_what_the_process_would_open() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("model");
        fs::write(&file, b"GGUF").expect("it can be written");
        let read = |path: &Path| {
            let mut bytes = Vec::new();
            open_inside(std::process::id(), path)?.read_to_end(&mut bytes)?;
            io::Result::Ok(bytes)
        };
        assert_eq!(read(&file).expect("it is there"), b"GGUF");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).expect("it can be made");
        assert_eq!(read(&link).expect("it leads there"), b"GGUF");
        assert!(read(folder.path()).is_err());
        // Relative to the folder that tests run in, the crate's.
        assert!(read(Path::new("Cargo.toml")).is_ok());
    }

    #[test]
    fn a_named_pipe_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR).expect("it can be made");
        assert!(open_inside(std::process::id(), &pipe).is_err());
    }
}
