//! Finds the token that lets one ask.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use tracer_wire::enrolment::ReaderToken;

use crate::{arguments::typed::Collector, trouble::Trouble};

const VARIABLE: &str = "TRACER_READER_TOKEN";

/// The token that was named, or that is in its usual place.
pub(super) fn find(arguments: &Collector) -> Result<ReaderToken> {
    let Collector { token, collector } = arguments;
    let (text, place) = match (token, env::var(VARIABLE)) {
        (Some(file), _) => (read(file)?, file.display().to_string()),
        (None, Ok(text)) => (text, VARIABLE.to_owned()),
        (None, Err(_)) => {
            let file = usual().filter(|file| file.exists()).ok_or_else(|| {
                let what = "nothing says which collector to ask";
                let remedy = "make a token with `tracer-collector token new --reader NAME`, and \
                              keep it in ~/.config/tracer/reader.token, name its file with \
                              --token, or set TRACER_READER_TOKEN";
                Trouble::new(what, remedy)
            })?;
            (read(&file)?, file.display().to_string())
        }
    };
    let parsed = text.parse();
    let mut token: ReaderToken = parsed.with_context(|| format!("read the token in {place}"))?;
    if let Some(collector) = collector {
        token.0.collector = collector.as_str().into();
    }
    Ok(token)
}

fn read(file: &PathBuf) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("read the token in {}", file.display()))
}

fn usual() -> Option<PathBuf> {
    let home = env::var_os("HOME")?;
    let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.unwrap_or_else(|| PathBuf::from(home).join(".config"));
    Some(config.join("tracer/reader.token"))
}
