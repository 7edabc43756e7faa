//! Placeholder until its owner writes it.
#![forbid(unsafe_code)]
