//! The agent's half of shipping: sealed records are kept on disk and handed to a collector until it
//! has stored them.
//!
//! An agent is two processes. [`capture`] sees events, seals and signs them, and has no network;
//! ship has the network, keeps what is sealed in its [`spool`], and hands it to a collector as
//! [`sender`] says. Over their [`link`] go records, and questions for signatures: the spool, the
//! sender and ship have no key that signs, and never see an event in the clear.
#![forbid(unsafe_code)]

pub mod capture;
pub mod config;
pub mod confine;
#[cfg(test)]
mod fixture;
pub mod folder;
pub mod journal;
pub mod link;
#[cfg(test)]
mod oracle;
pub mod pinned;
pub mod sender;
pub mod ship;
pub mod signals;
pub mod spool;
pub mod status;
pub mod supervise;
