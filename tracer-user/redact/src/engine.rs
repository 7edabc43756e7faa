use std::collections::HashSet;

use tracer_abi::CaptureLevel;

use crate::{
    content::Content,
    field::Field,
    policy::{Action, Policy, PolicyDigest},
    raw::Raw,
    redacted::{Redacted, Withheld},
};

/// Applies a policy under a granted capture level.
#[derive(Clone, Debug)]
pub struct Engine {
    policy: Policy,
    digest: PolicyDigest,
    level: CaptureLevel,
    switches: HashSet<String>,
}

impl Engine {
    /// An engine for one run.
    #[must_use]
    pub fn new(policy: Policy, level: CaptureLevel) -> Self {
        Self {
            digest: policy.digest(),
            policy,
            level,
            switches: HashSet::new(),
        }
    }

    /// Vouches for environment variables: they are switches, never secrets. Profiles list them.
    #[must_use]
    pub fn with_switches(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.switches.extend(names);
        self
    }

    /// Digest of the policy in force.
    #[must_use]
    pub const fn policy_digest(&self) -> PolicyDigest {
        self.digest
    }

    /// The capture level that was granted.
    #[must_use]
    pub const fn level(&self) -> CaptureLevel {
        self.level
    }

    /// Whether a field always leaves as it is. Where it does not, and reading it costs something,
    /// there is no need to read it.
    #[must_use]
    pub fn keeps(&self, field: Field<'_>) -> bool {
        self.policy.action(field) == Action::Keep
    }

    /// Decides what of a value leaves. The only way to a [`Redacted`].
    #[must_use]
    pub fn redact(&self, field: Field<'_>, raw: Raw<Content>) -> Redacted<Content> {
        match self.policy.action(field) {
            Action::Keep => raw.release(),
            Action::Drop => Redacted::withheld(Withheld::Drop),
            Action::Scan if self.is_harmless(field, raw.expose()) => raw.release(),
            Action::Scan => Redacted::withheld(Withheld::Scan),
            Action::Granted if self.level >= CaptureLevel::Tokens => raw.release(),
            Action::Granted => Redacted::withheld(Withheld::Level),
        }
    }

    fn is_harmless(&self, field: Field<'_>, content: &Content) -> bool {
        match (field, content) {
            (_, Content::Number(_)) => true,
            (Field::Environment { name }, _) => self.switches.contains(name),
            (_, Content::Text(_) | Content::Tokens(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use static_assertions::{assert_impl_all, assert_not_impl_any};

    use super::*;

    assert_not_impl_any!(Content: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
    assert_not_impl_any!(Raw<Content>: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
    assert_not_impl_any!(Raw<String>: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
    assert_not_impl_any!(Redacted<Content>: Default, From<Content>, From<Raw<Content>>,
        serde::Deserialize<'static>, std::ops::DerefMut);
    assert_impl_all!(Redacted<Content>: serde::Serialize);

    const SECRET: &str = "hunter2hunter2";

    const FIELDS: [Field<'static>; 10] = [
        Field::Path,
        Field::Executable,
        Field::Arguments,
        Field::Environment { name: "API_KEY" },
        Field::ModelName,
        Field::Symbol,
        Field::ErrorText,
        Field::Diagnostic,
        Field::TokenIds,
        Field::Text,
    ];

    fn json(engine: &Engine, field: Field<'_>, content: Content) -> String {
        serde_json::to_string(&engine.redact(field, Raw::new(content))).unwrap()
    }

    #[test]
    fn by_default_arguments_environment_error_text_and_content_are_withheld() {
        let engine = Engine::new(Policy::default(), CaptureLevel::Text);
        let kept: Vec<_> = FIELDS
            .into_iter()
            .filter(|field| json(&engine, *field, Content::text(SECRET)).contains(SECRET))
            .map(Field::name)
            .collect();
        assert_eq!(
            kept,
            [
                "path",
                "executable",
                "model_name",
                "symbol",
                "diagnostic",
                "token_ids"
            ]
        );
    }

    #[test]
    fn token_ids_need_the_level_tokens() {
        let ids = || Content::Tokens(vec![1, 15043, -1]);
        let shape = Engine::new(Policy::default(), CaptureLevel::Shape);
        assert_eq!(
            json(&shape, Field::TokenIds, ids()),
            r#"{"redacted":"level"}"#
        );
        let tokens = Engine::new(Policy::default(), CaptureLevel::Tokens);
        assert_eq!(json(&tokens, Field::TokenIds, ids()), "[1,15043,-1]");
    }

    #[test]
    fn a_policy_that_drops_token_ids_beats_the_level() {
        let policy = Policy::parse("[fields]\ntoken_ids = \"drop\"").unwrap();
        let engine = Engine::new(policy, CaptureLevel::Text);
        assert_eq!(
            json(&engine, Field::TokenIds, Content::Tokens(vec![1])),
            r#"{"redacted":"drop"}"#
        );
    }

    #[test]
    fn only_listed_switches_of_the_environment_are_kept() {
        let engine = Engine::new(Policy::default(), CaptureLevel::Shape)
            .with_switches(["OMP_NUM_THREADS".to_owned()]);
        let value = |name| json(&engine, Field::Environment { name }, Content::text("2"));
        assert_eq!(value("OMP_NUM_THREADS"), r#""2""#);
        assert_eq!(value("API_KEY"), r#"{"redacted":"scan"}"#);
    }

    proptest! {
        #[test]
        fn withheld_text_leaves_no_trace_in_the_output(text in "[a-z]{8,64}") {
            let policy = Policy::parse("[fields]\npath = \"drop\"").unwrap();
            let engine = Engine::new(policy, CaptureLevel::Shape);
            let output = json(&engine, Field::Path, Content::text(text));
            prop_assert_eq!(output, r#"{"redacted":"drop"}"#);
        }
    }
}
