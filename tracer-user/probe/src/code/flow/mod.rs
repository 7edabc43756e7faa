//! The body of a function: its instructions, where each leads, and where the frame is at each.
//!
//! A body is the range of the function's unwind entry and the cold parts that the compiler split off.
//! All of it is decoded in a straight sweep, landing pads included, so no return can be missed; a body
//! in which that is not certain says so in [`Body::whole`] and then only its entry may be probed.

mod depth;
mod parts;
mod table;

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};

use super::{
    Image, ImageError,
    instruction::{Refused, SiteClass, classify},
    read::ReadAt,
    site::NoExit,
    unwind::{FrameRule, FunctionFrame},
};

/// More code than any function that is worth a probe has.
const MAX_CODE: u64 = 512 * 1024;
const MAX_PARTS: usize = 16;
/// How far a function without unwind entry and size is looked at, to choose its entry.
const UNSIZED: u64 = 4096;

/// A range of code that belongs to a function.
#[derive(Clone, Debug)]
pub struct Part {
    /// Addresses.
    pub range: Range<u64>,
    /// What the unwind table says of it.
    pub frame: Option<FunctionFrame>,
    /// Whether the compiler split it off (`.cold`).
    pub cold: bool,
}

/// A decoded instruction.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The instruction.
    pub instruction: Instruction,
    /// What a probe on it costs.
    pub class: Result<SiteClass, Refused>,
    /// Where it leads.
    pub step: Step,
    /// Index of its part.
    pub part: usize,
    /// From `rsp` to the frame address before the instruction runs, where known.
    pub frame_offset: Option<i32>,
}

/// Where an instruction leads. Targets are indices of instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the next instruction.
    Next,
    /// Through a call to the next instruction; an exception may leave instead.
    Call,
    /// Into a function that never returns.
    NoReturn,
    /// Into `__stack_chk_fail`, which ends the process.
    StackCheckFail,
    /// To one place.
    Jump(usize),
    /// To one place or the next instruction.
    Branch(usize),
    /// To any of the places in a jump table.
    Table(Vec<usize>),
    /// To some place inside the function.
    Unresolved,
    /// Back to the caller.
    Return,
    /// Into another function, which returns to the caller of this one.
    TailJump(TailTarget),
    /// The same, or to the next instruction.
    ConditionalTailJump(TailTarget),
    /// Nowhere: a trap or padding.
    Trap,
}

/// What a tail jump leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailTarget {
    /// A function of the same image.
    Function(u64),
    /// The symbol that the loader binds there, in this image or another.
    Import(String),
    /// Whatever a register or a word in memory holds then.
    Indirect,
}

impl Step {
    fn falls_through(&self) -> bool {
        matches!(
            self,
            Self::Next | Self::Call | Self::Branch(_) | Self::ConditionalTailJump(_)
        )
    }
}

/// A function's decoded body.
#[derive(Debug)]
pub struct Body {
    /// Its ranges; the first is the one that begins at the function's address.
    pub parts: Vec<Part>,
    /// Instructions by address.
    pub instructions: Vec<Decoded>,
    /// Why it is not certain that all of the body is here and understood.
    pub whole: Result<(), NoExit>,
}

impl Body {
    /// Decodes the function at an address. `size` is its symbol's, 0 where unknown.
    ///
    /// # Errors
    /// When there is no code at the address, or it cannot be read.
    pub fn read<R: ReadAt>(image: &Image<R>, vaddr: u64, size: u64) -> Result<Self, ImageError> {
        let segment = image.code_segment(vaddr).ok_or(ImageError::Unmapped {
            what: "function",
            vaddr,
        })?;
        let end = segment.vaddr.saturating_add(segment.file_size);
        let guess = if size == 0 { UNSIZED } else { size };
        let guess = vaddr..vaddr.saturating_add(guess).min(end);
        let (range, frame, whole) = match image.frame_at(vaddr) {
            Err(cause) => (guess, None, Err(NoExit::Unwind { cause })),
            Ok(None) => (guess, None, Err(NoExit::NoUnwindEntry)),
            Ok(Some(frame)) if frame.range.start != vaddr => {
                let start = frame.range.start;
                let range = vaddr..frame.range.end.min(end);
                (range, None, Err(NoExit::InsideAnother { start }))
            }
            Ok(Some(frame)) => {
                let range = vaddr..frame.range.end.min(end);
                let longer = size > range.end - vaddr;
                let whole = if longer {
                    Err(NoExit::SizeMismatch)
                } else {
                    Ok(())
                };
                (range, Some(frame), whole)
            }
        };
        let mut body = Self {
            parts: Vec::new(),
            instructions: Vec::new(),
            whole,
        };
        body.add_part(
            image,
            Part {
                range,
                frame,
                cold: false,
            },
        )?;
        if body.whole.is_ok() {
            body.gather_parts(image)?;
        }
        body.link(image)?;
        body.track_frame();
        Ok(body)
    }

    /// Index of the instruction at an address.
    pub fn position(&self, vaddr: u64) -> Option<usize> {
        self.instructions
            .binary_search_by_key(&vaddr, |decoded| decoded.instruction.ip())
            .ok()
    }

    /// Whether an address lies in one of the body's ranges.
    pub fn contains(&self, vaddr: u64) -> bool {
        self.parts.iter().any(|part| part.range.contains(&vaddr))
    }

    /// Indices of the instructions that can run right after one, within the body.
    pub fn successors(&self, index: usize) -> Vec<usize> {
        let next = || self.next(index).into_iter();
        match &self.instructions[index].step {
            Step::Next | Step::Call | Step::ConditionalTailJump(_) => next().collect(),
            Step::Jump(target) => vec![*target],
            Step::Branch(target) => next().chain([*target]).collect(),
            Step::Table(targets) => targets.clone(),
            Step::NoReturn
            | Step::StackCheckFail
            | Step::Unresolved
            | Step::Return
            | Step::TailJump(_)
            | Step::Trap => Vec::new(),
        }
    }

    /// Index of the instruction that follows in memory, in the same part.
    pub fn next(&self, index: usize) -> Option<usize> {
        let (here, next) = (&self.instructions[index], self.instructions.get(index + 1)?);
        let adjacent = here.instruction.next_ip() == next.instruction.ip();
        (adjacent && here.part == next.part).then_some(index + 1)
    }

    fn doubt(&mut self, reason: NoExit) {
        if self.whole.is_ok() {
            self.whole = Err(reason);
        }
    }

    /// The unwind table's rule at an instruction.
    fn rule(&self, index: usize) -> Option<FrameRule> {
        let decoded = &self.instructions[index];
        self.parts[decoded.part]
            .frame
            .as_ref()?
            .rule(decoded.instruction.ip())
    }

    /// Decodes a range and adds it, keeping instructions sorted by address.
    fn add_part<R: ReadAt>(&mut self, image: &Image<R>, mut part: Part) -> Result<(), ImageError> {
        let have: u64 = self
            .parts
            .iter()
            .map(|part| part.range.end - part.range.start)
            .sum();
        let length = part.range.end.saturating_sub(part.range.start);
        if self.parts.len() == MAX_PARTS || have.saturating_add(length) > MAX_CODE {
            self.doubt(NoExit::TooLarge { limit: MAX_CODE });
        }
        let length = length.min(MAX_CODE);
        part.range.end = part.range.start.saturating_add(length);
        let offset = image.offset_of("function", part.range.start)?;
        let code = image.bytes.vec("function", offset, length, MAX_CODE)?;
        let mut decoder = Decoder::with_ip(64, &code, part.range.start, DecoderOptions::NONE);
        let number = self.parts.len();
        while decoder.can_decode() {
            let start = decoder.position();
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                self.doubt(NoExit::Undecodable {
                    at: instruction.ip(),
                });
                break;
            }
            let bytes = &code[start..decoder.position()];
            self.instructions.push(Decoded {
                class: classify(&instruction, bytes),
                step: first_step(&instruction),
                instruction,
                part: number,
                frame_offset: None,
            });
        }
        self.instructions
            .sort_by_key(|decoded| decoded.instruction.ip());
        self.parts.push(part);
        Ok(())
    }

    /// Resolves where each instruction leads, now that all parts are known.
    fn link<R: ReadAt>(&mut self, image: &Image<R>) -> Result<(), ImageError> {
        for index in 0..self.instructions.len() {
            let instruction = self.instructions[index].instruction;
            let step = match instruction.flow_control() {
                FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                    self.branch(image, &instruction)?
                }
                FlowControl::IndirectBranch => self.indirect(image, index)?,
                FlowControl::Call => callee(image, &instruction)?,
                FlowControl::Next
                | FlowControl::Return
                | FlowControl::IndirectCall
                | FlowControl::Interrupt
                | FlowControl::XbeginXabortXend
                | FlowControl::Exception => continue,
            };
            self.instructions[index].step = step;
        }
        for index in 0..self.instructions.len() {
            if !self.instructions[index].step.falls_through() || self.next(index).is_some() {
                continue;
            }
            let decoded = &mut self.instructions[index];
            if decoded.step == Step::Call {
                // Compilers end a function with a call only where it does not return.
                decoded.step = Step::NoReturn;
            } else if is_nop(&decoded.instruction) {
                decoded.step = Step::Trap;
            } else {
                let at = decoded.instruction.ip();
                self.doubt(NoExit::FallsOut { at });
            }
        }
        self.drop_padding();
        Ok(())
    }

    /// Padding between blocks runs never: it must not look like a way into the block that follows.
    fn drop_padding(&mut self) {
        let mut jumped_to = vec![false; self.instructions.len()];
        for decoded in &self.instructions {
            match &decoded.step {
                Step::Jump(target) | Step::Branch(target) => jumped_to[*target] = true,
                Step::Table(targets) => targets.iter().for_each(|&target| jumped_to[target] = true),
                _ => {}
            }
        }
        let mut entered = true;
        for (decoded, jumped_to) in self.instructions.iter_mut().zip(jumped_to) {
            if !entered && !jumped_to && is_nop(&decoded.instruction) {
                decoded.step = Step::Trap;
            }
            entered = decoded.step.falls_through();
        }
    }

    fn branch<R: ReadAt>(
        &mut self,
        image: &Image<R>,
        instruction: &Instruction,
    ) -> Result<Step, ImageError> {
        let conditional = instruction.flow_control() == FlowControl::ConditionalBranch;
        let target = instruction.near_branch_target();
        if let Some(position) = self.position(target) {
            return Ok(if conditional {
                Step::Branch(position)
            } else {
                Step::Jump(position)
            });
        }
        if self.contains(target) {
            self.doubt(NoExit::Undecodable { at: target });
            return Ok(Step::Unresolved);
        }
        let target = match image.stub_symbol(target)? {
            Some(symbol) => TailTarget::Import(symbol),
            None => TailTarget::Function(target),
        };
        Ok(if conditional {
            Step::ConditionalTailJump(target)
        } else {
            Step::TailJump(target)
        })
    }

    fn indirect<R: ReadAt>(&mut self, image: &Image<R>, index: usize) -> Result<Step, ImageError> {
        let instruction = self.instructions[index].instruction;
        if let Some(table) = table::before(&self.instructions, index)
            && let Some(targets) = table.targets(image, self)?
        {
            return Ok(Step::Table(targets));
        }
        // Only where the frame is gone can a jump leave the function (the callee expects rsp + 8).
        if self
            .rule(index)
            .is_some_and(|rule| rule != FrameRule::Rsp(8))
        {
            return Ok(Step::Unresolved);
        }
        if instruction.op0_kind() == OpKind::Memory && instruction.is_ip_rel_memory_operand() {
            let slot = instruction.ip_rel_memory_address();
            if let Some(symbol) = image.slot_symbol(slot)? {
                return Ok(Step::TailJump(TailTarget::Import(symbol)));
            }
        }
        Ok(Step::TailJump(TailTarget::Indirect))
    }
}

fn is_nop(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Nop
}

fn first_step(instruction: &Instruction) -> Step {
    match instruction.flow_control() {
        FlowControl::Next | FlowControl::XbeginXabortXend => Step::Next,
        FlowControl::Return => Step::Return,
        FlowControl::Call | FlowControl::IndirectCall => Step::Call,
        FlowControl::Interrupt | FlowControl::Exception => Step::Trap,
        FlowControl::UnconditionalBranch
        | FlowControl::ConditionalBranch
        | FlowControl::IndirectBranch => Step::Unresolved,
    }
}

fn callee<R: ReadAt>(image: &Image<R>, call: &Instruction) -> Result<Step, ImageError> {
    let target = call.near_branch_target();
    let name = match image.stub_symbol(target)? {
        Some(name) => name,
        None => match image.names_at(target)?.into_iter().next() {
            Some(name) => name,
            None => return Ok(Step::Call),
        },
    };
    Ok(match name.as_str() {
        "__stack_chk_fail" | "__stack_chk_fail_local" => Step::StackCheckFail,
        "abort"
        | "exit"
        | "_exit"
        | "_Unwind_Resume"
        | "__cxa_throw"
        | "__cxa_rethrow"
        | "__cxa_throw_bad_array_new_length"
        | "__cxa_bad_cast"
        | "__clang_call_terminate"
        | "_ZSt9terminatev"
        | "__assert_fail"
        | "__fortify_fail"
        | "__chk_fail"
        | "ggml_abort" => Step::NoReturn,
        name if name.starts_with("_ZSt") && name.contains("__throw_") => Step::NoReturn,
        _ => Step::Call,
    })
}
