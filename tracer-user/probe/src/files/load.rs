//! Brings the file programs into the kernel: the best tier whose programs are really called.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use aya::EbpfLoader;
use tracer_abi::{
    LossCell,
    file::{AccessKey, FILE_FIELDS, FileAccess, FileActor, FileKey, FoldersState},
};

use super::{
    gate,
    tier::{Coverage, Tier},
    trial::Trial,
};
use crate::{
    btf::KernelTypes,
    features::Host,
    load::{FILES_OBJECT, Form, LoadError, Maps, Purpose, Relocated, Verified, maps_error},
    process::FileId,
    ring::RingBuffer,
    sys::{bpf, cpus},
    table::Table,
};

/// The maps that user space reads and writes.
pub(super) struct Tables {
    pub(super) watched: Table<FileKey, u32>,
    marks: Table<u32, u64>,
    pub(super) folders: Table<FileKey, u32>,
    folders_state: Table<u32, FoldersState>,
    pub(super) accesses: Table<AccessKey, FileAccess>,
    pub(super) exited: Table<u32, FileActor>,
    pub(super) vouched: Table<FileKey, u64>,
    pub(super) writes: Table<FileKey, u64>,
    pub(super) exempt: Table<u32, u64>,
    pub(super) losses: Table<u32, LossCell>,
}

/// The file programs, loaded and attached; dropping it detaches them.
pub(super) struct Loaded {
    pub(super) tables: Tables,
    pub(super) ring: RingBuffer,
    pub(super) coverage: Coverage,
    /// Better tiers, and why each is not the one.
    pub(super) passed_over: Vec<(Tier, String)>,
    pub(super) attached: Vec<Attached>,
}

/// A program and what holds it to its hook.
pub(super) struct Attached {
    /// The function or tracepoint of that hook.
    pub(super) function: &'static str,
    pub(super) link: OwnedFd,
    pub(super) program: OwnedFd,
}

/// The hooks of the first three tiers: program suffix, function, LSM hook.
pub(super) const HOOKS: [(&str, &str, &str); 4] = [
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

/// The hook that is needed only to refuse.
pub(super) const CUT: (&str, &str) = ("lsm_path_truncate", "bpf_lsm_path_truncate");

/// The function that moves a name, of fs/dcache.c.
pub(super) const MOVE: &str = "__d_move";

/// The tracepoints of the page cache, which come and go together.
pub(super) const PAGE_CACHE: [(&str, &str); 3] = [
    ("file_get_pages", "mm_filemap_get_pages"),
    ("file_map_pages", "mm_filemap_map_pages"),
    ("file_fault", "mm_filemap_fault"),
];

impl Loaded {
    /// Loads the best tier that works, or the one given; to enforce, the programs of the first refuse
    /// what is not verified.
    pub(super) fn new(wanted: Option<Tier>, enforces: bool) -> Result<Self, LoadError> {
        let (types, object, mut maps) = open(enforces)?;
        // Told apart by CPU, losses can be read later even where no descriptor is left.
        cpus::possible().map_err(|cause| LoadError::System {
            what: "count the CPUs",
            cause,
        })?;
        let capacity = |map: &OwnedFd| {
            bpf::max_entries(map.as_fd()).map_err(|cause| LoadError::System {
                what: "ask how large the ring is",
                cause,
            })
        };
        let ring = maps.remove("FILE_RING")?;
        let capacity = capacity(&ring)?;
        let ring = RingBuffer::open(ring, capacity).map_err(|cause| LoadError::Rings {
            bytes: capacity,
            cause,
        })?;
        let tables = Tables::of(&mut maps)?;
        if enforces {
            // Before the first program is there that could refuse this process something.
            gate::exempt(&tables.exempt, std::process::id()).map_err(|cause| {
                LoadError::System {
                    what: "let this process through",
                    cause,
                }
            })?;
        }
        let mut attached = vec![attach_tracepoint(
            &object,
            "file_process_exit",
            "sched_process_exit",
        )?];
        // Before 6.1 there is none, and the executable of a process that has ended stays unknown.
        attached.extend(attach_tracepoint(&object, "file_exit_mmap", "exit_mmap").ok());
        let mut trial = Trial {
            types: &types,
            object: &object,
            tables: &tables,
            enforces,
        };
        let mut passed_over = Vec::new();
        for tier in Tier::ALL {
            if wanted.is_some_and(|wanted| wanted != tier) {
                continue;
            }
            match trial.attach(tier) {
                Ok((coverage, of_tier)) => {
                    attached.extend(of_tier);
                    return Ok(Self {
                        tables,
                        ring,
                        coverage,
                        passed_over,
                        attached,
                    });
                }
                Err(why) => passed_over.push((tier, why)),
            }
        }
        let (tier, why) = passed_over
            .pop()
            .unwrap_or((Tier::Tracepoint, String::new()));
        Err(LoadError::Tier { tier, why })
    }
}

impl Loaded {
    /// How often a program was not run because it was running on that CPU already, in a thread that
    /// another one pre-empted: the kernel then leaves it out.
    pub(super) fn missed(&self) -> io::Result<u64> {
        self.attached
            .iter()
            .map(|attached| Ok(bpf::counted(attached.program.as_fd())?.misses))
            .sum()
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
            marks: table!("MARKS"),
            folders: table!("FOLDERS"),
            folders_state: table!(".data.folders"),
            accesses: table!("ACCESSES"),
            exited: table!("EXITED"),
            vouched: table!("VOUCHED"),
            writes: table!("WRITES"),
            exempt: table!("EXEMPT"),
            losses: table!("FILE_LOSSES"),
        })
    }
}

impl Tables {
    /// Has the programs tell of an inode.
    pub(super) fn watch(&self, file: FileKey) -> io::Result<()> {
        self.mark_device(file)?;
        self.marks.put(file.mark(), &1)?;
        self.watched.put(file, &1)
    }

    /// Has the programs look at what is opened on a folder's device.
    pub(super) fn mark_device(&self, folder: FileKey) -> io::Result<()> {
        self.marks.put(folder.device_mark(), &1)
    }

    /// Makes what the programs found out about other folders void, after another one is watched.
    pub(super) fn folders_changed(&self) -> io::Result<()> {
        let state = self.folders_state.get(0)?.unwrap_or_default();
        let version = state.version + 1;
        self.folders_state
            .put(0, &FoldersState { version, ..state })
    }

    /// Lets the programs remember what they find out about folders.
    pub(super) fn moves_are_counted(&self) -> io::Result<()> {
        let state = self.folders_state.get(0)?.unwrap_or_default();
        self.folders_state.put(
            0,
            &FoldersState {
                moves_are_counted: 1,
                ..state
            },
        )
    }
}

/// The object with its maps, for this kernel.
fn open(enforces: bool) -> Result<(KernelTypes, Relocated, Maps), LoadError> {
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
    let enforces_word = u32::from(enforces);
    loader.override_global("ENFORCES", &enforces_word, true);
    let loaded = loader
        .load(FILES_OBJECT)
        .map_err(|error| maps_error(&error))?;
    let maps = Maps::of(&loaded)?;
    let object = Relocated::new(FILES_OBJECT, &maps)?;
    Ok((types, object, maps))
}

/// Loads each program as it would be attached, and says what that took the verifier; what this host
/// does not allow is left out.
pub(crate) fn verify() -> Result<Vec<Verified>, LoadError> {
    let (types, object, _maps) = open(true)?;
    let mut verified = Vec::new();
    for name in object.names() {
        let hook = |prefix: &str| {
            let suffix = name.strip_prefix(prefix)?;
            HOOKS.iter().find(|(known, ..)| *known == suffix)
        };
        let to = |target: &str, form: Form| {
            let target = types.function(target)?;
            Some(Form { target, ..form })
        };
        let (purpose, form) = if name == CUT.0 {
            (Purpose::Hook, to(CUT.1, lsm()))
        } else if let Some((_, _, target)) = hook("lsm_") {
            (Purpose::Hook, to(target, lsm()))
        } else if let Some((_, target, _)) = hook("fentry_") {
            (Purpose::Hook, to(target, fentry()))
        } else if hook("kprobe_").is_some() || name.starts_with("kprobe_move") {
            (Purpose::Hook, Some(KPROBE))
        } else if name == "fentry_move_begins" {
            (Purpose::Hook, to(MOVE, fentry()))
        } else if name == "fexit_move_ends" {
            (Purpose::Hook, to(MOVE, fexit()))
        } else {
            (Purpose::Tracepoint, Some(RAW_TRACEPOINT))
        };
        let Some(form) = form else { continue };
        match object.verify(name, purpose, form) {
            Ok(program) => verified.push(program),
            Err(LoadError::Program { cause, .. }) if cause.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) => return Err(error),
        }
    }
    verified.sort_by(|one, other| one.program.cmp(&other.program));
    Ok(verified)
}

pub(super) const KPROBE: Form = Form {
    kind: bpf::PROGRAM_KPROBE,
    attach: 0,
    flags: 0,
    target: 0,
};

const RAW_TRACEPOINT: Form = Form {
    kind: bpf::PROGRAM_RAW_TRACEPOINT,
    attach: 0,
    flags: 0,
    target: 0,
};

pub(super) const fn lsm() -> Form {
    Form {
        kind: bpf::PROGRAM_LSM,
        attach: bpf::ATTACH_LSM,
        flags: 0,
        target: 0,
    }
}

pub(super) const fn fentry() -> Form {
    Form {
        kind: bpf::PROGRAM_TRACING,
        attach: bpf::ATTACH_FENTRY,
        flags: 0,
        target: 0,
    }
}

pub(super) const fn fexit() -> Form {
    Form {
        attach: bpf::ATTACH_FEXIT,
        ..fentry()
    }
}

pub(super) fn attach_tracepoint(
    object: &Relocated,
    program: &str,
    tracepoint: &'static str,
) -> Result<Attached, LoadError> {
    let program = object.load_form(program, RAW_TRACEPOINT)?;
    let link = bpf::open_raw_tracepoint(program.as_fd(), tracepoint)
        .map_err(|cause| LoadError::Tracepoint { tracepoint, cause })?;
    Ok(Attached {
        function: tracepoint,
        link,
        program,
    })
}

/// A file as the programs name it.
pub(super) const fn key(file: FileId) -> FileKey {
    FileKey {
        inode: file.inode,
        device: file.device,
        reserved: 0,
    }
}
