//! `tracer files --enforce`: nobody opens a watched file for which nobody vouches.

mod checker;
mod gatekeeper;
mod policy;
mod table;
pub(crate) mod watchdog;

use std::{
    fs::{File, Metadata, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::mpsc::Receiver,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;
use tracer_probe::{
    LoadError,
    files::{
        Act, FileEvent, FileSensor, Gate, Lost, file_id,
        pins::{self, Pinned},
    },
    process::FileId,
};

use self::{
    checker::Checker,
    gatekeeper::{Gatekeeper, Refusal},
    table::VerdictTable,
};

pub(super) use self::policy::Policy;
use crate::{output::progress::Progress, trouble::Trouble};

/// How often it is looked whether the watched files were hashed.
const PAUSE: Duration = Duration::from_millis(20);

/// Lets this process through what earlier tracers left in the kernel.
///
/// # Errors
/// If one of them lives, or its table cannot be written.
pub(super) fn let_through() -> Result<Vec<Pinned>> {
    let before = pins::all().context("look for what is pinned in /sys/fs/bpf/tracer")?;
    for pinned in &before {
        if pinned.is_in_use() {
            let pid = pinned.pid();
            return Err(Trouble::new(
                format!("process {pid} enforces a policy on this host already"),
                format!("end it first: kill -INT {pid}"),
            )
            .into());
        }
        pinned.let_this_process_through().context(
            "get past what an earlier tracer enforces; `tracer files --release` ends it",
        )?;
    }
    Ok(before)
}

/// Why a gate cannot be had here, and what can.
pub(super) fn cannot(gate: Gate, error: &LoadError) -> Trouble {
    match gate {
        Gate::Deny => Trouble::new(
            format!("gate = \"deny\" does not work here: {error}"),
            "use gate = \"wait\", or start the kernel with bpf in lsm=",
        ),
        Gate::Wait => Trouble::new(
            format!("gate = \"wait\" does not work here: {error}"),
            "use gate = \"deny\" where the kernel has BPF LSM",
        ),
    }
}

/// What decides who gets in.
pub(super) enum Enforcer {
    /// Who opens waits.
    Wait {
        gatekeeper: Gatekeeper,
        refusals: Receiver<Refusal>,
    },
    /// The kernel looks into a table.
    Deny(VerdictTable),
}

impl Enforcer {
    /// Starts what answers, before the first file is watched.
    ///
    /// # Errors
    /// If what files are compared with cannot be read, or a thread cannot be started.
    pub(super) fn start(sensor: &FileSensor, policy: &Policy) -> Result<Self> {
        let checker = Checker::new(&policy.trust)?;
        Ok(match policy.gate {
            Gate::Wait => {
                let waiting = sensor.waiting().context("this sensor holds nobody")?;
                let (gatekeeper, refusals) = Gatekeeper::start(waiting, checker, policy)?;
                Self::Wait {
                    gatekeeper,
                    refusals,
                }
            }
            Gate::Deny => Self::Deny(VerdictTable::start(checker)?),
        })
    }

    /// Hashes every file that is watched now. Where the kernel decides, that is waited for: whoever
    /// enforced before is only then let go.
    ///
    /// # Errors
    /// If the kernel's table cannot be written.
    pub(super) fn prepare(&mut self, sensor: &mut FileSensor) -> Result<()> {
        for (id, path) in sensor.watched_files() {
            self.hash(sensor, id, &path);
        }
        let progress = Progress::of("verifying the watched files");
        while let Self::Deny(table) = self
            && !table.is_idle()
        {
            table.settle(sensor)?;
            thread::sleep(PAUSE);
        }
        drop(progress);
        Ok(())
    }

    /// Takes what happened: who wrote, and what came.
    pub(super) fn consider(&mut self, sensor: &FileSensor, event: &mut FileEvent) {
        match event {
            FileEvent::Access(access) => {
                if access.act == Act::Refused
                    && access.reason.is_none()
                    && let Self::Deny(table) = self
                {
                    access.reason = Some(table.reason(access.file));
                }
                let came = matches!(access.act, Act::Created | Act::Renamed | Act::Linked);
                if access.act.may_change_bytes() || access.act == Act::Deleted {
                    self.written(sensor, access.file);
                }
                let again = access.act.may_change_bytes() || access.act == Act::Refused;
                if came || (again && matches!(self, Self::Deny(_))) {
                    let path = access.path.clone().or_else(|| access.other.clone());
                    if let Some(path) = path {
                        self.hash(sensor, access.file, &path);
                    }
                }
            }
            FileEvent::Lost(lost) => match lost.what {
                Lost::Accesses | Lost::Missed | Lost::Notices | Lost::Files | Lost::Depth => {
                    match self {
                        Self::Wait { gatekeeper, .. } => gatekeeper.events_lost(),
                        // The kernel counts writes itself.
                        Self::Deny(_) => {}
                    }
                }
                Lost::Names => {}
            },
        }
    }

    /// Takes what was decided since the last call.
    ///
    /// # Errors
    /// If the kernel's table cannot be written.
    pub(super) fn settle(&mut self, sensor: &mut FileSensor) -> Result<()> {
        match self {
            Self::Wait {
                refusals,
                gatekeeper,
            } => {
                ensure!(
                    !gatekeeper.has_ended(),
                    "the thread that answers openers has ended, so the gate is opened"
                );
                for Refusal { pid, file, reason } in refusals.try_iter() {
                    sensor.tell_refused(pid, file, reason);
                }
                Ok(())
            }
            Self::Deny(table) => table.settle(sensor),
        }
    }

    fn written(&mut self, sensor: &FileSensor, file: FileId) {
        match self {
            Self::Wait { gatekeeper, .. } => gatekeeper.written(file),
            Self::Deny(table) => table.written(sensor, file),
        }
    }

    fn hash(&mut self, sensor: &FileSensor, id: FileId, path: &Path) {
        // What is there by now may be another file, or none.
        let Some(file) = open(path).filter(|file| file_id(file).is_ok_and(|found| found == id))
        else {
            return;
        };
        match self {
            Self::Wait { gatekeeper, .. } => gatekeeper.prepare(file, id),
            Self::Deny(table) => table.hash(sensor, file, id),
        }
    }
}

/// Opens a regular file to hash it, never waiting for a FIFO or a device.
fn open(path: &Path) -> Option<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .ok()?;
    file.metadata().ok().filter(Metadata::is_file)?;
    Some(file)
}
