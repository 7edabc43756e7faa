//! Writing events: for people ([`pretty`]) and for programs ([`json`]), to one or more
//! [`stream`]s; and [`closing`], the line that ends a run.

pub(crate) mod closing;
pub(crate) mod json;
pub(crate) mod outputs;
pub(crate) mod pretty;
pub(crate) mod progress;
pub(crate) mod stream;
