//! Constants in the instructions that would load them.
//!
//! What stands in `.rodata` is known before a program is loaded. The verifier knows it too and leaves the
//! load where it is all the same: in front of every field of a kernel struct an address of ten bytes and a
//! look into memory.

use std::{collections::HashSet, os::fd::RawFd};

use aya_obj::generated::bpf_insn;

/// `BPF_LD | BPF_IMM | BPF_DW`, an address in two places.
const ADDRESS: u8 = 0x18;
/// `BPF_PSEUDO_MAP_VALUE`: the address is one in the map of a section.
const IN_SECTION: u8 = 2;
/// `BPF_LDX | BPF_MEM | BPF_W`.
const LOAD_WORD: u8 = 0x61;
/// `BPF_ALU | BPF_MOV | BPF_K`, which clears the upper half as the load does.
const SET_WORD: u8 = 0xb4;
/// `BPF_JMP | BPF_JA`, to the next instruction: the kernel takes it out (`opt_remove_nops` of
/// kernel/bpf/verifier.c).
const NOTHING: u8 = 0x05;
/// The classes of jumps, and among them what jumps to nowhere in the program.
const JUMPS: [u8; 2] = [0x05, 0x06];
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// `BPF_JMP32 | BPF_JA`, whose distance is in the other field.
const FAR_JUMP: u8 = 0x06;

/// Puts the words of a section, whose map is `map` and which never changes, into the instructions that load
/// them. Nothing else moves.
pub(super) fn put_in(instructions: &mut [bpf_insn], map: RawFd, section: &[u8]) {
    let targets = targets(instructions);
    for at in 0..instructions.len().saturating_sub(2) {
        let [address, offset, load] = [at, at + 1, at + 2].map(|at| instructions[at]);
        let is_in_section =
            address.code == ADDRESS && address.src_reg() == IN_SECTION && address.imm == map;
        let register = address.dst_reg();
        let is_loaded =
            load.code == LOAD_WORD && (load.dst_reg(), load.src_reg()) == (register, register);
        if !is_in_section || !is_loaded || targets.contains(&(at + 2)) {
            continue;
        }
        let Some(word) = word(section, i64::from(offset.imm) + i64::from(load.off)) else {
            continue;
        };
        let mut set = address;
        set.code = SET_WORD;
        set.set_src_reg(0);
        set.imm = word;
        let mut nothing = set;
        nothing.code = NOTHING;
        nothing.set_dst_reg(0);
        nothing.imm = 0;
        instructions[at..at + 3].copy_from_slice(&[set, nothing, nothing]);
    }
}

fn word(section: &[u8], at: i64) -> Option<i32> {
    let at = usize::try_from(at).ok()?;
    let bytes = section.get(at..at.checked_add(4)?)?;
    Some(i32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Where jumps lead.
fn targets(instructions: &[bpf_insn]) -> HashSet<usize> {
    let mut targets = HashSet::new();
    let mut at = 0;
    while let Some(instruction) = instructions.get(at) {
        let code = instruction.code;
        if JUMPS.contains(&(code & 7)) && code != CALL && code != EXIT {
            let distance = if code == FAR_JUMP {
                instruction.imm as isize
            } else {
                isize::from(instruction.off)
            };
            targets.extend((at + 1).checked_add_signed(distance));
        }
        at += if code == ADDRESS { 2 } else { 1 };
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: RawFd = 7;
    const SECTION: [u8; 12] = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0];

    fn instruction(code: u8, destination: u8, source: u8, off: i16, imm: i32) -> bpf_insn {
        bpf_insn {
            code,
            _bitfield_align_1: [],
            _bitfield_1: bpf_insn::new_bitfield_1(destination, source),
            off,
            imm,
        }
    }

    fn load(source: u8, map: RawFd, offset: i32, more: i16) -> [bpf_insn; 3] {
        [
            instruction(ADDRESS, 3, source, 0, map),
            instruction(0, 0, 0, 0, offset),
            instruction(LOAD_WORD, 3, 3, more, 0),
        ]
    }

    fn codes(instructions: &[bpf_insn]) -> Vec<u8> {
        instructions.iter().map(|it| it.code).collect()
    }

    #[test]
    fn a_word_stands_in_the_instruction_that_would_load_it() {
        for (offset, more, word) in [(0, 0, 1), (4, 0, -1), (4, 4, 3), (8, -8, 1)] {
            let mut program = load(IN_SECTION, MAP, offset, more);
            put_in(&mut program, MAP, &SECTION);
            assert_eq!(codes(&program), [SET_WORD, NOTHING, NOTHING]);
            assert_eq!((program[0].dst_reg(), program[0].imm), (3, word));
            assert_eq!((program[1].off, program[2].off), (0, 0));
        }
    }

    #[test]
    fn what_is_not_such_a_load_stays() {
        let stays = |mut program: Vec<bpf_insn>| {
            let before = codes(&program);
            put_in(&mut program, MAP, &SECTION);
            assert_eq!(codes(&program), before);
        };
        // Another map, its descriptor instead of an address, and what lies outside of the section.
        stays(load(IN_SECTION, 8, 0, 0).to_vec());
        stays(load(1, MAP, 0, 0).to_vec());
        stays(load(IN_SECTION, MAP, 12, 0).to_vec());
        stays(load(IN_SECTION, MAP, 0, -1).to_vec());
        let mut kept = load(IN_SECTION, MAP, 0, 0).to_vec();
        kept[2].set_dst_reg(4);
        stays(kept);
        // Somebody comes to the load with an address of their own.
        let mut shared = load(IN_SECTION, MAP, 0, 0).to_vec();
        shared.push(instruction(0x15, 1, 0, -2, 0));
        stays(shared);
        stays(load(IN_SECTION, MAP, 0, 0)[..2].to_vec());
    }
}
