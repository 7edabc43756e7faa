//! Holds errors to one rule: an error names its cause in its own text or hands it on as its source, and
//! never both, since who prints the whole chain would say it twice.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn no_error_names_the_cause_that_it_hands_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer-user");
    let mut looked_at = 0;
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                looked_at += look(&path);
            }
        }
    }
    assert!(looked_at > 100, "only {looked_at} messages were found");
}

/// Looks at every message of a file, and says how many there were.
fn look(path: &PathBuf) -> usize {
    let text = fs::read_to_string(path).unwrap();
    let messages: Vec<&str> = text.split("#[error(").skip(1).collect();
    for message in &messages {
        assert!(!says_twice(message), "{}: {message}", path.display());
    }
    messages.len()
}

/// Of a message with the variant that follows it. A field that is called `source` is handed on, and so is
/// one that an attribute says it of.
fn says_twice(message: &str) -> bool {
    let Some((words, rest)) = message.split_once(")]") else {
        return false;
    };
    let variant = rest.split_once('\n').map_or(rest, |(_, rest)| rest);
    let variant = variant.lines().next().unwrap_or_default();
    let hands_on = variant.contains("(#[from]") || variant.contains("(#[source]");
    words.contains("{source") || (hands_on && words.contains("{0"))
}

#[test]
fn what_says_it_twice_is_found() {
    for twice in [
        "\"open {path}: {source}\")]\n    Open {\n        source: io::Error,\n    },",
        "\"open {}: {source}\", path.display())]\n    Open {",
        "\"a socket: {0}\")]\n    Socket(#[from] io::Error),",
        "\"a socket: {0:?}\")]\n    Socket(#[source] io::Error),",
    ] {
        assert!(says_twice(twice), "{twice}");
    }
    for once in [
        "\"open {path}: {cause}\")]\n    Open {\n        cause: io::Error,\n    },",
        "\"a socket\")]\n    Socket(#[from] io::Error),",
        "\"a socket: {0}\")]\n    Socket(io::Error),",
        "\"a socket that {0}\")]\n    Socket(&'static str, #[source] io::Error),",
        "transparent)]\n    Socket(#[from] io::Error),",
    ] {
        assert!(!says_twice(once), "{once}");
    }
}
