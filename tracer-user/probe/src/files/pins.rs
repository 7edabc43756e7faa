//! What stays in the kernel when the tracer is gone, and how it is taken away again.
//!
//! Only a sensor with [`Gate::Deny`](super::Gate::Deny) that was told so pins anything: its links and
//! the table of who is let through, in a folder of the BPF file system that is named after the process
//! and its start. The next tracer lets itself through by that table, enforces anew, and then removes
//! the folder: there is no moment in which nobody refuses.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{FileSensor, gate};
use crate::{
    process::ProcessId,
    sys::{bpf, fanotify},
    table::Table,
};

/// Where everything is pinned.
const FOLDER: &str = "/sys/fs/bpf/tracer";
const EXEMPT: &str = "exempt";

/// What one tracer has pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    folder: PathBuf,
    owner: ProcessId,
}

impl Pinned {
    /// The process that pinned it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.owner.pid
    }

    /// Whether that process still lives.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.owner.is_alive()
    }

    /// Lets this process through what is pinned.
    ///
    /// # Errors
    /// If the pinned table cannot be opened or written.
    pub fn let_this_process_through(&self) -> io::Result<()> {
        let path = fanotify::path(&self.folder.join(EXEMPT))?;
        // SAFETY: only `pin` makes this name, for a table with these keys and values.
        let table: Table<u32, u64> = unsafe { Table::new(bpf::pinned(&path)?) };
        gate::exempt(&table, std::process::id())
    }

    /// Takes it out of the kernel, unless a process still has it open.
    ///
    /// # Errors
    /// If a name cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            fs::remove_file(entry?.path())?;
        }
        fs::remove_dir(&self.folder)?;
        // Not while another tracer has pinned something.
        let _ = fs::remove_dir(FOLDER);
        Ok(())
    }
}

/// Everything that is pinned on this host.
///
/// # Errors
/// If the folder is there and cannot be read.
pub fn all() -> io::Result<Vec<Pinned>> {
    let entries = match fs::read_dir(FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        let owner = folder.file_name().and_then(|name| name.to_str());
        let owner = owner.and_then(|name| name.strip_prefix("enforce-")?.split_once('-'));
        if let Some((pid, ticks)) = owner
            && let (Ok(pid), Ok(start_ticks)) = (pid.parse(), ticks.parse())
        {
            let owner = ProcessId { pid, start_ticks };
            found.push(Pinned { folder, owner });
        }
    }
    Ok(found)
}

impl FileSensor {
    /// Leaves the programs in the kernel when this process ends, however it ends.
    ///
    /// # Errors
    /// If the BPF file system is not mounted at `/sys/fs/bpf`, or refuses.
    pub fn pin(&self) -> io::Result<()> {
        let owner = ProcessId::of(std::process::id()).map_err(io::Error::other)?;
        let name = format!("enforce-{}-{}", owner.pid, owner.start_ticks);
        let folder = Path::new(FOLDER).join(name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        fs::set_permissions(FOLDER, fs::Permissions::from_mode(0o700))?;
        let pin = |object: BorrowedFd<'_>, name: &str| {
            bpf::pin(object, &fanotify::path(&folder.join(name))?)
        };
        let pinned = pin(self.loaded.tables.exempt.fd(), EXEMPT).and_then(|()| {
            let mut attached = self.loaded.attached.iter().enumerate();
            attached.try_for_each(|(number, attached)| {
                pin(attached.link.as_fd(), &format!("link-{number}"))
            })
        });
        if pinned.is_err() {
            // Half of it would refuse people and let nobody take over.
            let _ = Pinned { folder, owner }.remove();
        }
        pinned
    }
}
