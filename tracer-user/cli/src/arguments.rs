//! Arguments, in two steps: [`typed`] is what was typed, [`meant`] what it means. Everything
//! behind this module sees only what is meant.

pub(crate) mod meant;
pub(crate) mod quantity;
pub(crate) mod typed;

pub(crate) use meant::{Destination, Invocation, Output, OutputFormat};
