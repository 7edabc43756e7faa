//! The choice of sites: at which instructions a function's calls are seen to begin and to end.
//!
//! A return probe of the kernel rewrites the return address on the target's stack, and an exception
//! that unwinds through it kills the target. So a call's end is seen at instructions of the function
//! itself, and pairs are matched by the frame address, which each site computes from `rsp`.

mod end;
mod entry;
mod exit;
mod intruders;
mod why;

use std::{collections::BTreeSet, ops::Range};

use tracer_abi::Register;

pub use self::why::{NoEntry, NoExit, PlanError};
use super::{
    Image, SymbolKind,
    flow::{Body, Step, TailTarget},
    instruction::SiteClass,
    read::ReadAt,
};

const MAX_THUNKS: usize = 4;
const MAX_CONTINUATIONS: usize = 16;

/// What to plan.
#[derive(Clone, Debug)]
pub struct Request {
    /// Address of the function.
    pub vaddr: u64,
    /// Its symbol's size; 0 where unknown.
    pub size: u64,
    /// Arguments that are read at the entry.
    pub arguments: Vec<Argument>,
    /// Whether the result is read at the exits.
    pub result: ResultUse,
    /// Which exits will do.
    pub exits: ExitPreference,
    /// Whether a process that runs it has a shadow stack, which an emulated `call` does not write.
    pub shadow_stack: bool,
}

/// An argument as the caller passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// In a register.
    Register(Register),
    /// On the stack: `length` bytes from `[rsp + 8 + offset]` at the function's first instruction.
    Stack {
        /// From the first stack argument.
        offset: u32,
        /// How many bytes are read.
        length: u32,
    },
}

/// Whether the result is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultUse {
    /// It is not: only the time counts.
    #[default]
    Unused,
    /// The integer or pointer in `rax` is; an exit at which it is not known does not count.
    Required,
}

/// Which exits will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitPreference {
    /// None are wanted.
    NoExits,
    /// Only emulated ones, for functions called more than 500 times a second.
    Emulated,
    /// Emulated ones where possible, otherwise `ret`.
    #[default]
    AllowStepped,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionId {
    /// Its address.
    pub vaddr: u64,
    /// Its size in bytes, cold parts included.
    pub size: u64,
    /// All of its mangled names; none where the image is stripped.
    pub names: Vec<String>,
}

/// Where to probe a function.
#[derive(Debug)]
pub struct SitePlan {
    /// The function that is probed: what was asked for, or what it only jumps to.
    pub function: FunctionId,
    /// Addresses of the thunks that were followed, the function asked for first.
    pub followed: Vec<u64>,
    /// The function's ranges; cold parts follow the first.
    pub ranges: Vec<Range<u64>>,
    /// Whether it has an exception table: cleanups, handlers, or `noexcept`. None proves nothing.
    pub has_exception_table: bool,
    /// Where its calls begin.
    pub entry: EntrySite,
    /// Where its calls end, in its own body. Exactly one of these, or of a continuation's, is passed by
    /// each call that returns.
    pub exits: Result<Vec<ExitSite>, NoExit>,
    /// The functions that it ends in by tail jumps. Empty when there are no exits.
    pub continuations: Vec<Continuation>,
}

/// A function that another one ends in by a tail jump: its exits end the other's call too, at the same
/// frame address.
#[derive(Clone, Debug)]
pub struct Continuation {
    /// The function, in the same image.
    pub function: FunctionId,
    /// Where it ends.
    pub exits: Vec<ExitSite>,
}

/// Where calls are seen to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySite {
    /// Where in the file.
    pub file_offset: u64,
    /// Address.
    pub vaddr: u64,
    /// What it costs.
    pub class: SiteClass,
    /// From `rsp` to the frame address, in bytes.
    pub frame_offset: i32,
    /// Where each argument that was asked for is, in the order of the request.
    pub arguments: Vec<ArgumentAt>,
}

/// Where an argument is at an entry site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentAt {
    /// Still in its register.
    Register(Register),
    /// At `rsp` plus this.
    Stack(i32),
}

/// Where calls are seen to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitSite {
    /// Where in the file.
    pub file_offset: u64,
    /// Address.
    pub vaddr: u64,
    /// What it costs.
    pub class: SiteClass,
    /// From `rsp` to the frame address, in bytes.
    pub frame_offset: i32,
    /// Where the result is.
    pub result: ResultLocation,
    /// What the site is.
    pub kind: ExitKind,
}

/// Where the result is at an exit site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultLocation {
    /// In a register. Only its low `width` bytes are the result's; the rest of `rax` will be zero.
    Register {
        /// The register.
        register: Register,
        /// Bytes: 1, 2, 4 or 8.
        width: u8,
    },
    /// Nobody asked for it.
    Unused,
}

/// What an exit site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// A `ret`.
    Return,
    /// A `ret` of a cold part.
    ColdReturn,
    /// An emulated instruction after which nothing can happen but the return.
    EmulatedBeforeReturn,
    /// A jump to a function that frees memory and returns to the caller.
    Deallocation,
}

/// Chooses sites in one image.
#[derive(Debug)]
pub struct Planner<'image, R> {
    image: &'image Image<R>,
}

impl<'image, R: ReadAt> Planner<'image, R> {
    /// Plans for an image.
    pub fn new(image: &'image Image<R>) -> Self {
        Self { image }
    }

    /// Chooses sites for many functions, reading what they share once.
    pub fn plan_all(&self, requests: &[Request]) -> Vec<Result<SitePlan, PlanError>> {
        let mut plans: Vec<_> = requests.iter().map(|request| self.draft(request)).collect();
        intruders::refuse(self.image, &mut plans);
        plans
    }

    /// Chooses sites for one function.
    ///
    /// # Errors
    /// When no instruction of it can serve as its entry.
    pub fn plan(&self, request: &Request) -> Result<SitePlan, PlanError> {
        let mut plans = [self.draft(request)];
        intruders::refuse(self.image, &mut plans);
        let [plan] = plans;
        plan
    }

    fn draft(&self, request: &Request) -> Result<SitePlan, PlanError> {
        let mut vaddr = request.vaddr;
        let mut body = Body::read(self.image, vaddr, request.size)?;
        let mut followed = Vec::new();
        while let Some(target) = self.thunk_target(&body)? {
            if followed.len() == MAX_THUNKS || followed.contains(&target) {
                return Err(NoEntry::ThunkChain.into());
            }
            followed.push(vaddr);
            vaddr = target;
            body = Body::read(self.image, vaddr, 0)?;
        }
        let (entry_index, entry) = entry::choose(self.image, &body, request)?;
        let mut plan = SitePlan {
            function: self.identify(vaddr, &body)?,
            followed,
            ranges: body.parts.iter().map(|part| part.range.clone()).collect(),
            has_exception_table: body.parts.iter().any(|part| {
                part.frame
                    .as_ref()
                    .is_some_and(|frame| frame.lsda.is_some())
            }),
            entry,
            exits: Err(NoExit::NotWanted),
            continuations: Vec::new(),
        };
        if request.exits != ExitPreference::NoExits {
            let mut gathered = Gathered::default();
            gathered.visited.insert(vaddr);
            plan.exits = self.exits(request, body, Some(entry_index), &mut gathered);
            if plan.exits.is_ok() {
                plan.continuations = gathered.continuations;
            }
        }
        Ok(plan)
    }

    /// A function that does nothing but jump to another one offers a single instruction, which cannot
    /// be both its entry and its exit.
    fn thunk_target(&self, body: &Body) -> Result<Option<u64>, PlanError> {
        for decoded in body.instructions.iter().take(4) {
            match &decoded.step {
                Step::Next if is_filler(&decoded.instruction) => {}
                Step::TailJump(TailTarget::Function(target)) => return Ok(Some(*target)),
                Step::TailJump(TailTarget::Import(symbol)) => {
                    let here = self.image.exported(symbol)?;
                    let here = here.filter(|symbol| symbol.kind == SymbolKind::Function);
                    return Ok(here.map(|symbol| symbol.vaddr));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn exits(
        &self,
        request: &Request,
        mut body: Body,
        entry: Option<usize>,
        gathered: &mut Gathered,
    ) -> Result<Vec<ExitSite>, NoExit> {
        std::mem::replace(&mut body.whole, Ok(()))?;
        let mut exits = exit::choose(self.image, &body, request, entry)?;
        for (index, decoded) in body.instructions.iter().enumerate() {
            let (Step::TailJump(target) | Step::ConditionalTailJump(target)) = &decoded.step else {
                continue;
            };
            let from = decoded.instruction.ip();
            if decoded.frame_offset != Some(8) {
                return Err(NoExit::UnwindMismatch { at: from });
            }
            let target = match target {
                TailTarget::Indirect => return Err(NoExit::IndirectTailJump { at: from }),
                TailTarget::Function(target) => *target,
                TailTarget::Import(symbol) => match self.image.exported(symbol)? {
                    Some(here) if here.kind == SymbolKind::Function => here.vaddr,
                    // The loader binds whatever the resolver at that address chooses.
                    Some(_) => return Err(NoExit::IndirectTailJump { at: from }),
                    None if exit::is_deallocation(&decoded.step) => {
                        let at_entry = Some(index) == entry;
                        exits.push(exit::deallocation(self.image, decoded, request, at_entry)?);
                        continue;
                    }
                    // Calls that leave so would stay open, and be told as left by an exception.
                    None => {
                        let symbol = symbol.clone();
                        return Err(NoExit::LeavesImage { at: from, symbol });
                    }
                },
            };
            self.follow(request, target, 0, gathered)
                .map_err(|reason| NoExit::Continuation {
                    from,
                    target,
                    reason: Box::new(reason),
                })?;
        }
        exits.sort_by_key(|exit| exit.vaddr);
        Ok(exits)
    }

    fn follow(
        &self,
        request: &Request,
        vaddr: u64,
        size: u64,
        gathered: &mut Gathered,
    ) -> Result<(), NoExit> {
        if !gathered.visited.insert(vaddr) {
            return Ok(());
        }
        if gathered.visited.len() > MAX_CONTINUATIONS {
            return Err(NoExit::TooManyContinuations {
                limit: MAX_CONTINUATIONS,
            });
        }
        let body = Body::read(self.image, vaddr, size)?;
        let function = self.identify(vaddr, &body)?;
        let exits = self.exits(request, body, None, gathered)?;
        gathered
            .continuations
            .push(Continuation { function, exits });
        Ok(())
    }

    fn identify(&self, vaddr: u64, body: &Body) -> Result<FunctionId, super::ImageError> {
        let size = body
            .parts
            .iter()
            .map(|part| part.range.end - part.range.start)
            .sum();
        Ok(FunctionId {
            vaddr,
            size,
            names: self.image.names_at(vaddr)?,
        })
    }
}

/// What following tail jumps has found.
#[derive(Debug, Default)]
struct Gathered {
    visited: BTreeSet<u64>,
    continuations: Vec<Continuation>,
}

fn is_filler(instruction: &iced_x86::Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        iced_x86::Mnemonic::Endbr64 | iced_x86::Mnemonic::Nop
    )
}
