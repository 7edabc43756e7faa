//! The entry: the cheapest instruction that every call passes once, with the arguments in place.

use std::{collections::BTreeSet, ops::Range};

use iced_x86::{Instruction, InstructionInfoFactory, OpAccess};
use tracer_abi::Register;

use super::{Argument, ArgumentAt, EntrySite, NoEntry, PlanError, Request};
use crate::code::{
    Image,
    flow::{Body, Decoded, Step},
    instruction::{Emulated, SiteClass, general},
    read::ReadAt,
};

/// More instructions than any prologue has.
const REACH: usize = 64;

/// Chooses the entry site; also says which instruction it is.
pub(super) fn choose<R: ReadAt>(
    image: &Image<R>,
    body: &Body,
    request: &Request,
) -> Result<(usize, EntrySite), PlanError> {
    let start = body
        .position(body.parts[0].range.start)
        .ok_or(NoEntry::Empty)?;
    let targets = branch_targets(body);
    if targets.contains(&start) {
        return Err(NoEntry::LoopHead.into());
    }
    // Where not every jump is understood, one may lead into the first block; none leads into a push.
    let understood = body.whole.is_ok()
        && !body
            .instructions
            .iter()
            .any(|decoded| decoded.step == Step::Unresolved);

    let mut arguments = Arguments::new(&request.arguments);
    let mut best: Option<(usize, SiteClass, i32)> = None;
    let mut refused = None;
    let mut index = start;
    for _ in 0..REACH {
        let decoded = &body.instructions[index];
        if !arguments.in_place() {
            break;
        }
        match (&decoded.class, decoded.frame_offset) {
            (Ok(class), Some(frame_offset)) => {
                let usable = match class {
                    SiteClass::Emulated(Emulated::Call) => !request.shadow_stack && understood,
                    SiteClass::Emulated(Emulated::Push | Emulated::Nop) => true,
                    SiteClass::Emulated(Emulated::Jump | Emulated::ConditionalJump) => understood,
                    SiteClass::Nop5 => true,
                    SiteClass::SingleStepped(_) => index == start || best.is_none(),
                };
                if usable && best.is_none_or(|(_, known, _)| rank(*class) < rank(known)) {
                    best = Some((index, *class, frame_offset));
                }
            }
            (Err(why), _) => drop(refused.get_or_insert_with(|| why.to_string())),
            (Ok(_), None) => {}
        }
        if best.is_some_and(|(_, class, _)| class.is_emulated()) || decoded.step != Step::Next {
            break;
        }
        arguments.step(decoded);
        match body.next(index) {
            Some(next) if !targets.contains(&next) => index = next,
            Some(_) | None => break,
        }
    }

    let (index, class, frame_offset) = best.ok_or(match refused {
        Some(refused) => NoEntry::Refused { refused },
        None => NoEntry::FrameUnknown,
    })?;
    let vaddr = body.instructions[index].instruction.ip();
    let site = EntrySite {
        file_offset: image.offset_of("entry site", vaddr)?,
        vaddr,
        class,
        frame_offset,
        arguments: request
            .arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Register(register) => ArgumentAt::Register(register),
                // Stack arguments begin at the frame address (System V ABI, figure 3.3).
                Argument::Stack { offset, .. } => ArgumentAt::Stack(
                    frame_offset.saturating_add(i32::try_from(offset).unwrap_or(i32::MAX)),
                ),
            })
            .collect(),
    };
    Ok((index, site))
}

/// Cheapest first.
fn rank(class: SiteClass) -> u8 {
    match class {
        SiteClass::Emulated(_) => 0,
        SiteClass::Nop5 => 1,
        SiteClass::SingleStepped(_) => 2,
    }
}

fn branch_targets(body: &Body) -> BTreeSet<usize> {
    let mut targets = BTreeSet::new();
    for decoded in &body.instructions {
        match &decoded.step {
            Step::Jump(target) | Step::Branch(target) => drop(targets.insert(*target)),
            Step::Table(table) => targets.extend(table),
            Step::Next
            | Step::Call
            | Step::NoReturn
            | Step::StackCheckFail
            | Step::Unresolved
            | Step::Return
            | Step::TailJump(_)
            | Step::ConditionalTailJump(_)
            | Step::Trap => {}
        }
    }
    targets
}

/// Which of the wanted arguments no instruction so far has overwritten.
struct Arguments {
    registers: Vec<Register>,
    /// Relative to the frame address.
    stack: Vec<Range<i64>>,
    info: InstructionInfoFactory,
    /// Whether a register other than `rsp` may point into the stack.
    stack_escaped: bool,
    lost: bool,
}

impl Arguments {
    fn new(wanted: &[Argument]) -> Self {
        let mut registers = Vec::new();
        let mut stack = Vec::new();
        for argument in wanted {
            match *argument {
                Argument::Register(register) => registers.push(register),
                Argument::Stack { offset, length } => {
                    stack.push(i64::from(offset)..i64::from(offset) + i64::from(length));
                }
            }
        }
        let info = InstructionInfoFactory::new();
        Self {
            registers,
            stack,
            info,
            stack_escaped: false,
            lost: false,
        }
    }

    fn in_place(&self) -> bool {
        !self.lost
    }

    fn step(&mut self, decoded: &Decoded) {
        let instruction = &decoded.instruction;
        let used = self.info.info(instruction);
        for register in used.used_registers() {
            if writes(register.access())
                && general(register.register())
                    .is_some_and(|register| self.registers.contains(&register))
            {
                self.lost = true;
            }
        }
        if self.stack.is_empty() {
            return;
        }
        for memory in used
            .used_memory()
            .iter()
            .filter(|memory| writes(memory.access()))
        {
            let from_rsp = general(memory.base()) == Some(Register::Rsp)
                && memory.index() == iced_x86::Register::None;
            let pushes = instruction.stack_pointer_increment() < 0;
            if from_rsp && !pushes {
                let frame = i64::from(decoded.frame_offset.unwrap_or_default());
                let from = memory.displacement().cast_signed().saturating_sub(frame);
                let to = from.saturating_add(memory.memory_size().size().max(1) as i64);
                if self
                    .stack
                    .iter()
                    .any(|range| from < range.end && range.start < to)
                {
                    self.lost = true;
                }
            } else if !pushes && memory.base() != iced_x86::Register::RIP {
                self.lost |= self.stack_escaped;
            }
        }
        self.stack_escaped |= copies_stack_pointer(instruction);
    }
}

fn writes(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

fn copies_stack_pointer(instruction: &Instruction) -> bool {
    use iced_x86::{Mnemonic, OpKind};
    let into_other = instruction.op0_kind() == OpKind::Register
        && general(instruction.op0_register()) != Some(Register::Rsp);
    match instruction.mnemonic() {
        Mnemonic::Lea => into_other && general(instruction.memory_base()) == Some(Register::Rsp),
        Mnemonic::Mov => {
            into_other
                && instruction.op1_kind() == OpKind::Register
                && general(instruction.op1_register()) == Some(Register::Rsp)
        }
        _ => false,
    }
}
