//! The workloads themselves, without a tracer: each must really run here and report what it does.

use anyhow::Result;
use tracer_tests::{
    cache::Cache,
    model::{TINY, truncated_model},
    report::{Account, Event},
    requires_root,
    server::{Completion, Server, served},
    workload::{Place, Running, Runtime, Target},
};

const EVERYTHING: &[&str] = &[
    "--n",
    "3",
    "load",
    "context",
    "generate",
    "reuse",
    "prompt=Once upon another day",
    "reuse",
    "draft",
    "shift",
    "parallel=3",
    "shared",
    "copy",
    "bad",
    "full",
    "free",
    "context",
    "generate",
    "context",
    "generate",
    "use=0",
    "generate",
    "free",
    "free",
    "unload",
];

#[test]
fn both_decode_calls_run_the_same_steps_to_the_same_tokens() -> Result<()> {
    let cache = Cache::open()?;
    let mut fed = Vec::new();
    for runtime in [Runtime::NodeLlamaCpp, Runtime::Xllamacpp] {
        let running = Running::start(runtime.command(&cache, TINY, EVERYTHING)?, Place::Host)?;
        let calls = Account::of(&running.finish()?)?.calls;
        assert!(
            calls.iter().any(|call| call.ret == Some(-1)),
            "an invalid batch is refused"
        );
        assert!(
            calls.iter().any(|call| call.ret == Some(1)),
            "a full context is reported"
        );
        fed.push(
            calls
                .into_iter()
                .map(|call| (call.tokens, call.pos, call.seq, call.ret))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(fed[0], fed[1]);
    Ok(())
}

#[test]
fn a_truncated_model_does_not_load() -> Result<()> {
    let cache = Cache::open()?;
    let step = format!("load={}", truncated_model(&cache)?.display());
    for runtime in [Runtime::NodeLlamaCpp, Runtime::Xllamacpp] {
        let lines =
            Running::start(runtime.command(&cache, TINY, &[&step])?, Place::Host)?.finish()?;
        assert!(
            lines
                .iter()
                .any(|line| matches!(&line.event, Event::LoadEnd { model } if model == "(nil)"))
        );
    }
    Ok(())
}

#[test]
fn a_workload_killed_in_a_call_leaves_a_whole_report() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let steps = [
        "--n",
        "400",
        "--repeat",
        "1000",
        "wait=load",
        "load",
        "context",
        "generate",
    ];
    let command = Runtime::NodeLlamaCpp.command(&cache, TINY, &steps)?;
    let mut running = Running::start(command, Place::OwnNamespaces)?;
    running.until_waiting()?;
    running.go()?;
    running.until(|event| matches!(event, Event::DecodeBegin { call: 50, .. }))?;
    let account = Account::of(&running.kill()?)?;
    let calls = &account.calls;
    let unfinished = calls.iter().filter(|call| call.ret.is_none()).count();
    assert!(
        calls.len() > 50 && unfinished <= 1,
        "{unfinished} of {} calls have no end",
        calls.len()
    );
    assert_eq!(account.inputs().len(), 1);
    Ok(())
}

#[test]
fn llama_server_and_its_log_agree_on_cached_prefixes_and_a_client_that_left() -> Result<()> {
    requires_root!();
    let server = Server::start(
        &Cache::open()?,
        TINY,
        &["--parallel", "2", "--ctx-size", "2048", "--threads", "1"],
    )?;
    let first = server.complete("Once upon a time there was", 8)?;
    let second = server.complete("Once upon a time there were", 8)?;
    assert_eq!(
        (first.timings.cache_n, first.timings.prompt_n),
        (0, first.tokens_evaluated)
    );
    assert_eq!(second.timings.cache_n, first.tokens_evaluated - 1);
    assert_eq!(second.tokens.len(), 8);
    assert_eq!(
        server.cancel_after("Quite another story, and a long one", 3)?,
        3
    );
    server.until_logged(|log| served(log).is_ok_and(|ended| ended.len() == 3))?;
    let ended = served(&server.stop()?)?;
    let held = |answer: &Completion| answer.tokens_evaluated + answer.timings.predicted_n - 1;
    assert_eq!((ended[0].cached, ended[0].held), (0, held(&first)));
    assert_eq!(
        (ended[1].cached, ended[1].held),
        (second.timings.cache_n, held(&second))
    );
    assert_eq!(ended.iter().filter(|request| request.cancelled).count(), 1);
    Ok(())
}

#[test]
fn small_targets_keep_their_own_promises_untraced() -> Result<()> {
    let cache = Cache::open()?;
    for (target, arguments) in [
        (Target::Flood, &["1000"] as &[_]),
        (Target::Stall, &["fast", "1000"]),
        (Target::Unwind, &["10"]),
        (Target::Panic, &["10"]),
    ] {
        let mut running = Running::start(target.command(&cache, arguments)?, Place::Host)?;
        running.until_waiting()?;
        running.go()?;
        running.until(|event| matches!(event, Event::Counts { .. }))?;
        running.until_waiting()?;
        running.go()?;
        let lines = running.finish()?;
        let functions = lines.iter().find_map(|line| match &line.event {
            Event::Counts { functions, .. } => Some(functions.clone()),
            _ => None,
        });
        for (name, counts) in functions.unwrap_or_default() {
            assert!(
                counts.entered > 0 && counts.entered == counts.returned + counts.unwound,
                "{name}: {counts:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_stalled_reader_waits_until_it_is_let_go() -> Result<()> {
    requires_root!();
    let command = Target::Stall.command(&Cache::open()?, &["slow", "192"])?;
    let mut running = Running::start_as(command, Place::Host, None)?;
    running.until_waiting()?;
    running.go()?;
    running.until(|event| matches!(event, Event::Waiting { what } if what == "fill"))?;
    running.go()?;
    running.until_waiting()?;
    running.go()?;
    running.finish().map(drop)
}
