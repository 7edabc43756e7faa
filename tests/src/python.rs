//! Real runtimes in a Python process: one that says what it passed, one that answers the same
//! questions again and again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{
    cache::Cache,
    compile::SOURCES,
    debian,
    model::{self, TINY},
    package::{
        CTRANSLATE2, CUDA_RUNTIME, FLATBUFFERS, GPT4ALL, LITERT, NUMPY, NUMPY_1, ONNX_RUNTIME,
        ONNX_RUNTIME_CET, OPENVINO, PYWHISPERCPP, PYWHISPERCPP_SOURCE, PYYAML, Package,
        SAFETENSORS, TOKENIZERS, TOKENIZERS_LEGACY, TRITON, XLLAMACPP, run,
    },
};

/// A runtime that says what its calls were given; see `workloads/passes.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// CTranslate2 with a decoder of two layers.
    CTranslate2,
    /// CTranslate2 with what translates and what transcribes.
    CTranslate2Others,
    /// CUDA's runtime library, on a machine without a driver.
    Cuda,
    /// CUDA's driver library, on a machine without a device.
    CudaDriver,
    /// LiteRT's interpreter, and its compiled models through their C interface.
    LiteRt,
    /// ONNX Runtime through its C interface.
    OnnxC,
    /// ONNX Runtime's Python extension module.
    OnnxPython,
    /// An older build of it, with CET.
    OnnxPythonCet,
    /// OpenVINO from Python and through its C interface.
    OpenVino,
    /// Hugging Face's safetensors.
    Safetensors,
    /// Hugging Face's tokenizers.
    Tokenizers,
    /// A build of it whose names are mangled in the old way.
    TokenizersLegacy,
    /// Triton Inference Server with a model of its Python backend.
    Triton,
    /// whisper.cpp on a model without weights.
    Whisper,
}

impl Passing {
    /// The command line that runs it. It waits before its calls and after them.
    ///
    /// # Errors
    /// When a package cannot be fetched, there is no Python, or the scripts cannot be copied.
    pub fn command(self, cache: &Cache) -> Result<Command> {
        let (name, packages): (_, &[&Package]) = match self {
            Self::CudaDriver => {
                let library = debian::cuda_driver(cache)?;
                return with_packages(cache, "passes.py", "cuda_driver", &[library]);
            }
            Self::CTranslate2 => ("ctranslate2", &[&CTRANSLATE2, &PYYAML, &NUMPY]),
            Self::CTranslate2Others => ("ctranslate2_others", &[&CTRANSLATE2, &PYYAML, &NUMPY]),
            Self::Cuda => ("cuda", &[&CUDA_RUNTIME]),
            Self::LiteRt => ("litert", &[&LITERT, &FLATBUFFERS, &NUMPY]),
            Self::OnnxC => ("onnx_c", &[&ONNX_RUNTIME, &NUMPY]),
            Self::OnnxPython => ("onnx_python", &[&ONNX_RUNTIME, &NUMPY]),
            Self::OnnxPythonCet => ("onnx_python", &[&ONNX_RUNTIME_CET, &NUMPY]),
            Self::OpenVino => ("openvino", &[&OPENVINO, &NUMPY]),
            Self::Safetensors => ("safetensors", &[&SAFETENSORS, &NUMPY]),
            Self::Tokenizers => ("tokenizers", &[&TOKENIZERS]),
            Self::TokenizersLegacy => ("tokenizers", &[&TOKENIZERS_LEGACY]),
            Self::Triton => ("triton", &[&TRITON, &NUMPY_1]),
            Self::Whisper => ("whisper", &[&PYWHISPERCPP, &PYWHISPERCPP_SOURCE]),
        };
        with_packages(cache, "passes.py", name, &unpacked(cache, packages)?)
    }
}

/// A library that answers the same questions round by round; see `workloads/library.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// CTranslate2 with a decoder of two layers.
    CTranslate2,
    /// ONNX Runtime with a model of six nodes.
    Onnx,
    /// OpenVINO with the same model.
    OpenVino,
    /// Hugging Face's tokenizers, trained on a few lines.
    Tokenizers,
}

impl Library {
    /// The command line that runs the library from its packages.
    ///
    /// # Errors
    /// As for [`Passing::command`].
    pub fn command(self, cache: &Cache, packages: &[&Package]) -> Result<Command> {
        let name = match self {
            Self::CTranslate2 => "ctranslate2",
            Self::Onnx => "onnx",
            Self::OpenVino => "openvino",
            Self::Tokenizers => "tokenizers",
        };
        with_packages(cache, "library.py", name, &unpacked(cache, packages)?)
    }
}

/// ONNX Runtime and Hugging Face's tokenizers in one process, which answers these prompts; see
/// `workloads/prompts.py`.
///
/// # Errors
/// As for [`Passing::command`].
pub fn prompts(cache: &Cache, prompts: &[&str]) -> Result<Command> {
    let packages = unpacked(cache, &[&ONNX_RUNTIME, &TOKENIZERS, &NUMPY])?;
    with_packages(
        cache,
        "prompts.py",
        serde_json::to_string(prompts)?,
        &packages,
    )
}

/// ONNX Runtime's Python module, which waits once and then serves so many steps of some milliseconds; see
/// `workloads/serves.py`.
///
/// # Errors
/// As for [`Passing::command`].
pub fn serving(cache: &Cache, steps: u32) -> Result<Command> {
    let packages = unpacked(cache, &[&ONNX_RUNTIME, &NUMPY])?;
    with_packages(cache, "serves.py", steps.to_string(), &packages)
}

/// GPT4All's library with the tiny model, which fails to load half of it too; see `workloads/gpt4all.py`.
///
/// # Errors
/// As for [`Passing::command`], and when a model cannot be made.
pub fn gpt4all(cache: &Cache) -> Result<Command> {
    let mut command = Command::new(python()?);
    command
        .arg("-I")
        .arg(readable(cache, "gpt4all.py")?)
        .arg(model::model(cache, TINY)?)
        .arg(model::truncated_model(cache)?)
        .arg(GPT4ALL.unpacked(cache)?);
    Ok(command)
}

/// A process that has loaded nine runtimes, calls none, and uses so many seconds of CPU time when it is let; see
/// `workloads/silent.py`.
///
/// # Errors
/// As for [`Passing::command`].
pub fn silent(cache: &Cache, seconds: u32) -> Result<Command> {
    let packages = [
        &CTRANSLATE2,
        &CUDA_RUNTIME,
        &FLATBUFFERS,
        &LITERT,
        &NUMPY,
        &ONNX_RUNTIME,
        &OPENVINO,
        &PYWHISPERCPP,
        &PYYAML,
        &SAFETENSORS,
        &TOKENIZERS,
        &XLLAMACPP,
    ];
    let packages = unpacked(cache, &packages)?;
    with_packages(cache, "silent.py", seconds.to_string(), &packages)
}

/// A process that maps the first page of a file as code, and then waits twice.
///
/// # Errors
/// When there is no Python, or the scripts cannot be copied.
pub fn mapper(cache: &Cache, file: &Path) -> Result<Command> {
    with_packages(cache, "mapper.py", file, &[])
}

/// The Python of an environment of its own in the cache, with the packages of `requirements`: a list
/// for pip, each pinned by version and SHA-256.
///
/// # Errors
/// When Python 3.11 or a package is missing, or a package is not the pinned one.
pub fn environment(cache: &Cache, name: &str, requirements: &str) -> Result<PathBuf> {
    let digest: String = Sha256::digest(requirements)[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = cache.once(&format!("tools/{name}-{digest}"), |into| {
        run(Command::new("python3").args(["-m", "venv"]).arg(into))
            .context("cannot make a Python environment; install python3-venv")?;
        let pinned = into.join("requirements.txt");
        fs::write(&pinned, requirements)?;
        run(Command::new(into.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-deps"])
            .args([
                "--require-hashes",
                "--only-binary",
                ":all:",
                "--requirement",
            ])
            .arg(&pinned))
        .with_context(|| format!("cannot install {name}; its packages are pinned for Python 3.11"))
    })?;
    Ok(folder.join("bin/python"))
}

fn with_packages(
    cache: &Cache,
    script: &str,
    what: impl AsRef<std::ffi::OsStr>,
    folders: &[PathBuf],
) -> Result<Command> {
    let mut command = Command::new(python()?);
    command
        .arg("-I")
        .arg(readable(cache, script)?)
        .arg(what)
        .args(folders);
    Ok(command)
}

fn unpacked(cache: &Cache, packages: &[&Package]) -> Result<Vec<PathBuf>> {
    let folders = packages.iter().map(|package| package.unpacked(cache));
    folders.collect()
}

/// A Python that can load xllamacpp (3.10 or later) and that `nobody` can run.
pub(crate) fn python() -> Result<PathBuf> {
    let candidates = ["/usr/bin/python3", "/usr/local/bin/python3"];
    let check = "import sys; sys.exit(sys.version_info < (3, 10))";
    let found = candidates.iter().find(|python| {
        Command::new(python)
            .args(["-c", check])
            .status()
            .is_ok_and(|status| status.success())
    });
    found.map(PathBuf::from).with_context(|| {
        format!("none of {candidates:?} is a Python of 3.10 or later; install python3")
    })
}

/// One of our Python files, with the others beside it, where every user can read it: a checkout may
/// lie under a private home.
pub(crate) fn readable(cache: &Cache, file: &str) -> Result<PathBuf> {
    let mut sources: Vec<PathBuf> = fs::read_dir(SOURCES)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    sources.sort();
    let mut hasher = Sha256::new();
    for source in &sources {
        hasher.update(source.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(fs::read(source)?);
    }
    let digest: String = hasher.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = cache.once(&format!("build/python-{digest}"), |into| {
        for source in &sources {
            let name = source.file_name().context("a file has a name")?;
            fs::copy(source, into.join(name))
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
        Ok(())
    })?;
    Ok(folder.join(file))
}
