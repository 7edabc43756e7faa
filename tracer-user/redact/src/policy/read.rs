//! A policy file's text, strictly: every key is known, every value fits, and each error has a line.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Action, Fields, Mode, Policy, PolicyError, Rule, Scan, TokenIds, Treatment};
use crate::{
    detect::{Group, Kind, Validator},
    field::Field,
};

/// Rules of its own that a policy may have.
const MOST_RULES: usize = 256;
/// Characters that `partial` may leave at either end.
const MOST_KEPT: i64 = 8;

const ACTIONS: [&str; 6] = ["keep", "drop", "mask", "partial", "hash", "pseudonym"];
const TREATMENTS: [&str; 7] = [
    "keep",
    "drop",
    "mask",
    "partial",
    "hash",
    "pseudonym",
    "scan",
];

type Table<'i> = Spanned<DeTable<'i>>;
type Value<'i> = Spanned<DeValue<'i>>;

pub(super) fn policy(text: &str) -> Result<Policy, PolicyError> {
    let file = File { text };
    let root = DeTable::parse(text).map_err(|error| PolicyError::Syntax {
        line: error.span().map_or(1, |span| file.line(span.start)),
        what: error.message().to_owned(),
    })?;
    let mut policy = Policy::default();
    for (key, value) in root.get_ref() {
        match key.get_ref().as_ref() {
            "fields" => file.fields(value, &mut policy)?,
            "actions" => {
                for (name, value) in file.table(value, "[actions]")? {
                    let action = file.action(value)?;
                    policy.actions.insert(name.get_ref().to_string(), action);
                }
            }
            "rule" => policy.rules = file.rules(value)?,
            other => {
                let line = file.line(key.span().start);
                return Err(unknown(
                    line,
                    "section",
                    other,
                    &["fields", "actions", "rule"],
                ));
            }
        }
    }
    file.check_actions(&root, &policy)?;
    file.check_scans(&root, &policy)?;
    if !policy.rules.is_empty() {
        policy.detectors()?;
    }
    Ok(policy)
}

struct File<'i> {
    text: &'i str,
}

impl<'i> File<'i> {
    fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn refuse(
        &self,
        value: &Value<'_>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> PolicyError {
        PolicyError::Value {
            line: self.line(value.span().start),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn table<'v>(&self, value: &'v Value<'i>, what: &str) -> Result<&'v DeTable<'i>, PolicyError> {
        value.get_ref().as_table().ok_or_else(|| {
            let is = value.get_ref().type_str();
            self.refuse(value, format!("{what} is {is}"), "write it as a table")
        })
    }

    fn text<'v>(&self, value: &'v Value<'i>, what: &str) -> Result<&'v str, PolicyError> {
        value.get_ref().as_str().ok_or_else(|| {
            let is = value.get_ref().type_str();
            self.refuse(value, format!("{what} is {is}"), "write it as a string")
        })
    }

    fn texts(&self, value: &Value<'i>, what: &str) -> Result<Vec<String>, PolicyError> {
        let list = value.get_ref().as_array().ok_or_else(|| {
            let is = value.get_ref().type_str();
            self.refuse(
                value,
                format!("{what} is {is}"),
                "write it as a list of strings",
            )
        })?;
        list.iter()
            .map(|value| self.text(value, what).map(str::to_owned))
            .collect()
    }

    fn fields(&self, value: &Value<'i>, policy: &mut Policy) -> Result<(), PolicyError> {
        for (key, value) in self.table(value, "[fields]")? {
            let (name, line) = (key.get_ref().as_ref(), self.line(key.span().start));
            if name == Field::TokenIds.name() {
                policy.token_ids = match self.text(value, "token_ids")? {
                    "follow" => TokenIds::Follow,
                    "drop" => TokenIds::Drop,
                    "granted" | "keep" => {
                        return Err(self.refuse(
                            value,
                            "token ids are their text for whoever has the vocabulary, so they \
                             cannot be kept on their own",
                            "write token_ids = \"follow\" and text = \"keep\"",
                        ));
                    }
                    other => return Err(unknown(line, "treatment", other, &["follow", "drop"])),
                };
                continue;
            }
            let known = names(&policy.fields);
            let Some(place) = policy.fields.place(name) else {
                return Err(unknown(line, "field", name, &known));
            };
            *place = self.treatment(value)?;
            if let Treatment::Scan(scan) = place {
                scan.is_content = name == Field::Text.name();
            }
        }
        Ok(())
    }

    fn treatment(&self, value: &Value<'i>) -> Result<Treatment, PolicyError> {
        let word = self.word(value, &TREATMENTS)?;
        if word != "scan" {
            return self.action(value).map(Treatment::Act);
        }
        let mut scan = Scan::default();
        for (key, value) in value.get_ref().as_table().into_iter().flatten() {
            match key.get_ref().as_ref() {
                "action" => {}
                "groups" => {
                    let groups = self.groups(value)?;
                    if groups.is_empty() {
                        return Err(self.refuse(
                            value,
                            "a scan of no group finds nothing",
                            "leave `groups` out for all of them, or write \"keep\"",
                        ));
                    }
                    scan.groups = Some(groups);
                }
                "mode" => {
                    scan.mode = match self.text(value, "mode")? {
                        "plain" => Mode::Plain,
                        "lexical" => Mode::Lexical,
                        other => {
                            let line = self.line(value.span().start);
                            return Err(unknown(line, "mode", other, &["plain", "lexical"]));
                        }
                    }
                }
                other => {
                    let line = self.line(key.span().start);
                    return Err(unknown(line, "key", other, &["action", "groups", "mode"]));
                }
            }
        }
        Ok(Treatment::Scan(scan))
    }

    fn groups(&self, value: &Value<'i>) -> Result<Vec<Group>, PolicyError> {
        let mut groups = Vec::new();
        for name in self.texts(value, "groups")? {
            groups.push(self.group(value, &name)?);
        }
        // The same groups mean the same in any order.
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    fn group(&self, value: &Value<'i>, name: &str) -> Result<Group, PolicyError> {
        let known = Group::ALL.map(Group::name);
        let group = Group::ALL.into_iter().find(|group| group.name() == name);
        group.ok_or_else(|| unknown(self.line(value.span().start), "group", name, &known))
    }

    fn action(&self, value: &Value<'i>) -> Result<Action, PolicyError> {
        let word = self.word(value, &ACTIONS)?;
        let is_partial = word == "partial";
        let (mut first, mut last) = (0, if is_partial { 4 } else { 0 });
        let table = value.get_ref().as_table();
        if let Some(table) = table {
            last = 0;
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    "action" => {}
                    "keep_first" if is_partial => first = self.kept(value)?,
                    "keep_last" if is_partial => last = self.kept(value)?,
                    other => {
                        let known: &[&str] = match is_partial {
                            true => &["action", "keep_first", "keep_last"],
                            false => &["action"],
                        };
                        return Err(unknown(self.line(key.span().start), "key", other, known));
                    }
                }
            }
        }
        Ok(match word {
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "hash" => Action::Hash,
            "pseudonym" => Action::Pseudonym,
            "partial" if (first, last) == (0, 0) => {
                return Err(self.refuse(
                    value,
                    "partial leaves no character",
                    "give keep_first or keep_last, or write \"mask\"",
                ));
            }
            "partial" => Action::Partial { first, last },
            _ => Action::Mask,
        })
    }

    /// The action's word: the value itself, or its key `action`.
    fn word<'v>(&self, value: &'v Value<'i>, known: &[&str]) -> Result<&'v str, PolicyError> {
        let named = match value.get_ref().as_table() {
            Some(table) => table.get("action").ok_or_else(|| {
                self.refuse(
                    value,
                    "the table has no `action`",
                    "add action = \"scan\" or another",
                )
            })?,
            None => value,
        };
        let word = self.text(named, "an action")?;
        if !known.contains(&word) {
            return Err(unknown(
                self.line(named.span().start),
                "action",
                word,
                known,
            ));
        }
        Ok(word)
    }

    fn kept(&self, value: &Value<'i>) -> Result<u8, PolicyError> {
        let number = value.get_ref().as_integer();
        let number =
            number.and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        match number {
            Some(kept @ 0..=MOST_KEPT) => Ok(u8::try_from(kept).unwrap_or(0)),
            _ => Err(self.refuse(
                value,
                "this is no number of characters to keep",
                format!("give one from 0 to {MOST_KEPT}"),
            )),
        }
    }

    fn rules(&self, value: &Value<'i>) -> Result<Vec<Rule>, PolicyError> {
        let list = value.get_ref().as_array().ok_or_else(|| {
            self.refuse(
                value,
                "`rule` is not a list",
                "write each rule under [[rule]]",
            )
        })?;
        if list.len() > MOST_RULES {
            return Err(self.refuse(
                value,
                format!("{} rules are too many", list.len()),
                format!("keep to {MOST_RULES}"),
            ));
        }
        let mut rules: Vec<Rule> = Vec::new();
        for value in list.iter() {
            let rule = self.rule(value)?;
            if rules.iter().any(|known| known.name == rule.name) {
                return Err(self.refuse(
                    value,
                    format!("two rules are named `{}`", rule.name),
                    "give each a name of its own",
                ));
            }
            rules.push(rule);
        }
        Ok(rules)
    }

    fn rule(&self, whole: &Value<'i>) -> Result<Rule, PolicyError> {
        const KEYS: [&str; 9] = [
            "name",
            "kind",
            "group",
            "pattern",
            "capture",
            "keywords",
            "validators",
            "examples",
            "counter_examples",
        ];
        let table = self.table(whole, "a rule")?;
        for (key, _) in table {
            if !KEYS.contains(&key.get_ref().as_ref()) {
                let line = self.line(key.span().start);
                return Err(unknown(line, "key", key.get_ref(), &KEYS));
            }
        }
        let text = |key: &str| {
            let value = table.get(key);
            value
                .map(|value| self.text(value, key).map(str::to_owned))
                .transpose()
        };
        let texts = |key: &str| {
            let value = table.get(key);
            value.map_or_else(|| Ok(Vec::new()), |value| self.texts(value, key))
        };
        let needed = |key: &str| {
            text(key)?.filter(|text| !text.is_empty()).ok_or_else(|| {
                self.refuse(
                    whole,
                    format!("the rule has no `{key}`"),
                    format!("add {key} = \"…\""),
                )
            })
        };
        let name = needed("name")?;
        if !is_word(&name) {
            return Err(self.refuse(
                whole,
                format!("`{name}` is no name for a rule"),
                "use lower-case letters, digits, - and _",
            ));
        }
        let kind = match text("kind")? {
            Some(kind) if is_word(&kind.to_ascii_lowercase()) => kind,
            Some(kind) => {
                return Err(self.refuse(
                    whole,
                    format!("`{kind}` is no kind"),
                    "use letters, digits, - and _",
                ));
            }
            None => name.replace('-', "_").to_ascii_uppercase(),
        };
        let examples = texts("examples")?;
        if examples.is_empty() {
            return Err(self.refuse(
                whole,
                format!("the rule `{name}` has no example, so nothing shows that it can ever fire"),
                "add examples = [\"a text that it should find something in\"]",
            ));
        }
        Ok(Rule {
            kind,
            group: match table.get("group") {
                Some(value) => self.group(value, self.text(value, "group")?)?,
                None => Group::Personal,
            },
            pattern: needed("pattern")?,
            capture: match table.get("capture") {
                Some(value) => usize::from(self.kept(value)?),
                None => 0,
            },
            keywords: texts("keywords")?,
            validators: match table.get("validators") {
                Some(value) => self.validators(value)?,
                None => Vec::new(),
            },
            examples,
            counter_examples: texts("counter_examples")?,
            line: self.line(whole.span().start),
            name,
        })
    }

    fn validators(&self, value: &Value<'i>) -> Result<Vec<Validator>, PolicyError> {
        let known = Validator::ALL.map(Validator::name);
        let names = self.texts(value, "validators")?.into_iter();
        names
            .map(|name| {
                let mut all = Validator::ALL.into_iter();
                all.find(|validator| validator.name() == name)
                    .ok_or_else(|| {
                        unknown(self.line(value.span().start), "validator", &name, &known)
                    })
            })
            .collect()
    }

    /// Each name in `[actions]` is a kind, a group or a rule of the policy.
    fn check_actions(&self, root: &Table<'i>, policy: &Policy) -> Result<(), PolicyError> {
        let own = policy.rules.iter().map(|rule| rule.name.as_str());
        let groups = Group::ALL.map(Group::name);
        let kinds = Kind::ALL.map(Kind::name);
        let known: Vec<&str> = kinds
            .into_iter()
            .chain(groups)
            .chain(["word"])
            .chain(own)
            .collect();
        let actions = root.get_ref().get("actions");
        let actions = actions.and_then(|value| value.get_ref().as_table());
        for (key, _) in actions.into_iter().flatten() {
            if !known.contains(&key.get_ref().as_ref()) {
                let line = self.line(key.span().start);
                return Err(unknown(line, "kind, group or rule", key.get_ref(), &known));
            }
        }
        Ok(())
    }

    /// Each own rule is in a group that some field is scanned for.
    fn check_scans(&self, root: &Table<'i>, policy: &Policy) -> Result<(), PolicyError> {
        let rules = root
            .get_ref()
            .get("rule")
            .and_then(|value| value.get_ref().as_array());
        for (rule, value) in policy
            .rules
            .iter()
            .zip(rules.into_iter().flat_map(|rules| rules.iter()))
        {
            let is_scanned = policy.fields.entries().iter().any(|(_, treatment)| {
                matches!(treatment, Treatment::Scan(scan) if scan.includes(rule.group))
            });
            if !is_scanned {
                return Err(self.refuse(
                    value,
                    format!(
                        "the rule `{}` can never fire: no field is scanned for its group `{}`",
                        rule.name,
                        rule.group.name()
                    ),
                    "scan a field for that group, or take the rule out",
                ));
            }
        }
        Ok(())
    }
}

impl Scan {
    /// Whether a group's rules are looked for.
    #[must_use]
    pub fn includes(&self, group: Group) -> bool {
        let groups = self.groups.as_ref();
        groups.is_none_or(|groups| groups.contains(&group))
    }
}

fn names(fields: &Fields) -> Vec<&'static str> {
    let names = fields.entries().map(|(name, _)| name);
    names.into_iter().chain([Field::TokenIds.name()]).collect()
}

fn is_word(name: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_allowed)
}

pub(super) fn unknown(
    line: usize,
    place: &'static str,
    name: &str,
    known: &[impl AsRef<str>],
) -> PolicyError {
    let nearest = known
        .iter()
        .map(AsRef::as_ref)
        .min_by_key(|candidate| strsim::damerau_levenshtein(candidate, name));
    PolicyError::Unknown {
        line,
        place,
        name: name.chars().take(64).collect(),
        nearest: nearest.unwrap_or_default().to_owned(),
    }
}
