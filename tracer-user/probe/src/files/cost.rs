//! What an open costs in a tier, as the kernel itself counts it; for measurements.

use std::{ffi::CString, io, os::fd::AsFd};

use super::{
    FileSensor,
    load::{Attached, HOOKS},
    tier::Tier,
};
use crate::{
    btf::KernelTypes,
    features::assembly,
    load::LoadError,
    sys::{
        bpf::{self, Program},
        perf,
    },
};

/// How often a program ran, and for how long. Runs and time stay where they are unless the kernel was told
/// to count (`kernel.bpf_stats_enabled`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Runs since it was loaded.
    pub count: u64,
    /// How often it was left out because it was running on that CPU already.
    pub missed: u64,
    /// Nanoseconds in them, with what the counting itself takes.
    pub nanoseconds: u64,
}

impl FileSensor {
    /// The runs of the program that sees opens; none in a tier without hooks.
    ///
    /// # Errors
    /// If the kernel does not say.
    ///
    /// # Minimum kernel version
    /// 5.8.
    pub fn runs_at_opens(&self) -> io::Result<Option<Runs>> {
        let (_, opens, _) = HOOKS[0];
        let program = self.loaded.attached.iter().find(|it| it.function == opens);
        program.map(runs).transpose()
    }
}

/// A program that does nothing, where a tier sees opens. Dropping it takes it off.
pub struct EmptyProgram(Attached);

impl EmptyProgram {
    /// Loads and attaches one.
    ///
    /// # Errors
    /// If this host does not allow it, or the tier has no hooks.
    pub fn attach(tier: Tier) -> Result<Self, LoadError> {
        let (_, function, hook) = HOOKS[0];
        let refused = |why: String| LoadError::Tier { tier, why };
        let (kind, attach, target) = match tier {
            Tier::Lsm => (bpf::PROGRAM_LSM, bpf::ATTACH_LSM, Some(hook)),
            Tier::Fentry => (bpf::PROGRAM_TRACING, bpf::ATTACH_FENTRY, Some(function)),
            Tier::Kprobe => (bpf::PROGRAM_KPROBE, 0, None),
            Tier::Tracepoint => return Err(refused("no program sees opens".to_owned())),
        };
        let target = match target {
            Some(name) => KernelTypes::of_running_kernel()?
                .function(name)
                .ok_or_else(|| refused(format!("this kernel has no function {name}")))?,
            None => 0,
        };
        let program = bpf::load_program(&Program {
            name: "empty",
            kind,
            attach,
            flags: 0,
            target,
            license: c"Dual MIT/GPL",
            instructions: assembly::EMPTY,
            types: None,
        })
        .map_err(|(cause, log)| LoadError::Program {
            program: "empty".to_owned(),
            cause,
            log,
        })?;
        let link = if tier == Tier::Kprobe {
            CString::new(function)
                .map_err(io::Error::other)
                .and_then(|name| perf::open_kprobe(&name))
                .and_then(|event| bpf::link_perf_event(program.as_fd(), event.as_fd(), 0))
        } else {
            bpf::attach_to_target(program.as_fd())
        };
        let link = link.map_err(|cause| LoadError::System {
            what: "attach a program that does nothing",
            cause,
        })?;
        Ok(Self(Attached {
            link,
            program,
            function,
        }))
    }

    /// Its runs.
    ///
    /// # Errors
    /// As [`FileSensor::runs_at_opens`].
    pub fn runs(&self) -> io::Result<Runs> {
        runs(&self.0)
    }
}

fn runs(attached: &Attached) -> io::Result<Runs> {
    let counted = bpf::counted(attached.program.as_fd())?;
    Ok(Runs {
        count: counted.runs,
        missed: counted.misses,
        nanoseconds: counted.nanoseconds,
    })
}
