//! The BPF programs that see what happens to watched files; empty for any other target.
//!
//! An object of its own: who traces calls pays nothing for it, and a kernel that lacks a hook loads
//! the rest. `hooks` holds the same bodies three times, for LSM, fentry and kprobe; `tracepoints` is
//! for kernels that have none of these. What they share: `watched` (which inodes matter) and
//! `cleared` (which folders do not), `access` (the counters, and the way out), `enforce` (who is let
//! through), `actor` (who it was) and `kernel` (where fields lie).
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod access;
#[cfg(target_arch = "bpf")]
mod actor;
#[cfg(target_arch = "bpf")]
#[path = "../atomic.rs"]
#[expect(dead_code, reason = "the call programs use the rest")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod cleared;
#[cfg(target_arch = "bpf")]
mod enforce;
#[cfg(target_arch = "bpf")]
mod hooks;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod tracepoints;
#[cfg(target_arch = "bpf")]
mod watched;

/// The kernel lends the helpers used here only to programs whose licence is compatible with its own.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// No program can panic: the verifier rejects an object in which this loop is reachable.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
