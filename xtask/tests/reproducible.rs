//! The BPF objects do not depend on the folder that they were built in.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OBJECTS: [&str; 4] = [
    "tracer-ebpf.x86_64.o",
    "tracer-ebpf.aarch64.o",
    "tracer-files.x86_64.o",
    "tracer-files.aarch64.o",
];

#[test]
fn builds_in_two_folders_give_the_same_bytes_and_a_repeated_one_compiles_nothing() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the manifest lies in the workspace's xtask folder");
    if !toolchain_is_there(here) {
        return;
    }
    let elsewhere = tempfile::tempdir().expect("a folder for the copy");
    let copy = elsewhere.path().join("a/workspace/of/another/depth");
    copy_sources(here, &copy);

    let target = elsewhere.path().join("target");
    let build_copy = || {
        let output = xtask(&copy, &[])
            .env("CARGO_TARGET_DIR", &target)
            .output()
            .expect("xtask was built");
        assert_success(&output);
        output
    };
    assert_success(&build(here, &[]));
    build_copy();

    let target_here = env::var_os("CARGO_TARGET_DIR").map_or(here.join("target"), |t| here.join(t));
    for object in OBJECTS {
        let read = |target: &Path| {
            fs::read(target.join("bpf").join(object)).expect("build-ebpf writes every object")
        };
        let (one, other) = (read(&target_here), read(&target));
        assert!(!contains(&one, b".debug_info"), "{object} still has DWARF");
        assert!(contains(&one, b".BTF.ext"), "{object} lost its BTF");
        assert!(one == other, "{object} differs between two folders");
    }

    let again = build_copy();
    assert!(
        again.stdout.is_empty(),
        "an unchanged build printed {}",
        String::from_utf8_lossy(&again.stdout)
    );
}

fn build(root: &Path, arguments: &[&str]) -> Output {
    xtask(root, arguments).output().expect("xtask was built")
}

fn xtask(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .arg("build-ebpf")
        .args(arguments)
        .env("XTASK_ROOT", root);
    command
}

/// Whether the BPF programs can be built here; when not, prints the skip, or panics under CI.
fn toolchain_is_there(root: &Path) -> bool {
    let toolchain = build(root, &["--show-toolchain"]);
    let is_there = toolchain.status.success()
        && String::from_utf8_lossy(&toolchain.stdout)
            .lines()
            .find_map(|line| line.strip_prefix("linker_folder="))
            .is_some_and(|folder| Path::new(folder).join("bin/bpf-linker").is_file());
    if !is_there {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let remedy = "the BPF toolchain is missing: run scripts/setup";
        assert!(env::var_os("CI").is_none(), "{test}: {remedy}");
        eprintln!("skipped {test}: {remedy}");
    }
    is_there
}

fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Copies what cargo reads: everything but build results and hidden folders.
fn copy_sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a fresh folder");
    let entries: Vec<(PathBuf, _)> = fs::read_dir(from)
        .expect("a source folder")
        .map(|entry| entry.expect("a readable entry"))
        .map(|entry| (entry.path(), entry.file_name()))
        .collect();
    for (path, name) in entries {
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            copy_sources(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).expect("a readable source file");
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
