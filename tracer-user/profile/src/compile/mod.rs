//! From expressions to the kernel half's operations: decides when each value is read, in which
//! slot or chunk it travels, and from which level on, and holds every limit of
//! [`tracer_abi`].

mod counts;
mod emit;
mod order;
mod plan;

use std::sync::Arc;

use tracer_abi::{CaptureLevel, MAX_OPS, MAX_TAIL, Op, OpFlags, OpKind};

use crate::{
    describe,
    document::{Placed, Source},
    enumeration::Enumeration,
    error::ProfileError,
    expression::{Capture, Condition, Type},
    profile::{Argument, ExitWanted, Field, FieldKind, Place, Reading},
    signal::{FieldName, Shape},
};

/// Which records a probe emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Emission {
    pub(crate) entry: bool,
    pub(crate) exit: bool,
    /// The exit is timed though it emits nothing: a histogram.
    pub(crate) histogram: bool,
}

/// When a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// When the call begins.
    Entry,
    /// When it ends.
    Exit,
}

/// What a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A field with a meaning of its own.
    Known(FieldName),
    /// A field that only the profile's author knows the meaning of.
    Own,
    /// Only other values use it.
    Local,
    /// A count that stands inside another value's expression.
    Inner,
}

impl Role {
    const fn is_field(self) -> bool {
        matches!(self, Self::Known(_) | Self::Own)
    }
}

/// A named value as the profile has it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) name: Placed<String>,
    pub(crate) role: Role,
    pub(crate) capture: Placed<Capture>,
    /// The expression as it is written.
    pub(crate) written: Arc<str>,
    pub(crate) level: Option<CaptureLevel>,
    pub(crate) moment: Option<Moment>,
    pub(crate) words: Option<Arc<Enumeration>>,
}

/// What a probe's values compile to.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) fields: Vec<Field>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) ops: Vec<Op>,
    pub(crate) value_count: usize,
    /// Operations up to the last condition at the entry: they run before sampling.
    pub(crate) gate_at: usize,
    pub(crate) exit: ExitWanted,
    pub(crate) wanted_arguments: Vec<Argument>,
}

/// Compiles the values and conditions of one probe.
pub(crate) fn compile(
    source: Source<'_>,
    at: usize,
    items: &[Item],
    conditions: &[Placed<Condition>],
    emission: Emission,
) -> Result<Program, ProfileError> {
    let items = counts::named(items, emission);
    let mut compiler = Compiler {
        source,
        items: &items,
        conditions,
        emission,
        plans: Vec::new(),
        slots: 0,
        entry: Vec::new(),
        exit: Vec::new(),
        uses_result: false,
        wanted: Vec::new(),
    };
    let order = compiler.order()?;
    compiler.plan(&order)?;
    compiler.set_levels(&order)?;
    let fields = compiler.place()?;
    let value_count = usize::from(compiler.slots);
    compiler.place_locals(at)?;
    for index in order {
        compiler.emit(index)?;
    }
    compiler.finish(at, fields, value_count)
}

/// What is decided about an item.
#[derive(Clone, Copy, Debug)]
struct Plan {
    moment: Moment,
    level: CaptureLevel,
    place: Option<Place>,
}

struct Compiler<'a> {
    source: Source<'a>,
    items: &'a [Item],
    conditions: &'a [Placed<Condition>],
    emission: Emission,
    plans: Vec<Plan>,
    slots: u8,
    entry: Vec<Op>,
    exit: Vec<Op>,
    uses_result: bool,
    wanted: Vec<Argument>,
}

impl Compiler<'_> {
    fn check_shape(&self, item: &Item) -> Result<(), ProfileError> {
        let found = item.capture.value.shape();
        if let Role::Known(role) = item.role
            && found != role.shape()
        {
            let problem = format!(
                "`{role}` is of kind {}, the expression gives {found}",
                role.shape()
            );
            return Err(self.source.wrong(item.capture.at, problem));
        }
        if item.words.is_some() && found != Shape::Number {
            let name = &item.name.value;
            let problem = format!("`{name}` is of kind {found}: only a number has words");
            return Err(self.source.wrong(item.capture.at, problem));
        }
        Ok(())
    }

    fn finish(
        self,
        at: usize,
        fields: Vec<Field>,
        value_count: usize,
    ) -> Result<Program, ProfileError> {
        for ops in [&self.entry, &self.exit] {
            let bytes: usize = ops.iter().map(emit::chunk_bytes).sum();
            if bytes > MAX_TAIL {
                let problem =
                    format!("a record may need {bytes} bytes, it holds {MAX_TAIL}: lower a limit");
                return Err(self.source.wrong(at, problem));
            }
        }
        let gate_at = self
            .entry
            .iter()
            .rposition(|op| op.kind == OpKind::Keep as u8)
            .map_or(0, |last| last + 1);
        let readings = self.readings();
        let mut ops = self.entry;
        ops.extend(self.exit);
        if ops.len() > MAX_OPS {
            let problem = format!("the probe needs {} operations of {MAX_OPS}", ops.len());
            return Err(self.source.wrong(at, problem));
        }
        let exit = if self.uses_result {
            ExitWanted::Result
        } else if self.emission.exit || self.emission.histogram {
            ExitWanted::Time
        } else {
            ExitWanted::None
        };
        Ok(Program {
            fields,
            readings,
            ops,
            value_count,
            gate_at,
            exit,
            wanted_arguments: self.wanted,
        })
    }

    /// What each value reads, in plain words.
    fn readings(&self) -> Vec<Reading> {
        let written = self.items.iter().zip(&self.plans);
        written
            .filter(|(item, _)| item.role != Role::Inner)
            .map(|(item, plan)| Reading {
                name: item.name.value.as_str().into(),
                is_field: item.role.is_field(),
                level: plan.level,
                moment: plan.moment,
                written: Arc::clone(&item.written),
                // The counts inside it still stand there.
                words: describe::capture(&item.capture.value, self.items),
            })
            .collect()
    }
}

impl Moment {
    const fn flag(self) -> u8 {
        match self {
            Self::Entry => OpFlags::ENTRY,
            Self::Exit => OpFlags::EXIT,
        }
    }
}

impl Capture {
    const fn shape(&self) -> Shape {
        match self {
            Self::Number(Type::Integer { .. }, _) | Self::Part { .. } | Self::Length { .. } => {
                Shape::Number
            }
            Self::Number(Type::Float { .. }, _) => Shape::Float,
            Self::Number(Type::Address, _) | Self::Element { .. } => Shape::Address,
            Self::Membership(..) => Shape::Membership,
            Self::Numbers(Type::Float { .. }, _) | Self::Gather(Type::Float { .. }, _) => {
                Shape::Floats
            }
            Self::Numbers(..) | Self::Gather(..) => Shape::Numbers,
            Self::Bytes(_) | Self::CString { .. } => Shape::Text,
            Self::Texts(..) => Shape::Texts,
        }
    }

    const fn kind(&self) -> FieldKind {
        match self {
            Self::Number(Type::Float { width }, _) => FieldKind::Float { width: *width },
            Self::Number(Type::Address, _) | Self::Element { .. } => FieldKind::Address,
            Self::Number(Type::Integer { signed, .. }, _) => FieldKind::Number { signed: *signed },
            Self::Length { .. } => FieldKind::Number { signed: false },
            Self::Part {
                width,
                signed,
                from,
                ..
            } => FieldKind::Part {
                width: *width,
                signed: *signed,
                from: *from,
            },
            Self::Membership(..) => FieldKind::Membership,
            Self::Numbers(Type::Float { width }, _) | Self::Gather(Type::Float { width }, _) => {
                FieldKind::Floats { width: *width }
            }
            Self::Numbers(element, _) | Self::Gather(element, _) => FieldKind::Numbers {
                width: element.width(),
                signed: element.signed(),
            },
            Self::Bytes(_) | Self::CString { .. } => FieldKind::Text,
            Self::Texts(..) => FieldKind::Texts,
        }
    }
}

/// A capture level's name in profiles.
pub(crate) const fn level_name(level: CaptureLevel) -> &'static str {
    match level {
        CaptureLevel::Timing => "timing",
        CaptureLevel::Shape => "shape",
        CaptureLevel::Tokens => "tokens",
        CaptureLevel::Text => "text",
    }
}
