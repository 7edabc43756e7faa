//! Sessions of real events under a policy that keeps nothing but what is asked for.

use std::{
    ops::RangeInclusive,
    sync::{Arc, LazyLock},
};

use tracer_event::{
    Body, BootNanos, Content, ContextId, Digest, Event, Grant, Known, Level, ModelId, Moment, Name,
    Nanos, Pid, Place, Raw, RedactedEvent, Schema, WallNanos, inference,
};
use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};

use crate::{
    BatchBuilder, Claims, Contents, Gap, GapReason, Opener, RecipientSecret, Record, Sealer,
    SigningKey, Stream,
};

/// When the sessions take place: 2026-11-23.
pub(super) const NOW: u64 = 1_795_402_800_000_000_000;
pub(super) const MINUTE: u64 = 60_000_000_000;
/// What no output may hold, in events of the stream of content.
pub(super) const SECRET: &str = "the patient's name is Ferdinand";

/// A session as its agent sealed it, and all keys.
pub(super) struct Session {
    pub(super) key: SigningKey,
    pub(super) recipient: RecipientSecret,
    pub(super) records: Vec<Record>,
    /// The events of each batch, as NDJSON.
    pub(super) lines: Vec<Vec<u8>>,
}

impl Session {
    /// A session of so many batches, of 1, 2, 3 … events, a nanosecond apart, and its end.
    pub(super) fn sealed(stream: Stream, batches: u64) -> Self {
        Self::sealed_at(stream, (0..batches).map(|number| NOW + number))
    }

    /// A session with a batch at each of these times.
    pub(super) fn sealed_at(stream: Stream, times: impl IntoIterator<Item = u64>) -> Self {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let recipient = RecipientSecret::from_bytes(&[2; 32]).unwrap();
        let recipients = vec![recipient.recipient().clone()];
        let (mut sealer, opening) =
            Sealer::begin(&key, stream, recipients, WallNanos(NOW)).unwrap();
        let mut records = vec![opening];
        let mut lines = Vec::new();
        let mut builder = BatchBuilder::new(stream);
        for (number, time) in times.into_iter().enumerate() {
            let mut written = Vec::new();
            for _ in 0..=number {
                let event = event(stream, time);
                builder.push(&event).unwrap();
                written.extend(serde_json::to_vec(&event).unwrap());
                written.push(b'\n');
            }
            lines.push(written);
            let batch = builder.take().unwrap().unwrap();
            let sealed = sealer.seal(batch, WallNanos(time)).unwrap();
            records.extend(sealed.into_records());
        }
        records.extend(sealer.close());
        Self {
            key: SigningKey::from_seed(&[1; 32]).unwrap(),
            recipient,
            records,
            lines,
        }
    }

    /// What the recipient makes of it.
    pub(super) fn opened(&self) -> Vec<Contents> {
        let mut opener = Opener::new(self.recipient());
        let mut opened = Vec::new();
        for record in &self.records {
            opener.learn(record).unwrap();
            if let crate::Body::Batch(_) = record.claims().body {
                opened.push(opener.open(record).unwrap());
            }
        }
        opened
    }

    pub(super) fn recipient(&self) -> RecipientSecret {
        RecipientSecret::from_bytes(&self.recipient.to_bytes()).unwrap()
    }

    /// The agent's own gap over these records.
    pub(super) fn gap(&self, places: RangeInclusive<usize>) -> Record {
        let gaps = self.records[places].iter();
        let gaps =
            gaps.map(|record| Gap::over(record.claims(), record.link(), GapReason::SpoolFull));
        let joined = gaps.reduce(|a, b| a.joined(&b).expect("they follow each other"));
        Record::gap(joined.expect("there is one"), &self.key)
    }

    /// A record with other claims, signed by the same agent.
    pub(super) fn resigned(&self, record: &Record, change: impl FnOnce(&mut Claims)) -> Record {
        let mut claims = record.claims().clone();
        change(&mut claims);
        Record::sign(claims, record.sealed().to_vec(), &self.key)
    }
}

/// An event of a stream that has left redaction.
pub(super) fn event(stream: Stream, time: u64) -> RedactedEvent {
    let body = match stream {
        Stream::Telemetry => Body::Step(Box::new(inference::Step {
            context: Known::Known(ContextId(1)),
            model: Known::Known(ModelId(1)),
            kind: Known::Known(inference::StepKind::Decode),
            duration: Known::Known(Nanos(10_000_000)),
            tokens: Known::Known(1),
            sequences: Known::Known(1),
            outcome: inference::Outcome::Returned(0),
            warm_up: false,
            approximate: false,
        })),
        Stream::Content => Body::Text(Box::new(inference::Text {
            direction: inference::Direction::Output,
            context: Known::Known(ContextId(1)),
            request: Known::Unknown,
            sequence: Known::Unknown,
            part: 0,
            text: Raw::new(Content::text(SECRET)),
            incomplete: false,
        })),
    };
    let raw: Event<Raw<Content>> = Event {
        schema: Schema,
        time: Moment {
            boot: BootNanos(time - NOW),
            wall: WallNanos(time),
        },
        place: Place {
            pid: Some(Pid(4321)),
            ..Place::node(Name::new("gpu-7"))
        },
        probe: Some(Name::new("llama/decode")),
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

/// Keeps text as it is: what is sealed here must be the secret itself.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let policy = Policy::parse("[fields]\ntext = \"keep\"\n").unwrap();
    Engine::new(policy, CaptureLevel::Text, RunKey::new([7; 32])).unwrap()
});
