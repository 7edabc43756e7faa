//! The unit that is signed, kept, sent and stored.

use std::fmt;

use crate::{
    chain::Position,
    claims::{BatchBody, Body, Claims, GapBody, GapReason},
    identity::{Epoch, RecordHash, Sequence, sha256},
    key::{SigningKey, is_signed_by},
    octets::{FormError, Reader, Writer},
};

/// Claims, what they are about, and a signature over both.
///
/// A value of this type has the right form. Whether it says the truth is for [`Record::is_signed`]
/// and [`Verifier`](crate::Verifier) to find out.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    claims: Claims,
    /// The claims as they were signed.
    encoded: Vec<u8>,
    sealed: Vec<u8>,
    signature: [u8; 64],
    hash: RecordHash,
}

impl Record {
    /// Bytes of sealed events, at most: a mebibyte that did not shrink fits with its padding.
    pub const MAX_SEALED: usize = 5 << 18;
    /// Bytes of claims, at most: the most recipients, kinds and models fit.
    pub const MAX_CLAIMS: usize = 8 * 1024;
    /// Bytes of a whole record, at most.
    pub const MAX: usize = Self::MAX_CLAIMS + Self::MAX_SEALED + 128;

    /// What it says.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The claims' bytes, which the sealed events are bound to.
    pub(crate) fn encoded_claims(&self) -> &[u8] {
        &self.encoded
    }

    /// The sealed events; empty for everything but a batch.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> RecordHash {
        self.hash
    }

    /// What the record after it names as the one before: its hash, or for a gap that of the last
    /// record that the gap replaced.
    #[must_use]
    pub const fn link(&self) -> RecordHash {
        match &self.claims.body {
            Body::Gap(gap) => gap.replaced,
            Body::Epoch(_) | Body::Batch(_) | Body::Closing => self.hash,
        }
    }

    /// Whether the agent that it names signed it as it is.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        is_signed_by(self.claims.agent, &signed(self.hash), &self.signature)
    }

    /// Signs claims and what they are about. The claims' agent becomes the key's.
    pub(crate) fn sign(mut claims: Claims, sealed: Vec<u8>, key: &SigningKey) -> Self {
        claims.agent = key.agent();
        let encoded = claims.encode();
        let hash = hash(&encoded, &sealed);
        let signature = key.sign(&signed(hash));
        Self {
            claims,
            encoded,
            sealed,
            signature,
            hash,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.sized(&self.encoded);
        to.sized(&self.sealed);
        to.bytes(&self.signature);
        to.finish()
    }

    /// The record with these bytes.
    ///
    /// # Errors
    /// If they have not the form of one.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        let mut from = Reader::new(bytes);
        let encoded = from.sized(Self::MAX_CLAIMS, "a record's claims")?;
        let sealed = from.sized(Self::MAX_SEALED, "a record's sealed events")?;
        let signature = from.array("a record's signature")?;
        from.end("a record")?;
        let claims = Claims::decode(encoded)?;
        let holds_events = matches!(claims.body, Body::Batch(_));
        if holds_events == sealed.is_empty() {
            return Err(FormError::Contradiction {
                what: "a record",
                why: "a batch holds sealed events, and nothing else does",
            });
        }
        Ok(Self {
            hash: hash(encoded, sealed),
            claims,
            encoded: encoded.to_vec(),
            sealed: sealed.to_vec(),
            signature,
        })
    }

    /// A signed gap in the place of records that are gone.
    #[must_use]
    pub fn gap(gap: Gap, key: &SigningKey) -> Self {
        Self::sign(gap.0, Vec::new(), key)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("claims", &self.claims)
            .field("sealed", &self.sealed.len())
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// A gap that nobody has signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap(Claims);

impl Gap {
    /// The gap that takes the place of one record, which may be a gap itself.
    #[must_use]
    pub fn over(claims: &Claims, link: RecordHash, reason: GapReason) -> Self {
        let body = match &claims.body {
            Body::Gap(gap) => gap.clone(),
            Body::Batch(batch) => GapBody {
                first: claims.sequence,
                replaced: link,
                reason,
                events: Some(batch.events()),
                span: Some(span(batch)),
            },
            Body::Epoch(_) | Body::Closing => GapBody {
                first: claims.sequence,
                replaced: link,
                reason,
                events: Some(0),
                span: None,
            },
        };
        Self(Claims {
            body: Body::Gap(body),
            ..claims.clone()
        })
    }

    /// The gap between a reader's position and a record that is there: what was in between is gone,
    /// and nobody knows what it held. None if nothing is missing.
    #[must_use]
    pub fn missing(position: &Position, after: &Claims) -> Option<Self> {
        let last = after.first().0.checked_sub(1).map(Sequence)?;
        if last < position.next {
            return None;
        }
        let epoch = match after.body {
            // What is missing may be of the epoch before, and of no later one.
            Body::Epoch(_) => Epoch(after.epoch.0.saturating_sub(1)),
            Body::Batch(_) | Body::Gap(_) | Body::Closing => after.epoch,
        };
        Some(Self(Claims {
            agent: after.agent,
            session: after.session,
            stream: after.stream,
            epoch,
            sequence: last,
            previous: position.link,
            body: Body::Gap(GapBody {
                first: position.next,
                replaced: after.previous,
                reason: GapReason::Damaged,
                events: None,
                span: None,
            }),
        }))
    }

    /// Both as one, if the other is what comes directly after this one in the same session.
    #[must_use]
    pub fn joined(&self, after: &Self) -> Option<Self> {
        let (Body::Gap(ours), Body::Gap(theirs)) = (&self.0.body, &after.0.body) else {
            return None;
        };
        let follows = self.0.agent == after.0.agent
            && self.0.session == after.0.session
            && self.0.sequence.next() == theirs.first
            && ours.replaced == after.0.previous
            && ours.reason == theirs.reason;
        follows.then(|| {
            let mut joined = after.0.clone();
            joined.previous = self.0.previous;
            joined.body = Body::Gap(GapBody {
                first: ours.first,
                events: ours.events.zip(theirs.events).map(|(a, b)| a + b),
                span: match (ours.span, theirs.span) {
                    (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
                    (a, b) => a.or(b),
                },
                ..theirs.clone()
            });
            Self(joined)
        })
    }

    /// What it would say.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.0
    }

    /// Its bytes, on the way to whoever signs it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// The gap with these bytes.
    ///
    /// # Errors
    /// If they are no claims, or claims of something else than a gap: nothing else is ever signed for
    /// somebody else.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        let claims = Claims::decode(bytes)?;
        match claims.body {
            Body::Gap(_) => Ok(Self(claims)),
            Body::Epoch(_) | Body::Batch(_) | Body::Closing => Err(FormError::Contradiction {
                what: "a gap",
                why: "its claims are of another kind",
            }),
        }
    }
}

const fn span(batch: &BatchBody) -> (tracer_event::WallNanos, tracer_event::WallNanos) {
    (batch.first, batch.last)
}

fn hash(claims: &[u8], sealed: &[u8]) -> RecordHash {
    let contents = sha256("tracer sealed 1", &[sealed]);
    RecordHash(sha256("tracer record 1", &[&contents, claims]))
}

fn signed(hash: RecordHash) -> Vec<u8> {
    [b"tracer signed record 1\0".as_slice(), &hash.0].concat()
}
