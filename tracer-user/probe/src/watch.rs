//! New executable mappings, as the kernel makes them.

use std::{io, os::fd::BorrowedFd};

use crate::{
    process::FileId,
    sys::{
        cpus,
        perf::{Sideband, SidebandEvent},
    },
};

/// Listens on every CPU.
pub(crate) struct Watch(Vec<Sideband>);

/// What happened since the last look.
#[derive(Default)]
pub(crate) struct Mapped {
    /// Processes, the files they mapped executable, and the generations of these inodes.
    pub(crate) files: Vec<(u32, FileId, u64)>,
    /// Some were not told: look at every process.
    pub(crate) lost: bool,
}

impl Watch {
    pub(crate) fn open() -> io::Result<Self> {
        let cpus = cpus::online()?;
        let open = |cpu: u32| Sideband::open_on(i32::try_from(cpu).map_err(io::Error::other)?);
        cpus.into_iter()
            .map(open)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// What becomes readable when there is something.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(Sideband::fd)
    }

    /// Takes what has happened.
    pub(crate) fn drain(&mut self) -> Mapped {
        let mut events = Vec::new();
        for sideband in &mut self.0 {
            sideband.drain(&mut events);
        }
        let mut mapped = Mapped::default();
        for event in events {
            match event {
                SidebandEvent::Mapped {
                    pid,
                    file,
                    generation,
                } => mapped.files.push((pid, file, generation)),
                SidebandEvent::Lost(_) => mapped.lost = true,
            }
        }
        mapped
    }
}
