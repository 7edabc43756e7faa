//! From batches to sealed, signed records, and back for whoever has the key.

use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use tracer_event::{Nanos, WallNanos};
use zeroize::Zeroizing;

use crate::{
    batch::{Batch, BatchError, Contents},
    claims::{Body, Claims, EpochBody},
    identity::{AgentId, Epoch, RecordHash, Sequence, SessionId, Stream},
    key::{KeyError, Recipient, RecipientSecret, SigningKey, Suite, random},
    octets::{FormError, Reader, Writer},
    record::Record,
};

/// How long a key is used, at most.
const EPOCH_LASTS: Duration = Duration::from_mins(10);
/// How many batches a key seals, at most.
const EPOCH_HOLDS: u32 = 1 << 20;
/// Bytes of the tag.
const TAG: usize = 16;

/// Seals the batches of one session.
///
/// It exists once and starts with a session of its own: a key and a sequence are never used twice,
/// whatever ends the process. Keys are in memory alone, and each is forgotten with its epoch.
pub struct Sealer<'a> {
    key: &'a SigningKey,
    recipients: Vec<Recipient>,
    session: SessionId,
    stream: Stream,
    epoch: Epoch,
    epoch_key: LessSafeKey,
    epoch_began: WallNanos,
    epoch_batches: u32,
    next: Sequence,
    previous: RecordHash,
    /// The record of a new epoch that no batch has carried out yet.
    unsent_epoch: Option<Record>,
}

/// A batch could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Nobody could open it.
    #[error("there is no recipient: nobody could open what is sealed")]
    NoRecipient,
    /// There are too many recipients.
    #[error("{0} recipients are more than the limit, {limit}", limit = Claims::MAX_RECIPIENTS)]
    TooManyRecipients(usize),
    /// The batch is of the other stream.
    #[error("a batch of the stream {0} does not go into a session of the other")]
    OtherStream(Stream),
    /// The batch does not fit into a record.
    #[error("a batch has {0} bytes; a record holds {limit}", limit = Record::MAX_SEALED)]
    TooLarge(usize),
    /// A key could not be made or used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The cryptographic library refused.
    #[error("the batch could not be encrypted")]
    Encryption,
}

impl<'a> Sealer<'a> {
    /// Begins a session. Its first record, which opens it, comes with it.
    ///
    /// # Errors
    /// If there are no recipients or too many, or no random bytes.
    pub fn begin(
        key: &'a SigningKey,
        stream: Stream,
        recipients: Vec<Recipient>,
        now: WallNanos,
    ) -> Result<(Self, Record), SealError> {
        if recipients.is_empty() {
            return Err(SealError::NoRecipient);
        }
        if recipients.len() > Claims::MAX_RECIPIENTS {
            return Err(SealError::TooManyRecipients(recipients.len()));
        }
        let session = SessionId(*random()?);
        let (epoch_key, body) = new_epoch(session, Epoch(0), &recipients, now)?;
        let mut sealer = Self {
            key,
            recipients,
            session,
            stream,
            epoch: Epoch(0),
            epoch_key,
            epoch_began: now,
            epoch_batches: 0,
            next: Sequence(0),
            previous: RecordHash::NONE,
            unsent_epoch: None,
        };
        let opening = sealer.record(Body::Epoch(body), Vec::new());
        Ok((sealer, opening))
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Seals a batch. Where the key has served its time, the record of a new epoch comes before it.
    ///
    /// # Errors
    /// If it does not fit, is of the other stream, or cannot be encrypted; then the session goes on
    /// without it.
    pub fn seal(&mut self, batch: Batch, now: WallNanos) -> Result<Sealed, SealError> {
        let Batch {
            stream,
            body,
            compressed,
        } = batch;
        if stream != self.stream {
            return Err(SealError::OtherStream(stream));
        }
        let mut sealed = padded(&compressed, stream);
        if sealed.len() + TAG > Record::MAX_SEALED {
            return Err(SealError::TooLarge(compressed.len()));
        }
        self.renew(now)?;
        let claims = self.claims(Body::Batch(body));
        self.epoch_key
            .seal_in_place_append_tag(
                nonce(claims.sequence),
                Aad::from(claims.encode()),
                &mut sealed,
            )
            .map_err(|_| SealError::Encryption)?;
        self.epoch_batches += 1;
        let batch = self.signed(claims, sealed);
        let epoch = self.unsent_epoch.take();
        Ok(Sealed { epoch, batch })
    }

    /// Ends the session in order. A session without this end was cut off.
    pub fn close(mut self) -> impl Iterator<Item = Record> {
        let epoch = self.unsent_epoch.take();
        let closing = self.record(Body::Closing, Vec::new());
        epoch.into_iter().chain([closing])
    }

    /// Begins a new epoch if the key has served its time.
    fn renew(&mut self, now: WallNanos) -> Result<(), SealError> {
        // A clock that was set back ends the epoch too.
        let age = now.0.checked_sub(self.epoch_began.0).map(Nanos);
        let is_young = age.is_some_and(|age| Duration::from_nanos(age.0) < EPOCH_LASTS);
        // One that no batch was sealed in yet is as good as new.
        let is_unused = self.unsent_epoch.is_some();
        if is_unused || is_young && self.epoch_batches < EPOCH_HOLDS {
            return Ok(());
        }
        let epoch = Epoch(self.epoch.0 + 1);
        let (key, body) = new_epoch(self.session, epoch, &self.recipients, now)?;
        self.epoch = epoch;
        self.epoch_key = key;
        self.epoch_began = now;
        self.epoch_batches = 0;
        self.unsent_epoch = Some(self.record(Body::Epoch(body), Vec::new()));
        Ok(())
    }

    fn record(&mut self, body: Body, sealed: Vec<u8>) -> Record {
        let claims = self.claims(body);
        self.signed(claims, sealed)
    }

    const fn claims(&self, body: Body) -> Claims {
        Claims {
            agent: self.key.agent(),
            session: self.session,
            stream: self.stream,
            epoch: self.epoch,
            sequence: self.next,
            previous: self.previous,
            body,
        }
    }

    fn signed(&mut self, claims: Claims, sealed: Vec<u8>) -> Record {
        let record = Record::sign(claims, sealed, self.key);
        self.next = self.next.next();
        self.previous = record.hash();
        record
    }
}

/// What sealing a batch gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// A new epoch, which comes first.
    pub epoch: Option<Record>,
    /// The batch.
    pub batch: Record,
}

impl Sealed {
    /// The records in their order.
    pub fn into_records(self) -> impl Iterator<Item = Record> {
        self.epoch.into_iter().chain([self.batch])
    }
}

/// Opens batches with a recipient's key. Give it records that a [`Verifier`](crate::Verifier) took.
pub struct Opener {
    secret: RecipientSecret,
    keys: BTreeMap<(AgentId, SessionId, Epoch), LessSafeKey>,
}

/// A batch could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The epoch was sealed for others.
    #[error("epoch {epoch} of session {session} is not sealed for this key ({recipient})")]
    NotARecipient {
        /// The session.
        session: SessionId,
        /// The epoch.
        epoch: Epoch,
        /// The key's name.
        recipient: crate::RecipientId,
    },
    /// The key that was wrapped for us is not the one that the others got.
    #[error(
        "the key of epoch {epoch} of session {session} is not the one that its agent is bound to"
    )]
    OtherKey {
        /// The session.
        session: SessionId,
        /// The epoch.
        epoch: Epoch,
    },
    /// The record that holds the epoch's key was not seen.
    #[error("the beginning of epoch {epoch} of session {session} was not seen: its key is missing")]
    EpochNotSeen {
        /// The session.
        session: SessionId,
        /// The epoch.
        epoch: Epoch,
    },
    /// The record is no batch.
    #[error("record {0} is no batch")]
    NotABatch(Sequence),
    /// The bytes are not what was sealed under these claims.
    #[error("batch {0} was changed, or was sealed under another key")]
    Tampered(Sequence),
    /// What was sealed has not the form of a batch.
    #[error("batch {sequence} was sealed as something else than a batch")]
    Form {
        /// Its place.
        sequence: Sequence,
        /// Why.
        #[source]
        source: FormError,
    },
    /// What was sealed cannot be unpacked.
    #[error("batch {sequence} cannot be unpacked")]
    Contents {
        /// Its place.
        sequence: Sequence,
        /// Why.
        #[source]
        source: BatchError,
    },
}

impl Opener {
    /// Opens what is sealed for this key.
    #[must_use]
    pub const fn new(secret: RecipientSecret) -> Self {
        Self {
            secret,
            keys: BTreeMap::new(),
        }
    }

    /// Takes the key of an epoch. Records of other kinds are passed over.
    ///
    /// # Errors
    /// If the epoch is not sealed for this recipient, or with another key than it says.
    pub fn learn(&mut self, record: &Record) -> Result<(), OpenError> {
        let claims = record.claims();
        let Body::Epoch(body) = &claims.body else {
            return Ok(());
        };
        let (session, epoch) = (claims.session, claims.epoch);
        let recipient = self.secret.recipient().id();
        let mut ours = body.recipients.iter();
        let key = ours
            .find(|wrapped| wrapped.recipient == recipient)
            .and_then(|wrapped| self.secret.unwrap(wrapped, &context(session, epoch)))
            .ok_or(OpenError::NotARecipient {
                session,
                epoch,
                recipient,
            })?;
        let (key, commitment) = derive(&key, session, epoch);
        if commitment != body.commitment {
            return Err(OpenError::OtherKey { session, epoch });
        }
        self.keys.insert((claims.agent, session, epoch), key);
        Ok(())
    }

    /// Opens a batch whose epoch was [learnt](Self::learn).
    ///
    /// # Errors
    /// If its key is missing, or the bytes are not what was sealed.
    pub fn open(&self, record: &Record) -> Result<Contents, OpenError> {
        let claims = record.claims();
        let (session, epoch, sequence) = (claims.session, claims.epoch, claims.sequence);
        let Body::Batch(body) = &claims.body else {
            return Err(OpenError::NotABatch(sequence));
        };
        let key = self
            .keys
            .get(&(claims.agent, session, epoch))
            .ok_or(OpenError::EpochNotSeen { session, epoch })?;
        let mut bytes = record.sealed().to_vec();
        let opened = key
            .open_in_place(
                nonce(sequence),
                Aad::from(record.encoded_claims()),
                &mut bytes,
            )
            .map_err(|_| OpenError::Tampered(sequence))?;
        let compressed = unpadded(opened).map_err(|source| OpenError::Form { sequence, source })?;
        Contents::unpack(body, compressed)
            .map_err(|source| OpenError::Contents { sequence, source })
    }
}

fn new_epoch(
    session: SessionId,
    epoch: Epoch,
    recipients: &[Recipient],
    began: WallNanos,
) -> Result<(LessSafeKey, EpochBody), SealError> {
    let secret: Zeroizing<[u8; 32]> = random()?;
    let context = context(session, epoch);
    let wrapped: Result<_, KeyError> = recipients
        .iter()
        .map(|recipient| recipient.wrap(&secret, &context))
        .collect();
    let (key, commitment) = derive(&secret, session, epoch);
    let body = EpochBody {
        began,
        commitment,
        suite: Suite::X25519,
        recipients: wrapped?,
    };
    Ok((key, body))
}

/// What an epoch's key is wrapped for, so that it cannot be passed off as another's.
fn context(session: SessionId, epoch: Epoch) -> Vec<u8> {
    let epoch = epoch.0.to_be_bytes();
    [b"tracer epoch 1\0".as_slice(), &session.0, &epoch].concat()
}

/// The key that seals batches, and a value that only this key leads to: AES-GCM alone would let one
/// ciphertext open under two keys to two texts.
fn derive(secret: &[u8; 32], session: SessionId, epoch: Epoch) -> (LessSafeKey, [u8; 32]) {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &context(session, epoch));
    let extracted = salt.extract(secret);
    let fixed = "HKDF-SHA256 gives 32 bytes to whoever asks for 32";
    let mut key = Zeroizing::new([0; 32]);
    let mut commitment = [0; 32];
    for (purpose, output) in [
        (b"batch key".as_slice(), key.as_mut_slice()),
        (b"commitment", commitment.as_mut_slice()),
    ] {
        let purpose = [purpose];
        let expanded = extracted.expand(&purpose, hkdf::HKDF_SHA256).expect(fixed);
        expanded.fill(output).expect(fixed);
    }
    let key = UnboundKey::new(&AES_256_GCM, key.as_slice());
    let key = key.expect("an AES-256 key has 32 bytes");
    (LessSafeKey::new(key), commitment)
}

/// A session's sequence is used once, and an epoch's key in one session alone.
fn nonce(sequence: Sequence) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&sequence.0.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The compressed events with their length, and for content with zeros behind them: the length of a
/// sealed batch must not tell that of a prompt. At most 12 % are added (Padmé,
/// <https://www.petsymposium.org/2019/files/papers/issue4/popets-2019-0056.pdf>, section 4).
fn padded(compressed: &[u8], stream: Stream) -> Vec<u8> {
    let mut to = Writer::default();
    to.sized(compressed);
    let mut bytes = to.finish();
    if stream == Stream::Content {
        bytes.resize(padme(bytes.len()), 0);
    }
    bytes
}

fn unpadded(bytes: &[u8]) -> Result<&[u8], FormError> {
    let mut from = Reader::new(bytes);
    from.sized(Record::MAX_SEALED, "the compressed events")
}

const fn padme(length: usize) -> usize {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let free_bits = exponent - (exponent.ilog2() + 1);
    let mask = (1 << free_bits) - 1;
    (length + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_adds_an_eighth_at_most_and_leaves_few_lengths() {
        let mut lengths = std::collections::BTreeSet::new();
        for length in 1..100_000 {
            let padded = padme(length);
            assert!(padded >= length && padded * 8 <= length * 9, "{length}");
            lengths.insert(padded);
        }
        assert!(lengths.len() < 250, "{}", lengths.len());
    }
}
