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

#[cfg(test)]
mod tests {
    use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};

    use super::*;
    use crate::{
        Body, Content, Digest, Event, Known, ModelId, Nanos, Raw, model::Backend, samples,
    };

    fn recorded(snapshot: ModelSnapshot<Raw<Content>>) -> ModelSnapshot<Recorded> {
        let engine = Engine::new(Policy::default(), CaptureLevel::Shape, RunKey::new([7; 32]));
        let engine = engine.unwrap();
        let event = samples::event(Body::ModelLoaded(Box::new(snapshot))).redact(&engine);
        let line = serde_json::to_string(&event).unwrap();
        let read: Event<Recorded> = serde_json::from_str(&line).unwrap();
        let Body::ModelLoaded(snapshot) = read.body else {
            panic!("{line}");
        };
        *snapshot
    }

    fn paths(left: ModelSnapshot<Raw<Content>>, right: ModelSnapshot<Raw<Content>>) -> Vec<String> {
        diff(&recorded(left), &recorded(right))
            .into_iter()
            .map(|difference| difference.to_string())
            .collect()
    }

    #[test]
    fn two_loads_of_one_model_do_not_differ() {
        let mut again = samples::model_snapshot();
        again.model = ModelId(7);
        again.load_duration = Known::Known(Nanos(1));
        again.contexts[0].duration = Known::Unknown;
        assert_eq!(paths(samples::model_snapshot(), again), [""; 0]);
    }

    #[test]
    fn each_wrong_option_is_named_with_both_values() {
        let mut wrong = samples::model_snapshot();
        wrong.load_parameters.gpu_layers = Known::Known(7);
        wrong.contexts[0].parameters.context_length = Known::Known(512);
        wrong.chat_template.digest = Known::Known(Digest([0; 32]));
        let template = Digest::of(b"template");
        let zeros = "0".repeat(64);
        assert_eq!(
            paths(samples::model_snapshot(), wrong),
            [
                format!("chat_template.digest: {template} -> sha256:{zeros}"),
                "contexts[0].parameters.context_length: 4096 -> 512".to_owned(),
                "load_parameters.gpu_layers: -1 -> 7".to_owned(),
            ]
        );
    }

    #[test]
    fn a_library_that_is_only_in_one_shifts_no_other() {
        let mut more = samples::model_snapshot();
        let first = Backend {
            path: samples::text("/usr/lib/libggml-base.so"),
            ..samples::model_snapshot().backends.remove(0)
        };
        more.backends.insert(0, first);
        let differences = diff(&recorded(samples::model_snapshot()), &recorded(more));
        let [difference] = differences.as_slice() else {
            panic!("{differences:?}");
        };
        assert_eq!(difference.path, "backends[/usr/lib/libggml-base.so]");
        assert_eq!(difference.left, None);
    }
}
