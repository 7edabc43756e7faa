//! What the tracer reports of real llama.cpp processes is exactly what they did: decode calls, results,
//! token ids, positions and sampled tokens, for both decode calls. Needs root and BPF.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, chmod, mknodat};
use tracer_event::{
    Body, Known,
    inference::EndReason,
    model::{LoadResult, LoadSeen},
};
use tracer_tests::{
    cache::Cache,
    comparison::{assert_exact, assert_exact_but_the_last_call},
    model::{TINY, truncated_model},
    observed::ensure_version,
    patience::until,
    report::{Account, Event, Line},
    requires_root,
    traced::{Ended, Traced, read_whole, waiting},
    tracer::Tracing,
    workload::{Place, Running, Runtime},
};

const BOTH: [Runtime; 2] = [Runtime::NodeLlamaCpp, Runtime::Xllamacpp];

#[test]
fn one_process_is_counted_exactly() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = [
            "--n",
            "24",
            "wait=load",
            "load",
            "context",
            "generate",
            "reuse",
            "generate",
            "free",
            "unload",
        ];
        let case = || Traced::llama(&cache, runtime, Place::Host, &steps)?.finish();
        let Ended {
            pid,
            account,
            lines,
            trace,
        } = read_whole(case, |ended| &ended.trace)?;
        trace.assert_nothing_lost()?;
        assert_exact(&account, &trace, pid)?;
        ensure_version(&trace, pid, &lines)?;
    }
    Ok(())
}

#[test]
fn four_processes_at_once_are_counted_exactly_however_they_start() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = ["--n", "200", "load", "context", "wait", "generate"];
        let Traced {
            running: mut before,
            tracing,
        } = Traced::llama(&cache, runtime, Place::Host, &steps)?;
        let mut after = waiting(&cache, runtime, Place::Host, &steps)?;
        let mut contained = waiting(&cache, runtime, Place::OwnNamespaces, &steps)?;
        let mut rooted = waiting(&cache, runtime, Place::Container, &steps)?;
        let mut accounts = Vec::new();
        for running in [&mut before, &mut after, &mut contained, &mut rooted] {
            running.go()?;
        }
        for running in [before, after, contained, rooted] {
            let pid = running.pid();
            let lines = running.finish()?;
            accounts.push((pid, Account::of(&lines)?, lines));
        }
        let trace = tracing.interrupt()?;
        trace.assert_nothing_lost()?;
        for (pid, account, lines) in accounts {
            assert_exact(&account, &trace, pid)?;
            ensure_version(&trace, pid, &lines)?;
        }
    }
    Ok(())
}

#[test]
fn a_process_killed_while_it_generates_differs_by_the_call_in_flight_at_most() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = [
            "--n", "400", "--repeat", "1000", "load", "context", "wait", "generate",
        ];
        let case = || {
            let Traced {
                mut running,
                tracing,
            } = Traced::llama(&cache, runtime, Place::OwnNamespaces, &steps)?;
            running.go()?;
            running.until(|event| matches!(event, Event::DecodeBegin { call: 60, .. }))?;
            let pid = running.pid();
            let account = Account::of(&running.kill()?)?;
            Ok((pid, account, tracing.interrupt()?))
        };
        let (pid, account, trace) = read_whole(case, |(_, _, trace)| trace)?;
        trace.assert_nothing_lost()?;
        assert_exact_but_the_last_call(&account, &trace, pid)?;
    }
    Ok(())
}

#[test]
fn several_sequences_and_contexts_are_told_apart() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = [
            "--n",
            "6",
            "wait",
            "load",
            "context",
            "parallel=4",
            "copy",
            "context",
            "generate",
            "use=0",
            "generate",
            "draft=1",
            "shift=2",
            "free",
            "free",
            "context",
            "generate",
            "free",
            "unload",
        ];
        let Ended {
            pid,
            account,
            trace,
            ..
        } = Traced::llama(&cache, runtime, Place::Host, &steps)?.finish()?;
        trace.assert_nothing_lost()?;
        assert_exact(&account, &trace, pid)?;
    }
    Ok(())
}

/// Only the first sequence of a token is read from the batch, so what is not certain must say so.
#[test]
fn a_prompt_that_two_sequences_share_is_told_as_approximate() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = [
            "--n", "4", "wait", "load", "context", "shared", "free", "unload",
        ];
        let Ended {
            pid,
            account,
            trace,
            ..
        } = Traced::llama(&cache, runtime, Place::Host, &steps)?.finish()?;
        trace.assert_nothing_lost()?;
        assert_eq!(trace.steps(pid).len(), account.calls.len());
        assert!(
            trace
                .requests(pid)
                .iter()
                .any(|request| request.approximate)
        );
    }
    Ok(())
}

#[test]
fn refused_batches_keep_their_results() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = [
            "--n", "4", "wait", "load", "context", "generate", "bad", "full", "generate", "free",
            "unload",
        ];
        let Ended {
            pid,
            account,
            trace,
            ..
        } = Traced::llama(&cache, runtime, Place::Host, &steps)?.finish()?;
        assert_exact(&account, &trace, pid)?;
        let ends: Vec<_> = trace
            .requests(pid)
            .iter()
            .map(|request| request.end)
            .collect();
        assert!(ends.contains(&EndReason::Error), "{ends:?}");
    }
    Ok(())
}

#[test]
fn requests_carry_prompt_cached_and_generated_tokens_and_why_they_ended() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = [
            "--n",
            "6",
            "--eog-at",
            "3",
            "wait",
            "load",
            "context",
            "generate",
            "reuse",
            "prompt=Once upon a midnight dreary",
            "reuse",
            "free",
            "unload",
        ];
        let Ended {
            pid, lines, trace, ..
        } = Traced::llama(&cache, runtime, Place::Host, &steps)?.finish()?;
        let expected = prompts_and_first_positions(&lines);
        let requests = trace.requests(pid);
        assert_eq!((requests.len(), expected.len()), (3, 3));
        for (request, (prompt, first)) in requests.iter().zip(expected) {
            assert_eq!(request.prompt_tokens, Known::Known(prompt), "{request:?}");
            assert_eq!(request.cached_tokens, Known::Known(first), "{request:?}");
            assert_eq!(request.generated_tokens, Known::Known(4), "{request:?}");
            assert_eq!(request.end, EndReason::Eog, "{request:?}");
            assert!(!request.approximate, "{request:?}");
            assert!(
                request
                    .time_to_first_token
                    .value()
                    .is_some_and(|time| time.0 <= request.duration.0),
                "{request:?}"
            );
        }
    }
    Ok(())
}

/// Of each prompt: its tokens, and the position from which on it was fed, which is what was cached.
fn prompts_and_first_positions(lines: &[Line]) -> Vec<(u64, u64)> {
    let mut prompt = None;
    let mut found = Vec::new();
    for line in lines {
        match &line.event {
            Event::Tokenize { ret, .. } => prompt = u64::try_from(*ret).ok(),
            Event::DecodeBegin { pos, .. } => {
                found.extend(prompt.take().zip(u64::try_from(pos[0]).ok()))
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_load_that_fails_is_told_with_its_path() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let step = format!("load={}", truncated_model(&cache)?.display());
    for runtime in BOTH {
        let Ended { pid, trace, .. } =
            Traced::llama(&cache, runtime, Place::Host, &["wait", &step])?.finish()?;
        let failed = trace.of(pid).find_map(|line| match &line.body {
            Body::ModelLoadFailed(snapshot) => Some(snapshot),
            _ => None,
        });
        let failed = failed
            .ok_or_else(|| anyhow::anyhow!("no failed load was traced:\n{}", trace.stderr))?;
        assert_eq!(failed.load_result, Known::Known(LoadResult::Failed));
        assert!(
            failed
                .files
                .iter()
                .any(|file| file.path.to_string().ends_with("truncated.gguf")),
            "{:?}",
            failed.files
        );
    }
    Ok(())
}

#[test]
fn a_process_that_is_killed_while_it_loads_is_told_with_the_path() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    // A file whose bytes never come, for a process of another user.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("endless.gguf");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0)?;
    chmod(&path, Mode::RUSR | Mode::RGRP | Mode::ROTH)?;
    chmod(folder.path(), Mode::RWXU | Mode::XOTH)?;
    let step = format!("load={}", path.display());
    for runtime in BOTH {
        let Traced {
            mut running,
            tracing,
        } = Traced::llama(&cache, runtime, Place::Host, &["wait", &step])?;
        running.go()?;
        let pid = running.pid();
        // There it stays, since nobody opens the other end.
        let stack = format!("/proc/{pid}/stack");
        until("the model's file is being opened", || {
            Ok(fs::read_to_string(&stack)?.contains("fifo_open"))
        })?;
        running.kill()?;
        let trace = tracing.interrupt()?;
        let failed = trace.of(pid).find_map(|line| match &line.body {
            Body::ModelLoadFailed(snapshot) => Some(snapshot),
            _ => None,
        });
        let failed = failed.with_context(|| format!("no load was traced:\n{}", trace.stderr))?;
        assert_eq!(failed.load_result, Known::Known(LoadResult::Unfinished));
        assert_eq!(failed.load_duration, Known::Unknown);
        ensure!(failed.load_began != Known::Unknown, "it began at some time");
        let [file] = failed.files.as_slice() else {
            bail!("one file was named: {:?}", failed.files);
        };
        ensure!(file.path.to_string().ends_with("endless.gguf"), "{file:?}");
    }
    Ok(())
}

#[test]
fn a_model_that_was_there_before_is_told_from_the_live_process() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = [
            "--n", "4", "load", "context", "wait", "generate", "free", "unload",
        ];
        let Ended { pid, trace, .. } =
            Traced::llama(&cache, runtime, Place::Host, &steps)?.finish()?;
        let snapshots: Vec<_> = trace
            .of(pid)
            .filter_map(|line| match &line.body {
                Body::ModelLoaded(snapshot) => Some(snapshot),
                _ => None,
            })
            .collect();
        let [snapshot] = snapshots.as_slice() else {
            anyhow::bail!("{} snapshots of one model", snapshots.len())
        };
        assert_eq!(snapshot.load, LoadSeen::NotSeen);
        assert!(
            snapshot
                .files
                .iter()
                .any(|file| file.path.to_string().ends_with("tiny.gguf")),
            "{:?}",
            snapshot.files
        );
        assert_eq!(snapshot.header.vocabulary_size, Known::Known(32_000));
        assert_eq!(snapshot.header.tensor_count, Known::Known(21));
        assert!(
            snapshot
                .backends
                .iter()
                .any(|backend| backend.build_id != Known::Unknown),
            "{:?}",
            snapshot.backends
        );
        assert_eq!(snapshot.load_parameters.gpu_layers, Known::Unknown);
    }
    Ok(())
}

#[test]
fn at_the_default_level_neither_tokens_nor_text_leave_the_process() -> Result<()> {
    requires_root!();
    const PROMPT: &str = "xylophone quartz";
    let cache = Cache::open()?;
    for runtime in BOTH {
        let steps = [
            "--n", "8", "--prompt", PROMPT, "wait", "load", "context", "generate", "free", "unload",
        ];
        let mut running = waiting(&cache, runtime, Place::Host, &steps)?;
        let pid = running.pid();
        let mut tracing = Tracing::start(&[])?;
        tracing.until_attached(pid)?;
        running.go()?;
        running.finish()?;
        let trace = tracing.interrupt()?;
        assert_eq!(trace.requests(pid).len(), 1, "{}", trace.stderr);
        assert!(trace.tokens(pid).is_empty(), "{:?}", trace.tokens(pid));
        for line in trace.of(pid) {
            let written = serde_json::to_string(line)?;
            assert!(
                !PROMPT.split(' ').any(|word| written.contains(word)),
                "{written}"
            );
        }
    }
    Ok(())
}

#[test]
fn every_load_of_a_process_that_starts_while_tracing_is_seen() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let steps = ["wait", "load", "unload"];
    let Traced {
        running: mut first,
        tracing,
    } = Traced::llama(&cache, Runtime::NodeLlamaCpp, Place::Host, &steps)?;
    first.go()?;
    first.finish()?;
    let mut pids = Vec::new();
    for _ in 0..100 {
        let command =
            Runtime::NodeLlamaCpp.command(&cache, TINY, &["load", "context", "free", "unload"])?;
        let running = Running::start(command, Place::Host)?;
        pids.push(running.pid());
        running.finish()?;
    }
    let trace = tracing.interrupt()?;
    let unseen: Vec<_> = pids
        .iter()
        .filter(|pid| {
            !trace.of(**pid).any(|line| {
                matches!(&line.body, Body::ModelLoaded(snapshot) if snapshot.load == LoadSeen::Seen)
            })
        })
        .collect();
    assert!(
        unseen.is_empty(),
        "{} of 100 loads were not seen",
        unseen.len()
    );
    Ok(())
}
