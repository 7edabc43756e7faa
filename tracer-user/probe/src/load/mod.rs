//! Brings the kernel half into the kernel: its maps, its rings, its programs.

mod constants;
mod diagnostics;
mod object;
mod programs;
mod verified;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

use aya::{EbpfLoader, maps::Map};
use tracer_abi::{
    Control, ExeKey, Histogram, KERNEL_FIELDS, LossCell, MAX_RINGS, SCRATCH_SLOTS, SetKey, Site,
    Spec, Target,
};

use crate::{
    btf::{KernelTypes, TypesError},
    features::{self, Host, MultiTrial, Obstacle, Support},
    files::Tier,
    inside::Slots,
    observation::{Means, RecordBatch},
    ring::{RingBuffer, Rings},
    sys::{bpf, cpus},
    table::Table,
};

pub(crate) use diagnostics::Diagnostics;
pub(crate) use object::FILES_OBJECT;
use object::OBJECT;
use programs::Lifecycle;
pub(crate) use programs::{CallPrograms, Form, Relocated};
pub use verified::{Purpose, Verified};

/// Why the kernel half could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Something about this host.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// A kernel structure is unknown.
    #[error(transparent)]
    Types(#[from] TypesError),
    /// The object that was built in is not what this code expects.
    #[error(
        "the BPF object built into this program does not fit it: {0}; rebuild with \
         `cargo xtask build-ebpf` and then `cargo build`"
    )]
    Object(String),
    /// A way to watch files does not work here, and no other was to be tried.
    #[error("the programs of tier {tier} cannot be used: {why}")]
    Tier {
        /// Which.
        tier: Tier,
        /// What the kernel says.
        why: String,
    },
    /// A map could not be made.
    #[error("cannot make the maps: {0}")]
    Maps(String),
    /// A ring could not be made or mapped.
    #[error("cannot make the rings of {bytes} bytes in all: {cause}")]
    Rings {
        /// Asked for.
        bytes: usize,
        /// What happened.
        cause: io::Error,
    },
    /// The verifier refused a program.
    #[error("the kernel refused the program {program}: {cause}{}", said(.log))]
    Program {
        /// Its name.
        program: String,
        /// What happened.
        cause: io::Error,
        /// The end of what the verifier wrote.
        log: String,
    },
    /// The verifier took a program and left out what that cost it.
    #[error("the verifier's statistics of {program} are not as expected: {log:?}")]
    Verifier {
        /// Its name.
        program: String,
        /// What the verifier wrote.
        log: String,
    },
    /// A tracepoint could not be attached.
    #[error("cannot attach to the tracepoint {tracepoint}: {cause}")]
    Tracepoint {
        /// Its name.
        tracepoint: &'static str,
        /// What happened.
        cause: io::Error,
    },
    /// A system call that should work does not.
    #[error("cannot {what}: {cause}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What happened.
        cause: io::Error,
    },
}

/// What the verifier wrote; nothing where the kernel did not ask it.
fn said(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("; the verifier said: {log}")
    }
}

/// The maps that user space reads and writes.
pub(crate) struct Tables {
    pub(crate) control: Table<u32, Control>,
    pub(crate) targets: Table<u32, Target>,
    pub(crate) cgroups: Table<u64, Target>,
    pub(crate) exes: Table<ExeKey, Target>,
    pub(crate) specs: Table<u32, Spec>,
    pub(crate) sites: Table<u32, Site>,
    pub(crate) site_hits: Table<u32, u64>,
    pub(crate) sets: Table<SetKey, u8>,
    pub(crate) losses: Table<u32, LossCell>,
    pub(crate) histograms: Table<u32, Histogram>,
    pub(crate) slots: Slots,
}

/// The kernel half, loaded. Nothing is attached but the lifecycle tracepoints; dropping it unloads
/// everything.
pub(crate) struct KernelHalf {
    pub(crate) tables: Tables,
    pub(crate) rings: Rings,
    pub(crate) calls: CallPrograms,
    /// How many event rings there are, for [`Control::rings`].
    pub(crate) ring_count: u32,
    /// The programs' own log, if one was asked for.
    pub(crate) diagnostics: Option<Diagnostics>,
    _lifecycle: Lifecycle,
}

impl KernelHalf {
    /// Loads the kernel half with event rings of `ring_bytes` together. `means` forces a way of
    /// attaching; `log` makes the programs write a log from that level on.
    pub(crate) fn load(
        ring_bytes: usize,
        means: Option<Means>,
        log: Option<log::Level>,
    ) -> Result<Self, LoadError> {
        Self::load_with(ring_bytes, means, log, |_| Ok(())).map(|(half, ())| half)
    }

    /// Loads the kernel half and one of the programs that measure.
    pub(crate) fn load_with_measure(
        ring_bytes: usize,
        program: &str,
    ) -> Result<(Self, OwnedFd), LoadError> {
        Self::load_with(ring_bytes, Some(Means::UprobeMulti), None, |object| {
            let sleepable = if features::sleepable().is_ok() {
                bpf::SLEEPABLE
            } else {
                0
            };
            object.load(
                program,
                bpf::PROGRAM_KPROBE,
                bpf::ATTACH_UPROBE_MULTI,
                sleepable,
            )
        })
    }

    /// Loads every program and says what that took the verifier.
    pub(crate) fn verify(ring_bytes: usize) -> Result<Vec<Verified>, LoadError> {
        Self::load_with(ring_bytes, None, None, Relocated::verify_all).map(|(_, verified)| verified)
    }

    fn load_with<T>(
        ring_bytes: usize,
        means: Option<Means>,
        log: Option<log::Level>,
        more: impl FnOnce(&Relocated) -> Result<T, LoadError>,
    ) -> Result<(Self, T), LoadError> {
        if let Some(obstacle) = Host::read().obstacle() {
            return Err(obstacle.into());
        }
        let system = |what| move |cause| LoadError::System { what, cause };
        raise_file_limit().map_err(system("raise the limit of open files"))?;
        let cpu_count = cpus::possible().map_err(system("count the CPUs"))?;

        let multi = MultiTrial::start();
        let globals = Globals::resolve()?;
        let mut loader = EbpfLoader::new();
        // aya makes the storage of threads, but has no type for it.
        loader.allow_unsupported_maps();
        for (name, value) in &globals.values {
            loader.override_global(name, value, true);
        }
        // aya-log's levels are numbered as log's are; 0 lets the verifier drop the code.
        let log_level = log.map_or(0_u8, |level| level as u8);
        loader.override_global("AYA_LOG_LEVEL", &log_level, false);
        loader.map_max_entries("SCRATCH", cpu_count as u32 * SCRATCH_SLOTS);
        let mut loaded = loader.load(OBJECT).map_err(|error| maps_error(&error))?;
        let mut maps = Maps::of(&loaded)?;
        let diagnostics = log.map(|_| Diagnostics::open(&mut loaded)).transpose()?;

        let ring_count = (cpu_count as u32).min(MAX_RINGS);
        let object = Relocated::new(OBJECT, &maps)?;
        let calls = CallPrograms::load(&object, globals.sleepable, means, multi)?;
        let lifecycle = Lifecycle::attach(&object)?;
        let more = more(&object)?;
        let rings =
            make_rings(&mut maps, ring_count, ring_bytes).map_err(|cause| LoadError::Rings {
                bytes: ring_bytes,
                cause,
            })?;
        let half = Self {
            tables: maps.into_tables()?,
            rings,
            calls,
            ring_count,
            diagnostics,
            _lifecycle: lifecycle,
        };
        Ok((half, more))
    }
}

/// Values of the object's read-only globals for this kernel.
struct Globals {
    values: Vec<(&'static str, u32)>,
    sleepable: bool,
}

impl Globals {
    fn resolve() -> Result<Self, LoadError> {
        let types = KernelTypes::of_running_kernel()?;
        let mut values = Vec::new();
        for field in KERNEL_FIELDS {
            values.push((
                field.global,
                types.field_offset(field.structure, field.field)?,
            ));
        }
        let sleepable = features::sleepable().is_ok();
        let flags = [
            ("F_COPY_FROM_USER", sleepable),
            ("F_TASK_BTF", features::current_task().is_ok()),
            ("F_LOOP", features::bpf_loop() == Support::Works),
        ];
        // A flag that the object has and this list has not would silently stay 0.
        for flag in tracer_abi::FEATURE_FLAGS {
            if !flags.iter().any(|(name, _)| *name == flag.global) {
                return Err(LoadError::Object(format!(
                    "unknown feature flag {}",
                    flag.global
                )));
            }
        }
        values.extend(flags.map(|(name, works)| (name, u32::from(works))));
        Ok(Self { values, sleepable })
    }
}

/// The object's maps by name.
pub(crate) struct Maps(Vec<(String, OwnedFd)>);

impl Maps {
    /// The maps alone: programs are loaded by `programs`.
    pub(crate) fn of(loaded: &aya::Ebpf) -> Result<Self, LoadError> {
        let mut maps = Vec::new();
        for (name, map) in loaded.maps() {
            let fd = map_fd(map)
                .ok_or_else(|| LoadError::Object(format!("map {name} is of an unexpected type")))?
                .map_err(|cause| LoadError::System {
                    what: "duplicate a descriptor",
                    cause,
                })?;
            maps.push((name.to_owned(), fd));
        }
        Ok(Self(maps))
    }

    /// Names and descriptors.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        self.0.iter().map(|(name, fd)| (name.as_str(), fd))
    }

    /// The map of what never changes, and what stands in it.
    fn constants(&self) -> Result<Option<(RawFd, Vec<u8>)>, LoadError> {
        let Some((_, map)) = self.iter().find(|(name, _)| *name == ".rodata") else {
            return Ok(None);
        };
        let read = || {
            let mut section = vec![0; bpf::value_size(map.as_fd())?];
            // SAFETY: the key of an array is as long as this, and the buffer as its value.
            unsafe { bpf::look_up(map.as_fd(), &0_u32.to_ne_bytes(), &mut section) }?;
            Ok(section)
        };
        let section = read().map_err(|cause| LoadError::System {
            what: "read the programs' constants",
            cause,
        })?;
        Ok(Some((map.as_raw_fd(), section)))
    }

    /// Takes out a map.
    pub(crate) fn remove(&mut self, name: &str) -> Result<OwnedFd, LoadError> {
        let index = self.0.iter().position(|(known, _)| known == name);
        let index = index.ok_or_else(|| LoadError::Object(format!("it has no map {name}")))?;
        Ok(self.0.swap_remove(index).1)
    }

    fn into_tables(mut self) -> Result<Tables, LoadError> {
        macro_rules! table {
            ($name:literal) => {
                // SAFETY: the kernel half declares this map with the same `tracer_abi` types as
                // `Tables` does here.
                unsafe { Table::new(self.remove($name)?) }
            };
        }
        Ok(Tables {
            control: table!("CONTROL"),
            targets: table!("TARGETS"),
            cgroups: table!("CGROUPS"),
            exes: table!("EXES"),
            specs: table!("SPECS"),
            sites: table!("SITES"),
            site_hits: table!("SITE_HITS"),
            sets: table!("SETS"),
            losses: table!("LOSSES"),
            histograms: table!("HISTOGRAMS"),
            slots: Slots::new(self.remove("SCRATCH")?).map_err(|cause| LoadError::System {
                what: "ask how large the scratch slots are",
                cause,
            })?,
        })
    }
}

fn map_fd(map: &Map) -> Option<io::Result<OwnedFd>> {
    let (Map::Array(data)
    | Map::ArrayOfMaps(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::PerCpuArray(data)
    | Map::RingBuf(data)
    | Map::Unsupported(data)) = map
    else {
        return None;
    };
    Some(data.fd().as_fd().try_clone_to_owned())
}

/// Makes the event rings, hands them to the kernel half, and opens the critical one.
fn make_rings(maps: &mut Maps, count: u32, bytes: usize) -> io::Result<Rings> {
    let missing = |error: LoadError| io::Error::other(error.to_string());
    let outer = maps.remove("RINGS").map_err(missing)?;
    let states = maps.remove("RING_STATES").map_err(missing)?;
    let critical = maps.remove("CRITICAL").map_err(missing)?;
    let critical_state = maps.remove("CRITICAL_STATE").map_err(missing)?;

    let mut buffers = Vec::new();
    for index in 0..count {
        let buffer = RingBuffer::create(bytes / count as usize)?;
        let fd = buffer.fd().as_raw_fd();
        // SAFETY: keys of an array of maps are 4 bytes, and values given by user space are
        // descriptors of 4 bytes.
        unsafe { bpf::update(outer.as_fd(), &index.to_le_bytes(), &fd.to_le_bytes()) }?;
        buffers.push(buffer);
    }
    let mut rings = Rings::new()?;
    rings.add(0.., buffers, states.as_fd())?;
    let capacity = bpf::max_entries(critical.as_fd())?;
    let critical = RingBuffer::open(critical, capacity)?;
    rings.add(
        [RecordBatch::CRITICAL].into_iter(),
        vec![critical],
        critical_state.as_fd(),
    )?;
    Ok(rings)
}

/// One descriptor a site is what attaching without `uprobe_multi` takes.
fn raise_file_limit() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that the call writes.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit that the call reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// aya's message may hold a whole verifier log.
pub(crate) fn maps_error(error: &aya::EbpfError) -> LoadError {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // Some of its errors name their cause, and hand it on too.
        let cause_said = cause.to_string();
        if !message.ends_with(&cause_said) {
            message = format!("{message}: {cause_said}");
        }
        source = cause.source();
    }
    LoadError::Maps(bpf::shorten_log(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Skips by name where programs cannot be loaded, except in CI.
    fn loaded(test: &str, means: Option<Means>) -> Option<KernelHalf> {
        match KernelHalf::load(1 << 20, means, Some(log::Level::Debug)) {
            Err(LoadError::Obstacle(obstacle)) if std::env::var_os("CI").is_none() => {
                eprintln!("skipped {test}: {obstacle}");
                None
            }
            Ok(half) => Some(half),
            Err(error) => panic!("{test}: {error}"),
        }
    }

    #[test]
    fn the_kernel_accepts_every_program_for_either_way_of_attaching() {
        let test = "the_kernel_accepts_every_program_for_either_way_of_attaching";
        for means in [Means::PerfEvent, Means::UprobeMulti] {
            let Some(half) = loaded(test, Some(means)) else {
                return;
            };
            assert_eq!(half.calls.means(), means);
            assert_eq!(
                half.ring_count as usize,
                cpus::possible().expect("sysfs is mounted")
            );
        }
    }
}
