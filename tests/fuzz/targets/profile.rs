//! Profiles: any text is a profile, an extension of one, or an error that can be printed.
#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use tracer_profile::Catalogue;

static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(Catalogue::built_in);

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
    if let Err(error) = BUILT_IN.clone().add_text("fuzz.toml", text) {
        assert!(!error.to_string().is_empty());
    }
}
