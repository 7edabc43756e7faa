//! The BPF programs; empty for any other target.
fn main() {}
