//! Writes the operations.

use tracer_abi::{
    CaptureLevel, MAX_CHUNK, MAX_GATHER, MAX_OFFSETS, MAX_TEXT, MAX_TEXTS, Op, OpFlags, OpKind,
    Source as OpSource, TextFront,
};

use super::{Compiler, Plan};
use crate::{
    error::ProfileError,
    expression::{Address, Capture, Elements, Extent, Origin, Type},
    profile::{Argument, Place},
};

/// Bytes of a text if the profile names no limit.
const TEXT_LIMIT: usize = 256;
/// Bytes of one of several texts if the profile names no limit.
const ONE_OF_TEXTS_LIMIT: usize = 64;

const FRAME_IS_NO_VALUE: &str = "`frame` is a place, not a value: write [frame + offset]";

impl Compiler<'_> {
    /// Writes the operations of an item.
    pub(super) fn emit(&mut self, index: usize) -> Result<(), ProfileError> {
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
            // The kernel half takes the word; what is wanted of it is cut out where it is told.
            Capture::Part { .. } => self.read(base, OpKind::Number, Type::SIZE, address, at)?,
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
            Capture::Length { layout, size, .. } => Op {
                layout: *layout as u8,
                // Fronts count elements, or say where they end: either way in units of one.
                stride: 1,
                operand: i64::from(*size),
                ..self.read(base, OpKind::Length, Type::SIZE, address, at)?
            },
            Capture::Numbers(element, elements) => self.numbers(base, *element, elements, at)?,
            Capture::Gather(element, elements) => {
                let most = MAX_GATHER.min(MAX_CHUNK / usize::from(element.width()));
                let limit = self.limit(elements.limit, most, at)?;
                let mut op = self.read(base, OpKind::Gather, *element, address, at)?;
                op.stride = Type::Address.width().into();
                op.operand = limit as i64;
                op
            }
            Capture::Bytes(elements) => {
                let most = match elements.extent {
                    Extent::Count(_) => MAX_CHUNK,
                    Extent::Front(_) => TEXT_LIMIT,
                };
                let limit = elements.limit.or(Some(most as u32));
                let limit = self.limit(limit, MAX_CHUNK, at)?;
                if elements.stride.is_some() {
                    return Err(self.source.wrong(at, "bytes lie one behind the other"));
                }
                let mut op = self.read(base, OpKind::Bytes, Type::BYTE, address, at)?;
                op.operand = limit as i64;
                op
            }
            Capture::CString { limit, .. } => {
                let limit = limit.or(Some(TEXT_LIMIT as u32));
                let limit = self.limit(limit, MAX_CHUNK, at)?;
                let mut op = self.read(base, OpKind::CString, Type::BYTE, address, at)?;
                op.operand = limit as i64;
                op
            }
            Capture::Texts(kind, elements) => {
                let limit = elements.limit.or(Some(ONE_OF_TEXTS_LIMIT as u32));
                let limit = self.limit(limit, MAX_TEXT, at)?;
                let mut op = self.read(base, OpKind::Texts, Type::BYTE, address, at)?;
                op.element = kind.layout() as u8;
                op.stride = elements.stride.unwrap_or(kind.size());
                op.operand = limit as i64;
                op
            }
        };
        let op = match item.capture.value.elements().map(|all| &all.extent) {
            Some(Extent::Front(layout)) => Op {
                layout: *layout as u8,
                ..op
            },
            Some(Extent::Count(_)) => Op {
                length_slot: match item.capture.value.count() {
                    Some(count) => self.slot_of(self.find(count, at)?),
                    None => unreachable!("every count was given a name before"),
                },
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

    /// Numbers in a row: all their bytes at once, or one by one where others lie between them.
    fn numbers(
        &mut self,
        base: Op,
        element: Type,
        elements: &Elements,
        at: usize,
    ) -> Result<Op, ProfileError> {
        let width = usize::from(element.width());
        let Some(stride) = elements.stride else {
            let limit = self.limit(elements.limit, MAX_CHUNK / width, at)?;
            let mut op = self.read(base, OpKind::Bytes, element, &elements.address, at)?;
            op.operand = (limit * width) as i64;
            return Ok(op);
        };
        let limit = self.limit(elements.limit, MAX_GATHER.min(MAX_CHUNK / width), at)?;
        let mut op = self.read(base, OpKind::Strided, element, &elements.address, at)?;
        op.stride = stride;
        op.operand = limit as i64;
        Ok(op)
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
            OpKind::Bytes
            | OpKind::CString
            | OpKind::Gather
            | OpKind::Strided
            | OpKind::Texts
            | OpKind::Length => steps.push(*plus),
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
        let is_word = matches!(kind, OpKind::Number | OpKind::InSet | OpKind::Scale);
        match origin {
            Origin::Register(register) if at_exit => {
                // Registers have moved on by the exit: a slot keeps the argument.
                self.want(Argument::Register(*register));
                let kept = Op {
                    source: OpSource::Register as u8,
                    index: *register as u8,
                    ..Op::default()
                };
                op.index = self.keep(kept, base.level, at)?;
                op.source = OpSource::Slot as u8;
            }
            Origin::Register(register) => {
                self.want(Argument::Register(*register));
                op.source = OpSource::Register as u8;
                op.index = *register as u8;
            }
            Origin::Frame if at_exit => {
                // So may have those on the stack: a slot keeps the word that the way leads through.
                let [first, rest @ ..] = steps.as_slice() else {
                    return Err(self.source.wrong(at, FRAME_IS_NO_VALUE));
                };
                if rest.is_empty() {
                    let problem = "the function may have overwritten its arguments by the exit: read \
                                   it at the entry";
                    return Err(self.source.wrong(at, problem));
                }
                self.want(Argument::Frame {
                    offset: *first,
                    width: 8,
                });
                let mut kept = Op {
                    source: OpSource::Frame as u8,
                    depth: 1,
                    ..Op::default()
                };
                kept.offsets[0] = *first;
                op.index = self.keep(kept, base.level, at)?;
                op.source = OpSource::Slot as u8;
                op.depth -= 1;
                op.offsets = [0; MAX_OFFSETS];
                op.offsets[..rest.len()].copy_from_slice(rest);
            }
            Origin::Frame => {
                let Some(offset) = steps.first() else {
                    return Err(self.source.wrong(at, FRAME_IS_NO_VALUE));
                };
                let width = if is_word && steps.len() == 1 {
                    element.width()
                } else {
                    8
                };
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

    /// Keeps a word of the entry for the exit; the slot that it lies in.
    fn keep(&mut self, word: Op, level: u8, at: usize) -> Result<u8, ProfileError> {
        let slot = self.take_slot(at)?;
        self.push(Op {
            kind: OpKind::Number as u8,
            flags: OpFlags::ENTRY,
            level,
            slot,
            width: 8,
            ..word
        });
        Ok(slot)
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
}

/// Most bytes that an operation adds to a record.
pub(super) fn chunk_bytes(op: &Op) -> usize {
    let is = |kind: OpKind| op.kind == kind as u8;
    let limit = op.operand as usize;
    let content = if is(OpKind::Bytes) || is(OpKind::CString) {
        limit
    } else if is(OpKind::Gather) || is(OpKind::Strided) {
        limit * usize::from(op.width)
    } else if is(OpKind::Texts) {
        let one = size_of::<TextFront>() + limit.next_multiple_of(8);
        MAX_CHUNK.min(MAX_TEXTS * one)
    } else {
        return 0;
    };
    size_of::<tracer_abi::Chunk>() + content.next_multiple_of(8)
}
