//! The general registers at a hit, copied once so that operations may index them: the verifier
//! allows no variable offset into the context.

use aya_ebpf::{EbpfContext, bindings::pt_regs, programs::ProbeContext};

/// Registers that an operation can name, rounded up to a power of two.
#[cfg(bpf_target_arch = "x86_64")]
pub(crate) const REGISTERS: usize = 16;
/// Registers that an operation can name, rounded up to a power of two.
#[cfg(bpf_target_arch = "aarch64")]
pub(crate) const REGISTERS: usize = 32;

/// Copies the registers, numbered as [`tracer_abi::Register`] says.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn copy(ctx: &ProbeContext, to: &mut [u64; REGISTERS]) {
    macro_rules! copy {
        ($($index:literal $name:ident)*) => {
            // SAFETY: the context of a uprobe is the thread's `pt_regs`.
            unsafe { $( to[$index] = (&raw const (*registers(ctx)).$name).read_volatile(); )* }
        };
    }
    copy!(
        0 rax 1 rdx 2 rcx 3 rbx 4 rsi 5 rdi 6 rbp 7 rsp
        8 r8 9 r9 10 r10 11 r11 12 r12 13 r13 14 r14 15 r15
    );
}

/// Copies the registers: `x0` to `x30`, then `sp`.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn copy(ctx: &ProbeContext, to: &mut [u64; REGISTERS]) {
    macro_rules! copy {
        ($($index:literal)*) => {
            // SAFETY: the context of a uprobe is the thread's `user_pt_regs`.
            unsafe { $( to[$index] = (&raw const (*registers(ctx)).regs[$index]).read_volatile(); )* }
        };
    }
    copy!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30);
    to[31] = stack_pointer(ctx);
}

/// The frame address (CFA) at a site where it lies `offset` above the stack pointer. Never 0, which
/// marks a free place among a thread's open calls.
#[inline(always)]
pub(crate) fn frame_at(ctx: &ProbeContext, offset: i32) -> u64 {
    stack_pointer(ctx)
        .wrapping_add_signed(i64::from(offset))
        .max(1)
}

#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn stack_pointer(ctx: &ProbeContext) -> u64 {
    // SAFETY: the context of a uprobe is the thread's `pt_regs`.
    unsafe { (&raw const (*registers(ctx)).rsp).read_volatile() }
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn stack_pointer(ctx: &ProbeContext) -> u64 {
    // SAFETY: the context of a uprobe is the thread's `user_pt_regs`.
    unsafe { (&raw const (*registers(ctx)).sp).read_volatile() }
}

#[inline(always)]
fn registers(ctx: &ProbeContext) -> *const pt_regs {
    ctx.as_ptr().cast_const().cast()
}
