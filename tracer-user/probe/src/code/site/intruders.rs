//! Code elsewhere in the image that jumps into the middle of a planned function.
//!
//! Hand-written assembly does that. Such a call passes no entry site but an exit site, or the reverse.
//! Decoding a whole library for it would take seconds; looking for bytes that would be a branch into one
//! of the few planned ranges takes milliseconds, and only what is found is decoded.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions};

use super::{NoExit, PlanError, SitePlan};
use crate::code::{Image, read::ReadAt};

const CHUNK: u64 = 1 << 20;
/// More code than any library has.
const MAX_CODE: u64 = 1 << 30;

/// Takes the exits from plans whose functions are entered in their middle.
pub(super) fn refuse<R: ReadAt>(image: &Image<R>, plans: &mut [Result<SitePlan, PlanError>]) {
    let mut ranges: Vec<(Range<u64>, usize)> = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        if let Ok(SitePlan {
            exits: Ok(_),
            ranges: own,
            ..
        }) = plan
        {
            ranges.extend(own.iter().map(|range| (range.clone(), number)));
        }
    }
    ranges.sort_by_key(|(range, _)| range.start);
    if ranges.is_empty() {
        return;
    }
    for segment in image.segments().iter().filter(|segment| segment.executable) {
        let size = segment.file_size.min(MAX_CODE);
        let mut at = 0;
        while at < size {
            // Chunks overlap, so that no instruction is cut.
            let length = (size - at).min(CHUNK + 6);
            let Ok(code) = image
                .bytes
                .vec("code", segment.file_offset + at, length, CHUNK + 6)
            else {
                return;
            };
            let vaddr = segment.vaddr.wrapping_add(at);
            for branch in branches(&code, vaddr, &ranges) {
                let Branch {
                    from,
                    target,
                    plan: number,
                } = branch;
                if let Some(Ok(plan)) = plans.get_mut(number)
                    && !plan.ranges.iter().any(|range| range.contains(&from))
                    && is_instruction(image, from, target)
                {
                    plan.exits = Err(NoExit::EnteredInside { at: target });
                    plan.continuations.clear();
                }
            }
            at += CHUNK;
        }
    }
}

struct Branch {
    from: u64,
    target: u64,
    plan: usize,
}

/// Bytes that would be a `jmp`, `call` or conditional jump with a 32-bit displacement into one of the
/// ranges, elsewhere than to the beginning of a function.
fn branches(code: &[u8], vaddr: u64, ranges: &[(Range<u64>, usize)]) -> Vec<Branch> {
    let mut found = Vec::new();
    for at in memchr::memchr3_iter(0xe8, 0xe9, 0x0f, code) {
        let (length, near) = match (code[at], code.get(at + 1)) {
            (0x0f, Some(0x80..=0x8f)) => (6, at + 2),
            (0x0f, _) => continue,
            (_, _) => (5, at + 1),
        };
        let Some(displacement) = code.get(near..near + 4) else {
            continue;
        };
        let displacement = i32::from_le_bytes(displacement.try_into().expect("four bytes"));
        let from = vaddr.wrapping_add(at as u64);
        let target = from
            .wrapping_add(length)
            .wrapping_add_signed(i64::from(displacement));
        let before = ranges.partition_point(|(range, _)| range.start < target);
        if let Some((range, plan)) = before.checked_sub(1).and_then(|number| ranges.get(number))
            && range.contains(&target)
        {
            found.push(Branch {
                from,
                target,
                plan: *plan,
            });
        }
    }
    found
}

/// Whether decoding from the beginning of the function around an address arrives at a branch there.
fn is_instruction<R: ReadAt>(image: &Image<R>, from: u64, target: u64) -> bool {
    let Ok(Some(frame)) = image.frame_at(from) else {
        // Hand-written code without unwind entry is where such branches are.
        return true;
    };
    let Some(offset) = image.file_offset(frame.range.start) else {
        return true;
    };
    let length = from - frame.range.start + 16;
    let length = length.min(image.bytes.size().saturating_sub(offset));
    let Ok(code) = image.bytes.vec("code", offset, length, CHUNK) else {
        return true;
    };
    Decoder::with_ip(64, &code, frame.range.start, DecoderOptions::NONE)
        .iter()
        .take_while(|instruction| instruction.ip() <= from)
        .any(|instruction| instruction.ip() == from && instruction.near_branch_target() == target)
}
