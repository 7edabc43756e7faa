//! The agent's half of shipping: sealed records are kept on disk and handed to a collector until it
//! has stored them.
//!
//! [`spool`] keeps, [`sender`] decides what is said over a connection. Neither has a key, and neither
//! ever sees an event in the clear.
#![forbid(unsafe_code)]

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod oracle;
pub mod sender;
pub mod spool;
