//! usage: slices
//!
//! Calls one function for each way in which Rust passes text and slices, and reports what it passed:
//! the tracer must read the same.

use std::{
    hint::black_box,
    io::{self, Read, Write},
    process,
    time::Duration,
};

/// A pair of a pointer and a length travels in two registers.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn slice_text(text: &str, number: i32) -> usize {
    black_box(text).len() + black_box(number) as usize
}

#[unsafe(no_mangle)]
#[inline(never)]
pub fn slice_numbers(ids: &[i64], weights: &[f32], flags: &[u8]) -> usize {
    black_box(ids).len() + black_box(weights).len() + black_box(flags).len()
}

/// Behind a reference the pair lies in memory.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn slice_behind(text: &&str, words: &[&str], ids: &&[i64]) -> usize {
    black_box(text).len() + black_box(words).len() + black_box(ids).len()
}

#[unsafe(no_mangle)]
#[inline(never)]
#[expect(clippy::ptr_arg, reason = "how they lie in memory is what is looked at")]
pub fn slice_owned(text: &String, ids: &Vec<i64>, words: &Vec<String>) -> usize {
    black_box(text).len() + black_box(ids).len() + black_box(words).len()
}

fn tid() -> i32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    let tid = link.file_name().and_then(|name| name.to_str());
    tid.and_then(|tid| tid.parse().ok()).unwrap_or(0)
}

fn report(event: &str, more: &str) {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = uptime.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0.0);
    let time = Duration::from_secs_f64(seconds).as_nanos();
    let line = format!("{{\"ev\":\"{event}\",\"tid\":{},\"boot_ns\":{time}{more}}}\n", tid());
    if io::stdout().write_all(line.as_bytes()).is_err() {
        process::exit(71);
    }
}

fn wait(what: &str) {
    report("waiting", &format!(",\"for\":\"{what}\""));
    let mut byte = [0];
    while byte != *b"\n" {
        if !matches!(io::stdin().read(&mut byte), Ok(1)) {
            process::exit(72);
        }
    }
}

fn called(function: &str, values: &str) {
    report("call", &format!(",\"function\":\"{function}\",\"values\":{{{values}}}"));
}

fn main() {
    let pid = process::id();
    report("start", &format!(",\"pid\":{pid},\"uid\":0"));
    wait("call");
    let texts = ["", "x", "ein kurzer Text", "über zwanzig Zeichen und mehr als das"];
    for (turn, text) in texts.iter().enumerate() {
        black_box(slice_text(text, turn as i32));
        called("slice_text", &format!("\"text\":{text:?},\"number\":{turn}"));

        let ids: Vec<i64> = (0..turn as i64 * 3).map(|id| id * 1000 - 1).collect();
        let weights: Vec<f32> = (0..turn).map(|weight| weight as f32 / 8.0).collect();
        let flags = text.as_bytes();
        black_box(slice_numbers(&ids, &weights, flags));
        called(
            "slice_numbers",
            &format!("\"ids\":{ids:?},\"weights\":{weights:?},\"flags\":{flags:?}"),
        );

        let words = &texts[..=turn];
        black_box(slice_behind(text, words, &ids.as_slice()));
        called(
            "slice_behind",
            &format!("\"text\":{text:?},\"words\":{words:?},\"ids\":{ids:?}"),
        );

        let owned = (*text).to_owned();
        let list: Vec<String> = words.iter().map(ToString::to_string).collect();
        black_box(slice_owned(&owned, &ids, &list));
        called(
            "slice_owned",
            &format!(
                "\"text\":{owned:?},\"ids\":{ids:?},\"words\":{list:?},\"word_count\":{}",
                list.len()
            ),
        );
    }
    wait("end");
}
