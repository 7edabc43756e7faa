//! Which field is treated how, and what happens to what is found in it. A policy file is strict
//! TOML; see `docs/policy.md`. Fields that it does not name keep their default.

mod difference;
mod error;
mod read;
mod write;

use std::{collections::BTreeMap, fmt};

use sha2::{Digest as _, Sha256};

use crate::{
    detect::{Detectors, Group, Kind, OwnRule, Validator},
    field::Field,
};

pub use self::{difference::Difference, error::PolicyError};

/// What happens to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It leaves as it is.
    Keep,
    /// It does not leave, nor does the text that it was found in.
    Drop,
    /// Its kind stands in its place.
    Mask,
    /// As mask, with the first and last characters left, where that is not too much of it.
    Partial {
        /// Characters at the beginning.
        first: u8,
        /// Characters at the end.
        last: u8,
    },
    /// A keyed digest of 128 bits stands in its place: equal values are equal within a run.
    Hash,
    /// Its kind and a short tag stand in its place: equal values have the same tag within a run.
    Pseudonym,
}

/// What happens to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The same for every value.
    Act(Action),
    /// Values leave but for what is found in them.
    Scan(Scan),
}

/// How a field is searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Groups of rules; none means all.
    pub groups: Option<Vec<Group>>,
    /// What else does not leave.
    pub mode: Mode,
    /// Whether it is content: a path in a prompt is somebody's, one in an argument is the host's.
    pub(crate) is_content: bool,
}

/// What a scan does with words that no rule found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They leave.
    #[default]
    Plain,
    /// Only common words leave: a name is none, whatever its form.
    Lexical,
}

/// What happens to token ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenIds {
    /// As to the text that they stand for: with a public vocabulary they are that text.
    Follow,
    /// They do not leave.
    Drop,
}

/// A rule of the policy's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name; no other rule has it.
    pub name: String,
    /// What it finds, as placeholders show it.
    pub kind: String,
    /// The group that switches it.
    pub group: Group,
    /// A regular expression over bytes.
    pub pattern: String,
    /// Which of the pattern's groups is what is found; 0 is all of it.
    pub capture: usize,
    /// At least one of these is near, in any case; none means that nothing need be.
    pub keywords: Vec<String>,
    /// What is found must pass all of these.
    pub validators: Vec<Validator>,
    /// Texts in which it finds something.
    pub examples: Vec<String>,
    /// Texts in which it does not.
    pub counter_examples: Vec<String>,
    /// The line of the policy file, from 1; 0 if it is from none.
    pub line: usize,
}

/// What happens to each field and to each finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    fields: Fields,
    token_ids: TokenIds,
    /// By rule or group.
    actions: BTreeMap<String, Action>,
    rules: Vec<Rule>,
}

/// A treatment for every field but token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    path: Treatment,
    executable: Treatment,
    arguments: Treatment,
    environment: Treatment,
    model_name: Treatment,
    symbol: Treatment,
    error_text: Treatment,
    diagnostic: Treatment,
    text: Treatment,
}

impl Default for Policy {
    fn default() -> Self {
        let keep = || Treatment::Act(Action::Keep);
        let scan = || Treatment::Scan(Scan::default());
        Self {
            fields: Fields {
                path: keep(),
                executable: keep(),
                arguments: scan(),
                environment: scan(),
                model_name: keep(),
                symbol: keep(),
                error_text: scan(),
                diagnostic: keep(),
                text: Treatment::Act(Action::Drop),
            },
            token_ids: TokenIds::Follow,
            actions: BTreeMap::new(),
            rules: Vec::new(),
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

impl Policy {
    /// Reads a policy file's text.
    ///
    /// # Errors
    /// If it is not TOML, names something unknown, or contradicts itself; the message says in which
    /// line, and what to do.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        read::policy(text)
    }

    /// What happens to a field. Token ids are treated as the text that they stand for, unless the
    /// policy drops them.
    #[must_use]
    pub const fn treatment(&self, field: Field<'_>) -> &Treatment {
        const DROP: &Treatment = &Treatment::Act(Action::Drop);
        let Fields {
            path,
            executable,
            arguments,
            environment,
            model_name,
            symbol,
            error_text,
            diagnostic,
            text,
        } = &self.fields;
        match field {
            Field::Path => path,
            Field::Executable => executable,
            Field::Arguments => arguments,
            Field::Environment { .. } => environment,
            Field::ModelName => model_name,
            Field::Symbol => symbol,
            Field::ErrorText => error_text,
            Field::Diagnostic => diagnostic,
            Field::Text => text,
            Field::TokenIds => match self.token_ids {
                TokenIds::Follow => text,
                TokenIds::Drop => DROP,
            },
        }
    }

    /// What happens to what was found: as the policy says for its kind or, of a rule of its own, for
    /// that rule; else for its group; else it is masked.
    #[must_use]
    pub fn action(&self, name: &str, group: Group) -> Action {
        let action = self.action_of(name);
        let action = action.or_else(|| self.action_of(group.name()));
        action.unwrap_or(Action::Mask)
    }

    /// Whether paths that a scan of this kind finds leave: where the field `path` is kept, the paths
    /// of arguments, variables and errors are kept with it, unless the policy says what happens to
    /// `path` or `places`.
    pub(crate) fn keeps_paths(&self, scan: &Scan) -> bool {
        !scan.is_content
            && self.fields.path == Treatment::Act(Action::Keep)
            && self.action_of(Kind::Path.name()).is_none()
            && self.action_of(Group::Places.name()).is_none()
    }

    /// What the policy says of a kind, a rule or a group by name.
    #[must_use]
    pub(crate) fn action_of(&self, name: &str) -> Option<Action> {
        self.actions.get(name).copied()
    }

    /// The policy's own rules, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The built-in detectors with the policy's own rules.
    ///
    /// # Errors
    /// If a rule cannot be used or does not do what its examples say.
    pub fn detectors(&self) -> Result<Detectors, PolicyError> {
        let rules = self.rules.iter().map(Rule::to_own).collect();
        Detectors::with_rules(rules).map_err(|error| {
            let name = error.rule();
            let rule = self
                .rules
                .iter()
                .find(|rule| Some(rule.name.as_str()) == name);
            PolicyError::Rule {
                line: rule.map_or(0, |rule| rule.line),
                cause: Box::new(error),
            }
        })
    }

    /// SHA-256 of what the policy means.
    #[must_use]
    pub fn digest(&self) -> PolicyDigest {
        PolicyDigest(Sha256::digest(self.to_string()).into())
    }

    /// What two policies treat differently, in the order of a policy file.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        difference::between(self, other)
    }
}

impl Rule {
    fn to_own(&self) -> OwnRule {
        let Self {
            name,
            kind: _,
            group,
            pattern,
            capture,
            keywords,
            validators,
            examples,
            counter_examples,
            line: _,
        } = self;
        OwnRule {
            name: name.clone(),
            pattern: pattern.clone(),
            capture: *capture,
            keywords: keywords.clone(),
            validators: validators.clone(),
            group: *group,
            examples: examples.clone(),
            counter_examples: counter_examples.clone(),
        }
    }
}

impl Fields {
    /// Every field with its name in a policy file.
    fn entries(&self) -> [(&'static str, &Treatment); 9] {
        let Self {
            path,
            executable,
            arguments,
            environment,
            model_name,
            symbol,
            error_text,
            diagnostic,
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
            (Field::Text.name(), text),
        ]
    }

    /// The place of a field, by its name in a policy file.
    fn place(&mut self, name: &str) -> Option<&mut Treatment> {
        let index = self
            .entries()
            .iter()
            .position(|(known, _)| *known == name)?;
        let Self {
            path,
            executable,
            arguments,
            environment,
            model_name,
            symbol,
            error_text,
            diagnostic,
            text,
        } = self;
        let places = [
            path,
            executable,
            arguments,
            environment,
            model_name,
            symbol,
            error_text,
            diagnostic,
            text,
        ];
        places.into_iter().nth(index)
    }
}

#[cfg(test)]
mod tests;
