//! A policy as a file that says everything.

use std::fmt;

use super::{Action, Mode, Policy, Rule, Scan, TokenIds, Treatment};
use crate::field::Field;

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[fields]")?;
        for (name, treatment) in self.fields.entries() {
            writeln!(f, "{name} = {treatment}")?;
        }
        let token_ids = match self.token_ids {
            TokenIds::Follow => "follow",
            TokenIds::Drop => "drop",
        };
        writeln!(f, "{} = \"{token_ids}\"", Field::TokenIds.name())?;
        if !self.actions.is_empty() {
            writeln!(f, "\n[actions]")?;
            for (name, action) in &self.actions {
                writeln!(f, "{name} = {action}")?;
            }
        }
        self.rules.iter().try_for_each(|rule| write!(f, "\n{rule}"))
    }
}

/// As it stands in a policy file.
impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(action) => action.fmt(f),
            Self::Scan(Scan {
                groups: None,
                mode: Mode::Plain,
                is_content: _,
            }) => f.write_str("\"scan\""),
            Self::Scan(Scan {
                groups,
                mode,
                is_content: _,
            }) => {
                f.write_str("{ action = \"scan\"")?;
                if let Some(groups) = groups {
                    let groups = groups.iter().map(|group| group.name());
                    write!(f, ", groups = {}", list(groups))?;
                }
                match mode {
                    Mode::Plain => {}
                    Mode::Lexical => f.write_str(", mode = \"lexical\"")?,
                }
                f.write_str(" }")
            }
        }
    }
}

/// As it stands in a policy file.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partial { first, last } => {
                f.write_str("{ action = \"partial\"")?;
                if *first > 0 {
                    write!(f, ", keep_first = {first}")?;
                }
                if *last > 0 {
                    write!(f, ", keep_last = {last}")?;
                }
                f.write_str(" }")
            }
            Self::Keep | Self::Drop | Self::Mask | Self::Hash | Self::Pseudonym => {
                write!(f, "\"{}\"", self.name())
            }
        }
    }
}

impl Action {
    /// The word in a policy file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::Mask => "mask",
            Self::Partial { .. } => "partial",
            Self::Hash => "hash",
            Self::Pseudonym => "pseudonym",
        }
    }
}

/// As it stands in a policy file.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kind,
            group,
            pattern,
            capture,
            keywords,
            validators,
            examples,
            counter_examples,
            line: _,
        } = self;
        writeln!(f, "[[rule]]")?;
        for (key, value) in [
            ("name", name.as_str()),
            ("kind", kind),
            ("group", group.name()),
            ("pattern", pattern),
        ] {
            writeln!(f, "{key} = {}", quoted(value))?;
        }
        if *capture > 0 {
            writeln!(f, "capture = {capture}")?;
        }
        let validators: Vec<_> = validators.iter().map(|known| known.name()).collect();
        for (key, values) in [
            ("keywords", texts(keywords)),
            ("validators", validators),
            ("examples", texts(examples)),
            ("counter_examples", texts(counter_examples)),
        ] {
            if !values.is_empty() {
                writeln!(f, "{key} = {}", list(values))?;
            }
        }
        Ok(())
    }
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.into_iter().map(quoted).collect();
    format!("[{}]", words.join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
