//! What a library's bytes say about where it can be probed.
//!
//! Pure analysis: it reads an ELF file, finds functions, decodes their bodies and chooses for each the
//! instructions at which a probe is cheap and harms nothing. It attaches nothing and looks at no
//! process. The bytes belong to whoever runs the process: nothing here panics on them, loops without
//! end or allocates without a bound.
//!
//! Start at [`Image`] to read a file and at [`Planner`] to choose sites.

mod anchor;
pub mod elf;
mod error;
pub mod flow;
pub mod fuzz;
pub mod instruction;
pub mod read;
pub mod site;
mod table;
pub mod unwind;

pub use self::{
    elf::{DebugError, Image, Lookup, Symbol, SymbolKind, SymbolTable},
    error::ImageError,
    read::ReadAt,
    site::{Planner, Request, SitePlan},
    table::{Fingerprint, TableError},
};
