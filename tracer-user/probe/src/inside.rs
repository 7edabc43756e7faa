//! Who is inside a program of the kernel half right now: whom the end of the tracer waits for.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tracer_abi::SlotHead;

use crate::{sys::bpf, time::BootNanos};

/// A thread that is inside a program: that reads its memory, as a rule for less than a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inside {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Since when.
    pub since: BootNanos,
}

/// The kernel half's scratch slots, one for each program that runs.
pub(crate) struct Slots {
    map: OwnedFd,
    value_size: usize,
    count: u32,
}

impl Slots {
    /// `map` holds the slots.
    pub(crate) fn new(map: OwnedFd) -> io::Result<Self> {
        let count = bpf::max_entries(map.as_fd())?;
        Ok(Self {
            value_size: bpf::value_size(map.as_fd())?,
            count: u32::try_from(count).map_err(io::Error::other)?,
            map,
        })
    }

    /// Who is inside, longest first.
    pub(crate) fn inside(&self) -> io::Result<Vec<Inside>> {
        let mut all = Vec::new();
        let mut slot = vec![0; self.value_size];
        for index in 0..self.count {
            // SAFETY: keys of an array are 4 bytes, and the kernel told the values' size.
            unsafe { bpf::look_up(self.map.as_fd(), &index.to_ne_bytes(), &mut slot) }?;
            all.extend(inside(&slot));
        }
        all.sort_by_key(|inside| inside.since.0);
        Ok(all)
    }
}

/// Who holds the slot that these bytes begin.
fn inside(slot: &[u8]) -> Option<Inside> {
    let word = |at: usize| {
        let bytes = slot.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_ne_bytes(bytes))
    };
    let pid_tgid = word(std::mem::offset_of!(SlotHead, pid_tgid))?;
    let claimed = word(std::mem::offset_of!(SlotHead, claimed))?;
    let since = BootNanos(word(std::mem::offset_of!(SlotHead, now))?);
    (claimed != 0).then_some(Inside {
        pid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        since,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_tells_who_holds_it_and_a_free_one_nobody() {
        let words = [1_u64, 7 << 32 | 8, 900, 0];
        let mut slot: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let held = Inside {
            pid: 7,
            tid: 8,
            since: BootNanos(900),
        };
        assert_eq!(inside(&slot), Some(held));
        slot[0] = 0;
        assert_eq!(inside(&slot), None);
        assert_eq!(inside(&slot[..20]), None);
    }
}
