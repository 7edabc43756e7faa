//! Brings the file programs into the kernel: the best tier whose programs are really called.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use aya::EbpfLoader;
use tracer_abi::{
    LossCell,
    file::{AccessKey, FILE_FIELDS, FileAccess, FileAct, FileActor, FileKey},
};

use super::tier::{Coverage, Tier};
use crate::{
    btf::KernelTypes,
    features::Host,
    load::{FILES_OBJECT, Form, LoadError, Maps, Relocated, maps_error},
    process::FileId,
    ring::RingBuffer,
    sys::{bpf, perf},
    table::Table,
};

/// The maps that user space reads and writes.
pub(super) struct Tables {
    pub(super) watched: Table<FileKey, u32>,
    pub(super) folders: Table<FileKey, u32>,
    pub(super) devices: Table<u32, u32>,
    pub(super) has_folders: Table<u32, u32>,
    pub(super) accesses: Table<AccessKey, FileAccess>,
    pub(super) exited: Table<u32, FileActor>,
    pub(super) losses: Table<u32, LossCell>,
}

/// The file programs, loaded and attached; dropping it detaches them.
pub(super) struct Loaded {
    pub(super) tables: Tables,
    pub(super) ring: RingBuffer,
    pub(super) coverage: Coverage,
    /// Better tiers, and why each is not the one.
    pub(super) passed_over: Vec<(Tier, String)>,
    _links: Vec<OwnedFd>,
}

/// The hooks of the first three tiers: program suffix, function, LSM hook.
const HOOKS: [(&str, &str, &str); 4] = [
    ("file_open", "security_file_open", "bpf_lsm_file_open"),
    (
        "file_permission",
        "security_file_permission",
        "bpf_lsm_file_permission",
    ),
    ("mmap_file", "security_mmap_file", "bpf_lsm_mmap_file"),
    (
        "file_receive",
        "security_file_receive",
        "bpf_lsm_file_receive",
    ),
];

/// The tracepoints of the page cache, which come and go together.
const PAGE_CACHE: [(&str, &str); 3] = [
    ("file_get_pages", "mm_filemap_get_pages"),
    ("file_map_pages", "mm_filemap_map_pages"),
    ("file_fault", "mm_filemap_fault"),
];

impl Loaded {
    /// Loads the best tier that works, or the one given.
    pub(super) fn new(wanted: Option<Tier>) -> Result<Self, LoadError> {
        if let Some(obstacle) = Host::read().obstacle() {
            return Err(obstacle.into());
        }
        let types = KernelTypes::of_running_kernel()?;
        let mut loader = EbpfLoader::new();
        let mut offsets = Vec::new();
        for field in FILE_FIELDS {
            offsets.push((
                field.global,
                types.field_offset(field.structure, field.field)?,
            ));
        }
        for (global, offset) in &offsets {
            loader.override_global(global, offset, true);
        }
        let loaded = loader
            .load(FILES_OBJECT)
            .map_err(|error| maps_error(&error))?;
        let mut maps = Maps::of(&loaded)?;
        let object = Relocated::new(FILES_OBJECT, &maps)?;
        let capacity = |map: &OwnedFd| {
            bpf::max_entries(map.as_fd()).map_err(|source| LoadError::System {
                what: "ask how large the ring is",
                source,
            })
        };
        let ring = maps.remove("FILE_RING")?;
        let capacity = capacity(&ring)?;
        let ring = RingBuffer::open(ring, capacity).map_err(|source| LoadError::Rings {
            bytes: capacity,
            source,
        })?;
        let tables = Tables::of(&mut maps)?;
        let mut links = vec![attach_tracepoint(
            &object,
            "file_process_exit",
            "sched_process_exit",
        )?];
        let mut trial = Trial {
            types: &types,
            object: &object,
            tables: &tables,
        };
        let mut passed_over = Vec::new();
        for tier in Tier::ALL {
            if wanted.is_some_and(|wanted| wanted != tier) {
                continue;
            }
            match trial.attach(tier) {
                Ok((coverage, attached)) => {
                    links.extend(attached);
                    return Ok(Self {
                        tables,
                        ring,
                        coverage,
                        passed_over,
                        _links: links,
                    });
                }
                Err(why) => passed_over.push((tier, why)),
            }
        }
        let (tier, why) = passed_over
            .pop()
            .unwrap_or((Tier::Tracepoint, String::new()));
        Err(LoadError::Object(format!(
            "the programs of tier {tier} cannot be used: {why}"
        )))
    }
}

impl Tables {
    fn of(maps: &mut Maps) -> Result<Self, LoadError> {
        macro_rules! table {
            ($name:literal) => {
                // SAFETY: the kernel half declares this map with the same `tracer_abi` types as
                // `Tables` does here.
                unsafe { Table::new(maps.remove($name)?) }
            };
        }
        Ok(Self {
            watched: table!("WATCHED"),
            folders: table!("FOLDERS"),
            devices: table!("DEVICES"),
            has_folders: table!("HAS_FOLDERS"),
            accesses: table!("ACCESSES"),
            exited: table!("EXITED"),
            losses: table!("FILE_LOSSES"),
        })
    }
}

/// Attaching a tier and finding out whether it is called.
struct Trial<'a> {
    types: &'a KernelTypes,
    object: &'a Relocated,
    tables: &'a Tables,
}

impl Trial<'_> {
    fn attach(&mut self, tier: Tier) -> Result<(Coverage, Vec<OwnedFd>), String> {
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
                Tier::Lsm => self.to_target(&format!("lsm_{suffix}"), hook, lsm()),
                Tier::Fentry => self.to_target(&format!("fentry_{suffix}"), function, fentry()),
                Tier::Kprobe | Tier::Tracepoint => {
                    self.to_kprobe(&format!("kprobe_{suffix}"), function)
                }
            };
            links.push(link.map_err(|why| format!("{function}: {why}"))?);
        }
        self.prove().map_err(|error| {
            format!("its programs were loaded and attached, and are not called: {error}")
        })?;
        Ok((coverage, links))
    }

    fn to_target(&self, program: &str, target: &str, form: Form) -> Result<OwnedFd, String> {
        let target = self
            .types
            .function(target)
            .ok_or_else(|| format!("this kernel has no function {target}"))?;
        let program = self
            .object
            .load_form(program, Form { target, ..form })
            .map_err(|error| error.to_string())?;
        bpf::attach_to_target(program.as_fd()).map_err(|error| format!("cannot attach: {error}"))
    }

    fn to_kprobe(&self, program: &str, function: &str) -> Result<OwnedFd, String> {
        let name = CString::new(function).map_err(|error| error.to_string())?;
        let event = perf::open_kprobe(&name).map_err(|error| format!("no kprobe: {error}"))?;
        let form = Form {
            kind: bpf::PROGRAM_KPROBE,
            attach: 0,
            flags: 0,
            target: 0,
        };
        let program = self
            .object
            .load_form(program, form)
            .map_err(|error| error.to_string())?;
        bpf::link_perf_event(program.as_fd(), event.as_fd(), 0)
            .map_err(|error| format!("cannot attach: {error}"))
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
        self.tables.watched.put(key, &1)?;
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

const fn lsm() -> Form {
    Form {
        kind: bpf::PROGRAM_LSM,
        attach: bpf::ATTACH_LSM,
        flags: 0,
        target: 0,
    }
}

const fn fentry() -> Form {
    Form {
        kind: bpf::PROGRAM_TRACING,
        attach: bpf::ATTACH_FENTRY,
        flags: 0,
        target: 0,
    }
}

fn attach_tracepoint(
    object: &Relocated,
    program: &str,
    tracepoint: &'static str,
) -> Result<OwnedFd, LoadError> {
    let form = Form {
        kind: bpf::PROGRAM_RAW_TRACEPOINT,
        attach: 0,
        flags: 0,
        target: 0,
    };
    let program = object.load_form(program, form)?;
    bpf::open_raw_tracepoint(program.as_fd(), tracepoint)
        .map_err(|source| LoadError::Tracepoint { tracepoint, source })
}

/// A file as the programs name it.
pub(super) const fn key(file: FileId) -> FileKey {
    FileKey {
        inode: file.inode,
        device: file.device,
        reserved: 0,
    }
}
