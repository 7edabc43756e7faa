//! What a profile asks about a process, and what only a living process can answer.

use std::{collections::BTreeMap, path::PathBuf};

use tracer_event::{
    Content, Digest, Known, Name, Pid, Raw,
    model::{Backend, CgroupLimits, FileRole},
};
use tracer_profile::{Options, Profile};

use crate::snapshot::{
    Patience,
    files::{self, Found},
    gguf::Want,
    live::{self, CommandLine},
};

/// What a profile says about snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    environment: Vec<String>,
    libraries: Vec<String>,
    options: Options,
}

impl Surroundings {
    pub(super) fn of(profile: &Profile) -> Self {
        Self {
            environment: profile.environment.clone(),
            libraries: profile.libraries.clone(),
            options: profile.options.clone(),
        }
    }

    /// Adds what another profile of the same process says.
    pub(super) fn extend(&mut self, other: Self) {
        let Self {
            environment,
            libraries,
            options,
        } = other;
        for name in environment {
            if !self.environment.contains(&name) {
                self.environment.push(name);
            }
        }
        self.libraries.extend(libraries);
        if self.options == Options::default() {
            self.options = options;
        }
    }
}

/// What only a living process can tell.
pub(super) struct Live {
    pub(super) backends: Vec<Backend<Raw<Content>>>,
    pub(super) environment: BTreeMap<Name, Raw<Content>>,
    pub(super) threads: u32,
    pub(super) limits: CgroupLimits,
}

impl Live {
    /// `None` if the process is gone.
    pub(super) fn read(pid: Pid, surroundings: &Surroundings) -> Option<Self> {
        let Surroundings {
            environment,
            libraries,
            options: _,
        } = surroundings;
        let Known::Known(threads) = live::threads(pid.0) else {
            return None;
        };
        let backends = live::backends(pid.0, libraries);
        if !live::is_mapped(pid.0) {
            // A process that has ended and waits for its parent has a status, but no mapping.
            return None;
        }
        Some(Self {
            backends,
            environment: live::environment(pid.0, environment),
            threads,
            limits: live::limits(pid.0),
        })
    }
}

/// What is seen of a process for its models' snapshots, with the patience that it is met with.
#[derive(Default)]
pub(super) struct View {
    want: Want,
    patience: Patience,
    surroundings: Surroundings,
    is_informed: bool,
    template: Option<Digest>,
    /// The files that the command line named when the process was found: they are the model if it
    /// turns out to serve one that nothing else tells of.
    named: Vec<Found>,
    /// The process as it was then, for when it is gone before its model is known.
    first_look: Option<Live>,
}

impl View {
    /// Nothing yet; `want` says what is read of the files.
    pub(super) fn new(want: Want) -> Self {
        Self {
            want,
            ..Self::default()
        }
    }

    /// What the profile wants to know is known, and with it what the live process says.
    pub(super) fn learn(&mut self, pid: Pid, surroundings: Surroundings) {
        let options = surroundings.options.clone();
        let line = self
            .patience
            .read(move || CommandLine::read(pid.0, &options));
        let CommandLine { model, template } = line.unwrap_or_default();
        self.template = template.or(self.template);
        if let Some(path) = model {
            self.named = self.files_at(pid, path);
        }
        self.surroundings.extend(surroundings);
        self.is_informed = true;
        self.first_look = self.look(pid);
    }

    /// Whether it is known what a snapshot is to tell.
    pub(super) const fn is_informed(&self) -> bool {
        self.is_informed
    }

    /// Digest of the chat template that the command line gives.
    pub(super) const fn template(&self) -> Option<Digest> {
        self.template
    }

    /// The process as it is, or once as it was when it was found.
    pub(super) fn live(&mut self, pid: Pid) -> Option<Live> {
        self.look(pid).or_else(|| self.first_look.take())
    }

    fn look(&mut self, pid: Pid) -> Option<Live> {
        let surroundings = self.surroundings.clone();
        self.patience
            .read(move || Live::read(pid, &surroundings))
            .flatten()
    }

    /// The file of a path, and the others of a model that is split.
    pub(super) fn files_at(&mut self, pid: Pid, path: PathBuf) -> Vec<Found> {
        let want = self.want;
        let reading = move || {
            let first = files::named(pid.0, &path, want)?;
            let rest = files::siblings(pid.0, &first);
            Some([vec![first], rest].concat())
        };
        self.patience.read(reading).flatten().unwrap_or_default()
    }

    /// The files of each model that the process has: what it maps, or, if it is serving, what its
    /// command line names.
    pub(super) fn models(&mut self, pid: Pid, is_serving: bool) -> Vec<Vec<Found>> {
        let want = self.want;
        let mapped = self.patience.read(move || files::mapped(pid.0, want));
        let (weights, others): (Vec<_>, Vec<_>) = mapped
            .into_iter()
            .flatten()
            .partition(|file| file.role() == FileRole::Weights);
        let mut groups: Vec<Vec<Found>> = Vec::new();
        for file in weights {
            let split = file.header.as_ref().and_then(|header| header.split_count);
            let own = stem(&file);
            let group = groups.iter_mut().find(|group| {
                split.is_some_and(|split| split > 1)
                    && group.first().is_some_and(|first| stem(first) == own)
            });
            match group {
                Some(group) => group.push(file),
                None => groups.push(vec![file]),
            }
        }
        if groups.is_empty() && is_serving && !self.named.is_empty() {
            groups.push(std::mem::take(&mut self.named));
        }
        if let Some(first) = groups.first_mut() {
            first.extend(others);
        }
        groups
    }
}

/// What the names of a split model's files have in common.
fn stem(file: &Found) -> String {
    let name = file.path.to_string_lossy().into_owned();
    let end = name
        .rfind("-of-")
        .map_or(name.len(), |end| end.saturating_sub(6));
    name.get(..end).unwrap_or(&name).to_owned()
}
