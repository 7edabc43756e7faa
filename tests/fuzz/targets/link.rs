//! The socket between capture and ship: whatever a process that was taken over says is a message that is
//! written back as it was read, or an error that can be printed; and what ship has signed is a gap.
#![cfg_attr(fuzzing, no_main)]

use tracer_agent::link::{self, FromCapture, FromShip, Message};
use tracer_wire::Body;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(mut bytes: &[u8]) {
    let mut same = bytes;
    while let Some(message) = next::<FromShip>(&mut bytes) {
        if let FromShip::SignGap { gap, .. } = message {
            assert!(matches!(gap.claims().body, Body::Gap(_)));
        }
    }
    while next::<FromCapture>(&mut same).is_some() {}
}

fn next<M: Message + PartialEq + std::fmt::Debug>(bytes: &mut &[u8]) -> Option<M> {
    match link::read::<M>(bytes) {
        Ok(message) => {
            let again = M::decode(&message.encode()).expect("what was written can be read");
            assert_eq!(again, message);
            Some(message)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
