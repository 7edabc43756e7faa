//! TOML with places: strict tables that know every key they were asked for, so that a key nobody
//! asked for is an error that names the nearest one and the line.

use std::{borrow::Cow, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{error::ProfileError, names::nearest};

/// Entries of one list or table; a profile has far fewer.
const MOST_ENTRIES: usize = 1024;

/// The text that places refer to.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(crate) const fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text }
    }

    /// An error at a byte of the text.
    pub(crate) fn wrong(&self, at: usize, problem: impl Into<String>) -> ProfileError {
        let bytes = self.text.as_bytes();
        let before = bytes.get(..at).unwrap_or(bytes);
        let line_start = before.iter().rposition(|byte| *byte == b'\n');
        let line = &before[line_start.map_or(0, |newline| newline + 1)..];
        ProfileError::Wrong {
            file: self.file.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: 1 + String::from_utf8_lossy(line).chars().count(),
            problem: problem.into(),
        }
    }

    /// The byte of the text where byte `inside` of a string's value stands, for a string that begins
    /// at `at`. Where the string is written with escapes, its beginning.
    pub(crate) fn inside(&self, at: usize, value: &str, inside: usize) -> usize {
        // Behind the quote, if there is just one and the value follows as it is.
        let rest = self.text.get(at..).unwrap_or_default();
        let is_plain = rest.starts_with(['"', '\''])
            && rest.get(1..).is_some_and(|rest| rest.starts_with(value));
        if is_plain { at + 1 + inside } else { at }
    }
}

/// A value and the byte where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) at: usize,
}

/// Either form of a field: its expression alone, or a table of settings.
pub(crate) enum Setting<'a> {
    Text(Placed<String>),
    Table(Table<'a>),
}

struct Entry<'a> {
    key: Cow<'a, str>,
    key_at: usize,
    at: usize,
    value: DeValue<'a>,
}

/// A table that is taken apart key by key.
pub(crate) struct Table<'a> {
    source: Source<'a>,
    at: usize,
    entries: Vec<Entry<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(crate) fn parse(source: Source<'a>) -> Result<Self, ProfileError> {
        let root = DeTable::parse(source.text).map_err(|error| {
            let at = error.span().map_or(0, |Range { start, .. }| start);
            source.wrong(at, format!("not TOML: {}", error.message()))
        })?;
        Self::new(source, 0, root.into_inner())
    }

    fn new(source: Source<'a>, at: usize, table: DeTable<'a>) -> Result<Self, ProfileError> {
        if table.len() > MOST_ENTRIES {
            return Err(source.wrong(at, format!("more than {MOST_ENTRIES} entries")));
        }
        let mut entries: Vec<_> = table
            .into_iter()
            .map(|(key, value)| Entry {
                key_at: key.span().start,
                key: key.into_inner(),
                at: value.span().start,
                value: value.into_inner(),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_at);
        Ok(Self {
            source,
            at,
            entries,
            known: Vec::new(),
        })
    }

    /// Where the table begins.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    fn take(&mut self, key: &'static str) -> Option<Placed<DeValue<'a>>> {
        self.known.push(key);
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        let Entry { at, value, .. } = self.entries.remove(index);
        Some(Placed { value, at })
    }

    fn missing(&self, key: &str) -> ProfileError {
        // A misspelt key is the likelier mistake than a forgotten one: say that instead.
        let written = self.entries.iter().map(|entry| entry.key.as_ref());
        match nearest(key, written) {
            Some(near) => {
                let at = self.entries.iter().find(|entry| entry.key == near);
                self.source.wrong(
                    at.map_or(self.at, |entry| entry.key_at),
                    format!("unknown key `{near}`: did you mean `{key}`?"),
                )
            }
            None => self
                .source
                .wrong(self.at, format!("key `{key}` is missing")),
        }
    }

    pub(crate) fn string(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Placed<String>>, ProfileError> {
        self.take(key)
            .map(|value| text(self.source, key, value))
            .transpose()
    }

    pub(crate) fn required(&mut self, key: &'static str) -> Result<Placed<String>, ProfileError> {
        match self.string(key)? {
            Some(value) => Ok(value),
            None => Err(self.missing(key)),
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, ProfileError> {
        match self.take(key) {
            None => Ok(None),
            Some(Placed {
                value: DeValue::Boolean(value),
                ..
            }) => Ok(Some(value)),
            Some(Placed { at, value }) => Err(self.mistyped(key, at, "true or false", &value)),
        }
    }

    /// A whole number from 0 up.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Placed<u32>>, ProfileError> {
        let Some(Placed { value, at }) = self.take(key) else {
            return Ok(None);
        };
        let DeValue::Integer(digits) = &value else {
            return Err(self.mistyped(key, at, "a whole number", &value));
        };
        let number = u32::from_str_radix(digits.as_str(), digits.radix());
        number.map(|value| Some(Placed { value, at })).map_err(|_| {
            let problem = format!("`{key}` must lie between 0 and {}, not {digits}", u32::MAX);
            self.source.wrong(at, problem)
        })
    }

    /// A list of strings; empty if the key is absent.
    pub(crate) fn strings(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<Placed<String>>, ProfileError> {
        let source = self.source;
        self.list(key)?
            .into_iter()
            .map(|item| text(source, key, item))
            .collect()
    }

    /// A list of strings that must be there and have a member.
    pub(crate) fn some_strings(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<Placed<String>>, ProfileError> {
        let values = self.strings(key)?;
        if values.is_empty() {
            return Err(self.missing(key));
        }
        Ok(values)
    }

    pub(crate) fn table(&mut self, key: &'static str) -> Result<Option<Table<'a>>, ProfileError> {
        match self.take(key) {
            None => Ok(None),
            Some(Placed {
                value: DeValue::Table(table),
                at,
            }) => Table::new(self.source, at, table).map(Some),
            Some(Placed { at, value }) => Err(self.mistyped(key, at, "a table", &value)),
        }
    }

    /// A list of tables, `[[key]]`; empty if the key is absent.
    pub(crate) fn tables(&mut self, key: &'static str) -> Result<Vec<Table<'a>>, ProfileError> {
        let items = self.list(key)?;
        items
            .into_iter()
            .map(|Placed { value, at }| match value {
                DeValue::Table(table) => Table::new(self.source, at, table),
                other => Err(self.mistyped(key, at, "a table", &other)),
            })
            .collect()
    }

    /// Every entry of a table whose keys are free: the key, and a string or a table.
    pub(crate) fn settings(self) -> Result<Vec<(Placed<String>, Setting<'a>)>, ProfileError> {
        let Self {
            source, entries, ..
        } = self;
        entries
            .into_iter()
            .map(|entry| {
                let Entry {
                    key,
                    key_at,
                    at,
                    value,
                } = entry;
                let setting = match value {
                    DeValue::Table(table) => Setting::Table(Table::new(source, at, table)?),
                    value => Setting::Text(text(source, &key, Placed { value, at })?),
                };
                let key = Placed {
                    value: key.into_owned(),
                    at: key_at,
                };
                Ok((key, setting))
            })
            .collect()
    }

    /// Ends the reading: what is left is unknown.
    pub(crate) fn finish(self) -> Result<(), ProfileError> {
        let Some(Entry { key, key_at, .. }) = self.entries.first() else {
            return Ok(());
        };
        let remedy = match nearest(key, self.known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here are {}", self.known.join(", ")),
        };
        Err(self
            .source
            .wrong(*key_at, format!("unknown key `{key}`: {remedy}")))
    }

    fn list(&mut self, key: &'static str) -> Result<Vec<Placed<DeValue<'a>>>, ProfileError> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Placed {
                value: DeValue::Array(items),
                at,
            }) => {
                if items.len() > MOST_ENTRIES {
                    let problem = format!("`{key}` has more than {MOST_ENTRIES} members");
                    return Err(self.source.wrong(at, problem));
                }
                let placed = |item: Spanned<DeValue<'a>>| Placed {
                    at: item.span().start,
                    value: item.into_inner(),
                };
                Ok(items.into_iter().map(placed).collect())
            }
            Some(Placed { at, value }) => Err(self.mistyped(key, at, "a list", &value)),
        }
    }

    fn mistyped(&self, key: &str, at: usize, wanted: &str, found: &DeValue<'_>) -> ProfileError {
        let problem = format!("`{key}` must be {wanted}, not {}", kind(found));
        self.source.wrong(at, problem)
    }
}

fn text(
    source: Source<'_>,
    key: &str,
    Placed { value, at }: Placed<DeValue<'_>>,
) -> Result<Placed<String>, ProfileError> {
    match value {
        DeValue::String(value) => Ok(Placed {
            value: value.into_owned(),
            at,
        }),
        other => Err(source.wrong(
            at,
            format!("`{key}` must be a string, not {}", kind(&other)),
        )),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
