//! The end of a body: the instructions after which nothing can happen but the return.

use std::collections::BTreeSet;

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind};
use tracer_abi::Register;

use crate::code::{
    flow::{Body, Step},
    instruction::general,
};

/// Attempts at emulated exits before all returns become exits themselves.
const ATTEMPTS: usize = 64;

/// Where the value that will be returned is before an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// No return follows.
    Any,
    /// In the low bytes of a register; the rest of the result is zero.
    In {
        /// The register.
        register: Register,
        /// Bytes.
        width: u8,
    },
    /// Not in a register yet.
    Lost,
}

/// The end of a body. From each of its instructions every path reaches a return (or the failure of the
/// stack protector) without a call, so no exception can arise, and without a loop.
pub(super) struct End {
    /// Its instructions, each before those that it leads to.
    pub(super) order: Vec<usize>,
    /// Where the result is, for every instruction of the body.
    pub(super) results: Vec<Carried>,
    member: Vec<bool>,
    predecessors: Vec<Vec<usize>>,
}

impl End {
    pub(super) fn of(body: &Body) -> Self {
        let count = body.instructions.len();
        let mut predecessors = vec![Vec::new(); count];
        let mut waits_for: Vec<usize> = vec![usize::MAX; count];
        let mut ready = Vec::new();
        for (index, decoded) in body.instructions.iter().enumerate() {
            let successors = body.successors(index);
            for &next in &successors {
                predecessors[next].push(index);
            }
            match decoded.step {
                Step::Return | Step::StackCheckFail => ready.push(index),
                Step::Next | Step::Jump(_) | Step::Branch(_) | Step::Table(_) => {
                    waits_for[index] = successors.len();
                }
                Step::Call
                | Step::NoReturn
                | Step::Unresolved
                | Step::TailJump(_)
                | Step::ConditionalTailJump(_)
                | Step::Trap => {}
            }
        }
        // An instruction joins when all that it leads to have; those in a loop never do.
        let mut joined = Vec::new();
        let mut results = vec![Carried::Lost; count];
        let mut info = InstructionInfoFactory::new();
        while let Some(index) = ready.pop() {
            joined.push(index);
            let after = body
                .successors(index)
                .into_iter()
                .map(|next| results[next])
                .fold(Carried::Any, Carried::meet);
            let decoded = &body.instructions[index];
            results[index] = match decoded.step {
                Step::Return => Carried::In {
                    register: Register::Rax,
                    width: 8,
                },
                Step::StackCheckFail => Carried::Any,
                _ => after.before(&decoded.instruction, &mut info),
            };
            for &previous in &predecessors[index] {
                if waits_for[previous] != usize::MAX {
                    waits_for[previous] -= 1;
                    if waits_for[previous] == 0 {
                        ready.push(previous);
                    }
                }
            }
        }
        joined.reverse();
        let mut returns = vec![false; count];
        for &index in joined.iter().rev() {
            returns[index] = body.instructions[index].step == Step::Return
                || body.successors(index).iter().any(|&next| returns[next]);
        }
        joined.retain(|&index| returns[index]);
        Self {
            order: joined,
            results,
            member: returns,
            predecessors,
        }
    }

    /// Chooses instructions of which each path to a return passes exactly one: usable ones as early as
    /// possible, else the return.
    ///
    /// Where one path comes to an instruction through a chosen one and another does not, the chosen one
    /// is given up and the choice made again.
    pub(super) fn cut(&self, body: &Body, mut usable: Vec<bool>) -> Vec<usize> {
        for _ in 0..ATTEMPTS {
            match self.try_cut(body, &usable) {
                Ok(chosen) => return chosen,
                Err(given_up) => given_up.into_iter().for_each(|index| usable[index] = false),
            }
        }
        let returns = self.order.iter().copied();
        returns
            .filter(|&index| body.instructions[index].step == Step::Return)
            .collect()
    }

    fn try_cut(&self, body: &Body, usable: &[bool]) -> Result<Vec<usize>, Vec<usize>> {
        let mut chosen = BTreeSet::new();
        let mut covered = vec![false; body.instructions.len()];
        for &index in &self.order {
            let before = &self.predecessors[index];
            let passed = before.iter().filter(|&&previous| covered[previous]).count();
            if passed > 0 && passed == before.len() {
                covered[index] = true;
            } else if passed > 0 {
                return Err(self.chosen_before(index, &chosen));
            } else if usable[index] || body.instructions[index].step == Step::Return {
                chosen.insert(index);
                covered[index] = true;
            }
        }
        Ok(chosen.into_iter().collect())
    }

    /// The chosen instructions from which one can be reached.
    fn chosen_before(&self, index: usize, chosen: &BTreeSet<usize>) -> Vec<usize> {
        let mut seen = vec![false; self.member.len()];
        let mut work = vec![index];
        let mut found = Vec::new();
        while let Some(index) = work.pop() {
            for &previous in &self.predecessors[index] {
                if self.member[previous] && !std::mem::replace(&mut seen[previous], true) {
                    if chosen.contains(&previous) {
                        found.push(previous);
                    }
                    work.push(previous);
                }
            }
        }
        found
    }
}

impl Carried {
    fn meet(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, known) | (known, Self::Any) => known,
            (
                Self::In { register, width },
                Self::In {
                    register: other,
                    width: narrower,
                },
            ) if register == other => Self::In {
                register,
                width: width.min(narrower),
            },
            (Self::In { .. } | Self::Lost, Self::In { .. } | Self::Lost) => Self::Lost,
        }
    }

    /// Where the value was before an instruction after which it is here.
    fn before(self, instruction: &Instruction, info: &mut InstructionInfoFactory) -> Self {
        let Self::In { register, width } = self else {
            return self;
        };
        let overwritten = info.info(instruction).used_registers().iter().any(|used| {
            let writes = matches!(
                used.access(),
                OpAccess::Write
                    | OpAccess::CondWrite
                    | OpAccess::ReadWrite
                    | OpAccess::ReadCondWrite
            );
            writes && general(used.register()) == Some(register)
        });
        if !overwritten {
            return self;
        }
        let moves = instruction.op_count() == 2
            && instruction.op0_kind() == OpKind::Register
            && instruction.op1_kind() == OpKind::Register;
        let (into, from) = (instruction.op0_register(), instruction.op1_register());
        // Writing 32 bits of a register clears the rest; writing fewer keeps it.
        let copied = match instruction.mnemonic() {
            Mnemonic::Mov if into.size() >= 4 => from.size(),
            Mnemonic::Movzx if into.size() >= 4 => from.size(),
            _ => return Self::Lost,
        };
        match general(from) {
            Some(source) if moves && !is_high_byte(from) => Self::In {
                register: source,
                width: width.min(copied as u8),
            },
            Some(_) | None => Self::Lost,
        }
    }
}

fn is_high_byte(register: iced_x86::Register) -> bool {
    use iced_x86::Register as Decoded;
    matches!(
        register,
        Decoded::AH | Decoded::BH | Decoded::CH | Decoded::DH
    )
}
