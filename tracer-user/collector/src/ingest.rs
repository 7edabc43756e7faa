//! The conversation with agents, and what becomes of their records.
//!
//! A [`Conversation`] is one connection, without the socket: bytes in, bytes out. What it asks for
//! goes to the [`Committer`], the one thread that writes: it takes all that is waiting at once, so
//! that many connections share each wait for the disk. A record is acknowledged when the store has
//! said that it is on the disk, never before.

mod committer;
mod conversation;
#[cfg(test)]
mod tests;

pub(crate) use committer::now;
pub use committer::{Answer, Committer, Committing, Job};
pub use conversation::{Conversation, ConversationError, Request};
