//! What capture and ship say to each other over their socket.
//!
//! Capture has the key and hands sealed records over; ship has the disk and the network. Ship tells
//! which records it keeps, and asks for the only two signatures that capture gives to anybody: under
//! a gap, and under the digest of a certificate request. Ship hands out places, so that capture never
//! has more records on the way than ship has room for, and an answer never waits behind a record.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
};

use tracer_wire::{
    AgentId, FormError, Gap, Recipient, Record, Sequence, SessionId,
    enrolment::{Proof, Purpose},
};

/// The version of this conversation.
pub const VERSION: u16 = 1;
/// Records that may be on their way to ship and not kept yet.
pub const PLACES: usize = 32;
/// Bytes of a message, at most: the largest record and what stands before it.
const MAX: usize = Record::MAX + 64;
/// Bytes of a status, at most.
const MAX_STATUS: usize = 4096;
/// Bytes of a certificate request, at most.
const MAX_REQUEST: usize = 4096;

/// What capture says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromCapture {
    /// First of all.
    Hello {
        /// The conversation's version.
        version: u16,
        /// Whose records will come.
        agent: AgentId,
    },
    /// A record to be kept.
    Record(Box<Record>),
    /// The gap that was asked for, signed.
    Gap {
        /// The question's number.
        question: u32,
        /// The gap.
        record: Box<Record>,
    },
    /// The proof that was asked for.
    Proof {
        /// The question's number.
        question: u32,
        /// The signature.
        proof: Proof,
    },
    /// The question gets no answer.
    Refused {
        /// Its number.
        question: u32,
    },
    /// How capture is, as JSON.
    Status(String),
}

/// What ship says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromShip {
    /// First of all.
    Hello {
        /// The conversation's version.
        version: u16,
    },
    /// All records of a session up to this one are kept.
    Kept {
        /// Of which session.
        session: SessionId,
        /// The last.
        through: Sequence,
    },
    /// Sign a gap.
    SignGap {
        /// The answer gives it back.
        question: u32,
        /// What to sign.
        gap: Gap,
    },
    /// Sign a certificate request.
    SignRequest {
        /// The answer gives it back.
        question: u32,
        /// What for.
        purpose: Purpose,
        /// The request, DER.
        request: Vec<u8>,
    },
    /// Whom the collector wants telemetry sealed for.
    Recipient(Recipient),
}

/// The conversation cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed, or the other end is gone.
    #[error("the socket between capture and ship: {0}")]
    Socket(io::Error),
    /// What arrived has not the form of a message.
    #[error("what came over the socket between capture and ship is no message")]
    Form(#[from] FormError),
    /// The other process is of another version.
    #[error("the other process speaks version {0}; restart both after an update")]
    Version(u16),
    /// Something that is never said here.
    #[error("{0} was said at the wrong time")]
    Order(&'static str),
    /// Somebody else is at the other end.
    #[error("the process at the other end runs as user {found}, and only {expected} is answered")]
    Stranger {
        /// Its user.
        found: u32,
        /// Who is expected.
        expected: u32,
    },
}

impl From<io::Error> for LinkError {
    fn from(cause: io::Error) -> Self {
        Self::Socket(cause)
    }
}

/// Both directions have the same form: a length, a kind, and what it says.
pub trait Message: Sized {
    /// Its bytes behind the length.
    fn encode(&self) -> Vec<u8>;
    /// The message with these bytes.
    ///
    /// # Errors
    /// If they are none.
    fn decode(bytes: &[u8]) -> Result<Self, FormError>;
}

/// Writes a message.
///
/// # Errors
/// If the socket does not take it.
pub fn write(to: &mut impl Write, message: &impl Message) -> io::Result<()> {
    let body = message.encode();
    let length = u32::try_from(body.len()).expect("no message comes near 4 GiB");
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    to.write_all(&bytes)
}

/// Reads a message, waiting for it.
///
/// # Errors
/// If the socket ends or what comes is no message.
pub fn read<M: Message>(from: &mut impl Read) -> Result<M, LinkError> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX {
        let (what, count, limit) = ("a message's bytes", length, MAX);
        return Err(FormError::TooMany { what, count, limit }.into());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(M::decode(&body)?)
}

/// Refuses anybody but this user at the other end of a socket.
///
/// # Errors
/// If it is somebody else, or the system does not say who.
pub fn check_peer(stream: &UnixStream, expected: u32) -> Result<(), LinkError> {
    let peer = rustix::net::sockopt::socket_peercred(stream.as_fd()).map_err(io::Error::from)?;
    let found = peer.uid.as_raw();
    if found == expected {
        return Ok(());
    }
    Err(LinkError::Stranger { found, expected })
}

impl Message for FromCapture {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { version, agent } => {
                [&[1], version.to_be_bytes().as_slice(), &agent.0].concat()
            }
            Self::Record(record) => [&[2], record.to_bytes().as_slice()].concat(),
            Self::Gap { question, record } => {
                [&[3], question.to_be_bytes().as_slice(), &record.to_bytes()].concat()
            }
            Self::Proof { question, proof } => {
                let proof = proof.to_string();
                [&[4], question.to_be_bytes().as_slice(), proof.as_bytes()].concat()
            }
            Self::Refused { question } => [&[5], question.to_be_bytes().as_slice()].concat(),
            Self::Status(text) => [&[6], text.as_bytes()].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormError> {
        let mut from = Fields(bytes);
        Ok(match from.kind()? {
            1 => {
                let version = u16::from_be_bytes(from.array("the version")?);
                let agent = AgentId(from.array("the agent")?);
                from.end()?;
                Self::Hello { version, agent }
            }
            2 => Self::Record(Box::new(Record::parse(from.rest())?)),
            3 => Self::Gap {
                question: from.question()?,
                record: Box::new(Record::parse(from.rest())?),
            },
            4 => {
                let question = from.question()?;
                let text = from.text(MAX_STATUS)?;
                let proof = text.parse().map_err(|_| FormError::Contradiction {
                    what: "a proof",
                    why: "it is no signature",
                })?;
                Self::Proof { question, proof }
            }
            5 => {
                let question = from.question()?;
                from.end()?;
                Self::Refused { question }
            }
            6 => Self::Status(from.text(MAX_STATUS)?),
            other => return Err(unknown(other)),
        })
    }
}

impl Message for FromShip {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { version } => [&[1], version.to_be_bytes().as_slice()].concat(),
            Self::Kept { session, through } => {
                [&[2], session.0.as_slice(), &through.0.to_be_bytes()].concat()
            }
            Self::SignGap { question, gap } => {
                [&[3], question.to_be_bytes().as_slice(), &gap.to_bytes()].concat()
            }
            Self::SignRequest {
                question,
                purpose,
                request,
            } => {
                let purpose = match purpose {
                    Purpose::Enrolment => 1,
                    Purpose::Renewal => 2,
                };
                [&[4], question.to_be_bytes().as_slice(), &[purpose], request].concat()
            }
            Self::Recipient(recipient) => [&[5], recipient.to_string().as_bytes()].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormError> {
        let mut from = Fields(bytes);
        Ok(match from.kind()? {
            1 => {
                let version = u16::from_be_bytes(from.array("the version")?);
                from.end()?;
                Self::Hello { version }
            }
            2 => {
                let session = SessionId(from.array("the session")?);
                let through = Sequence(u64::from_be_bytes(from.array("the sequence")?));
                from.end()?;
                Self::Kept { session, through }
            }
            3 => Self::SignGap {
                question: from.question()?,
                gap: Gap::parse(from.rest())?,
            },
            4 => {
                let question = from.question()?;
                let purpose = match from.kind()? {
                    1 => Purpose::Enrolment,
                    2 => Purpose::Renewal,
                    other => return Err(unknown(other)),
                };
                let (what, request, limit) = ("a request", from.rest().to_vec(), MAX_REQUEST);
                if request.len() > limit {
                    let count = request.len();
                    return Err(FormError::TooMany { what, count, limit });
                }
                Self::SignRequest {
                    question,
                    purpose,
                    request,
                }
            }
            5 => {
                let text = from.text(MAX_STATUS)?;
                let recipient = text.parse().map_err(|_| FormError::Contradiction {
                    what: "a recipient",
                    why: "it is no public key",
                })?;
                Self::Recipient(recipient)
            }
            other => return Err(unknown(other)),
        })
    }
}

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn kind(&mut self) -> Result<u8, FormError> {
        self.array("the message's kind").map(|[kind]| kind)
    }

    fn question(&mut self) -> Result<u32, FormError> {
        self.array("the question").map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FormError> {
        let missing = N.saturating_sub(self.0.len());
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(FormError::Short { what, missing })?;
        self.0 = rest;
        Ok(*taken)
    }

    fn text(&mut self, limit: usize) -> Result<String, FormError> {
        let (what, bytes) = ("a text", self.rest());
        if bytes.len() > limit {
            let count = bytes.len();
            return Err(FormError::TooMany { what, count, limit });
        }
        let why = "it is not UTF-8";
        let text = str::from_utf8(bytes).map_err(|_| FormError::Contradiction { what, why })?;
        Ok(text.to_owned())
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    const fn end(&self) -> Result<(), FormError> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(FormError::Trailing {
                what: "a message",
                count,
            }),
        }
    }
}

const fn unknown(kind: u8) -> FormError {
    FormError::Unknown {
        what: "the message's kind",
        value: kind as u64,
    }
}

#[cfg(test)]
mod tests {
    use tracer_wire::{GapReason, Stream};

    use super::*;
    use crate::fixture::{KEY, recipient, session, sign};

    fn back<M: Message + PartialEq + std::fmt::Debug>(message: &M) {
        let mut bytes = Vec::new();
        write(&mut bytes, message).unwrap();
        assert_eq!(&read::<M>(&mut bytes.as_slice()).unwrap(), message);
        // Nothing shorter or longer than it is taken for a message, and nothing panics.
        let body = message.encode();
        for length in 0..body.len() {
            if let Ok(other) = M::decode(&body[..length]) {
                assert_ne!(&other, message);
            }
        }
        if let Ok(other) = M::decode(&[body, vec![0]].concat()) {
            assert_ne!(&other, message);
        }
    }

    #[test]
    fn what_is_said_arrives_as_it_was_said() {
        let records = session(Stream::Content, 1);
        let batch = Box::new(records[1].clone());
        let gap = Gap::over(batch.claims(), batch.link(), GapReason::SpoolFull);
        let (agent, question) = (KEY.agent(), 7);
        let id = batch.claims().session;
        back(&FromCapture::Hello { version: 1, agent });
        back(&FromCapture::Record(batch));
        back(&FromCapture::Gap {
            question,
            record: Box::new(sign(gap.clone()).unwrap()),
        });
        back(&FromCapture::Proof {
            question,
            proof: Proof::sign(Purpose::Enrolment, b"request", &KEY),
        });
        back(&FromCapture::Refused { question });
        back(&FromCapture::Status("{}".to_owned()));
        back(&FromShip::Hello { version: 1 });
        back(&FromShip::Kept {
            session: id,
            through: Sequence(4),
        });
        back(&FromShip::SignGap { question, gap });
        back(&FromShip::SignRequest {
            question,
            purpose: Purpose::Renewal,
            request: b"request".to_vec(),
        });
        back(&FromShip::Recipient(recipient().recipient().clone()));
    }

    #[test]
    fn only_gaps_are_signed_for_somebody_else() {
        let records = session(Stream::Telemetry, 1);
        let claims = |record: &Record| {
            let bytes = record.to_bytes();
            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
            bytes[4..4 + usize::try_from(length).unwrap()].to_vec()
        };
        for record in &records {
            let asked = [&[3, 0, 0, 0, 7], claims(record).as_slice()].concat();
            assert!(FromShip::decode(&asked).is_err(), "{record:?}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_it_arrives() {
        let endless = [0xff_u8; 4];
        let error = read::<FromShip>(&mut endless.as_slice()).unwrap_err();
        assert!(matches!(error, LinkError::Form(_)), "{error}");
    }

    #[test]
    fn only_the_expected_user_is_answered() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let user = rustix::process::getuid().as_raw();
        check_peer(&ours, user).unwrap();
        let error = check_peer(&ours, user + 1).unwrap_err();
        assert!(matches!(error, LinkError::Stranger { .. }), "{error}");
    }
}
