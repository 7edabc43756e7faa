//! Puts the BPF object into the library, so that the binary is all that a host needs.

use std::{env, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let machine = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let workspace = here
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root");
    let object = workspace
        .join("target/bpf")
        .join(format!("tracer-ebpf.{machine}.o"));
    println!("cargo::rerun-if-changed={}", object.display());
    if !object.is_file() {
        println!(
            "cargo::error=the BPF programs are not built: {} is missing; run `cargo xtask build-ebpf`",
            object.display()
        );
        return ExitCode::FAILURE;
    }
    println!("cargo::rustc-env=TRACER_BPF_OBJECT={}", object.display());
    ExitCode::SUCCESS
}
