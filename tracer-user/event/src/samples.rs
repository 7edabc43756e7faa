//! One event of every kind, for tests.

use std::{collections::BTreeMap, sync::Arc};

use tracer_redact::{Content, LogProbability, Raw};

use crate::{
    Body, BootNanos, BuildId, Cgroup, ContainerId, ContextId, Cpu, Device, Digest, Event, Grant,
    Inode, Known, Label, Level, Loss, LossReason, ModelId, Moment, Name, Nanos, OperationHistogram,
    Pid, Place, Position, RawEvent, RequestId, Schema, SequenceId, StartTicks, Tid, WallNanos,
    agent, call, file, inference, integrity, model, process,
};

/// What is found in every field that is searched by default, and stands in those that are dropped:
/// of the form of a model provider's key, and issued by nobody.
pub(crate) const SECRET: &str = "sk-proj-4b8Qz91LmXw72KtYc05RdNs";

pub(crate) fn all() -> Vec<RawEvent> {
    bodies().into_iter().map(event).collect()
}

pub(crate) fn event(body: Body<Raw<Content>>) -> RawEvent {
    Event {
        schema: Schema,
        time: Moment {
            boot: BootNanos(81_000_000_123),
            wall: WallNanos(1_795_402_800_000_000_123),
        },
        place: Place {
            node: Name::new("gpu-7"),
            cpu: Some(Cpu(1)),
            pid: Some(Pid(4321)),
            tid: Some(Tid(4322)),
            start: Some(StartTicks(7900)),
            cgroup: Some(Cgroup(5511)),
            container: ContainerId::in_cgroup_path(&format!("/docker/{}", "0a".repeat(32))),
        },
        probe: Some(Name::new("llama.cpp/decode")),
        grant: Arc::new(Grant {
            name: Name::new("local"),
            level: Level::Shape,
            policy: Digest([0xab; 32]),
        }),
        late: matches!(body, Body::Loss(_)),
        body,
    }
}

pub(crate) fn model_snapshot() -> model::ModelSnapshot<Raw<Content>> {
    model::ModelSnapshot {
        model: ModelId(1),
        runtime: Name::new("llama.cpp"),
        runtime_version: Known::Known(text("0.7.0")),
        load: model::LoadSeen::Seen,
        load_began: Known::Known(BootNanos(80_000_000_000)),
        load_duration: Known::Known(Nanos(900_000_000)),
        load_result: Known::Known(model::LoadResult::Loaded),
        dry_run: Known::Known(false),
        load_parameters: model::LoadParameters {
            gpu_layers: Known::Known(-1),
            use_mmap: Known::Known(true),
            ..model::LoadParameters::default()
        },
        contexts: vec![model::ContextSnapshot {
            context: ContextId(1),
            model: Known::Known(ModelId(1)),
            created: model::LoadSeen::Seen,
            duration: Known::Known(Nanos(3_000_000)),
            parameters: model::ContextParameters {
                context_length: Known::Known(4096),
                flash_attention: Known::Known(-1),
                rope_frequency_base: Known::Known(10_000.5),
                ..model::ContextParameters::default()
            },
        }],
        files: vec![model::ModelFile {
            role: model::FileRole::Weights,
            path: text("/models/tiny.gguf"),
            inode: Known::Known(inode(131)),
            size: Known::Known(17_000_000),
            mapped: true,
            deleted: false,
        }],
        header: model::Header {
            format: Known::Known(Label::new("GGUF 3")),
            architecture: Known::Known(text("llama")),
            name: Known::Unknown,
            quantisation: Known::Known(Label::new("Q4_K_M")),
            tensor_types: BTreeMap::from([(Label::new("F32"), 9), (Label::new("Q4_K"), 48)]),
            tensor_count: Known::Known(57),
            vocabulary_size: Known::Known(32_000),
            context_length: Known::Known(8192),
            tokenizer: Known::Known(Digest::of(b"tokenizer")),
            digest: Known::Known(Digest::of(b"header")),
        },
        chat_template: model::ChatTemplate {
            origin: Known::Known(model::TemplateOrigin::Header),
            digest: Known::Known(Digest::of(b"template")),
        },
        backends: vec![model::Backend {
            path: text("/usr/lib/libggml-cpu-haswell.so"),
            inode: inode(132),
            build_id: BuildId::new(&[0x5e; 20]).into(),
            deleted: false,
        }],
        process_threads: Known::Known(3),
        environment: BTreeMap::from([(Name::new("OMP_NUM_THREADS"), text(SECRET))]),
        limits: model::CgroupLimits {
            memory_max: Known::Known(model::Limit::At(1 << 30)),
            swap_max: Known::Known(model::Limit::None(model::Unlimited::Max)),
            cpus: Known::Known(2),
            ..model::CgroupLimits::default()
        },
    }
}

fn bodies() -> Vec<Body<Raw<Content>>> {
    let failed = model::ModelSnapshot {
        load_result: Known::Known(model::LoadResult::Failed),
        contexts: Vec::new(),
        header: model::Header::default(),
        chat_template: model::ChatTemplate::UNKNOWN,
        ..model_snapshot()
    };
    vec![
        Body::ProcessSeen(Box::new(process_seen())),
        Body::ProcessExited(process::ProcessExited::from_status(9)),
        Body::ModelLoaded(Box::new(model_snapshot())),
        Body::ModelLoadFailed(Box::new(failed)),
        Body::ModelFreed(model::ModelFreed { model: ModelId(1) }),
        Body::ContextCreated(Box::new(model_snapshot().contexts.remove(0))),
        Body::ContextFreed(model::ContextFreed {
            context: ContextId(1),
        }),
        Body::Step(Box::new(step())),
        Body::Request(Box::new(request())),
        Body::RuntimeError(Box::new(inference::RuntimeError {
            file: Known::Known(text("ggml.c")),
            line: Known::Known(42),
            message: Known::Known(text(SECRET)),
        })),
        Body::Tokens(Box::new(inference::Tokens {
            direction: inference::Direction::Input,
            context: Known::Known(ContextId(1)),
            request: Known::Known(RequestId(12)),
            sequence: Known::Known(SequenceId(0)),
            tokens: Raw::new(Content::tokens([1, 15043, 3186])),
            log_probabilities: Some(Raw::new(Content::LogProbabilities(
                [1.0, 0.25, 0.0].map(LogProbability::of).to_vec(),
            ))),
            positions: Known::Known(vec![Position(0), Position(1), Position(2)]),
            truncated: false,
        })),
        Body::Text(Box::new(inference::Text {
            direction: inference::Direction::Output,
            context: Known::Known(ContextId(1)),
            request: Known::Known(RequestId(12)),
            sequence: Known::Known(SequenceId(0)),
            part: 0,
            text: text(SECRET),
            incomplete: false,
        })),
        Body::Called(Box::new(call::Called {
            at: call::CallPart::Return,
            call: 77,
            model: Some(ModelId(1)),
            duration: Known::Known(Nanos(4_100)),
            values: call_values(),
            cut: vec![Name::new("prompt")],
        })),
        Body::OperationHistogram(OperationHistogram {
            operation: Name::new("ggml/mul-mat"),
            from: BootNanos(80_000_000_000),
            to: BootNanos(81_000_000_000),
            count: 3,
            sum: Nanos(7),
            buckets: vec![0, 1, 2],
        }),
        Body::FileVerdict(Box::new(integrity::FileVerdict {
            model: ModelId(1),
            path: Known::Known(text("/srv/models/tiny.gguf")),
            inode: Known::Known(inode(131)),
            size: Known::Known(17_000_000),
            digest: Known::Known(Digest([0xcd; 32])),
            outcome: integrity::VerdictOutcome::Verified,
            guarantee: Known::Known(integrity::VerdictGuarantee::G2),
            reason: Label::new("a read lease was held while it was hashed"),
            source: Name::new("tiny.sig"),
            duration: Nanos(9_000_000),
        })),
        Body::Loss(Loss {
            reason: LossReason::RingFull,
            count: 17,
            cpu: Some(Cpu(0)),
            from: BootNanos(80_000_000_000),
            to: BootNanos(81_000_000_000),
            intended: false,
        }),
        Body::SessionStarted(Box::new(agent::SessionStarted {
            version: Label::new("0.1.0"),
            kernel: Name::new("6.12.0"),
            level: Level::Shape,
            profiles: vec![Name::new("llama.cpp")],
            policy: Known::Known(Digest([0xab; 32])),
        })),
        Body::FilesWatched(Box::new(file::FilesWatched {
            tier: Label::new("tracepoint"),
            passed_over: vec![file::PassedOver {
                tier: Label::new("lsm"),
                reason: text("operation not permitted"),
            }],
            roots: vec![text("/models")],
            gate: None,
            files: 12,
            folders: 3,
            blind_spots: vec![Label::new("open_mode")],
        })),
        Body::FileAccess(Box::new(file::FileAccess {
            act: file::FileAct::Read,
            count: 12,
            since: BootNanos(80_900_000_000),
            inode: inode(131),
            path: Known::Known(text("/srv/models/tiny.gguf")),
            path_inside: Some(text("/models/tiny.gguf")),
            other_path: None,
            first_byte: Known::Known(0),
            end_byte: Known::Known(17_002_496),
            executable: Known::Known(text("/usr/bin/llama-server")),
            executable_inode: Known::Known(inode(130)),
            uid: Known::Known(1000),
            parent: Known::Known(Pid(1)),
            reason: None,
            seen_by: Label::new("tracepoint"),
        })),
        Body::RuntimeFound(Box::new(agent::RuntimeFound {
            runtime: Name::new("llama.cpp"),
            library: library(),
            load_may_be_missed: true,
        })),
        Body::RuntimeGone(agent::RuntimeGone {
            runtime: Name::new("llama.cpp"),
        }),
        Body::Attached(Box::new(attached())),
        Body::NotAttachable(Box::new(agent::NotAttachable {
            probe: Some(Name::new("llama.cpp/load")),
            path: text("/usr/lib/libllama.so.0"),
            reason: text("the layout holds only for builds before 0.7"),
        })),
        Body::Shed(Box::new(agent::Shed {
            group: Name::new("tokens"),
            probes: vec![Name::new("llama.cpp/token-piece")],
            cause: agent::ShedCause::Runaway,
            core_share: 0.125,
            since: BootNanos(79_000_000_000),
        })),
        Body::Restored(Box::new(agent::Restored {
            group: Name::new("tokens"),
            probes: vec![Name::new("llama.cpp/token-piece")],
        })),
        Body::Silent(agent::Silent {
            runtime: Name::new("llama.cpp"),
            busy: Nanos(5_000_000_000),
        }),
        Body::Summary(Box::new(agent::Summary {
            duration: Nanos(10_000_000_000),
            records: 1000,
            events: 100,
            events_by_kind: BTreeMap::from([(Label::new("inference.step"), 90)]),
            requests: 4,
            steps: 90,
            late: 0,
            losses: BTreeMap::from([(LossReason::RingFull, 17), (LossReason::Truncated, 2)]),
            redacted: BTreeMap::from([(Name::new("EMAIL"), 3)]),
        })),
    ]
}

pub(crate) fn request() -> inference::Request {
    inference::Request {
        request: RequestId(12),
        context: Known::Known(ContextId(1)),
        model: Known::Known(ModelId(1)),
        sequence: Known::Known(SequenceId(0)),
        opened: BootNanos(80_500_000_000),
        duration: Nanos(500_000_123),
        prompt_tokens: Known::Known(24),
        cached_tokens: Known::Known(8),
        generated_tokens: Known::Known(16),
        time_to_first_token: Known::Known(Nanos(20_000_001)),
        time_per_output_token: Known::Unknown,
        end: inference::EndReason::Eog,
        steps: 16,
        warm_up: false,
        approximate: false,
    }
}

fn step() -> inference::Step {
    inference::Step {
        context: Known::Known(ContextId(1)),
        model: Known::Known(ModelId(1)),
        kind: Known::Known(inference::StepKind::Decode),
        duration: Known::Known(Nanos(10_000_000)),
        tokens: Known::Known(1),
        sequences: Known::Unknown,
        outcome: inference::Outcome::Returned(0),
        warm_up: false,
        approximate: false,
    }
}

fn process_seen() -> process::ProcessSeen<Raw<Content>> {
    process::ProcessSeen {
        origin: process::ProcessOrigin::Running,
        name: Known::Known(text("llama-server")),
        executable: Known::Known(text("/usr/bin/llama-server")),
        executable_inode: Known::Known(inode(130)),
        arguments: Known::Known(Raw::new(Content::Texts(vec![
            b"--api-key".to_vec(),
            SECRET.into(),
        ]))),
        cgroup_path: Known::Known(text("/system.slice/llama.service")),
        parent: Known::Known(Pid(1)),
    }
}

fn attached() -> agent::Attached<Raw<Content>> {
    agent::Attached {
        runtime: Name::new("llama.cpp"),
        library: library(),
        means: agent::Means::UprobeMulti,
        duration: Nanos(10_000_000),
        probes: vec![agent::AttachedProbe {
            probe: Name::new("llama.cpp/decode"),
            symbol: text("llama_decode"),
            sites: vec![agent::Site {
                offset: 0x1234,
                role: agent::SiteRole::Entry,
                cost: agent::SiteCost::Emulated,
            }],
            exit_missing: Some(text("the unwind table ends before the function does")),
        }],
    }
}

fn library() -> agent::LibraryFile<Raw<Content>> {
    agent::LibraryFile {
        path: text("/usr/lib/libllama.so.0"),
        inode: inode(129),
        build_id: Known::Unknown,
        version: Known::Known(text("0.7.0")),
        deleted: false,
    }
}

const fn inode(inode: u64) -> Inode {
    Inode {
        device: Device {
            major: 259,
            minor: 1,
        },
        inode,
    }
}

pub(crate) fn text(text: &str) -> Raw<Content> {
    Raw::new(Content::text(text))
}

fn call_values() -> BTreeMap<Name, call::CallValue<Raw<Content>>> {
    use call::CallValue;
    let values = [
        ("inputs", CallValue::Number(2)),
        ("handle", CallValue::Large(u64::MAX)),
        ("scale", CallValue::Float(Known::Known(0.5))),
        ("element_type", CallValue::Word(Name::new("float32"))),
        ("ends", CallValue::Flag(Known::Known(false))),
        ("dimensions", CallValue::Numbers(vec![1, 5])),
        ("ids", CallValue::Ids(Raw::new(Content::tokens([101])))),
        ("path", CallValue::Path(text("/models/a.onnx"))),
        ("place", CallValue::Symbol(text("session.cc"))),
        ("message", CallValue::Error(text(SECRET))),
        ("input_names", CallValue::Names(vec![text("x")])),
        ("prompt", CallValue::Text(text(SECRET))),
        ("stops", CallValue::Texts(vec![text(SECRET)])),
        ("extra", CallValue::Unread(call::Unread::Level)),
    ];
    let values = values.into_iter();
    values
        .map(|(name, value)| (Name::new(name), value))
        .collect()
}
