//! Finds what should not leave: credentials, personal data, places.
//!
//! A text is scanned as it stands and as its *shadows*: decoded copies whose every byte knows
//! where it came from. Words, all found in one pass, say where a rule's pattern is tried; numbers,
//! addresses and codes are recognised by their shape in one walk. A finding always lies on the
//! original bytes.
//!
//! # For whoever scans a text piece by piece
//!
//! [`Detectors::reach`] says how far a decision looks and how long a finding can become. What is
//! further than [`Reach::around`] from a place has no say in what is found there, but for a value that is found
//! elsewhere in what is scanned at once, which is found again. A text that is a
//! part of something longer must be scanned with [`Limits::is_whole`] unset.

mod address;
mod armour;
mod assignment;
mod bare;
mod believe;
mod checksum;
mod class;
mod code;
mod colon;
mod command;
mod crypto;
mod dialogue;
mod email;
mod finder;
mod hit;
mod iban;
mod kind;
pub mod lexical;
mod link;
mod literal;
mod login;
mod looks;
mod number;
mod numbered;
mod own;
mod pattern;
mod place;
mod placeholder;
mod prefixed;
mod repeat;
mod resolve;
mod scan;
mod service;
mod session;
mod shadow;
mod short_code;
mod spelling;
mod tokens;
mod url;
mod user;
mod vocabulary;
mod walk;
mod word;
mod words;

use std::{ops::Range, time::Duration};

pub use self::{
    hit::Certainty,
    kind::{Group, Kind},
    own::{OwnRule, RuleError, Validator},
};
use self::{pattern::Pattern, words::Words};

/// The built-in rules and those of a policy.
pub struct Detectors {
    words: Words,
    /// Those of the table of tokens, in its order.
    patterns: Vec<Pattern>,
    /// Own rules, in the policy's order.
    own: Vec<own::Compiled>,
    birth: Pattern,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where, in the bytes that were scanned.
    pub range: Range<usize>,
    /// By which rule; [`Detectors::rule_name`] gives its name.
    pub rule: RuleId,
    /// What it is.
    pub kind: Kind,
    /// The group that the rule belongs to.
    pub group: Group,
    /// Why it is believed.
    pub certainty: Certainty,
    /// Whether it was found in a decoded shadow, so that its bytes are not the value itself.
    pub encoded: bool,
}

/// Which rule found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleId {
    /// A built-in one, by its name.
    BuiltIn(&'static str),
    /// One of the policy's own, by its place among them.
    Own(u16),
}

/// What a scan may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest text, in bytes.
    pub max_text: usize,
    /// How deep encodings may be nested.
    pub max_depth: usize,
    /// How many findings there may be before they are joined.
    pub max_findings: usize,
    /// How much of the thread's processor time it may take; none means as long as it takes, which is what a test or a
    /// measurement wants. It is looked at between one walk over the text and the next.
    pub max_time: Option<Duration>,
    /// Whether the text is one whole value (an argument, a field, a text that has ended), so that
    /// an identifier that is all there is may be taken for one.
    pub is_whole: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_text: 16 << 20,
            max_depth: 4,
            max_findings: 1 << 20,
            max_time: None,
            is_whole: true,
        }
    }
}

/// How far decisions look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// How far before and after a finding a byte may stand that has a say in it, in bytes.
    pub around: usize,
    /// The longest finding with blanks in it, in bytes: an armoured key. A run without blanks (an
    /// encoded text, a value after a name) is found to its end however long it is, so whoever scans
    /// piece by piece must hide a run that does not end within this length.
    pub longest: usize,
}

/// Why a text was not scanned to its end. Its content must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The text is longer than allowed.
    #[error("the text has {length} bytes, and {limit} may be scanned")]
    TooLong {
        /// Its length.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// It took longer than allowed.
    #[error("the search took longer than {} ms", limit.as_millis())]
    TooSlow {
        /// What is allowed.
        limit: Duration,
    },
    /// There is more to find than allowed.
    #[error("the text holds more than {limit} findings")]
    TooMany {
        /// What is allowed.
        limit: usize,
    },
}

impl Detectors {
    /// The built-in rules.
    #[must_use]
    pub fn builtin() -> Self {
        Self::with_rules(Vec::new()).expect("a test compiles the built-in rules")
    }

    /// The built-in rules and those of a policy.
    ///
    /// # Errors
    /// If an own rule cannot be compiled, finds nothing in one of its examples, or something in a
    /// counter-example.
    pub fn with_rules(rules: Vec<OwnRule>) -> Result<Self, RuleError> {
        own::compile(rules)
    }

    /// Finds everything, sorted and without overlaps.
    ///
    /// The time is linear in the text's length, and so is the memory.
    ///
    /// # Errors
    /// If a limit is passed; then nothing of the text may leave.
    pub fn scan(&self, text: &[u8], limits: &Limits) -> Result<Vec<Finding>, ScanError> {
        self.scan_for(text, limits, &|_| true)
    }

    /// As [`Detectors::scan`], of what is wanted alone: what is not wanted shields nothing that
    /// overlaps it.
    ///
    /// # Errors
    /// As [`Detectors::scan`].
    pub fn scan_for(
        &self,
        text: &[u8],
        limits: &Limits,
        is_wanted: &dyn Fn(&Finding) -> bool,
    ) -> Result<Vec<Finding>, ScanError> {
        if text.len() > limits.max_text {
            return Err(ScanError::TooLong {
                length: text.len(),
                limit: limits.max_text,
            });
        }
        scan::scan(self, text, limits, is_wanted)
    }

    /// The number of matches when every rule is tried on its own, everywhere: what the shared
    /// search for words is measured against.
    #[doc(hidden)]
    #[must_use]
    pub fn scan_rule_by_rule(&self, text: &[u8]) -> usize {
        scan::rule_by_rule(self, text)
    }

    /// The name of a rule, as in `policy explain`.
    #[must_use]
    pub fn rule_name(&self, rule: RuleId) -> &str {
        match rule {
            RuleId::BuiltIn(name) => name,
            RuleId::Own(place) => self
                .own
                .get(usize::from(place))
                .map_or("unknown", |rule| &rule.name),
        }
    }

    /// How far decisions look.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        Reach {
            around: shadow::TABLE_REACH,
            longest: armour::MAX + 256,
        }
    }

    /// Compiles every pattern and tries every built-in example; `tracer policy lint` calls it.
    ///
    /// # Errors
    /// Every rule that does not do what it says.
    pub fn lint(&self) -> Result<usize, Vec<RuleError>> {
        own::lint(self)
    }
}

#[cfg(test)]
mod tests;
