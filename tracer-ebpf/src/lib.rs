//! What both halves share.
#![no_std]
#![forbid(unsafe_code)]
