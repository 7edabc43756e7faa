//! Parameters of calls, in the event model's words.

use std::collections::BTreeMap;

use tracer_event::{
    Content, Known, ModelId, Name, Raw,
    model::{
        CgroupLimits, ChatTemplate, ContextParameters, Header, LoadParameters, LoadSeen,
        ModelSnapshot,
    },
};
use tracer_profile::FieldName;

use crate::call::Call;

/// A snapshot of which nothing is known yet.
pub(super) fn empty(model: ModelId, runtime: Name, load: LoadSeen) -> ModelSnapshot<Raw<Content>> {
    ModelSnapshot {
        model,
        runtime,
        runtime_version: Known::Unknown,
        load,
        load_began: Known::Unknown,
        load_duration: Known::Unknown,
        load_result: Known::Unknown,
        dry_run: Known::Unknown,
        load_parameters: LoadParameters::default(),
        contexts: Vec::new(),
        files: Vec::new(),
        header: Header::default(),
        chat_template: ChatTemplate::UNKNOWN,
        backends: Vec::new(),
        process_threads: Known::Unknown,
        environment: BTreeMap::new(),
        limits: CgroupLimits::default(),
    }
}

/// What the caller of a load call asked for.
pub(super) fn load_parameters(call: &Call<'_>) -> LoadParameters {
    let number = |name| Known::from(call.number(name));
    LoadParameters {
        gpu_layers: number(FieldName::GpuLayers),
        split_mode: number(FieldName::SplitMode),
        main_gpu: number(FieldName::MainGpu),
        load_mode: number(FieldName::LoadMode),
        use_mmap: truth(call, FieldName::UseMmap),
        use_mlock: truth(call, FieldName::UseMlock),
        use_direct_io: truth(call, FieldName::UseDirectIo),
        vocabulary_only: truth(call, FieldName::VocabularyOnly),
        check_tensors: truth(call, FieldName::CheckTensors),
    }
}

/// A C++ `bool`, which is 0 or 1.
pub(super) fn truth(call: &Call<'_>, name: FieldName) -> Known<bool> {
    match call.number(name) {
        Some(0) => Known::Known(false),
        Some(1) => Known::Known(true),
        Some(_) | None => Known::Unknown,
    }
}

/// What the caller of a context's call asked for.
pub(super) fn context_parameters(call: &Call<'_>) -> ContextParameters {
    let number = |name| Known::from(call.number(name));
    let count = |name| Known::from(call.number(name).and_then(|n| u32::try_from(n).ok()));
    ContextParameters {
        context_length: count(FieldName::ContextLength),
        batch_size: count(FieldName::BatchSize),
        micro_batch_size: count(FieldName::MicroBatchSize),
        sequence_limit: count(FieldName::SequenceLimit),
        threads: number(FieldName::Threads),
        batch_threads: number(FieldName::BatchThreads),
        flash_attention: number(FieldName::FlashAttention),
        key_type: number(FieldName::KeyType),
        value_type: number(FieldName::ValueType),
        embeddings: truth(call, FieldName::Embeddings),
        offload_cache: truth(call, FieldName::OffloadCache),
        rope_frequency_base: call.float(FieldName::RopeFrequencyBase).into(),
    }
}
