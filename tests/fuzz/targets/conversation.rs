//! What an agent says to a collector, whatever that is: no more is asked of the store than there were
//! credits for, and all of it is the agent's own.
#![cfg_attr(fuzzing, no_main)]

use tracer_collector::ingest::{Conversation, Request};
use tracer_wire::{AgentId, Frame, PROTOCOL};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

/// Records that may be sent before an answer.
const WINDOW: u32 = 3;

fn run(bytes: &[u8]) {
    let agent = AgentId([1; 32]);
    let mut conversation = Conversation::new(agent, WINDOW);
    let mut requests = Vec::new();
    let hello = Frame::Hello { version: PROTOCOL }.to_bytes();
    let greeted = conversation.receive(&hello, &mut requests);
    assert!(greeted.is_ok());
    for piece in bytes.chunks(1 + bytes.len() / 3) {
        if let Err(error) = conversation.receive(piece, &mut requests) {
            assert!(!error.to_string().is_empty());
            break;
        }
    }
    let mut records = 0;
    for request in requests {
        if let Request::Append(record) = request {
            assert_eq!(record.claims().agent, agent);
            records += 1;
        }
    }
    assert!(records <= WINDOW);
}
