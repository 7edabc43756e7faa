//! Ring records: whatever bytes a ring holds, parsing ends and stays inside them.
#![cfg_attr(fuzzing, no_main)]

use tracer_abi::{Chunk, Exec, Exit, Fork, RecordHeader};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    let Ok((header, rest)) = RecordHeader::parse(bytes) else {
        return;
    };
    let _ = (header.record_kind(), header.call_phase(), Exec::parse(rest));
    let _ = (Exit::parse(rest), Fork::parse(rest));
    let mut tail = rest;
    for _ in 0..header.chunk_count {
        let Ok((chunk, content, after)) = Chunk::parse(tail) else {
            return;
        };
        assert_eq!(content.len(), usize::from(chunk.length));
        assert!(after.len() < tail.len());
        let _ = chunk.chunk_status();
        tail = after;
    }
}
