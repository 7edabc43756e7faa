//! The compiled kernel half.

/// Bytes at an address that suits the ELF structures in them.
#[repr(C, align(16))]
struct Aligned<B: ?Sized>(B);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/",
    env!("TRACER_BPF_OBJECT")
)));

/// The object, as `cargo xtask build-ebpf` wrote it.
pub(super) static OBJECT: &[u8] = &ALIGNED.0;
