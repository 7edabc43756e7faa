//! Model file headers: whatever a file holds, it is a header or an error that says where.
#![cfg_attr(fuzzing, no_main)]

use tracer_pipeline::snapshot::gguf::{Header, Want};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    let _ = Header::read(bytes, Want::Pieces);
}
