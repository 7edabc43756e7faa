//! The one place where what was captured becomes what may leave: [`Raw`] in, [`Redacted`] out.
//!
//! Anyone may wrap a value in [`Raw`]; only [`Engine::redact`] makes a [`Redacted`], and outputs
//! accept nothing else, so that a forgotten redaction is a compile error. This room is pure: it
//! reads no file and knows no output. It must never write what it is given anywhere, not even
//! into an error.
//!
//! # What the compiler refuses
//!
//! Each of these is followed by the twin that compiles, so that it fails for the stated reason.
//!
//! Raw content cannot be printed:
//! ```compile_fail
//! let raw = tracer_redact::Raw::new(tracer_redact::Content::text("secret"));
//! println!("{:?}", raw);
//! ```
//! ```
//! let raw = tracer_redact::Raw::new(tracer_redact::Content::text("secret"));
//! drop(raw);
//! ```
//!
//! Raw content cannot be serialised; redacted content can:
//! ```compile_fail
//! # use tracer_redact::{Content, Raw};
//! let raw = Raw::new(Content::text("/models/a.gguf"));
//! serde_json::to_string(&raw).unwrap();
//! ```
//! ```
//! # use tracer_redact::{CaptureLevel, Content, Engine, Field, Policy, Raw, RunKey};
//! let raw = Raw::new(Content::text("/models/a.gguf"));
//! let key = RunKey::new([7; 32]);
//! let engine = Engine::new(Policy::default(), CaptureLevel::Shape, key).unwrap();
//! serde_json::to_string(&engine.redact(Field::Path, raw)).unwrap();
//! ```
//!
//! Nobody else makes a `Redacted`, not by its fields, not by a conversion, not from JSON:
//! ```compile_fail
//! let made = tracer_redact::Redacted { outcome: 1 };
//! ```
//! ```compile_fail
//! let made: tracer_redact::Redacted<tracer_redact::Content> =
//!     tracer_redact::Content::text("secret").into();
//! ```
//! ```compile_fail
//! let made: tracer_redact::Redacted<tracer_redact::Content> =
//!     serde_json::from_str("\"secret\"").unwrap();
//! ```
//! ```
//! let made: String = serde_json::from_str("\"secret\"").unwrap();
//! ```
#![forbid(unsafe_code)]

mod arguments;
mod content;
pub mod detect;
mod engine;
mod explain;
mod field;
mod json;
mod key;
mod log_probability;
mod mark;
mod passage;
mod policy;
mod raw;
mod redacted;
mod secret_name;
mod tally;
mod window;

pub use content::Content;
pub use engine::Engine;
pub use explain::{Explained, NotSearched};
pub use field::Field;
pub use key::RunKey;
pub use log_probability::LogProbability;
pub use passage::{Half, Part, Passage, Token, Way};
pub use policy::{
    Action, Difference, Mode, Policy, PolicyDigest, PolicyError, Rule, Scan, TokenIds, Treatment,
};
pub use raw::Raw;
pub use redacted::{Redacted, Withheld};
pub use tally::Tally;
pub use tracer_abi::CaptureLevel;
