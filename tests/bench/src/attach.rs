//! How long it takes from the tracer's start to its probes, and to find functions in a large library.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tracer_probe::code::{
    Image, Planner, Request, SymbolKind, SymbolTable,
    site::{ExitPreference, ResultUse},
};
use tracer_tests::{
    cache::Cache,
    model::TINY,
    package::{TORCH, XLLAMACPP},
    tracer::binary,
    workload::{Place, Running, Runtime},
};

use crate::row::{Bar, Row};

/// Group on the command line.
pub const GROUP: &str = "attach";

/// Symbols that are looked up at once: about as many as a profile asks for.
const SYMBOLS: usize = 50;
/// How long after the last library another one may still turn up.
const SETTLING: &str = "300ms";

/// Measures everything `repetitions` times. The large library is PyTorch's with `TRACER_FULL=1`, which
/// fetches half a gigabyte once, and otherwise xllamacpp's.
///
/// # Errors
/// If nothing is attached, or a library cannot be fetched or read.
pub fn measure(repetitions: usize) -> Result<Vec<Row>> {
    let mut rows = start_to_probes(repetitions)?;
    rows.extend(large_library(repetitions)?);
    Ok(rows)
}

fn start_to_probes(repetitions: usize) -> Result<Vec<Row>> {
    let steps = ["--n", "1", "load", "context", "wait", "generate"];
    let command = Runtime::NodeLlamaCpp.command(&Cache::open()?, TINY, &steps)?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let [one, every] = attached_after(running.pid())?;
        first.push(milliseconds(one));
        all.push(milliseconds(every));
    }
    let note = format!("{repetitions} starts of the program");
    let row =
        |name, values, limit| Row::judge(GROUP, name, "ms", values, Bar::AtMost(limit), &note);
    Ok(vec![
        row("start to first probe, llama.cpp", first, 250.0)?,
        row("start to all probes, llama.cpp", all, 1000.0)?,
    ])
}

/// From the program's start to what it says of the first and of the last library that it attached to.
fn attached_after(pid: u32) -> Result<[Duration; 2]> {
    let begin = Instant::now();
    let mut child = Command::new(binary()?)
        .args(["trace", "--output", "ndjson", "--duration", SETTLING])
        .args(["--pid", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the tracer")?;
    let output = child.stdout.take().context("it has no standard output")?;
    let mut seen = Vec::new();
    for line in BufReader::new(output).lines() {
        if line?.contains("\"kind\":\"agent.attached\"") {
            seen.push(begin.elapsed());
        }
    }
    child.wait()?;
    match (seen.first(), seen.last()) {
        (Some(&first), Some(&last)) => Ok([first, last]),
        (_, _) => bail!("the tracer attached nothing to process {pid}"),
    }
}

fn large_library(repetitions: usize) -> Result<Vec<Row>> {
    let cache = Cache::open()?;
    let (path, name) = if env::var_os("TRACER_FULL").is_some() {
        let folder = TORCH.unpacked(&cache)?;
        (folder.join("torch/lib/libtorch_cpu.so"), "PyTorch")
    } else {
        (extension_of(XLLAMACPP.unpacked(&cache)?)?, "xllamacpp")
    };
    let size = fs::metadata(&path)?.len() >> 20;
    let names = spread_names(&path)?;
    let (mut finding, mut planning, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repetitions {
        forget_the_highest_memory()?;
        let begin = Instant::now();
        let image = Image::parse(File::open(&path)?)?;
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let lookup = image.symbols(&wanted);
        finding.push(milliseconds(begin.elapsed()));
        ensure!(lookup.found.len() + lookup.ambiguous.len() == SYMBOLS);

        let request = |symbol: &tracer_probe::code::Symbol| Request {
            vaddr: symbol.vaddr,
            size: symbol.size,
            arguments: Vec::new(),
            result: ResultUse::Required,
            exits: ExitPreference::AllowStepped,
            shadow_stack: false,
        };
        let requests: Vec<Request> = lookup.found.values().map(request).collect();
        let plans = Planner::new(&image).plan_all(&requests);
        ensure!(plans.iter().any(Result::is_ok));
        planning.push(milliseconds(begin.elapsed()));
        memory.push(memory_of("VmHWM")? as f64 / 1024.0);
    }
    let note = format!("{name}, {size} MiB, {repetitions} repetitions, half of them local names");
    let row = |what: &str, unit, values, bar| {
        Row::judge(
            GROUP,
            format!("{SYMBOLS} symbols, {what}"),
            unit,
            values,
            bar,
            &note,
        )
    };
    Ok(vec![
        row("found", "ms", finding, Bar::AtMost(1000.0))?,
        row("found and their sites chosen", "ms", planning, Bar::None)?,
        row(
            "highest memory of this program",
            "MiB",
            memory,
            Bar::AtMost(150.0),
        )?,
    ])
}

fn extension_of(folder: PathBuf) -> Result<PathBuf> {
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .file_name()
                .is_some_and(|name| name == "xllamacpp.abi3.so")
            {
                return Ok(path);
            }
        }
    }
    bail!("the package holds no xllamacpp.abi3.so")
}

/// Names of functions from all over the library, half of them exported and half not.
fn spread_names(path: &PathBuf) -> Result<Vec<String>> {
    let image = Image::parse(File::open(path)?)?;
    let exported = image.functions(SymbolTable::Dynamic)?;
    let all = image.functions(SymbolTable::Static)?;
    let mut times: HashMap<&str, usize> = HashMap::new();
    for symbol in &all {
        *times.entry(&symbol.name).or_default() += 1;
    }
    let mut names = Vec::new();
    for (table, local) in [(&exported, false), (&all, true)] {
        let usable = table.iter().filter(|symbol| {
            symbol.kind == SymbolKind::Function
                && symbol.size > 16
                && (!local || times[symbol.name.as_str()] == 1)
        });
        let usable: Vec<&String> = usable.map(|symbol| &symbol.name).collect();
        let step = (usable.len() / (SYMBOLS / 2)).max(1);
        let spread = usable.into_iter().step_by(step).take(SYMBOLS / 2);
        names.extend(spread.cloned());
    }
    names.sort_unstable();
    names.dedup();
    for symbol in &exported {
        if names.len() >= SYMBOLS {
            break;
        }
        if symbol.size > 16 && !names.contains(&symbol.name) {
            names.push(symbol.name.clone());
        }
    }
    Ok(names)
}

fn forget_the_highest_memory() -> Result<()> {
    // proc(5): 5 resets the highest resident set to the present one.
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the highest memory")
}

/// A line of this process's status, in KiB.
fn memory_of(key: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("/proc/self/status has no {key}"))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
