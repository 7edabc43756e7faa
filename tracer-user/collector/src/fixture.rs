//! Real events, sealed by an agent.

use std::sync::{Arc, LazyLock};

use tracer_event::{
    Body, BootNanos, Content, ContextId, Digest, Event, Grant, Known, Level, ModelId, Moment, Name,
    Nanos, Place, Raw, RedactedEvent, Schema, WallNanos, inference, model,
};
use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};
use tracer_wire::{BatchBuilder, Recipient, RecipientSecret, Record, Sealer, SigningKey, Stream};

/// When all takes place: 2026-11-23.
pub(crate) const NOW: u64 = 1_795_402_800_000_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
/// In every event of content: nothing that a collector has may ever show it.
pub(crate) const SECRET: &str = "ferdinand-4711";

/// Keeps text as it is: what is sealed must be the secret itself.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let policy = Policy::parse("[fields]\ntext = \"keep\"\n").unwrap();
    Engine::new(policy, CaptureLevel::Text, RunKey::new([7; 32])).unwrap()
});

/// The key of the agent with this number.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32]).unwrap()
}

/// Who may read everything here.
pub(crate) fn recipient() -> RecipientSecret {
    RecipientSecret::from_bytes(&[2; 32]).unwrap()
}

/// The digest of a model's header.
pub(crate) const fn digest(model: u64) -> Digest {
    Digest([model as u8; 32])
}

/// A session: its opening, so many batches a second apart, its end. The first batch tells of the model
/// that the steps in all of them are of.
pub(crate) fn session(key: &SigningKey, stream: Stream, batches: u64) -> Vec<Record> {
    session_for(key, recipient().recipient(), stream, batches, 1)
}

pub(crate) fn session_for(
    key: &SigningKey,
    recipient: &Recipient,
    stream: Stream,
    batches: u64,
    model: u64,
) -> Vec<Record> {
    let recipients = vec![recipient.clone()];
    let (mut sealer, opening) = Sealer::begin(key, stream, recipients, WallNanos(NOW)).unwrap();
    let mut records = vec![opening];
    let mut builder = BatchBuilder::new(stream);
    for number in 0..batches {
        let time = NOW + number * SECOND;
        if stream == Stream::Telemetry && number == 0 {
            builder.push(&event(time, loaded(model))).unwrap();
        }
        for part in 0..3 {
            let body = match stream {
                Stream::Telemetry => step(model),
                Stream::Content => text(number),
            };
            builder.push(&event(time + part, body)).unwrap();
        }
        let batch = builder.take().unwrap().unwrap();
        let sealed = sealer.seal(batch, WallNanos(time)).unwrap();
        records.extend(sealed.into_records());
    }
    records.extend(sealer.close());
    records
}

pub(crate) fn event(time: u64, body: Body<Raw<Content>>) -> RedactedEvent {
    let raw: Event<Raw<Content>> = Event {
        schema: Schema,
        time: Moment {
            boot: BootNanos(time.saturating_sub(NOW)),
            wall: WallNanos(time),
        },
        place: Place::node(Name::new("gpu-7")),
        probe: None,
        grant: Arc::new(Grant {
            name: Name::new("local"),
            level: Level::Text,
            policy: Digest([0xab; 32]),
        }),
        late: false,
        body,
    };
    raw.redact(&ENGINE)
}

pub(crate) fn step(model: u64) -> Body<Raw<Content>> {
    Body::Step(Box::new(inference::Step {
        context: Known::Known(ContextId(1)),
        model: Known::Known(ModelId(model)),
        kind: Known::Known(inference::StepKind::Decode),
        duration: Known::Known(Nanos(10_000_000)),
        tokens: Known::Known(1),
        sequences: Known::Known(1),
        outcome: inference::Outcome::Returned(0),
        warm_up: false,
        approximate: false,
    }))
}

fn text(number: u64) -> Body<Raw<Content>> {
    Body::Text(Box::new(inference::Text {
        direction: inference::Direction::Output,
        context: Known::Unknown,
        request: Known::Unknown,
        sequence: Known::Unknown,
        part: 0,
        text: Raw::new(Content::text(format!("{SECRET} {number}"))),
        incomplete: false,
    }))
}

/// A model whose header has a digest.
pub(crate) fn loaded(number: u64) -> Body<Raw<Content>> {
    Body::ModelLoaded(Box::new(model::ModelSnapshot {
        model: ModelId(number),
        runtime: Name::new("llama.cpp"),
        runtime_version: Known::Unknown,
        load: model::LoadSeen::Seen,
        load_began: Known::Unknown,
        load_duration: Known::Unknown,
        load_result: Known::Unknown,
        dry_run: Known::Known(false),
        load_parameters: model::LoadParameters::default(),
        contexts: Vec::new(),
        files: Vec::new(),
        header: model::Header {
            digest: Known::Known(digest(number)),
            ..model::Header::default()
        },
        chat_template: model::ChatTemplate::UNKNOWN,
        backends: Vec::new(),
        process_threads: Known::Unknown,
        environment: Default::default(),
        limits: model::CgroupLimits::default(),
    }))
}
