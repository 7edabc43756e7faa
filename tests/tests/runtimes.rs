//! Runtimes as their users have them: `tracer trace` without a word about them finds a process that had its
//! model and one that starts afterwards, and what it tells of their loads and calls is what the processes say
//! that they did. Needs root and BPF.

use std::{env, fs, process::Command};

use anyhow::{Context, Result};
use tracer_tests::{
    cache::Cache,
    calls::read_as_passed,
    candle,
    observed::{Runtime, seen_by_default},
    python::Passing,
    requires_root, torch,
};

/// Profiles.
const PROFILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tracer-user/profile");

/// Minutes to compile.
#[test]
fn candle_tells_the_tensors_that_it_loads_and_counts_its_layers() -> Result<()> {
    requires_root!();
    if !is_full("candle takes minutes to compile") {
        return Ok(());
    }
    let cache = Cache::open()?;
    let runtime = Runtime {
        unseen_loads: true,
        ..runtime("candle", "")
    };
    seen_by_default(|| candle::command(&cache), runtime)
}

#[test]
fn ctranslate2_tells_its_prompts_batches_and_steps() -> Result<()> {
    requires_root!();
    let runtime = Runtime {
        naming_their_model: &["generate", "run-generation"],
        late_model: true,
        ..runtime("ctranslate2", "libctranslate2")
    };
    seen(Passing::CTranslate2, runtime)
}

/// Two kinds of models beside one another, so that no call says which one is its.
#[test]
fn ctranslate2_tells_what_it_translates_and_transcribes() -> Result<()> {
    requires_root!();
    let runtime = runtime("ctranslate2", "libctranslate2");
    seen(Passing::CTranslate2Others, runtime)
}

#[test]
fn cuda_tells_sizes_directions_errors_and_one_launch_in_a_thousand() -> Result<()> {
    requires_root!();
    seen(Passing::Cuda, runtime("cuda", ""))?;
    // Launches are timed where the profile asks for it.
    let profile = profile("profiles/cuda.toml")?.replace("enabled = false\n", "");
    read_as_passed(Passing::Cuda.command(&Cache::open()?)?, &profile)
}

/// The library comes from a section of Debian that a mirror need not have.
#[test]
fn cuda_tells_what_its_driver_is_asked_for() -> Result<()> {
    requires_root!();
    if !is_full("CUDA's driver library is not free, and not every mirror has it") {
        return Ok(());
    }
    seen(Passing::CudaDriver, runtime("cuda", ""))
}

#[test]
fn litert_tells_paths_counts_shapes_and_whether_it_failed() -> Result<()> {
    requires_root!();
    let runtime = Runtime {
        late_model: true,
        ..runtime("litert", "libpywrap_litert_common")
    };
    seen(Passing::LiteRt, runtime)
}

#[test]
fn onnx_runtime_tells_what_goes_through_its_table_of_functions() -> Result<()> {
    requires_root!();
    let runtime = Runtime {
        naming_their_model: &["run-c", "run-c-failed"],
        late_model: true,
        ..runtime("onnxruntime", "libonnxruntime.so")
    };
    seen(Passing::OnnxC, runtime)
}

/// A build without CET and one with it.
#[test]
fn onnx_runtime_in_python_tells_shapes_and_errors_though_it_has_no_symbol() -> Result<()> {
    requires_root!();
    let runtime = Runtime {
        naming_their_model: &["run", "run-failed"],
        late_model: true,
        ..runtime("onnxruntime", "onnxruntime_pybind11_state")
    };
    seen(Passing::OnnxPython, runtime)?;
    seen(Passing::OnnxPythonCet, runtime)
}

#[test]
fn openvino_tells_its_models_and_inferences() -> Result<()> {
    requires_root!();
    let runtime = Runtime {
        naming_their_model: &["compile-model"],
        late_model: true,
        ..runtime("openvino", "libopenvino.so")
    };
    seen(Passing::OpenVino, runtime)
}

/// Half a gigabyte to fetch, and a minute to compile.
#[test]
fn pytorch_tells_shapes_token_ids_and_paths() -> Result<()> {
    requires_root!();
    if !is_full("PyTorch takes half a gigabyte") {
        return Ok(());
    }
    let cache = Cache::open()?;
    seen_by_default(
        || torch::command(&cache),
        runtime("pytorch", "libtorch_cpu"),
    )
}

#[test]
fn safetensors_tells_files_headers_and_tensors() -> Result<()> {
    requires_root!();
    let runtime = Runtime {
        late_model: true,
        ..runtime("safetensors", "_safetensors_rust")
    };
    seen(Passing::Safetensors, runtime)
}

#[test]
fn tokenizers_tell_the_prompts_text_however_rust_mangled_their_names() -> Result<()> {
    requires_root!();
    seen(Passing::Tokenizers, runtime("tokenizers", ""))?;
    seen(Passing::TokenizersLegacy, runtime("tokenizers", ""))
}

/// An example of a profile that is not built in. It takes Python 3.11, whose stub is unpacked.
#[test]
fn triton_tells_what_is_loaded_inferred_and_executed() -> Result<()> {
    requires_root!();
    if !is_full("Triton's server takes 60 MB more to fetch") {
        return Ok(());
    }
    let profile = profile("tests/runtimes/triton.toml")?;
    read_as_passed(Passing::Triton.command(&Cache::open()?)?, &profile)
}

#[test]
fn whisper_cpp_tells_its_model_and_how_much_sound_it_was_given() -> Result<()> {
    requires_root!();
    let runtime = Runtime {
        naming_their_model: &["full"],
        late_model: true,
        ..runtime("whisper.cpp", "libwhisper")
    };
    seen(Passing::Whisper, runtime)
}

/// A runtime whose calls name no model.
fn runtime<'a>(name: &'a str, library: &'a str) -> Runtime<'a> {
    Runtime {
        name,
        library,
        naming_their_model: &[],
        late_model: false,
        unseen_loads: false,
        arguments: &[],
    }
}

fn seen(passing: Passing, runtime: Runtime<'_>) -> Result<()> {
    let cache = Cache::open()?;
    let command = || -> Result<Command> { passing.command(&cache) };
    seen_by_default(command, runtime)
}

fn profile(file: &str) -> Result<String> {
    fs::read_to_string(format!("{PROFILES}/{file}")).context(file.to_owned())
}

fn is_full(reason: &str) -> bool {
    let is_full = env::var_os("TRACER_FULL").is_some();
    if !is_full {
        println!("not run: {reason}; TRACER_FULL=1 runs it");
    }
    is_full
}
