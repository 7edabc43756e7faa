use std::ops::Range;

use super::kind::Kind;

/// Why a match is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// A word near it says what it is.
    Context,
    /// It looks like nothing else.
    Shape,
    /// Its check digits hold.
    Checked,
}

/// A match in a text or in one of its shadows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) range: Range<usize>,
    pub(crate) rule: &'static str,
    pub(crate) kind: Kind,
    pub(crate) certainty: Certainty,
}

/// Matches as they come.
pub(crate) type Hits = Vec<Found>;

/// What a word near it says.
pub(crate) const fn said(range: Range<usize>, rule: &'static str, kind: Kind) -> Found {
    Found {
        range,
        rule,
        kind,
        certainty: Certainty::Context,
    }
}

pub(crate) const fn shape(range: Range<usize>, rule: &'static str, kind: Kind) -> Found {
    Found {
        range,
        rule,
        kind,
        certainty: Certainty::Shape,
    }
}
