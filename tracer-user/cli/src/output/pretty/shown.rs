//! Content on a terminal: what passed redaction, made harmless.

use tracer_event::{Content, Redacted};

use crate::text::printable;

/// Content that may be shown.
pub(crate) trait Shown {
    /// As text for a terminal.
    fn shown(&self) -> String;

    /// As token ids, if it is some.
    fn token_ids(&self) -> Option<&[i32]>;
}

impl Shown for Redacted<Content> {
    fn shown(&self) -> String {
        match self.value() {
            Ok(Content::Text(bytes)) => printable(&String::from_utf8_lossy(bytes)).into_owned(),
            Ok(Content::Tokens(ids)) => format!("{ids:?}"),
            Ok(Content::Number(number)) => number.to_string(),
            Err(reason) => format!("(redacted: {})", reason.name()),
        }
    }

    fn token_ids(&self) -> Option<&[i32]> {
        match self.value() {
            Ok(Content::Tokens(ids)) => Some(ids),
            Ok(Content::Text(_) | Content::Number(_)) | Err(_) => None,
        }
    }
}

/// What a run recorded, so that tests can show real runs again.
#[cfg(test)]
impl Shown for tracer_event::Recorded {
    fn shown(&self) -> String {
        printable(&self.to_string()).into_owned()
    }

    fn token_ids(&self) -> Option<&[i32]> {
        match self {
            Self::Tokens(ids) => Some(ids),
            Self::Text(_) | Self::Number(_) | Self::Withheld { .. } => None,
        }
    }
}
