use zeroize::Zeroize;

use crate::log_probability::LogProbability;

/// A value that may tell something about the served process or its users: what [`Raw`] wraps on
/// its way to the engine.
///
/// It has no `Debug` and no `Serialize` on purpose: only inside a [`Redacted`] can it be written.
///
/// [`Raw`]: crate::Raw
/// [`Redacted`]: crate::Redacted
#[derive(PartialEq, Eq)]
pub enum Content {
    /// Bytes that should be UTF-8: a path, an argument, an error, a piece of a token. What is not
    /// UTF-8 is shown with replacement characters.
    Text(Vec<u8>),
    /// The beginning of a text whose rest is not here. Whatever may go on past its end is hidden.
    Beginning(Vec<u8>),
    /// Several texts that belong together: a process's arguments, in order.
    Texts(Vec<Vec<u8>>),
    /// Token ids; none for a token whose text may not leave.
    Tokens(Vec<Option<i32>>),
    /// Log-probabilities of tokens, one for each; none where there is none or where the token may
    /// not leave.
    LogProbabilities(Vec<Option<LogProbability>>),
    /// A number in a place that can hold text too.
    Number(i64),
}

impl Content {
    /// Text, from anything that has bytes.
    #[must_use]
    pub fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Text(bytes.into())
    }

    /// Token ids.
    #[must_use]
    pub fn tokens(ids: impl IntoIterator<Item = i32>) -> Self {
        Self::Tokens(ids.into_iter().map(Some).collect())
    }
}

impl Zeroize for Content {
    fn zeroize(&mut self) {
        match self {
            Self::Text(bytes) | Self::Beginning(bytes) => bytes.zeroize(),
            Self::Texts(texts) => texts.zeroize(),
            Self::Tokens(ids) => ids.zeroize(),
            Self::LogProbabilities(values) => values.zeroize(),
            Self::Number(number) => number.zeroize(),
        }
    }
}
