//! Finding the `model.loaded` event that is meant in what `tracer trace` wrote.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use tracer_event::{Body, Event, Known, Pid, Place, Recorded, model::ModelSnapshot};

use crate::{
    arguments::meant::{Pick, is_standard_input},
    text::printable,
    trouble::Trouble,
};

/// The event's kind.
const MODEL_LOADED: &str = "model.loaded";

/// A snapshot and where it comes from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) snapshot: ModelSnapshot<Recorded>,
    /// Whose, of what, and when, in a line.
    pub(crate) title: String,
    pid: Option<Pid>,
}

/// Reads the file and picks its snapshot.
///
/// # Errors
/// If the file cannot be read, is no JSON, or does not hold exactly the one that is meant.
pub(crate) fn read(path: &Path, pick: Pick) -> Result<Found> {
    let (name, input): (_, Box<dyn Read>) = if is_standard_input(path) {
        ("standard input".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("open {name}"))?;
        (name, Box::new(file))
    };
    let found = find(BufReader::new(input)).with_context(|| format!("read {name}"))?;
    Ok(choose(found, pick, &name)?)
}

/// All snapshots of a stream of JSON values, or of arrays of them.
fn find(input: impl Read) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_reader(input).into_iter::<Value>() {
        match value {
            Ok(Value::Array(events)) => {
                for event in events {
                    found.extend(snapshot(event)?);
                }
            }
            Ok(event) => found.extend(snapshot(event)?),
            // A tracer that was killed leaves its last line unfinished.
            Err(error) if error.is_eof() && !found.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn snapshot(event: Value) -> Result<Option<Found>> {
    if event.get("kind").and_then(Value::as_str) != Some(MODEL_LOADED) {
        return Ok(None);
    }
    let event = Event::<Recorded>::deserialize(event).context("read a model.loaded event")?;
    let Body::ModelLoaded(snapshot) = event.body else {
        return Ok(None);
    };
    let title = title(&event.place, &snapshot, &event.time.wall.to_string());
    Ok(Some(Found {
        snapshot: *snapshot,
        title,
        pid: event.place.pid,
    }))
}

fn title(place: &Place, snapshot: &ModelSnapshot<Recorded>, wall: &str) -> String {
    let pid = place
        .pid
        .map_or("unknown".to_owned(), |pid| pid.to_string());
    let file = snapshot
        .files
        .first()
        .map_or("no model file".to_owned(), |file| file.path.to_string());
    format!("process {pid} on {}, {wall}: {file}", place.node)
}

/// A rehearsal of the load (llama.cpp makes one to fit the model to the memory) is never what is
/// meant, unless it is picked by its number.
fn choose(mut found: Vec<Found>, pick: Pick, name: &str) -> Result<Found, Trouble> {
    let serves = |found: &Found| found.snapshot.dry_run != Known::Known(true);
    let serving = found.iter().filter(|found| serves(found)).count();
    let chosen = match pick {
        Pick::Only if serving == 1 => found.iter().position(serves),
        Pick::Only => None,
        Pick::Nth(n) => Some(n - 1).filter(|&index| index < found.len()),
        Pick::OfProcess(pid) => found
            .iter()
            .rposition(|found| serves(found) && found.pid == Some(Pid(pid))),
    };
    if let Some(index) = chosen {
        return Ok(found.swap_remove(index));
    }
    if found.is_empty() {
        return Err(Trouble::new(
            format!("{name} holds no {MODEL_LOADED} event"),
            "record one with: sudo tracer trace -o ndjson:FILE, while the model is being served",
        ));
    }
    let count = found.len();
    let what = match pick {
        Pick::Only => {
            format!("{name} holds {serving} {MODEL_LOADED} events of served models, not one")
        }
        Pick::Nth(n) => {
            format!("{name} holds {count} {MODEL_LOADED} events, so there is no number {n}")
        }
        Pick::OfProcess(pid) => format!("{name} holds no {MODEL_LOADED} event of process {pid}"),
    };
    let list: Vec<String> = found.iter().enumerate().map(describe).collect();
    Err(Trouble::new(
        what,
        format!(
            "say which with --pick-a or --pick-b, as N or pid=N:\n{}",
            list.join("\n")
        ),
    ))
}

fn describe((index, found): (usize, &Found)) -> String {
    let rehearsal = match found.snapshot.dry_run {
        Known::Known(true) => " (rehearsal, serves nothing)",
        Known::Known(false) | Known::Unknown => "",
    };
    format!("{}: {}{rehearsal}", index + 1, printable(&found.title))
}
