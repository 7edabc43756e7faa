//! Frames and the records in them: whatever arrives is read the same however it was cut, or is an
//! error that can be printed, and nothing that nobody signed is taken.
#![cfg_attr(fuzzing, no_main)]

use tracer_wire::{Frame, FrameReader, Verifier};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    let whole = read(bytes, bytes.len().max(1));
    let cut = read(bytes, 1 + bytes.len() / 3);
    assert_eq!(whole, cut);
    for frame in whole {
        let encoded = frame.to_bytes();
        assert_eq!(read(&encoded, encoded.len()), std::slice::from_ref(&frame));
        if let Frame::Record(record) = frame {
            let taken = Verifier::of(record.claims()).accept(&record, |_| None);
            assert!(taken.is_err() || record.is_signed());
        }
    }
}

fn read(bytes: &[u8], piece: usize) -> Vec<Frame> {
    let mut reader = FrameReader::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return frames;
                }
            }
        }
    }
    frames
}
