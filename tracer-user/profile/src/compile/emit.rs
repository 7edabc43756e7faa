//! Writes the operations.

use tracer_abi::{
    CaptureLevel, MAX_CHUNK, MAX_GATHER, MAX_OFFSETS, Op, OpFlags, OpKind, Source as OpSource,
};

use super::{Compiler, Plan};
use crate::{
    error::ProfileError,
    expression::{Address, Capture, Origin, Type},
    profile::{Argument, Place},
};

/// Bytes of a C string if the profile names no limit.
const CSTRING_LIMIT: usize = 256;

const BYTE: Type = Type::Integer {
    width: 1,
    signed: false,
};

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
}

/// Most bytes that an operation adds to a record.
pub(super) fn chunk_bytes(op: &Op) -> usize {
    let content = if op.kind == OpKind::Bytes as u8 || op.kind == OpKind::CString as u8 {
        op.operand as usize
    } else if op.kind == OpKind::Gather as u8 {
        op.operand as usize * usize::from(op.width)
    } else {
        return 0;
    };
    size_of::<tracer_abi::Chunk>() + content.next_multiple_of(8)
}
