//! What is at a name: looked at without following a link, and without waiting for a file system to
//! answer.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags, openat, statx};

use crate::{
    process::{FileId, device_of_mount},
    sys::fanotify,
};

/// Bytes of a path that a call takes, without the zero behind them (`PATH_MAX` of
/// include/uapi/linux/limits.h). Folders that were made one in the other have longer ones.
const LONGEST: usize = 4095;

/// Something found in a folder.
pub(super) struct Found {
    pub(super) id: FileId,
    pub(super) mount: u64,
    pub(super) kind: FileType,
    pub(super) size: u64,
    pub(super) links: u32,
}

/// Opens a folder, however long its path is.
pub(super) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut pieces = pieces(path);
    let last = pieces.pop().unwrap_or_default();
    let mut above: Option<OwnedFd> = None;
    for piece in &pieces {
        let at = above.as_ref().map_or(CWD, AsFd::as_fd);
        above = Some(openat(at, piece, flags | OFlags::PATH, Mode::empty())?);
    }
    let at = above.as_ref().map_or(CWD, AsFd::as_fd);
    Ok(openat(at, &last, flags, Mode::empty())?)
}

/// A path in pieces that a call takes, each one relative to the one before.
fn pieces(path: &Path) -> Vec<PathBuf> {
    let mut pieces = vec![PathBuf::new()];
    for component in path.components() {
        let length = component.as_os_str().len();
        let piece = pieces.last_mut().filter(|piece| {
            let before = piece.as_os_str().len();
            before == 0 || before + 1 + length <= LONGEST
        });
        match piece {
            Some(piece) => piece.push(component),
            None => pieces.push(component.as_os_str().into()),
        }
    }
    pieces
}

/// What is at a path.
pub(super) fn look_at(path: &Path) -> io::Result<Found> {
    if path.as_os_str().len() <= LONGEST {
        return look(CWD, &fanotify::path(path)?);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    look(
        open_folder(folder)?.as_fd(),
        &fanotify::path(name.as_ref())?,
    )
}

/// What is at a name, or behind a descriptor if that is empty, without following a link and without
/// waiting for a file system to answer.
pub(super) fn look(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Found> {
    look_in(folder, name, None)
}

/// As [`look`]; what lies on the same mount as `here` lies on its device.
pub(super) fn look_in(
    folder: BorrowedFd<'_>,
    name: &CStr,
    here: Option<&Found>,
) -> io::Result<Found> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC | AtFlags::EMPTY_PATH;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let found: Statx = statx(folder, name, flags, wanted)?;
    let near = here.filter(|here| here.mount == found.stx_mnt_id);
    Ok(Found {
        id: FileId {
            device: near.map_or_else(|| device(&found), |here| here.id.device),
            inode: found.stx_ino,
        },
        mount: found.stx_mnt_id,
        kind: FileType::from_raw_mode(found.stx_mode.into()),
        size: found.stx_size,
        links: found.stx_nlink,
    })
}

/// The file behind a descriptor.
pub(super) fn id_of(file: BorrowedFd<'_>) -> io::Result<FileId> {
    Ok(look(file, c"")?.id)
}

/// The kernel's own device number of a file's file system. What `stat` says may be another one where
/// a file system answers with numbers of its own, as overlays and btrfs do: the mount tells.
fn device(found: &Statx) -> u32 {
    let told = found.stx_dev_major << 20 | found.stx_dev_minor;
    if found.stx_dev_major != 0 {
        return told;
    }
    device_of_mount(std::process::id(), found.stx_mnt_id).unwrap_or(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_opened_in_pieces_that_a_call_takes() {
        let name = "n".repeat(200);
        let mut path = PathBuf::from("/");
        for _ in 0..50 {
            path.push(&name);
        }
        let pieces = pieces(&path);
        assert!(pieces.len() > 1);
        assert!(
            pieces
                .iter()
                .all(|piece| piece.as_os_str().len() <= LONGEST)
        );
        assert!(pieces[0].is_absolute() && pieces[1].is_relative());
        assert_eq!(pieces.iter().collect::<PathBuf>(), path);
        assert_eq!(super::pieces(Path::new("/a/b")), [PathBuf::from("/a/b")]);
    }
}
