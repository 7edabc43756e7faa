//! The lexical mode on sets of names: persons masked, other words kept.

use tracer_redact::detect::lexical;

use super::document::Document;

/// Sets of real text with names, and nothing made up.
pub(crate) const SETS: [&str; 3] = ["wnut17", "btc_twitter", "wikigold"];
/// Lowest share of masked persons in a set, and on average.
pub(crate) const MASKED: (f64, f64) = (0.96, 0.97);
/// Lowest share of other words kept in a set, and on average.
pub(crate) const KEPT: (f64, f64) = (0.67, 0.70);

/// Counts of one set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Words {
    persons: usize,
    masked: usize,
    others: usize,
    kept: usize,
}

impl Words {
    /// Counts one document. A person is masked when no letter of the name shows; a word is what
    /// stands between blanks, as the sets were cut into words, and kept when all of it is.
    pub(crate) fn add(&mut self, document: &Document) {
        let text = &document.text;
        let mut shows = vec![true; text.len()];
        for range in lexical::uncommon(text.as_bytes()) {
            shows[range].fill(false);
        }
        let mut is_person = vec![false; text.len()];
        let persons = document
            .spans
            .iter()
            .filter(|span| matches!(span.kind.as_str(), "PER" | "person" | "PERSON"));
        for span in persons {
            is_person[span.start..span.end].fill(true);
            let name = text[span.start..span.end].char_indices();
            let mut letters = name.filter(|(_, character)| character.is_alphabetic());
            self.persons += 1;
            self.masked += usize::from(letters.all(|(at, _)| !shows[span.start + at]));
        }
        let mut start = 0;
        for word in text.split_inclusive(char::is_whitespace) {
            let range = start..start + word.trim_end().len();
            start += word.len();
            if !range.is_empty() && !is_person[range.clone()].contains(&true) {
                self.others += 1;
                self.kept += usize::from(!shows[range].contains(&false));
            }
        }
    }

    /// Shares of persons masked and of other words kept.
    #[expect(clippy::cast_precision_loss, reason = "counts are below a million")]
    pub(crate) fn shares(self) -> (f64, f64) {
        let share = |part: usize, whole: usize| {
            if whole == 0 {
                1.0
            } else {
                part as f64 / whole as f64
            }
        };
        (
            share(self.masked, self.persons),
            share(self.kept, self.others),
        )
    }
}

/// Whether the sets reach their bars, each and on average; what does not, in words.
pub(crate) fn judge(sets: &[(String, Words)]) -> Vec<String> {
    let mut failures = Vec::new();
    let mut check = |place: &str, (masked, kept): (f64, f64), bars: (f64, f64)| {
        println!("lexical   {place:<14} persons masked {masked:.4}  other words kept {kept:.4}");
        if masked < bars.0 || kept < bars.1 {
            failures.push(format!("lexical mode, {place}: {masked:.4} masked and {kept:.4} kept, the bars are {} and {}", bars.0, bars.1));
        }
    };
    let mut sums = (0.0, 0.0);
    for (name, words) in sets {
        let shares = words.shares();
        check(name, shares, (MASKED.0, KEPT.0));
        sums = (sums.0 + shares.0, sums.1 + shares.1);
    }
    if !sets.is_empty() {
        #[expect(clippy::cast_precision_loss, reason = "there are three sets")]
        let count = sets.len() as f64;
        check(
            "average",
            (sums.0 / count, sums.1 / count),
            (MASKED.1, KEPT.1),
        );
    }
    failures
}
