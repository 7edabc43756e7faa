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
pub(super) const EMPTY: &[Instruction] = &[set(R0, 0), EXIT];

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

/// Loads one of these programs.
pub(super) fn load(
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
