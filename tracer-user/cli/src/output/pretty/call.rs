//! A captured call as a line of names and values.

use std::time::Duration;

use tracer_event::{
    Known,
    call::{CallPart, CallValue, Called, Unread},
};

use super::shown::Shown;
use crate::text::short_duration;

/// Texts of a list that are shown; the others are counted.
const SHOWN_TEXTS: usize = 8;

/// How the call ended, and what was captured of it.
pub(crate) fn summary<C: Shown>(called: &Called<C>) -> String {
    let mut text = match (called.at, called.duration) {
        (CallPart::Entry, _) => "began".to_owned(),
        (CallPart::Return, Known::Known(took)) => {
            format!("took {}", short_duration(Duration::from_nanos(took.0)))
        }
        (CallPart::Return, Known::Unknown) => "returned".to_owned(),
        (CallPart::Unwound, _) => "was left without returning".to_owned(),
    };
    for (name, value) in &called.values {
        let cut = if called.cut.contains(name) {
            " …"
        } else {
            ""
        };
        text.push_str(&format!(", {name} {}{cut}", shown(value)));
    }
    text
}

/// A value as people read it.
pub(crate) fn shown<C: Shown>(value: &CallValue<C>) -> String {
    match value {
        CallValue::Number(number) => number.to_string(),
        CallValue::Large(number) => number.to_string(),
        CallValue::Float(number) => number.to_string(),
        CallValue::Word(word) => word.to_string(),
        CallValue::Flag(holds) => holds.to_string(),
        CallValue::Numbers(numbers) => format!("{numbers:?}"),
        CallValue::Ids(content) | CallValue::Path(content) | CallValue::Symbol(content) => {
            content.shown()
        }
        CallValue::Text(content) | CallValue::Error(content) => {
            format!("\"{}\"", content.shown())
        }
        CallValue::Names(contents) | CallValue::Texts(contents) => {
            let first = contents.iter().take(SHOWN_TEXTS);
            let mut texts: Vec<String> = first
                .map(|content| format!("\"{}\"", content.shown()))
                .collect();
            if contents.len() > SHOWN_TEXTS {
                texts.push(format!("{} more", contents.len() - SHOWN_TEXTS));
            }
            format!("[{}]", texts.join(", "))
        }
        CallValue::Unread(Unread::Level) => "(above the capture level)".to_owned(),
        CallValue::Unread(Unread::Fault) => "(unreadable)".to_owned(),
    }
}
