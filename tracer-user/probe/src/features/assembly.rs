//! Programs small enough to write by hand: they ask the kernel what it can do without needing the
//! object.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use crate::sys::bpf::{self, Instruction, Program};

const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R6: u8 = 6;
const R7: u8 = 7;
const R8: u8 = 8;
const R9: u8 = 9;
const R10: u8 = 10;

/// `bpf_map_lookup_elem`.
const LOOK_UP: i32 = 1;

const fn instruction(
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
) -> Instruction {
    Instruction {
        code,
        registers: source << 4 | destination,
        offset,
        immediate,
    }
}

const fn set(register: u8, value: i32) -> Instruction {
    instruction(0xb7, register, 0, 0, value)
}

const fn call(helper: i32) -> Instruction {
    instruction(0x85, 0, 0, 0, helper)
}

const EXIT: Instruction = instruction(0x95, 0, 0, 0, 0);

/// A program that does nothing.
pub(crate) const EMPTY: &[Instruction] = &[set(R0, 0), EXIT];

/// A program that passes its context to a helper which takes nothing else.
pub(super) const fn asks(helper: i32) -> [Instruction; 3] {
    [call(helper), set(R0, 0), EXIT]
}

/// A program that adds 1 to the first entry, 8 bytes, of an array map.
pub(super) fn counts(map: BorrowedFd<'_>) -> [Instruction; 11] {
    [
        instruction(0x18, R1, 1, 0, map.as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
        instruction(0x62, R10, 0, -4, 0),
        instruction(0xbf, R2, R10, 0, 0),
        instruction(0x07, R2, 0, 0, -4),
        call(LOOK_UP),
        instruction(0x15, R0, 0, 2, 0),
        set(R1, 1),
        instruction(0xdb, R0, R1, 0, 0),
        set(R0, 0),
        EXIT,
    ]
}

/// What a program of [`sums`] adds up in an entry of its array, each a word of 8 bytes: the hits, the
/// stack pointer, the six registers of arguments, the register that holds the result, and a word of
/// the stack.
pub(crate) const SUMS: usize = 10;
/// Where `struct pt_regs` of x86-64 has the stack pointer and the registers of arguments.
const SUMMED: [i16; 7] = [152, 112, 104, 96, 88, 72, 64];
const STACK_POINTER: i16 = SUMMED[0];
/// `bpf_get_attach_cookie`.
const COOKIE: i32 = 174;
/// `bpf_probe_read_user`.
const READ_USER: i32 = 112;

/// A program that adds what it finds at a hit to the entry of an array that the low half of its cookie
/// numbers. The high half of the cookie, unless it is 0, is the distance from the stack pointer to a
/// word of the stack. The result is the low `width` bytes of the register that lies at `register` in
/// `struct pt_regs`.
pub(crate) fn sums(map: BorrowedFd<'_>, register: i16, width: u8) -> Vec<Instruction> {
    let copy = |to, from| instruction(0xbf, to, from, 0, 0);
    let load = |to, from, offset| instruction(0x79, to, from, offset, 0);
    let add = |place: usize| instruction(0xdb, R9, R1, (place * 8) as i16, 0);
    let unused_bits = 64 - 8 * i32::from(width);
    let mut program = vec![
        copy(R6, R1),
        call(COOKIE),
        copy(R8, R0),
        instruction(0x77, R8, 0, 0, 32),
        instruction(0x63, R10, R0, -4, 0),
        instruction(0x18, R1, 1, 0, map.as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
        copy(R2, R10),
        instruction(0x07, R2, 0, 0, -4),
        call(LOOK_UP),
        instruction(0x55, R0, 0, 2, 0),
        set(R0, 0),
        EXIT,
        copy(R9, R0),
        set(R1, 1),
        add(0),
    ];
    for (place, register) in (1..).zip(SUMMED) {
        program.extend([load(R1, R6, register), add(place)]);
    }
    program.extend([
        load(R1, R6, register),
        instruction(0x67, R1, 0, 0, unused_bits),
        instruction(0x77, R1, 0, 0, unused_bits),
        add(8),
        instruction(0x55, R8, 0, 2, 0),
        set(R0, 0),
        EXIT,
        load(R7, R6, STACK_POINTER),
        instruction(0x0f, R7, R8, 0, 0),
        copy(R1, R10),
        instruction(0x07, R1, 0, 0, -16),
        set(R2, 8),
        copy(R3, R7),
        call(READ_USER),
        load(R1, R10, -16),
        add(9),
        set(R0, 0),
        EXIT,
    ]);
    program
}

/// Loads one of these programs.
pub(crate) fn load(
    kind: u32,
    attach: u32,
    flags: u32,
    instructions: &[Instruction],
) -> Result<OwnedFd, (io::Error, String)> {
    bpf::load_program(&Program {
        name: "tracer_probe",
        kind,
        attach,
        flags,
        target: 0,
        license: c"GPL",
        instructions,
        types: None,
    })
}

/// A counter that BPF programs increment.
pub(super) struct Counter(OwnedFd);

impl Counter {
    pub(super) fn new() -> io::Result<Self> {
        bpf::create_map(bpf::MAP_ARRAY, 4, 8, 1).map(Self)
    }

    pub(super) fn map(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn value(&self) -> io::Result<u64> {
        let mut value = [0; 8];
        // SAFETY: the map was made with keys of 4 and values of 8 bytes.
        unsafe { bpf::look_up(self.0.as_fd(), &[0; 4], &mut value) }?;
        Ok(u64::from_le_bytes(value))
    }
}
