//! `tracer key`: the keys of those who may read content.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context, Result};
use tracer_wire::RecipientSecret;

use crate::{
    arguments::typed::{DocumentFormat, Key},
    outcome::Outcome,
    trouble::Trouble,
};

/// Makes or shows a key.
///
/// # Errors
/// If the file cannot be written or read, or exists already.
pub(crate) fn run(arguments: &Key) -> Result<Outcome> {
    let (secret, file, format) = match arguments {
        Key::New { file, output } => (create(file)?, file, *output),
        Key::Show { file, output } => (read(file)?, file, *output),
    };
    let recipient = secret.recipient();
    let text = match format {
        DocumentFormat::Pretty => format!("{recipient}\n"),
        DocumentFormat::Json => {
            let id = recipient.id().to_string();
            let file = file.display().to_string();
            let document = serde_json::json!({ "recipient": recipient, "id": id, "file": file });
            format!("{document}\n")
        }
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")?;
    Ok(Outcome::Something)
}

fn create(file: &Path) -> Result<RecipientSecret> {
    let secret = RecipientSecret::generate().context("make a key")?;
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let mut to = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let what = format!("{} exists already", file.display());
            let remedy = "give another name: a key that is overwritten is lost for good";
            return Err(Trouble::new(what, remedy).into());
        }
        opened => opened.with_context(|| format!("create {}", file.display()))?,
    };
    to.write_all(secret.to_text().as_bytes())
        .and_then(|()| to.sync_all())
        .with_context(|| format!("write {}", file.display()))?;
    Ok(secret)
}

/// The key in a file.
///
/// # Errors
/// If there is none.
pub(crate) fn read(file: &Path) -> Result<RecipientSecret> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let text = zeroize::Zeroizing::new(text);
    RecipientSecret::parse(&text).with_context(|| format!("read the key in {}", file.display()))
}
