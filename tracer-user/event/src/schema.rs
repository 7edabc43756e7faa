//! The event's JSON Schema, generated from the types.

use crate::{Event, Recorded};

/// The schema of one NDJSON line, as `schema/event.schema.json` has it.
#[must_use]
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Event<Recorded>);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
