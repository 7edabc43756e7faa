//! Text in pieces: any bytes, cut and ordered in any way, with gaps and tokens taken back, end in
//! parts whose ids are as many as what was told.
#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use tracer_redact::{CaptureLevel, Engine, Passage, Policy, RunKey, Token, Way};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let policy = Policy::parse("[fields]\ntext = \"scan\"").expect("it is a policy");
    Engine::new(policy, CaptureLevel::Text, RunKey::new([1; 32])).expect("it has no rules")
});

fn run(mut bytes: &[u8]) {
    let mut passage = Passage::new();
    let mut id = 0;
    while let Some(([order, length], rest)) = bytes.split_first_chunk() {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(length & 31)));
        bytes = after;
        id += 1;
        let position = i32::from(order >> 3);
        let token = Token {
            id,
            bytes: (order & 7 != 7).then_some(piece),
            position: (order & 7 != 6).then_some(position),
            log_probability: None,
        };
        match order & 7 {
            0..=2 => passage.push(Way::Input, token, &ENGINE),
            3 => passage.remove_from(position),
            4 => passage.gap(),
            5 => drop(passage.finish(&ENGINE)),
            _ => passage.push(Way::Output, token, &ENGINE),
        }
    }
    for part in passage.finish(&ENGINE) {
        for half in [part.input, part.output] {
            let ids = serde_json::to_value(&half.ids).expect("it is JSON");
            assert!(
                ids.as_array()
                    .is_none_or(|ids| ids.len() == half.positions.len())
            );
        }
    }
}
