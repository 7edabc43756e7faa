//! Loads the programs themselves: aya 0.14 parses and relocates them, but can neither load one for
//! `uprobe_multi` nor load one without the sleepable flag that its section asks for.

use std::{
    collections::HashSet,
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use aya_obj::{Object, ProgramSection};

use super::{LoadError, Maps, Purpose, Verified, constants};
use crate::{
    features::{self, MultiTrial},
    observation::Means,
    sys::bpf::{self, Instruction, Program, ProgramTypes},
};

/// The programs that follow calls.
pub(crate) struct CallPrograms {
    full: Pair,
    timing: Pair,
    means: Means,
    process_filter: bool,
}

/// A program for entries and one for exits.
pub(crate) struct Pair {
    pub(crate) entry: OwnedFd,
    pub(crate) exit: OwnedFd,
}

impl CallPrograms {
    /// Loads them for the best way of attaching that works, or for the one given.
    pub(super) fn load(
        object: &Relocated,
        sleepable: bool,
        means: Option<Means>,
        multi: MultiTrial,
    ) -> Result<Self, LoadError> {
        let multi = multi.result();
        let means = means.unwrap_or(match multi {
            Ok(_) => Means::UprobeMulti,
            Err(_) => Means::PerfEvent,
        });
        let attach = match means {
            Means::UprobeMulti => bpf::ATTACH_UPROBE_MULTI,
            Means::PerfEvent => 0,
        };
        let flags = if sleepable { bpf::SLEEPABLE } else { 0 };
        let pair = |entry, exit| {
            Ok::<_, LoadError>(Pair {
                entry: object.load(entry, bpf::PROGRAM_KPROBE, attach, flags)?,
                exit: object.load(exit, bpf::PROGRAM_KPROBE, attach, flags)?,
            })
        };
        Ok(Self {
            full: pair("call_entry", "call_exit")?,
            timing: pair("time_entry", "time_exit")?,
            process_filter: match means {
                Means::UprobeMulti => multi.unwrap_or(false),
                // A perf event of a process follows its threads only if it is inherited, which
                // programs cannot be.
                Means::PerfEvent => false,
            },
            means,
        })
    }

    /// The programs that serve every spec.
    pub(crate) fn full(&self) -> &Pair {
        &self.full
    }

    /// The cheaper ones for specs of which [`tracer_abi::Spec::only_times`] is true.
    pub(crate) fn timing(&self) -> &Pair {
        &self.timing
    }

    /// How they can be attached.
    pub(crate) fn means(&self) -> Means {
        self.means
    }

    /// Whether a link for one process sees all of its threads.
    pub(crate) fn filters_by_process(&self) -> bool {
        self.process_filter
    }
}

/// The attached programs that follow processes.
pub(crate) struct Lifecycle {
    _links: Vec<OwnedFd>,
}

impl Lifecycle {
    pub(super) fn attach(object: &Relocated) -> Result<Self, LoadError> {
        let mut links = Vec::new();
        for (program, tracepoint) in [
            ("process_exec", "sched_process_exec"),
            ("process_fork", "sched_process_fork"),
            ("process_exit", "sched_process_exit"),
        ] {
            let program = object.load(program, bpf::PROGRAM_RAW_TRACEPOINT, 0, 0)?;
            let link = bpf::open_raw_tracepoint(program.as_fd(), tracepoint)
                .map_err(|cause| LoadError::Tracepoint { tracepoint, cause })?;
            links.push(link);
        }
        Ok(Self { _links: links })
    }
}

/// How a program is loaded.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// `BPF_PROG_TYPE_…`.
    pub(crate) kind: u32,
    /// Expected attach type.
    pub(crate) attach: u32,
    /// Flags, such as [`bpf::SLEEPABLE`].
    pub(crate) flags: u32,
    /// The kernel function that it is for, by its number in the kernel's BTF, or 0.
    pub(crate) target: u32,
}

/// The object with the descriptors of the maps in its instructions.
pub(crate) struct Relocated {
    object: Object,
    /// Its type information, in the kernel.
    types: Option<OwnedFd>,
}

impl Relocated {
    pub(crate) fn new(object: &[u8], maps: &Maps) -> Result<Self, LoadError> {
        let unfit = |what: &str, error: &dyn std::fmt::Display| {
            LoadError::Object(format!("{what}: {error}"))
        };
        let mut object = Object::parse(object).map_err(|error| unfit("it is damaged", &error))?;
        let types = match aya::features().btf() {
            None => None,
            Some(known) => object
                .fixup_and_sanitize_btf(known)
                .map_err(|error| unfit("its types are damaged", &error))?
                .map(|types| bpf::load_types(&types.to_bytes()))
                .transpose()
                .map_err(|cause| LoadError::System {
                    what: "load the object's types",
                    cause,
                })?,
        };
        let text: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let declared = std::mem::take(&mut object.maps);
        let known = maps
            .iter()
            .filter_map(|(name, fd)| Some((name, fd.as_raw_fd(), declared.get(name)?)));
        object
            .relocate_maps(known, &text)
            .map_err(|error| unfit("a map is missing", &error))?;
        object
            .relocate_calls(&text)
            .map_err(|error| unfit("a function is missing", &error))?;
        if let Some((map, section)) = maps.constants()? {
            for function in object.functions.values_mut() {
                constants::put_in(&mut function.instructions, map, &section);
            }
        }
        Ok(Self { object, types })
    }

    pub(super) fn load(
        &self,
        name: &str,
        kind: u32,
        attach: u32,
        flags: u32,
    ) -> Result<OwnedFd, LoadError> {
        self.load_form(
            name,
            Form {
                kind,
                attach,
                flags,
                target: 0,
            },
        )
    }

    /// Loads a program in any form.
    pub(crate) fn load_form(&self, name: &str, form: Form) -> Result<OwnedFd, LoadError> {
        self.with_program(name, form, bpf::load_program)
    }

    /// Loads each program in the way in which it would be attached here, and says what that took.
    pub(super) fn verify_all(&self) -> Result<Vec<Verified>, LoadError> {
        let attach_uprobe = match features::uprobe_multi() {
            Ok(_) => bpf::ATTACH_UPROBE_MULTI,
            Err(_) => 0,
        };
        let sleepable = if features::sleepable().is_ok() {
            bpf::SLEEPABLE
        } else {
            0
        };
        let mut verified = Vec::new();
        for (name, program) in &self.object.programs {
            let (purpose, kind, attach, flags) = match &program.section {
                ProgramSection::UProbe { .. } => {
                    let kind = bpf::PROGRAM_KPROBE;
                    (Purpose::Uprobe, kind, attach_uprobe, sleepable)
                }
                ProgramSection::RawTracePoint => {
                    (Purpose::Tracepoint, bpf::PROGRAM_RAW_TRACEPOINT, 0, 0)
                }
                other => {
                    return Err(LoadError::Object(format!(
                        "program {name} is of the unexpected kind {other:?}"
                    )));
                }
            };
            let form = Form {
                kind,
                attach,
                flags,
                target: 0,
            };
            verified.push(self.verify(name, purpose, form)?);
        }
        verified.sort_by(|one, other| one.program.cmp(&other.program));
        Ok(verified)
    }

    /// The names of the programs.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.object.programs.keys().map(String::as_str)
    }

    /// Loads a program in a form, and says what that took.
    pub(crate) fn verify(
        &self,
        name: &str,
        purpose: Purpose,
        form: Form,
    ) -> Result<Verified, LoadError> {
        let log = self.with_program(name, form, bpf::verifier_statistics)?;
        Verified::parse(name, purpose, &log).ok_or_else(|| LoadError::Verifier {
            program: name.to_owned(),
            log,
        })
    }

    fn with_program<T>(
        &self,
        name: &str,
        form: Form,
        load: impl FnOnce(&Program<'_>) -> Result<T, (io::Error, String)>,
    ) -> Result<T, LoadError> {
        let missing = || LoadError::Object(format!("it has no program {name}"));
        let program = self.object.programs.get(name).ok_or_else(missing)?;
        let function = self
            .object
            .functions
            .get(&program.function_key())
            .ok_or_else(missing)?;
        let instructions: Vec<Instruction> =
            function.instructions.iter().map(instruction).collect();
        let license = CString::from(program.license.as_c_str());
        let functions = function.func_info.func_info_bytes();
        let types = self.types.as_ref().map(|btf| ProgramTypes {
            btf: btf.as_fd(),
            functions: &functions,
            function_size: function.func_info_rec_size,
        });
        debug_assert!(matches!(
            (&program.section, form.kind),
            (
                ProgramSection::UProbe { .. } | ProgramSection::KProbe | ProgramSection::KRetProbe,
                bpf::PROGRAM_KPROBE
            ) | (
                ProgramSection::FEntry { .. } | ProgramSection::FExit { .. },
                bpf::PROGRAM_TRACING
            ) | (ProgramSection::Lsm { .. }, bpf::PROGRAM_LSM)
                | (ProgramSection::RawTracePoint, bpf::PROGRAM_RAW_TRACEPOINT)
        ));
        let Form {
            kind,
            attach,
            flags,
            target,
        } = form;
        load(&Program {
            name,
            kind,
            attach,
            flags,
            target,
            license: &license,
            instructions: &instructions,
            types: types.filter(|types| !types.functions.is_empty()),
        })
        .map_err(|(cause, log): (io::Error, String)| LoadError::Program {
            program: name.to_owned(),
            cause,
            log,
        })
    }
}

fn instruction(from: &aya_obj::generated::bpf_insn) -> Instruction {
    Instruction {
        code: from.code,
        registers: from.src_reg() << 4 | from.dst_reg(),
        offset: from.off,
        immediate: from.imm,
    }
}
