//! Real events, sealed by one agent for one recipient.

use std::sync::{Arc, LazyLock};

use tracer_event::{
    BootNanos, Content, Digest, Event, Grant, Known, Level, Moment, Name, Place, Raw,
    RedactedEvent, Schema, WallNanos, agent::Silent, inference,
};
use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};
use tracer_wire::{BatchBuilder, Gap, RecipientSecret, Record, Sealer, SigningKey, Stream};

/// When all takes place: 2026-11-23.
pub(crate) const NOW: u64 = 1_795_402_800_000_000_000;
/// In every event of content: no disk and no connection may ever hold it.
pub(crate) const SECRET: &str = "ferdinand-4711";

/// The agent's key.
pub(crate) static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed(&[1; 32]).unwrap());
/// Keeps text as it is: what is sealed must be the secret itself.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let policy = Policy::parse("[fields]\ntext = \"keep\"\n").unwrap();
    Engine::new(policy, CaptureLevel::Text, RunKey::new([7; 32])).unwrap()
});

/// Who may read everything.
pub(crate) fn recipient() -> RecipientSecret {
    RecipientSecret::from_bytes(&[2; 32]).unwrap()
}

/// Signs in the agent's name.
pub(crate) fn sign(gap: Gap) -> Option<Record> {
    Some(Record::gap(gap, &KEY))
}

/// A session: its opening, so many batches of one event, its end.
pub(crate) fn session(stream: Stream, batches: u64) -> Vec<Record> {
    let recipients = vec![recipient().recipient().clone()];
    let (mut sealer, opening) = Sealer::begin(&KEY, stream, recipients, WallNanos(NOW)).unwrap();
    let mut records = vec![opening];
    let mut builder = BatchBuilder::new(stream);
    for number in 0..batches {
        builder.push(&event(stream, NOW + number, number)).unwrap();
        let batch = builder.take().unwrap().unwrap();
        let sealed = sealer.seal(batch, WallNanos(NOW + number)).unwrap();
        records.extend(sealed.into_records());
    }
    records.extend(sealer.close());
    records
}

/// An event of a stream that has left redaction.
pub(crate) fn event(stream: Stream, time: u64, number: u64) -> RedactedEvent {
    let body = match stream {
        Stream::Telemetry => tracer_event::Body::Silent(Silent {
            runtime: Name::new("llama.cpp"),
            busy: tracer_event::Nanos(number),
        }),
        Stream::Content => tracer_event::Body::Text(Box::new(inference::Text {
            direction: inference::Direction::Output,
            context: Known::Unknown,
            request: Known::Unknown,
            sequence: Known::Unknown,
            part: 0,
            text: Raw::new(Content::text(format!("{SECRET} {number}"))),
            incomplete: false,
        })),
    };
    let raw: Event<Raw<Content>> = Event {
        schema: Schema,
        time: Moment {
            boot: BootNanos(time - NOW),
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
