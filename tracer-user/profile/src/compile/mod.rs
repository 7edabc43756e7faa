//! From expressions to the kernel half's operations: decides when each value is read, in which
//! slot or chunk it travels, and from which level on, and holds every limit of
//! [`tracer_abi`].

mod emit;
mod plan;

use tracer_abi::{CaptureLevel, MAX_OPS, MAX_TAIL, Op, OpFlags, OpKind};

use crate::{
    document::{Placed, Source},
    error::ProfileError,
    expression::{Address, Capture, Condition, Origin, Type, unknown},
    profile::{Argument, ExitWanted, Field, FieldKind, Place},
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
pub(crate) enum Moment {
    Entry,
    Exit,
}

/// A named value as the profile has it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) name: Placed<String>,
    /// `None` for a local, which only other values use.
    pub(crate) role: Option<FieldName>,
    pub(crate) capture: Placed<Capture>,
    pub(crate) level: Option<CaptureLevel>,
    pub(crate) moment: Option<Moment>,
}

/// What a probe's values compile to.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) fields: Vec<Field>,
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
    let mut compiler = Compiler {
        source,
        items,
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
    /// The items in an order in which each follows what it uses.
    fn order(&self) -> Result<Vec<usize>, ProfileError> {
        for (index, item) in self.items.iter().enumerate() {
            if let Some(role) = item.role {
                self.check_shape(item, role)?;
            }
            let earlier = &self.items[..index];
            if earlier
                .iter()
                .any(|other| other.name.value == item.name.value)
            {
                let problem = format!("`{}` is defined twice", item.name.value);
                return Err(self.source.wrong(item.name.at, problem));
            }
        }
        let mut order = Vec::with_capacity(self.items.len());
        let mut marks = vec![Mark::New; self.items.len()];
        // What conditions test comes first: a dropped call should cost no more than that.
        for condition in self.conditions {
            let index = self.find(&condition.value.name, condition.at)?;
            self.visit(index, &mut marks, &mut order)?;
        }
        for index in 0..self.items.len() {
            self.visit(index, &mut marks, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        index: usize,
        marks: &mut [Mark],
        order: &mut Vec<usize>,
    ) -> Result<(), ProfileError> {
        match marks[index] {
            Mark::Done => return Ok(()),
            Mark::Open => {
                let name = &self.items[index].name;
                let problem = format!("`{}` is defined by itself", name.value);
                return Err(self.source.wrong(name.at, problem));
            }
            Mark::New => marks[index] = Mark::Open,
        }
        for used in self.uses(index)? {
            self.visit(used, marks, order)?;
        }
        marks[index] = Mark::Done;
        order.push(index);
        Ok(())
    }

    /// The items that an item's expression names.
    fn uses(&self, index: usize) -> Result<Vec<usize>, ProfileError> {
        let capture = &self.items[index].capture;
        let origin = match &capture.value.address().origin {
            Origin::Named(name) => Some(name),
            Origin::Register(_) | Origin::Frame | Origin::Return | Origin::Constant(_) => None,
        };
        let index = match &capture.value {
            Capture::Element { index, .. } => Some(index),
            Capture::Number(..)
            | Capture::Membership(..)
            | Capture::Array { .. }
            | Capture::Gather { .. }
            | Capture::Bytes { .. }
            | Capture::CString { .. } => None,
        };
        let names = origin.into_iter().chain(capture.value.count()).chain(index);
        names.map(|name| self.find(name, capture.at)).collect()
    }

    /// The item of a name, which must be a single number.
    fn find(&self, name: &str, at: usize) -> Result<usize, ProfileError> {
        let names = self.items.iter().map(|item| item.name.value.as_str());
        let found = self.items.iter().position(|item| item.name.value == name);
        let index = found.ok_or_else(|| {
            let problem = unknown("field or local", name, names);
            self.source.wrong(at, problem.to_string())
        })?;
        if self.items[index].capture.value.is_chunk() {
            let problem = format!("`{name}` is not a single number");
            return Err(self.source.wrong(at, problem));
        }
        Ok(index)
    }

    fn check_shape(&self, item: &Item, role: FieldName) -> Result<(), ProfileError> {
        let found = match &item.capture.value {
            Capture::Number(Type::Integer { .. }, _) => Shape::Number,
            Capture::Number(Type::Float { .. }, _) => Shape::Float,
            Capture::Number(Type::Address, _) | Capture::Element { .. } => Shape::Address,
            Capture::Membership(..) => Shape::Membership,
            Capture::Array { .. } | Capture::Gather { .. } => Shape::Numbers,
            Capture::Bytes { .. } | Capture::CString { .. } => Shape::Text,
        };
        if found != role.shape() {
            let problem = format!(
                "`{role}` is of kind {}, the expression gives {found}",
                role.shape()
            );
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
            ops,
            value_count,
            gate_at,
            exit,
            wanted_arguments: self.wanted,
        })
    }
}

#[derive(Clone, Copy)]
enum Mark {
    New,
    Open,
    Done,
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
    fn address(&self) -> &Address {
        match self {
            Self::Number(_, address)
            | Self::Membership(_, address, _)
            | Self::Element { address, .. }
            | Self::Array { address, .. }
            | Self::Gather { address, .. }
            | Self::Bytes { address, .. }
            | Self::CString { address, .. } => address,
        }
    }

    fn count(&self) -> Option<&String> {
        match self {
            Self::Array { count, .. } | Self::Gather { count, .. } | Self::Bytes { count, .. } => {
                Some(count)
            }
            Self::Number(..)
            | Self::Membership(..)
            | Self::Element { .. }
            | Self::CString { .. } => None,
        }
    }

    const fn is_chunk(&self) -> bool {
        match self {
            Self::Array { .. }
            | Self::Gather { .. }
            | Self::Bytes { .. }
            | Self::CString { .. } => true,
            Self::Number(..) | Self::Membership(..) | Self::Element { .. } => false,
        }
    }

    const fn kind(&self) -> FieldKind {
        match self {
            Self::Number(Type::Float { width }, _) => FieldKind::Float { width: *width },
            Self::Number(Type::Address, _) | Self::Element { .. } => FieldKind::Address,
            Self::Number(Type::Integer { signed, .. }, _) => FieldKind::Number { signed: *signed },
            Self::Membership(..) => FieldKind::Membership,
            Self::Array { element, .. } | Self::Gather { element, .. } => FieldKind::Numbers {
                width: element.width(),
                signed: element.signed(),
            },
            Self::Bytes { .. } | Self::CString { .. } => FieldKind::Text,
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
