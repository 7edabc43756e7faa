//! System calls that neither `std` nor aya makes: a thin, safe layer over each.

pub(crate) mod apart;
pub(crate) mod bpf;
pub(crate) mod changes;
pub(crate) mod cpus;
pub(crate) mod epoll;
pub(crate) mod fanotify;
pub(crate) mod memory;
pub mod model_file;
pub(crate) mod perf;
pub(crate) mod permission;
