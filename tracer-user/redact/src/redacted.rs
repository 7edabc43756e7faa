use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::content::Content;

/// Something that has passed the engine: either the value, or the reason why it is not here.
///
/// There is no public constructor and no `Deserialize`; see the crate's documentation.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted<T> {
    outcome: Result<T, Withheld>,
}

/// Why a value is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The policy drops this field, or something that was found in it.
    Drop,
    /// The value could not be searched within its limits, or the search failed.
    Failed,
    /// Token ids whose text is not known could not be searched.
    Unreadable,
    /// The field needs a higher capture level than the one granted.
    Level,
}

impl Withheld {
    /// The word for it in outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
            Self::Level => "level",
        }
    }
}

impl<T> Redacted<T> {
    pub(crate) const fn kept(value: T) -> Self {
        Self { outcome: Ok(value) }
    }

    pub(crate) const fn withheld(reason: Withheld) -> Self {
        Self {
            outcome: Err(reason),
        }
    }

    /// The value, or why it is withheld.
    ///
    /// # Errors
    /// The reason, where the value is not here.
    pub fn value(&self) -> Result<&T, Withheld> {
        self.outcome.as_ref().map_err(|reason| *reason)
    }
}

/// Text as a string, texts, token ids and log-probabilities as an array, numbers as numbers, what is
/// hidden of a token as `null`; what is withheld as `{"redacted": reason}`.
impl Serialize for Redacted<Content> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.outcome {
            Ok(Content::Text(bytes) | Content::Beginning(bytes)) => {
                serializer.serialize_str(&String::from_utf8_lossy(bytes))
            }
            Ok(Content::Texts(texts)) => {
                serializer.collect_seq(texts.iter().map(|text| String::from_utf8_lossy(text)))
            }
            Ok(Content::Tokens(ids)) => ids.serialize(serializer),
            Ok(Content::LogProbabilities(values)) => values.serialize(serializer),
            Ok(Content::Number(number)) => serializer.serialize_i64(*number),
            Err(reason) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("redacted", reason.name())?;
                map.end()
            }
        }
    }
}
