//! `tracer profile`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use tracer_abi::CaptureLevel;

use super::{CONTENT_LIMIT, level_of};
use crate::arguments::{
    quantity,
    typed::{self, DocumentFormat, ListFormat},
};

/// `tracer profile`.
#[derive(Debug)]
pub(crate) enum Profile {
    List(ListFormat, Vec<PathBuf>),
    Show(PathBuf, DocumentFormat),
    Check(Check),
}

/// `tracer profile check`.
#[derive(Debug)]
pub(crate) struct Check {
    /// A file, or a built-in profile's name.
    pub(crate) profile: PathBuf,
    pub(crate) subject: Subject,
    pub(crate) format: DocumentFormat,
}

/// What a profile is checked against.
#[derive(Debug)]
pub(crate) enum Subject {
    /// Nothing: it only has to compile.
    Nothing,
    Binary(PathBuf),
    Process(Live),
}

/// A process, one call of each probe in it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) pid: u32,
    pub(crate) level: CaptureLevel,
    /// The longest to wait.
    pub(crate) duration: Duration,
    pub(crate) policy: Option<PathBuf>,
}

/// Decides what the typed arguments mean.
///
/// # Errors
/// If a number or time cannot be read.
pub(super) fn resolve(typed: typed::Profile) -> Result<Profile> {
    Ok(match typed.command {
        typed::ProfileCommand::List(typed::ProfileList { output, profiles }) => {
            Profile::List(output, profiles.profile)
        }
        typed::ProfileCommand::Show(typed::ProfileShow { profile, output }) => {
            Profile::Show(profile, output)
        }
        typed::ProfileCommand::Check(check) => Profile::Check(resolve_check(check)?),
    })
}

fn resolve_check(typed: typed::ProfileCheck) -> Result<Check> {
    let typed::ProfileCheck {
        profile,
        binary,
        pid,
        capture,
        duration,
        policy,
        output,
    } = typed;
    let pid = pid.as_deref().map(quantity::pid).transpose();
    let subject = match (binary, pid.context("--pid")?) {
        (Some(binary), _) => Subject::Binary(binary),
        (None, None) => Subject::Nothing,
        (None, Some(pid)) => {
            let duration = quantity::duration(&duration).context("--duration")?;
            ensure!(
                duration <= CONTENT_LIMIT,
                "--duration {} is too long: a check watches for at most {}",
                quantity::typed_duration(duration),
                quantity::typed_duration(CONTENT_LIMIT),
            );
            Subject::Process(Live {
                pid,
                level: level_of(capture),
                duration,
                policy,
            })
        }
    };
    Ok(Check {
        profile,
        subject,
        format: output,
    })
}
