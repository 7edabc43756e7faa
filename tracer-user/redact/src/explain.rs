use std::ops::Range;

use crate::{
    detect::{Certainty, Finding, Limits},
    engine::Engine,
    field::Field,
    policy::{Action, Treatment},
};

/// Something that a scan found: everything about it but the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Where, in bytes of the text.
    pub range: Range<usize>,
    /// What it is, as placeholders show it.
    pub kind: String,
    /// The group of the rule.
    pub group: &'static str,
    /// The rule.
    pub rule: String,
    /// Why it is believed: `context`, `shape` or `checked`.
    pub certainty: &'static str,
    /// Whether it was found encoded.
    pub encoded: bool,
    /// What the policy does with it.
    pub action: Action,
}

/// A text that could not be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text could not be searched within its limits; in a run it would be withheld")]
pub struct NotSearched;

impl Engine {
    /// What is found in a text as it is treated in a field, what the policy keeps included. A field
    /// that is not searched has nothing found in it.
    ///
    /// # Errors
    /// If the text cannot be searched.
    pub fn explain(&self, field: Field<'_>, text: &[u8]) -> Result<Vec<Explained>, NotSearched> {
        let Treatment::Scan(scan) = self.treatment(field) else {
            return Ok(Vec::new());
        };
        let is_wanted = |finding: &Finding| scan.includes(finding.group);
        let found = self
            .detectors()
            .scan_for(text, &Limits::default(), &is_wanted);
        let mut explained: Vec<Explained> = found
            .map_err(|_| NotSearched)?
            .into_iter()
            .map(|finding| Explained {
                kind: self.kind(&finding),
                group: finding.group.name(),
                rule: self.detectors().rule_name(finding.rule).to_owned(),
                certainty: match finding.certainty {
                    Certainty::Context => "context",
                    Certainty::Shape => "shape",
                    Certainty::Checked => "checked",
                },
                encoded: finding.encoded,
                action: self.action(scan, &finding),
                range: finding.range,
            })
            .collect();
        explained.sort_by_key(|found| found.range.start);
        Ok(explained)
    }
}
