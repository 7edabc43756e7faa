//! Functions that are only reached through tables of pointers: the C interface of a library that
//! exports one function, or none.

use std::collections::BTreeSet;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};

use super::{Image, ImageError, read::ReadAt};

/// Code of a function that only chooses among a few tables.
const MAX_GETTER: u64 = 1024;
/// Blocks of such a function that are followed.
const MAX_JUMPS: usize = 16;
/// The longest code that a fingerprint compares.
const MAX_PRINT: u64 = 64;
/// Places whose functions' code is looked at for a fingerprint.
const MAX_LOOKED_AT: u64 = 1 << 16;
const ENDBR: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// How a table of function pointers is known when nothing leads to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Fewest functions in a row.
    pub at_least: usize,
    /// Slots, and the bytes with which their functions begin, a leading `endbr64` left out.
    pub begins: Vec<(usize, Vec<u8>)>,
}

/// Why a table is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Several look alike.
    #[error("{count} tables of functions fit")]
    Ambiguous {
        /// How many.
        count: usize,
    },
}

impl<R: ReadAt> Image<R> {
    /// The table of at least `at_least` functions whose address a function returns: of all that its
    /// code refers to, the longest (a function that serves several versions of an interface returns
    /// the beginning of the same table for each of them).
    ///
    /// # Errors
    /// When the image cannot be read there, or several tables are equally long.
    pub fn table_returned_by(
        &self,
        getter: u64,
        at_least: usize,
    ) -> Result<Option<u64>, TableError> {
        let mut longest: Vec<u64> = Vec::new();
        let mut length = at_least.max(1);
        for address in self.addresses_taken_by(getter)? {
            let slots = self.function_pointers_from(address)?;
            if slots > length {
                longest.clear();
                length = slots;
            }
            if slots == length {
                longest.push(address);
            }
        }
        one_of(&longest)
    }

    /// The one table that fits a fingerprint.
    ///
    /// # Errors
    /// When the image cannot be read, or several tables fit.
    pub fn table_like(&self, print: &Fingerprint) -> Result<Option<u64>, TableError> {
        let pointers = self.all_pointers()?;
        let mut found = Vec::new();
        let (mut length, mut looked_at) = (0, 0);
        for (place, &(at, target)) in pointers.iter().enumerate().rev() {
            if self.code_segment(target).is_none() {
                length = 0;
                continue;
            }
            let next = pointers.get(place + 1).map(|&(next, _)| next);
            let goes_on = next == at.checked_add(8);
            length = if goes_on { length + 1 } else { 1 };
            if length < print.at_least.max(1) {
                continue;
            }
            looked_at += 1;
            if looked_at > MAX_LOOKED_AT {
                return Err(TableError::Image(ImageError::TooLarge {
                    what: "number of places at which the table could begin",
                    length: looked_at,
                    limit: MAX_LOOKED_AT,
                }));
            }
            if self.fits(at, print)? {
                found.push(at);
            }
        }
        one_of(&found)
    }

    fn fits(&self, table: u64, print: &Fingerprint) -> Result<bool, ImageError> {
        for (slot, begin) in &print.begins {
            match self.slot(table, *slot)? {
                Some(function) if self.begins_with(function, begin)? => {}
                Some(_) | None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The function in a slot of a table.
    ///
    /// # Errors
    /// When the relocations cannot be read.
    pub fn slot(&self, table: u64, slot: usize) -> Result<Option<u64>, ImageError> {
        let address = table.wrapping_add(8 * slot as u64);
        let target = self.pointer_at(address)?;
        Ok(target.filter(|&target| self.code_segment(target).is_some()))
    }

    /// The address that a function returns, where that is all it does.
    ///
    /// # Errors
    /// When the image cannot be read there.
    pub fn returned_address(&self, vaddr: u64) -> Result<Option<u64>, ImageError> {
        let code = self.code_at(vaddr, 16)?;
        let mut decoder = Decoder::with_ip(64, &code, vaddr, DecoderOptions::NONE);
        let mut load = decoder.decode();
        if load.code() == Code::Endbr64 {
            load = decoder.decode();
        }
        let returns = decoder.decode().code() == Code::Retnq;
        let address = loaded_address(&load)
            .filter(|_| returns && load.op0_register() == iced_x86::Register::RAX);
        Ok(address)
    }

    /// Addresses that a function's code loads, up to its returns. Only jumps within it are followed.
    fn addresses_taken_by(&self, function: u64) -> Result<BTreeSet<u64>, ImageError> {
        let code = self.code_at(function, MAX_GETTER)?;
        let end = function.wrapping_add(code.len() as u64);
        let mut taken = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut work = vec![function];
        while let Some(block) = work.pop() {
            if seen.len() >= MAX_JUMPS || !(function..end).contains(&block) || !seen.insert(block) {
                continue;
            }
            let into = (block - function) as usize;
            let decoder = Decoder::with_ip(64, &code[into..], block, DecoderOptions::NONE);
            for instruction in decoder {
                taken.extend(loaded_address(&instruction));
                match instruction.flow_control() {
                    FlowControl::ConditionalBranch => work.push(instruction.near_branch_target()),
                    FlowControl::UnconditionalBranch => {
                        work.push(instruction.near_branch_target());
                        break;
                    }
                    FlowControl::Return
                    | FlowControl::IndirectBranch
                    | FlowControl::Interrupt
                    | FlowControl::Exception => break,
                    FlowControl::Next
                    | FlowControl::Call
                    | FlowControl::IndirectCall
                    | FlowControl::XbeginXabortXend => {}
                }
            }
        }
        Ok(taken)
    }

    /// How many pointers to functions stand in a row from an address on.
    fn function_pointers_from(&self, address: u64) -> Result<usize, ImageError> {
        let pointers = self.all_pointers()?;
        let first = pointers.partition_point(|&(at, _)| at < address);
        let run = pointers[first..].iter().zip(0_u64..);
        let is_next = |&(&(at, target), place): &(&(u64, u64), u64)| {
            at == address.wrapping_add(8 * place) && self.code_segment(target).is_some()
        };
        Ok(run.take_while(is_next).count())
    }

    fn begins_with(&self, function: u64, begin: &[u8]) -> Result<bool, ImageError> {
        if self.code_segment(function).is_none() {
            return Ok(false);
        }
        let code = self.code_at(function, MAX_PRINT)?;
        let code = code.strip_prefix(&ENDBR).unwrap_or(&code);
        Ok(code.starts_with(begin))
    }

    /// Code from an address on, at most `limit` bytes and not beyond its segment.
    fn code_at(&self, vaddr: u64, limit: u64) -> Result<Vec<u8>, ImageError> {
        let what = "function";
        let segment = self
            .code_segment(vaddr)
            .ok_or(ImageError::Unmapped { what, vaddr })?;
        let into = vaddr - segment.vaddr;
        let length = (segment.file_size - into).min(limit);
        let offset = segment.file_offset.saturating_add(into);
        self.bytes.vec(what, offset, length, limit)
    }
}

fn loaded_address(instruction: &Instruction) -> Option<u64> {
    let loads = instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand();
    loads.then(|| instruction.ip_rel_memory_address())
}

fn one_of(tables: &[u64]) -> Result<Option<u64>, TableError> {
    match tables {
        [] => Ok(None),
        [table] => Ok(Some(*table)),
        several => Err(TableError::Ambiguous {
            count: several.len(),
        }),
    }
}
