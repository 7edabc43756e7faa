//! Batches after they were opened: whatever a sealed batch held, it is unpacked within its limits, to
//! events or to an error that can be printed.
#![cfg_attr(fuzzing, no_main)]

use tracer_event::WallNanos;
use tracer_wire::{BatchBody, Contents, EventKind};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    // The first bytes say what the claims do: how long, and how many events.
    let Some(([a, b, c, events], compressed)) = bytes.split_first_chunk() else {
        return;
    };
    let kind = EventKind::new("inference.step").expect("it is a kind's name");
    let body = BatchBody {
        first: WallNanos(0),
        last: WallNanos(0),
        uncompressed: u32::from_be_bytes([0, *a, *b, *c]),
        kinds: [(kind, u32::from(*events))].into(),
        models: Vec::new(),
    };
    match Contents::unpack(&body, compressed) {
        Ok(contents) => {
            let held = contents.ndjson().len();
            assert_eq!(held, usize::try_from(body.uncompressed).expect("24 bits"));
            assert_eq!(contents.events().count(), usize::from(*events));
            for error in contents.events().filter_map(Result::err) {
                assert!(!error.to_string().is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
