//! Ground truth for tests: programs that only add up what they find at any instruction, however dear
//! a hit is there. What the chosen sites of a function say is compared with what its first
//! instruction and its returns say.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use tracer_abi::Register;

use crate::{
    features::{
        assembly::{self, SUMS},
        descriptor_path,
    },
    sys::bpf::{self, UprobeLink},
};

/// An instruction at which to add up.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where in the file.
    pub file_offset: u64,
    /// The register that counts as the result, and how many of its low bytes.
    pub result: (Register, u8),
    /// From the stack pointer to the word of the stack that counts; 0 for none.
    pub stack: u32,
}

/// What was added up at one place; sums wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How often it was passed.
    pub hits: u64,
    /// The stack pointer.
    pub stack_pointer: u64,
    /// `rdi`, `rsi`, `rdx`, `rcx`, `r8` and `r9`.
    pub arguments: [u64; 6],
    /// The result.
    pub result: u64,
    /// The word of the stack.
    pub stack: u64,
}

/// Places that add up until this is dropped.
pub struct Adding {
    map: OwnedFd,
    places: usize,
    _links: Vec<OwnedFd>,
}

impl Adding {
    /// Attaches to every place of a file, in all processes.
    ///
    /// # Errors
    /// If the kernel refuses a place or does not know `uprobe_multi`.
    ///
    /// # Minimum kernel version
    /// 6.6.
    pub fn attach(file: &Path, places: &[Place]) -> io::Result<Self> {
        let count = u32::try_from(places.len()).map_err(io::Error::other)?;
        let map = bpf::create_map(bpf::MAP_ARRAY, 4, SUMS as u32 * 8, count.max(1))?;
        let file = File::open(file)?;
        let path = descriptor_path(&file);
        let mut groups: BTreeMap<(i16, u8), (Vec<u64>, Vec<u64>)> = BTreeMap::new();
        for (number, place) in (0_u64..).zip(places) {
            let (register, width) = place.result;
            let group = groups.entry((place_of(register), width)).or_default();
            group.0.push(place.file_offset);
            group.1.push(u64::from(place.stack) << 32 | number);
        }
        let mut links = Vec::new();
        for ((register, width), (offsets, cookies)) in groups {
            let program = assembly::load(
                bpf::PROGRAM_KPROBE,
                bpf::ATTACH_UPROBE_MULTI,
                0,
                &assembly::sums(map.as_fd(), register, width),
            )
            .map_err(|(error, log)| io::Error::new(error.kind(), format!("{error}: {log}")))?;
            links.push(bpf::link_uprobes(
                program.as_fd(),
                &UprobeLink {
                    path: &path,
                    offsets: &offsets,
                    cookies: &cookies,
                    pid: 0,
                },
            )?);
        }
        Ok(Self {
            map,
            places: places.len(),
            _links: links,
        })
    }

    /// What was added up at each place, in their order.
    ///
    /// # Errors
    /// If the array cannot be read.
    pub fn sums(&self) -> io::Result<Vec<Sum>> {
        let mut sums = Vec::new();
        for number in 0..self.places as u32 {
            let mut bytes = [0; SUMS * 8];
            // SAFETY: the map was made with keys of 4 and values of this many bytes.
            unsafe { bpf::look_up(self.map.as_fd(), &number.to_ne_bytes(), &mut bytes) }?;
            let (words, _) = bytes.as_chunks::<8>();
            let word = |place: usize| u64::from_ne_bytes(words[place]);
            sums.push(Sum {
                hits: word(0),
                stack_pointer: word(1),
                arguments: [2, 3, 4, 5, 6, 7].map(word),
                result: word(8),
                stack: word(9),
            });
        }
        Ok(sums)
    }
}

/// Where `struct pt_regs` of x86-64 has a register.
fn place_of(register: Register) -> i16 {
    match register {
        Register::R15 => 0,
        Register::R14 => 8,
        Register::R13 => 16,
        Register::R12 => 24,
        Register::Rbp => 32,
        Register::Rbx => 40,
        Register::R11 => 48,
        Register::R10 => 56,
        Register::R9 => 64,
        Register::R8 => 72,
        Register::Rax => 80,
        Register::Rcx => 88,
        Register::Rdx => 96,
        Register::Rsi => 104,
        Register::Rdi => 112,
        Register::Rsp => 152,
    }
}
