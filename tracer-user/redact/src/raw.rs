use zeroize::Zeroize;

use crate::{content::Content, redacted::Redacted};

/// Something as it was captured. Its memory is overwritten when it is dropped.
///
/// It has no `Debug`, `Display`, `Clone` or `Serialize`: there is nothing that a log line, an
/// error or an output could do with it.
pub struct Raw<T: Zeroize> {
    value: T,
}

impl<T: Zeroize> Raw<T> {
    /// Wraps a value.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { value }
    }

    /// The value, to decide something by it: to open the file that a path names, to compare, to
    /// digest. Whatever is derived from it and kept must be wrapped again or say nothing of it.
    #[must_use]
    pub const fn expose(&self) -> &T {
        &self.value
    }
}

impl Raw<Content> {
    /// The value, released as it is.
    pub(crate) fn release(mut self) -> Redacted<Content> {
        let value = std::mem::replace(&mut self.value, Content::Number(0));
        Redacted::kept(match value {
            Content::Beginning(bytes) => Content::Text(bytes),
            Content::Text(_)
            | Content::Texts(_)
            | Content::Tokens(_)
            | Content::LogProbabilities(_)
            | Content::Number(_) => value,
        })
    }
}

impl<T: Zeroize> Drop for Raw<T> {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}
