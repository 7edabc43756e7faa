//! Atomic operations on map memory.
//!
//! Per-CPU memory needs them too: a program can be pre-empted, or sleep, between the load and the
//! store of a plain increment, and the next one on that CPU would then lose a count. The target has
//! no `core::sync::atomic` with read-modify-write, hence the instructions themselves (`BPF_ATOMIC`,
//! kernel 5.12).

use core::arch::asm;

/// Adds without asking for the old value, which is cheaper.
#[inline(always)]
pub(crate) fn add(cell: &mut u64, amount: u64) {
    // SAFETY: a reference is a valid, aligned address of 8 bytes.
    unsafe {
        asm!(
            "lock *(u64 *)({cell} + 0) += {amount}",
            cell = in(reg) cell,
            amount = in(reg) amount,
            options(nostack),
        );
    }
}

/// Adds and returns the old value.
#[inline(always)]
pub(crate) fn fetch_add(cell: &mut u64, amount: u64) -> u64 {
    let mut value = amount;
    // SAFETY: as in `add`.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({cell} + 0), {value})",
            cell = in(reg) cell,
            value = inout(reg) value,
            options(nostack),
        );
    }
    value
}

/// Stores and returns the old value.
#[inline(always)]
pub(crate) fn exchange(cell: &mut u64, new: u64) -> u64 {
    let mut value = new;
    // SAFETY: as in `add`.
    unsafe {
        asm!(
            "{value} = xchg_64({cell} + 0, {value})",
            cell = in(reg) cell,
            value = inout(reg) value,
            options(nostack),
        );
    }
    value
}

/// [`exchange`] of 32 bits.
#[inline(always)]
pub(crate) fn exchange_u32(cell: &mut u32, new: u32) -> u32 {
    let mut value = u64::from(new);
    // SAFETY: a reference is a valid, aligned address of 4 bytes. The 32-bit form names w0, which is
    // the low half of r0 and zero-extends into it.
    unsafe {
        asm!(
            "w0 = xchg32_32(r1 + 0, w0)",
            in("r1") cell,
            inout("r0") value,
            options(nostack),
        );
    }
    value as u32
}

/// Stores `new` if the cell holds `expected`; returns what it held.
#[inline(always)]
pub(crate) fn compare_exchange(cell: &mut u64, expected: u64, new: u64) -> u64 {
    let mut value = expected;
    // SAFETY: as in `add`; the instruction compares with r0.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({cell} + 0, r0, {new})",
            cell = in(reg) cell,
            new = in(reg) new,
            inout("r0") value,
            options(nostack),
        );
    }
    value
}
