//! Links between sites and programs.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, OwnedFd},
    thread::{self, JoinHandle},
};

use tracer_abi::SiteRole;

use crate::{
    features::descriptor_path,
    load::CallPrograms,
    observation::Means,
    process::MappedFile,
    sys::{
        apart::Closer,
        bpf::{self, UprobeLink},
        perf,
    },
};

/// An instruction to attach to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// File offset.
    pub(crate) offset: u64,
    pub(crate) role: SiteRole,
    /// Whether its spec only times calls.
    pub(crate) only_times: bool,
    /// Index in the site table.
    pub(crate) index: u32,
}

/// Attached sites; closing it detaches them.
#[derive(Default)]
pub(crate) struct Links(Vec<OwnedFd>);

impl Links {
    /// Attaches every site, for one process or for all. Exits come first, so that no call is
    /// entered whose end could be missed; where one fails, none stays.
    pub(crate) fn attach(
        programs: &CallPrograms,
        file: &MappedFile,
        sites: &[Placed],
        pid: Option<u32>,
    ) -> io::Result<Self> {
        let path = descriptor_path(file.file());
        let mut links = Vec::new();
        let (full, timing) = (programs.full(), programs.timing());
        for (role, only_times, program) in [
            (SiteRole::Exit, false, &full.exit),
            (SiteRole::Exit, true, &timing.exit),
            (SiteRole::Entry, false, &full.entry),
            (SiteRole::Entry, true, &timing.entry),
        ] {
            let program = program.as_fd();
            let sites: Vec<Placed> = sites
                .iter()
                .filter(|site| site.role == role && site.only_times == only_times)
                .copied()
                .collect();
            if sites.is_empty() {
                continue;
            }
            match programs.means() {
                Means::UprobeMulti => links.push(link_many(program, &path, &sites, pid)?),
                Means::PerfEvent => {
                    for site in sites {
                        let event = perf::open_uprobe(&path, site.offset, pid)?;
                        let cookie = u64::from(site.index);
                        links.push(bpf::link_perf_event(program, event.as_fd(), cookie)?);
                    }
                }
            }
        }
        Ok(Self(links))
    }

    /// How many links there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Closes many at once. The kernel waits for a grace period in each close, so they wait side
    /// by side: 50 single perf-event uprobes would otherwise take five seconds.
    pub(crate) fn close_all(all: impl IntoIterator<Item = Self>) {
        thread::scope(|scope| {
            for share in shares(all) {
                scope.spawn(move || drop(share));
            }
        });
    }

    /// As [`Links::close_all`], by processes of their own: this one can end before they do.
    pub(crate) fn close_apart(all: impl IntoIterator<Item = Self>) -> Departing {
        let mut departing = Departing::default();
        for share in shares(all) {
            match Closer::start(share) {
                Ok(closer) => departing.closers.push(closer),
                // Where no process can be made, a thread does it.
                Err((_, share)) => departing.threads.push(thread::spawn(move || drop(share))),
            }
        }
        departing
    }
}

/// Links that are being closed.
#[derive(Default)]
pub(crate) struct Departing {
    closers: Vec<Closer>,
    threads: Vec<JoinHandle<()>>,
}

impl Departing {
    /// Whether all are closed.
    pub(crate) fn is_done(&mut self) -> bool {
        self.closers.retain(|closer| !closer.has_ended());
        self.threads.retain(|thread| !thread.is_finished());
        self.closers.is_empty() && self.threads.is_empty()
    }
}

/// What each of those who close side by side gets.
fn shares(all: impl IntoIterator<Item = Links>) -> impl Iterator<Item = Vec<OwnedFd>> {
    const SHARES: usize = 32;
    let mut shares: Vec<Vec<OwnedFd>> = (0..SHARES).map(|_| Vec::new()).collect();
    for (turn, fd) in all.into_iter().flat_map(|links| links.0).enumerate() {
        shares[turn % SHARES].push(fd);
    }
    shares.into_iter().filter(|share| !share.is_empty())
}

fn link_many(
    program: std::os::fd::BorrowedFd<'_>,
    path: &CStr,
    sites: &[Placed],
    pid: Option<u32>,
) -> io::Result<OwnedFd> {
    let offsets: Vec<u64> = sites.iter().map(|site| site.offset).collect();
    let cookies: Vec<u64> = sites.iter().map(|site| u64::from(site.index)).collect();
    bpf::link_uprobes(
        program,
        &UprobeLink {
            path,
            offsets: &offsets,
            cookies: &cookies,
            pid: pid.unwrap_or(0),
        },
    )
}
