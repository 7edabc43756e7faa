//! From stored records to lines. Telemetry is opened; content leaves as it came, sealed, with the
//! records that hold its wrapped keys before it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, btree_map::Entry as Slot},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use tracer_event::{Digest, Known, ModelId};
use tracer_wire::{
    AgentId, Body, Contents, Epoch, EventKind, OpenError, Record, SessionId, Stream,
};

use crate::{
    server::Collector,
    store::{Cursor, Entry, RecordNumber, Selection, StoreError},
    telemetry::Openers,
};

/// Epochs whose keys are remembered in one query, at most.
const REMEMBERED: usize = 256;

/// Makes the lines of one query.
pub(super) struct Lines {
    selection: Selection,
    /// Events that may still be told.
    left: u64,
    /// Opens the epochs that were learnt.
    openers: Option<Openers>,
    /// Epochs whose beginnings were learnt, by which opener, or told; the error if they cannot be opened.
    epochs: BTreeMap<(AgentId, SessionId, Epoch), Result<usize, String>>,
    /// Which models the numbers of a session stand for.
    models: BTreeMap<(AgentId, SessionId), Models>,
}

#[derive(Default)]
struct Models {
    /// Loads were looked at up to this record.
    through: RecordNumber,
    digests: BTreeMap<ModelId, Digest>,
}

/// What of an event decides whether it is asked for.
#[derive(Deserialize)]
struct Probed<'a> {
    #[serde(borrow)]
    time: ProbedTime<'a>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    body: ProbedBody,
}

/// As it is written: such texts sort as their times do.
#[derive(Deserialize)]
struct ProbedTime<'a> {
    #[serde(borrow)]
    wall: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProbedBody {
    model: Known<ModelId>,
}

/// What tells which file a model is.
#[derive(Deserialize)]
struct Loaded {
    body: LoadedBody,
}

#[derive(Deserialize)]
struct LoadedBody {
    model: ModelId,
    header: LoadedHeader,
}

#[derive(Deserialize)]
struct LoadedHeader {
    digest: Known<Digest>,
}

impl Lines {
    pub(super) fn new(selection: &Selection, limit: u64) -> Self {
        Self {
            selection: selection.clone(),
            left: limit,
            openers: None,
            epochs: BTreeMap::new(),
            models: BTreeMap::new(),
        }
    }

    /// Whether as much as was asked for has been told.
    pub(super) const fn is_full(&self) -> bool {
        self.left == 0
    }

    /// The lines of a record. What cannot be read or opened has a line that says so.
    pub(super) fn of(
        &mut self,
        collector: &Collector,
        entry: &Entry,
    ) -> Result<Vec<u8>, StoreError> {
        let record = match collector.store.read(entry) {
            Ok(record) => record,
            // Deleted since it was selected.
            Err(StoreError::Gone(_)) => return Ok(Vec::new()),
            Err(error @ StoreError::Damaged { .. }) => {
                log::error!("{error}");
                return Ok(unreadable(entry, &error.to_string()));
            }
            Err(error) => return Err(error),
        };
        match (&record.claims().body, entry.stream) {
            (Body::Batch(_), Stream::Telemetry) => self.telemetry(collector, entry, &record),
            (Body::Batch(_), Stream::Content) => self.content(collector, entry, &record),
            (Body::Gap(_) | Body::Epoch(_) | Body::Closing, _) => Ok(gap(entry, &record)),
        }
    }

    fn telemetry(
        &mut self,
        collector: &Collector,
        entry: &Entry,
        record: &Record,
    ) -> Result<Vec<u8>, StoreError> {
        let contents = match self.open(collector, entry, record)? {
            Ok(contents) => contents,
            Err(why) => return Ok(unreadable(entry, &why)),
        };
        let Body::Batch(batch) = &record.claims().body else {
            return Ok(Vec::new());
        };
        let Selection {
            from,
            to,
            kinds,
            models,
            ..
        } = &self.selection;
        let is_within = *from <= batch.first && batch.last <= *to;
        let all_kinds = kinds.is_empty() || batch.kinds.keys().all(|kind| kinds.contains(kind));
        let is_whole = is_within && all_kinds && models.is_empty();
        if is_whole && batch.events() <= self.left {
            self.left -= batch.events();
            return Ok(contents.ndjson().to_vec());
        }
        let wanted = Wanted {
            from: from.to_string(),
            to: to.to_string(),
            is_within,
            kinds: kinds.clone(),
            models: models.clone(),
        };
        let known = if wanted.models.is_empty() {
            BTreeMap::new()
        } else {
            self.models_of(collector, entry)?
        };
        let of_batch: BTreeSet<Digest> = batch.models.iter().copied().collect();
        let mut lines = Vec::new();
        for line in contents.ndjson().split_inclusive(|&byte| byte == b'\n') {
            if self.left == 0 {
                break;
            }
            if wanted.has(line, &known, &of_batch) {
                lines.extend_from_slice(line);
                self.left -= 1;
            }
        }
        Ok(lines)
    }

    fn content(
        &mut self,
        collector: &Collector,
        entry: &Entry,
        record: &Record,
    ) -> Result<Vec<u8>, StoreError> {
        let mut lines = Vec::new();
        let key = (entry.agent, entry.session, entry.epoch);
        if !self.epochs.contains_key(&key) {
            if self.epochs.len() >= REMEMBERED {
                self.epochs.clear();
            }
            if let Some(epoch) = begin(collector, entry)? {
                lines.extend(sealed(&epoch));
            }
            self.epochs.insert(key, Ok(0));
        }
        lines.extend(sealed(record));
        // How many of its events are wanted is for the one who opens it to see.
        self.left = self.left.saturating_sub(1);
        Ok(lines)
    }

    fn open(
        &mut self,
        collector: &Collector,
        entry: &Entry,
        record: &Record,
    ) -> Result<Result<Contents, String>, StoreError> {
        let key = (entry.agent, entry.session, entry.epoch);
        if self.epochs.len() >= REMEMBERED {
            self.epochs.clear();
            self.openers = None;
        }
        let openers = match &mut self.openers {
            Some(openers) => openers,
            None => {
                let Ok(openers) = collector.telemetry.openers() else {
                    return Ok(Err(String::from("the telemetry key is none")));
                };
                self.openers.insert(openers)
            }
        };
        let learnt = match self.epochs.entry(key) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(unknown) => unknown.insert(match begin(collector, entry)? {
                Some(epoch) => openers.learn(&epoch).map_err(|error| describe(&error)),
                None => Err(String::from("the beginning of its epoch is not kept")),
            }),
        };
        let opener = match learnt {
            Ok(number) => openers.of(*number),
            Err(why) => return Ok(Err(why.clone())),
        };
        Ok(opener.open(record).map_err(|error| describe(&error)))
    }

    /// What the numbers of a session's models stand for, up to a record.
    fn models_of(
        &mut self,
        collector: &Collector,
        entry: &Entry,
    ) -> Result<BTreeMap<ModelId, Digest>, StoreError> {
        let key = (entry.agent, entry.session);
        let mut models = self.models.remove(&key).unwrap_or_default();
        if models.through < entry.number {
            let mut loads = Selection::all(Stream::Telemetry);
            loads.agents = Some(BTreeSet::from([entry.agent]));
            loads.session = Some(entry.session);
            loads.kinds = EventKind::new("model.loaded").into_iter().collect();
            let from = Cursor::Arrival {
                after: models.through,
            };
            // Numbers are not given twice in a session: later loads do no harm.
            let newest = collector.store.newest()?;
            for load in collector.store.select(&loads, from, usize::MAX)? {
                if load.is_gap {
                    continue;
                }
                let Ok(record) = collector.store.read(&load) else {
                    continue;
                };
                let Ok(contents) = self.open(collector, &load, &record)? else {
                    continue;
                };
                for line in contents.ndjson().split(|&byte| byte == b'\n') {
                    if let Ok(Loaded { body }) = serde_json::from_slice(line)
                        && let Known::Known(digest) = body.header.digest
                    {
                        models.digests.insert(body.model, digest);
                    }
                }
            }
            models.through = newest;
        }
        let digests = models.digests.clone();
        self.models.insert(key, models);
        Ok(digests)
    }
}

/// What is asked for, of one event.
struct Wanted {
    from: String,
    to: String,
    /// Whether all of the batch is from then to then.
    is_within: bool,
    kinds: BTreeSet<EventKind>,
    models: BTreeSet<Digest>,
}

impl Wanted {
    fn has(
        &self,
        line: &[u8],
        known: &BTreeMap<ModelId, Digest>,
        of_batch: &BTreeSet<Digest>,
    ) -> bool {
        let Ok(event) = serde_json::from_slice::<Probed<'_>>(line) else {
            // A kind of event that is newer than this program: better told than hidden.
            return true;
        };
        let wall: &str = &event.time.wall;
        let is_within = self.is_within || *self.from <= *wall && *wall <= *self.to;
        let is_kind = self.kinds.is_empty()
            || EventKind::new(&event.kind).is_some_and(|kind| self.kinds.contains(&kind));
        if !is_within || !is_kind {
            return false;
        }
        if self.models.is_empty() {
            return true;
        }
        let Known::Known(model) = event.body.model else {
            return false;
        };
        match known.get(&model) {
            Some(digest) => self.models.contains(digest),
            // Its load is in another session. What the batch names is all that it can be.
            None => !self.models.is_disjoint(of_batch),
        }
    }
}

/// The record that began the epoch of an entry.
fn begin(collector: &Collector, entry: &Entry) -> Result<Option<Record>, StoreError> {
    let found = collector
        .store
        .epoch(entry.agent, entry.session, entry.epoch)?;
    let Some(found) = found else { return Ok(None) };
    match collector.store.read(&found) {
        Ok(record) => Ok(Some(record)),
        Err(StoreError::Gone(_) | StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn sealed(record: &Record) -> Vec<u8> {
    let record = BASE64_STANDARD.encode(record.to_bytes());
    line(&serde_json::json!({ "schema": "tracer.sealed/1", "record": record }))
}

fn gap(entry: &Entry, record: &Record) -> Vec<u8> {
    let Body::Gap(gap) = &record.claims().body else {
        return Vec::new();
    };
    line(&serde_json::json!({
        "schema": "tracer.gap/1",
        "agent": entry.agent,
        "session": entry.session,
        "stream": entry.stream.to_string(),
        "first": gap.first.0,
        "last": entry.sequence.0,
        "from": entry.first,
        "to": entry.last,
        "events": entry.events,
        "reason": gap.reason.to_string(),
    }))
}

fn unreadable(entry: &Entry, why: &str) -> Vec<u8> {
    line(&serde_json::json!({
        "schema": "tracer.unreadable/1",
        "agent": entry.agent,
        "session": entry.session,
        "stream": entry.stream.to_string(),
        "sequence": entry.sequence.0,
        "from": entry.first,
        "to": entry.last,
        "events": entry.events,
        "why": why,
    }))
}

fn line(value: &serde_json::Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

fn describe(error: &OpenError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
