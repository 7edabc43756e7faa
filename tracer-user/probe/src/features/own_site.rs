//! Functions of this very program that are probed to learn what a probe does and costs here.

use std::{
    arch::global_asm,
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    thread,
    time::Duration,
};

use super::assembly::{self, Counter};
use crate::{
    process::{FileOffset, own_file_offset},
    sys::bpf::{self, UprobeLink},
};

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".p2align 4",
    ".globl tracer_probe_emulated_site",
    ".type tracer_probe_emulated_site, @function",
    "tracer_probe_emulated_site:",
    "nop",
    "ret",
    ".size tracer_probe_emulated_site, . - tracer_probe_emulated_site",
    ".p2align 4",
    ".globl tracer_probe_stepped_site",
    ".type tracer_probe_stepped_site, @function",
    "tracer_probe_stepped_site:",
    "mov %edi, %eax",
    "ret",
    ".size tracer_probe_stepped_site, . - tracer_probe_stepped_site",
    options(att_syntax)
);

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the self-test's sites are written for x86-64, the only machine that is supported");

unsafe extern "C" {
    fn tracer_probe_emulated_site();
    fn tracer_probe_stepped_site();
}

/// A probed function of this program.
#[derive(Clone, Copy)]
pub(crate) struct OwnSite(unsafe extern "C" fn());

impl OwnSite {
    /// Its first instruction is emulated.
    pub(crate) const EMULATED: Self = Self(tracer_probe_emulated_site);
    /// Its first instruction is single-stepped.
    pub(super) const STEPPED: Self = Self(tracer_probe_stepped_site);

    /// Calls it.
    pub(crate) fn call(self) {
        // SAFETY: both functions are the instructions above: they touch no memory.
        unsafe { (self.0)() }
    }

    /// Where its first instruction lies in this program's file.
    pub(super) fn file_offset(self) -> io::Result<FileOffset> {
        own_file_offset(self.0 as usize as u64)
    }
}

/// Attaches `instructions` to `site` with `uprobe_multi`, for this process only if `own`.
pub(super) fn attach(
    site: OwnSite,
    instructions: &[bpf::Instruction],
    own: bool,
) -> io::Result<OwnedFd> {
    let program = assembly::load(
        bpf::PROGRAM_KPROBE,
        bpf::ATTACH_UPROBE_MULTI,
        0,
        instructions,
    )
    .map_err(|(error, _)| error)?;
    link(site, program.as_fd(), 0, own)
}

/// Attaches a loaded program to `site` with `uprobe_multi`, for this process only if `own`.
pub(crate) fn link(
    site: OwnSite,
    program: BorrowedFd<'_>,
    cookie: u64,
    own: bool,
) -> io::Result<OwnedFd> {
    link_all(&[site], program, cookie, own)
}

/// Attaches a program to sites of this program's file, which is one.
fn link_all(
    sites: &[OwnSite],
    program: BorrowedFd<'_>,
    cookie: u64,
    own: bool,
) -> io::Result<OwnedFd> {
    let places = sites.iter().map(|site| site.file_offset());
    let places = places.collect::<io::Result<Vec<FileOffset>>>()?;
    let Some(FileOffset { path, .. }) = places.first() else {
        return Err(io::Error::other("no site to attach to"));
    };
    let file = File::open(path)?;
    let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
    bpf::link_uprobes(
        program,
        &UprobeLink {
            path: &descriptor_path(&file),
            offsets: &offsets,
            cookies: &vec![cookie; offsets.len()],
            pid: if own { std::process::id() } else { 0 },
        },
    )
}

/// A path by which this process can open the very file that `file` is.
pub(crate) fn descriptor_path(file: &impl AsRawFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("digits hold no NUL byte")
}

/// Whether a link with a pid sees calls of every thread of that process. Linux 6.6 to 6.9 compare
/// the thread instead; so a second thread calls, and is counted or not.
pub(super) fn pid_filter_covers_threads() -> io::Result<bool> {
    let counter = Counter::new()?;
    let link = attach(OwnSite::EMULATED, &assembly::counts(counter.map()), true)?;
    thread::scope(|scope| {
        scope.spawn(|| OwnSite::EMULATED.call());
    });
    let counted = counter.value();
    close_aside(link);
    // More than one where another thread measures what the site costs meanwhile: no matter, since a
    // filter by thread would count neither.
    Ok(counted? > 0)
}

/// What a hit of an emulated and of a single-stepped site with an empty program costs, in thread
/// CPU time: the median of several rounds. About 30 ms where single-stepping leaves a nested VM.
pub(super) fn costs() -> io::Result<[Duration; 2]> {
    let program = assembly::load(
        bpf::PROGRAM_KPROBE,
        bpf::ATTACH_UPROBE_MULTI,
        0,
        assembly::EMPTY,
    )
    .map_err(|(error, _)| error)?;
    let sites = [OwnSite::EMULATED, OwnSite::STEPPED];
    let link = link_all(&sites, program.as_fd(), 0, true)?;
    let costs = sites.map(cost);
    close_aside(link);
    Ok(costs)
}

fn cost(site: OwnSite) -> Duration {
    const ROUNDS: usize = 9;
    const CALLS: u32 = 200;
    let mut rounds = [Duration::ZERO; ROUNDS];
    for round in &mut rounds {
        let begin = thread_time();
        (0..CALLS).for_each(|_| site.call());
        *round = (thread_time() - begin) / CALLS;
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

/// Closes a link without waiting for the kernel, which takes 15 to 40 ms for it.
fn close_aside(link: OwnedFd) {
    thread::spawn(move || drop(link));
}

fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that the call only writes; every kernel has the clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}
