//! The profiles of the small targets are profiles that the tracer accepts.

use anyhow::{Context, Result};
use tracer_tests::compile::SOURCES;

#[test]
fn the_small_targets_profiles_are_read() -> Result<()> {
    for name in [
        "dear.toml",
        "flood.toml",
        "held.toml",
        "operation.toml",
        "paced.toml",
        "panic.toml",
        "shapes.toml",
        "slices.toml",
        "stall.toml",
        "unwind.toml",
    ] {
        let text = std::fs::read_to_string(format!("{SOURCES}/{name}"))?;
        tracer_profile::read(name, &text).context(name)?;
    }
    Ok(())
}
