//! One text, one walk.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{
    Detectors, Finding, Limits, RuleId, ScanError,
    hit::Found,
    kind::Group,
    number, own, repeat, resolve,
    shadow::{self, Shadow},
    vocabulary::WORDS,
    walk, word,
    words::Context,
};

/// Finds everything in the text and its shadows.
pub(crate) fn scan(
    detectors: &Detectors,
    text: &[u8],
    limits: &Limits,
    is_wanted: &dyn Fn(&Finding) -> bool,
) -> Result<Vec<Finding>, ScanError> {
    let watch = Watch {
        started: limits.max_time.map(|limit| (used(), limit)),
    };
    let mut findings = Vec::new();
    let shadows = plain(detectors, text, limits.is_whole, &mut |found| {
        findings.push(found.finding(false));
    });
    for (shadow, way) in shadows {
        let depth = Depth {
            left: limits.max_depth,
            may_join: way == Way::Decoded,
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
    let mut findings = resolve::resolve(findings);
    let again = repeat::find(text, &findings);
    if again.is_empty() {
        return Ok(findings);
    }
    watch.check()?;
    if findings.len() + again.len() > limits.max_findings {
        return Err(ScanError::TooMany {
            limit: limits.max_findings,
        });
    }
    findings.extend(again);
    Ok(resolve::resolve(findings))
}

/// What the thread had used when a search began, and how much that may take.
#[derive(Clone, Copy)]
struct Watch {
    started: Option<(Duration, Duration)>,
}

/// Processor time that this thread has used: on a busy host a search waits, and that is not its fault.
fn used() -> Duration {
    // Neither part is negative.
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.cast_unsigned(), used.tv_nsec as u32)
}

impl Watch {
    fn check(self) -> Result<(), ScanError> {
        match self.started {
            Some((started, limit)) if used().saturating_sub(started) > limit => {
                Err(ScanError::TooSlow { limit })
            }
            _ => Ok(()),
        }
    }
}

/// How a shadow came about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Decoded,
    /// Line ends and blanks were taken out.
    Joined,
    /// Cells were put behind the names of their columns.
    Told,
}

/// How much further a shadow's own shadows are followed.
#[derive(Clone, Copy)]
struct Depth {
    left: usize,
    /// Line ends are taken out once, as there are none left; so are tables.
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
        for (inner, way) in inner.filter(|(_, way)| depth.may_join || *way == Way::Decoded) {
            let depth = Depth {
                left: depth.left - 1,
                may_join: depth.may_join && way == Way::Decoded,
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

/// Finds everything in one text as it stands, and gives its shadows.
fn plain(
    detectors: &Detectors,
    text: &[u8],
    whole: bool,
    report: &mut dyn FnMut(Reported),
) -> impl Iterator<Item = (Shadow, Way)> + use<> {
    // A word in a dozen bytes is usual.
    let mut words = Vec::with_capacity((text.len() / 12 + 4).min(4096));
    detectors.words.find(text, &mut words);
    let context = Context {
        text,
        hits: &words,
        words: &detectors.words,
        whole,
        has_numbers: words.iter().any(|hit| detectors.words.numbers(*hit)),
    };
    let mut hits = Vec::with_capacity(8);
    let mut covered = 0;
    for hit in words.iter().filter(|hit| detectors.words.brings(**hit)) {
        word::read(detectors, &context, *hit, &mut covered, &mut hits);
    }
    walk::read(&context, &mut hits);
    for found in hits {
        report(Reported { found, own: None });
    }
    own::find(detectors, &context, &mut |found, own| {
        report(Reported { found, own });
    });
    let decoded = shadow::decoded(text, &words, &detectors.words);
    let told = shadow::cells(text, &words, &detectors.words);
    let joined = shadow::joined(text);
    let ways = [
        (decoded, Way::Decoded),
        (told, Way::Told),
        (joined, Way::Joined),
    ];
    ways.into_iter()
        .filter_map(|(shadow, way)| Some((shadow?, way)))
}
