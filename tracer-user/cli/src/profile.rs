//! `tracer profile`: what profiles there are, what they read, and what they find.

mod checked;
mod live;
mod view;

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use tracer_probe::{
    features::{Host, Obstacle},
    survey::{examine, survey},
};
use tracer_profile::{Catalogue, Profile};

use self::checked::{Checked, CheckedLibrary};
use crate::{
    arguments::{
        meant::profile::{self as meant, Check, Subject},
        typed::{DocumentFormat, ListFormat},
    },
    outcome::Outcome,
    profiles,
    text::Palette,
    trouble::Trouble,
};

/// Lists, shows or checks.
///
/// # Errors
/// If a profile or binary cannot be read, or the host does not allow what was asked for.
pub(crate) fn run(arguments: &meant::Profile) -> Result<Outcome> {
    match arguments {
        meant::Profile::List(format, files) => {
            let profiles = profiles::load(files)?;
            let listed: Vec<Summary> = profiles.iter().map(Summary::of).collect();
            let text = match format {
                ListFormat::Pretty => view::list(&listed, palette()),
                ListFormat::Json => json(&listed)?,
                ListFormat::Ndjson => {
                    let lines: Result<Vec<String>, _> =
                        listed.iter().map(serde_json::to_string).collect();
                    lines?.into_iter().map(|line| line + "\n").collect()
                }
            };
            say(&text)?;
            Ok(Outcome::Something)
        }
        meant::Profile::Show(profile, format) => {
            let checked = Checked::without_library(&read(profile)?);
            say_checked(&checked, *format)?;
            Ok(Outcome::Something)
        }
        meant::Profile::Check(check) => self::check(check),
    }
}

fn check(arguments: &Check) -> Result<Outcome> {
    let profile = read(&arguments.profile)?;
    let checked = match &arguments.subject {
        Subject::Nothing => Checked::without_library(&profile),
        Subject::Binary(path) => {
            let Some(examined) = examine(&profile, path)? else {
                let functions: Vec<String> =
                    profile.recognise.iter().map(ToString::to_string).collect();
                return Err(Trouble::new(
                    format!(
                        "{} has none of the functions by which the profile knows its runtime: {}",
                        path.display(),
                        functions.join(", ")
                    ),
                    "see `recognise` in the profile, or give the library that has them",
                )
                .into());
            };
            let library = CheckedLibrary::examined(&profile, path, &examined);
            Checked::with(&profile, vec![library])
        }
        Subject::Process(live) => {
            if !Host::read().initial_pid_namespace {
                return Err(anyhow!(Obstacle::PidNamespace).context("cannot look into processes"));
            }
            let found = survey(std::slice::from_ref(&profile), Some(live.pid), true);
            if let Some((pid, reason)) = found.unreadable.first() {
                bail!("cannot look at process {pid}: {reason}");
            }
            let libraries = found.runtimes.iter();
            let libraries: Vec<_> = libraries
                .map(|surveyed| CheckedLibrary::surveyed(&profile, surveyed))
                .collect();
            let mut checked = Checked::with(&profile, libraries);
            if checked.resolved() > 0 {
                checked.take_calls(live::watch(&profile, &checked, live)?);
            }
            checked
        }
    };
    say_checked(&checked, arguments.format)?;
    let is_found = matches!(arguments.subject, Subject::Nothing) || checked.resolved() > 0;
    Ok(match is_found {
        true => Outcome::Something,
        false => Outcome::Nothing,
    })
}

/// The built-in profile of a name, those on request among them, else the one in a file.
fn read(named: &Path) -> Result<Profile> {
    let mut catalogue = Catalogue::built_in();
    Catalogue::on_request().for_each(|name| {
        catalogue.add_on_request(name);
    });
    let built_in = catalogue.into_profiles();
    if let Some(name) = named.to_str().filter(|_| !named.exists()) {
        let known: Vec<&str> = built_in.iter().map(|one| one.name.as_str()).collect();
        let known = known.join(", ");
        let found = built_in.into_iter().find(|one| one.name == name);
        return found.ok_or_else(|| {
            let what = format!("there is no file {name}, and no built-in profile of that name");
            Trouble::new(what, format!("built in are: {known}")).into()
        });
    }
    let mut catalogue = Catalogue::built_in();
    let before: Vec<Profile> = catalogue.profiles().to_vec();
    catalogue.add_file(named)?;
    // The file's own profile is the one that is new or changed: an extension changes a built-in one.
    let mut all = catalogue.into_profiles();
    let changed = all.iter().position(|one| !before.contains(one));
    match changed {
        Some(place) => Ok(all.swap_remove(place)),
        // The file says what a built-in profile says already.
        None => Ok(all.swap_remove(0)),
    }
}

/// A profile in a list.
#[derive(Debug, Serialize)]
struct Summary {
    name: String,
    runtime: String,
    /// Probes, each with its layouts counted once.
    probes: usize,
    /// What the profile knows its runtime by.
    recognise: Vec<String>,
}

impl Summary {
    fn of(profile: &Profile) -> Self {
        let probes = profile.probes.chunk_by(|a, b| a.name == b.name).count();
        Self {
            name: profile.name.clone(),
            runtime: profile.runtime.clone(),
            probes,
            recognise: profile.recognise.iter().map(ToString::to_string).collect(),
        }
    }
}

fn say_checked(checked: &Checked, format: DocumentFormat) -> Result<()> {
    say(&match format {
        DocumentFormat::Pretty => view::checked(checked, palette()),
        DocumentFormat::Json => json(checked)?,
    })
}

fn palette() -> Palette {
    Palette::for_stream(&io::stdout())
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn say(text: &str) -> Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")
}
