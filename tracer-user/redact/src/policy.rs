//! Which field is treated how. A policy file is strict TOML:
//!
//! ```toml
//! [fields]
//! path = "keep"
//! environment = "drop"
//! ```
//!
//! Fields that it does not name keep their default.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::field::Field;

/// What happens to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The value leaves as it is.
    Keep,
    /// The value does not leave.
    Drop,
    /// The value leaves as far as nothing secret is found in it. Without detectors that is: numbers,
    /// and the environment variables that a profile lists as switches.
    Scan,
    /// The value leaves if the capture level that was granted includes it.
    Granted,
}

impl Action {
    const ALL: [Self; 4] = [Self::Keep, Self::Drop, Self::Scan, Self::Granted];

    /// The word in a policy file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::Scan => "scan",
            Self::Granted => "granted",
        }
    }
}

/// One action for every field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    path: Action,
    executable: Action,
    arguments: Action,
    environment: Action,
    model_name: Action,
    symbol: Action,
    error_text: Action,
    diagnostic: Action,
    token_ids: Action,
    text: Action,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            path: Action::Keep,
            executable: Action::Keep,
            arguments: Action::Scan,
            environment: Action::Scan,
            model_name: Action::Keep,
            symbol: Action::Keep,
            error_text: Action::Scan,
            diagnostic: Action::Keep,
            token_ids: Action::Granted,
            text: Action::Drop,
        }
    }
}

/// SHA-256 of a policy's meaning: two files that differ in comments, order or defaults written out
/// have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyDigest([u8; 32]);

impl PolicyDigest {
    /// The digest's bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for PolicyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a policy file is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file is not TOML, or a value has the wrong type.
    #[error("the redaction policy is not valid TOML: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A key that no policy has.
    #[error("the redaction policy has unknown {place} `{name}`; did you mean `{nearest}`?")]
    Unknown {
        /// What was expected there.
        place: &'static str,
        /// What stands there.
        name: String,
        /// The known one that looks most like it.
        nearest: &'static str,
    },
    /// A field whose action does not fit.
    #[error("the redaction policy sets `{field} = \"{action}\"`, but only `token_ids` is a level's to grant; use keep, drop or scan", action = action.name())]
    NotGrantable {
        /// The field.
        field: &'static str,
        /// Its action.
        action: Action,
    },
}

impl Policy {
    /// Reads a policy file's text.
    ///
    /// # Errors
    /// If it is not TOML or names something unknown; the message says where and what is near.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file: toml::Table = toml::from_str(text)?;
        let mut policy = Self::default();
        for (section, content) in file {
            if section != "fields" {
                return Err(unknown("section", section, &["fields"]));
            }
            let fields: toml::map::Map<String, toml::Value> = content.try_into()?;
            for (name, value) in fields {
                let action: String = value.try_into()?;
                let action = Action::ALL
                    .into_iter()
                    .find(|known| known.name() == action)
                    .ok_or_else(|| unknown("action", action, &Action::ALL.map(Action::name)))?;
                policy.set(name, action)?;
            }
        }
        Ok(policy)
    }

    /// What happens to a field.
    #[must_use]
    pub const fn action(&self, field: Field<'_>) -> Action {
        match field {
            Field::Path => self.path,
            Field::Executable => self.executable,
            Field::Arguments => self.arguments,
            Field::Environment { .. } => self.environment,
            Field::ModelName => self.model_name,
            Field::Symbol => self.symbol,
            Field::ErrorText => self.error_text,
            Field::Diagnostic => self.diagnostic,
            Field::TokenIds => self.token_ids,
            Field::Text => self.text,
        }
    }

    /// SHA-256 of what the policy means.
    #[must_use]
    pub fn digest(&self) -> PolicyDigest {
        PolicyDigest(Sha256::digest(self.to_string()).into())
    }

    fn set(&mut self, name: String, action: Action) -> Result<(), PolicyError> {
        let Some((field, place)) = self.entries_mut().into_iter().find(|entry| entry.0 == name)
        else {
            let known = Self::default().entries_mut().map(|entry| entry.0);
            return Err(unknown("field", name, &known));
        };
        if action == Action::Granted && field != Field::TokenIds.name() {
            return Err(PolicyError::NotGrantable { field, action });
        }
        *place = action;
        Ok(())
    }

    fn entries_mut(&mut self) -> [(&'static str, &mut Action); 10] {
        let Self {
            path,
            executable,
            arguments,
            environment,
            model_name,
            symbol,
            error_text,
            diagnostic,
            token_ids,
            text,
        } = self;
        [
            (Field::Path.name(), path),
            (Field::Executable.name(), executable),
            (Field::Arguments.name(), arguments),
            (Field::Environment { name: "" }.name(), environment),
            (Field::ModelName.name(), model_name),
            (Field::Symbol.name(), symbol),
            (Field::ErrorText.name(), error_text),
            (Field::Diagnostic.name(), diagnostic),
            (Field::TokenIds.name(), token_ids),
            (Field::Text.name(), text),
        ]
    }
}

/// The policy as a file that says everything.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[fields]")?;
        for (name, action) in self.clone().entries_mut() {
            writeln!(f, "{name} = \"{}\"", action.name())?;
        }
        Ok(())
    }
}

fn unknown(place: &'static str, name: String, known: &[&'static str]) -> PolicyError {
    let nearest = known
        .iter()
        .copied()
        .min_by_key(|candidate| strsim::damerau_levenshtein(candidate, &name))
        .expect("every caller passes at least one known name");
    PolicyError::Unknown {
        place,
        name,
        nearest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_refused_with_the_nearest_known_one() {
        let error = Policy::parse("[fields]\nenviroment = \"keep\"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the redaction policy has unknown field `enviroment`; did you mean `environment`?"
        );
    }

    #[test]
    fn an_unknown_action_or_section_is_refused() {
        let action = Policy::parse("[fields]\npath = \"kep\"").unwrap_err();
        assert!(action.to_string().contains("did you mean `keep`?"));
        let section = Policy::parse("[field]\npath = \"keep\"").unwrap_err();
        assert!(section.to_string().contains("did you mean `fields`?"));
    }

    #[test]
    fn only_token_ids_are_a_levels_to_grant() {
        assert!(Policy::parse("[fields]\ntoken_ids = \"granted\"").is_ok());
        let error = Policy::parse("[fields]\ntext = \"granted\"").unwrap_err();
        assert!(error.to_string().contains("text"));
    }

    #[test]
    fn the_digest_is_of_the_meaning_not_of_the_file() {
        let written_out = Policy::parse("# comment\n[fields]\npath = \"keep\"").unwrap();
        assert_eq!(written_out.digest(), Policy::default().digest());
        let other = Policy::parse("[fields]\npath = \"drop\"").unwrap();
        assert_ne!(other.digest(), Policy::default().digest());
    }

    #[test]
    fn a_printed_policy_reads_back_as_itself() {
        let policy = Policy::parse("[fields]\narguments = \"keep\"\ntoken_ids = \"drop\"").unwrap();
        assert_eq!(Policy::parse(&policy.to_string()).unwrap(), policy);
    }
}
