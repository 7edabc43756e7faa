//! The models of one process, and the snapshots that wait to be complete.

mod load;

use std::collections::BTreeMap;

use tracer_event::{
    Body, BootNanos, Content, Digest, Known, ModelId, Name, Pid, Raw,
    model::{
        ChatTemplate, ContextSnapshot, Header, LoadResult, LoadSeen, ModelFreed, ModelSnapshot,
        TemplateOrigin,
    },
};
use tracer_profile::{FieldName, TokenSet};

use self::load::Begun;
use super::{
    parameters::empty,
    surroundings::{Live, Surroundings, View},
};
use crate::{
    call::Call,
    output::{Draft, Output, SetUpdate},
    snapshot::{self, files::Found, gguf::Want},
};

/// Models of one process.
const MOST_MODELS: usize = 64;
/// Nanoseconds after its last news that a snapshot is taken as complete: a server makes its
/// contexts and its chat template within that.
const SETTLED: u64 = 1_000_000_000;

/// The models of one process.
#[derive(Default)]
pub(super) struct Models {
    models: Vec<Model>,
    view: View,
    /// Loads that have begun, by call.
    begun: BTreeMap<u64, Begun>,
    /// Loads without a model that ended before it was known what a snapshot is to tell: they wait for
    /// that.
    over: Vec<Model>,
    /// What the process's libraries say of their versions, by runtime.
    versions: BTreeMap<Name, String>,
}

struct Model {
    id: ModelId,
    /// `None` for a model that was there before the probes.
    address: Option<u64>,
    /// Whether its load was seen.
    is_seen: bool,
    ends: Vec<u32>,
    /// The template of the file's header.
    header_template: Option<Digest>,
    length: Option<u64>,
    held: Option<Held>,
}

/// A snapshot that is not complete, and what may only be told after it.
struct Held {
    draft: Draft,
    snapshot: Box<ModelSnapshot<Raw<Content>>>,
    after: Vec<Draft>,
    touched: BootNanos,
}

impl Models {
    /// None yet; `want` says what is read of their files.
    pub(super) fn new(want: Want) -> Self {
        Self {
            view: View::new(want),
            ..Self::default()
        }
    }

    /// What the profile wants to know is known, and with it what the live process says.
    pub(super) fn surroundings(&mut self, pid: Pid, surroundings: Surroundings) {
        self.view.learn(pid, surroundings);
        for index in 0..self.models.len() {
            self.refresh(pid, index);
        }
    }

    /// What snapshots are to tell has become known, for those that waited for it.
    pub(super) fn announced(&mut self, pid: Pid, output: &mut Output) {
        self.tell_over(pid, |_| true, output);
    }

    fn tell_over(&mut self, pid: Pid, is_due: impl Fn(&Held) -> bool, output: &mut Output) {
        let is_due = |model: &mut Model| model.held.as_ref().is_some_and(&is_due);
        let due: Vec<Model> = self.over.extract_if(.., is_due).collect();
        for model in due {
            self.models.push(model);
            self.refresh(pid, self.models.len() - 1);
            self.complete_last(output);
        }
    }

    /// A model that is first known by a call that it serves.
    pub(super) fn adopt(
        &mut self,
        call: &Call<'_>,
        address: Option<u64>,
        id: ModelId,
        output: &mut Output,
    ) {
        let snapshot = empty(id, call.probe.runtime.clone(), LoadSeen::NotSeen);
        let draft = Draft::of_process(
            call.began(),
            call.pid(),
            Body::ModelFreed(ModelFreed { model: id }),
        );
        self.add(call.pid(), address, &[], snapshot, draft, output);
    }

    /// Models that a process had before the probes: what it maps, or, if it is serving, what its
    /// command line names.
    pub(super) fn discover(
        &mut self,
        pid: Pid,
        runtime: &Name,
        time: BootNanos,
        is_serving: bool,
        next: &mut impl FnMut() -> ModelId,
        output: &mut Output,
    ) {
        for group in self.view.models(pid, is_serving) {
            let id = next();
            let snapshot = empty(id, runtime.clone(), LoadSeen::NotSeen);
            let body = Body::ModelFreed(ModelFreed { model: id });
            let draft = Draft::of_process(time, pid, body);
            self.add(pid, None, &group, snapshot, draft, output);
        }
    }

    fn add(
        &mut self,
        pid: Pid,
        address: Option<u64>,
        found: &[Found],
        mut snapshot: ModelSnapshot<Raw<Content>>,
        draft: Draft,
        output: &mut Output,
    ) {
        if self.models.len() >= MOST_MODELS {
            self.complete(0, output);
            output.forget_pieces(self.models[0].id);
            self.models.remove(0);
            output.give_up();
        }
        snapshot.files.extend(found.iter().map(Found::to_event));
        let header = found.first().and_then(|file| file.header.as_ref());
        snapshot.header = header.map_or_else(Header::default, snapshot::header_event);
        if let Some(pieces) = header.and_then(|header| header.pieces.clone()) {
            output.know_pieces(snapshot.model, pieces);
        }
        let model = Model {
            id: snapshot.model,
            address,
            is_seen: snapshot.load == LoadSeen::Seen,
            ends: header.map_or_else(Vec::new, |header| header.end_of_generation.clone()),
            header_template: header.and_then(|header| header.chat_template),
            length: header.and_then(|header| header.context_length),
            held: Some(Held {
                touched: draft.time,
                draft,
                snapshot: Box::new(snapshot),
                after: Vec::new(),
            }),
        };
        let tells_ends = header.is_some();
        self.models.push(model);
        self.refresh(pid, self.models.len() - 1);
        if tells_ends {
            self.put_ends(pid, output);
        }
    }

    /// Reads what only a living process can tell; what was read before stays if it is gone.
    fn refresh(&mut self, pid: Pid, index: usize) {
        let is_held = |model: &Model| model.held.is_some();
        if !self.models.get(index).is_some_and(is_held) {
            return;
        }
        let Some(live) = self.view.live(pid) else {
            return;
        };
        let held = self.models[index].held.as_mut();
        let Some(Held { snapshot, .. }) = held else {
            return;
        };
        let Live {
            backends,
            environment,
            threads,
            limits,
        } = live;
        snapshot.backends = backends;
        snapshot.environment = environment;
        snapshot.process_threads = Known::Known(threads);
        snapshot.limits = limits;
    }

    /// Tells the kernel which tokens end a generation in this process.
    fn put_ends(&self, pid: Pid, output: &mut Output) {
        let begun = self.begun.values().flat_map(|begun| &begun.found);
        let begun = begun.filter_map(|file| file.header.as_ref());
        let begun = begun.flat_map(|header| &header.end_of_generation);
        let models = self.models.iter().flat_map(|model| &model.ends);
        let mut values: Vec<u64> = models.chain(begun).map(|id| u64::from(*id)).collect();
        values.sort_unstable();
        values.dedup();
        output.put_set(SetUpdate {
            pid,
            set: TokenSet::EndOfGeneration,
            values,
        });
    }

    /// Whether a token ends a generation, as the model's file says; for when the kernel did not
    /// know yet.
    pub(super) fn ends(&self, token: i32) -> Option<bool> {
        let token = u32::try_from(token).ok()?;
        let known = !self.models.iter().all(|model| model.ends.is_empty());
        known.then(|| self.models.iter().any(|model| model.ends.contains(&token)))
    }

    /// The model of an address; one that was there before, if it is the only one.
    pub(super) fn at(&mut self, address: Option<u64>) -> Option<ModelId> {
        let address = Some(address.filter(|address| *address != 0)?);
        let known = self.models.iter().find(|model| model.address == address);
        if let Some(known) = known {
            return Some(known.id);
        }
        let mut unknown = self
            .models
            .iter_mut()
            .filter(|model| model.address.is_none());
        match (unknown.next(), unknown.next()) {
            (Some(model), None) => {
                model.address = address;
                Some(model.id)
            }
            _ => None,
        }
    }

    /// Whether no model of the process is known.
    pub(super) const fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// The only model of the process that serves.
    pub(super) fn only(&self) -> Option<ModelId> {
        match self.models.as_slice() {
            [model] => Some(model.id),
            _ => None,
        }
    }

    /// Whether nobody saw the model's load.
    pub(super) fn is_unseen(&self, id: ModelId) -> bool {
        self.models
            .iter()
            .any(|model| model.id == id && !model.is_seen)
    }

    /// The context length that a model was trained with.
    pub(super) fn length(&self, id: ModelId) -> Option<u64> {
        self.models.iter().find(|model| model.id == id)?.length
    }

    /// A context of the model was made: part of its snapshot, and told after it.
    pub(super) fn context(
        &mut self,
        id: Option<ModelId>,
        snapshot: ContextSnapshot,
        draft: Draft,
        output: &mut Output,
    ) {
        let held = self
            .models
            .iter_mut()
            .find(|model| Some(model.id) == id)
            .and_then(|model| model.held.as_mut());
        match held {
            Some(held) => {
                held.snapshot.contexts.push(snapshot);
                held.touched = held.touched.max(draft.time);
                held.after.push(draft);
            }
            None => output.emit(draft),
        }
    }

    /// The caller prepared a chat template: its own, or the header's if that is empty.
    pub(super) fn template(&mut self, call: &Call<'_>) {
        let id = self.at(call.address(FieldName::Model));
        let option = self.view.template();
        let Some(model) = self.models.iter_mut().find(|model| Some(model.id) == id) else {
            return;
        };
        let Some(held) = &mut model.held else {
            return;
        };
        held.touched = held.touched.max(call.time());
        held.snapshot.chat_template = match call.number(FieldName::TemplateLength) {
            Some(0) => header_template(model.header_template),
            Some(_) => {
                let text = call.text(FieldName::Template);
                let whole = text.filter(|text| text.is_whole());
                // What the record cannot hold is on the command line, or in a file named there.
                let digest = whole.map(|text| Digest::of(text.expose())).or(option);
                ChatTemplate {
                    origin: Known::Known(TemplateOrigin::Caller),
                    digest: digest.into(),
                }
            }
            None => ChatTemplate::UNKNOWN,
        };
    }

    /// The model serves: its snapshot is complete.
    pub(super) fn serves(&mut self, pid: Pid, id: Option<ModelId>, output: &mut Output) {
        let index = self.models.iter().position(|model| Some(model.id) == id);
        if let Some(index) = index
            && self.models[index].held.is_some()
        {
            self.refresh(pid, index);
            self.complete(index, output);
        }
    }

    /// The model is released.
    pub(super) fn freed(&mut self, call: &Call<'_>, output: &mut Output) {
        let Some(id) = self.at(call.address(FieldName::Model)) else {
            return;
        };
        if let Some(index) = self.models.iter().position(|model| model.id == id) {
            self.complete(index, output);
            self.models.remove(index);
            output.forget_pieces(id);
        }
        let body = Body::ModelFreed(ModelFreed { model: id });
        output.emit(Draft::of_call(call, body));
    }

    /// One of the process's libraries tells its version.
    pub(super) fn version(&mut self, runtime: Name, version: String) {
        self.versions.insert(runtime, version);
    }

    /// Time passed: snapshots that get no more news are told.
    pub(super) fn tick(&mut self, pid: Pid, now: BootNanos, output: &mut Output) {
        for index in 0..self.models.len() {
            let held = self.models[index].held.as_ref();
            if held.is_some_and(|held| now.since(held.touched).0 > SETTLED) {
                self.refresh(pid, index);
                self.complete(index, output);
            }
        }
        self.tell_over(pid, |held| now.since(held.touched).0 > SETTLED, output);
    }

    /// The process is gone, or watching it ends.
    pub(super) fn end(&mut self, output: &mut Output) {
        self.models.append(&mut self.over);
        for index in 0..self.models.len() {
            self.complete(index, output);
            output.forget_pieces(self.models[index].id);
        }
        self.models.clear();
    }

    fn complete_last(&mut self, output: &mut Output) {
        if let Some(last) = self.models.len().checked_sub(1) {
            self.complete(last, output);
            output.forget_pieces(self.models[last].id);
            self.models.remove(last);
        }
    }

    /// Drops models whose place something else has taken.
    fn forget(&mut self, output: &mut Output, gone: impl Fn(&Model) -> bool) {
        for model in self.models.extract_if(.., |model| gone(model)) {
            output.forget_pieces(model.id);
        }
    }

    fn complete(&mut self, index: usize, output: &mut Output) {
        let model = &mut self.models[index];
        let Some(held) = model.held.take() else {
            return;
        };
        let Held {
            draft,
            mut snapshot,
            after,
            touched: _,
        } = held;
        let version = self.versions.get(&snapshot.runtime).map(String::as_str);
        snapshot.runtime_version = version
            .map(|version| Raw::new(Content::text(version)))
            .into();
        if snapshot.chat_template == ChatTemplate::UNKNOWN {
            // No one was seen to prepare one: what the command line says is in effect.
            if let Some(digest) = self.view.template() {
                snapshot.chat_template = ChatTemplate {
                    origin: Known::Known(TemplateOrigin::Caller),
                    digest: Known::Known(digest),
                };
            }
        }
        let failed = matches!(
            snapshot.load_result,
            Known::Known(LoadResult::Failed | LoadResult::Unwound | LoadResult::Unfinished)
        );
        let body = if failed {
            Body::ModelLoadFailed(snapshot)
        } else {
            Body::ModelLoaded(snapshot)
        };
        output.emit(Draft { body, ..draft });
        for draft in after {
            output.emit(draft);
        }
    }
}

fn header_template(digest: Option<Digest>) -> ChatTemplate {
    ChatTemplate {
        origin: Known::Known(match digest {
            Some(_) => TemplateOrigin::Header,
            None => TemplateOrigin::None,
        }),
        digest: digest.into(),
    }
}
