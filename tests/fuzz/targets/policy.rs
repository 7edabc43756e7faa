//! Policies: any text is a policy, which then prints as one that means the same, or an error that
//! names its line.
#![cfg_attr(fuzzing, no_main)]

use tracer_redact::Policy;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match Policy::parse(text) {
        Ok(policy) => {
            let again = Policy::parse(&policy.to_string());
            assert!(again.is_ok_and(|again| again.digest() == policy.digest()));
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.line() <= text.lines().count() + 1);
        }
    }
}
