//! One decision for every byte: findings sorted, without overlaps, the same for the same text.

use super::{Finding, kind::Group};

/// Joins what overlaps. What comes out covers exactly the bytes that went in: the stronger finding
/// gives a joined range its name, and nothing that the weaker one covered is shown.
///
/// Stronger is what belongs to the earlier group, then the longer, the more certain, the earlier.
pub(crate) fn resolve(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| {
        (a.range.start, b.range.end, a.kind).cmp(&(b.range.start, a.range.end, b.kind))
    });
    let mut resolved: Vec<Finding> = Vec::new();
    // The winner's own length, which its joined range may exceed.
    let mut length = 0;
    for finding in findings {
        let own = finding.range.len();
        match resolved.last_mut() {
            Some(last) if finding.range.start < last.range.end => {
                let end = last.range.end.max(finding.range.end);
                if strength(&finding, own) > strength(last, length) {
                    length = own;
                    let start = last.range.start;
                    *last = Finding {
                        range: start..end,
                        ..finding
                    };
                } else {
                    last.range.end = end;
                }
            }
            _ => {
                length = own;
                resolved.push(finding);
            }
        }
    }
    resolved
}

fn strength(
    finding: &Finding,
    length: usize,
) -> (std::cmp::Reverse<Group>, usize, super::Certainty) {
    (std::cmp::Reverse(finding.group), length, finding.certainty)
}
