//! What differs between two models as they were loaded.

use std::{collections::BTreeSet, fmt};

use serde_json::{Map, Value};

use crate::{Recorded, model::ModelSnapshot};

/// One thing that is not the same in two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, such as `contexts[0].parameters.context_length` or
    /// `files[/models/a.gguf].size`.
    pub path: String,
    /// What the first has there; none if it has nothing.
    pub left: Option<Value>,
    /// What the second has there; none if it has nothing.
    pub right: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<Value>| match value {
            None => "(absent)".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        write!(
            f,
            "{}: {} -> {}",
            self.path,
            side(&self.left),
            side(&self.right)
        )
    }
}

/// What differs between two snapshots, ordered by path.
///
/// What never says anything of the model is left out: tracer's own numbers, times and durations.
/// Files and libraries are matched by path, contexts by their order.
#[must_use]
pub fn diff(left: &ModelSnapshot<Recorded>, right: &ModelSnapshot<Recorded>) -> Vec<Difference> {
    let json = |snapshot| serde_json::to_value(snapshot).expect("a snapshot is plain JSON");
    let mut differences = Vec::new();
    compare("", Some(&json(left)), Some(&json(right)), &mut differences);
    differences
}

/// Members that differ from load to load of the very same model.
const INCIDENTAL: [&str; 5] = [
    "model",
    "context",
    "duration",
    "load_began",
    "load_duration",
];

/// Lists whose elements are matched by their `path`.
const BY_PATH: [&str; 2] = ["files", "backends"];

fn compare(path: &str, left: Option<&Value>, right: Option<&Value>, into: &mut Vec<Difference>) {
    match (left, right) {
        (left, right) if left == right => {}
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            for name in keys(left, right) {
                if !INCIDENTAL.contains(&name) {
                    let place = if path.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{path}.{name}")
                    };
                    compare(&place, left.get(name), right.get(name), into);
                }
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) if BY_PATH.contains(&path) => {
            let (left, right) = (by_path(left), by_path(right));
            for name in keys(&left, &right) {
                let place = format!("{path}[{name}]");
                compare(&place, left.get(name), right.get(name), into);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                let place = format!("{path}[{index}]");
                compare(&place, left.get(index), right.get(index), into);
            }
        }
        (left, right) => into.push(Difference {
            path: path.to_owned(),
            left: left.cloned(),
            right: right.cloned(),
        }),
    }
}

fn keys<'a>(left: &'a Map<String, Value>, right: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    left.keys()
        .chain(right.keys())
        .map(String::as_str)
        .collect()
}

/// The list as a map. Elements of one path, and those whose path is withheld, are numbered.
fn by_path(list: &[Value]) -> Map<String, Value> {
    let mut map = Map::new();
    for element in list {
        let path = element.get("path").and_then(Value::as_str);
        let path = path.unwrap_or("redacted");
        let mut key = path.to_owned();
        let mut copy = 2;
        while map.contains_key(&key) {
            key = format!("{path} #{copy}");
            copy += 1;
        }
        map.insert(key, element.clone());
    }
    map
}
