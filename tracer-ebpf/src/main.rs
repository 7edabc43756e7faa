//! The BPF programs; empty for any other target.
//!
//! One file per probe family: `call` follows calls of user-space functions, `lifecycle` follows
//! processes, `bench` measures. What they share: `target` (who is watched), `thread` (the calls that a
//! thread has open), `scratch` (memory that survives pre-emption), `ring` (the way out), `loss` (what
//! did not get out), `kernel` (what the loader knows about this kernel) and `atomic`.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod bench;
#[cfg(target_arch = "bpf")]
mod call;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod lifecycle;
#[cfg(target_arch = "bpf")]
mod loss;
#[cfg(target_arch = "bpf")]
mod ring;
#[cfg(target_arch = "bpf")]
mod scratch;
#[cfg(target_arch = "bpf")]
mod target;
#[cfg(target_arch = "bpf")]
mod thread;

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
