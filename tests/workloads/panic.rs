//! usage: panic ROUNDS
//!
//! Rust panics that start in a probed function, pass through it, start above it and are caught in it.
//! It counts what became of each call and fails when a value was not dropped while it unwound.

use std::{
    env,
    hint::black_box,
    io::{self, Read},
    panic::{self, AssertUnwindSafe, catch_unwind},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Something to clean up: the frame that owns it has a landing pad.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

#[inline(never)]
fn below(n: u64, panics: bool) -> u64 {
    if panics {
        panic::panic_any(n);
    }
    black_box(n) * 3 + 1
}

/// The panic passes through.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn panic_through(n: u64, panics: bool) -> u64 {
    let _guard = black_box(Guard);
    below(n, panics) + 1
}

/// The panic starts here.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn panic_inside(n: u64, panics: bool) -> u64 {
    let _guard = black_box(Guard);
    assert!(!black_box(panics), "inside {n}");
    below(n, false)
}

/// The panic ends here.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn panic_caught(n: u64, panics: bool) -> u64 {
    catch_unwind(|| below(n, panics)).unwrap_or(1)
}

#[inline(never)]
fn above(function: fn(u64, bool) -> u64, n: u64) -> u64 {
    let result = black_box(function(n, false));
    if result > 0 {
        panic::panic_any(result);
    }
    result
}

/// Calls with and without a panic below, then a panic above; returns (entered, returned, unwound).
#[inline(never)]
fn call_in_every_way(function: fn(u64, bool) -> u64, n: u64, catches: bool) -> (u64, u64, u64) {
    let (mut returned, mut unwound) = (0, 0);
    for panics in [false, true] {
        match catch_unwind(AssertUnwindSafe(|| black_box(function)(n, panics))) {
            Ok(_) => returned += 1,
            Err(_) => unwound += 1,
        }
    }
    let arrived = catch_unwind(AssertUnwindSafe(|| above(function, n))).is_err();
    returned += 1;
    if !arrived || unwound != u64::from(!catches) {
        eprintln!("panic: a panic was lost");
        process::exit(65);
    }
    (3, returned, unwound)
}

fn report(event: &str, fields: &str) {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    println!("{{\"ev\":\"{event}\",\"tid\":{},\"boot_ns\":{}{fields}}}", process::id(), (seconds * 1e9) as u64);
}

fn report_and_wait(what: &str) {
    report("waiting", &format!(",\"for\":\"{what}\""));
    let mut byte = [0];
    while byte != *b"\n" {
        if io::stdin().read_exact(&mut byte).is_err() {
            process::exit(72);
        }
    }
}

fn main() {
    let rounds: u64 = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    panic::set_hook(Box::new(|_| {}));
    report("start", &format!(",\"pid\":{},\"uid\":0", process::id()));
    report_and_wait("panic");
    let functions: [(&str, fn(u64, bool) -> u64, bool); 3] =
        [("panic_through", panic_through, false), ("panic_inside", panic_inside, false), ("panic_caught", panic_caught, true)];
    let mut counts = [(0, 0, 0); 3];
    for n in 1..=rounds {
        for ((_, function, catches), count) in functions.iter().zip(&mut counts) {
            let (entered, returned, unwound) = call_in_every_way(*function, n, *catches);
            *count = (count.0 + entered, count.1 + returned, count.2 + unwound);
        }
    }
    // A call that was left is known to be over when its function is called from farther up the stack.
    for ((_, function, _), count) in functions.iter().zip(&mut counts) {
        black_box(black_box(*function)(1, false));
        *count = (count.0 + 1, count.1 + 1, count.2);
    }
    let dropped = DROPPED.load(Ordering::Relaxed);
    if dropped != counts[0].0 + counts[1].0 {
        eprintln!("panic: {dropped} guards were dropped");
        process::exit(66);
    }
    let fields: Vec<String> = functions
        .iter()
        .zip(counts)
        .map(|((name, _, _), (entered, returned, unwound))| {
            format!("\"{name}\":{{\"entered\":{entered},\"returned\":{returned},\"unwound\":{unwound}}}")
        })
        .collect();
    report("counts", &format!(",\"functions\":{{{}}},\"checksum\":{dropped}", fields.join(",")));
    report_and_wait("end");
}
