//! The profiles of a run: the built-in ones and those that the user brought.

use std::path::PathBuf;

use anyhow::Result;
use tracer_profile::{Catalogue, Profile};

use crate::trouble::Trouble;

/// Built-in profiles with the files' added or in their place.
///
/// # Errors
/// If a file cannot be read or is not a profile.
pub(crate) fn load(files: &[PathBuf]) -> Result<Vec<Profile>> {
    let mut catalogue = Catalogue::built_in();
    for file in files {
        catalogue.add_file(file)?;
    }
    Ok(catalogue.into_profiles())
}

/// Refuses a runtime that no profile is for: such a run would wait for ever.
///
/// # Errors
/// If no profile's runtime has this name.
pub(crate) fn known_runtime(name: &str, profiles: &[Profile]) -> Result<(), Trouble> {
    if profiles.iter().any(|profile| profile.runtime == name) {
        return Ok(());
    }
    let known: Vec<&str> = profiles
        .iter()
        .map(|profile| profile.runtime.as_str())
        .collect();
    Err(Trouble::new(
        format!("--runtime {name}: no profile is for this runtime"),
        format!(
            "known runtimes: {}; add another with --profile FILE",
            known.join(", ")
        ),
    ))
}
