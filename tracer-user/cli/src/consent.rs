//! Content needs consent: capture above level `shape` happens only as far as the host's owner
//! allows it ([`ceiling`]), and never without a trace of its own ([`journal`]).

pub(crate) mod ceiling;
pub(crate) mod journal;
