//! Proves the sites of real libraries by running them: what is seen at a function's chosen sites is
//! compared with what its first instruction and its returns say in the same run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use iced_x86::{Mnemonic, OpKind, Register as StackPointer};
use tracer_abi::Register;
use tracer_probe::{
    code::{
        Image, Planner, Request, SitePlan, SymbolTable,
        flow::{Body, Step},
        site::{Argument, ArgumentAt, ExitKind, ExitPreference, ResultLocation, ResultUse},
    },
    proof::{Adding, Place, Sum},
};

use crate::random::SplitMix;

/// Functions that are called more often in a round would make it too long: a hit at a first instruction
/// that is single-stepped takes 14 µs in a nested guest.
const MOST_CALLS: u64 = 20_000;
/// Shorter ones are mostly thunks.
const SHORTEST: u64 = 8;
const ARGUMENTS: [Register; 6] = [
    Register::Rdi,
    Register::Rsi,
    Register::Rdx,
    Register::Rcx,
    Register::R8,
    Register::R9,
];
/// The stack pointer at a function's first instruction and at its `ret` is this far from the frame.
const RETURN_ADDRESS: u64 = 8;

/// What was proved of a library, and how much of it can be probed.
#[derive(Debug, Default)]
pub struct Proof {
    /// Functions that were looked at.
    pub functions: usize,
    /// Those with an entry at which the kernel emulates.
    pub cheap_entry: usize,
    /// Those all of whose exits are emulated.
    pub cheap_exit: usize,
    /// Those with exits that harm nobody.
    pub safe_exit: usize,
    /// Those that cannot be probed at all.
    pub none: usize,
    /// Those that ran, and not too often.
    pub executed: usize,
    /// Those of them whose exits were compared too.
    pub exits_compared: usize,
    /// Calls of them.
    pub calls: u64,
    /// Functions that were left otherwise than by a return: by an exception, or not at all.
    pub left_otherwise: usize,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |count: usize| count as f64 * 100.0 / self.functions.max(1) as f64;
        write!(
            f,
            "{} functions: {:.1} % with a cheap entry, {:.1} % with only cheap exits, {:.1} % with \
             safe exits, {:.1} % with neither; {} of them ran, {} with their exits, {} calls, {} \
             functions left otherwise than by returning",
            self.functions,
            share(self.cheap_entry),
            share(self.cheap_exit),
            share(self.safe_exit),
            share(self.none),
            self.executed,
            self.exits_compared,
            self.calls,
            self.left_otherwise,
        )
    }
}

/// A function and the places at which it adds up.
struct Subject {
    plan: SitePlan,
    arguments: Vec<usize>,
    stack: bool,
    /// Its returns, in the file.
    returns: Vec<u64>,
}

/// Proves up to `most` functions of `library`, those that `seed` chooses. `round` makes the library
/// run; nothing may run in it between two rounds.
///
/// # Errors
/// If a site disagrees with what it stands for; the message names the function.
pub fn prove(
    library: &Path,
    most: usize,
    seed: u64,
    mut round: impl FnMut() -> Result<()>,
) -> Result<Proof> {
    let image = Image::parse(File::open(library)?)?;
    let mut proof = Proof::default();
    let subjects = subjects(&image, most, seed, &mut proof)?;

    // Which run at all, at the price of their entries alone.
    let entries: Vec<Place> = subjects.iter().map(entry_place).collect();
    let adding = attach(library, &entries).context("at the entries")?;
    round()?;
    let hits = adding.sums()?;
    drop(adding);
    let ran: Vec<Subject> = subjects
        .into_iter()
        .zip(hits)
        .filter(|(_, sum)| (1..=MOST_CALLS).contains(&sum.hits))
        .map(|(subject, _)| subject)
        .collect();

    let mut places = Vec::new();
    let mut slices = Vec::new();
    for subject in &ran {
        let begin = places.len();
        places.push(first_place(subject, &image)?);
        places.push(entry_place(subject));
        let exits = places.len();
        places.extend(exit_places(subject));
        let returns = places.len();
        places.extend(subject.returns.iter().map(|&at| place(at)));
        slices.push((begin, exits, returns, places.len()));
    }
    let adding = attach(library, &places).context("at first instructions and returns")?;
    round()?;
    let sums = adding.sums()?;
    drop(adding);
    for (subject, (begin, exits, returns, end)) in ran.iter().zip(slices) {
        let first = sums[begin];
        check_entry(subject, first, sums[begin + 1])
            .with_context(|| format!("{}: {:x?}", library.display(), subject.plan.function))?;
        proof.executed += 1;
        proof.calls += first.hits;
        if subject.plan.exits.is_err() || !subject.plan.continuations.is_empty() {
            continue;
        }
        let left = check_exits(subject, &sums[exits..returns], &sums[returns..end])
            .with_context(|| format!("{}: {:x?}", library.display(), subject.plan.function))?;
        proof.exits_compared += 1;
        proof.left_otherwise += usize::from(left != first.hits);
    }
    Ok(proof)
}

/// Attaches to every place. Where the kernel refuses, the error names the first place that it refuses.
fn attach(library: &Path, places: &[Place]) -> Result<Adding> {
    let refused = match Adding::attach(library, places) {
        Ok(adding) => return Ok(adding),
        Err(refused) => refused,
    };
    let mut rest = places;
    while rest.len() > 1 {
        let (left, right) = rest.split_at(rest.len() / 2);
        rest = if Adding::attach(library, left).is_err() {
            left
        } else {
            right
        };
    }
    let at = rest.first().map_or(0, |place| place.file_offset);
    Err(refused).with_context(|| format!("the kernel refuses file offset {at:#x}"))
}

/// Functions of the library in an order that the seed decides, planned for different arguments.
fn subjects(
    image: &Image<File>,
    most: usize,
    seed: u64,
    proof: &mut Proof,
) -> Result<Vec<Subject>> {
    let mut functions: Vec<(u64, u64)> = functions(image)?.into_iter().collect();
    functions.sort_by_key(|&(vaddr, _)| SplitMix(vaddr ^ seed).number());
    functions.truncate(most);
    let wanted: Vec<(Vec<usize>, bool)> = functions
        .iter()
        .map(|&(vaddr, size)| {
            let body = Body::read(image, vaddr, size);
            let stack = body.is_ok_and(|body| reads_its_first_stack_word(&body));
            let registers = SplitMix(vaddr).number() as usize % (ARGUMENTS.len() + 1);
            ((0..registers).collect(), stack)
        })
        .collect();
    let requests: Vec<Request> = functions
        .iter()
        .zip(&wanted)
        .map(|(&(vaddr, size), (arguments, stack))| {
            let registers = arguments
                .iter()
                .map(|&number| Argument::Register(ARGUMENTS[number]));
            let word = Argument::Stack {
                offset: 0,
                length: 8,
            };
            Request {
                vaddr,
                size,
                arguments: registers.chain(stack.then_some(word)).collect(),
                result: ResultUse::Required,
                exits: ExitPreference::AllowStepped,
                shadow_stack: false,
            }
        })
        .collect();
    let plans = Planner::new(image).plan_all(&requests);
    proof.functions = plans.len();
    let mut subjects = Vec::new();
    let mut seen = BTreeSet::new();
    for ((arguments, stack), plan) in wanted.into_iter().zip(plans) {
        let Ok(plan) = plan else {
            proof.none += 1;
            continue;
        };
        proof.cheap_entry += usize::from(plan.entry.class.is_emulated());
        if let Ok(exits) = &plan.exits {
            proof.safe_exit += 1;
            let all = !exits.is_empty() && exits.iter().all(|exit| exit.class.is_emulated());
            proof.cheap_exit += usize::from(all);
        }
        let body = Body::read(image, plan.function.vaddr, 0)?;
        let can_be_probed = body
            .instructions
            .first()
            .is_some_and(|first| first.class.is_ok());
        if !can_be_probed || !seen.insert(plan.function.vaddr) {
            continue;
        }
        let returns = body
            .instructions
            .iter()
            .filter(|decoded| decoded.step == Step::Return)
            .filter_map(|decoded| image.file_offset(decoded.instruction.ip()));
        // What ends in freeing memory returns from there.
        let freeing = plan.exits.iter().flatten();
        let freeing = freeing.filter(|exit| exit.kind == ExitKind::Deallocation);
        let returns = returns
            .chain(freeing.map(|exit| exit.file_offset))
            .collect();
        // What a thunk leads to may take its arguments elsewhere.
        let stack = stack && plan.followed.is_empty();
        subjects.push(Subject {
            plan,
            arguments,
            stack,
            returns,
        });
    }
    Ok(subjects)
}

/// Addresses and sizes, from symbols where there are any of more than a few, else from the unwind table.
fn functions(image: &Image<File>) -> Result<BTreeMap<u64, u64>> {
    let mut functions = BTreeMap::new();
    for table in [SymbolTable::Dynamic, SymbolTable::Static] {
        for symbol in image.functions(table)? {
            let is_part = symbol.name.contains(".cold") || symbol.name.contains(".part.");
            if symbol.size >= SHORTEST && !is_part {
                functions.entry(symbol.vaddr).or_insert(symbol.size);
            }
        }
    }
    if functions.len() < 16 {
        functions.extend(image.frame_starts()?.into_iter().map(|vaddr| (vaddr, 0)));
    }
    Ok(functions)
}

/// Whether a function takes an argument on the stack. In any other, that word is its caller's, who may
/// have it changed through a pointer.
fn reads_its_first_stack_word(body: &Body) -> bool {
    body.instructions.iter().any(|decoded| {
        let instruction = &decoded.instruction;
        let from_frame = decoded.frame_offset.map(|offset| {
            let displacement = instruction.memory_displacement64().cast_signed();
            displacement.saturating_sub(i64::from(offset))
        });
        let reads = instruction.op1_kind() == OpKind::Memory
            && matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Movsxd);
        reads && instruction.memory_base() == StackPointer::RSP && from_frame == Some(0)
    })
}

fn place(file_offset: u64) -> Place {
    Place {
        file_offset,
        result: (Register::Rax, 8),
        stack: 0,
    }
}

fn first_place(subject: &Subject, image: &Image<File>) -> Result<Place> {
    let offset = image.file_offset(subject.plan.function.vaddr);
    Ok(Place {
        stack: if subject.stack {
            RETURN_ADDRESS as u32
        } else {
            0
        },
        ..place(offset.context("a function outside of the file")?)
    })
}

fn entry_place(subject: &Subject) -> Place {
    let word = subject.plan.entry.arguments.iter().find_map(|at| match at {
        ArgumentAt::Stack(offset) => u32::try_from(*offset).ok(),
        ArgumentAt::Register(_) => None,
    });
    Place {
        stack: word.unwrap_or_default(),
        ..place(subject.plan.entry.file_offset)
    }
}

fn exit_places(subject: &Subject) -> impl Iterator<Item = Place> {
    subject.plan.exits.iter().flatten().map(|exit| Place {
        result: match exit.result {
            ResultLocation::Register { register, width } => (register, width),
            ResultLocation::Unused => (Register::Rax, 8),
        },
        ..place(exit.file_offset)
    })
}

fn check_entry(subject: &Subject, first: Sum, entry: Sum) -> Result<()> {
    ensure!(
        first.hits == entry.hits,
        "{} calls, but its entry at {:#x} was passed {} times",
        first.hits,
        subject.plan.entry.vaddr,
        entry.hits
    );
    let frame = |sum: Sum, offset: u64| {
        sum.stack_pointer
            .wrapping_add(sum.hits.wrapping_mul(offset))
    };
    let offset = i64::from(subject.plan.entry.frame_offset).cast_unsigned();
    ensure!(
        frame(first, RETURN_ADDRESS) == frame(entry, offset),
        "the frame is elsewhere at its entry {:#x}",
        subject.plan.entry.vaddr
    );
    for &number in &subject.arguments {
        ensure!(
            first.arguments[number] == entry.arguments[number],
            "{:?} has changed before its entry {:#x}",
            ARGUMENTS[number],
            subject.plan.entry.vaddr
        );
    }
    ensure!(
        !subject.stack || first.stack == entry.stack,
        "its first word of the stack is not where the entry {:#x} says",
        subject.plan.entry.vaddr
    );
    Ok(())
}

/// Compares exits with returns; how many calls returned.
fn check_exits(subject: &Subject, exits: &[Sum], returns: &[Sum]) -> Result<u64> {
    let total = |sums: &[Sum], of: fn(&Sum) -> u64| {
        sums.iter()
            .fold(0_u64, |sum, one| sum.wrapping_add(of(one)))
    };
    let (left, returned) = (total(exits, |sum| sum.hits), total(returns, |sum| sum.hits));
    ensure!(
        left == returned,
        "it returned {returned} times, but its exits were passed {left} times"
    );
    ensure!(
        total(exits, |sum| sum.result) == total(returns, |sum| sum.result),
        "its exits show other results than its returns"
    );
    let mut frames = 0_u64;
    for (exit, sum) in subject.plan.exits.iter().flatten().zip(exits) {
        let offset = i64::from(exit.frame_offset).cast_unsigned();
        frames = frames.wrapping_add(sum.stack_pointer);
        frames = frames.wrapping_add(sum.hits.wrapping_mul(offset));
    }
    let expected =
        total(returns, |sum| sum.stack_pointer).wrapping_add(returned.wrapping_mul(RETURN_ADDRESS));
    ensure!(frames == expected, "the frame is elsewhere at its exits");
    Ok(left)
}
