//! Profiles of real runtimes read the right values from the real libraries. Needs root and BPF.

use std::fs;

use anyhow::{Context, Result};
use tracer_tests::{cache::Cache, calls::read_as_passed, requires_root, workload::Target};

/// The profiles that the profile crate's own tests compile.
const PROFILES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tracer-user/profile/tests/runtimes"
);

#[test]
fn whisper_cpp_tells_its_model_and_how_much_sound_it_was_given() -> Result<()> {
    requires_root!();
    reads(Target::Whisper, "whisper.toml")
}

#[test]
fn tokenizers_tell_the_prompts_text_however_rust_mangled_their_names() -> Result<()> {
    requires_root!();
    reads(Target::Tokenizers, "tokenizers.toml")?;
    reads(Target::TokenizersLegacy, "tokenizers.toml")
}

fn reads(target: Target, profile: &str) -> Result<()> {
    let command = target.command(&Cache::open()?, &[])?;
    let text = fs::read_to_string(format!("{PROFILES}/{profile}")).context(profile.to_owned())?;
    read_as_passed(command, &text)
}
