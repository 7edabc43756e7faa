//! `cargo xtask build-ebpf`: compiles `tracer-ebpf` for the kernel.
//!
//! The object must not depend on where it was built: paths are remapped, DWARF is removed, and a
//! test compares the bytes of two builds in different folders.

mod strip;
mod toolchain;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use self::toolchain::{BPF_LINKER_VERSION, Toolchain};
use crate::cargo;
use crate::digest;
use crate::process;
use crate::workspace::Workspace;

/// The architectures whose register layout an object can be compiled for; x86-64 is the one that
/// runs, aarch64 is compiled to keep it compiling.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// The programs that follow calls, and those that watch files: an object each, so that nobody loads
/// what he does not use.
const BINARIES: [&str; 2] = ["tracer-ebpf", "tracer-files"];

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\x1f";

/// What `build-ebpf` can be asked.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Build even when nothing has changed
    #[arg(long)]
    force: bool,
    /// Print the compiler that would be used and the linker it needs, and build nothing
    #[arg(long)]
    show_toolchain: bool,
}

/// What `tracer-ebpf.json` says about the objects beside it.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Record {
    /// Digest over everything that the objects depend on.
    inputs: String,
    rustc: String,
    rustc_commit: String,
    llvm: String,
    bpf_linker: String,
    objects: Vec<ObjectRecord>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct ObjectRecord {
    file: String,
    bytes: u64,
    sha256: String,
}

/// Compiles the objects and their record, unless those in place are up to date.
pub(crate) fn build(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.show_toolchain {
        return show_toolchain(workspace);
    }
    let toolchain = Toolchain::find(workspace)?;
    let _held = hold(workspace)?;
    let inputs = inputs(workspace, &toolchain)?;
    if !options.force && up_to_date(workspace, &inputs) {
        return Ok(());
    }

    let objects = compile_all(workspace, &toolchain)?;
    let compiler = toolchain.compiler;
    let record = Record {
        inputs,
        rustc: compiler.release,
        rustc_commit: compiler.commit,
        llvm: compiler.llvm,
        bpf_linker: BPF_LINKER_VERSION.to_owned(),
        objects,
    };
    let text = serde_json::to_string_pretty(&record).context("writing the build record")?;
    replace(&record_path(workspace), format!("{text}\n").as_bytes())
}

/// Waits until no other process builds here; the build is ours until the file is closed.
fn hold(workspace: &Workspace) -> Result<File> {
    let path = workspace.bpf().join("lock");
    fs::create_dir_all(workspace.bpf())
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("locking {}", path.display()))
}

/// Compiles both architectures at once: most of each build is one crate in one codegen unit.
fn compile_all(workspace: &Workspace, toolchain: &Toolchain) -> Result<Vec<ObjectRecord>> {
    thread::scope(|scope| {
        let builds = ARCHITECTURES
            .map(|architecture| scope.spawn(|| compile(workspace, toolchain, architecture)));
        let linked = builds.map(|build| build.join().expect("no step of a build panics"));
        let mut objects = Vec::new();
        for (architecture, linked) in ARCHITECTURES.into_iter().zip(linked) {
            let folder = linked?;
            for binary in BINARIES {
                objects.push(keep(workspace, architecture, &folder, binary)?);
            }
        }
        Ok(objects)
    })
}

/// Puts an object that was linked for `architecture` in its place, without DWARF.
fn keep(
    workspace: &Workspace,
    architecture: &str,
    folder: &Path,
    binary: &str,
) -> Result<ObjectRecord> {
    let linked = folder.join(binary);
    let linked = fs::read(&linked).with_context(|| format!("reading {}", linked.display()))?;
    let object = strip::dwarf(&linked)?;
    let file = format!("{binary}.{architecture}.o");
    replace(&workspace.bpf().join(&file), &object)?;
    let sha256 = digest::of_bytes(&object);
    println!("{file}: {} bytes, sha256 {sha256}", object.len());
    Ok(ObjectRecord {
        file,
        bytes: object.len() as u64,
        sha256,
    })
}

/// Prints what `scripts/setup` needs to know to install the linker: one `name=value` a line.
fn show_toolchain(workspace: &Workspace) -> Result<()> {
    let compiler = toolchain::find_compiler()?;
    let folder = toolchain::linker_folder(workspace, &compiler);
    println!("rustc={}", compiler.rustc.display());
    println!("release={}", compiler.release);
    println!("llvm={}", compiler.llvm_major());
    println!("bpf_linker={BPF_LINKER_VERSION}");
    println!("linker_folder={}", folder.display());
    Ok(())
}

/// Digest over the sources, the build settings and the tools.
fn inputs(workspace: &Workspace, toolchain: &Toolchain) -> Result<String> {
    let mut parts = digest::Parts::default();
    parts.add_folder(&workspace.root.join("tracer-ebpf"))?;
    for file in ["Cargo.toml", "Cargo.lock"] {
        let path = workspace.root.join(file);
        let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        parts.add(file, &content);
    }
    let compiler = &toolchain.compiler;
    for text in [
        &compiler.release,
        &compiler.commit,
        &compiler.llvm,
        BPF_LINKER_VERSION,
    ] {
        parts.add("tool", text.as_bytes());
    }
    // The flags and the stripping are this program's.
    parts.add("steps", include_bytes!("mod.rs"));
    parts.add("steps", include_bytes!("strip.rs"));
    Ok(parts.finish())
}

/// Whether the record was made from these inputs and describes the objects that lie beside it.
fn up_to_date(workspace: &Workspace, inputs: &str) -> bool {
    let Ok(text) = fs::read_to_string(record_path(workspace)) else {
        return false;
    };
    let Ok(record) = serde_json::from_str::<Record>(&text) else {
        return false;
    };
    record.inputs == inputs
        && record.objects.iter().all(|object| {
            digest::of_file(&workspace.bpf().join(&object.file))
                .is_ok_and(|sha256| sha256 == object.sha256)
        })
}

fn record_path(workspace: &Workspace) -> PathBuf {
    workspace.bpf().join("tracer-ebpf.json")
}

/// Runs cargo for one architecture and returns the folder of the linked objects, DWARF and all.
fn compile(workspace: &Workspace, toolchain: &Toolchain, architecture: &str) -> Result<PathBuf> {
    let target = workspace.bpf().join("build").join(architecture);
    let mut command = cargo::command(workspace);
    command
        .args(["build", "--quiet", "--package", "tracer-ebpf"])
        .args(BINARIES.into_iter().flat_map(|binary| ["--bin", binary]))
        .args(["--profile", "bpf", "--target", "bpfel-unknown-none"])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(&target)
        .env("RUSTC", &toolchain.compiler.rustc)
        // A stable compiler builds `core` too once it is told that this is no accident.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(workspace, toolchain, architecture)?,
        );
    // What the surrounding cargo or user set is meant for the host.
    for name in [
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_INCREMENTAL",
    ] {
        command.env_remove(name);
    }
    process::run(&mut command)
        .with_context(|| format!("compiling the BPF programs for {architecture}"))?;
    Ok(target.join("bpfel-unknown-none/bpf"))
}

/// The compiler's flags, as `CARGO_ENCODED_RUSTFLAGS` wants them.
fn flags(workspace: &Workspace, toolchain: &Toolchain, architecture: &str) -> Result<OsString> {
    let mut flags: Vec<OsString> = vec![
        format!("--cfg=bpf_target_arch=\"{architecture}\"").into(),
        // Atomic operations that return the old value, and 32-bit arithmetic; every kernel since
        // 5.12 runs them.
        "-Ctarget-cpu=v3".into(),
        "-Clink-arg=--btf".into(),
    ];
    let mut linker = OsString::from("-Clinker=");
    linker.push(&toolchain.linker);
    flags.push(linker);
    for (from, to) in remapped_paths(workspace, toolchain)? {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    Ok(flags.join(FLAG_SEPARATOR.as_ref()))
}

/// Folders of this machine that would otherwise appear in the BTF line table, and what stands in
/// their place. rustc applies the last match, so the general ones come first.
fn remapped_paths(
    workspace: &Workspace,
    toolchain: &Toolchain,
) -> Result<Vec<(PathBuf, &'static str)>> {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cargo = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let sources = &toolchain.compiler.sources;
    let resolved = sources
        .canonicalize()
        .with_context(|| format!("following {}", sources.display()))?;
    let mut paths = vec![
        (workspace.root.clone(), "/tracer"),
        (cargo.clone(), "/cargo"),
        (sources.clone(), "/rustc"),
        (resolved, "/rustc"),
    ];
    // Each registry's folder is named after its address, which differs behind a mirror.
    for registry in fs::read_dir(cargo.join("registry/src"))
        .into_iter()
        .flatten()
    {
        let registry = registry.context("listing cargo's registries")?;
        paths.push((registry.path(), "/cargo"));
    }
    Ok(paths)
}

/// Writes `content` to `path` such that a reader sees the old file or the new one, whole.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let unfinished = path.with_extension("partial");
    fs::write(&unfinished, content)
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("writing {}", path.display()))
}
