//! Puts the BPF objects into the library, and what they were built with, so that the binary is all that a
//! host needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    let variable = |name| env::var_os(name).expect("cargo sets it");
    let machine = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let built = root.join(target).join("bpf");
    let copies = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    for (from, to) in [
        (format!("tracer-ebpf.{machine}.o"), "tracer-ebpf.o"),
        (format!("tracer-files.{machine}.o"), "tracer-files.o"),
        ("tracer-ebpf.json".to_owned(), "tracer-ebpf.json"),
    ] {
        let from = built.join(from);
        println!("cargo::rerun-if-changed={}", from.display());
        if let Err(error) = fs::copy(&from, copies.join(to)) {
            println!(
                "cargo::error=the BPF programs are not built: {}: {error}; run `cargo xtask \
                 build-ebpf`",
                from.display()
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
