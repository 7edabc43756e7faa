//! One decision for every byte: findings sorted, without overlaps, the same for the same text.

use super::{Certainty, Finding, kind::Group};

/// Joins what overlaps within a group, and cuts what a group found where an earlier one found
/// something. What comes out covers exactly the bytes that went in.
///
/// A joined range has the name of the longest finding in it, then of the most certain, then of the
/// first: nothing that the weaker one covered is shown.
pub(crate) fn resolve(mut findings: Vec<Finding>) -> Vec<Finding> {
    if findings.len() < 2 {
        return findings;
    }
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.group, finding.range.start, finding.kind);
        key(a).cmp(&key(b)).then(b.range.end.cmp(&a.range.end))
    });
    let mut resolved: Vec<Finding> = Vec::new();
    for group in Group::ALL {
        let start = findings.partition_point(|finding| finding.group < group);
        let end = findings.partition_point(|finding| finding.group <= group);
        let joined = join(&findings[start..end]);
        resolved = merge(resolved, joined);
    }
    resolved
}

/// Joins overlapping findings of one group, which are sorted by their start.
fn join(findings: &[Finding]) -> Vec<Finding> {
    let mut joined: Vec<Finding> = Vec::new();
    // The winner's own length, which its joined range may exceed.
    let mut length = 0;
    for finding in findings {
        let own = finding.range.len();
        match joined.last_mut() {
            Some(last) if finding.range.start < last.range.end => {
                let range = last.range.start..last.range.end.max(finding.range.end);
                if strength(finding, own) > strength(last, length) {
                    length = own;
                    *last = finding.clone();
                }
                last.range = range;
            }
            _ => {
                length = own;
                joined.push(finding.clone());
            }
        }
    }
    joined
}

/// Both lists in one, the second cut where the first has something.
fn merge(first: Vec<Finding>, second: Vec<Finding>) -> Vec<Finding> {
    if first.is_empty() {
        return second;
    }
    let mut merged = Vec::with_capacity(first.len() + second.len());
    let mut blockers = first.iter().peekable();
    for finding in second {
        let mut start = finding.range.start;
        while blockers
            .next_if(|blocker| blocker.range.end <= start)
            .is_some()
        {}
        while start < finding.range.end {
            let next = blockers
                .peek()
                .map_or(finding.range.end, |blocker| blocker.range.start.max(start))
                .min(finding.range.end);
            if next > start {
                merged.push(Finding {
                    range: start..next,
                    ..finding.clone()
                });
            }
            match blockers.peek() {
                Some(blocker) if blocker.range.end < finding.range.end => {
                    start = start.max(blocker.range.end);
                    blockers.next();
                }
                _ => break,
            }
        }
    }
    merged.extend(first);
    merged.sort_by_key(|finding| finding.range.start);
    merged
}

fn strength(finding: &Finding, length: usize) -> (usize, Certainty) {
    (length, finding.certainty)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::{Kind, RuleId};

    fn finding(kind: Kind, start: usize, length: usize) -> Finding {
        Finding {
            range: start..start + length,
            rule: RuleId::BuiltIn(kind.name()),
            kind,
            group: kind.group(),
            certainty: Certainty::Shape,
            encoded: false,
        }
    }

    #[test]
    fn a_password_in_a_url_leaves_the_rest_of_the_url_a_place() {
        let resolved = resolve(vec![
            finding(Kind::Host, 0, 30),
            finding(Kind::BasicAuth, 10, 5),
        ]);
        let parts: Vec<_> = resolved
            .iter()
            .map(|finding| (finding.kind, finding.range.clone()))
            .collect();
        assert_eq!(
            parts,
            [
                (Kind::Host, 0..10),
                (Kind::BasicAuth, 10..15),
                (Kind::Host, 15..30)
            ]
        );
    }

    proptest! {
        #[test]
        fn exactly_the_found_bytes_stay_covered_without_overlaps(
            found in prop::collection::vec((0_usize..31, 0_usize..200, 1_usize..40), 0..40)
        ) {
            let findings: Vec<_> = found
                .into_iter()
                .map(|(kind, start, length)| finding(Kind::ALL[kind], start, length))
                .collect();
            let cover = |findings: &[Finding]| {
                let mut covered = [false; 256];
                for finding in findings {
                    covered[finding.range.clone()].fill(true);
                }
                covered
            };
            let resolved = resolve(findings.clone());
            prop_assert_eq!(cover(&findings), cover(&resolved));
            for pair in resolved.windows(2) {
                prop_assert!(pair[0].range.end <= pair[1].range.start);
            }
        }
    }
}
