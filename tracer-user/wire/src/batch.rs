//! Events together: NDJSON as every other output has it, compressed as one zstd frame.
//!
//! Each batch is a frame of its own, so that one that is lost makes no other unreadable, and so that
//! nothing of one session is ever compressed against another.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
};

use tracer_event::{Body, Digest, Event, Known, ModelId, Recorded, RedactedEvent, WallNanos, call};

use crate::{
    claims::{BatchBody, Claims, EventKind},
    identity::Stream,
};

/// Bytes of events before compression at which a batch is full. An event may exceed them: then it
/// is alone.
const FULL: usize = 256 * 1024;
/// Bytes of events before compression, at most.
const MAX_UNCOMPRESSED: usize = 1 << 20;
/// The largest window that a batch needs to be unpacked, as a power of two: all of it.
const WINDOW_LOG: u32 = 20;
/// The fastest: events repeat themselves so much that higher ones save nothing.
const LEVEL: i32 = 1;

/// Collects events of one session until they are a batch.
pub struct BatchBuilder {
    stream: Stream,
    lines: Vec<u8>,
    kinds: BTreeMap<EventKind, u32>,
    models: BTreeSet<Digest>,
    span: Option<(WallNanos, WallNanos)>,
    /// Models that were told of, by the numbers that events use.
    known: BTreeMap<ModelId, Digest>,
}

/// Events that are ready to be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub(crate) stream: Stream,
    pub(crate) body: BatchBody,
    pub(crate) compressed: Vec<u8>,
}

/// Events could not become a batch, or a batch could not become events.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The event belongs to the other stream.
    #[error("an event {kind} does not go into the stream {stream}")]
    OtherStream {
        /// The event's kind.
        kind: String,
        /// The batch's stream.
        stream: Stream,
    },
    /// One event alone is too large.
    #[error("an event {kind} has {length} bytes; a batch holds {MAX_UNCOMPRESSED}")]
    TooLarge {
        /// The event's kind.
        kind: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The event could not be written.
    #[error("an event cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// Compression or its reversal failed.
    #[error("a batch's events cannot be {0}")]
    Compression(&'static str, #[source] io::Error),
    /// The claims say other things than the events.
    #[error("a batch says that it holds {said} {what}, and holds {held}")]
    Differs {
        /// Of what.
        what: &'static str,
        /// What its claims say.
        said: u64,
        /// What it holds.
        held: u64,
    },
    /// A line is no event.
    #[error("line {line} of a batch is no event")]
    NoEvent {
        /// Counted from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Stream {
    /// The stream that an event belongs to. Whatever may hold a prompt, an answer or a token of one
    /// is content, whether or not redaction left anything of it.
    #[must_use]
    pub fn of<C>(event: &Event<C>) -> Self {
        use call::CallValue::{
            Error, Flag, Float, Ids, Large, Names, Number, Numbers, Path, Symbol, Text, Texts,
            Unread, Word,
        };
        match &event.body {
            Body::Tokens(_) | Body::Text(_) => Self::Content,
            Body::Called(called) => {
                let is_content = called.values.values().any(|value| match value {
                    Text(_) | Texts(_) | Ids(_) => true,
                    Number(_) | Large(_) | Float(_) | Word(_) | Flag(_) | Numbers(_) | Path(_)
                    | Symbol(_) | Error(_) | Names(_) | Unread(_) => false,
                });
                if is_content {
                    Self::Content
                } else {
                    Self::Telemetry
                }
            }
            Body::ProcessSeen(_)
            | Body::ProcessExited(_)
            | Body::ModelLoaded(_)
            | Body::ModelLoadFailed(_)
            | Body::ModelFreed(_)
            | Body::ContextCreated(_)
            | Body::ContextFreed(_)
            | Body::Step(_)
            | Body::Request(_)
            | Body::RuntimeError(_)
            | Body::OperationHistogram(_)
            | Body::FileVerdict(_)
            | Body::FileAccess(_)
            | Body::FilesWatched(_)
            | Body::Loss(_)
            | Body::SessionStarted(_)
            | Body::RuntimeFound(_)
            | Body::RuntimeGone(_)
            | Body::Attached(_)
            | Body::NotAttachable(_)
            | Body::Shed(_)
            | Body::Restored(_)
            | Body::Silent(_)
            | Body::Summary(_) => Self::Telemetry,
        }
    }
}

impl BatchBuilder {
    /// An empty batch of a stream.
    #[must_use]
    pub const fn new(stream: Stream) -> Self {
        Self {
            stream,
            lines: Vec::new(),
            kinds: BTreeMap::new(),
            models: BTreeSet::new(),
            span: None,
            known: BTreeMap::new(),
        }
    }

    /// Adds an event.
    ///
    /// # Errors
    /// If it belongs to the other stream or is larger than a batch; then it is not added.
    pub fn push(&mut self, event: &RedactedEvent) -> Result<(), BatchError> {
        let kind = event.kind();
        if Stream::of(event) != self.stream {
            let (kind, stream) = (kind.to_string(), self.stream);
            return Err(BatchError::OtherStream { kind, stream });
        }
        let begun = self.lines.len();
        let written = serde_json::to_writer(&mut self.lines, event);
        self.lines.push(b'\n');
        let length = self.lines.len() - begun;
        let error = match written {
            Ok(()) if length <= MAX_UNCOMPRESSED => None,
            Ok(()) => {
                let kind = kind.to_string();
                Some(BatchError::TooLarge { kind, length })
            }
            Err(error) => Some(BatchError::Unwritable(error)),
        };
        if let Some(error) = error {
            self.lines.truncate(begun);
            return Err(error);
        }
        let wall = event.time.wall;
        let (first, last) = self.span.unwrap_or((wall, wall));
        self.span = Some((first.min(wall), last.max(wall)));
        let kind = EventKind::new(kind.as_str()).expect("every kind's name is of the allowed form");
        *self.kinds.entry(kind).or_default() += 1;
        self.note_model(&event.body);
        Ok(())
    }

    /// Whether the batch should be sealed before another event is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lines.len() >= FULL || self.models.len() >= Claims::MAX_MODELS - 1
    }

    /// The batch, compressed; none if there is no event. What is known of models stays.
    ///
    /// # Errors
    /// If compression fails; then the events are still here.
    pub fn take(&mut self) -> Result<Option<Batch>, BatchError> {
        let Some((first, last)) = self.span else {
            return Ok(None);
        };
        let compressed = zstd::bulk::compress(&self.lines, LEVEL)
            .map_err(|error| BatchError::Compression("compressed", error))?;
        let uncompressed = u32::try_from(self.lines.len());
        let body = BatchBody {
            first,
            last,
            uncompressed: uncompressed.expect("a batch is full long before 4 GiB"),
            kinds: std::mem::take(&mut self.kinds),
            models: std::mem::take(&mut self.models).into_iter().collect(),
        };
        self.lines.clear();
        self.span = None;
        Ok(Some(Batch {
            stream: self.stream,
            body,
            compressed,
        }))
    }

    fn note_model<C>(&mut self, body: &Body<C>) {
        let model = match body {
            Body::ModelLoaded(snapshot) => {
                if let Known::Known(digest) = snapshot.header.digest {
                    self.known.insert(snapshot.model, digest);
                }
                Some(snapshot.model)
            }
            Body::ModelLoadFailed(snapshot) => Some(snapshot.model),
            Body::ModelFreed(freed) => Some(freed.model),
            Body::ContextCreated(context) => context.model.value().copied(),
            Body::Step(step) => step.model.value().copied(),
            Body::Request(request) => request.model.value().copied(),
            Body::FileVerdict(verdict) => Some(verdict.model),
            Body::ProcessSeen(_)
            | Body::ProcessExited(_)
            | Body::ContextFreed(_)
            | Body::RuntimeError(_)
            | Body::Tokens(_)
            | Body::Called(_)
            | Body::Text(_)
            | Body::OperationHistogram(_)
            | Body::Loss(_)
            | Body::SessionStarted(_)
            | Body::RuntimeFound(_)
            | Body::RuntimeGone(_)
            | Body::Attached(_)
            | Body::NotAttachable(_)
            | Body::Shed(_)
            | Body::Restored(_)
            | Body::Silent(_)
            | Body::FileAccess(_)
            | Body::FilesWatched(_)
            | Body::Summary(_) => None,
        };
        self.models
            .extend(model.and_then(|model| self.known.get(&model)));
        if let Body::ModelFreed(freed) = body {
            self.known.remove(&freed.model);
        }
    }
}

/// The events of a batch that was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    lines: Vec<u8>,
}

impl Contents {
    /// Unpacks the compressed events of a batch within the length that its claims give, and counts
    /// them.
    ///
    /// # Errors
    /// If they are not what the claims say, or need a larger window than a batch can have.
    pub fn unpack(body: &BatchBody, compressed: &[u8]) -> Result<Self, BatchError> {
        let failed = |error| BatchError::Compression("unpacked", error);
        let said = u64::from(body.uncompressed);
        if said > MAX_UNCOMPRESSED as u64 {
            let error = format!("they are {said} bytes, and the limit is {MAX_UNCOMPRESSED}");
            return Err(failed(io::Error::other(error)));
        }
        let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(failed)?;
        decoder.window_log_max(WINDOW_LOG).map_err(failed)?;
        let mut lines = Vec::new();
        // One byte more than there should be shows a batch that says too little.
        let mut limited = decoder.single_frame().take(said + 1);
        limited.read_to_end(&mut lines).map_err(failed)?;
        differ("bytes of events", said, lines.len() as u64)?;
        let rest = limited.into_inner().finish();
        if !rest.is_empty() {
            return Err(failed(io::Error::other("something follows them")));
        }
        let held = lines.iter().filter(|&&byte| byte == b'\n').count();
        differ("events", body.events(), held as u64)?;
        if lines.last().is_some_and(|&byte| byte != b'\n') {
            return Err(failed(io::Error::other("the last line has no end")));
        }
        Ok(Self { lines })
    }

    /// The events, one a line, as NDJSON.
    #[must_use]
    pub fn ndjson(&self) -> &[u8] {
        &self.lines
    }

    /// The events.
    pub fn events(&self) -> impl Iterator<Item = Result<Event<Recorded>, BatchError>> {
        let lines = self.lines.split_inclusive(|&byte| byte == b'\n');
        lines.enumerate().map(|(index, line)| {
            let line_number = index + 1;
            serde_json::from_slice(line).map_err(|source| BatchError::NoEvent {
                line: line_number,
                source,
            })
        })
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contents({} bytes)", self.lines.len())
    }
}

const fn differ(what: &'static str, said: u64, held: u64) -> Result<(), BatchError> {
    if said == held {
        return Ok(());
    }
    Err(BatchError::Differs { what, said, held })
}
