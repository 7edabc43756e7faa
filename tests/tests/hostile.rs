//! Files that their owner made to harm whoever reads them: bounded time and memory, and a clear word.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tracer_event::Body;
use tracer_probe::code::{Image, ImageError};
use tracer_tests::{
    cache::Cache,
    comparison::assert_exact,
    fuse::Fuse,
    model::TINY,
    package::NODE_LLAMA_CPP,
    python::mapper,
    report::Account,
    requires_root,
    tracer::{Line, Tracing},
    workload::{Place, Running, Runtime},
};

fn real_library() -> Result<Vec<u8>> {
    let package = NODE_LLAMA_CPP.unpacked(&Cache::open()?)?;
    let path = package.join("package/bins/linux-x64/libllama.v0.5.0.so");
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn says(line: &Line, path: &Path, word: &str) -> bool {
    let Body::NotAttachable(refused) = &line.body else {
        return false;
    };
    let text = serde_json::to_string(refused).unwrap_or_default();
    text.contains(&*path.to_string_lossy()) && text.contains(word)
}

#[test]
fn a_file_system_that_never_answers_delays_nobody_else() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let fuse = Fuse::mount(real_library()?)?;
    let mut hostile = Running::start(mapper(&cache, &fuse.file())?, Place::Host)?;
    hostile.until_waiting()?;
    fuse.behaviour.stalls.store(true, Ordering::Relaxed);
    let before = fuse.behaviour.reads.load(Ordering::Relaxed);

    let steps = ["--n", "50", "load", "context", "wait", "generate"];
    let mut honest = Running::start(
        Runtime::NodeLlamaCpp.command(&cache, TINY, &steps)?,
        Place::Host,
    )?;
    honest.until_waiting()?;
    let begin = Instant::now();
    // The hostile one first: it is looked at before the other.
    let pids = [hostile.pid(), honest.pid()].map(|pid| pid.to_string());
    let mut tracing = Tracing::exact(&["--pid", &pids[0], "--pid", &pids[1]])?;
    tracing.until_attached(honest.pid())?;
    let attached = begin.elapsed();
    honest.go()?;
    let pid = honest.pid();
    let account = Account::of(&honest.finish()?)?;
    tracing.until(|line| says(line, &fuse.file(), "does not answer"))?;
    let reads = fuse.behaviour.reads.load(Ordering::Relaxed);
    ensure!(reads > before, "nothing was read of the stalling file");

    let begin = Instant::now();
    let trace = tracing.interrupt()?;
    let ended = begin.elapsed();
    println!("attached after {attached:?}, ended after {ended:?}");
    trace.assert_nothing_lost()?;
    assert_exact(&account, &trace, pid)?;
    ensure!(attached < Duration::from_secs(20) && ended < Duration::from_secs(10));
    Ok(())
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_probed() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let fuse = Fuse::mount(real_library()?)?;
    let mut hostile = Running::start(mapper(&cache, &fuse.file())?, Place::Host)?;
    hostile.until_waiting()?;
    fuse.behaviour.changes.store(true, Ordering::Relaxed);
    let mut tracing = Tracing::start(&["--pid", &hostile.pid().to_string()])?;
    tracing.until(|line| says(line, &fuse.file(), "changed while"))?;
    hostile.go()?;
    hostile.until_waiting()?;
    let trace = tracing.interrupt()?;
    let attached = trace
        .events
        .iter()
        .any(|line| matches!(line.body, Body::Attached(_)));
    ensure!(!attached, "a file was probed that changes");
    Ok(())
}

/// A real library whose table of symbols claims to have ten million of them, in a sparse file.
#[test]
fn a_table_of_ten_million_symbols_is_refused_at_once_and_hides_nothing_else() -> Result<()> {
    const SYMBOLS: u64 = 10_000_000;
    let library = real_library()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("large.so");
    fs::write(&path, &library)?;
    let file = File::options().read(true).write(true).open(&path)?;
    let table = section_of_type(&library, 2).context("no .symtab")?;
    let begin = file.metadata()?.len().next_multiple_of(4096);
    file.set_len(begin + SYMBOLS * 24)?;
    file.write_all_at(&begin.to_le_bytes(), table + 24)?;
    file.write_all_at(&(SYMBOLS * 24).to_le_bytes(), table + 32)?;

    let started = Instant::now();
    let image = Image::parse(File::open(&path)?)?;
    let lookup = image.symbols(&["llama_decode", "a_function_that_is_nowhere", "_ZL5nameless"]);
    let took = started.elapsed();
    ensure!(lookup.found.contains_key("llama_decode"));
    if let Some(trouble) = &lookup.trouble {
        ensure!(matches!(trouble, ImageError::TooLarge { .. }), "{trouble}");
    }
    let all = image.functions(tracer_probe::code::SymbolTable::Static);
    let refused = all.err().context("ten million symbols were read")?;
    ensure!(
        refused.to_string().contains("10000000 exceeds the limit"),
        "{refused}"
    );
    // A loaded machine needs many times of what it takes.
    ensure!(took < Duration::from_secs(30), "{took:?}");
    Ok(())
}

/// Two segments claim the same addresses: each address has one meaning, whichever way it is asked for.
#[test]
fn segments_that_overlap_have_one_meaning() -> Result<()> {
    let mut library = real_library()?;
    let headers = u64::from_le_bytes(library[32..40].try_into()?) as usize;
    let count = u16::from_le_bytes(library[56..58].try_into()?) as usize;
    let loads: Vec<usize> = (0..count)
        .map(|number| headers + number * 56)
        .filter(|&at| library[at..at + 4] == 1_u32.to_le_bytes())
        .collect();
    // The second segment claims the addresses of the first, from elsewhere in the file.
    let [first, second] = loads[..2] else {
        unreachable!("a library has code and data")
    };
    let vaddr = library[first + 16..first + 24].to_vec();
    library[second + 16..second + 24].copy_from_slice(&vaddr);
    let image = Image::parse(library.as_slice())?;
    for segment in image.segments() {
        for vaddr in [segment.vaddr, segment.vaddr + segment.file_size / 2] {
            if let Some(offset) = image.file_offset(vaddr) {
                let back = image.vaddr(offset);
                ensure!(
                    back.and_then(|back| image.file_offset(back)) == Some(offset),
                    "{vaddr:#x} is at {offset:#x}, which is at {back:x?}"
                );
            }
        }
    }
    tracer_probe::code::fuzz::image(&library);
    Ok(())
}

/// The path of a mapped library is made to lead elsewhere: what is probed is what is mapped.
#[test]
fn a_path_that_was_swapped_does_not_mislead() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let folder = tempfile::tempdir()?;
    run(Command::new("chmod").arg("755").arg(folder.path()))?;
    let path = folder.path().join("library.so");
    fs::write(&path, real_library()?)?;
    run(Command::new("chmod").arg("755").arg(&path))?;
    let mut hostile = Running::start(mapper(&cache, &path)?, Place::Host)?;
    hostile.until_waiting()?;
    let mapped = {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(&path)?.ino()
    };
    fs::remove_file(&path)?;
    std::os::unix::fs::symlink("/etc/shadow", &path)?;
    let mut tracing = Tracing::start(&["--pid", &hostile.pid().to_string()])?;
    let attached = tracing.until(|line| matches!(line.body, Body::Attached(_)))?;
    let Body::Attached(attached) = attached.body else {
        unreachable!("it was waited for")
    };
    ensure!(attached.library.inode.inode == mapped, "{attached:?}");
    tracing.interrupt()?;
    hostile.go()?;
    hostile.until_waiting()
}

fn run(command: &mut Command) -> Result<()> {
    tracer_tests::package::run(command)
}

/// Where the header of the first section of a type stands.
fn section_of_type(library: &[u8], kind: u32) -> Option<u64> {
    let word = |at: usize| u64::from_le_bytes(library[at..at + 8].try_into().expect("eight bytes"));
    let (table, count) = (
        word(40) as usize,
        u16::from_le_bytes(library[60..62].try_into().ok()?),
    );
    (0..usize::from(count))
        .map(|number| table + number * 64)
        .find(|&at| library[at + 4..at + 8] == kind.to_le_bytes())
        .map(|at| at as u64)
}
