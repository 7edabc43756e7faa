//! One connection of an agent: what it says, what it is answered.

use std::collections::BTreeMap;

use tracer_wire::{
    AgentId, ChainError, FormError, Frame, FrameReader, PROTOCOL, Position, Record, Refusal,
    Sequence, SessionId,
};

use crate::store::Outcome;

/// The collector's side of one connection.
pub struct Conversation {
    agent: AgentId,
    reader: FrameReader,
    /// Records that the agent may still send.
    credits: u32,
    /// Records that it may send at once, at most.
    window: u32,
    is_greeted: bool,
}

/// What an agent wants, to be handed to a store in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// To know where a session stands.
    Position(SessionId),
    /// To have a record stored.
    Append(Box<Record>),
}

/// The conversation cannot go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversationError {
    /// What was said is no frame.
    #[error("the agent sent bytes that are no frame")]
    Form(#[from] FormError),
    /// Something came before the greeting, or a second one.
    #[error("the agent did not begin with one hello")]
    Greeting,
    /// It speaks another version.
    #[error("the agent speaks version {0} of the protocol, and this collector {PROTOCOL}")]
    Version(u16),
    /// It said what only a collector says.
    #[error("the agent sent a frame that only a collector sends")]
    Roles,
}

impl Conversation {
    /// A connection of an agent whose certificate was verified. It may send `window` records before
    /// the first of them is answered.
    #[must_use]
    pub const fn new(agent: AgentId, window: u32) -> Self {
        Self {
            agent,
            reader: FrameReader::new(),
            credits: 0,
            window,
            is_greeted: false,
        }
    }

    /// Takes bytes that arrived. Adds what is asked to `requests`, and gives what can be answered at
    /// once.
    ///
    /// # Errors
    /// If they are nothing that an agent says. The connection is of no use then.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        requests: &mut Vec<Request>,
    ) -> Result<Vec<u8>, ConversationError> {
        self.reader.push(bytes);
        let mut answers = Vec::new();
        while let Some(frame) = self.reader.next_frame()? {
            match frame {
                Frame::Hello { .. } if self.is_greeted => return Err(ConversationError::Greeting),
                Frame::Hello { version: PROTOCOL } => {
                    self.is_greeted = true;
                    self.credits = self.window;
                    let records = self.window;
                    answers.extend(Frame::Credit { records }.to_bytes());
                }
                Frame::Hello { version } => return Err(ConversationError::Version(version)),
                Frame::Ask { .. } | Frame::Record(_) if !self.is_greeted => {
                    return Err(ConversationError::Greeting);
                }
                Frame::Ask { session } => requests.push(Request::Position(session)),
                Frame::Record(record) => match self.refusal(&record) {
                    None => requests.push(Request::Append(record)),
                    Some(reason) => {
                        let claims = record.claims();
                        let refused = Frame::Refused {
                            session: claims.session,
                            sequence: claims.sequence,
                            reason,
                        };
                        answers.extend(refused.to_bytes());
                    }
                },
                Frame::Stands { .. }
                | Frame::Stored { .. }
                | Frame::Credit { .. }
                | Frame::Refused { .. } => return Err(ConversationError::Roles),
            }
        }
        Ok(answers)
    }

    /// Why a record is not even looked at; takes a credit for one that is.
    fn refusal(&mut self, record: &Record) -> Option<Refusal> {
        let Some(credits) = self.credits.checked_sub(1) else {
            return Some(Refusal::NoCredit);
        };
        self.credits = credits;
        if record.claims().agent != self.agent {
            // It stays spent: there is nothing to gain from trying.
            return Some(Refusal::OtherAgent);
        }
        None
    }

    /// The answer to a [`Request::Position`].
    #[must_use]
    pub fn stands(session: SessionId, position: Position) -> Vec<u8> {
        Frame::Stands { session, position }.to_bytes()
    }

    /// The answer to [`Request::Append`]s that are done, in their order: one acknowledgement for all
    /// of a session, and their credits.
    #[must_use]
    pub fn appended(&mut self, done: &[(SessionId, Sequence, Outcome)]) -> Vec<u8> {
        let mut answers = Vec::new();
        let mut stored: BTreeMap<SessionId, Sequence> = BTreeMap::new();
        for (session, sequence, outcome) in done {
            match outcome {
                Outcome::Stored | Outcome::Repeated => {
                    let through = stored.entry(*session).or_default();
                    *through = (*through).max(*sequence);
                }
                Outcome::Refused(error) => {
                    let refused = Frame::Refused {
                        session: *session,
                        sequence: *sequence,
                        reason: reason(*error),
                    };
                    answers.extend(refused.to_bytes());
                }
            }
        }
        for (session, through) in stored {
            answers.extend(Frame::Stored { session, through }.to_bytes());
        }
        let records = u32::try_from(done.len()).unwrap_or(u32::MAX);
        self.credits = self.credits.saturating_add(records);
        answers.extend(Frame::Credit { records }.to_bytes());
        answers
    }
}

/// What an agent is told of it.
const fn reason(error: ChainError) -> Refusal {
    match error {
        ChainError::Tampered(_) => Refusal::Tampered,
        ChainError::Missing { .. } => Refusal::Missing,
        ChainError::OtherSession(_)
        | ChainError::Forked(_)
        | ChainError::Unlinked(_)
        | ChainError::EpochOrder { .. }
        | ChainError::AfterEnd(_)
        | ChainError::Truncated(_) => Refusal::Contradicts,
    }
}
