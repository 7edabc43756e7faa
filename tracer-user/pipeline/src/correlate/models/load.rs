//! Loads: what a load call says of a model, also when its end is never seen.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use tracer_abi::Phase;
use tracer_event::{
    Body, BootNanos, Content, Known, ModelId, Name, Pid, Raw,
    model::{FileRole, LoadParameters, LoadResult, LoadSeen, ModelFile, ModelFreed, ModelSnapshot},
};
use tracer_profile::FieldName;

use super::{
    super::parameters::{empty, load_parameters, truth},
    MOST_MODELS, Model, Models,
};
use crate::{
    call::Call,
    output::{Draft, Output},
    snapshot::files::Found,
};

/// A load whose end has not been seen.
pub(super) struct Begun {
    runtime: Name,
    time: BootNanos,
    parameters: LoadParameters,
    path: PathBuf,
    whole: bool,
    pub(super) found: Vec<Found>,
}

impl Models {
    /// A load call begins: what ends a generation can be told to the kernel before the first.
    pub(in crate::correlate) fn load_begins(&mut self, call: &Call<'_>, output: &mut Output) {
        let Some(text) = call.text(FieldName::Path) else {
            return;
        };
        let path = Path::new(OsStr::from_bytes(text.expose())).to_owned();
        let whole = text.is_whole();
        let found = if whole {
            self.view.files_at(call.pid(), path.clone())
        } else {
            Vec::new()
        };
        if self.begun.len() >= MOST_MODELS {
            self.begun.pop_first();
        }
        let tells_ends = found.iter().any(|file| file.header.is_some());
        let begun = Begun {
            runtime: call.probe.runtime.clone(),
            time: call.began(),
            parameters: load_parameters(call),
            path,
            whole,
            found,
        };
        self.begun.insert(call.id(), begun);
        if tells_ends {
            self.put_ends(call.pid(), output);
        }
    }

    /// A load call ended.
    pub(in crate::correlate) fn loaded(
        &mut self,
        call: &Call<'_>,
        id: ModelId,
        output: &mut Output,
    ) {
        let pid = call.pid();
        let is_loaded = load_result(call) == Known::Known(LoadResult::Loaded);
        let address = call
            .address(FieldName::Model)
            .filter(|address| *address != 0 && is_loaded);
        let begun = self.begun.remove(&call.id());
        let (path, found) = match begun {
            Some(Begun {
                path, whole, found, ..
            }) => (whole.then_some(path), found),
            None => (None, Vec::new()),
        };
        let mut snapshot = empty(id, call.probe.runtime.clone(), LoadSeen::Seen);
        snapshot.load_began = Known::Known(call.began());
        snapshot.load_result = load_result(call);
        if snapshot.load_result != Known::Known(LoadResult::Unwound) {
            snapshot.load_duration = Known::Known(call.duration());
        }
        snapshot.dry_run = truth(call, FieldName::NoAllocation);
        snapshot.load_parameters = load_parameters(call);
        if found.is_empty()
            && let Some(path) = path
        {
            snapshot.files.push(only_named(&path));
        }
        // What was found in the live process before is this very model, its call still running.
        if let Some(file) = found.first() {
            let inode = file.to_event().inode;
            self.forget(output, |model| {
                let same = model.held.as_ref().is_some_and(|held| {
                    let first = held.snapshot.files.first();
                    first.is_some_and(|first| first.inode == inode)
                });
                model.address.is_none() && same
            });
        }
        let has_path = !snapshot.files.is_empty() || !found.is_empty();
        if self.goes_on(call, address, has_path, &snapshot) {
            return;
        }
        // An address is used again where nobody saw the release.
        self.forget(output, |model| {
            model.address.is_some() && model.address == address && model.held.is_none()
        });
        let failed = snapshot.load_result != Known::Known(LoadResult::Loaded);
        let draft = Draft::of_call(call, Body::ModelFreed(ModelFreed { model: id }));
        self.add(pid, address, &found, snapshot, draft, output);
        if failed && self.view.is_informed() {
            self.complete_last(output);
        } else if failed && let Some(last) = self.models.pop() {
            if self.over.len() >= MOST_MODELS {
                self.tell_over(pid, |_| true, output);
            }
            self.over.push(last);
        }
    }

    /// Whether the call only continues the load of a model whose file was named by a call before: its
    /// snapshot then takes the result, and the time since that one began.
    fn goes_on(
        &mut self,
        call: &Call<'_>,
        address: Option<u64>,
        has_path: bool,
        snapshot: &ModelSnapshot<Raw<Content>>,
    ) -> bool {
        let is_it = |model: &Model| address.is_some() && model.address == address;
        let Some(index) = self.models.iter().position(is_it) else {
            return false;
        };
        let Some(held) = &mut self.models[index].held else {
            return false;
        };
        if has_path || held.snapshot.files.is_empty() {
            return false;
        }
        let began = held.snapshot.load_began;
        held.snapshot.load_duration = match (began, snapshot.load_result) {
            (_, Known::Known(LoadResult::Unwound)) | (Known::Unknown, _) => Known::Unknown,
            (Known::Known(began), _) => Known::Known(call.time().since(began)),
        };
        held.snapshot.load_result = snapshot.load_result;
        held.touched = held.touched.max(call.time());
        true
    }

    /// The process is gone: loads that it had begun never ended.
    pub(in crate::correlate) fn gone(
        &mut self,
        pid: Pid,
        time: BootNanos,
        next: &mut impl FnMut() -> ModelId,
        output: &mut Output,
    ) {
        let begun = std::mem::take(&mut self.begun);
        let mut told: Vec<PathBuf> = Vec::new();
        for begun in begun.into_values() {
            // One load may be several calls, of which each waited for the next.
            if told.contains(&begun.path) {
                continue;
            }
            let id = next();
            let mut snapshot = empty(id, begun.runtime, LoadSeen::Seen);
            snapshot.load_began = Known::Known(begun.time);
            snapshot.load_result = Known::Known(LoadResult::Unfinished);
            snapshot.load_parameters = begun.parameters;
            if begun.found.is_empty() && begun.whole {
                snapshot.files.push(only_named(&begun.path));
            }
            let body = Body::ModelFreed(ModelFreed { model: id });
            let draft = Draft::of_process(time, pid, body);
            self.add(pid, None, &begun.found, snapshot, draft, output);
            self.complete_last(output);
            told.push(begun.path);
        }
    }
}

/// How a load ended: by its result code if the runtime has one, else by the model's address.
fn load_result(call: &Call<'_>) -> Known<LoadResult> {
    let code = call.number(FieldName::Result);
    let address = call.address(FieldName::Model);
    match (call.phase, code, address) {
        (Phase::Unwound, _, _) => Known::Known(LoadResult::Unwound),
        (Phase::Entry | Phase::Exit, Some(0), _) => Known::Known(LoadResult::Loaded),
        (Phase::Entry | Phase::Exit, Some(_), _) => Known::Known(LoadResult::Failed),
        (Phase::Entry | Phase::Exit, None, Some(0)) => Known::Known(LoadResult::Failed),
        (Phase::Entry | Phase::Exit, None, Some(_)) => Known::Known(LoadResult::Loaded),
        (Phase::Entry | Phase::Exit, None, None) => Known::Unknown,
    }
}

/// A file of which only the name that the caller gave is known.
fn only_named(path: &Path) -> ModelFile<Raw<Content>> {
    ModelFile {
        role: FileRole::Other,
        path: Raw::new(Content::text(path.as_os_str().as_bytes())),
        inode: Known::Unknown,
        size: Known::Unknown,
        mapped: false,
        deleted: false,
    }
}
