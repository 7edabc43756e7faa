//! Finding libraries, before they are mapped, when they are, and in what runs already.

use std::{collections::HashSet, path::Path, sync::Arc, time::Instant};

use super::{
    RESCAN_EVERY, Supervisor,
    library::{State, Workshop},
};
use crate::{
    observation::{AttachReport, LibraryId, NotAttachable, Observation, ProbeId, Runtime},
    process::{FileId, MappedFile, Mapping, Process, ProcessId, executable_mappings},
    time::BootNanos,
};

/// Files that one pattern of early paths may name.
const MOST_EARLY_FILES: usize = 4096;

/// How a mapping came to our notice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    /// The kernel told when it was made.
    AsItHappened,
    /// It was there when we looked.
    Afterwards,
}

impl Supervisor {
    /// Attaches to libraries that lie where profiles expect them, before any process maps them.
    pub(super) fn attach_early(&mut self) {
        let profiles = Arc::clone(&self.profiles);
        for pattern in profiles.iter().flat_map(|profile| &profile.early_paths) {
            for path in glob::glob(pattern)
                .into_iter()
                .flatten()
                .take(MOST_EARLY_FILES)
                .flatten()
            {
                // What is listed but unreadable or no library is of no concern until it is mapped.
                if let Ok(file) = MappedFile::open_path(&path) {
                    self.consider(file, None);
                }
            }
        }
    }

    /// Looks at every process that could be traced, and for those that are gone.
    pub(super) fn scan(&mut self) {
        self.follow_cgroup();
        let begin = Instant::now();
        for pid in self.targets.candidates().unwrap_or_default() {
            self.look_at(pid, Noticed::Afterwards, begin);
        }
        let told: HashSet<ProcessId> = self.known.runtimes().map(|(process, _)| process).collect();
        for process in told.into_iter().filter(|process| !process.is_alive()) {
            self.forget_process(process.pid, BootNanos::NEVER);
        }
        // Of some the end was told before their set was put.
        self.remove_sets(|pid| ProcessId::of(pid).is_err());
        self.release_idle();
    }

    /// A restarted service's cgroup is a new one.
    fn follow_cgroup(&mut self) {
        // What the map refuses now it is asked again at the next look.
        let _ = self.targets.follow(&self.kernel.tables);
    }

    /// Acts on the mappings that the kernel told of.
    pub(super) fn notice_mappings(&mut self) {
        let Some(mapped) = self.watch.as_mut().map(crate::watch::Watch::drain) else {
            return;
        };
        if !mapped.files.is_empty() {
            self.follow_cgroup();
        }
        let begin = Instant::now();
        let mut unknown = HashSet::new();
        for &(pid, file, generation) in &mapped.files {
            match self.known.mapped_as(file) {
                Some(library) => self.meet(pid, file, library),
                // What was changed in place meanwhile is found by the next look at every process.
                None if self.passed.within(RESCAN_EVERY, file, generation) => {}
                None => {
                    unknown.insert(pid);
                }
            }
        }
        for pid in unknown {
            if self.targets.may_include(pid) {
                // Whatever another process was looked at for: a number may be another file's by now.
                self.look_at(pid, Noticed::AsItHappened, Instant::now());
            }
        }
        for (_, file, generation) in mapped.files {
            self.passed.was_of(file, generation, begin);
        }
        if mapped.lost {
            self.scan();
        }
    }

    /// Looks at everything that a process maps, but for what was found to be nothing since `begin`. That
    /// it ends meanwhile is nothing unusual.
    pub(super) fn look_at(&mut self, pid: u32, noticed: Noticed, begin: Instant) {
        if pid == std::process::id() {
            return;
        }
        let looked = BootNanos::now();
        let Ok(mappings) = executable_mappings(pid) else {
            return;
        };
        let mut seen = HashSet::new();
        for mapping in mappings.iter().filter(|mapping| seen.insert(mapping.file)) {
            let (library, is_new) = match self.known.mapped_as(mapping.file) {
                Some(library) => (Some(library), false),
                None if self.passed.since(mapping.file, begin) => continue,
                None => self.look_into(pid, mapping),
            };
            if let Some(library) = library {
                self.tell_runtime(
                    pid,
                    mapping,
                    library,
                    is_new || noticed == Noticed::Afterwards,
                    looked,
                );
            }
        }
    }

    /// A process mapped a library that is known.
    fn meet(&mut self, pid: u32, file: FileId, library: LibraryId) {
        let looked = BootNanos::now();
        let Ok(mappings) = executable_mappings(pid) else {
            return;
        };
        if let Some(mapping) = mappings.iter().find(|mapping| mapping.file == file) {
            self.tell_runtime(pid, mapping, library, false, looked);
        }
    }

    pub(super) fn attach_library(&mut self, id: LibraryId, pid: Option<u32>, begin: Instant) {
        let Some(library) = self.libraries.get_mut(&id) else {
            return;
        };
        let mut failures = Vec::new();
        for group in library.groups() {
            let mut workshop = Workshop {
                tables: &self.kernel.tables,
                programs: &self.kernel.calls,
                sites: &mut self.sites,
                pid: self.link_pid,
            };
            match library.attach(&group, &mut workshop) {
                Ok(closing) => self.closing.extend(closing),
                Err(error) => {
                    let in_group = library
                        .probes
                        .iter_mut()
                        .filter(|probe| probe.group == group);
                    for probe in in_group {
                        probe.state = State::Failed;
                        failures.push((probe.id, format!("the kernel refused to attach: {error}")));
                    }
                }
            }
        }
        library.attached = BootNanos::now();
        let report = AttachReport {
            library: id,
            path: library.file.path().to_owned(),
            file: library.file.id(),
            build_id: library.build_id.clone(),
            version: library.version.clone(),
            profile: library.profile,
            probes: library.attached_probes(),
            links: library.link_count(),
            means: self.kernel.calls.means(),
            took: begin.elapsed(),
            time: library.attached,
        };
        let path = report.path.clone();
        self.pending
            .push_back(Observation::Attached(Arc::new(report)));
        for (probe, reason) in failures {
            let process = pid.and_then(|pid| ProcessId::of(pid).ok());
            self.pending
                .push_back(Observation::NotAttachable(NotAttachable {
                    process,
                    path: path.clone(),
                    probe: Some(probe),
                    reason,
                    time: BootNanos::now(),
                }));
        }
    }

    pub(super) fn is_wanted(&self, pid: u32) -> bool {
        Process::read(pid).is_ok_and(|process| self.targets.includes(&process))
    }

    fn tell_runtime(
        &mut self,
        pid: u32,
        mapping: &Mapping,
        id: LibraryId,
        is_late: bool,
        looked: BootNanos,
    ) {
        let Ok(process) = Process::read(pid) else {
            return;
        };
        let Some(library) = self.libraries.get(&id) else {
            return;
        };
        if !self.targets.includes(&process) || !self.known.is_new(process.id, id, looked) {
            return;
        }
        let existed = started(process.id) <= library.attached;
        self.pending
            .push_back(Observation::RuntimeFound(Arc::new(Runtime {
                process,
                profile: library.profile,
                library: id,
                path: mapping.path.clone(),
                file: library.file.id(),
                deleted: mapping.deleted,
                build_id: library.build_id.clone(),
                version: library.version.clone(),
                load_may_be_missed: is_late && existed,
                time: BootNanos::now(),
            })));
    }

    pub(super) fn refuse(
        &mut self,
        pid: Option<u32>,
        path: &Path,
        probe: Option<ProbeId>,
        reason: String,
    ) {
        self.pending
            .push_back(Observation::NotAttachable(NotAttachable {
                process: pid.and_then(|pid| ProcessId::of(pid).ok()),
                path: path.to_owned(),
                probe,
                reason,
                time: BootNanos::now(),
            }));
    }
}

/// The earliest that the process can have begun.
fn started(process: ProcessId) -> BootNanos {
    BootNanos(
        process
            .start_ticks
            .saturating_mul(1_000_000_000 / tracer_abi::USER_HZ),
    )
}
