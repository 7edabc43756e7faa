//! A program that sleeps in the middle of a read keeps its scratch memory to itself. Needs root, BPF
//! and userfaultfd.

#[expect(dead_code, reason = "this file needs a part of it")]
mod workload;

use tracer_abi::{CaptureLevel, Chunk, RecordHeader};
use tracer_probe::{Config, Observation, Selection, features::Features};

use workload::{Running, Seen, alone, compile, config, start};

const FAST_CALLS: u64 = 100_000;
const SLOW_LENGTH: u64 = 150;
const SLOW_BYTE: u8 = b'S';
const FAST_BYTE: u8 = b'F';
const LONGEST: u64 = 192;

/// A record: the number of the call and the bytes it was given.
struct Call {
    pid: u32,
    number: u64,
    text: Vec<u8>,
    header: RecordHeader,
}

#[test]
fn no_record_holds_a_byte_of_a_process_that_was_stalled_on_the_same_cpu() {
    let _alone = alone();
    // Asked before: while a program is held, nothing can be detached.
    let sleeps = Features::detect().sleepable.works();
    let program = compile("stall.c", "stall");
    let mut slow = Running::start(&program, &["slow", &SLOW_LENGTH.to_string()]);
    let mut fast = Running::start(&program, &["fast", &FAST_CALLS.to_string()]);
    let (slow_pid, fast_pid) = (slow.pid(), fast.pid());
    let config = Config {
        level: CaptureLevel::Text,
        ring_bytes: 64 << 20,
        ..config("stall.toml", Selection::Pids(vec![slow_pid, fast_pid]))
    };
    let Some(mut supervisor) = start(config) else {
        slow.kill();
        return fast.kill();
    };
    let mut seen = Seen::default();
    seen.until(&mut supervisor, |seen| {
        seen.found(slow_pid) && seen.found(fast_pid)
    });

    slow.go();
    if sleeps {
        // The probe's read is held now, and with it its scratch slot.
        slow.until("waiting");
    }
    fast.go();
    let mut calls = Vec::new();
    while calls.len() < FAST_CALLS as usize {
        take(&mut supervisor, &mut calls);
    }
    fast.until("counts");
    assert!(
        calls.iter().all(|call| call.pid == fast_pid),
        "the stalled call is still held"
    );
    slow.go();
    slow.until("counts");
    while calls.len() <= FAST_CALLS as usize {
        take(&mut supervisor, &mut calls);
    }
    slow.finish();
    fast.finish();
    supervisor.stop().expect("rings are readable");

    for call in &calls {
        let (byte, length) = if call.pid == slow_pid {
            assert_eq!(call.number, u64::MAX);
            (SLOW_BYTE, SLOW_LENGTH)
        } else {
            assert_eq!(call.pid, fast_pid);
            (FAST_BYTE, 1 + call.number % LONGEST)
        };
        assert_eq!(call.text.len() as u64, length, "call {}", call.number);
        assert!(
            call.text.iter().all(|&other| other == byte),
            "call {}",
            call.number
        );
    }
    let mut fast_calls: Vec<&Call> = calls.iter().filter(|call| call.pid == fast_pid).collect();
    fast_calls.sort_by_key(|call| call.number);
    for (expected, call) in fast_calls.iter().enumerate() {
        let before = fast_calls[expected.saturating_sub(1)];
        assert_eq!(
            call.number, expected as u64,
            "{:?} after {:?}",
            call.header, before.header
        );
    }
    assert_eq!(fast_calls.len() as u64, FAST_CALLS);
}

fn take(supervisor: &mut tracer_probe::Supervisor, calls: &mut Vec<Call>) {
    let observations = supervisor
        .next(std::time::Duration::from_millis(100))
        .expect("rings are readable");
    for observation in observations {
        match observation {
            Observation::Records(batch) => calls.extend(batch.iter().map(call)),
            Observation::Loss(loss) if loss.reason.loses_record() => panic!("{loss:?}"),
            _ => {}
        }
    }
}

/// `size` is the first slot; the text is the only chunk.
fn call(record: &[u8]) -> Call {
    let (header, body) = RecordHeader::parse(record).expect("records are whole");
    let slots = usize::from(header.value_count) * 8;
    let number = u64::from_le_bytes(*body.first_chunk().expect("it has a slot"));
    let (_, text, rest) = Chunk::parse(&body[slots..]).expect("it has a chunk");
    assert!(rest.is_empty() && header.chunk_count == 1);
    Call {
        pid: header.pid,
        number,
        text: text.to_vec(),
        header,
    }
}
