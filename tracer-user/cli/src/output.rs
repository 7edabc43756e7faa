//! Writing events: for people ([`pretty`]) and for programs ([`json`]), to one or more
//! [`stream`]s.

pub(crate) mod stream;
