use std::fmt;

use serde::{Deserialize, Serialize};
use tracer_redact::LogProbability;

/// Redacted content as it is read back from an output. No output accepts it: it is for comparing
/// and showing what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Recorded {
    /// Text that was kept.
    Text(String),
    /// A number that was kept.
    Number(i64),
    /// Token ids that were kept; none where one was not.
    Tokens(Vec<Option<i32>>),
    /// Log-probabilities of tokens; none where there was none or it was not kept. A list of nothing else
    /// is read as [`Recorded::Tokens`].
    LogProbabilities(
        #[cfg_attr(any(test, feature = "schema"), schemars(with = "Vec<Option<f64>>"))]
        Vec<Option<LogProbability>>,
    ),
    /// Texts that were kept.
    Texts(Vec<String>),
    /// What was withheld, and why.
    Withheld {
        /// `drop`: the policy says so, of this field or of something in it; `failed`: it could not be
        /// searched; `unreadable`: the text of its tokens is not known; `level`: the capture level
        /// does not include it.
        redacted: String,
    },
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Texts(texts) => write!(f, "{texts:?}"),
            Self::Tokens(ids) => f.write_str(&listed(ids.iter().copied())),
            Self::LogProbabilities(values) => {
                let values = values.iter().map(|value| value.map(LogProbability::value));
                f.write_str(&listed(values))
            }
            Self::Withheld { redacted } => write!(f, "(redacted: {redacted})"),
        }
    }
}

/// What there is of each token, as people read it.
fn listed<T: fmt::Display>(values: impl Iterator<Item = Option<T>>) -> String {
    let values =
        values.map(|value| value.map_or_else(|| "-".to_owned(), |value| value.to_string()));
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}
