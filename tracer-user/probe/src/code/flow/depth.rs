//! Where the frame is at each instruction: what the unwind table says, carried on by what the
//! instructions do to `rsp` and `rbp` where the table counts from `rbp`, and checked against it.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use super::{Body, Step, is_nop};
use crate::code::{site::NoExit, unwind::FrameRule};

/// Distances from a register to the frame address, where known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Depth {
    rsp: Option<i32>,
    rbp: Option<i32>,
}

impl Body {
    /// Fills in [`frame_offset`](super::Decoded::frame_offset).
    pub(super) fn track_frame(&mut self) {
        let mut before: Vec<Option<Depth>> = vec![None; self.instructions.len()];
        let mut work = Vec::new();
        if let Some(entry) = self.position(self.parts[0].range.start) {
            before[entry] = Some(Depth {
                rsp: Some(8),
                rbp: None,
            });
            work.push(entry);
        }
        let mut info = InstructionInfoFactory::new();
        let mut mismatch = None;
        while let Some(index) = work.pop() {
            let Some(depth) = before[index] else { continue };
            let after = depth.after(&self.instructions[index].instruction, &mut info);
            for next in self.successors(index) {
                let (told, disagrees) = self.told(next, after);
                if disagrees && next == index + 1 && self.ends_in_call(index) {
                    continue;
                }
                if disagrees && mismatch.is_none() {
                    mismatch = Some(self.instructions[next].instruction.ip());
                }
                let merged = match before[next] {
                    None => told,
                    Some(known) => Depth {
                        rsp: known.rsp.filter(|rsp| told.rsp == Some(*rsp)),
                        rbp: known.rbp.filter(|rbp| told.rbp == Some(*rbp)),
                    },
                };
                // The table's word stands whatever the paths say.
                let merged = self.told(next, merged).0;
                if before[next] != Some(merged) {
                    before[next] = Some(merged);
                    work.push(next);
                }
            }
        }
        for (index, depth) in before.into_iter().enumerate() {
            // What only an unwinder or an unresolved jump enters is known from the table alone.
            let depth = depth.unwrap_or_else(|| self.told(index, Depth::default()).0);
            self.instructions[index].frame_offset = depth.rsp;
        }
        if let Some(at) = mismatch {
            self.doubt(NoExit::UnwindMismatch { at });
        }
        let wrong = self.instructions.iter().find(|decoded| {
            decoded.step == Step::Return && decoded.frame_offset.is_some_and(|offset| offset != 8)
        });
        if let Some(at) = wrong.map(|decoded| decoded.instruction.ip()) {
            self.doubt(NoExit::UnwindMismatch { at });
        }
    }

    /// Where code of another frame follows a call, the call does not return: says so in its step.
    fn ends_in_call(&mut self, index: usize) -> bool {
        let filled = self.instructions[..=index]
            .iter()
            .rev()
            .take_while(|decoded| is_nop(&decoded.instruction))
            .count();
        let Some(call) = index.checked_sub(filled) else {
            return false;
        };
        if self.instructions[call].step != Step::Call {
            return false;
        }
        self.instructions[call].step = Step::NoReturn;
        self.instructions[call + 1..=index]
            .iter_mut()
            .for_each(|nop| nop.step = Step::Trap);
        true
    }

    /// Completes what is known before an instruction by the table, and says whether they disagree.
    fn told(&self, index: usize, depth: Depth) -> (Depth, bool) {
        match self.rule(index) {
            Some(FrameRule::Rsp(offset)) => {
                let disagrees = depth.rsp.is_some_and(|known| known != offset);
                (
                    Depth {
                        rsp: Some(offset),
                        ..depth
                    },
                    disagrees,
                )
            }
            Some(FrameRule::Rbp(offset)) => {
                let disagrees = depth.rbp.is_some_and(|known| known != offset);
                (
                    Depth {
                        rbp: Some(offset),
                        ..depth
                    },
                    disagrees,
                )
            }
            Some(FrameRule::Other) => (Depth::default(), false),
            None => (depth, false),
        }
    }
}

impl Depth {
    /// What is known after an instruction.
    fn after(self, instruction: &Instruction, info: &mut InstructionInfoFactory) -> Self {
        let by = |amount: i64| {
            i32::try_from(amount)
                .ok()
                .and_then(|amount| self.rsp?.checked_add(amount))
        };
        let immediate = || match instruction.op1_kind() {
            OpKind::Immediate8to64 | OpKind::Immediate32to64 => {
                Some(instruction.immediate(1).cast_signed())
            }
            _ => None,
        };
        let (first, second) = (instruction.op0_register(), instruction.op1_register());
        match instruction.mnemonic() {
            Mnemonic::Call => {
                return Self {
                    rsp: self.rsp,
                    rbp: self.rbp,
                };
            }
            Mnemonic::Leave => {
                let rsp = self.rbp.and_then(|rbp| rbp.checked_sub(8));
                return Self { rsp, rbp: None };
            }
            Mnemonic::Sub if first == Register::RSP => {
                return Self {
                    rsp: immediate().and_then(by),
                    ..self
                };
            }
            Mnemonic::Add if first == Register::RSP => {
                let amount = immediate().and_then(i64::checked_neg);
                return Self {
                    rsp: amount.and_then(by),
                    ..self
                };
            }
            Mnemonic::Mov if first == Register::RBP && second == Register::RSP => {
                return Self {
                    rbp: self.rsp,
                    ..self
                };
            }
            Mnemonic::Mov if first == Register::RSP && second == Register::RBP => {
                return Self {
                    rsp: self.rbp,
                    ..self
                };
            }
            Mnemonic::Lea if first == Register::RSP || first == Register::RBP => {
                let base = match instruction.memory_base() {
                    Register::RSP => self.rsp,
                    Register::RBP => self.rbp,
                    _ => None,
                };
                let displacement = instruction.memory_displacement64().cast_signed();
                let plain = instruction.memory_index() == Register::None;
                let known = i32::try_from(displacement).ok().filter(|_| plain);
                let value = known.and_then(|known| base?.checked_sub(known));
                return if first == Register::RSP {
                    Self { rsp: value, ..self }
                } else {
                    Self { rbp: value, ..self }
                };
            }
            _ => {}
        }
        let pushed = -i64::from(instruction.stack_pointer_increment());
        let stack_only = matches!(
            instruction.mnemonic(),
            Mnemonic::Push | Mnemonic::Pop | Mnemonic::Pushfq | Mnemonic::Popfq
        );
        let mut after = self;
        let mut writes_rsp = false;
        for used in info.info(instruction).used_registers() {
            let written = matches!(
                used.access(),
                OpAccess::Write
                    | OpAccess::CondWrite
                    | OpAccess::ReadWrite
                    | OpAccess::ReadCondWrite
            );
            match used.register().full_register() {
                Register::RSP if written => writes_rsp = true,
                Register::RBP if written => after.rbp = None,
                _ => {}
            }
        }
        if writes_rsp {
            let popped_into = instruction.mnemonic() == Mnemonic::Pop && first == Register::RSP;
            after.rsp = if stack_only && !popped_into {
                by(pushed)
            } else {
                None
            };
        }
        after
    }
}
