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
    /// Token ids that were kept; none where one was not.
    Tokens(Vec<Option<i32>>),
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
            Self::Tokens(ids) => f.write_str(&token_ids(ids)),
            Self::Withheld { redacted } => write!(f, "(redacted: {redacted})"),
        }
    }
}

/// Token ids as people read them.
fn token_ids(ids: &[Option<i32>]) -> String {
    let ids = ids.iter().map(|id| match id {
        Some(id) => id.to_string(),
        None => "-".to_owned(),
    });
    format!("[{}]", ids.collect::<Vec<_>>().join(", "))
}
