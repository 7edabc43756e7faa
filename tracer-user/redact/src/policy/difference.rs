//! What two policies treat differently.

use std::collections::BTreeSet;

use super::{Policy, Rule};
use crate::field::Field;

/// One thing that two policies treat differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its place in a policy file, such as `fields.text` or `rule customer-id`.
    pub place: String,
    /// What the first policy says, as a policy file has it; none if nothing.
    pub left: Option<String>,
    /// What the second one says.
    pub right: Option<String>,
}

pub(super) fn between(left: &Policy, right: &Policy) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut compare = |place: String, left: Option<String>, right: Option<String>| {
        if left != right {
            all.push(Difference { place, left, right });
        }
    };
    let fields = left
        .fields
        .entries()
        .into_iter()
        .zip(right.fields.entries());
    for ((name, left), (_, right)) in fields {
        compare(
            format!("fields.{name}"),
            Some(left.to_string()),
            Some(right.to_string()),
        );
    }
    let ids = |policy: &Policy| Some(policy.treatment(Field::TokenIds).to_string());
    compare("fields.token_ids".to_owned(), ids(left), ids(right));
    let names = left.actions.keys().chain(right.actions.keys());
    for name in names.collect::<BTreeSet<_>>() {
        let action = |policy: &Policy| policy.actions.get(name).map(ToString::to_string);
        compare(format!("actions.{name}"), action(left), action(right));
    }
    let rules = left.rules.iter().chain(&right.rules);
    for name in rules.map(|rule| &rule.name).collect::<BTreeSet<_>>() {
        let rule = |policy: &Policy| {
            let mut rules = policy.rules.iter();
            rules.find(|rule| rule.name == *name).map(Rule::to_string)
        };
        compare(format!("rule {name}"), rule(left), rule(right));
    }
    all
}
