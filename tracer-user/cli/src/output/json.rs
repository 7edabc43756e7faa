//! Events for programs: one JSON object a line, or one JSON array of them.

use std::io;

use serde::Serialize;

use super::stream::Stream;

/// How the objects are strung together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A line each.
    Lines,
    /// One array.
    Array,
}

impl Framing {
    /// Writes an event.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which would be a mistake in its type.
    pub(crate) fn write(self, event: &impl Serialize, stream: &mut Stream) -> io::Result<()> {
        let mut bytes = match self {
            Self::Lines => Vec::new(),
            Self::Array if stream.has_events() => b",\n".to_vec(),
            Self::Array => b"[\n".to_vec(),
        };
        serde_json::to_writer(&mut bytes, event)?;
        if self == Self::Lines {
            bytes.push(b'\n');
        }
        stream.event(&bytes);
        Ok(())
    }

    /// Writes what comes after the last event.
    pub(crate) fn finish(self, stream: &mut Stream) {
        match self {
            Self::Lines => {}
            Self::Array if stream.has_events() => stream.frame(b"\n]\n"),
            Self::Array => stream.frame(b"[]\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::arguments::Destination;

    fn written(framing: Framing, events: &[Value]) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("events");
        let mut stream =
            Stream::open(&Destination::File(path.clone()), false).expect("the file can be made");
        for event in events {
            framing.write(event, &mut stream).expect("it is JSON");
            stream.flush();
        }
        framing.finish(&mut stream);
        stream.close();
        std::fs::read_to_string(path).expect("the file is there")
    }

    #[test]
    fn an_array_is_one_document_however_many_events_it_has() {
        for count in 0..3 {
            let events = vec![json!({"kind": "loss"}); count];
            let text = written(Framing::Array, &events);
            assert_eq!(
                serde_json::from_str::<Vec<Value>>(&text).ok(),
                Some(events),
                "{text}"
            );
        }
    }

    #[test]
    fn lines_are_objects_of_their_own() {
        let text = written(Framing::Lines, &[json!({"a": 1}), json!({"a": 2})]);
        assert_eq!(text, "{\"a\":1}\n{\"a\":2}\n");
    }
}
