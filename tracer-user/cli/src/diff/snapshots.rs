//! Finding the `model.loaded` event that is meant in what `tracer trace` wrote.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    arguments::meant::{Pick, is_standard_input},
    trouble::Trouble,
};

/// What the event is called in JSON.
const MODEL_LOADED: &str = "model.loaded";

/// Reads the file and picks its snapshot.
///
/// # Errors
/// If the file cannot be read, is no JSON, or does not hold exactly the one that is meant.
pub(crate) fn read(path: &Path, pick: Pick) -> Result<Value> {
    let name = if is_standard_input(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let input: Box<dyn Read> = if is_standard_input(path) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).with_context(|| format!("open {name}"))?)
    };
    let snapshots = find(BufReader::new(input)).with_context(|| format!("read {name}"))?;
    Ok(choose(snapshots, pick, &name)?)
}

/// All snapshots of a stream of JSON values, or of arrays of them.
fn find(input: impl Read) -> Result<Vec<Value>> {
    let mut snapshots = Vec::new();
    for value in serde_json::Deserializer::from_reader(input).into_iter::<Value>() {
        match value {
            Ok(Value::Array(events)) => {
                snapshots.extend(events.into_iter().filter(is_snapshot));
            }
            Ok(event) if is_snapshot(&event) => snapshots.push(event),
            Ok(_) => {}
            // A tracer that was killed leaves its last line unfinished.
            Err(error) if error.is_eof() && !snapshots.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(snapshots)
}

fn is_snapshot(event: &Value) -> bool {
    event.get("event").and_then(Value::as_str) == Some(MODEL_LOADED)
}

fn choose(mut snapshots: Vec<Value>, pick: Pick, name: &str) -> Result<Value, Trouble> {
    let count = snapshots.len();
    let chosen = match pick {
        Pick::Only if count == 1 => Some(0),
        Pick::Only => None,
        Pick::Nth(n) => Some(n - 1).filter(|&index| index < count),
        Pick::OfProcess(pid) => {
            snapshots.iter().rposition(|snapshot| pid_of(snapshot) == Some(pid.into()))
        }
    };
    if let Some(index) = chosen {
        return Ok(snapshots.swap_remove(index));
    }
    if count == 0 {
        return Err(Trouble::new(
            format!("{name} holds no {MODEL_LOADED} event"),
            "record one with: tracer trace -o ndjson:FILE, while the model is being served",
        ));
    }
    let what = match pick {
        Pick::Only => format!("{name} holds {count} {MODEL_LOADED} events"),
        Pick::Nth(n) => format!("{name} holds {count} {MODEL_LOADED} events, so there is no {n}."),
        Pick::OfProcess(pid) => format!("{name} holds no {MODEL_LOADED} event of process {pid}"),
    };
    let list: Vec<String> = snapshots.iter().enumerate().map(describe).collect();
    Err(Trouble::new(
        what,
        format!("say which with --pick-a or --pick-b, as N or pid=N:\n{}", list.join("\n")),
    ))
}

fn describe((index, snapshot): (usize, &Value)) -> String {
    format!("{}: {}", index + 1, title(snapshot))
}

fn pid_of(snapshot: &Value) -> Option<u64> {
    snapshot.pointer("/process/pid").and_then(Value::as_u64)
}

/// A snapshot in a line: whose, of what, when.
pub(crate) fn title(snapshot: &Value) -> String {
    let text = |pointer: &str| snapshot.pointer(pointer).and_then(Value::as_str);
    let pid = pid_of(snapshot).map_or("?".to_owned(), |pid| pid.to_string());
    format!(
        "pid {pid}, {}, {}",
        text("/model/path").unwrap_or("unknown file"),
        text("/time/wall").unwrap_or("unknown time"),
    )
}
