//! What a record says in the clear. Its agent signs all of it.

use std::{collections::BTreeMap, fmt};

use tracer_event::{Digest, WallNanos};

use crate::{
    identity::{AgentId, Epoch, RecordHash, Sequence, SessionId, Stream},
    key::{RecipientId, Suite, Wrapped},
    octets::{FormError, Reader, Writer},
};

/// The version of the form; a change that an older reader would misread raises it.
const VERSION: u8 = 1;

/// What every record says, and what only its kind does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who sealed and signed it.
    pub agent: AgentId,
    /// Of which session it is.
    pub session: SessionId,
    /// Of which stream the session is.
    pub stream: Stream,
    /// The epoch; of a gap, the one in which it ends.
    pub epoch: Epoch,
    /// The place in the session; of a gap, the last one that it fills.
    pub sequence: Sequence,
    /// The record before it; of a gap, the one before its first place.
    pub previous: RecordHash,
    /// What it is.
    pub body: Body,
}

/// The kinds of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A new key from here on.
    Epoch(EpochBody),
    /// Sealed events.
    Batch(BatchBody),
    /// Records that are gone, and why.
    Gap(GapBody),
    /// The session ends here, in order.
    Closing,
}

/// How an epoch's batches are sealed, and who may open them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochBody {
    /// When it began.
    pub began: WallNanos,
    /// Binds the epoch's key: no other key opens its batches.
    pub commitment: [u8; 32],
    /// How the key was wrapped.
    pub suite: Suite,
    /// The key, for each of them.
    pub recipients: Vec<Wrapped>,
}

/// What a batch holds, without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchBody {
    /// The earliest event.
    pub first: WallNanos,
    /// The latest event.
    pub last: WallNanos,
    /// Bytes of the events before compression.
    pub uncompressed: u32,
    /// How many events of each kind.
    pub kinds: BTreeMap<EventKind, u32>,
    /// The models that events are about, by the digest of their files' headers; those that are known.
    pub models: Vec<Digest>,
}

/// Records that will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapBody {
    /// The first place that it fills.
    pub first: Sequence,
    /// The hash of the last record that is gone: the one after the gap names it as the one before.
    pub replaced: RecordHash,
    /// Why.
    pub reason: GapReason,
    /// How many events they held; none where that is not known.
    pub events: Option<u64>,
    /// When the events were; none where that is not known.
    pub span: Option<(WallNanos, WallNanos)>,
}

/// Why records are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// The spool was full, and these were the first to go.
    SpoolFull,
    /// What the disk gave back is not what was written.
    Damaged,
}

impl GapReason {
    const fn code(self) -> u8 {
        match self {
            Self::SpoolFull => 1,
            Self::Damaged => 2,
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SpoolFull => "the spool was full",
            Self::Damaged => "the spool was damaged",
        })
    }
}

/// The name of an event's kind, such as `inference.step`: at most 48 letters, dots and underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKind(Box<str>);

impl EventKind {
    const MAX: usize = 48;

    /// The kind with this name; none if no kind can have it.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'.' | b'_');
        let is_name = (1..=Self::MAX).contains(&name.len()) && name.bytes().all(allowed);
        is_name.then(|| Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Claims {
    /// Recipients of an epoch, at most.
    pub const MAX_RECIPIENTS: usize = 16;
    /// Kinds of events in a batch, at most.
    pub const MAX_KINDS: usize = 64;
    /// Models of a batch, at most.
    pub const MAX_MODELS: usize = 64;

    /// The place before which a reader must be for this to be what comes next.
    #[must_use]
    pub const fn first(&self) -> Sequence {
        match &self.body {
            Body::Gap(gap) => gap.first,
            Body::Epoch(_) | Body::Batch(_) | Body::Closing => self.sequence,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.u8(VERSION);
        to.u8(match &self.body {
            Body::Epoch(_) => 1,
            Body::Batch(_) => 2,
            Body::Gap(_) => 3,
            Body::Closing => 4,
        });
        to.bytes(&self.agent.0);
        to.bytes(&self.session.0);
        to.u8(self.stream.code());
        to.u32(self.epoch.0);
        to.u64(self.sequence.0);
        to.bytes(&self.previous.0);
        match &self.body {
            Body::Epoch(epoch) => epoch.encode(&mut to),
            Body::Batch(batch) => batch.encode(&mut to),
            Body::Gap(gap) => gap.encode(&mut to),
            Body::Closing => {}
        }
        to.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormError> {
        let mut from = Reader::new(bytes);
        let version = from.u8("the version")?;
        if version != VERSION {
            let (what, value) = ("the record's version", version.into());
            return Err(FormError::Unknown { what, value });
        }
        let kind = from.u8("the kind")?;
        let claims = Self {
            agent: AgentId(from.array("the agent")?),
            session: SessionId(from.array("the session")?),
            stream: Stream::from_code(from.u8("the stream")?)?,
            epoch: Epoch(from.u32("the epoch")?),
            sequence: Sequence(from.u64("the sequence")?),
            previous: RecordHash(from.array("the previous hash")?),
            body: match kind {
                1 => Body::Epoch(EpochBody::decode(&mut from)?),
                2 => Body::Batch(BatchBody::decode(&mut from)?),
                3 => Body::Gap(GapBody::decode(&mut from)?),
                4 => Body::Closing,
                _ => {
                    let (what, value) = ("the record's kind", kind.into());
                    return Err(FormError::Unknown { what, value });
                }
            },
        };
        from.end("a record's claims")?;
        if claims.first() > claims.sequence {
            let (what, why) = ("a gap", "it ends before it begins");
            return Err(FormError::Contradiction { what, why });
        }
        Ok(claims)
    }
}

impl EpochBody {
    fn encode(&self, to: &mut Writer) {
        to.u64(self.began.0);
        to.bytes(&self.commitment);
        self.suite.ids().into_iter().for_each(|id| to.u16(id));
        to.count(self.recipients.len());
        for wrapped in &self.recipients {
            to.bytes(&wrapped.recipient.0);
            to.bytes(&wrapped.encapsulated);
            to.bytes(&wrapped.sealed);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let began = WallNanos(from.u64("the epoch's beginning")?);
        let commitment = from.array("the commitment")?;
        let mut id = || from.u16("the suite");
        let suite = Suite::from_ids([id()?, id()?, id()?])?;
        let count = from.count(Claims::MAX_RECIPIENTS, "recipients")?;
        let recipients = (0..count).map(|_| {
            Ok(Wrapped {
                recipient: RecipientId(from.array("a recipient")?),
                encapsulated: from.array("an encapsulated key")?,
                sealed: from.array("a wrapped key")?,
            })
        });
        Ok(Self {
            began,
            commitment,
            suite,
            recipients: recipients.collect::<Result<_, FormError>>()?,
        })
    }
}

impl BatchBody {
    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.kinds.values().map(|&count| u64::from(count)).sum()
    }

    fn encode(&self, to: &mut Writer) {
        to.u64(self.first.0);
        to.u64(self.last.0);
        to.u32(self.uncompressed);
        to.count(self.kinds.len());
        for (kind, count) in &self.kinds {
            to.count(kind.0.len());
            to.bytes(kind.0.as_bytes());
            to.u32(*count);
        }
        to.count(self.models.len());
        for model in &self.models {
            to.bytes(&model.0);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let what = "a batch";
        let first = WallNanos(from.u64("the first event's time")?);
        let last = WallNanos(from.u64("the last event's time")?);
        let uncompressed = from.u32("the length of the events")?;
        let mut kinds = BTreeMap::new();
        for _ in 0..from.count(Claims::MAX_KINDS, "kinds of events")? {
            let length = from.count(EventKind::MAX, "a kind's name")?;
            let name = str::from_utf8(from.bytes(length, "a kind's name")?);
            let kind = name
                .ok()
                .and_then(EventKind::new)
                .ok_or(FormError::Contradiction {
                    what,
                    why: "a kind's name is none",
                })?;
            let is_next = kinds
                .last_key_value()
                .is_none_or(|(before, _)| *before < kind);
            if !is_next {
                let why = "its kinds are not in order";
                return Err(FormError::Contradiction { what, why });
            }
            kinds.insert(kind, from.u32("a count of events")?);
        }
        let count = from.count(Claims::MAX_MODELS, "models")?;
        let models = (0..count).map(|_| from.array("a model's digest").map(Digest));
        Ok(Self {
            first,
            last,
            uncompressed,
            kinds,
            models: models.collect::<Result<_, _>>()?,
        })
    }
}

impl GapBody {
    fn encode(&self, to: &mut Writer) {
        to.u64(self.first.0);
        to.bytes(&self.replaced.0);
        to.u8(self.reason.code());
        let known = u8::from(self.events.is_some()) | u8::from(self.span.is_some()) << 1;
        to.u8(known);
        to.u64(self.events.unwrap_or(0));
        let (first, last) = self.span.unwrap_or_default();
        to.u64(first.0);
        to.u64(last.0);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let first = Sequence(from.u64("the gap's beginning")?);
        let replaced = RecordHash(from.array("the replaced hash")?);
        let reason = match from.u8("the gap's reason")? {
            1 => GapReason::SpoolFull,
            2 => GapReason::Damaged,
            code => {
                let (what, value) = ("the gap's reason", code.into());
                return Err(FormError::Unknown { what, value });
            }
        };
        let known = from.u8("what is known of the gap")?;
        if known > 3 {
            let (what, value) = ("what is known of the gap", known.into());
            return Err(FormError::Unknown { what, value });
        }
        let events = from.u64("the lost events")?;
        let span = (
            WallNanos(from.u64("the gap's first event")?),
            WallNanos(from.u64("the gap's last event")?),
        );
        let unknown_is_zero =
            (known & 1 != 0 || events == 0) && (known & 2 != 0 || span == Default::default());
        if !unknown_is_zero {
            return Err(FormError::Contradiction {
                what: "a gap",
                why: "it gives numbers that it says are unknown",
            });
        }
        Ok(Self {
            first,
            replaced,
            reason,
            events: (known & 1 != 0).then_some(events),
            span: (known & 2 != 0).then_some(span),
        })
    }
}
