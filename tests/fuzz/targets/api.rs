//! What comes over the collector's HTTPS port: bodies, certificate requests in them, parameters of a
//! query. All of it is read or refused, and nothing panics.
#![cfg_attr(fuzzing, no_main)]

use tracer_collector::fuzzing;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    fuzzing::body(bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        fuzzing::query(text);
        fuzzing::certificate_request(text);
    }
}
