//! From expressions to the kernel half's operations: decides when each value is read, in which
//! slot or chunk it travels, and from which level on, and holds every limit of
//! [`tracer_abi`].

use tracer_abi::{
    CaptureLevel, MAX_CHUNK, MAX_GATHER, MAX_OFFSETS, MAX_OPS, MAX_TAIL, MAX_VALUES, Op, OpFlags,
    OpKind, Source as OpSource,
};

use crate::{
    document::{Placed, Source},
    error::ProfileError,
    expression::{Address, Capture, Condition, Origin, Type, unknown},
    profile::{Argument, ExitWanted, Field, FieldKind, Place},
    signal::{FieldName, Shape},
};

/// Bytes of a C string if the profile names no limit.
const CSTRING_LIMIT: usize = 256;

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

    /// Decides when each item is read.
    fn plan(&mut self, order: &[usize]) -> Result<(), ProfileError> {
        self.plans = vec![
            Plan {
                moment: Moment::Entry,
                level: CaptureLevel::Timing,
                place: None,
            };
            self.items.len()
        ];
        for &index in order {
            let item = &self.items[index];
            let capture = &item.capture.value;
            let needs_exit = capture.address().origin == Origin::Return
                || self
                    .uses(index)?
                    .iter()
                    .any(|used| self.plans[*used].moment == Moment::Exit);
            let earliest = if needs_exit || (capture.is_chunk() && !self.emission.entry) {
                // The stash keeps slots, not chunks, from entry to exit.
                Moment::Exit
            } else {
                Moment::Entry
            };
            let moment = item.moment.unwrap_or(earliest);
            let name = &item.name.value;
            if moment < earliest {
                let problem = format!("`{name}` is not known before the function returns");
                return Err(self.source.wrong(item.capture.at, problem));
            }
            if moment == Moment::Exit && !self.emission.exit {
                let problem = format!(
                    "`{name}` needs a record at the exit: write emit = \"exit\" or \"both\""
                );
                return Err(self.source.wrong(item.capture.at, problem));
            }
            self.plans[index].moment = moment;
        }
        Ok(())
    }

    /// Decides from which level on each item is read: a field by its role and setting, a local by
    /// the least of those that use it.
    fn set_levels(&mut self, order: &[usize]) -> Result<(), ProfileError> {
        for (index, item) in self.items.iter().enumerate() {
            let Some(role) = item.role else {
                // Until a user lowers it.
                self.plans[index].level = CaptureLevel::Text;
                continue;
            };
            let level = item.level.unwrap_or(role.floor());
            if level < role.floor() {
                let floor = level_name(role.floor());
                let problem = format!("`{role}` must not leave the process below level {floor}");
                return Err(self.source.wrong(item.capture.at, problem));
            }
            self.plans[index].level = level;
        }
        for condition in self.conditions {
            let index = self.find(&condition.value.name, condition.at)?;
            if self.items[index].role.is_none() {
                self.plans[index].level = CaptureLevel::Timing;
            } else if self.plans[index].level > CaptureLevel::Timing {
                let problem = format!(
                    "`{}` is not read at every level: let the condition use a local",
                    condition.value.name
                );
                return Err(self.source.wrong(condition.at, problem));
            }
        }
        for &index in order.iter().rev() {
            let level = self.plans[index].level;
            for used in self.uses(index)? {
                if self.items[used].role.is_none() {
                    self.plans[used].level = self.plans[used].level.min(level);
                } else if self.plans[used].level > level {
                    let name = &self.items[used].name.value;
                    let problem = format!(
                        "`{name}` is read only from level {} on, this from {}: use a local",
                        level_name(self.plans[used].level),
                        level_name(level)
                    );
                    return Err(self.source.wrong(self.items[index].capture.at, problem));
                }
            }
        }
        Ok(())
    }

    /// Gives every field its slot or chunk; what a record carries comes first.
    fn place(&mut self) -> Result<Vec<Field>, ProfileError> {
        let mut fields = Vec::new();
        let mut chunks = 0_u8;
        for (index, item) in self.items.iter().enumerate() {
            let Some(name) = item.role else { continue };
            let place = if item.capture.value.is_chunk() {
                chunks += 1;
                Place::Chunk(chunks - 1)
            } else {
                Place::Slot(self.take_slot(item.name.at)?)
            };
            self.plans[index].place = Some(place);
            fields.push(Field {
                name,
                level: self.plans[index].level,
                place,
                kind: item.capture.value.kind(),
            });
        }
        Ok(fields)
    }

    fn place_locals(&mut self, at: usize) -> Result<(), ProfileError> {
        for (index, item) in self.items.iter().enumerate() {
            if item.role.is_some() {
                continue;
            }
            if item.capture.value.is_chunk() {
                let problem = format!("local `{}` must be a number", item.name.value);
                return Err(self.source.wrong(item.capture.at, problem));
            }
            self.plans[index].place = Some(Place::Slot(self.take_slot(at)?));
        }
        Ok(())
    }

    fn take_slot(&mut self, at: usize) -> Result<u8, ProfileError> {
        if usize::from(self.slots) == MAX_VALUES {
            let problem = format!("the probe needs more than {MAX_VALUES} numbers");
            return Err(self.source.wrong(at, problem));
        }
        self.slots += 1;
        Ok(self.slots - 1)
    }

    /// Writes the operations of an item.
    fn emit(&mut self, index: usize) -> Result<(), ProfileError> {
        let item = &self.items[index];
        let Plan {
            moment,
            level,
            place,
        } = self.plans[index];
        let at = item.capture.at;
        let number = match place.expect("every item was placed before") {
            Place::Slot(slot) => slot,
            Place::Chunk(chunk) => chunk,
        };
        let address = item.capture.value.address();
        let base = Op {
            level: level as u8,
            flags: moment.flag(),
            slot: number,
            ..Op::default()
        };
        let op = match &item.capture.value {
            Capture::Number(kind, _) => {
                let op = self.read(base, OpKind::Number, *kind, address, at)?;
                if matches!(kind, Type::Float { .. }) && op.depth == 0 {
                    let problem =
                        "a float is read from memory: BPF sees no floating-point register";
                    return Err(self.source.wrong(at, problem));
                }
                op
            }
            Capture::Membership(kind, _, set) => Op {
                length_slot: set.number(),
                ..self.read(base, OpKind::InSet, *kind, address, at)?
            },
            Capture::Element { index, size, .. } => {
                let op = self.read(base, OpKind::Scale, Type::Address, address, at)?;
                if op.source == OpSource::Constant as u8 {
                    return Err(self.source.wrong(at, "a constant is no address"));
                }
                Op {
                    length_slot: self.slot_of(self.find(index, at)?),
                    operand: *size,
                    ..op
                }
            }
            Capture::Array { element, limit, .. } => {
                let width = usize::from(element.width());
                let limit = self.limit(*limit, MAX_CHUNK / width, at)?;
                let mut op = self.read(base, OpKind::Bytes, *element, address, at)?;
                op.operand = (limit * width) as i64;
                op
            }
            Capture::Gather { element, limit, .. } => {
                let most = MAX_GATHER.min(MAX_CHUNK / usize::from(element.width()));
                let limit = self.limit(*limit, most, at)?;
                let mut op = self.read(base, OpKind::Gather, *element, address, at)?;
                op.operand = limit as i64;
                op
            }
            Capture::Bytes { limit, .. } => {
                let limit = self.limit(*limit, MAX_CHUNK, at)?;
                let mut op = self.read(base, OpKind::Bytes, BYTE, address, at)?;
                op.operand = limit as i64;
                op
            }
            Capture::CString { limit, .. } => {
                let limit = limit.or(Some(CSTRING_LIMIT as u32));
                let limit = self.limit(limit, MAX_CHUNK, at)?;
                let mut op = self.read(base, OpKind::CString, BYTE, address, at)?;
                op.operand = limit as i64;
                op
            }
        };
        let op = match item.capture.value.count() {
            Some(count) => Op {
                length_slot: self.slot_of(self.find(count, at)?),
                ..op
            },
            None => op,
        };
        self.push(op);
        for condition in self.conditions {
            if self.find(&condition.value.name, condition.at)? == index {
                self.push(Op {
                    kind: OpKind::Keep as u8,
                    comparison: condition.value.comparison as u8,
                    operand: condition.value.operand,
                    level: CaptureLevel::Timing as u8,
                    flags: moment.flag(),
                    slot: number,
                    ..Op::default()
                });
            }
        }
        Ok(())
    }

    /// An operation that starts where the address does.
    fn read(
        &mut self,
        base: Op,
        kind: OpKind,
        element: Type,
        address: &Address,
        at: usize,
    ) -> Result<Op, ProfileError> {
        let Address {
            origin,
            through,
            plus,
        } = address;
        let mut steps = through.clone();
        match kind {
            OpKind::Number | OpKind::InSet | OpKind::Scale if *plus != 0 => {
                let problem = "an offset is only added to an address: did you mean `[… + …]`?";
                return Err(self.source.wrong(at, problem));
            }
            OpKind::Number | OpKind::InSet | OpKind::Scale => {}
            OpKind::Bytes | OpKind::CString | OpKind::Gather => steps.push(*plus),
            OpKind::None | OpKind::Keep => unreachable!("these read nothing"),
        }
        let mut offsets = [0; MAX_OFFSETS];
        if steps.len() > MAX_OFFSETS {
            let problem = format!("more than {MAX_OFFSETS} steps: split it with a local");
            return Err(self.source.wrong(at, problem));
        }
        offsets[..steps.len()].copy_from_slice(&steps);
        let mut op = Op {
            kind: kind as u8,
            width: element.width(),
            depth: steps.len() as u8,
            offsets,
            ..base
        };
        if element.signed() {
            op.flags |= OpFlags::SIGNED;
        }
        let at_exit = base.flags & OpFlags::EXIT != 0;
        match origin {
            Origin::Register(register) if at_exit => {
                // Registers have moved on by the exit: a slot keeps the argument.
                let slot = self.take_slot(at)?;
                self.want(Argument::Register(*register));
                self.push(Op {
                    kind: OpKind::Number as u8,
                    flags: OpFlags::ENTRY,
                    level: base.level,
                    source: OpSource::Register as u8,
                    index: *register as u8,
                    slot,
                    width: 8,
                    ..Op::default()
                });
                op.source = OpSource::Slot as u8;
                op.index = slot;
            }
            Origin::Register(register) => {
                self.want(Argument::Register(*register));
                op.source = OpSource::Register as u8;
                op.index = *register as u8;
            }
            Origin::Frame if at_exit => {
                let problem =
                    "the function may have overwritten its arguments by the exit: use a local";
                return Err(self.source.wrong(at, problem));
            }
            Origin::Frame => {
                let Some(offset) = steps.first() else {
                    let problem = "`frame` is a place, not a value: write [frame + offset]";
                    return Err(self.source.wrong(at, problem));
                };
                let width = if steps.len() == 1 { element.width() } else { 8 };
                self.want(Argument::Frame {
                    offset: *offset,
                    width,
                });
                op.source = OpSource::Frame as u8;
            }
            Origin::Return => {
                self.uses_result = true;
                op.source = OpSource::Return as u8;
            }
            Origin::Named(name) => {
                op.source = OpSource::Slot as u8;
                op.index = self.slot_of(self.find(name, at)?);
            }
            Origin::Constant(value) => {
                if kind != OpKind::Number || !steps.is_empty() {
                    let problem = "a constant is no address";
                    return Err(self.source.wrong(at, problem));
                }
                op.source = OpSource::Constant as u8;
                op.operand = *value;
            }
        }
        Ok(op)
    }

    fn slot_of(&self, index: usize) -> u8 {
        match self.plans[index].place {
            Some(Place::Slot(slot)) => slot,
            Some(Place::Chunk(_)) | None => {
                unreachable!("`find` returns numbers only, and all were placed before")
            }
        }
    }

    fn limit(&self, wanted: Option<u32>, most: usize, at: usize) -> Result<usize, ProfileError> {
        match wanted.map(|limit| limit as usize) {
            None => Ok(most),
            Some(limit) if limit <= most => Ok(limit),
            Some(limit) => {
                let problem = format!("a limit of {limit} is more than the {most} possible here");
                Err(self.source.wrong(at, problem))
            }
        }
    }

    fn want(&mut self, argument: Argument) {
        if !self.wanted.contains(&argument) {
            self.wanted.push(argument);
        }
    }

    fn push(&mut self, op: Op) {
        if op.flags & OpFlags::EXIT != 0 {
            self.exit.push(op);
        } else {
            self.entry.push(op);
        }
    }

    fn finish(
        self,
        at: usize,
        fields: Vec<Field>,
        value_count: usize,
    ) -> Result<Program, ProfileError> {
        for ops in [&self.entry, &self.exit] {
            let bytes: usize = ops.iter().map(chunk_bytes).sum();
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

const BYTE: Type = Type::Integer {
    width: 1,
    signed: false,
};

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

/// Most bytes that an operation adds to a record.
fn chunk_bytes(op: &Op) -> usize {
    let content = if op.kind == OpKind::Bytes as u8 || op.kind == OpKind::CString as u8 {
        op.operand as usize
    } else if op.kind == OpKind::Gather as u8 {
        op.operand as usize * usize::from(op.width)
    } else {
        return 0;
    };
    size_of::<tracer_abi::Chunk>() + content.next_multiple_of(8)
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
