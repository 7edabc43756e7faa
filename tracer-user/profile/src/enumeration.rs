//! Words for numbers.

use std::collections::BTreeMap;

/// What a profile calls the values of a number, such as a tensor's element type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enumeration {
    pub(crate) words: BTreeMap<i64, String>,
}

impl Enumeration {
    /// The word for a number.
    #[must_use]
    pub fn word(&self, number: i64) -> Option<&str> {
        self.words.get(&number).map(String::as_str)
    }

    /// All numbers and their words.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &str)> {
        self.words
            .iter()
            .map(|(number, word)| (*number, word.as_str()))
    }
}
