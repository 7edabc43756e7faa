//! A checked profile: everything here is within the kernel half's limits and refers only to what
//! exists. Only reading a profile makes these types.

use std::{sync::Arc, time::Duration};

use tracer_abi::{CaptureLevel, Register, Spec};

use crate::{
    compile::Moment,
    enumeration::Enumeration,
    gate::{Gate, GateRefusal, Library, SymbolPattern},
    recipe::Recipe,
    signal::{FieldName, Signal},
};

/// What to probe in one runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The profile's name; a later profile of the same name replaces an earlier one.
    pub name: String,
    /// The runtime as events call it, such as `llama.cpp`.
    pub runtime: String,
    /// Functions that decide what a library is: one that defines any of them is of this runtime.
    pub recognise: Vec<SymbolPattern>,
    /// Functions that return the library's version as a string.
    pub version_symbols: Vec<String>,
    /// Shell patterns of paths where the runtime's libraries lie before any process maps them.
    pub early_paths: Vec<String>,
    /// Shell patterns of the names of library files that a snapshot lists with their build-ids:
    /// the runtime's own and those that it computes with.
    pub libraries: Vec<String>,
    /// Options of the runtime's programs that name what a snapshot needs.
    pub options: Options,
    /// Environment variables that are switches, never secrets, and may appear in a snapshot.
    pub environment: Vec<String>,
    /// How to find functions that have no symbol in some builds.
    pub recipes: Vec<Recipe>,
    /// Groups in the order in which they are switched off when probing costs too much. A group
    /// that is not listed stays.
    pub shed_order: Vec<String>,
    /// The probes. Variants of one probe share its name and stand next to each other; of these
    /// the first whose gate opens is used, see [`Profile::probes_for`].
    pub probes: Vec<Probe>,
}

impl Profile {
    /// The probes that hold for a library, and the reason for each that does not.
    ///
    /// Of several variants of one name the first that fits is taken; if none does, the last one's
    /// reason is given. A probe that does not apply is left out silently, as is one without any
    /// function in the library: most libraries of a runtime hold only some of its functions.
    #[must_use]
    pub fn probes_for(&self, library: &dyn Library) -> Selection<'_> {
        let mut selection = Selection::default();
        for variants in self.probes.chunk_by(|left, right| left.name == right.name) {
            let mut refusal = None;
            let chosen = variants
                .iter()
                .filter(|probe| probe.symbols.iter().any(|symbol| library.defines(symbol)))
                .filter(|probe| probe.applies.check(library).is_ok())
                .find(|probe| match probe.gate.check(library) {
                    Ok(()) => true,
                    Err(reason) => {
                        refusal = Some((*probe, reason));
                        false
                    }
                });
            match (chosen, refusal) {
                (Some(probe), _) => selection.probes.push(probe),
                (None, Some(refused)) => selection.refused.push(refused),
                (None, None) => {}
            }
        }
        selection
    }
}

/// Options on a command line, such as `--model`, whose value is the next argument or follows `=`.
/// Only their digest, or the file that they name, goes further.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The model's path.
    pub model: Vec<String>,
    /// A chat template.
    pub template: Vec<String>,
    /// A file that holds a chat template.
    pub template_file: Vec<String>,
}

/// What [`Profile::probes_for`] found.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    /// Probes to attach.
    pub probes: Vec<&'a Probe>,
    /// Probes whose function is there but whose layout does not hold for this build.
    pub refused: Vec<(&'a Probe, GateRefusal)>,
}

/// One function to probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The probe's name within the profile.
    pub name: String,
    /// What a call means.
    pub signal: Signal,
    /// Group that is switched off together.
    pub group: String,
    /// Whether the probe is attached unless someone says otherwise.
    pub enabled: bool,
    /// Calls a second that a busy process is expected to make.
    pub expected_rate: u32,
    /// Functions to try, the first that exists is taken.
    pub symbols: Vec<SymbolPattern>,
    /// For which libraries the probe is meant at all, `when` in the profile: where another probe
    /// serves better, this one is not missed.
    pub applies: Gate,
    /// For which builds the layout holds.
    pub gate: Gate,
    /// What the probe needs of the function's end.
    pub exit: ExitWanted,
    /// Arguments that the entry site must still find in place.
    pub wanted_arguments: Vec<Argument>,
    /// What a record of this probe carries.
    pub fields: Vec<Field>,
    /// What each field and local reads.
    pub readings: Vec<Reading>,
    /// Whether calls make records or only a histogram.
    pub mode: Mode,
    /// The compiled operations; `function` is 0 until the spec is loaded.
    pub spec: Spec,
}

impl Probe {
    /// The field of a role, if the probe has it.
    #[must_use]
    pub fn field(&self, name: FieldName) -> Option<&Field> {
        self.fields.iter().find(|field| field.role == Some(name))
    }

    /// Calls that took less are not recorded.
    #[must_use]
    pub const fn minimum_duration(&self) -> Duration {
        Duration::from_nanos(self.spec.minimum_duration)
    }
}

/// What a probe needs of the function's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitWanted {
    /// Nothing: only the entry is probed.
    None,
    /// That it ended, and when.
    Time,
    /// Its return value too.
    Result,
}

/// An argument in its place at the function's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// In a general register.
    Register(Register),
    /// On the stack, so many bytes above the frame address.
    Frame {
        /// From the frame address (CFA), in bytes.
        offset: i32,
        /// Bytes that are read.
        width: u8,
    },
}

/// Whether calls make records or only a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A record a call.
    Event,
    /// Latencies in log2 buckets, nothing per call.
    Histogram,
}

/// One captured value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its role; none if only the profile's author knows what it means.
    pub role: Option<FieldName>,
    /// Its name: the role's, or the profile's own.
    pub name: Arc<str>,
    /// Words for its values, if it is a number that has them.
    pub words: Option<Arc<Enumeration>>,
    /// From which level on it is captured.
    pub level: CaptureLevel,
    /// When it is captured.
    pub moment: Moment,
    /// Where it is in the record.
    pub place: Place,
    /// How its bytes are read.
    pub kind: FieldKind,
}

/// What a field or local reads, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The value's name.
    pub name: Arc<str>,
    /// Whether it is a field; a local only serves other values.
    pub is_field: bool,
    /// From which level on it is read.
    pub level: CaptureLevel,
    /// When it is read.
    pub moment: Moment,
    /// The expression as the profile has it.
    pub written: Arc<str>,
    /// The same in plain words.
    pub words: String,
}

/// Where a field is in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A value slot.
    Slot(u8),
    /// The chunk whose [`tracer_abi::Chunk::field`] is this number.
    Chunk(u8),
}

/// How a field's bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A number that the kernel has already extended to 64 bits.
    Number {
        /// Whether the slot is an `i64` rather than a `u64`.
        signed: bool,
    },
    /// Bytes of the slot.
    Part {
        /// Bytes: 1, 2, 4 or 8.
        width: u8,
        /// Whether they are signed.
        signed: bool,
        /// The lowest bit that is taken.
        from: u8,
    },
    /// The low four bytes of the slot are an IEEE 754 single, eight bytes a double.
    Float {
        /// 4 or 8.
        width: u8,
    },
    /// An address in the target.
    Address,
    /// 1 in the set, 0 not, 2 the set is not known.
    Membership,
    /// A chunk of integers, little-endian.
    Numbers {
        /// Bytes of one: 1, 2, 4 or 8.
        width: u8,
        /// Whether they are signed.
        signed: bool,
    },
    /// A chunk of floating-point numbers.
    Floats {
        /// Bytes of one: 4 or 8.
        width: u8,
    },
    /// A chunk of texts, each behind a [`tracer_abi::TextFront`].
    Texts,
    /// A chunk of bytes that should be text, not necessarily whole characters.
    Text,
}
