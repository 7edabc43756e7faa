//! Searching for what must not leave: whatever a text holds, the findings lie on it, sorted and
//! apart, and a second search finds the same.
#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use tracer_redact::detect::{Detectors, Limits, lexical};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

static DETECTORS: LazyLock<Detectors> = LazyLock::new(Detectors::builtin);

fn run(bytes: &[u8]) {
    for is_whole in [true, false] {
        let limits = Limits {
            is_whole,
            ..Limits::default()
        };
        let Ok(findings) = DETECTORS.scan(bytes, &limits) else {
            continue;
        };
        for finding in &findings {
            assert!(!finding.range.is_empty());
            assert!(finding.range.end <= bytes.len());
        }
        for pair in findings.windows(2) {
            assert!(pair[0].range.end <= pair[1].range.start);
        }
        assert_eq!(DETECTORS.scan(bytes, &limits), Ok(findings));
    }
    let words = lexical::uncommon(bytes);
    for pair in words.windows(2) {
        assert!(pair[0].end <= pair[1].start);
    }
    assert!(words.iter().all(|word| word.end <= bytes.len()));
}
