//! Profiles of real runtimes read the right values from the real libraries: each is given to
//! `tracer trace --profile`, and what is read is what the process says that it passed. Needs root and
//! BPF.

use std::{env, fs};

use anyhow::{Context, Result};
use tracer_tests::{
    cache::Cache, calls::read_as_passed, candle, python::Passing, requires_root, torch,
};

/// The profiles that the profile crate's own tests compile.
const PROFILES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tracer-user/profile/tests/runtimes"
);

/// Minutes to compile.
#[test]
fn candle_tells_the_tensors_that_it_loads_and_counts_its_layers() -> Result<()> {
    requires_root!();
    if env::var_os("TRACER_FULL").is_none() {
        println!("not run: candle takes minutes to compile; TRACER_FULL=1 runs it");
        return Ok(());
    }
    read_as_passed(candle::command(&Cache::open()?)?, &profile("candle.toml")?)
}

#[test]
fn ctranslate2_tells_its_prompts_and_steps() -> Result<()> {
    requires_root!();
    reads(Passing::CTranslate2, "ctranslate2.toml")
}

#[test]
fn cuda_tells_sizes_directions_errors_and_one_launch_in_a_thousand() -> Result<()> {
    requires_root!();
    // Off by default, and for slow copies only: here every copy fails at once.
    let profile = profile("cuda.toml")?
        .replace("enabled = false\n", "")
        .replace("minimum_duration = \"100us\"\n", "");
    read_as_passed(Passing::Cuda.command(&Cache::open()?)?, &profile)
}

#[test]
fn litert_tells_paths_counts_and_whether_it_failed() -> Result<()> {
    requires_root!();
    reads(Passing::LiteRt, "litert.toml")
}

#[test]
fn onnx_runtime_tells_what_goes_through_its_table_of_functions() -> Result<()> {
    requires_root!();
    reads(Passing::OnnxC, "onnxruntime-c.toml")
}

#[test]
fn onnx_runtime_in_python_tells_names_and_errors_though_it_has_no_symbol() -> Result<()> {
    requires_root!();
    reads(Passing::OnnxPython, "onnxruntime-python.toml")
}

#[test]
fn openvino_tells_paths_and_results_in_both_its_interfaces() -> Result<()> {
    requires_root!();
    reads(Passing::OpenVino, "openvino.toml")
}

/// Half a gigabyte to fetch, and a minute to compile.
#[test]
fn pytorch_tells_shapes_token_ids_and_paths() -> Result<()> {
    requires_root!();
    if env::var_os("TRACER_FULL").is_none() {
        println!("not run: PyTorch takes half a gigabyte; TRACER_FULL=1 runs it");
        return Ok(());
    }
    read_as_passed(torch::command(&Cache::open()?)?, &profile("torch.toml")?)
}

#[test]
fn safetensors_tells_files_headers_and_tensors() -> Result<()> {
    requires_root!();
    reads(Passing::Safetensors, "safetensors.toml")
}

#[test]
fn tokenizers_tell_the_prompts_text_however_rust_mangled_their_names() -> Result<()> {
    requires_root!();
    reads(Passing::Tokenizers, "tokenizers.toml")?;
    reads(Passing::TokenizersLegacy, "tokenizers.toml")
}

#[test]
fn whisper_cpp_tells_its_model_and_how_much_sound_it_was_given() -> Result<()> {
    requires_root!();
    reads(Passing::Whisper, "whisper.toml")
}

fn reads(runtime: Passing, file: &str) -> Result<()> {
    read_as_passed(runtime.command(&Cache::open()?)?, &profile(file)?)
}

fn profile(file: &str) -> Result<String> {
    fs::read_to_string(format!("{PROFILES}/{file}")).context(file.to_owned())
}
