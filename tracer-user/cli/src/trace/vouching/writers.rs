//! Who writes to a file that was hashed: its verdict holds only until somebody may have.

use std::{
    collections::HashMap,
    io::{self, Write as _},
};

use tracer_event::{
    Content, Known, Label, Raw,
    integrity::{FileVerdict, VerdictOutcome},
};
use tracer_integrity::{cache::VerdictCache, hash::Hashed};
use tracer_probe::{
    files::{Act, FileEvent, FileSensor, Lost},
    process::{FileId, MappedFile},
};

use super::Answer;
use crate::text::printable;

/// Verdicts that are remembered to be taken back; beyond, the oldest run on as they are.
const MOST_GIVEN: usize = 4096;

/// Watches the files that were hashed; the default watches nothing.
#[derive(Default)]
pub(super) struct Writers {
    sensor: Option<FileSensor>,
    cache: VerdictCache,
    /// Verified files, and to whom that was said.
    given: HashMap<FileId, Vec<Answer>>,
    /// What is to be taken back.
    taken_back: Vec<Answer>,
}

impl Writers {
    /// Begins to watch; where that is not possible each verdict is of its moment.
    pub(super) fn watch() -> Self {
        let mut cache = VerdictCache::default();
        let sensor = FileSensor::start(None)
            .inspect_err(|error| {
                let _ = writeln!(
                    io::stderr(),
                    "tracer: writers of model files cannot be watched: {}; a verdict holds for the \
                     moment at which its file was hashed",
                    printable(&error.to_string())
                );
            })
            .ok();
        if sensor.is_some() {
            cache.watch_begins();
        }
        Self {
            sensor,
            cache,
            given: HashMap::new(),
            taken_back: Vec::new(),
        }
    }

    /// What was found before and still holds.
    pub(super) fn known(&mut self, file: FileId) -> Option<Hashed> {
        self.read();
        self.cache.verdict(file).cloned()
    }

    /// A file will be hashed now.
    pub(super) fn begins(&mut self, mapped: &MappedFile, file: FileId) {
        if let Some(sensor) = &mut self.sensor {
            let path = Some(mapped.path().to_owned());
            if sensor.watch_open(mapped.file(), file, path).is_err() {
                // Too many files: of this one no writer would be told.
                self.cache.events_lost();
            }
        }
        self.read();
        self.cache.begins(file);
    }

    /// It was hashed: what that is worth with everything that happened meanwhile.
    pub(super) fn ends(&mut self, hashed: Hashed) -> Hashed {
        self.read();
        let file = hashed.file;
        let hashed = self.cache.ends(hashed);
        if !(self.sensor.as_ref()).is_some_and(|sensor| sensor.hears_the_end_of(file)) {
            // Another file could get its number unnoticed.
            self.cache.written(file);
        }
        hashed
    }

    /// Remembers a verdict that was given.
    pub(super) fn remember(&mut self, answer: &Answer) {
        if self.sensor.is_none()
            || answer.verdict.outcome != VerdictOutcome::Verified
            || self.given.len() >= MOST_GIVEN
        {
            return;
        }
        let given = self.given.entry(answer.request.file()).or_default();
        given.push(taken_back(answer));
    }

    /// Verdicts that no longer hold.
    pub(super) fn look(&mut self) -> Vec<Answer> {
        self.read();
        std::mem::take(&mut self.taken_back)
    }

    fn read(&mut self) {
        let Some(sensor) = &mut self.sensor else {
            return;
        };
        let Ok(events) = sensor.sync() else {
            self.cache.watch_ends();
            self.sensor = None;
            return self.take_back_all("writers can no longer be watched");
        };
        for event in events {
            match event {
                FileEvent::Access(access) if access.act.may_change_bytes() => {
                    self.cache.written(access.file);
                    if let Some(given) = self.given.remove(&access.file) {
                        self.take_back(given, "it was opened for writing, or written, since");
                    }
                }
                // Another file may get its number.
                FileEvent::Access(access) if access.act == Act::Deleted => {
                    self.cache.written(access.file);
                    self.given.remove(&access.file);
                }
                FileEvent::Access(_) => {}
                FileEvent::Lost(lost) => match lost.what {
                    Lost::Accesses | Lost::Missed | Lost::Notices | Lost::Files | Lost::Depth => {
                        self.cache.events_lost();
                        self.take_back_all("events about writers were lost since");
                    }
                    // The counters tell the writers all the same.
                    Lost::Names => {}
                },
            }
        }
    }

    fn take_back_all(&mut self, why: &'static str) {
        let all: Vec<_> = self.given.drain().flat_map(|(_, given)| given).collect();
        self.take_back(all, why);
    }

    fn take_back(&mut self, given: Vec<Answer>, why: &'static str) {
        let answers = given.into_iter().map(|mut answer| {
            answer.verdict.reason = Label::new(why);
            answer
        });
        self.taken_back.extend(answers);
    }
}

/// What is said when a verdict no longer holds, the reason left open.
fn taken_back(answer: &Answer) -> Answer {
    let verdict = &answer.verdict;
    let path = verdict.path.value().and_then(|path| match path.expose() {
        Content::Text(bytes) | Content::Beginning(bytes) => {
            Some(Raw::new(Content::text(bytes.clone())))
        }
        Content::Texts(_)
        | Content::Tokens(_)
        | Content::LogProbabilities(_)
        | Content::Number(_) => None,
    });
    Answer {
        request: answer.request.clone(),
        verdict: FileVerdict {
            model: verdict.model,
            path: path.into(),
            inode: verdict.inode,
            size: verdict.size,
            digest: verdict.digest,
            outcome: VerdictOutcome::Undetermined,
            guarantee: Known::Unknown,
            reason: Label::new(""),
            source: verdict.source.clone(),
            duration: verdict.duration,
        },
    }
}
