//! What an agent and a collector say to each other, one length-delimited frame after another.

use crate::{
    chain::Position,
    identity::{Epoch, RecordHash, Sequence, SessionId},
    octets::{FormError, Reader, Writer},
    record::Record,
};

/// The version of the conversation.
pub const PROTOCOL: u16 = 1;

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The agent's first word: which version it speaks.
    Hello {
        /// [`PROTOCOL`].
        version: u16,
    },
    /// The agent asks where the collector stands in a session.
    Ask {
        /// Which.
        session: SessionId,
    },
    /// The collector's answer to it: everything before is stored.
    Stands {
        /// Of which session.
        session: SessionId,
        /// Where.
        position: Position,
    },
    /// The agent hands over a record, and spends a credit.
    Record(Box<Record>),
    /// The collector has stored all records of a session up to this one, for good.
    Stored {
        /// Of which session.
        session: SessionId,
        /// The last one.
        through: Sequence,
    },
    /// The collector takes that many more records.
    Credit {
        /// How many.
        records: u32,
    },
    /// The collector does not take a record.
    Refused {
        /// Of which session.
        session: SessionId,
        /// Which.
        sequence: Sequence,
        /// Why.
        reason: Refusal,
    },
}

/// Why a record is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not signed by the agent that it names.
    Tampered,
    /// Records before it are missing; ask where the session stands.
    Missing,
    /// It contradicts what is stored.
    Contradicts,
    /// It is not of the agent that is connected.
    OtherAgent,
    /// There were no credits.
    NoCredit,
}

impl Refusal {
    const ALL: [Self; 5] = [
        Self::Tampered,
        Self::Missing,
        Self::Contradicts,
        Self::OtherAgent,
        Self::NoCredit,
    ];

    const fn code(self) -> u8 {
        match self {
            Self::Tampered => 1,
            Self::Missing => 2,
            Self::Contradicts => 3,
            Self::OtherAgent => 4,
            Self::NoCredit => 5,
        }
    }
}

impl Frame {
    /// Bytes of a frame after its length, at most.
    pub const MAX: usize = Record::MAX + 1;

    /// The frame with its length before it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Writer::default();
        match self {
            Self::Hello { version } => {
                body.u8(1);
                body.u16(*version);
            }
            Self::Ask { session } => {
                body.u8(2);
                body.bytes(&session.0);
            }
            Self::Stands { session, position } => {
                body.u8(3);
                body.bytes(&session.0);
                body.u64(position.next.0);
                body.bytes(&position.link.0);
                body.u8(u8::from(position.epoch.is_some()) | u8::from(position.closed) << 1);
                body.u32(position.epoch.unwrap_or_default().0);
            }
            Self::Record(record) => {
                body.u8(4);
                body.bytes(&record.to_bytes());
            }
            Self::Stored { session, through } => {
                body.u8(5);
                body.bytes(&session.0);
                body.u64(through.0);
            }
            Self::Credit { records } => {
                body.u8(6);
                body.u32(*records);
            }
            Self::Refused {
                session,
                sequence,
                reason,
            } => {
                body.u8(7);
                body.bytes(&session.0);
                body.u64(sequence.0);
                body.u8(reason.code());
            }
        }
        let mut framed = Writer::default();
        framed.sized(&body.finish());
        framed.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormError> {
        let mut from = Reader::new(bytes);
        let kind = from.u8("the frame's kind")?;
        let mut session = || from.array("the session").map(SessionId);
        let frame = match kind {
            1 => Self::Hello {
                version: from.u16("the protocol's version")?,
            },
            2 => Self::Ask {
                session: session()?,
            },
            3 => Self::Stands {
                session: session()?,
                position: decode_position(&mut from)?,
            },
            4 => {
                let rest = bytes.get(1..).unwrap_or_default();
                return Record::parse(rest).map(Box::new).map(Self::Record);
            }
            5 => Self::Stored {
                session: session()?,
                through: Sequence(from.u64("the sequence")?),
            },
            6 => Self::Credit {
                records: from.u32("the credit")?,
            },
            7 => Self::Refused {
                session: session()?,
                sequence: Sequence(from.u64("the sequence")?),
                reason: decode_refusal(&mut from)?,
            },
            _ => {
                let (what, value) = ("the frame's kind", kind.into());
                return Err(FormError::Unknown { what, value });
            }
        };
        from.end("a frame")?;
        Ok(frame)
    }
}

fn decode_position(from: &mut Reader<'_>) -> Result<Position, FormError> {
    let next = Sequence(from.u64("the next sequence")?);
    let link = RecordHash(from.array("the link")?);
    let flags = from.u8("the position's flags")?;
    let epoch = Epoch(from.u32("the epoch")?);
    if flags > 3 {
        let (what, value) = ("the position's flags", flags.into());
        return Err(FormError::Unknown { what, value });
    }
    let has_epoch = flags & 1 != 0;
    if !has_epoch && epoch != Epoch(0) {
        let (what, why) = ("a position", "it gives an epoch that it has not");
        return Err(FormError::Contradiction { what, why });
    }
    Ok(Position {
        next,
        link,
        epoch: has_epoch.then_some(epoch),
        closed: flags & 2 != 0,
    })
}

fn decode_refusal(from: &mut Reader<'_>) -> Result<Refusal, FormError> {
    let code = from.u8("the refusal")?;
    let mut all = Refusal::ALL.into_iter();
    all.find(|reason| reason.code() == code)
        .ok_or(FormError::Unknown {
            what: "the refusal",
            value: code.into(),
        })
}

/// Makes frames of bytes as they arrive, however they were cut. It holds one frame and what was
/// read with it, and refuses a frame that is too long before it has arrived.
#[derive(Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read.
    used: usize,
}

/// Bytes of the length before a frame.
const LENGTH: usize = 4;

impl FrameReader {
    /// Nothing has arrived.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            used: 0,
        }
    }

    /// Takes bytes that arrived. Read all frames before the next ones: the buffer grows otherwise.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; none if it has not arrived whole.
    ///
    /// # Errors
    /// If what arrived is no frame. Nothing after it can be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FormError> {
        let pending = self.buffer.get(self.used..).unwrap_or_default();
        let Some((length, rest)) = pending.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let count = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if count > Frame::MAX {
            return Err(FormError::TooMany {
                what: "a frame's bytes",
                count,
                limit: Frame::MAX,
            });
        }
        let Some(body) = rest.get(..count) else {
            return Ok(None);
        };
        let frame = Frame::decode(body)?;
        self.used += LENGTH + count;
        Ok(Some(frame))
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// If it ended within a frame.
    pub const fn finish(&self) -> Result<(), FormError> {
        match self.buffer.len() - self.used {
            0 => Ok(()),
            count => Err(FormError::Trailing {
                what: "the last whole frame",
                count,
            }),
        }
    }
}
