//! Values that stand elsewhere in what is scanned at once, where nothing tells them: a password that an answer
//! repeats from its question.

use memchr::memmem;

use super::{
    Finding,
    class::{self, ALNUM, DIGIT, LETTER},
    kind::{Group, Kind},
};

/// No more values are looked for, so that a text full of them stays linear.
const MOST: usize = 32;
/// Shorter ones may stand for other things.
const LEAST: usize = 8;
const LONGEST: usize = 256;
/// Digits that are one value's without a letter.
const DIGITS: usize = 7;

/// The other places of the values that were found; those are in order and lie apart.
pub(crate) fn find(text: &[u8], findings: &[Finding]) -> Vec<Finding> {
    let mut again = Vec::new();
    let mut values: Vec<&[u8]> = Vec::new();
    for finding in findings {
        let value = &text[finding.range.clone()];
        // The day of a birth is one in every log.
        let is_told = finding.group != Group::Places && finding.kind != Kind::BirthDate;
        if !is_told || !is_one_of_its_own(value) || values.contains(&value) {
            continue;
        }
        values.push(value);
        if values.len() > MOST {
            break;
        }
        let places = memmem::find_iter(text, value).filter(|place| {
            let end = place + value.len();
            let next = findings.partition_point(|known| known.range.start <= *place);
            let is_known = next > 0 && end <= findings[next - 1].range.end;
            !is_known && !class::before(text, *place, ALNUM) && !class::at(text, end, ALNUM)
        });
        again.extend(places.map(|place| Finding {
            range: place..place + value.len(),
            ..finding.clone()
        }));
    }
    again
}

/// Whether a value is long and mixed enough to mean the same wherever it stands.
fn is_one_of_its_own(value: &[u8]) -> bool {
    let count = |classes: u8| value.iter().filter(|b| class::is(**b, classes)).count();
    (LEAST..=LONGEST).contains(&value.len())
        && count(DIGIT) > 0
        && (count(LETTER) > 0 || count(DIGIT) >= DIGITS)
}
