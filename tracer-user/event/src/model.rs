//! Families `model` and `context`: what is being served, complete enough for a bug report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracer_redact::Field;

use crate::{
    identity::{BuildId, ContextId, Digest, Inode, Label, ModelId, Name},
    known::Known,
    time::{BootNanos, Nanos},
};

/// A model as it was loaded, and everything around it that can change what it does. Emitted once
/// for each load, when its first context exists or can no longer be expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(bound(deserialize = "C: Deserialize<'de>"))]
pub struct ModelSnapshot<C> {
    /// The model.
    pub model: ModelId,
    /// The runtime that serves it, such as `llama.cpp`.
    #[serde(rename = "gen_ai.provider.name")]
    pub runtime: Name,
    /// The runtime's version, as its library's own code tells it.
    #[serde(default)]
    pub runtime_version: Known<C>,
    /// Whether the load call was seen, or the snapshot comes from the live process alone.
    pub load: LoadSeen,
    /// When the load call began.
    pub load_began: Known<BootNanos>,
    /// How long the load call took.
    pub load_duration: Known<Nanos>,
    /// How it ended.
    pub load_result: Known<LoadResult>,
    /// Whether it was a rehearsal that allocates no weights (llama.cpp loads a model once to fit
    /// it to the memory). Such a load serves nothing.
    pub dry_run: Known<bool>,
    /// What the caller asked for.
    pub load_parameters: LoadParameters,
    /// Contexts made of it so far, oldest first.
    pub contexts: Vec<ContextSnapshot>,
    /// The weights, adapters and projectors that were named or are mapped.
    pub files: Vec<ModelFile<C>>,
    /// What the first weight file says of itself.
    pub header: Header<C>,
    /// The chat template in effect.
    pub chat_template: ChatTemplate,
    /// The runtime's libraries that are mapped, one for each inode; CPU variants show here.
    pub backends: Vec<Backend<C>>,
    /// Threads of the process.
    pub process_threads: Known<u32>,
    /// The environment variables on the profile's list that are set.
    pub environment: BTreeMap<Name, C>,
    /// The limits that the process's cgroup and its ancestors set.
    pub limits: CgroupLimits,
}

impl<C> ModelSnapshot<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> ModelSnapshot<D> {
        let Self {
            model,
            runtime,
            runtime_version,
            load,
            load_began,
            load_duration,
            load_result,
            dry_run,
            load_parameters,
            contexts,
            files,
            header,
            chat_template,
            backends,
            process_threads,
            environment,
            limits,
        } = self;
        ModelSnapshot {
            model,
            runtime,
            runtime_version: runtime_version.map(|version| change(Field::Symbol, version)),
            load,
            load_began,
            load_duration,
            load_result,
            dry_run,
            load_parameters,
            contexts,
            files: files.into_iter().map(|file| file.map(change)).collect(),
            header: header.map(change),
            chat_template,
            backends: backends
                .into_iter()
                .map(|backend| backend.map(change))
                .collect(),
            process_threads,
            environment: environment
                .into_iter()
                .map(|(name, content)| {
                    let field = Field::Environment {
                        name: name.as_str(),
                    };
                    let content = change(field, content);
                    (name, content)
                })
                .collect(),
            limits,
        }
    }
}

/// Whether a load call was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub enum LoadSeen {
    /// The call was seen; its parameters are those that the caller passed.
    #[serde(rename = "seen")]
    Seen,
    /// The model was there before the probes, or the call may have been missed.
    #[serde(rename = "not seen")]
    NotSeen,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LoadResult {
    /// The runtime returned a model.
    Loaded,
    /// The runtime returned none.
    Failed,
    /// The call was left without returning: an exception, or the thread's end.
    Unwound,
    /// The process ended, or another program took its place, before the call's end was seen: it was
    /// killed while it loaded, or an exception left the call and nothing of it was heard again.
    Unfinished,
}

/// What a caller passes to load a model. Numbers are the runtime's own where they name a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct LoadParameters {
    /// Layers wanted on an accelerator; negative means all.
    pub gpu_layers: Known<i64>,
    /// How tensors are split over devices.
    pub split_mode: Known<i64>,
    /// Device that takes what is not split.
    pub main_gpu: Known<i64>,
    /// How weights are read, by the runtime's number.
    pub load_mode: Known<i64>,
    /// Whether weights are mapped.
    pub use_mmap: Known<bool>,
    /// Whether weights are locked in memory.
    pub use_mlock: Known<bool>,
    /// Whether weights are read past the page cache.
    pub use_direct_io: Known<bool>,
    /// Whether only the vocabulary is loaded.
    pub vocabulary_only: Known<bool>,
    /// Whether tensor data is checked.
    pub check_tensors: Known<bool>,
}

/// An inference context and what its caller asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ContextSnapshot {
    /// The context.
    pub context: ContextId,
    /// The model that it was made of.
    pub model: Known<ModelId>,
    /// Whether the call that made it was seen.
    pub created: LoadSeen,
    /// How long that call took.
    pub duration: Known<Nanos>,
    /// What its caller asked for.
    pub parameters: ContextParameters,
}

/// What a caller passes to make a context. Numbers are the runtime's own where they name a choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ContextParameters {
    /// Context length in tokens; 0 means the model's own.
    pub context_length: Known<u32>,
    /// Largest batch, in tokens.
    pub batch_size: Known<u32>,
    /// Largest part of a batch computed at once, in tokens.
    pub micro_batch_size: Known<u32>,
    /// Most sequences at a time.
    pub sequence_limit: Known<u32>,
    /// Threads for generating.
    pub threads: Known<i64>,
    /// Threads for processing prompts.
    pub batch_threads: Known<i64>,
    /// Flash attention: negative automatic, 0 off, 1 on.
    pub flash_attention: Known<i64>,
    /// Type of the cache's keys, by the runtime's number.
    pub key_type: Known<i64>,
    /// Type of the cache's values, by the runtime's number.
    pub value_type: Known<i64>,
    /// Whether embeddings are wanted.
    pub embeddings: Known<bool>,
    /// Whether the attention's cache goes to the accelerator.
    pub offload_cache: Known<bool>,
    /// Base frequency of the rotary embedding; 0 means the model's own.
    pub rope_frequency_base: Known<f64>,
}

/// A file that the model is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ModelFile<C> {
    /// What it is for.
    pub role: FileRole,
    /// Its path as the process sees it.
    pub path: C,
    /// The file itself.
    pub inode: Known<Inode>,
    /// Its size in bytes.
    pub size: Known<u64>,
    /// Whether the process maps it.
    pub mapped: bool,
    /// Whether it has been removed or replaced since.
    pub deleted: bool,
}

impl<C> ModelFile<C> {
    fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> ModelFile<D> {
        let Self {
            role,
            path,
            inode,
            size,
            mapped,
            deleted,
        } = self;
        ModelFile {
            role,
            path: change(Field::Path, path),
            inode,
            size,
            mapped,
            deleted,
        }
    }
}

/// What a model file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FileRole {
    /// The model's own tensors.
    Weights,
    /// A change to them, such as a LoRA.
    Adapter,
    /// What turns images or sound into the model's input.
    Projector,
    /// A model file whose header does not say.
    Other,
}

/// What a model file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Header<C> {
    /// The file format with its version, such as `GGUF 3`.
    pub format: Known<Label>,
    /// The architecture.
    pub architecture: Known<C>,
    /// The model's own name.
    #[serde(rename = "gen_ai.request.model")]
    pub name: Known<C>,
    /// The quantisation that the file names, such as `Q4_K_M`.
    pub quantisation: Known<Label>,
    /// How many tensors of each type there are.
    pub tensor_types: BTreeMap<Label, u64>,
    /// How many tensors there are.
    pub tensor_count: Known<u64>,
    /// How many tokens the vocabulary has.
    pub vocabulary_size: Known<u64>,
    /// Context length that the model was trained with, in tokens.
    pub context_length: Known<u64>,
    /// Digest over the vocabulary, merges, types and special ids.
    pub tokenizer: Known<Digest>,
    /// Digest over the whole header.
    pub digest: Known<Digest>,
}

impl<C> Default for Header<C> {
    fn default() -> Self {
        Self {
            format: Known::Unknown,
            architecture: Known::Unknown,
            name: Known::Unknown,
            quantisation: Known::Unknown,
            tensor_types: BTreeMap::new(),
            tensor_count: Known::Unknown,
            vocabulary_size: Known::Unknown,
            context_length: Known::Unknown,
            tokenizer: Known::Unknown,
            digest: Known::Unknown,
        }
    }
}

impl<C> Header<C> {
    fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> Header<D> {
        let Self {
            format,
            architecture,
            name,
            quantisation,
            tensor_types,
            tensor_count,
            vocabulary_size,
            context_length,
            tokenizer,
            digest,
        } = self;
        Header {
            format,
            architecture: architecture.map(|content| change(Field::ModelName, content)),
            name: name.map(|content| change(Field::ModelName, content)),
            quantisation,
            tensor_types,
            tensor_count,
            vocabulary_size,
            context_length,
            tokenizer,
            digest,
        }
    }
}

/// The chat template in effect. Its text never leaves; its digest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ChatTemplate {
    /// Where it comes from.
    pub origin: Known<TemplateOrigin>,
    /// Digest of its text.
    pub digest: Known<Digest>,
}

impl ChatTemplate {
    /// Nothing is known of it.
    pub const UNKNOWN: Self = Self {
        origin: Known::Unknown,
        digest: Known::Unknown,
    };
}

/// Where a chat template comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TemplateOrigin {
    /// The model file's header.
    Header,
    /// The caller passed one.
    Caller,
    /// There is none.
    None,
}

/// A library of the runtime that a process maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Backend<C> {
    /// Its path as the process sees it.
    pub path: C,
    /// The file itself.
    pub inode: Inode,
    /// Its build-id.
    pub build_id: Known<BuildId>,
    /// Whether it has been removed or replaced since.
    pub deleted: bool,
}

impl<C> Backend<C> {
    fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> Backend<D> {
        let Self {
            path,
            inode,
            build_id,
            deleted,
        } = self;
        Backend {
            path: change(Field::Path, path),
            inode,
            build_id,
            deleted,
        }
    }
}

/// What a process's cgroup and its ancestors allow: of each limit the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct CgroupLimits {
    /// Memory above which the process is killed, in bytes.
    pub memory_max: Known<Limit>,
    /// Memory above which the process is slowed down, in bytes.
    pub memory_high: Known<Limit>,
    /// Swap, in bytes.
    pub swap_max: Known<Limit>,
    /// CPU time a second, in microseconds: 2,000,000 are two CPUs.
    pub cpu_micros_per_second: Known<Limit>,
    /// CPUs that the process may run on.
    pub cpus: Known<u32>,
    /// Threads.
    pub tasks_max: Known<Limit>,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Limit {
    /// So much.
    At(u64),
    /// As much as there is; written as cgroup files write it.
    None(Unlimited),
}

/// The word `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Unlimited {
    /// No limit.
    Max,
}

/// A model was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ModelFreed {
    /// The model.
    pub model: ModelId,
}

/// A context was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct ContextFreed {
    /// The context.
    pub context: ContextId,
}
