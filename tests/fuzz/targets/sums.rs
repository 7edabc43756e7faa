//! Lists of digests: any bytes are a list whose names stay inside a model, or an error.
#![cfg_attr(fuzzing, no_main)]

use tracer_integrity::sums;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    match sums::parse(bytes) {
        Ok(sums) => {
            for name in sums.keys() {
                assert!(!name.starts_with('/') && name.split('/').all(|part| part != ".."));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
