//! Follows a session record by record, with no key but what the records carry: anyone can.

use crate::{
    claims::{Body, Claims},
    identity::{AgentId, Epoch, RecordHash, Sequence, SessionId, Stream},
    record::Record,
};

/// Where a reader of a session stands. Equal positions go on alike, so it can be kept and restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The place that comes next.
    pub next: Sequence,
    /// What the record there must name as the one before.
    pub link: RecordHash,
    /// The epoch; none before the first record.
    pub epoch: Option<Epoch>,
    /// Whether the session has ended in order.
    pub closed: bool,
}

impl Position {
    /// Before the first record.
    pub const START: Self = Self {
        next: Sequence(0),
        link: RecordHash::NONE,
        epoch: None,
        closed: false,
    };
}

/// Checks that the records of one session are what its agent made, all of them, in order, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    agent: AgentId,
    session: SessionId,
    stream: Stream,
    position: Position,
}

/// What a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The next one.
    Next,
    /// One that was there before: it may be acknowledged again, and nothing else.
    Repeated,
}

/// A record is not what comes next, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The agent did not sign this.
    #[error("record {0} was changed: its signature is not that of its agent")]
    Tampered(Sequence),
    /// It is of another agent, session or stream.
    #[error("record {0} is of another session")]
    OtherSession(Sequence),
    /// Records before it are missing: lost, held back, or out of order.
    #[error("record {found} came before {expected}: records are missing or out of order")]
    Missing {
        /// What should have come.
        expected: Sequence,
        /// What came.
        found: Sequence,
    },
    /// The agent signed two records for one place.
    #[error("record {0} is not the one that was there before at its place")]
    Forked(Sequence),
    /// It does not name the record before it.
    #[error("record {0} does not continue the records before it")]
    Unlinked(Sequence),
    /// Its epoch is not the one that is in force, or not the next.
    #[error("record {sequence} is of epoch {found}, which does not follow")]
    EpochOrder {
        /// Its place.
        sequence: Sequence,
        /// Its epoch.
        found: Epoch,
    },
    /// The session had ended.
    #[error("record {0} comes after the session's end")]
    AfterEnd(Sequence),
    /// The session has no end.
    #[error("the session is cut off: it was not closed after record {0:?}")]
    Truncated(Option<Sequence>),
}

impl Verifier {
    /// Follows the session that a record is of, from its beginning.
    #[must_use]
    pub const fn of(claims: &Claims) -> Self {
        Self::resume(claims, Position::START)
    }

    /// Follows the session that a record is of, from a position that was kept.
    #[must_use]
    pub const fn resume(claims: &Claims, position: Position) -> Self {
        Self {
            agent: claims.agent,
            session: claims.session,
            stream: claims.stream,
            position,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Takes a record if it is what comes next. `stored` gives the [link](Record::link) of a record
    /// that was taken earlier, by its sequence; none if a gap filled the place or it is not kept.
    ///
    /// # Errors
    /// What is wrong with it. Then the position stays.
    pub fn accept(
        &mut self,
        record: &Record,
        stored: impl Fn(Sequence) -> Option<RecordHash>,
    ) -> Result<Accepted, ChainError> {
        let claims = record.claims();
        let sequence = claims.sequence;
        let is_ours = (claims.agent, claims.session, claims.stream)
            == (self.agent, self.session, self.stream);
        if !is_ours {
            return Err(ChainError::OtherSession(sequence));
        }
        if !record.is_signed() {
            return Err(ChainError::Tampered(sequence));
        }
        let Position {
            next,
            link,
            epoch,
            closed,
        } = self.position;
        if sequence < next {
            return match stored(sequence) {
                Some(hash) if hash != record.link() => Err(ChainError::Forked(sequence)),
                Some(_) | None => Ok(Accepted::Repeated),
            };
        }
        if closed {
            return Err(ChainError::AfterEnd(sequence));
        }
        let first = claims.first();
        if first > next {
            return Err(ChainError::Missing {
                expected: next,
                found: first,
            });
        }
        // A gap may reach back over records that arrived all the same; then the one before it is
        // among those that are stored.
        let before = if first == next {
            Some(link)
        } else {
            first
                .0
                .checked_sub(1)
                .map_or(Some(RecordHash::NONE), |before| stored(Sequence(before)))
        };
        if before.is_some_and(|before| before != claims.previous) {
            return Err(ChainError::Unlinked(sequence));
        }
        let follows = match (&claims.body, epoch) {
            (Body::Epoch(_), None) => claims.epoch == Epoch(0),
            (Body::Epoch(_), Some(epoch)) => Some(claims.epoch.0) == epoch.0.checked_add(1),
            (Body::Batch(_) | Body::Closing, epoch) => epoch == Some(claims.epoch),
            // The records that began epochs may be among what is gone.
            (Body::Gap(_), epoch) => epoch.is_none_or(|epoch| epoch <= claims.epoch),
        };
        if !follows {
            let found = claims.epoch;
            return Err(ChainError::EpochOrder { sequence, found });
        }
        self.position = Position {
            next: sequence.next(),
            link: record.link(),
            epoch: Some(claims.epoch),
            closed: matches!(claims.body, Body::Closing),
        };
        Ok(Accepted::Next)
    }

    /// Whether the session is whole to its end.
    ///
    /// # Errors
    /// If it was not closed.
    pub const fn finish(&self) -> Result<(), ChainError> {
        if self.position.closed {
            return Ok(());
        }
        let last = self.position.next.0.checked_sub(1);
        Err(ChainError::Truncated(match last {
            Some(last) => Some(Sequence(last)),
            None => None,
        }))
    }
}
