use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// Token ids that were kept.
    Tokens(Vec<i32>),
    /// What was withheld, and why.
    Withheld {
        /// `drop`: the policy says so; `scan`: nothing vouched for it; `level`: the capture level
        /// does not include it.
        redacted: String,
    },
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Tokens(ids) => write!(f, "{ids:?}"),
            Self::Withheld { redacted } => write!(f, "(redacted: {redacted})"),
        }
    }
}
