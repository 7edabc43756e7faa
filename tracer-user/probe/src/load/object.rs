//! The compiled kernel half.

/// Bytes at an address that suits the ELF structures in them.
#[repr(C, align(16))]
struct Aligned<B: ?Sized>(B);

static CALLS: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/tracer-ebpf.o")));
static FILES: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/tracer-files.o")));

/// The programs that follow calls, as `cargo xtask build-ebpf` wrote them.
pub(super) static OBJECT: &[u8] = &CALLS.0;
/// The programs that watch files.
pub(crate) static FILES_OBJECT: &[u8] = &FILES.0;
