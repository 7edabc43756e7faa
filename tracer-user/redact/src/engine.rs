use std::{
    collections::HashSet,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tracer_abi::CaptureLevel;

use crate::{
    arguments::{is_content_option, is_option, is_prose, may_be_secret},
    content::Content,
    detect::{Detectors, Finding, Kind, Limits, RuleId, lexical},
    field::Field,
    key::RunKey,
    mark::{Hit, Mark, marks, replacement},
    policy::{Action, Mode, Policy, PolicyDigest, PolicyError, Scan, Treatment},
    raw::Raw,
    redacted::{Redacted, Withheld},
    secret_name::is_secret_name,
    tally::{SharedTally, Tally},
    window::{Decided, Sizes, Undecided, Window},
};

/// Bytes of a single value that are searched; a longer one is withheld.
const LONGEST: usize = 1 << 20;
/// How long a single search may take. A window of 128 KiB takes some milliseconds; one that takes
/// this long is on a machine that has no time for it, or has found what nobody thought of.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// Bytes on each side of a gap that are hidden with it: half a secret may end there.
const BESIDE_GAP: usize = 64;

/// Applies a policy under a granted capture level.
pub struct Engine {
    policy: Policy,
    digest: PolicyDigest,
    level: CaptureLevel,
    key: RunKey,
    detectors: Detectors,
    switches: HashSet<String>,
    sizes: Sizes,
    time_limit: Duration,
    tally: SharedTally,
}

impl Engine {
    /// An engine for one run. `key` lives as long as the engine does, and no longer.
    ///
    /// # Errors
    /// If a rule of the policy's own is not one; [`Policy::parse`] refuses it before.
    pub fn new(policy: Policy, level: CaptureLevel, key: RunKey) -> Result<Self, PolicyError> {
        Ok(Self {
            digest: policy.digest(),
            detectors: policy.detectors()?,
            policy,
            level,
            key,
            switches: HashSet::new(),
            sizes: Sizes::default(),
            time_limit: TIME_LIMIT,
            tally: SharedTally::default(),
        })
    }

    /// Vouches for environment variables: they are switches, whatever their names sound like. Profiles
    /// list them. Their values are searched all the same.
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

    /// What happens to a field.
    #[must_use]
    pub const fn treatment(&self, field: Field<'_>) -> &Treatment {
        self.policy.treatment(field)
    }

    /// Whether something of a field may leave. Where not, and reading it costs something, there is
    /// no need to read it.
    #[must_use]
    pub fn shows(&self, field: Field<'_>) -> bool {
        self.is_granted(field) && *self.treatment(field) != Treatment::Act(Action::Drop)
    }

    /// What was found so far, and what could not be searched.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.snapshot()
    }

    /// Decides what of a value leaves. The only way to a [`Redacted`].
    #[must_use]
    pub fn redact(&self, field: Field<'_>, raw: Raw<Content>) -> Redacted<Content> {
        if !self.is_granted(field) {
            return Redacted::withheld(Withheld::Level);
        }
        match self.treatment(field) {
            Treatment::Act(Action::Keep) => raw.release(),
            Treatment::Act(Action::Drop) => Redacted::withheld(Withheld::Drop),
            Treatment::Act(action) => self.replaced(field, raw.expose(), *action),
            Treatment::Scan(scan) => self.scanned(field, scan, raw),
        }
    }

    /// Whether the capture level includes a field.
    pub(crate) fn is_granted(&self, field: Field<'_>) -> bool {
        match field {
            Field::TokenIds => self.level >= CaptureLevel::Tokens,
            Field::Text => self.level >= CaptureLevel::Text,
            Field::Path
            | Field::Executable
            | Field::Arguments
            | Field::Environment { .. }
            | Field::ModelName
            | Field::Symbol
            | Field::ErrorText
            | Field::Diagnostic => true,
        }
    }

    /// A value whose field is replaced as a whole.
    fn replaced(&self, field: Field<'_>, content: &Content, action: Action) -> Redacted<Content> {
        let kind = field.name().to_ascii_uppercase();
        let shown = |value: &[u8]| replacement(value, &kind, action, &self.key);
        Redacted::kept(match content {
            Content::Text(bytes) | Content::Beginning(bytes) => Content::Text(shown(bytes)),
            Content::Texts(texts) => Content::Texts(texts.iter().map(|text| shown(text)).collect()),
            Content::Number(number) => Content::Text(shown(number.to_string().as_bytes())),
            // Ids and log-probabilities are shown as they are or not at all.
            Content::Tokens(_) | Content::LogProbabilities(_) => {
                return Redacted::withheld(Withheld::Drop);
            }
        })
    }

    fn scanned(&self, field: Field<'_>, scan: &Scan, raw: Raw<Content>) -> Redacted<Content> {
        let outcome = match (field, raw.expose()) {
            // The name of a switch may sound like a secret's; its value is searched like any.
            (Field::Environment { name }, Content::Text(value)) if self.switches.contains(name) => {
                self.sanitised(scan, b"", value).map(Content::Text)
            }
            (Field::Environment { name }, Content::Text(value)) => {
                self.named(scan, name.as_bytes(), value).map(Content::Text)
            }
            // Whatever stands for text without being it: ids, log-probabilities. Those of a sequence
            // are searched as text, in a passage.
            (Field::TokenIds, _) | (_, Content::Tokens(_) | Content::LogProbabilities(_)) => {
                Err(self.fail(Withheld::Unreadable))
            }
            (_, Content::Text(text)) => self.sanitised(scan, b"", text).map(Content::Text),
            (_, Content::Beginning(text)) => self.beginning(scan, text).map(Content::Text),
            (_, Content::Texts(texts)) => self.arguments(scan, texts).map(Content::Texts),
            (_, Content::Number(_)) => return raw.release(),
        };
        match outcome {
            Ok(content) => Redacted::kept(content),
            Err(reason) => Redacted::withheld(reason),
        }
    }

    /// Arguments, each read with the option before it.
    fn arguments(&self, scan: &Scan, texts: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Withheld> {
        let mut option: Option<&[u8]> = None;
        let mut shown = Vec::with_capacity(texts.len());
        for text in texts {
            let own = text.iter().position(|byte| *byte == b'=');
            shown.push(match (option.take(), own) {
                (Some(option), _) if is_content_option(option) => self.content(),
                (_, Some(equals)) if is_content_option(&text[..equals]) => {
                    [&text[..=equals], &self.content()].concat()
                }
                (_, Some(equals)) if is_secret_name(&text[..equals]) => {
                    let (name, value) = text.split_at(equals + 1);
                    [name, &self.named(scan, &text[..equals], value)?].concat()
                }
                (Some(option), _) if is_secret_name(option) && may_be_secret(text) => {
                    self.named(scan, option, text)?
                }
                _ if is_prose(text) => self.content(),
                (_, Some(equals)) if is_option(text) && is_prose(&text[equals + 1..]) => {
                    [&text[..=equals], &self.content()].concat()
                }
                (Some(option), _) if !is_option(text) => self.named(scan, option, text)?,
                _ => self.sanitised(scan, b"", text)?,
            });
            option = (is_option(text) && own.is_none()).then_some(text);
        }
        Ok(shown)
    }

    /// What stands for a prompt that a program is given as an argument: content, which a field of
    /// shapes never shows.
    fn content(&self) -> Vec<u8> {
        self.tally.replaced("TEXT");
        b"[TEXT]".to_vec()
    }

    /// A value that has a name: one that says that it is a secret is believed.
    fn named(&self, scan: &Scan, name: &[u8], value: &[u8]) -> Result<Vec<u8>, Withheld> {
        const KIND: Kind = Kind::Secret;
        if is_secret_name(name) && scan.includes(KIND.group()) && !value.is_empty() {
            match self.policy.action(KIND.name(), KIND.group()) {
                Action::Keep => {}
                Action::Drop => return Err(Withheld::Drop),
                action => {
                    let kind = KIND.name().to_ascii_uppercase();
                    self.tally.replaced(&kind);
                    return Ok(replacement(value, &kind, action, &self.key));
                }
            }
        }
        let name = name.trim_ascii_start();
        let name = &name[name.iter().take_while(|byte| **byte == b'-').count()..];
        self.sanitised(scan, &[name, b"="].concat(), value)
    }

    /// A text without what is found in it, read after `before`, which is not shown.
    fn sanitised(&self, scan: &Scan, before: &[u8], text: &[u8]) -> Result<Vec<u8>, Withheld> {
        if text.len() > LONGEST || before.len() > self.sizes.context {
            return Err(self.fail(Withheld::Failed));
        }
        let mut window = Window::new(self.sizes);
        window.take(before);
        window.skip();
        self.shown(scan, window, text, false)
    }

    /// The beginning of a text, as [`Engine::sanitised`], without what may go on past its end.
    fn beginning(&self, scan: &Scan, text: &[u8]) -> Result<Vec<u8>, Withheld> {
        if text.len() > LONGEST {
            return Err(self.fail(Withheld::Failed));
        }
        self.shown(scan, Window::new(self.sizes), text, true)
    }

    /// A text through a window, which decides as often as it does for one that comes in tokens.
    fn shown(
        &self,
        scan: &Scan,
        mut window: Window,
        text: &[u8],
        goes_on: bool,
    ) -> Result<Vec<u8>, Withheld> {
        let mut shown = Vec::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let taken = window.take(rest);
            rest = &rest[taken.bytes..];
            if window.is_full() {
                self.settle(scan, &mut window, false, &mut shown)?;
            }
        }
        if goes_on {
            window.gap();
        }
        self.settle(scan, &mut window, true, &mut shown)?;
        Ok(shown)
    }

    /// Adds what a window shows of what it can decide, all of it if the text ends here.
    fn settle(
        &self,
        scan: &Scan,
        window: &mut Window,
        last: bool,
        shown: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let decided = window.decide(last, |text| self.judge(scan, &text));
        if let Some(reason) = decided.withheld {
            return Err(reason);
        }
        self.count(&decided);
        shown.extend(window.render(decided.range.clone(), &decided.marks));
        window.advance(&decided, last);
        Ok(())
    }

    /// What to hide in a text that has gaps.
    pub(crate) fn judge(&self, scan: &Scan, text: &Undecided<'_>) -> Result<Vec<Mark>, Withheld> {
        let hits = self.guarded(|| self.hits(scan, text))?;
        if hits.iter().any(|hit| hit.action == Action::Drop) {
            return Err(Withheld::Drop);
        }
        Ok(marks(text.bytes, hits, &self.key))
    }

    /// Runs a search and counts one that fails. A panic on hostile text is such a failure: it takes its
    /// text with it, and tracing goes on.
    fn guarded<T>(&self, search: impl FnOnce() -> Result<T, Withheld>) -> Result<T, Withheld> {
        let outcome = catch_unwind(AssertUnwindSafe(search));
        outcome
            .unwrap_or(Err(Withheld::Failed))
            .map_err(|reason| self.fail(reason))
    }

    fn hits(&self, scan: &Scan, text: &Undecided<'_>) -> Result<Vec<Hit>, Withheld> {
        let mut hits = Vec::new();
        let mut from = 0;
        for to in text.gaps.iter().copied().chain([text.bytes.len()]) {
            let part = &text.bytes[from..to];
            let limits = Limits {
                is_whole: text.is_whole && text.gaps.is_empty(),
                max_time: Some(self.time_limit),
                ..Limits::default()
            };
            let is_wanted = |finding: &Finding| {
                scan.includes(finding.group) && self.action(scan, finding) != Action::Keep
            };
            let found = self.detectors.scan_for(part, &limits, &is_wanted);
            for finding in found.map_err(|_| Withheld::Failed)? {
                hits.push(Hit {
                    range: finding.range.start + from..finding.range.end + from,
                    action: self.action(scan, &finding),
                    kind: self.kind(&finding),
                });
            }
            match scan.mode {
                Mode::Plain => {}
                Mode::Lexical => {
                    let words = lexical::uncommon(part).into_iter();
                    let action = self.policy.action_of("word").unwrap_or(Action::Mask);
                    hits.extend(words.map(|range| Hit {
                        range: range.start + from..range.end + from,
                        kind: "WORD".to_owned(),
                        action,
                    }));
                }
            }
            from = to;
        }
        hits.extend(text.gaps.iter().map(|gap| Hit {
            range: beside(text.bytes, *gap),
            kind: "GAP".to_owned(),
            action: Action::Mask,
        }));
        Ok(hits)
    }

    pub(crate) const fn detectors(&self) -> &Detectors {
        &self.detectors
    }

    pub(crate) fn action(&self, scan: &Scan, finding: &Finding) -> Action {
        let is_built_in = matches!(finding.rule, RuleId::BuiltIn(_));
        if is_built_in && finding.kind == Kind::Path && self.policy.keeps_paths(scan) {
            return Action::Keep;
        }
        let name = match finding.rule {
            RuleId::BuiltIn(_) => finding.kind.name(),
            RuleId::Own(_) => self.detectors.rule_name(finding.rule),
        };
        self.policy.action(name, finding.group)
    }

    /// What is found, as placeholders show it.
    pub(crate) fn kind(&self, finding: &Finding) -> String {
        let own = match finding.rule {
            RuleId::BuiltIn(_) => None,
            RuleId::Own(place) => self.policy.rules().get(usize::from(place)),
        };
        own.map_or_else(
            || finding.kind.name().to_ascii_uppercase(),
            |rule| rule.kind.clone(),
        )
    }

    /// Counts what a decision shows something else for.
    pub(crate) fn count(&self, decided: &Decided) {
        let range = &decided.range;
        let here = decided.marks.iter();
        for mark in here.filter(|mark| mark.range.end > range.start && mark.range.start < range.end)
        {
            self.tally.replaced(&mark.kind);
        }
    }

    /// Counts that a search failed.
    pub(crate) fn fail(&self, reason: Withheld) -> Withheld {
        self.tally.failed();
        reason
    }

    #[cfg(test)]
    pub(crate) fn with_time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    #[cfg(test)]
    pub(crate) fn with_sizes(mut self, sizes: Sizes) -> Self {
        self.sizes = sizes;
        self
    }
}

/// What a gap makes doubtful: some bytes on each side, and whatever run they end in.
fn beside(text: &[u8], gap: usize) -> Range<usize> {
    let near = gap.saturating_sub(BESIDE_GAP)..(gap + BESIDE_GAP).min(text.len());
    let is_space = |byte: &u8| byte.is_ascii_whitespace();
    let start = text[..near.start]
        .iter()
        .rposition(is_space)
        .map_or(0, |at| at + 1);
    let end = text[near.end..]
        .iter()
        .position(is_space)
        .map_or(text.len(), |at| near.end + at);
    start..end
}

#[cfg(test)]
mod tests;
