//! Functions without a symbol, found in real libraries: through tables of pointers, by strings, by
//! the stable parts of mangled names, in debug symbols that are kept elsewhere.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tracer_probe::code::{DebugError, Fingerprint, Image, SymbolTable, TableError};
use tracer_profile::SymbolPattern;
use tracer_tests::{
    cache::Cache,
    package::{
        NODE_LLAMA_CPP, ONNX_RUNTIME, ONNX_RUNTIME_CET, ONNX_RUNTIME_NODE, TOKENIZERS,
        TOKENIZERS_LEGACY, run,
    },
};

/// Functions of ONNX Runtime's C interface, in every version since the first: an error's code is its
/// first word, and its message follows.
const INTERFACE: [(usize, &[u8]); 2] = [
    (1, &[0x8b, 0x07, 0xc3]),
    (2, &[0x48, 0x8d, 0x47, 0x04, 0xc3]),
];
/// Fewest functions of the interface in the versions here.
const FUNCTIONS: usize = 250;
/// Place of `Run` in it.
const RUN: usize = 9;

fn image(path: &Path) -> Result<Image<File>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Image::parse(file)?)
}

fn interface() -> Fingerprint {
    Fingerprint {
        at_least: FUNCTIONS,
        begins: INTERFACE.map(|(slot, code)| (slot, code.to_vec())).into(),
    }
}

fn begins_a_function(image: &Image<File>, vaddr: u64) -> Result<bool> {
    let frame = image.frame_at(vaddr)?;
    Ok(frame.is_some_and(|frame| frame.range.start == vaddr))
}

#[test]
fn the_interface_of_onnx_runtime_is_found_through_the_one_function_it_exports() -> Result<()> {
    let cache = Cache::open()?;
    let node = ONNX_RUNTIME_NODE.unpacked(&cache)?;
    let wheel = ONNX_RUNTIME.unpacked(&cache)?;
    for (path, version) in [
        (
            node.join("package/bin/napi-v6/linux/x64/libonnxruntime.so.1"),
            ONNX_RUNTIME_NODE.version,
        ),
        (
            wheel.join("onnxruntime/capi/libonnxruntime.so.1.32.0"),
            ONNX_RUNTIME.version,
        ),
    ] {
        let image = image(&path)?;
        let base = image
            .exported("OrtGetApiBase")?
            .context("no OrtGetApiBase")?;
        let base = image.returned_address(base.vaddr)?.context("it computes")?;
        let getter = image.slot(base, 0)?.context("no GetApi")?;
        let teller = image.slot(base, 1)?.context("no GetVersionString")?;
        ensure!(image.returned_string(teller)?.as_deref() == Some(version));

        let table = image
            .table_returned_by(getter, FUNCTIONS)?
            .context("no table")?;
        // Nothing but the functions' own code tells the same.
        ensure!(image.table_like(&interface())? == Some(table));
        let run = image.slot(table, RUN)?.context("no Run")?;
        ensure!(begins_a_function(&image, run)?);
    }
    Ok(())
}

#[test]
fn the_interface_of_onnx_runtime_is_found_where_nothing_is_exported() -> Result<()> {
    let cache = Cache::open()?;
    for package in [ONNX_RUNTIME, ONNX_RUNTIME_CET] {
        let folder = package.unpacked(&cache)?;
        let module = file_in(
            &folder.join("onnxruntime/capi"),
            "onnxruntime_pybind11_state",
        )?;
        let image = image(&module)?;
        let exported = image.functions(SymbolTable::Dynamic)?;
        ensure!(exported.len() == 1, "{exported:?}");
        ensure!(image.is_stripped());

        let table = image.table_like(&interface())?.context("no table")?;
        let run = image.slot(table, RUN)?.context("no Run")?;
        ensure!(begins_a_function(&image, run)?);

        let begin = Instant::now();
        let by_string = image.functions_referring_to(b"Running with tag: \0")?;
        let took = begin.elapsed();
        println!("{}: the string took {took:?}", module.display());
        ensure!(by_string.len() == 1, "{by_string:x?}");
        // A loaded machine needs many times of what it takes.
        ensure!(took < Duration::from_secs(30), "{took:?} for one string");
    }
    Ok(())
}

#[test]
fn a_table_that_several_fit_is_refused() -> Result<()> {
    let folder = ONNX_RUNTIME.unpacked(&Cache::open()?)?;
    let image = image(&folder.join("onnxruntime/capi/libonnxruntime.so.1.32.0"))?;
    let anything = Fingerprint {
        at_least: FUNCTIONS,
        begins: Vec::new(),
    };
    ensure!(matches!(
        image.table_like(&anything),
        Err(TableError::Ambiguous { .. })
    ));
    Ok(())
}

#[test]
fn a_rust_function_is_found_whatever_hashes_its_name_bears() -> Result<()> {
    let cache = Cache::open()?;
    for (package, parts) in [
        (
            TOKENIZERS_LEGACY,
            "_ZN10tokenizers9tokenizer16added_vocabulary15AddedVocabulary21extract_and_normalize17h*E",
        ),
        (
            TOKENIZERS,
            "_RINvM*_NtNtCs*_10tokenizers9tokenizer16added_vocabularyNtB*_15AddedVocabulary21extract_and_normalizeNt*",
        ),
    ] {
        let image = image(
            &package
                .unpacked(&cache)?
                .join("tokenizers/tokenizers.abi3.so"),
        )?;
        let pattern = SymbolPattern::Parts(parts.split('*').map(str::to_owned).collect());
        let first = parts.split('*').next().unwrap_or_default();
        let found = image.functions_matching(first, |name| pattern.matches(name), 8)?;
        ensure!(found.len() == 1, "{}: {found:?}", package.version);
    }
    Ok(())
}

/// The symbols of a real library, stripped in each of the ways in which distributions do it.
struct Stripped {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Stripped {
    fn make() -> Result<Self> {
        let package = NODE_LLAMA_CPP.unpacked(&Cache::open()?)?;
        let library = package.join("package/bins/linux-x64/libllama.v0.5.0.so");
        let folder = tempfile::tempdir()?;
        Ok(Self { folder, library })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn debug_file(&self, of: &Path) -> Result<PathBuf> {
        let debug = self.path("debug");
        run(Command::new("objcopy")
            .arg("--only-keep-debug")
            .args([of, &debug]))?;
        Ok(debug)
    }

    /// A local function, which only the full table of symbols names.
    fn local(&self) -> Result<(String, u64)> {
        let image = image(&self.library)?;
        let exported = image.functions(SymbolTable::Dynamic)?;
        let all = image.functions(SymbolTable::Static)?;
        let is_hidden = |vaddr: u64| !exported.iter().any(|symbol| symbol.vaddr == vaddr);
        let only_one = |name: &str| all.iter().filter(|other| other.name == name).count() == 1;
        let local = all
            .iter()
            .find(|symbol| is_hidden(symbol.vaddr) && symbol.size > 64 && only_one(&symbol.name));
        let local = local.context("every function is exported")?;
        Ok((local.name.clone(), local.vaddr))
    }

    fn strip(&self) -> Result<PathBuf> {
        let stripped = self.path("stripped.so");
        fs::copy(&self.library, &stripped)?;
        run(Command::new("strip").arg(&stripped))?;
        Ok(stripped)
    }
}

#[test]
fn a_debug_file_of_the_same_build_names_what_is_stripped() -> Result<()> {
    let made = Stripped::make()?;
    let (name, vaddr) = made.local()?;
    let mut stripped = image(&made.strip()?)?;
    ensure!(stripped.symbols(&[&name]).found.is_empty());
    stripped.adopt_debug_file(File::open(made.debug_file(&made.library)?)?)?;
    let found = stripped.symbols(&[&name]).found;
    ensure!(found.get(&name).map(|symbol| symbol.vaddr) == Some(vaddr));
    Ok(())
}

#[test]
fn a_debug_file_of_another_build_is_refused() -> Result<()> {
    let made = Stripped::make()?;
    let mut stripped = image(&made.strip()?)?;
    let other = made.library.with_file_name("libggml-base.so");
    let refused = stripped.adopt_debug_file(File::open(made.debug_file(&other)?)?);
    let Err(DebugError::OtherBuild { wanted, found }) = refused else {
        bail!("{refused:?}")
    };
    ensure!(wanted.is_some() && found.is_some() && wanted != found);
    Ok(())
}

#[test]
fn compressed_symbols_in_a_stripped_library_are_read() -> Result<()> {
    let made = Stripped::make()?;
    let (name, vaddr) = made.local()?;
    let stripped = made.strip()?;
    // As Fedora does it for MiniDebugInfo.
    let debug = made.debug_file(&made.library)?;
    let mini = made.path("mini");
    run(Command::new("objcopy")
        .args([
            "-S",
            "--remove-section",
            ".gdb_index",
            "--keep-symbol",
            &name,
        ])
        .args([&debug, &mini]))?;
    run(Command::new("xz").arg("--keep").arg(&mini))?;
    let section = format!(".gnu_debugdata={}.xz", mini.display());
    run(Command::new("objcopy")
        .args(["--add-section", &section])
        .arg(&stripped))?;
    let mut image = image(&stripped)?;
    ensure!(image.adopt_embedded_symbols()?);
    let found = image.symbols(&[&name]).found;
    ensure!(found.get(&name).map(|symbol| symbol.vaddr) == Some(vaddr));
    Ok(())
}

#[test]
fn compressed_symbols_that_unpack_without_end_are_refused() -> Result<()> {
    let made = Stripped::make()?;
    let stripped = made.strip()?;
    let zeroes = made.path("zeroes");
    File::create(&zeroes)?.set_len(256 << 20)?;
    run(Command::new("xz").args(["-1", "--keep"]).arg(&zeroes))?;
    let section = format!(".gnu_debugdata={}.xz", zeroes.display());
    run(Command::new("objcopy")
        .args(["--add-section", &section])
        .arg(&stripped))?;
    let refused = image(&stripped)?.adopt_embedded_symbols();
    ensure!(
        matches!(refused, Err(DebugError::TooLarge { .. })),
        "{refused:?}"
    );
    Ok(())
}

fn file_in(folder: &Path, begins: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(begins) {
            return Ok(entry.path());
        }
    }
    bail!("{} holds no {begins}*", folder.display())
}
