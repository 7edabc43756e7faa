//! Signed statements: any bytes are a manifest whose names stay inside a model, or an error.
#![cfg_attr(fuzzing, no_main)]

use tracer_integrity::{expected::Expected, oms::Manifest};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    let Ok(manifest) = Manifest::read_unverified(bytes) else {
        return;
    };
    for resource in manifest.resources() {
        let mut names = resource.path.split('/');
        assert!(!resource.path.starts_with('/') && names.all(|name| name != ".."));
    }
    let files = Expected::of_manifest(&manifest, Some("only")).files().len();
    assert!((1..=manifest.resources().len()).contains(&files));
}
