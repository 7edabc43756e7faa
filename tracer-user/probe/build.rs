//! Puts the BPF object into the library, so that the binary is all that a host needs.

use std::{env, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let machine = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    for (name, variable) in [
        ("tracer-ebpf", "TRACER_BPF_OBJECT"),
        ("tracer-files", "TRACER_FILES_OBJECT"),
    ] {
        // Relative to this crate, two folders below the root: a build folder that was copied from
        // another checkout must not go on with that one's programs.
        let object = format!("../../target/bpf/{name}.{machine}.o");
        println!("cargo::rerun-if-changed={object}");
        if !here.join(&object).is_file() {
            println!(
                "cargo::error=the BPF programs are not built: {object} is missing; run `cargo xtask \
                 build-ebpf`"
            );
            return ExitCode::FAILURE;
        }
        println!("cargo::rustc-env={variable}={object}");
    }
    ExitCode::SUCCESS
}
