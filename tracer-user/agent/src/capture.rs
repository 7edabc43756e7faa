//! The process that sees events: it seals them, signs them, and hands them to ship. It has the keys
//! and no network.

mod handing;
mod keys;
mod outbox;
mod sealing;

pub(crate) use self::keys::write_private;
pub use self::{
    handing::{Handing, Whom},
    keys::{CollectorKey, KeyFileError, load_or_make_key},
    outbox::{Counts, Outbox, ROOM},
    sealing::{Sealing, SealingCounts},
};
