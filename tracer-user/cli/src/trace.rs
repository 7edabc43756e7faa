//! `tracer trace`: follows running models and those that start meanwhile.

mod settings;

use std::io::{self, Write};

use anyhow::{Context, Result};

use self::settings::Settings;
use crate::{arguments::meant, consent::ceiling, outcome::Outcome};

/// Traces until a signal, the duration, or the selected processes' end.
///
/// # Errors
/// If the host does not allow it, a file cannot be read, or an output could not be written.
pub(crate) fn run(arguments: meant::Trace) -> Result<Outcome> {
    let settings = Settings::read(arguments)?;
    if settings.arguments.print_only {
        write!(io::stdout(), "{settings}").context("write to standard output")?;
        return Ok(Outcome::Something);
    }
    ceiling::permit(settings.arguments.level)?;
    todo!()
}
