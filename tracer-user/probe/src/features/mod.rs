//! What this host allows, found by trying, never by version number.
//!
//! A kernel that reports an old version may carry a backport, and one that reports a new version
//! may have a feature compiled out or forbidden; so each probe does the thing itself, with programs
//! small enough to need no object.

pub(crate) mod assembly;
mod host;
mod own_site;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::LazyLock,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    btf::{KernelTypes, TypesError},
    process::ProcessError,
    sys::{bpf, memory::page_size, perf},
};

pub(crate) use host::has_user_shadow_stacks;
pub use host::{Host, Lockdown, Obstacle};
pub(crate) use own_site::{OwnSite, descriptor_path, link};

/// `bpf_get_attach_cookie`.
const GET_ATTACH_COOKIE: i32 = 174;
/// `bpf_get_current_task_btf`.
const GET_CURRENT_TASK_BTF: i32 = 158;
/// `bpf_loop`.
const LOOP: i32 = 181;

/// Whether something works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It was tried and works.
    Works,
    /// It was tried and does not.
    Missing(String),
}

impl Support {
    /// Whether it works.
    #[must_use]
    pub fn works(&self) -> bool {
        *self == Self::Works
    }

    fn of<T, E: std::fmt::Display>(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Works,
            Err(error) => Self::Missing(error.to_string()),
        }
    }
}

/// What the kernel and the host allow.
#[derive(Clone, Debug)]
pub struct Features {
    /// Ring buffers (5.8). Needed.
    pub ring_buffer: Support,
    /// A number of its own for each attached site (5.15). Needed.
    pub cookie: Support,
    /// Programs that may wait for a page of the target (6.12). Without, what the target has never
    /// touched cannot be read.
    pub sleepable: Support,
    /// Many sites in one link (6.6). Without, detaching takes about 0.1 s a site.
    pub uprobe_multi: Support,
    /// A link's pid covers all threads (6.10 and some stable kernels). Without, other processes
    /// that map a probed library pay for the filter, about 0.4 µs a call.
    pub process_filter: Support,
    /// One program for entry and return (6.13). Not used by default.
    pub uprobe_session: Support,
    /// Type information of the kernel. Without, start times are not checked and lifecycle events
    /// are missing.
    pub types: Support,
    /// The helper that names the running task (5.11), by which open calls are kept. Without, no end
    /// of a call is told.
    pub current_task: Support,
    /// Loops in a helper (5.17). Without, arrays of pointers are not gathered.
    pub bpf_loop: Support,
    /// Tracepoints without a perf event (4.17). Needed for process lifecycle.
    pub raw_tracepoint: Support,
    /// Events of new executable mappings. Without, new processes are found by looking once a
    /// second.
    pub perf_sideband: Support,
    /// What the host says about itself.
    pub host: Host,
}

impl Features {
    /// Tries everything; about 50 ms, most of it for the kernel's type information.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            ring_buffer: Support::of(ring_buffer()),
            cookie: Support::of(cookie()),
            sleepable: Support::of(sleepable()),
            uprobe_multi: Support::of(uprobe_multi()),
            process_filter: process_filter(),
            uprobe_session: Support::of(load(bpf::ATTACH_UPROBE_SESSION, 0, assembly::EMPTY)),
            types: Support::of(types()),
            current_task: Support::of(current_task()),
            bpf_loop: bpf_loop(),
            raw_tracepoint: Support::of(raw_tracepoint()),
            perf_sideband: Support::of(perf::Sideband::open_on(0)),
            host: Host::read(),
        }
    }
}

/// What hits cost here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasuredCosts {
    /// At an instruction that the kernel emulates.
    pub emulated: Duration,
    /// At one that it single-steps.
    pub stepped: Duration,
}

/// What a hit of a site costs here, measured on functions of this process with an empty program.
/// Takes about 50 ms.
///
/// # Errors
/// If nothing can be attached.
///
/// # Minimum kernel version
/// 6.6.
pub fn measured_costs() -> io::Result<MeasuredCosts> {
    let [emulated, stepped] = own_site::costs()?;
    Ok(MeasuredCosts { emulated, stepped })
}

/// Whether a process runs with a shadow stack.
///
/// # Errors
/// If there is no such process.
pub fn has_shadow_stack(pid: u32) -> Result<bool, ProcessError> {
    crate::process::has_shadow_stack(pid)
}

pub(crate) fn cookie() -> io::Result<OwnedFd> {
    load(0, 0, &assembly::asks(GET_ATTACH_COOKIE))
}

/// A program that may sleep loads from 6.0 on, but before 6.12 it runs with the uprobe's semaphore
/// held for reading: while one process makes it wait for a page, attaching or detaching waits as a
/// writer, and behind the writer every other process that hits the probe. So it is used only where
/// consumers are walked without the semaphore, which the kernel's types show: `cons_node` came with
/// that change (<https://lore.kernel.org/r/20240903174603.3554182-1-andrii@kernel.org>).
pub(crate) fn sleepable() -> io::Result<OwnedFd> {
    static CONSUMERS_ARE_FREE: LazyLock<bool> = LazyLock::new(|| {
        KernelTypes::of_running_kernel()
            .is_ok_and(|types| types.field_offset("uprobe_consumer", "cons_node").is_ok())
    });
    if !*CONSUMERS_ARE_FREE {
        let reason = "on this kernel a probe that waits would make other processes wait";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    load(0, bpf::SLEEPABLE, assembly::EMPTY)
}

pub(crate) fn uprobe_multi() -> io::Result<OwnedFd> {
    own_site::attach(OwnSite::EMULATED, assembly::EMPTY, true)
}

fn process_filter() -> Support {
    match own_site::pid_filter_covers_threads() {
        Ok(true) => Support::Works,
        Ok(false) => Support::Missing("this kernel compares the thread, not the process".into()),
        Err(error) => Support::Missing(error.to_string()),
    }
}

/// Whether `uprobe_multi` works (else an error), and whether a link's pid covers all threads: one
/// link tells both, and another thread tries it while this one has other things to do.
pub(crate) struct MultiTrial(JoinHandle<io::Result<bool>>);

impl MultiTrial {
    pub(crate) fn start() -> Self {
        Self(thread::spawn(own_site::pid_filter_covers_threads))
    }

    pub(crate) fn result(self) -> io::Result<bool> {
        let panicked = |_| Err(io::Error::other("the trial of uprobe_multi panicked"));
        self.0.join().unwrap_or_else(panicked)
    }
}

pub(crate) fn current_task() -> io::Result<OwnedFd> {
    load(0, 0, &assembly::asks(GET_CURRENT_TASK_BTF))
}

/// The helper wants a callback, which only a program with type information has; but the verifier
/// tells an unknown helper from one that is called wrongly.
pub(crate) fn bpf_loop() -> Support {
    let refused = assembly::load(bpf::PROGRAM_KPROBE, 0, 0, &assembly::asks(LOOP));
    match refused {
        Err((_, log)) if log.is_empty() || log.contains("unknown") => {
            Support::Missing("the kernel does not know the helper".into())
        }
        Ok(_) | Err(_) => Support::Works,
    }
}

fn ring_buffer() -> io::Result<OwnedFd> {
    let bytes = u32::try_from(page_size()).map_err(io::Error::other)?;
    bpf::create_map(bpf::MAP_RING, 0, 0, bytes)
}

fn raw_tracepoint() -> io::Result<OwnedFd> {
    let program = assembly::load(bpf::PROGRAM_RAW_TRACEPOINT, 0, 0, assembly::EMPTY)
        .map_err(|(error, _)| error)?;
    bpf::open_raw_tracepoint(program.as_fd(), "sched_process_exit")
}

fn types() -> Result<(), TypesError> {
    let types = KernelTypes::of_running_kernel()?;
    for field in tracer_abi::KERNEL_FIELDS {
        types.field_offset(field.structure, field.field)?;
    }
    Ok(())
}

fn load(attach: u32, flags: u32, instructions: &[bpf::Instruction]) -> io::Result<OwnedFd> {
    assembly::load(bpf::PROGRAM_KPROBE, attach, flags, instructions).map_err(|(error, _)| error)
}

/// Whether programs can be loaded: a test that cannot is skipped by name, except in CI.
#[cfg(test)]
pub(crate) fn privileged(test: &str) -> bool {
    let obstacle = Host::read().obstacle();
    match obstacle {
        None => true,
        Some(obstacle) if std::env::var_os("CI").is_some() => panic!("{test}: {obstacle}"),
        Some(obstacle) => {
            eprintln!("skipped {test}: {obstacle}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_obstacle_has_what_is_needed() {
        if !privileged("a_host_without_obstacle_has_what_is_needed") {
            return;
        }
        let features = Features::detect();
        eprintln!("{features:#?}");
        for needed in [
            &features.ring_buffer,
            &features.cookie,
            &features.raw_tracepoint,
        ] {
            assert_eq!(*needed, Support::Works);
        }
    }

    #[test]
    fn a_stepped_site_costs_more_than_an_emulated_one() {
        let test = "a_stepped_site_costs_more_than_an_emulated_one";
        if !privileged(test) || !Support::of(uprobe_multi()).works() {
            return;
        }
        let costs = measured_costs().expect("uprobe_multi works");
        eprintln!("{costs:?}");
        assert!(costs.stepped > costs.emulated);
    }
}
