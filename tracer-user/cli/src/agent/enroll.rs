//! `tracer agent enroll`: puts a token where ship finds it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, fchown, lchown},
    path::Path,
};

use anyhow::{Context, Result};
use tracer_agent::{config::AgentConfig, folder};
use tracer_wire::enrolment::EnrolmentToken;

use crate::{outcome::Outcome, text::printable, trouble::Trouble};

/// Bytes that a token may have.
const LIMIT: u64 = 4096;

/// Checks the token, and writes it for ship's user alone.
///
/// # Errors
/// If it is no token, or cannot be written.
pub(super) fn run(config: &AgentConfig, typed: &str) -> Result<Outcome> {
    let mut text = typed.to_owned();
    if typed == "-" {
        text.clear();
        let input = io::stdin().lock().take(LIMIT);
        { input }
            .read_to_string(&mut text)
            .context("read the token from standard input")?;
    }
    let token: EnrolmentToken = text.parse().map_err(|error| {
        Trouble::new(
            format!("--token: {error}"),
            "copy it whole, as `tracer-collector token new` printed it",
        )
    })?;
    let (user, group) = config.ship_user()?;
    let path = config.token_file();
    write(&path, &token, user, group).with_context(|| {
        format!(
            "write the token to {}; enrolling needs root",
            path.display()
        )
    })?;
    let _ = writeln!(
        io::stdout(),
        "The agent enrols with the collector at {}; tracer agent status tells how it goes.",
        printable(&token.collector)
    );
    Ok(Outcome::Something)
}

fn write(path: &Path, token: &EnrolmentToken, user: u32, group: u32) -> io::Result<()> {
    if let Some(folder) = path.parent()
        && !folder.exists()
    {
        folder::make(folder, 0o700)?;
        lchown(folder, Some(user), Some(group))?;
    }
    // Ship's user owns the folder and could have put a link there: the draft is new or nothing.
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    fchown(&file, Some(user), Some(group))?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
