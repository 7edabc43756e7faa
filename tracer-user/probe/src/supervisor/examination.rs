//! Looking into files: what a mapped file is, and what can be attached to it. The reading is done by
//! the [`Reader`](super::reader::Reader), since a file may lie where reads never end.

use std::{sync::Arc, time::Instant};

use super::{
    Supervisor,
    discovery::Noticed,
    known::Verdict,
    library::Library,
    plan::{self, Plan},
    reader::{Answer, Late},
};
use crate::{
    code::ImageError,
    observation::{LibraryId, ProbeId},
    process::{FileId, MappedFile, Mapping},
};

/// Files whose reading may be waited for at once; each has a thread.
const MOST_SLOW: usize = 8;
/// Runtimes' libraries that one process may have; real ones have up to five.
const MOST_OF_A_PROCESS: usize = 32;
/// What a file is told of that is given up.
const TOO_SLOW: &str =
    "reading it takes too long: its file system does not answer; it is left alone";

/// A file whose reading takes long.
pub(super) struct Slow {
    pid: Option<u32>,
    file: FileId,
    path: std::path::PathBuf,
    stage: Stage,
}

enum Stage {
    Opening(Late<Option<MappedFile>>),
    Reading(Late<(MappedFile, Examined)>, Instant),
}

/// What a file turned out to be.
enum Examined {
    /// No runtime's library.
    Nothing,
    /// A library of the profile with this place.
    Library {
        profile: usize,
        build_id: Option<Vec<u8>>,
        plan: Plan,
    },
    Unreadable(ImageError),
    /// It is not what it was when it was opened.
    Changed,
}

impl Supervisor {
    /// What a mapped file is, and whether that was not known before.
    pub(super) fn look_into(&mut self, pid: u32, mapping: &Mapping) -> (Option<LibraryId>, bool) {
        if self.given_up.contains(&mapping.file) || self.is_put_off(mapping.file) {
            return (None, false);
        }
        let file = if mapping.file.is_on_a_block_device() {
            MappedFile::open(pid, mapping).ok()
        } else {
            let asked = mapping.clone();
            match self.reader.run(move || MappedFile::open(pid, &asked).ok()) {
                Answer::Done(file) => file,
                Answer::Failed => None,
                Answer::Late(late) => {
                    self.wait_for(Slow {
                        pid: Some(pid),
                        file: mapping.file,
                        path: mapping.path.clone(),
                        stage: Stage::Opening(late),
                    });
                    None
                }
            }
        };
        let Some(file) = file else {
            return (None, false);
        };
        let is_one_number = file.has_its_own_number(mapping.file);
        let (library, is_new) = match self.known.verdict(&file) {
            Verdict::Library(library) => (Some(library), false),
            Verdict::Nothing => {
                if is_one_number {
                    self.passed.add(mapping.file);
                }
                (None, false)
            }
            Verdict::Unknown => (self.consider(file, Some((pid, mapping.file))), true),
        };
        if let Some(library) = library {
            self.known.add_name(mapping.file, library);
        }
        (library, is_new)
    }

    /// Whether a file is left for a later look, since its file system does not answer at the moment, or
    /// too many do not.
    fn is_put_off(&self, file: FileId) -> bool {
        let does_not_answer = |slow: &Slow| slow.file.device == file.device;
        !file.is_on_a_block_device()
            && (self.reader.is_busy() || self.slow.iter().any(does_not_answer))
    }

    /// Attaches to a file if a profile recognises it. `mapped` is a process that maps it, and what the
    /// kernel calls the file there.
    pub(super) fn consider(
        &mut self,
        file: MappedFile,
        mapped: Option<(u32, FileId)>,
    ) -> Option<LibraryId> {
        if let Verdict::Library(library) = self.known.verdict(&file) {
            return Some(library);
        }
        let pid = mapped.map(|(pid, _)| pid);
        if pid.is_some_and(|pid| !self.is_wanted(pid)) {
            // Not remembered: a process that is traced may map the file later.
            return None;
        }
        if pid.is_some_and(|pid| self.known.libraries_of(pid) >= MOST_OF_A_PROCESS) {
            return None;
        }
        let begin = Instant::now();
        let name = mapped.map_or_else(|| file.id(), |(_, name)| name);
        let path = file.path().to_owned();
        let profiles = Arc::clone(&self.profiles);
        let (shadow_stacks, prices) = (self.shadow_stacks, self.prices);
        let work = move || {
            let examined = examine(
                &file,
                pid,
                |recognised| {
                    let profile = &profiles[recognised.profile];
                    plan::plan(recognised, profile, shadow_stacks, prices)
                },
                &profiles,
            );
            (file, examined)
        };
        match self.reader.run(work) {
            Answer::Done((file, examined)) => self.take_up(file, pid, examined, begin),
            Answer::Failed => {
                let reason = "reading it failed by a defect of tracer; please report the file";
                self.give_up(pid, name, &path, reason);
                None
            }
            Answer::Late(late) => {
                self.wait_for(Slow {
                    pid,
                    file: name,
                    path,
                    stage: Stage::Reading(late, begin),
                });
                None
            }
        }
    }

    /// Takes what has been read meanwhile, and gives up what takes too long.
    pub(super) fn look_at_slow(&mut self) {
        for slow in std::mem::take(&mut self.slow) {
            let Slow {
                pid,
                file,
                path,
                stage,
            } = slow;
            let stage = match stage {
                Stage::Opening(late) => match late.take() {
                    Answer::Late(late) if !late.is_hopeless() => Stage::Opening(late),
                    Answer::Late(_) => {
                        self.give_up(pid, file, &path, TOO_SLOW);
                        continue;
                    }
                    Answer::Done(_) | Answer::Failed => {
                        self.given_up.remove(&file);
                        self.look_again(pid);
                        continue;
                    }
                },
                Stage::Reading(late, begin) => match late.take() {
                    Answer::Late(late) if !late.is_hopeless() => Stage::Reading(late, begin),
                    Answer::Late(_) | Answer::Failed => {
                        self.give_up(pid, file, &path, TOO_SLOW);
                        continue;
                    }
                    Answer::Done((open, examined)) => {
                        self.given_up.remove(&file);
                        self.take_up(open, pid, examined, begin);
                        self.look_again(pid);
                        continue;
                    }
                },
            };
            self.slow.push(Slow {
                pid,
                file,
                path,
                stage,
            });
        }
    }

    /// Whether answers may come at any time.
    pub(super) fn waits_for_slow(&self) -> bool {
        !self.slow.is_empty()
    }

    fn look_again(&mut self, pid: Option<u32>) {
        if let Some(pid) = pid {
            self.look_at(pid, Noticed::Afterwards, Instant::now());
        }
    }

    fn wait_for(&mut self, slow: Slow) {
        if self.slow.len() >= MOST_SLOW {
            let Slow {
                pid, file, path, ..
            } = slow;
            self.give_up(pid, file, &path, TOO_SLOW);
            return;
        }
        self.given_up.insert(slow.file);
        self.slow.push(slow);
    }

    fn give_up(&mut self, pid: Option<u32>, file: FileId, path: &std::path::Path, reason: &str) {
        self.given_up.insert(file);
        self.refuse(pid, path, None, reason.to_owned());
    }

    fn take_up(
        &mut self,
        file: MappedFile,
        pid: Option<u32>,
        examined: Examined,
        begin: Instant,
    ) -> Option<LibraryId> {
        let (place, build_id, plan) = match examined {
            Examined::Library {
                profile,
                build_id,
                plan,
            } => (profile, build_id, plan),
            Examined::Nothing => {
                self.known.pass_over(&file);
                self.let_go(file);
                return None;
            }
            Examined::Unreadable(error) => {
                if let Some(reason) = worth_telling(&error) {
                    self.refuse(pid, file.path(), None, reason);
                }
                self.known.pass_over(&file);
                self.let_go(file);
                return None;
            }
            Examined::Changed => {
                let reason = "it was changed while it was read; it is looked at again later";
                self.refuse(pid, file.path(), None, reason.to_owned());
                self.let_go(file);
                return None;
            }
        };
        let Plan {
            version,
            probes,
            refused,
            notes,
        } = plan;
        for reason in notes {
            self.refuse(pid, file.path(), None, reason);
        }
        for (probe, reason) in refused {
            let id = self.probe_id(place, probe);
            self.refuse(pid, file.path(), id, reason);
        }
        let id = LibraryId(self.next_library);
        self.next_library = self.next_library.wrapping_add(1);
        self.known.add_library(&file, id);
        let profiles = Arc::clone(&self.profiles);
        let first = self.probe_id(place, 0).map_or(0, |id| id.0);
        let group_of = |probe: usize| {
            let id = ProbeId(first + u16::try_from(probe).unwrap_or(u16::MAX));
            (id, profiles[place].probes[probe].group.clone())
        };
        let plan = Plan {
            version,
            probes,
            refused: Vec::new(),
            notes: Vec::new(),
        };
        let library = Library::new(id, place, file, build_id, plan, group_of);
        self.libraries.insert(id, library);
        if pid.is_none() {
            self.early.insert(id);
        }
        self.attach_library(id, pid, begin);
        Some(id)
    }

    /// Closes a file. Even that may be answered late.
    fn let_go(&mut self, file: MappedFile) {
        if !file.id().is_on_a_block_device() {
            drop(self.reader.run(move || drop(file)));
        }
    }
}

fn examine(
    file: &MappedFile,
    pid: Option<u32>,
    plan: impl FnOnce(&plan::Recognised) -> Plan,
    profiles: &[tracer_profile::Profile],
) -> Examined {
    let examined = match plan::recognise(file, pid, profiles) {
        Ok(None) => return Examined::Nothing,
        Err(error) => return Examined::Unreadable(error),
        Ok(Some(recognised)) => Examined::Library {
            plan: plan(&recognised),
            profile: recognised.profile,
            build_id: recognised.build_id,
        },
    };
    if file.is_unchanged() {
        examined
    } else {
        Examined::Changed
    }
}

/// Most files that a process maps are none of ours, whatever they are; only a damaged one that
/// looks like a library deserves a word.
fn worth_telling(error: &ImageError) -> Option<String> {
    match error {
        ImageError::NotElf { .. }
        | ImageError::ThirtyTwoBit
        | ImageError::BigEndian
        | ImageError::Machine { .. }
        | ImageError::NotLoadable { .. } => None,
        ImageError::Read { .. }
        | ImageError::Outside { .. }
        | ImageError::TooLarge { .. }
        | ImageError::Unmapped { .. }
        | ImageError::Malformed { .. } => Some(error.to_string()),
    }
}
