//! Jump tables.
//!
//! Compilers emit for position-independent code: compare the index with the last case, jump away if it
//! is above, load the table's address, load an entry of 32 bits, add the address, jump.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::{Body, Decoded};
use crate::code::{Image, ImageError, read::ReadAt};

/// Between the jump and the load of the entry.
const NEAR: usize = 8;
/// Between the jump and the load of the table's address, which may have moved out of a loop.
const FAR: usize = 64;
const MAX_ENTRIES: u64 = 4096;

/// A jump table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Address of the table; entries are relative to it.
    address: u64,
    /// Number of its entries, from the comparison.
    entries: u64,
}

/// The table that an indirect jump goes through, if the instructions before it show one.
pub(super) fn before(instructions: &[Decoded], jump: usize) -> Option<Table> {
    let back = |reach: usize| {
        let window = &instructions[jump.saturating_sub(reach)..jump];
        window.iter().map(|decoded| &decoded.instruction).rev()
    };
    let target = &instructions[jump].instruction;
    if target.op0_kind() != OpKind::Register {
        return None;
    }
    let add = back(NEAR).find(|before| {
        before.mnemonic() == Mnemonic::Add
            && before.op1_kind() == OpKind::Register
            && before.op0_register() == target.op0_register()
    })?;
    let pair = [add.op0_register(), add.op1_register()];
    let load = back(NEAR).find(|before| {
        before.mnemonic() == Mnemonic::Movsxd
            && before.op1_kind() == OpKind::Memory
            && before.memory_index_scale() == 4
            && before.memory_index() != Register::None
            && pair.contains(&before.op0_register())
            && pair.contains(&before.memory_base())
    })?;
    let base = load.memory_base();
    let lea = back(FAR).find(|before| {
        before.ip() < load.ip()
            && before.op0_kind() == OpKind::Register
            && before.op0_register().full_register() == base
            && before.mnemonic() != Mnemonic::Cmp
            && before.mnemonic() != Mnemonic::Test
    })?;
    if lea.mnemonic() != Mnemonic::Lea || !lea.is_ip_rel_memory_operand() {
        return None;
    }
    Some(Table {
        address: lea.ip_rel_memory_address(),
        entries: bound(back(FAR), load)?,
    })
}

/// The number of cases, from the nearest comparison with a constant before an unsigned jump.
fn bound<'a>(back: impl Iterator<Item = &'a Instruction>, load: &Instruction) -> Option<u64> {
    let mut beyond = None;
    for instruction in back.filter(|before| before.ip() < load.ip()) {
        match instruction.mnemonic() {
            Mnemonic::Ja | Mnemonic::Jbe => beyond = Some(1),
            Mnemonic::Jae | Mnemonic::Jb => beyond = Some(0),
            Mnemonic::Cmp => {
                let last = beyond?;
                let limit = match instruction.op1_kind() {
                    OpKind::Immediate8
                    | OpKind::Immediate8to16
                    | OpKind::Immediate8to32
                    | OpKind::Immediate8to64
                    | OpKind::Immediate16
                    | OpKind::Immediate32
                    | OpKind::Immediate32to64 => instruction.immediate(1),
                    _ => return None,
                };
                return limit
                    .checked_add(last)
                    .filter(|entries| *entries <= MAX_ENTRIES);
            }
            _ => {}
        }
    }
    None
}

impl Table {
    /// Indices of the instructions that the table leads to; `None` unless all of its entries do.
    ///
    /// Entries beyond the compared bound are taken too while they lead to instructions of the body:
    /// a target too many makes the choice of sites more cautious, one too few makes it wrong.
    pub(super) fn targets<R: ReadAt>(
        &self,
        image: &Image<R>,
        body: &Body,
    ) -> Result<Option<Vec<usize>>, ImageError> {
        let mut targets = Vec::new();
        for number in 0..MAX_ENTRIES {
            let target = self.entry(image, number)?;
            match target.and_then(|target| body.position(target)) {
                Some(target) => targets.push(target),
                None if number < self.entries => return Ok(None),
                None => break,
            }
        }
        targets.sort_unstable();
        targets.dedup();
        Ok((!targets.is_empty()).then_some(targets))
    }

    /// Targets within the bound that lie outside of the body: its cold part.
    pub(super) fn outward<R: ReadAt>(
        &self,
        image: &Image<R>,
        body: &Body,
    ) -> Result<Vec<u64>, ImageError> {
        let mut targets = Vec::new();
        for number in 0..self.entries {
            if let Some(target) = self.entry(image, number)?
                && !body.contains(target)
                && image.code_segment(target).is_some()
            {
                targets.push(target);
            }
        }
        Ok(targets)
    }

    fn entry<R: ReadAt>(&self, image: &Image<R>, number: u64) -> Result<Option<u64>, ImageError> {
        let at = self.address.wrapping_add(number * 4);
        let Some(offset) = image.file_offset(at) else {
            return Ok(None);
        };
        let entry = image.bytes.u32("jump table", offset)?;
        Ok(Some(
            self.address.wrapping_add_signed(i64::from(entry as i32)),
        ))
    }
}
