//! Counting what was masked against what should have been.

use std::collections::BTreeMap;
use std::ops::Range;

use tracer_redact::detect::{Finding, Group};

use super::{
    document::{Document, Half},
    labels,
};

/// Figures of one half of something: a set, a type, an encoding.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Spans that should be masked.
    pub(crate) spans: usize,
    /// Of these, masked to the last byte.
    pub(crate) covered: usize,
    /// Characters of the others that show.
    pub(crate) leaked: usize,
}

/// Figures of one half of a set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Score {
    /// Spans of types that have a shape.
    pub(crate) structured: Tally,
    pub(crate) types: BTreeMap<String, Tally>,
    pub(crate) encodings: BTreeMap<String, Tally>,
    /// Findings, and those of them that lie on any labelled span.
    pub(crate) findings: usize,
    pub(crate) true_findings: usize,
    /// Bytes outside of spans, and those of them that were masked.
    pub(crate) outside: usize,
    pub(crate) collateral: usize,
    /// The same two figures under the rules of [`labels`].
    pub(crate) judged: Tally,
    pub(crate) unjustified: usize,
    pub(crate) judged_alarms: usize,
    /// Documents without a span, and those of them with a finding.
    pub(crate) negatives: usize,
    pub(crate) alarms: usize,
}

/// Both halves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Halves {
    pub(crate) first: Score,
    pub(crate) second: Score,
}

impl Tally {
    /// Share of spans that are masked to the last byte; 1 where there are none.
    #[expect(clippy::cast_precision_loss, reason = "counts are below a million")]
    pub(crate) fn recall(self) -> f64 {
        if self.spans == 0 {
            1.0
        } else {
            self.covered as f64 / self.spans as f64
        }
    }

    fn add(&mut self, leaked: usize) {
        self.spans += 1;
        self.covered += usize::from(leaked == 0);
        self.leaked += leaked;
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            spans: self.spans + other.spans,
            covered: self.covered + other.covered,
            leaked: self.leaked + other.leaked,
        }
    }
}

/// What a scan found in one document.
pub(crate) struct Scanned {
    pub(crate) findings: Vec<Finding>,
    /// Where credentials and personal data are.
    pub(crate) values: Vec<Range<usize>>,
    /// Where URLs, hosts and paths are.
    pub(crate) places: Vec<Range<usize>>,
}

impl Scanned {
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        let of = |is_place: bool| {
            findings
                .iter()
                .filter(|finding| (finding.group == Group::Places) == is_place)
                .map(|finding| finding.range.clone())
                .collect()
        };
        Self {
            values: of(false),
            places: of(true),
            findings,
        }
    }
}

/// Types that no pattern can know: names, places, times, and parts of addresses without a form.
pub(crate) fn is_structured(kind: &str) -> bool {
    !matches!(
        kind,
        "PERSON"
            | "PER"
            | "ORG"
            | "LOC"
            | "MISC"
            | "LOCATION"
            | "GPE"
            | "ORGANIZATION"
            | "NRP"
            | "TITLE"
            | "AGE"
            | "DATE_TIME"
            | "ADDRESS"
            | "ZIP_CODE"
            | "person"
            | "product"
            | "creative-work"
            | "location"
            | "group"
            | "corporation"
    )
}

fn is_place(kind: &str) -> bool {
    matches!(kind, "DOMAIN_NAME" | "URL")
}

impl Halves {
    /// Counts one document.
    pub(crate) fn add(&mut self, set: &str, document: &Document, half: Half, scanned: &Scanned) {
        let score = match half {
            Half::First => &mut self.first,
            Half::Second => &mut self.second,
        };
        if document.ambiguous {
            return;
        }
        let masked = mask(document.text.len(), &scanned.values);
        let placed = mask(document.text.len(), &scanned.places);
        let unjustified: Vec<Range<usize>> = scanned
            .findings
            .iter()
            .filter(|finding| {
                finding.group != Group::Places && !labels::is_justified(set, document, finding)
            })
            .map(|finding| finding.range.clone())
            .collect();
        if document.spans.is_empty() {
            score.negatives += 1;
            score.alarms += usize::from(!scanned.values.is_empty());
            score.judged_alarms += usize::from(!unjustified.is_empty());
        }
        let mut labelled = vec![false; document.text.len()];
        for span in &document.spans {
            labelled[span.start..span.end].fill(true);
            let shows = |byte: usize| !(masked[byte] || is_place(&span.kind) && placed[byte]);
            let leaked = if document.weak_span {
                usize::from(scanned.values.is_empty())
            } else {
                let text = &document.text[span.start..span.end];
                text.char_indices()
                    .filter(|(at, character)| !character.is_whitespace() && shows(span.start + at))
                    .count()
            };
            // Addresses of the older sets are torn into pieces such as `23`.
            let is_structured = is_structured(&span.kind)
                && !(span.kind == "STREET_ADDRESS" && set.starts_with("presidio"));
            if is_structured {
                let plain = document
                    .transform
                    .as_deref()
                    .is_none_or(|transform| transform == "plain");
                if plain {
                    score.structured.add(leaked);
                    if labels::is_secret(set, document, span) {
                        let range = labels::repaired(set, document, span);
                        let shows = |byte: usize| !masked[byte] && !placed[byte];
                        let text = document.text[range.clone()].char_indices();
                        let count = text
                            .filter(|(at, character)| {
                                !character.is_whitespace() && shows(range.start + at)
                            })
                            .count();
                        let leaked = if document.weak_span { leaked } else { count };
                        score.judged.add(leaked);
                    }
                } else if span.is_encoded() {
                    let encoding = document.transform.clone().unwrap_or_default();
                    score.encodings.entry(encoding).or_default().add(leaked);
                }
            }
            score
                .types
                .entry(span.kind.clone())
                .or_default()
                .add(leaked);
        }
        if document.weak_span {
            return;
        }
        score.findings += scanned.values.len();
        score.true_findings += scanned
            .values
            .iter()
            .filter(|range| labelled[(*range).clone()].contains(&true))
            .count();
        let unjustified = mask(document.text.len(), &unjustified);
        for (byte, labelled) in labelled.iter().enumerate() {
            score.unjustified += usize::from(!labelled && unjustified[byte]);
            score.outside += usize::from(!labelled);
            score.collateral += usize::from(!labelled && masked[byte]);
        }
    }
}

fn mask(length: usize, ranges: &[Range<usize>]) -> Vec<bool> {
    let mut mask = vec![false; length];
    for range in ranges {
        mask[range.clone()].fill(true);
    }
    mask
}
