//! The project's own build steps.
#![forbid(unsafe_code)]

fn main() {}
