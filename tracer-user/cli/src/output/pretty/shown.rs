//! Content on a terminal: what passed redaction, made harmless.

use tracer_event::{Content, Redacted};

use crate::text::printable;

/// Content that may be shown.
pub(crate) trait Shown {
    /// As text for a terminal.
    fn shown(&self) -> String;

    /// As lines of text for a terminal.
    fn lines(&self) -> Vec<String>;

    /// As token ids, if it is some.
    fn token_ids(&self) -> Option<&[Option<i32>]>;
}

impl Shown for Redacted<Content> {
    fn shown(&self) -> String {
        match self.value() {
            Ok(Content::Text(bytes) | Content::Beginning(bytes)) => {
                printable(&String::from_utf8_lossy(bytes)).into_owned()
            }
            Ok(Content::Texts(texts)) => {
                let texts = texts.iter().map(|text| String::from_utf8_lossy(text));
                printable(&texts.collect::<Vec<_>>().join(" ")).into_owned()
            }
            Ok(Content::Tokens(ids)) => format!("{} tokens", ids.len()),
            Ok(Content::LogProbabilities(values)) => format!("{} log-probabilities", values.len()),
            Ok(Content::Number(number)) => number.to_string(),
            Err(reason) => format!("(redacted: {})", reason.name()),
        }
    }

    fn lines(&self) -> Vec<String> {
        match self.value() {
            Ok(Content::Text(bytes) | Content::Beginning(bytes)) => {
                lines(&String::from_utf8_lossy(bytes))
            }
            Ok(
                Content::Texts(_)
                | Content::Tokens(_)
                | Content::LogProbabilities(_)
                | Content::Number(_),
            )
            | Err(_) => vec![self.shown()],
        }
    }

    fn token_ids(&self) -> Option<&[Option<i32>]> {
        match self.value() {
            Ok(Content::Tokens(ids)) => Some(ids),
            Ok(
                Content::Text(_)
                | Content::Beginning(_)
                | Content::Texts(_)
                | Content::LogProbabilities(_)
                | Content::Number(_),
            )
            | Err(_) => None,
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| printable(line).into_owned())
        .collect()
}

/// What a run recorded, so that tests can show real runs again.
impl Shown for tracer_event::Recorded {
    fn shown(&self) -> String {
        printable(&self.to_string()).into_owned()
    }

    fn lines(&self) -> Vec<String> {
        lines(&self.to_string())
    }

    fn token_ids(&self) -> Option<&[Option<i32>]> {
        match self {
            Self::Tokens(ids) => Some(ids),
            Self::Text(_)
            | Self::Texts(_)
            | Self::LogProbabilities(_)
            | Self::Number(_)
            | Self::Withheld { .. } => None,
        }
    }
}
