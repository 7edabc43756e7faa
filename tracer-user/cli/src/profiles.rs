//! The profiles of a run: the built-in ones and those that the user brought.

use std::{iter, path::PathBuf, sync::Arc};

use anyhow::Result;
use tracer_pipeline::ProbeSource;
use tracer_probe::observation::ProbeId;
use tracer_profile::{Catalogue, Probe, Profile};

use crate::trouble::Trouble;

/// Built-in profiles with what was asked for added or in their place: a built-in one that is there
/// on request, by its name, or a file's.
///
/// # Errors
/// If a file cannot be read or is not a profile.
pub(crate) fn load(files: &[PathBuf]) -> Result<Vec<Profile>> {
    let mut catalogue = Catalogue::built_in();
    for file in files {
        let on_request = file
            .to_str()
            .is_some_and(|name| catalogue.add_on_request(name));
        if !on_request {
            catalogue.add_file(file)?;
        }
    }
    Ok(catalogue.into_profiles())
}

/// Refuses a runtime that no profile is for: such a run would wait for ever.
///
/// # Errors
/// If no profile's runtime has this name.
pub(crate) fn known_runtime(name: &str, profiles: &[Profile]) -> Result<(), Trouble> {
    if profiles
        .iter()
        .any(|profile| profile.runtime == name || profile.name == name)
    {
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

/// What a survey or a run recognises runtimes by, a line each.
pub(crate) fn looked_for(profiles: &[Profile]) -> String {
    let mut text = String::from("  looked for:\n");
    for profile in profiles {
        let functions: Vec<String> = profile.recognise.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "    {}: {}\n",
            profile.runtime,
            functions.join(", ")
        ));
    }
    text.push_str("  another runtime can be added with --profile FILE\n");
    text
}

/// Probes by the number that the supervisor gives them: through all profiles, in their order.
#[derive(Debug)]
pub(crate) struct Numbered(pub(crate) Arc<[Profile]>);

impl ProbeSource for Numbered {
    fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        numbered(&self.0, id)
    }
}

/// The probe of a number.
pub(crate) fn numbered(profiles: &[Profile], id: ProbeId) -> Option<(&Profile, &Probe)> {
    let mut probes = profiles
        .iter()
        .flat_map(|profile| iter::repeat(profile).zip(&profile.probes));
    probes.nth(id.0.into())
}
