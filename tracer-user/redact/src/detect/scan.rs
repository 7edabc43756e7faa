//! One text, one walk.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{
    Detectors, Finding, Limits, RuleId, ScanError, address, armour, assignment, bare,
    believe::Strength,
    class::{self, ALNUM, JOINER, LETTER, WORD},
    code, colon,
    colon::Colon,
    command, crypto, email,
    hit::{Certainty, Found, Hits},
    iban,
    kind::{Group, Kind},
    number, own, place, resolve, service,
    shadow::{self, Shadow},
    tokens::TOKENS,
    url,
    vocabulary::WORDS,
    words::{Context, Hit, Role, Topic},
};

/// Finds everything in the text and its shadows.
pub(crate) fn scan(
    detectors: &Detectors,
    text: &[u8],
    limits: &Limits,
    is_wanted: &dyn Fn(&Finding) -> bool,
) -> Result<Vec<Finding>, ScanError> {
    let watch = Watch {
        started: limits.max_time.map(|limit| (Instant::now(), limit)),
    };
    let mut findings = Vec::new();
    let shadows = plain(detectors, text, limits.is_whole, &mut |found| {
        findings.push(found.finding(false));
    });
    for (shadow, is_joined) in shadows {
        let depth = Depth {
            left: limits.max_depth,
            may_join: !is_joined,
        };
        watch.check()?;
        behind(
            detectors,
            &shadow,
            limits.is_whole,
            depth,
            watch,
            &mut findings,
        )?;
    }
    watch.check()?;
    if findings.len() > limits.max_findings {
        return Err(ScanError::TooMany {
            limit: limits.max_findings,
        });
    }
    findings.retain(|finding| is_wanted(finding));
    Ok(resolve::resolve(findings))
}

/// When a search began and how long it may take.
#[derive(Clone, Copy)]
struct Watch {
    started: Option<(Instant, Duration)>,
}

impl Watch {
    fn check(self) -> Result<(), ScanError> {
        match self.started {
            Some((started, limit)) if started.elapsed() > limit => {
                Err(ScanError::TooSlow { limit })
            }
            _ => Ok(()),
        }
    }
}

/// How much further a shadow's own shadows are followed.
#[derive(Clone, Copy)]
struct Depth {
    left: usize,
    /// Line ends are taken out once: there are none left.
    may_join: bool,
}

/// Finds everything in a shadow and in its own shadows, down to a depth.
fn behind(
    detectors: &Detectors,
    shadow: &Shadow,
    whole: bool,
    depth: Depth,
    watch: Watch,
    findings: &mut Vec<Finding>,
) -> Result<(), ScanError> {
    let mut first = findings.len();
    let whole = whole && shadow.is_complete;
    let inner = plain(detectors, &shadow.bytes, whole, &mut |found| {
        findings.push(found.finding(true));
    });
    if depth.left > 1 {
        for (inner, is_joined) in inner.filter(|(_, is_joined)| depth.may_join || !is_joined) {
            let depth = Depth {
                left: depth.left - 1,
                may_join: depth.may_join && !is_joined,
            };
            watch.check()?;
            behind(detectors, &inner, whole, depth, watch, findings)?;
        }
    }
    // What was found in places that are no copy of the shadow's parent, led back to it.
    while first < findings.len() {
        match shadow.origin(&findings[first].range) {
            Some(origin) => {
                findings[first].range = origin;
                first += 1;
            }
            None => {
                findings.swap_remove(first);
            }
        }
    }
    Ok(())
}

/// A match of one text, and the own rule that made it.
pub(crate) struct Reported {
    found: Found,
    own: Option<(u16, Group)>,
}

impl Reported {
    fn finding(self, encoded: bool) -> Finding {
        let Self { found, own } = self;
        Finding {
            range: found.range,
            rule: own.map_or(RuleId::BuiltIn(found.rule), |(own, _)| RuleId::Own(own)),
            kind: found.kind,
            group: own.map_or(found.kind.group(), |(_, group)| group),
            certainty: found.certainty,
            encoded,
        }
    }
}

/// Tries every rule with its own automaton and its own pattern, one after another.
pub(crate) fn rule_by_rule(detectors: &Detectors, text: &[u8]) -> usize {
    let mut matches = 0;
    for pattern in &detectors.patterns {
        let mut place = 0;
        while let Some((_, end)) = pattern.within(text, place, text.len()) {
            matches += 1;
            place = end.max(place + 1);
        }
    }
    // Words of context, one automaton for each rule that asks for them.
    for (_, words) in WORDS {
        let found = aho_corasick::AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(*words);
        matches += found.map_or(0, |words| words.find_iter(text).count());
    }
    for identifier in number::identifier::IDENTIFIERS {
        let found = aho_corasick::AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(identifier.words);
        matches += found.map_or(0, |words| words.find_iter(text).count());
    }
    matches
}

/// Whether an own rule finds something in the text as it stands.
pub(crate) fn own_rule_fires(detectors: &Detectors, place: usize, text: &[u8]) -> bool {
    let mut fires = false;
    let _ = plain(detectors, text, true, &mut |found| {
        fires |= found.own.is_some_and(|(own, _)| usize::from(own) == place);
    });
    fires
}

/// Finds everything in one text as it stands, and gives its shadows: decoded ones, and joined ones.
fn plain(
    detectors: &Detectors,
    text: &[u8],
    whole: bool,
    report: &mut dyn FnMut(Reported),
) -> impl Iterator<Item = (Shadow, bool)> + use<> {
    // A word in a dozen bytes is usual.
    let mut words = Vec::with_capacity((text.len() / 12 + 4).min(4096));
    detectors.words.find(text, &mut words);
    let context = Context {
        text,
        hits: &words,
        words: &detectors.words,
        whole,
    };
    let mut hits = Vec::with_capacity(8);
    let mut covered = 0;
    for hit in &words {
        word(detectors, &context, *hit, &mut covered, &mut hits);
    }
    shapes(&context, &mut hits);
    for found in hits {
        report(Reported { found, own: None });
    }
    own::find(detectors, &context, &mut |found, own| {
        report(Reported { found, own });
    });
    let decoded = shadow::decoded(text, &words, &detectors.words);
    let joined = shadow::joined(text).map(|shadow| (shadow, true));
    decoded
        .map(|shadow| (shadow, false))
        .into_iter()
        .chain(joined)
}

/// What a word brings about. `covered` is where the last value of an assignment ends: words in it
/// bring no others, so that no text is read again and again.
fn word(
    detectors: &Detectors,
    context: &Context<'_>,
    hit: Hit,
    covered: &mut usize,
    hits: &mut Hits,
) {
    let text = context.text;
    for role in context.words.roles(hit) {
        match role {
            Role::Rule(place) => token(detectors, context, hit, usize::from(*place), hits),
            Role::Password | Role::Secret | Role::PasswordOf(_) | Role::SecretOf(_)
                if hit.start < *covered => {}
            Role::Password => assigned(text, hit.start..hit.end, PASSWORD, covered, hits),
            Role::Secret => assigned(text, hit.start..hit.end, SECRET, covered, hits),
            Role::PasswordOf(length) | Role::SecretOf(length) => {
                let word = hit.start..hit.start + usize::from(*length);
                let is_password = matches!(role, Role::PasswordOf(_));
                let names = if is_password { PASSWORD } else { SECRET };
                assigned(text, word, names, covered, hits);
            }
            Role::Pair | Role::Program(_) | Role::Identified | Role::Credential
                if hit.start < *covered => {}
            Role::Pair => {
                let range = assignment::pair(text, hit.end).filter(|_| context.is_word(hit));
                hits.extend(range.map(|range| said(range, "login", Kind::BasicAuth)));
            }
            Role::Program(program) => {
                let values = command::options(text, hit.end, *program);
                *covered = values
                    .iter()
                    .fold(*covered, |covered, range| covered.max(range.end));
                let found = |range| said(range, "command-line-password", Kind::BasicAuth);
                hits.extend(values.into_iter().map(found));
            }
            Role::Identified => {
                let range = command::identified(text, hit.end);
                hits.extend(range.map(|range| said(range, "sql-password", Kind::Password)));
            }
            Role::Credential => {
                let values = command::called_with(text, hit.end).into_iter();
                hits.extend(values.map(|range| said(range, "credential-call", Kind::BasicAuth)));
            }
            Role::HostEnding => {
                let range = place::host(text, hit.start, hit.end);
                hits.extend(range.map(|range| shape(range, "host", Kind::Host)));
            }
            Role::HostName => {
                let range = place::announced(text, hit.end).filter(|_| context.is_word(hit));
                hits.extend(range.map(|range| said(range, "host", Kind::Host)));
            }
            Role::Path | Role::BeforePath => {
                let start = hit.start + usize::from(*role == Role::BeforePath);
                let is_known = place::is_root(&text[start..]);
                let range = place::path(text, start, is_known);
                hits.extend(range.map(|range| shape(range, "path", Kind::Path)));
            }
            Role::Mac => {
                let end = text.len().min(hit.end + 64);
                let range = colon::lettered_mac(&text[..end], hit.end);
                hits.extend(range.map(|range| shape(range, "mac", Kind::MacAddress)));
            }
            Role::ArmourEnd => {
                let range = armour::headless(text, hit.start);
                hits.extend(range.map(|range| shape(range, "private-key", Kind::PrivateKey)));
            }
            Role::Scheme => {
                let is_word = !class::before(text, hit.start, WORD | JOINER)
                    && !text[..hit.start].ends_with(b"$");
                if let Some(range) = assignment::scheme(text, hit.end).filter(|_| is_word) {
                    hits.push(Found {
                        range,
                        rule: "bearer",
                        kind: Kind::Bearer,
                        certainty: Certainty::Context,
                    });
                }
            }
            Role::User => {
                let range = assignment::user(text, hit.end - 1);
                hits.extend(range.map(|range| shape(range, "command-line-user", Kind::BasicAuth)));
            }
            Role::Url => {
                if let Some(range) = url::credentials(text, hit.start) {
                    hits.push(Found {
                        range,
                        rule: "url-credentials",
                        kind: Kind::BasicAuth,
                        certainty: Certainty::Shape,
                    });
                }
                if let Some(range) = url::whole(text, hit.start) {
                    hits.push(Found {
                        range,
                        rule: "url",
                        kind: Kind::Host,
                        certainty: Certainty::Shape,
                    });
                }
            }
            Role::Armour => {
                if let Some(end) = armour::end(text, hit.start) {
                    hits.push(Found {
                        range: hit.start..end,
                        rule: "private-key",
                        kind: Kind::PrivateKey,
                        certainty: Certainty::Shape,
                    });
                }
            }
            Role::Topic(Topic::Address) if context.is_word(hit) => {
                if let Some(range) = address::told(text, hit.end) {
                    hits.push(Found {
                        range,
                        rule: "address",
                        kind: Kind::PostalAddress,
                        certainty: Certainty::Context,
                    });
                }
            }
            Role::Topic(Topic::Birth) => birth(detectors, context, hit, hits),
            Role::Topic(_) | Role::Around(_) | Role::Mark(_) => {}
        }
    }
}

/// What a word for a secret says of the value after it.
type Named = (Strength, Kind);

const PASSWORD: Named = (Strength::Password, Kind::Password);
const SECRET: Named = (Strength::Secret, Kind::Secret);

fn assigned(
    text: &[u8],
    word: Range<usize>,
    (strength, kind): Named,
    covered: &mut usize,
    hits: &mut Hits,
) {
    let Some(range) = assignment::read(text, word, strength) else {
        return;
    };
    *covered = range.end.max(*covered);
    if strength == Strength::Password
        && let Some(user) = command::user_beside(text, &range)
    {
        hits.push(said(user, "user-beside-password", Kind::BasicAuth));
    }
    hits.push(said(range, kind.name(), kind));
}

fn token(detectors: &Detectors, context: &Context<'_>, hit: Hit, place: usize, hits: &mut Hits) {
    let text = context.text;
    let token = &TOKENS[place];
    let Some(lead) = token.lead.start(text, hit.start) else {
        return;
    };
    let Some((start, end)) = detectors.patterns[place].at(text, hit.start) else {
        return;
    };
    if is_monotone(&text[start..end]) {
        return;
    }
    if let Some(length) = secret_beside(token.name) {
        let found = |range| said(range, "secret-beside-key-id", Kind::CloudKey);
        hits.extend(bare::beside(text, &(start..end), length).map(found));
    }
    // What leads up to a word belongs to it: `14 characters.atlasv1.…`.
    let start = if start == hit.start { lead } else { start };
    hits.push(Found {
        range: start..end,
        rule: token.name,
        kind: token.kind,
        certainty: Certainty::Shape,
    });
}

/// How long the secret is that its issuer gives out together with a key's id.
fn secret_beside(token: &str) -> Option<usize> {
    match token {
        "aws-access-key-id" => Some(40),
        "alibaba-access-key-id" => Some(30),
        "tencent-secret-id" => Some(32),
        _ => None,
    }
}

/// Whether the second half of a token is a row of the same letter, as in a template.
fn is_monotone(token: &[u8]) -> bool {
    let tail = &token[token.len() / 2..];
    tail.len() > 5 && tail.iter().all(|byte| *byte == tail[0])
}

fn birth(detectors: &Detectors, context: &Context<'_>, hit: Hit, hits: &mut Hits) {
    if !context.is_word(hit) {
        return;
    }
    let text = context.text;
    let after = detectors.birth.within(text, hit.end, hit.end + 60);
    let found = after.or_else(|| {
        detectors
            .birth
            .within(text, hit.start.saturating_sub(40), hit.start)
    });
    if let Some((start, end)) = found {
        hits.push(Found {
            range: start..end,
            rule: "birth-date",
            kind: Kind::BirthDate,
            certainty: Certainty::Context,
        });
    }
}

/// The walk: every byte that a shape can begin or hinge on.
fn shapes(context: &Context<'_>, hits: &mut Hits) {
    let text = context.text;
    let mut place = 0;
    while let Some(step) = class::first_stop(&text[place..]) {
        place += step;
        let next = match text[place] {
            b'0'..=b'9' => digit(context, place, hits),
            b'@' => {
                if let Some((start, end)) = email::read(text, place) {
                    hits.push(shape(start..end, "email", Kind::Email));
                }
                place + 1
            }
            b':' => colon_groups(text, place, hits).1,
            _ => place + 1,
        };
        // What is read back from a digit may end before it, as `0xa` does in `0xag7`.
        place = next.max(place + 1);
    }
}

/// What a word near it says.
const fn said(range: Range<usize>, rule: &'static str, kind: Kind) -> Found {
    Found {
        range,
        rule,
        kind,
        certainty: Certainty::Context,
    }
}

const fn shape(range: Range<usize>, rule: &'static str, kind: Kind) -> Found {
    Found {
        range,
        rule,
        kind,
        certainty: Certainty::Shape,
    }
}

/// Whether an address stands around the colon, and where the walk goes on.
fn colon_groups(text: &[u8], place: usize, hits: &mut Hits) -> (bool, usize) {
    let (found, next) = colon::read(text, place);
    let is_found = found.is_some();
    hits.extend(found.map(|found| match found {
        Colon::Mac(start, end) => shape(start..end, "mac", Kind::MacAddress),
        Colon::V6(start, end) => shape(start..end, "ip-v6", Kind::IpAddress),
    }));
    (is_found, next)
}

/// A digit: the beginning of a number, or a part of a code.
fn digit(context: &Context<'_>, place: usize, hits: &mut Hits) -> usize {
    /// No code that is looked for is longer.
    const BACK: usize = 64;
    let text = context.text;
    let floor = place.saturating_sub(BACK);
    let start = floor + class::run_start(&text[floor..], place - floor, ALNUM);
    let end = class::run_end(text, place, ALNUM);
    let token = &text[start..end];
    if let Some(range) = service::key(text, start, end) {
        let next = range.end;
        hits.push(said(range, "key-of-a-service", Kind::Secret));
        return next;
    }
    if let Some(end) = opaque(text, start) {
        return end;
    }
    let starts_a_word = !class::before(text, start, WORD);
    if let Some(found) = bare::read(text, &(start..end)) {
        let next = found.range.end;
        hits.push(found);
        return next;
    }
    if start == place
        && starts_a_word
        && let Some(range) = address::read(context, start..end)
    {
        let next = range.end.max(end);
        hits.push(shape(range, "street-address", Kind::PostalAddress));
        return next;
    }
    if let Some(end) = colon::dashed_mac(text, start).filter(|_| starts_a_word) {
        hits.push(shape(start..end, "mac", Kind::MacAddress));
        return end;
    }
    let may_be_a_group =
        text.get(end) == Some(&b':') && token.len() <= 4 && token.iter().all(u8::is_ascii_hexdigit);
    if may_be_a_group && let (true, next) = colon_groups(text, end, hits) {
        return next.max(place + 1);
    }
    let has_letter = token.iter().any(|byte| class::is(*byte, LETTER));
    if has_letter && let Some(end) = iban::end(text, start) {
        hits.push(Found {
            certainty: Certainty::Checked,
            ..shape(start..end, "iban", Kind::Iban)
        });
        return end;
    }
    if starts_a_word && crypto::is_bitcoin(token) {
        hits.push(Found {
            certainty: Certainty::Checked,
            ..shape(start..end, "bitcoin-address", Kind::CryptoAddress)
        });
        return end;
    }
    if starts_a_word && let Some(found) = code::read(context, start..end) {
        let next = found.range.end.max(end);
        hits.push(found);
        return next;
    }
    let letters = token.iter().filter(|byte| class::is(**byte, LETTER));
    // `5272x565` is a number and its extension.
    if !has_letter || (start == place && letters.count() == 1) {
        return number::read(context, place, hits).max(end);
    }
    end
}

/// A UUID or a pointer: so common where programs talk that no part of one is taken for more.
fn opaque(text: &[u8], start: usize) -> Option<usize> {
    if text[start..].starts_with(b"0x") {
        let digits = text[start + 2..].iter().take(64);
        let count = digits.take_while(|byte| byte.is_ascii_hexdigit()).count();
        return (count > 0).then_some(start + 2 + count);
    }
    let candidate = text.get(start..start + 36)?;
    let is_uuid = candidate
        .iter()
        .enumerate()
        .all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then_some(start + 36)
}
