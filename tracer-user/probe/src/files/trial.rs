//! Tries a tier: attaches its programs and looks whether they are called.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use tracer_abi::file::FileAct;

use super::{
    load::{
        Attached, CUT, HOOKS, KPROBE, MOVE, PAGE_CACHE, Tables, attach_tracepoint, fentry, fexit,
        key, lsm,
    },
    tier::{Coverage, Tier},
};
use crate::{
    btf::KernelTypes,
    load::{Form, Relocated},
    process::FileId,
    sys::{bpf, perf},
};

/// Attaching a tier and finding out whether it is called.
pub(super) struct Trial<'a> {
    pub(super) types: &'a KernelTypes,
    pub(super) object: &'a Relocated,
    pub(super) tables: &'a Tables,
    pub(super) enforces: bool,
}

impl Trial<'_> {
    pub(super) fn attach(&mut self, tier: Tier) -> Result<(Coverage, Vec<Attached>), String> {
        let mut coverage = Coverage {
            tier,
            page_cache: false,
            direct: false,
            fanotify: false,
        };
        let mut links = Vec::new();
        if tier == Tier::Tracepoint {
            links.push(
                attach_tracepoint(self.object, "file_dirty", "writeback_mark_inode_dirty")
                    .map_err(|error| error.to_string())?,
            );
            let direct = attach_tracepoint(self.object, "file_direct", "iomap_dio_rw_begin");
            coverage.direct = direct.is_ok();
            links.extend(direct.ok());
            let pages: Result<Vec<_>, _> = PAGE_CACHE
                .iter()
                .map(|(program, name)| attach_tracepoint(self.object, program, name))
                .collect();
            coverage.page_cache = pages.is_ok();
            links.extend(pages.into_iter().flatten());
            return Ok((coverage, links));
        }
        for (suffix, function, hook) in HOOKS {
            let link = match tier {
                Tier::Lsm => self.to_target(&format!("lsm_{suffix}"), function, hook, lsm()),
                Tier::Fentry => {
                    self.to_target(&format!("fentry_{suffix}"), function, function, fentry())
                }
                Tier::Kprobe | Tier::Tracepoint => {
                    let program = format!("kprobe_{suffix}");
                    self.to_kprobe(&program, function, perf::open_kprobe)
                }
            };
            links.push(link.map_err(|why| format!("{function}: {why}"))?);
        }
        if self.enforces {
            let (program, hook) = CUT;
            let link = self.to_target(program, hook, hook, lsm());
            links.push(link.map_err(|why| format!("{hook}: {why}"))?);
        }
        self.prove().map_err(|error| {
            format!("its programs were loaded and attached, and are not called: {error}")
        })?;
        // Without them folders are not remembered, and the way up from a file is gone each time.
        if let Ok(moves) = self.attach_moves(tier) {
            links.extend(moves);
            self.tables
                .moves_are_counted()
                .map_err(|error| error.to_string())?;
        }
        Ok((coverage, links))
    }

    /// What counts moves: first where they begin, so that none is thought to be over that is not.
    fn attach_moves(&self, tier: Tier) -> Result<[Attached; 2], String> {
        if tier == Tier::Kprobe {
            return Ok([
                self.to_kprobe("kprobe_move_begins", MOVE, perf::open_kprobe)?,
                self.to_kprobe("kprobe_move_ends", MOVE, perf::open_kretprobe)?,
            ]);
        }
        Ok([
            self.to_target("fentry_move_begins", MOVE, MOVE, fentry())?,
            self.to_target("fexit_move_ends", MOVE, MOVE, fexit())?,
        ])
    }

    fn to_target(
        &self,
        program: &str,
        function: &'static str,
        target: &str,
        form: Form,
    ) -> Result<Attached, String> {
        let target = self
            .types
            .function(target)
            .ok_or_else(|| format!("this kernel has no function {target}"))?;
        let program = self
            .object
            .load_form(program, Form { target, ..form })
            .map_err(|error| error.to_string())?;
        let link = bpf::attach_to_target(program.as_fd());
        let link = link.map_err(|error| format!("cannot attach: {error}"))?;
        Ok(Attached {
            function,
            link,
            program,
        })
    }

    fn to_kprobe(
        &self,
        program: &str,
        function: &'static str,
        open: fn(&CStr) -> io::Result<OwnedFd>,
    ) -> Result<Attached, String> {
        let name = CString::new(function).map_err(|error| error.to_string())?;
        let event = open(&name).map_err(|error| format!("no kprobe: {error}"))?;
        let program = self
            .object
            .load_form(program, KPROBE)
            .map_err(|error| error.to_string())?;
        let link = bpf::link_perf_event(program.as_fd(), event.as_fd(), 0);
        let link = link.map_err(|error| format!("cannot attach: {error}"))?;
        Ok(Attached {
            function,
            link,
            program,
        })
    }

    /// Opens and reads a file of this process alone, and looks whether that was seen. A kernel
    /// without `bpf` among its security modules loads LSM programs, attaches them, and never calls
    /// them.
    fn prove(&self) -> io::Result<()> {
        // SAFETY: the name is a string, and the call makes a new descriptor.
        let fd = unsafe { libc::memfd_create(c"tracer".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a descriptor that nobody else owns.
        let memory = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        memory.set_len(1)?;
        let key = key(FileId::of(&memory.metadata()?));
        self.tables.watch(key)?;
        let tried =
            File::open(format!("/proc/self/fd/{}", memory.as_raw_fd())).and_then(|mut again| {
                again.rewind()?;
                again.read_exact(&mut [0])
            });
        self.tables.watched.remove(key)?;
        tried?;
        let mut seen = [0; FileAct::COUNT];
        for entry in self.tables.accesses.keys(1 << 16)? {
            if (entry.inode, entry.device) != (key.inode, key.device) {
                continue;
            }
            if let Some(access) = self.tables.accesses.get(entry)?
                && entry.pid == std::process::id()
            {
                seen = access.counts;
            }
            self.tables.accesses.remove(entry)?;
        }
        if seen[FileAct::Open as usize] > 0 && seen[FileAct::Read as usize] > 0 {
            return Ok(());
        }
        let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        Err(io::Error::other(format!(
            "a file that was opened and read for a trial was not seen; the kernel's security \
             modules are `{}`",
            modules.trim()
        )))
    }
}
