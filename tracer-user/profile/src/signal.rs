//! What a probe means to the pipeline: the closed sets of signals, of field roles and of token
//! sets. A new runtime is only TOML because everything that it can say is here already.

use tracer_abi::CaptureLevel;

use crate::names::vocabulary;

vocabulary! {
    /// What happens in the runtime when a probe's function is called.
    pub enum Signal {
        /// A model is loaded; its exit carries the model's address, 0 if the load failed.
        ModelLoad = "model-load",
        /// A model is released.
        ModelFree = "model-free",
        /// An inference context is made; its exit carries the context's address, 0 on failure.
        ContextCreate = "context-create",
        /// An inference context is released.
        ContextFree = "context-free",
        /// The caller hands a batch to the model: one decode or encode call, of any API.
        Step = "step",
        /// Part of a step that the model computes at once (llama.cpp's ubatch).
        Batch = "batch",
        /// One token is put into a batch that is being built.
        InputToken = "input-token",
        /// Positions of a sequence are removed from the cache.
        SequenceRemove = "sequence-remove",
        /// A sequence's cache is shared with another sequence.
        SequenceCopy = "sequence-copy",
        /// Every sequence but one is removed.
        SequenceKeep = "sequence-keep",
        /// Positions of a sequence move or shrink: a context shift.
        SequenceShift = "sequence-shift",
        /// The whole cache is emptied.
        SequenceClear = "sequence-clear",
        /// A context's or sequence's saved state is put back.
        StateRestore = "state-restore",
        /// Text becomes tokens.
        Tokenize = "tokenize",
        /// A token becomes text.
        TokenPiece = "token-piece",
        /// The sampler picks a token.
        Sample = "sample",
        /// The runtime is told that what follows is a warm-up, or that it is over.
        WarmUp = "warm-up",
        /// The chat template is prepared.
        TemplateInit = "template-init",
        /// The runtime gives up: an assertion or an abort in its own code.
        Error = "error",
        /// Only its duration counts: a hot inner operation, in a histogram.
        Operation = "operation",
        /// A call that only the profile's author knows the meaning of: it becomes an event as it is,
        /// and may name fields of its own.
        Call = "call",
    }
}

vocabulary! {
    /// The role of a captured value.
    ///
    /// The role fixes what shape the value has ([`FieldName::shape`]) and from which capture level
    /// on it may leave the process ([`FieldName::floor`]); a profile can raise a field's level,
    /// never lower it.
    pub enum FieldName {
        /// Path of a model file, as the caller passed it.
        Path = "path",
        /// How many files the model is split into.
        PathCount = "path_count",
        /// Address of the model.
        Model = "model",
        /// Address of the vocabulary.
        Vocabulary = "vocabulary",
        /// Address of the inference context.
        Context = "context",
        /// Address of the context's cache (llama.cpp's `llama_memory_t`).
        Memory = "memory",
        /// Address of the batch that is being built.
        BatchHandle = "batch_handle",
        /// Address of the sampler.
        Sampler = "sampler",
        /// The function's result code.
        Result = "result",
        /// A result code that the function writes through a pointer.
        Status = "status",
        /// Layers that the caller wants on an accelerator; -1 means all.
        GpuLayers = "gpu_layers",
        /// How tensors are split over devices.
        SplitMode = "split_mode",
        /// Device that takes what is not split.
        MainGpu = "main_gpu",
        /// How the weights are read: llama.cpp's `llama_load_mode`.
        LoadMode = "load_mode",
        /// Whether the caller asked for weights to be mapped.
        UseMmap = "use_mmap",
        /// Whether the caller asked for weights to be locked in memory.
        UseMlock = "use_mlock",
        /// Whether the caller asked for direct I/O.
        UseDirectIo = "use_direct_io",
        /// Whether only the vocabulary is loaded.
        VocabularyOnly = "vocabulary_only",
        /// Whether tensor data is checked while loading.
        CheckTensors = "check_tensors",
        /// Whether this is a dry run that allocates no weights.
        NoAllocation = "no_allocation",
        /// Context length in tokens; 0 means the model's own.
        ContextLength = "context_length",
        /// Largest batch, in tokens.
        BatchSize = "batch_size",
        /// Largest part of a batch that is computed at once, in tokens.
        MicroBatchSize = "micro_batch_size",
        /// Most sequences at a time.
        SequenceLimit = "sequence_limit",
        /// Threads for generating.
        Threads = "threads",
        /// Threads for processing prompts.
        BatchThreads = "batch_threads",
        /// Flash attention as asked for: -1 automatic, 0 off, 1 on.
        FlashAttention = "flash_attention",
        /// Type of the cache's keys, by ggml's number.
        KeyType = "key_type",
        /// Type of the cache's values, by ggml's number.
        ValueType = "value_type",
        /// Whether embeddings are wanted.
        Embeddings = "embeddings",
        /// Whether the attention's cache goes to the accelerator.
        OffloadCache = "offload_cache",
        /// Base frequency of the rotary embedding; 0 means the model's own.
        RopeFrequencyBase = "rope_frequency_base",
        /// Which kind of step: 0 encode, 1 decode.
        StepKind = "step_kind",
        /// How many tokens.
        TokenCount = "token_count",
        /// How many sequences.
        SequenceCount = "sequence_count",
        /// Token ids.
        TokenIds = "token_ids",
        /// One token id.
        TokenId = "token_id",
        /// The probability that the sampler gave the token; 0 where it computed none.
        Probability = "probability",
        /// Whether the token ends the generation: 1 yes, 0 no, 2 not known.
        IsEndOfGeneration = "is_end_of_generation",
        /// Positions of the tokens in their sequences.
        Positions = "positions",
        /// Whether each token's output was asked for.
        Outputs = "outputs",
        /// Which output of the last step; negative counts from its end.
        OutputIndex = "output_index",
        /// Whether something begins (not 0) or ends (0).
        Begins = "begins",
        /// Sequence of each token; where tokens belong to several, see
        /// [`FieldName::SequencesPerToken`], all of the first token's, then all of the second's.
        SequenceIds = "sequence_ids",
        /// How many sequences the first token belongs to.
        SequencesPerToken = "sequences_per_token",
        /// One sequence; -1 means all.
        SequenceId = "sequence_id",
        /// The sequence copied to.
        DestinationId = "destination_id",
        /// First position of a range; negative means from the beginning.
        PositionFrom = "position_from",
        /// Position after the range; negative means to the end.
        PositionTo = "position_to",
        /// By how much positions move.
        PositionDelta = "position_delta",
        /// A size in bytes.
        Size = "size",
        /// Text that goes in or comes out.
        Text = "text",
        /// Length of the text, in bytes.
        TextLength = "text_length",
        /// Chat template that the caller passed. Only its digest goes further.
        Template = "template",
        /// Length of that template, in bytes.
        TemplateLength = "template_length",
        /// Source file of an error, from the runtime's own constants.
        SourceFile = "source_file",
        /// Source line of an error.
        SourceLine = "source_line",
        /// Format string of an error, from the runtime's own constants: arguments are not in it.
        Message = "message",
        /// How many operations a graph has.
        NodeCount = "node_count",
        /// Names of what a computation takes.
        InputNames = "input_names",
        /// Names of what a computation gives.
        OutputNames = "output_names",
        /// Extents of a tensor, outermost first.
        Dimensions = "dimensions",
    }
}

vocabulary! {
    /// What a field of a given role looks like.
    pub enum Shape {
        /// A whole number.
        Number = "number",
        /// A floating-point number.
        Float = "float",
        /// An address in the target.
        Address = "address",
        /// Whole numbers.
        Numbers = "numbers",
        /// Floating-point numbers.
        Floats = "floats",
        /// Bytes of text.
        Text = "text",
        /// Several texts.
        Texts = "texts",
        /// Membership in a set.
        Membership = "membership",
    }
}

vocabulary! {
    /// Sets of numbers that user space knows about a process and the kernel compares with.
    pub enum TokenSet {
        /// Tokens that end a generation.
        EndOfGeneration = "end_of_generation",
    }
}

impl Shape {
    /// The lowest capture level of a field without a role: what could be content counts as content.
    #[must_use]
    pub const fn floor(self) -> CaptureLevel {
        match self {
            Self::Address => CaptureLevel::Timing,
            Self::Number | Self::Float | Self::Membership => CaptureLevel::Shape,
            Self::Numbers | Self::Floats => CaptureLevel::Tokens,
            Self::Text | Self::Texts => CaptureLevel::Text,
        }
    }
}

impl TokenSet {
    /// The set's number in [`tracer_abi::SetKey::set`].
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::EndOfGeneration => 0,
        }
    }
}

impl FieldName {
    /// What a field of this role looks like.
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::Path | Self::Text | Self::Template | Self::SourceFile | Self::Message => {
                Shape::Text
            }
            Self::Model
            | Self::Vocabulary
            | Self::Context
            | Self::Memory
            | Self::BatchHandle
            | Self::Sampler => Shape::Address,
            Self::RopeFrequencyBase | Self::Probability => Shape::Float,
            Self::TokenIds
            | Self::Positions
            | Self::SequenceIds
            | Self::Outputs
            | Self::Dimensions => Shape::Numbers,
            Self::InputNames | Self::OutputNames => Shape::Texts,
            Self::IsEndOfGeneration => Shape::Membership,
            Self::PathCount
            | Self::Result
            | Self::Status
            | Self::GpuLayers
            | Self::SplitMode
            | Self::MainGpu
            | Self::LoadMode
            | Self::UseMmap
            | Self::UseMlock
            | Self::UseDirectIo
            | Self::VocabularyOnly
            | Self::CheckTensors
            | Self::NoAllocation
            | Self::ContextLength
            | Self::BatchSize
            | Self::MicroBatchSize
            | Self::SequenceLimit
            | Self::Threads
            | Self::BatchThreads
            | Self::FlashAttention
            | Self::KeyType
            | Self::ValueType
            | Self::Embeddings
            | Self::OffloadCache
            | Self::StepKind
            | Self::TokenCount
            | Self::SequenceCount
            | Self::SequencesPerToken
            | Self::OutputIndex
            | Self::Begins
            | Self::TokenId
            | Self::SequenceId
            | Self::DestinationId
            | Self::PositionFrom
            | Self::PositionTo
            | Self::PositionDelta
            | Self::Size
            | Self::TextLength
            | Self::TemplateLength
            | Self::SourceLine
            | Self::NodeCount => Shape::Number,
        }
    }

    /// The lowest capture level at which a field of this role leaves the process.
    #[must_use]
    pub const fn floor(self) -> CaptureLevel {
        match self {
            Self::Result
            | Self::Status
            | Self::Context
            | Self::Model
            | Self::Vocabulary
            | Self::Memory
            | Self::BatchHandle
            | Self::Sampler
            | Self::StepKind
            | Self::Begins
            | Self::SourceFile
            | Self::SourceLine => CaptureLevel::Timing,
            Self::TokenIds | Self::TokenId | Self::Probability => CaptureLevel::Tokens,
            Self::Text => CaptureLevel::Text,
            Self::Path
            | Self::PathCount
            | Self::GpuLayers
            | Self::SplitMode
            | Self::MainGpu
            | Self::LoadMode
            | Self::UseMmap
            | Self::UseMlock
            | Self::UseDirectIo
            | Self::VocabularyOnly
            | Self::CheckTensors
            | Self::NoAllocation
            | Self::ContextLength
            | Self::BatchSize
            | Self::MicroBatchSize
            | Self::SequenceLimit
            | Self::Threads
            | Self::BatchThreads
            | Self::FlashAttention
            | Self::KeyType
            | Self::ValueType
            | Self::Embeddings
            | Self::OffloadCache
            | Self::RopeFrequencyBase
            | Self::TokenCount
            | Self::SequenceCount
            | Self::SequencesPerToken
            | Self::IsEndOfGeneration
            | Self::Positions
            | Self::Outputs
            | Self::OutputIndex
            | Self::SequenceIds
            | Self::SequenceId
            | Self::DestinationId
            | Self::PositionFrom
            | Self::PositionTo
            | Self::PositionDelta
            | Self::Size
            | Self::TextLength
            | Self::Template
            | Self::TemplateLength
            | Self::Message
            | Self::InputNames
            | Self::OutputNames
            | Self::Dimensions
            | Self::NodeCount => CaptureLevel::Shape,
        }
    }
}
