//! What an agent says to a collector: which records it hands over, and when it forgets them.
//!
//! One connection is one [`Sender`]: bytes that arrived go in, bytes to be sent come out, and whoever
//! owns the socket moves them. It hands over no more records than it has credits for, so that what
//! waits in memory is bounded by the collector's word.

use std::collections::BTreeMap;

use tracer_wire::{
    FormError, Frame, FrameReader, PROTOCOL, Position, Record, Refusal, Sequence, SessionId,
};

use crate::spool::{Next, Sign, Spool, SpoolError, Storage};

/// The conversation cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The collector said something that is no frame.
    #[error("the collector sent bytes that are no frame")]
    Form(#[from] FormError),
    /// The collector said what only an agent says.
    #[error("the collector sent a frame that only an agent sends")]
    Roles,
    /// The collector claims to have stored what it was never given.
    #[error(
        "the collector says that it has stored record {through} of session {session}, which was \
             never sent"
    )]
    NeverSent {
        /// Of which session.
        session: SessionId,
        /// Which.
        through: Sequence,
    },
    /// The spool does not work.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// The agent's side of one connection.
pub struct Sender {
    reader: FrameReader,
    credits: u32,
    sessions: BTreeMap<SessionId, Session>,
}

/// How far a session is on this connection.
enum Session {
    /// The collector was asked where it stands.
    Asked,
    /// Everything before this position was sent, or was there before.
    Sending(Position),
    /// The collector does not take it; nothing more of it is sent on this connection.
    Refused,
}

impl Sender {
    /// A new connection, and the first bytes for it.
    #[must_use]
    pub fn connected() -> (Self, Vec<u8>) {
        let sender = Self {
            reader: FrameReader::new(),
            credits: 0,
            sessions: BTreeMap::new(),
        };
        let hello = Frame::Hello { version: PROTOCOL };
        (sender, hello.to_bytes())
    }

    /// Takes bytes that arrived.
    ///
    /// # Errors
    /// If they are nothing that a collector says. The connection is of no use then.
    pub fn receive<S: Storage>(
        &mut self,
        bytes: &[u8],
        spool: &mut Spool<S>,
    ) -> Result<(), SendError> {
        self.reader.push(bytes);
        while let Some(frame) = self.reader.next_frame()? {
            match frame {
                Frame::Credit { records } => self.credits = self.credits.saturating_add(records),
                Frame::Stands { session, position } => {
                    if let Some(last) = position.next.0.checked_sub(1) {
                        spool.acknowledge(session, Sequence(last));
                    }
                    self.sessions.insert(session, Session::Sending(position));
                }
                Frame::Stored { session, through } => {
                    let was_sent = match self.sessions.get(&session) {
                        Some(Session::Sending(position)) => through < position.next,
                        // What was sent before the collector refused, or before it was asked again.
                        Some(Session::Asked | Session::Refused) => true,
                        None => false,
                    };
                    if !was_sent {
                        return Err(SendError::NeverSent { session, through });
                    }
                    spool.acknowledge(session, through);
                }
                Frame::Refused {
                    session,
                    sequence,
                    reason,
                } => self.refused(session, sequence, reason),
                Frame::Hello { .. } | Frame::Ask { .. } | Frame::Record(_) => {
                    return Err(SendError::Roles);
                }
            }
        }
        Ok(())
    }

    /// The next bytes to send, at most one record; none if there is nothing to say or no credit. A
    /// session with a gap that nobody signs waits.
    ///
    /// # Errors
    /// If the spool cannot be read.
    pub fn send<S: Storage>(
        &mut self,
        spool: &mut Spool<S>,
        sign: &mut Sign<'_>,
    ) -> Result<Option<Vec<u8>>, SendError> {
        let unknown = spool
            .sessions()
            .find(|session| !self.sessions.contains_key(session));
        if let Some(session) = unknown {
            self.sessions.insert(session, Session::Asked);
            return Ok(Some(Frame::Ask { session }.to_bytes()));
        }
        if self.credits == 0 {
            return Ok(None);
        }
        // The oldest session first: what is behind it waits.
        let sessions: Vec<_> = spool.sessions().collect();
        for session in sessions {
            let Some(Session::Sending(position)) = self.sessions.get_mut(&session) else {
                continue;
            };
            let record = match spool.next(session, position)? {
                None => continue,
                Some(Next::Record(record)) => record,
                Some(Next::Missing(gap)) => match sign(gap) {
                    Some(record) => Box::new(record),
                    None => continue,
                },
            };
            *position = after(&record);
            self.credits -= 1;
            return Ok(Some(Frame::Record(record).to_bytes()));
        }
        Ok(None)
    }

    fn refused(&mut self, session: SessionId, sequence: Sequence, reason: Refusal) {
        let again = match reason {
            // It lost its place, or we ours: ask.
            Refusal::Missing | Refusal::NoCredit => true,
            Refusal::Tampered | Refusal::Contradicts | Refusal::OtherAgent => false,
        };
        if again {
            self.sessions.remove(&session);
            return;
        }
        log::error!("the collector refuses record {sequence} of session {session}: {reason:?}");
        self.sessions.insert(session, Session::Refused);
    }
}

fn after(record: &Record) -> Position {
    let claims = record.claims();
    Position {
        next: claims.sequence.next(),
        link: record.link(),
        epoch: Some(claims.epoch),
        closed: matches!(claims.body, tracer_wire::Body::Closing),
    }
}
