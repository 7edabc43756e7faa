//! What leaves a host: batches of events, sealed for those who may read them, signed and chained by
//! the agent, and the frames in which agent and collector speak of them.
//!
//! A [`BatchBuilder`] collects redacted events of one [`Stream`]; a [`Sealer`] makes of each
//! [`Batch`] a [`Record`] of its session. A record's [`Claims`] are in the clear and signed: whose it
//! is, where in its session it stands, which record came before, how many events of which kinds it
//! holds. Its events are sealed under the epoch's key, which is wrapped by HPKE for each recipient.
//! A [`Verifier`] follows a session without any key and names what was changed, reordered, left out,
//! repeated or cut off; an [`Opener`] has a recipient's key. What was dropped on the way has a
//! [`Gap`] in its place, signed like everything else.
//!
//! The room is pure: bytes in, bytes out. It never sees content that has not passed redaction.
//! `docs/wire.md` describes the form.
#![forbid(unsafe_code)]

mod batch;
mod chain;
mod claims;
pub mod enrolment;
mod frame;
mod identity;
mod key;
mod octets;
mod record;
mod seal;
#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchBuilder, BatchError, Contents};
pub use chain::{Accepted, ChainError, Position, Verifier};
pub use claims::{BatchBody, Body, Claims, EpochBody, EventKind, GapBody, GapReason};
pub use frame::{Frame, FrameReader, PROTOCOL, Refusal};
pub use identity::{AgentId, Epoch, ParseIdentityError, RecordHash, Sequence, SessionId, Stream};
pub use key::{KeyError, Recipient, RecipientId, RecipientSecret, SigningKey, Suite, Wrapped};
pub use octets::FormError;
pub use record::{Gap, Record};
pub use seal::{OpenError, Opener, SealError, Sealed, Sealer};
