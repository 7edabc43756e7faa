//! The sites of real libraries, proved by running them: whatever the seed chooses, what a function's
//! entry and exits show is what its first instruction and its returns show, and what the library
//! answers is the same as unwatched. Needs root, BPF and `uprobe_multi`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    cache::Cache,
    debian,
    model::TINY,
    package::{
        CTRANSLATE2, NODE_LLAMA_CPP, NUMPY, ONNX_RUNTIME, ONNX_RUNTIME_CET, OPENVINO, PYYAML,
        Package, TOKENIZERS, TOKENIZERS_LEGACY, XLLAMACPP,
    },
    proof::{Proof, prove},
    python::Library,
    report::Event,
    requires_root,
    server::Server,
    torch,
    workload::{Place, Running, Runtime, Target},
};

/// Functions of a library that are looked at; all of them with `TRACER_FULL=1`.
const SLICE: usize = 4000;

/// Functions of PyTorch's library.
const PYTORCH_SLICE: usize = 120_000;

fn most() -> usize {
    if env::var_os("TRACER_FULL").is_some() {
        usize::MAX
    } else {
        SLICE
    }
}

/// Another slice for each commit, and the same for each run of it; `TRACER_SEED` repeats one.
fn seed() -> Result<u64> {
    let given = env::var("TRACER_SEED").ok();
    let seed = match given {
        Some(seed) => seed.parse().context("TRACER_SEED is no number")?,
        None => {
            let head = Command::new("git").args(["rev-parse", "HEAD"]).output();
            let head = head.map(|output| output.stdout).unwrap_or_default();
            let digits = std::str::from_utf8(&head)
                .ok()
                .and_then(|head| head.get(..15));
            digits
                .and_then(|head| u64::from_str_radix(head, 16).ok())
                .unwrap_or_default()
        }
    };
    println!("TRACER_SEED={seed}");
    Ok(seed)
}

/// A library in a Python process, round by round.
struct Rounds {
    running: Running,
    checksums: Vec<u64>,
}

impl Rounds {
    fn start(command: Command) -> Result<Self> {
        let mut running = Running::start(command, Place::Host)?;
        running.until_waiting()?;
        let mut rounds = Self {
            running,
            checksums: Vec::new(),
        };
        // What nobody watches is what the others must answer too.
        rounds.round()?;
        Ok(rounds)
    }

    fn round(&mut self) -> Result<()> {
        self.running.go()?;
        let line = self
            .running
            .until(|event| matches!(event, Event::Counts { .. }))?;
        if let Event::Counts { checksum, .. } = line.event {
            self.checksums.push(checksum);
        }
        self.running.until_waiting()
    }

    fn finish(mut self) -> Result<()> {
        self.running.go()?;
        self.running.finish()?;
        let first = self.checksums.first();
        ensure!(
            self.checksums.len() == 3 && self.checksums.iter().all(|sum| Some(sum) == first),
            "the library answers otherwise when it is watched: {:?}",
            self.checksums
        );
        Ok(())
    }
}

fn report(library: &Path, proof: &Proof, least: usize) -> Result<()> {
    println!("{}: {proof}", library.display());
    ensure!(
        proof.executed >= least,
        "only {} of its functions ran",
        proof.executed
    );
    Ok(())
}

fn prove_in_python(
    library: Library,
    packages: &[&Package],
    file: &str,
    least: usize,
) -> Result<()> {
    let cache = Cache::open()?;
    let path = packages[0].unpacked(&cache)?.join(file);
    let command = library.command(&cache, packages)?;
    prove_in_rounds(command, &path, most(), least)
}

fn prove_in_rounds(command: Command, path: &Path, most: usize, least: usize) -> Result<()> {
    let mut rounds = Rounds::start(command)?;
    let proof = prove(path, most, seed()?, || rounds.round())?;
    rounds.finish()?;
    report(path, &proof, least)
}

#[test]
fn a_stripped_library_without_cet_is_seen_as_it_is() -> Result<()> {
    requires_root!();
    prove_in_python(
        Library::Onnx,
        &[&ONNX_RUNTIME, &NUMPY],
        "onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so",
        20,
    )
}

#[test]
fn a_stripped_library_with_cet_is_seen_as_it_is() -> Result<()> {
    requires_root!();
    prove_in_python(
        Library::Onnx,
        &[&ONNX_RUNTIME_CET, &NUMPY],
        "onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so",
        20,
    )
}

#[test]
fn stripped_cxx_with_many_exports_is_seen_as_it_is() -> Result<()> {
    requires_root!();
    prove_in_python(
        Library::OpenVino,
        &[&OPENVINO, &NUMPY],
        "openvino/libs/libopenvino.so.2641",
        20,
    )
}

#[test]
fn cxx_with_a_table_of_all_its_functions_is_seen_as_it_is() -> Result<()> {
    requires_root!();
    prove_in_python(
        Library::CTranslate2,
        &[&CTRANSLATE2, &PYYAML, &NUMPY],
        "ctranslate2.libs/libctranslate2-a7a60d30.so.4.8.5",
        20,
    )
}

#[test]
fn rust_is_seen_as_it_is() -> Result<()> {
    requires_root!();
    for package in [&TOKENIZERS, &TOKENIZERS_LEGACY] {
        prove_in_python(
            Library::Tokenizers,
            &[package],
            "tokenizers/tokenizers.abi3.so",
            50,
        )?;
    }
    Ok(())
}

/// PyTorch's library has 390,000 symbols: a slice of its functions is looked at.
#[test]
fn pytorch_is_seen_as_it_is() -> Result<()> {
    requires_root!();
    if env::var_os("TRACER_FULL").is_none() {
        println!("not run: PyTorch takes half a gigabyte; TRACER_FULL=1 runs it");
        return Ok(());
    }
    let cache = Cache::open()?;
    let mut command = torch::command(&cache)?;
    command.arg("rounds");
    prove_in_rounds(command, &torch::library(&cache)?, PYTORCH_SLICE, 100)
}

/// llama.cpp and its kernels, unstripped: with CET as node-llama-cpp ships it, without as xllamacpp does.
#[test]
fn llama_cpp_is_seen_as_it_is() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let seed = seed()?;
    let node = NODE_LLAMA_CPP
        .unpacked(&cache)?
        .join("package/bins/linux-x64");
    let own = XLLAMACPP
        .unpacked(&cache)?
        .join("xllamacpp/xllamacpp.abi3.so");
    for (runtime, library, least) in [
        (Runtime::NodeLlamaCpp, node.join("libllama.v0.5.0.so"), 100),
        (Runtime::NodeLlamaCpp, node.join("libggml-base.so"), 20),
        (Runtime::Xllamacpp, own, 10),
    ] {
        let round = [
            "load", "context", "generate", "bad", "generate", "free", "unload", "wait",
        ];
        let steps = [&["--n", "3", "wait"][..], &round, &round].concat();
        let mut running = Running::start(runtime.command(&cache, TINY, &steps)?, Place::Host)?;
        running.until_waiting()?;
        let proof = prove(&library, most(), seed, || {
            running.go()?;
            running.until_waiting()
        })?;
        running.go()?;
        let lines = running.finish()?;
        let sampled: Vec<i32> = lines
            .iter()
            .filter_map(|line| match line.event {
                Event::Sampled { token, .. } => Some(token),
                _ => None,
            })
            .collect();
        let (before, after) = sampled.split_at(sampled.len() / 2);
        ensure!(
            !before.is_empty() && before == after,
            "{before:?} and {after:?}"
        );
        report(&library, &proof, least)?;
    }
    Ok(())
}

/// A distribution's build, stripped, in its own server.
#[test]
fn a_distributions_stripped_llama_cpp_is_seen_as_it_is() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let libraries = debian::llama_cpp(&cache)?
        .folder
        .join("usr/lib/x86_64-linux-gnu");
    let server = Server::start(&cache, TINY, &["--threads", "1", "--ctx-size", "512"])?;
    let answer = || -> Result<Vec<i32>> { Ok(server.complete("What is a probe?", 6)?.tokens) };
    let unwatched = answer()?;
    for (name, least) in [("libllama.so.0", 100), ("libggml-base.so.0", 20)] {
        let library = libraries.join(name).canonicalize()?;
        let proof = prove(&library, most(), seed()?, || {
            let watched = answer()?;
            ensure!(watched == unwatched, "{watched:?} instead of {unwatched:?}");
            Ok(())
        })?;
        report(&library, &proof, least)?;
    }
    server.stop().map(drop)
}

/// Exceptions, long jumps and panics through every kind of function: the target counts for itself.
#[test]
fn what_is_left_by_an_exception_goes_on_undisturbed() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for target in [Target::Unwind, Target::Panic] {
        let command = target.command(&cache, &["300"])?;
        let program = PathBuf::from(command.get_program());
        let starts = || -> Result<()> {
            let mut running = Running::start(target.command(&cache, &["300"])?, Place::Host)?;
            for _ in 0..2 {
                running.until_waiting()?;
                running.go()?;
            }
            running.finish().map(drop)
        };
        let proof = prove(&program, usize::MAX, seed()?, starts)?;
        report(&program, &proof, 8)?;
        ensure!(proof.left_otherwise > 0, "nothing was left by an exception");
    }
    Ok(())
}
