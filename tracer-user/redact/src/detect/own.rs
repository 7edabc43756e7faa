//! Rules that a policy brings along.

use super::{
    Detectors, Finding, Limits,
    checksum::{iban, luhn, verhoeff},
    code,
    hit::{Certainty, Found},
    kind::{Group, Kind},
    number::identifier::IDENTIFIERS,
    pattern::Pattern,
    shadow::MARKS,
    tokens::{self, TOKENS},
    words::{Context, Role, Topic, Words},
};

/// A rule of the policy's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRule {
    /// Its name.
    pub name: String,
    /// The regular expression, over bytes: `\d` is an ASCII digit.
    pub pattern: String,
    /// Which of the pattern's groups is what was looked for; 0 is all of it.
    pub capture: usize,
    /// Words of which one must stand within 256 bytes; with none the pattern is tried everywhere.
    pub keywords: Vec<String>,
    /// What the match must pass.
    pub validators: Vec<Validator>,
    /// The group that switches the rule.
    pub group: Group,
    /// Texts in which it must find something.
    pub examples: Vec<String>,
    /// Texts in which it must not.
    pub counter_examples: Vec<String>,
}

/// A check that a match must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validator {
    /// Luhn's check over its digits.
    Luhn,
    /// ISO 7064 MOD 97-10 as in an IBAN.
    Mod97,
    /// Verhoeff's check over its digits.
    Verhoeff,
    /// At least 3 bits of entropy a character.
    Entropy,
}

impl Validator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Luhn, Self::Mod97, Self::Verhoeff, Self::Entropy];

    /// The word in a policy file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Luhn => "luhn",
            Self::Mod97 => "mod97",
            Self::Verhoeff => "verhoeff",
            Self::Entropy => "entropy",
        }
    }

    fn holds(self, value: &[u8]) -> bool {
        let digits = || -> Vec<u8> {
            let digits = value.iter().filter(|byte| byte.is_ascii_digit());
            digits.map(|byte| byte - b'0').collect()
        };
        match self {
            Self::Luhn => luhn(&digits()),
            Self::Verhoeff => verhoeff(&digits()),
            Self::Mod97 => {
                let characters: Vec<u8> = value
                    .iter()
                    .copied()
                    .filter(u8::is_ascii_alphanumeric)
                    .collect();
                iban(&characters)
            }
            Self::Entropy => entropy(value) >= 3.0,
        }
    }
}

/// Shannon's entropy, in bits a byte.
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a match has at most some thousand bytes"
    )]
    let length = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum()
}

/// Why a rule is refused.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The pattern is no regular expression, or too large a one.
    #[error("rule `{rule}`: the pattern cannot be used: {cause}")]
    Pattern {
        /// The rule.
        rule: String,
        /// The reason.
        cause: Box<regex_automata::meta::BuildError>,
    },
    /// The pattern matches nothing at all, as in `x*`.
    #[error("rule `{rule}`: the pattern matches the empty text; demand at least one character")]
    Empty {
        /// The rule.
        rule: String,
    },
    /// An example in which the rule finds nothing.
    #[error(
        "rule `{rule}`: nothing is found in its example {place}; the pattern, a keyword or a validator does not fit it"
    )]
    Example {
        /// The rule.
        rule: String,
        /// Which example, from 1.
        place: usize,
    },
    /// A counter-example in which it finds something.
    #[error("rule `{rule}`: it finds something in its counter-example {place}")]
    CounterExample {
        /// The rule.
        rule: String,
        /// Which one, from 1.
        place: usize,
    },
    /// Without an example nobody knows that the rule can ever find anything.
    #[error("rule `{rule}` has no example; give one text in which it must find something")]
    NoExample {
        /// The rule.
        rule: String,
    },
    /// More rules than can be numbered.
    #[error("a policy may have at most 1000 rules of its own")]
    TooMany,
}

impl RuleError {
    /// The rule that is refused, if it is one alone.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Pattern { rule, .. }
            | Self::Empty { rule }
            | Self::Example { rule, .. }
            | Self::CounterExample { rule, .. }
            | Self::NoExample { rule } => Some(rule),
            Self::TooMany => None,
        }
    }
}

/// A rule that can be run.
pub(crate) struct Compiled {
    pub(crate) name: String,
    pub(crate) pattern: Pattern,
    pub(crate) group: Group,
    pub(crate) has_words: bool,
    validators: Vec<Validator>,
}

impl Compiled {
    /// Whether a match passes the rule's checks.
    pub(crate) fn accepts(&self, value: &[u8]) -> bool {
        !value.is_empty()
            && self
                .validators
                .iter()
                .all(|validator| validator.holds(value))
    }
}

/// Detectors with these rules beside the built-in ones.
pub(crate) fn compile(rules: Vec<OwnRule>) -> Result<Detectors, RuleError> {
    if rules.len() > 1000 {
        return Err(RuleError::TooMany);
    }
    let mut words: Vec<(&str, Role)> = built_in_words();
    for (place, rule) in rules.iter().enumerate() {
        let place = u16::try_from(place).map_err(|_| RuleError::TooMany)?;
        words.extend(
            rule.keywords
                .iter()
                .map(|word| (word.as_str(), Role::Around(place))),
        );
    }
    let words = Words::new(words);
    let own = rules.iter().map(compile_one).collect::<Result<_, _>>()?;
    let detectors = Detectors {
        words,
        patterns: TOKENS
            .iter()
            .map(|token| {
                let group = usize::from(token.pattern.contains("(?<value>"));
                Pattern::new(token.pattern, group)
            })
            .collect(),
        own,
        birth: Pattern::new(super::vocabulary::BIRTH_DATE, 0),
    };
    for (place, rule) in rules.iter().enumerate() {
        check_examples(&detectors, place, rule)?;
    }
    Ok(detectors)
}

fn compile_one(rule: &OwnRule) -> Result<Compiled, RuleError> {
    let pattern = Pattern::new(rule.pattern.as_str(), rule.capture);
    pattern.check().map_err(|cause| RuleError::Pattern {
        rule: rule.name.clone(),
        cause,
    })?;
    if pattern.within(b"", 0, 0).is_some() {
        return Err(RuleError::Empty {
            rule: rule.name.clone(),
        });
    }
    if rule.examples.is_empty() {
        return Err(RuleError::NoExample {
            rule: rule.name.clone(),
        });
    }
    Ok(Compiled {
        name: rule.name.clone(),
        pattern,
        group: rule.group,
        has_words: !rule.keywords.is_empty(),
        validators: rule.validators.clone(),
    })
}

fn check_examples(detectors: &Detectors, place: usize, rule: &OwnRule) -> Result<(), RuleError> {
    let fires = |text: &str| super::scan::own_rule_fires(detectors, place, text.as_bytes());
    if let Some(silent) = rule.examples.iter().position(|text| !fires(text)) {
        return Err(RuleError::Example {
            rule: rule.name.clone(),
            place: silent + 1,
        });
    }
    match rule.counter_examples.iter().position(|text| fires(text)) {
        Some(loud) => Err(RuleError::CounterExample {
            rule: rule.name.clone(),
            place: loud + 1,
        }),
        None => Ok(()),
    }
}

/// Compiles all and tries the built-in examples; gives the number of built-in rules.
pub(crate) fn lint(detectors: &Detectors) -> Result<usize, Vec<RuleError>> {
    let finds = |text: &str, is_it: &dyn Fn(&Finding) -> bool| {
        let found = detectors.scan(text.as_bytes(), &Limits::default());
        found.is_ok_and(|found| found.iter().any(is_it))
    };
    let mut errors = Vec::new();
    for (token, pattern) in TOKENS.iter().zip(&detectors.patterns) {
        let rule = token.name.to_owned();
        let text = format!("x {} y", tokens::expand(token.example));
        if let Err(cause) = pattern.check() {
            errors.push(RuleError::Pattern { rule, cause });
        } else if !finds(&text, &|finding| {
            let end = text.len() - 2;
            let is_value = token.pattern.contains("(?<value>");
            finding.kind == token.kind && (finding.range.end == end || is_value)
        }) {
            errors.push(RuleError::Example { rule, place: 1 });
        }
    }
    for identifier in IDENTIFIERS {
        let text = format!("{} {}", identifier.words[0], identifier.example);
        if !finds(&text, &|finding| finding.range.end == text.len()) {
            errors.push(RuleError::Example {
                rule: identifier.name.to_owned(),
                place: 1,
            });
        }
    }
    let mut codes = 0;
    for (name, text, does_what_it_says) in code::examples() {
        codes += 1;
        let is_found = finds(&text, &|finding| {
            finding.range.end == text.len() && finding.group == Group::Personal
        });
        if !does_what_it_says {
            let rule = name.to_owned();
            errors.push(RuleError::CounterExample { rule, place: 1 });
        } else if !is_found {
            let rule = name.to_owned();
            errors.push(RuleError::Example { rule, place: 1 });
        }
    }
    match errors.is_empty() {
        true => Ok(TOKENS.len() + IDENTIFIERS.len() + codes),
        false => Err(errors),
    }
}

/// Finds what the policy's own rules find in one text.
pub(crate) fn find(
    detectors: &Detectors,
    context: &Context<'_>,
    report: &mut dyn FnMut(Found, Option<(u16, Group)>),
) {
    let text = context.text;
    let mut report_match = |place: usize, (start, end): (usize, usize)| {
        let rule = &detectors.own[place];
        if rule.accepts(&text[start..end]) {
            let found = Found {
                range: start..end,
                rule: "own",
                kind: Kind::Custom,
                certainty: Certainty::Shape,
            };
            let own = u16::try_from(place).ok().map(|place| (place, rule.group));
            report(found, own);
        }
    };
    let mut search = |place: usize, from: usize, to: usize| {
        let mut at = from;
        while let Some((start, end)) = detectors.own[place].pattern.within(text, at, to) {
            report_match(place, (start, end));
            at = end.max(at + 1).max(start + 1);
        }
        at
    };
    for place in 0..detectors.own.len() {
        if !detectors.own[place].has_words {
            search(place, 0, text.len());
        }
    }
    if detectors.own.is_empty() {
        return;
    }
    // Windows around the same rule's words are searched once where they overlap.
    let mut searched = vec![0; detectors.own.len()];
    for hit in context.hits {
        for role in context.words.roles(*hit) {
            if let Role::Around(place) = role {
                let place = usize::from(*place);
                let from = hit.start.saturating_sub(256).max(searched[place]);
                searched[place] = search(place, from, hit.end + 256).max(from);
            }
        }
    }
}

/// Every built-in word, with why it is looked for.
fn built_in_words() -> Vec<(&'static str, Role)> {
    let mut words = Vec::new();
    for (place, token) in TOKENS.iter().enumerate() {
        let place = u16::try_from(place).expect("the table has fewer rules than that");
        words.extend(token.words.iter().map(|word| (*word, Role::Rule(place))));
    }
    for (place, identifier) in IDENTIFIERS.iter().enumerate() {
        let place = u8::try_from(place).expect("the table has fewer identifiers than that");
        let topic = Role::Topic(Topic::Identifier(place));
        words.extend(identifier.words.iter().map(|word| (*word, topic)));
        // A word of one identifier vouches for the kind as well: passports have many shapes.
        let kind = match identifier.kind {
            Kind::Passport => Topic::Passport,
            Kind::DrivingLicence => Topic::Licence,
            Kind::HealthId => Topic::Health,
            Kind::BankAccount => Topic::Bank,
            _ => Topic::Tax,
        };
        words.extend(
            identifier
                .words
                .iter()
                .map(|word| (*word, Role::Topic(kind))),
        );
    }
    words.extend(
        super::place::ENDINGS
            .iter()
            .map(|word| (*word, Role::HostEnding)),
    );
    words.extend(super::place::ROOTS.iter().map(|word| (*word, Role::Path)));
    words.extend(
        super::place::BEFORE_PATHS
            .iter()
            .map(|word| (*word, Role::BeforePath)),
    );
    let codes = super::short_code::WORDS.iter();
    words.extend(
        codes.flat_map(|(form, words)| words.iter().map(|word| (*word, Role::Code(*form)))),
    );
    words.extend(super::command::names().map(|(word, place)| (word, Role::Program(place))));
    words.extend(MARKS.iter().map(|(word, mark)| (*word, Role::Mark(*mark))));
    words.extend(
        super::vocabulary::WORDS
            .iter()
            .flat_map(|(role, list)| list.iter().map(|word| (*word, *role))),
    );
    words
}
