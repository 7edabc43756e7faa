//! The sites that are chosen in real libraries: how many functions can be probed and how cheaply, and
//! that each returning call passes exactly one exit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tracer_probe::code::{
    Image, Planner, Request, SitePlan, SymbolTable,
    flow::{Body, Step},
    site::{Continuation, ExitKind, ExitPreference, ExitSite, NoExit, ResultLocation, ResultUse},
};
use tracer_tests::{
    cache::Cache,
    package::{NODE_LLAMA_CPP, XLLAMACPP},
};

/// Functions whose calls make a llama.cpp trace, in every build tried.
const TRACED: [&str; 9] = [
    "llama_model_load_from_file",
    "llama_init_from_model",
    "llama_decode",
    "llama_tokenize",
    "llama_sampler_sample",
    "_ZN13llama_context6decodeERK11llama_batch",
    "_ZN13llama_context6encodeERK11llama_batch",
    PROCESS_UBATCH,
    "llama_token_to_piece",
];
const PROCESS_UBATCH: &str = "_ZN13llama_context14process_ubatchERK12llama_ubatch14llm_graph_typeP22llama_memory_context_iR11ggml_status";

fn request(vaddr: u64, size: u64, result: ResultUse) -> Request {
    Request {
        vaddr,
        size,
        arguments: Vec::new(),
        result,
        exits: ExitPreference::AllowStepped,
        shadow_stack: false,
    }
}

/// The shared libraries that this test itself runs with, and larger ones where the system has them.
fn system_libraries() -> Result<BTreeSet<PathBuf>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mapped = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let mut libraries: BTreeSet<PathBuf> = mapped
        .filter(|path| path.contains(".so"))
        .map(PathBuf::from)
        .collect();
    let libc = libraries.iter().find(|path| path.ends_with("libc.so.6"));
    let folder = libc
        .and_then(|path| path.parent())
        .context("no libc is mapped")?
        .to_owned();
    for name in ["libstdc++.so.6", "libcrypto.so.3", "libpython3.11.so.1.0"] {
        let path = folder.join(name);
        if path.exists() {
            libraries.insert(path);
        }
    }
    Ok(libraries)
}

fn library(folder: &Path, begins: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with(begins) && name.contains(".so") {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("{} holds no {begins}*.so", folder.display())
}

fn llama_builds() -> Result<[PathBuf; 2]> {
    let cache = Cache::open()?;
    Ok([
        library(&NODE_LLAMA_CPP.unpacked(&cache)?, "libllama.")?,
        library(&XLLAMACPP.unpacked(&cache)?, "xllamacpp.")?,
    ])
}

/// Shares of the exported functions of a library, in per cent.
struct Survey {
    functions: usize,
    cheap_entry: f64,
    safe_exits: f64,
}

/// Plans every `nth` exported function and follows all paths through each.
fn survey(path: &Path, nth: usize, result: ResultUse) -> Result<Survey> {
    let image = Image::parse(File::open(path)?)?;
    let mut functions = BTreeMap::new();
    for symbol in image.functions(SymbolTable::Dynamic)? {
        functions.entry(symbol.vaddr).or_insert(symbol);
    }
    let requests: Vec<_> = functions
        .values()
        .step_by(nth)
        .map(|symbol| request(symbol.vaddr, symbol.size, result))
        .collect();
    let plans = Planner::new(&image).plan_all(&requests);
    let (mut cheap_entry, mut safe, mut cheap) = (0, 0, 0);
    for plan in plans.iter().flatten() {
        cheap_entry += usize::from(plan.entry.class.is_emulated());
        if let Ok(exits) = &plan.exits {
            safe += 1;
            cheap +=
                usize::from(!exits.is_empty() && exits.iter().all(|exit| exit.class.is_emulated()));
            follow_all_paths(&image, plan)
                .with_context(|| format!("{:?} of {}", plan.function.names, path.display()))?;
        }
    }
    let share = |count: usize| count as f64 * 100.0 / requests.len().max(1) as f64;
    let survey = Survey {
        functions: requests.len(),
        cheap_entry: share(cheap_entry),
        safe_exits: share(safe),
    };
    println!(
        "{}, result {result:?}: {} functions, {:.1} % with a cheap entry, {:.1} % with safe exits, \
         {:.1} % with only cheap exits",
        path.display(),
        survey.functions,
        survey.cheap_entry,
        survey.safe_exits,
        share(cheap),
    );
    Ok(survey)
}

/// Walks the control flow once with no exit passed and once with one passed, from the entry and from
/// whatever only an unwinder enters.
fn follow_all_paths(image: &Image<File>, plan: &SitePlan) -> Result<()> {
    let exits: BTreeSet<u64> = plan.exits.iter().flatten().map(|exit| exit.vaddr).collect();
    let is_jump = |exit: &&ExitSite| exit.kind == ExitKind::Deallocation;
    let frees = plan.exits.iter().flatten().filter(is_jump);
    let frees: BTreeSet<u64> = frees.map(|exit| exit.vaddr).collect();
    let body = Body::read(image, plan.function.vaddr, 0)?;
    let count = body.instructions.len();
    let mut entered = vec![false; count];
    (0..count).for_each(|from| {
        body.successors(from)
            .iter()
            .for_each(|&to| entered[to] = true)
    });
    let unresolved = body
        .instructions
        .iter()
        .any(|decoded| decoded.step == Step::Unresolved);
    let mut seen = vec![[false; 2]; count];
    let mut work: Vec<(usize, usize)> = (0..count)
        .filter(|&index| !entered[index] || unresolved)
        .map(|index| (index, 0))
        .collect();
    work.extend(body.position(plan.function.vaddr).map(|entry| (entry, 0)));
    while let Some((index, passed)) = work.pop() {
        if std::mem::replace(&mut seen[index][passed], true) {
            continue;
        }
        let decoded = &body.instructions[index];
        let at = decoded.instruction.ip();
        let passed = passed + usize::from(exits.contains(&at));
        ensure!(passed < 2, "a second exit is passed at {at:#x}");
        match decoded.step {
            Step::Return => ensure!(passed == 1, "the return at {at:#x} passes no exit"),
            Step::TailJump(_) if frees.contains(&at) => {
                ensure!(passed == 1, "the jump at {at:#x} passes a second exit");
            }
            Step::Call | Step::NoReturn | Step::TailJump(_) | Step::ConditionalTailJump(_) => {
                ensure!(passed == 0, "an exit is passed before the call at {at:#x}");
            }
            _ => {}
        }
        work.extend(
            body.successors(index)
                .into_iter()
                .map(|next| (next, passed)),
        );
    }
    Ok(())
}

#[test]
fn every_path_through_a_system_library_passes_one_exit() -> Result<()> {
    for path in system_libraries()? {
        for result in [ResultUse::Required, ResultUse::Unused] {
            let survey = survey(&path, 1, result)?;
            ensure!(
                survey.functions < 100 || survey.cheap_entry > 70.0,
                "few cheap entries"
            );
            ensure!(
                survey.functions < 100 || survey.safe_exits > 85.0,
                "few functions with exits"
            );
        }
    }
    Ok(())
}

#[test]
fn every_path_through_llama_cpp_passes_one_exit() -> Result<()> {
    let [node, static_build] = llama_builds()?;
    // Measured before with another program: 85.8 % cheap entries (facts of the design).
    let survey_of_node = survey(&node, 1, ResultUse::Required)?;
    // One in thirty ends in a function of ggml or libstdc++.
    ensure!(survey_of_node.cheap_entry >= 85.8 && survey_of_node.safe_exits >= 92.0);
    let survey_of_static = survey(&static_build, 8, ResultUse::Required)?;
    ensure!(survey_of_static.cheap_entry >= 80.0 && survey_of_static.safe_exits >= 90.0);
    Ok(())
}

#[test]
fn the_functions_that_make_a_llama_trace_have_cheap_entries_and_safe_exits() -> Result<()> {
    for path in llama_builds()? {
        let image = Image::parse(File::open(&path)?)?;
        let symbols = image.symbols(&TRACED).found;
        ensure!(
            symbols.len() == TRACED.len(),
            "{}: {symbols:?}",
            path.display()
        );
        for symbol in symbols.values() {
            let request = request(symbol.vaddr, symbol.size, ResultUse::Required);
            let plan = Planner::new(&image).plan(&request)?;
            ensure!(
                plan.entry.class.is_emulated(),
                "{}: {:?}",
                symbol.name,
                plan.entry
            );
            let own = plan
                .exits
                .as_ref()
                .ok()
                .with_context(|| format!("{:?}", plan.exits))?;
            let further = plan.continuations.iter().flat_map(|next| &next.exits);
            let mut results = own.iter().chain(further).map(|exit| exit.result).peekable();
            ensure!(results.peek().is_some(), "{} has no exit", symbol.name);
            ensure!(results.all(|result| result != ResultLocation::Unused));
        }
    }
    Ok(())
}

#[test]
fn a_virtual_call_at_the_end_is_refused_with_its_reason() -> Result<()> {
    for path in llama_builds()? {
        let image = Image::parse(File::open(&path)?)?;
        let symbol = image
            .exported("llama_sampler_apply")?
            .context("no llama_sampler_apply")?;
        let request = request(symbol.vaddr, symbol.size, ResultUse::Unused);
        let plan = Planner::new(&image).plan(&request)?;
        ensure!(
            matches!(plan.exits, Err(NoExit::IndirectTailJump { .. })),
            "{:?}",
            plan.exits
        );
    }
    Ok(())
}

#[test]
fn the_new_decode_call_ends_where_its_two_tail_calls_end() -> Result<()> {
    let [_, static_build] = llama_builds()?;
    let image = Image::parse(File::open(static_build)?)?;
    let symbol = image
        .exported("llama_process")?
        .context("no llama_process")?;
    let request = request(symbol.vaddr, symbol.size, ResultUse::Required);
    let plan = Planner::new(&image).plan(&request)?;
    let mut ends = BTreeSet::new();
    for Continuation { function, exits } in &plan.continuations {
        ensure!(!exits.is_empty());
        ends.extend(function.names.iter().map(String::as_str));
    }
    let expected = BTreeSet::from([
        "_ZN13llama_context6decodeERK15llama_batch_ext",
        "_ZN13llama_context6encodeERK15llama_batch_ext",
    ]);
    ensure!(ends == expected, "{ends:?}");
    Ok(())
}

#[test]
fn stripped_builds_can_be_found_by_the_strings_their_functions_refer_to() -> Result<()> {
    // Anchors as in the facts of the design, tried where symbols tell what the answer must be.
    for path in llama_builds()? {
        let image = Image::parse(File::open(&path)?)?;
        for (text, name) in [
            (&b"%s: failed to decode, ret = %d"[..], "llama_decode"),
            (b"process_ubatch\0", PROCESS_UBATCH),
        ] {
            let function = image
                .exported(name)?
                .with_context(|| format!("no {name}"))?
                .vaddr;
            let found = image.functions_referring_to(text)?;
            ensure!(
                found.contains(&function),
                "{}: {name} is not in {found:x?}",
                path.display()
            );
            ensure!(
                found.len() == 1,
                "{}: {name} is one of {found:x?}",
                path.display()
            );
        }
        let version = image
            .exported("llama_version")?
            .context("no llama_version")?;
        let version = image
            .returned_string(version.vaddr)?
            .context("no version")?;
        ensure!(version.ends_with("-dev"), "{version}");
    }
    Ok(())
}
