//! llama-server of a distribution, under its own clients: requests against the server's own answers and
//! log, and three wrong starts, each named by `tracer diff`. Needs root and BPF.

use std::{fs, path::Path, thread};

use anyhow::{Context, Result};
use tracer_event::{Body, Known, SequenceId, inference::EndReason};
use tracer_tests::{
    cache::Cache,
    model::TINY,
    requires_root,
    server::{Completion, Server, served},
    tracer::{self, Tracing},
};

const SYSTEM: &str =
    "You are a helpful assistant who answers every question in one short sentence.";
const OPTIONS: [&str; 6] = ["--parallel", "4", "--ctx-size", "4096", "--threads", "1"];

#[test]
fn four_concurrent_clients_with_a_shared_prefix_and_one_that_leaves_are_told_apart() -> Result<()> {
    requires_root!();
    let server = Server::start(&Cache::open()?, TINY, &OPTIONS)?;
    let pid = server.pid();
    let mut tracing = Tracing::exact(&[])?;
    tracing.until_attached(pid)?;

    let mut answers = vec![server.complete(SYSTEM, 6)?];
    let concurrent: Vec<Result<Completion>> = thread::scope(|scope| {
        let server = &server;
        let clients: Vec<_> = (0..3)
            .map(|client| {
                scope.spawn(move || server.complete(&format!("{SYSTEM} Question {client}?"), 40))
            })
            .collect();
        let leaver = scope.spawn(|| server.cancel_after(&format!("{SYSTEM} Never mind."), 5));
        let answers = clients
            .into_iter()
            .map(|client| client.join().expect("a client does not panic"))
            .collect();
        leaver
            .join()
            .expect("a client does not panic")
            .map(|_| answers)
    })?;
    for answer in concurrent {
        answers.push(answer?);
    }
    server.until_logged(|log| served(log).is_ok_and(|ended| ended.len() == 5))?;
    let decodes = server.metric("n_decode_total")?;
    let ended = served(&server.stop()?)?;
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;

    let requests = trace.requests(pid);
    assert_eq!(requests.len(), 5, "{requests:?}");
    assert_eq!(trace.steps(pid).len() as f64, decodes);
    for answer in &answers {
        let same = requests.iter().find(|request| {
            request.sequence == Known::Known(SequenceId(answer.id_slot))
                && request.cached_tokens == Known::Known(answer.timings.cache_n.into())
                && request.prompt_tokens == Known::Known(answer.tokens_evaluated.into())
        });
        let same = same.with_context(|| format!("{answer:?} was not traced: {requests:?}"))?;
        assert_eq!(
            same.generated_tokens,
            Known::Known(answer.timings.predicted_n.into()),
            "{answer:?}"
        );
        assert!(
            matches!(same.end, EndReason::Stopped | EndReason::Length),
            "{same:?}"
        );
    }
    let left = ended
        .iter()
        .find(|request| request.cancelled)
        .context("the server noticed no client that left")?;
    // A slot serves one request after the other; what was cached tells them apart.
    let same = requests.iter().find(|request| {
        request.sequence == Known::Known(SequenceId(left.slot))
            && request.cached_tokens == Known::Known(left.cached.into())
    });
    let same = same.with_context(|| format!("{left:?} was not traced: {requests:?}"))?;
    assert!(
        matches!(same.end, EndReason::Stopped | EndReason::Cancelled),
        "{same:?}"
    );
    let (Known::Known(prompt), Known::Known(generated)) =
        (same.prompt_tokens, same.generated_tokens)
    else {
        panic!("the counts of {same:?} are unknown");
    };
    // The last sampled token is held only when it was fed back before the client's leaving was noticed.
    assert!(
        [0, 1].contains(&(prompt + generated - u64::from(left.held))),
        "{same:?} {left:?}"
    );
    Ok(())
}

#[test]
fn a_server_that_only_warmed_up_has_served_nothing() -> Result<()> {
    requires_root!();
    let mut tracing = Tracing::start(&[])?;
    tracing.until(|line| matches!(line.body, Body::SessionStarted(_)))?;
    let server = Server::start(&Cache::open()?, TINY, &OPTIONS)?;
    let pid = server.pid();
    server.stop()?;
    let trace = tracing.interrupt()?;
    let computed = trace
        .of(pid)
        .filter(|line| matches!(line.body, Body::Step(_)))
        .count();
    assert!(computed > 0, "llama-server warms up: {}", trace.stderr);
    assert!(trace.steps(pid).is_empty(), "{:?}", trace.steps(pid));
    assert!(trace.requests(pid).is_empty(), "{:?}", trace.requests(pid));
    Ok(())
}

/// Starts a server while tracing and keeps what its load amounted to.
fn snapshot(options: &[&str], file: &Path) -> Result<()> {
    let mut tracing = Tracing::start(&[])?;
    tracing.until(|line| matches!(line.body, Body::SessionStarted(_)))?;
    let server = Server::start(&Cache::open()?, TINY, options)?;
    let pid = tracer_event::Pid(server.pid());
    tracing.until(|line| {
        line.place.pid == Some(pid)
            && matches!(&line.body, Body::ModelLoaded(snapshot) if snapshot.dry_run != Known::Known(true))
    })?;
    server.stop()?;
    let trace = tracing.interrupt()?;
    let lines: Vec<String> = trace
        .of(pid.0)
        .map(serde_json::to_string)
        .collect::<Result<_, _>>()?;
    fs::write(file, lines.join("\n"))?;
    Ok(())
}

#[test]
fn three_wrong_starts_of_a_server_are_each_named_by_diff() -> Result<()> {
    requires_root!();
    let folder = tempfile::tempdir()?;
    let right = folder.path().join("right.ndjson");
    let base = ["--threads", "1", "--parallel", "1"];
    snapshot(&[&base[..], &["--ctx-size", "2048"]].concat(), &right)?;
    for (named, options) in [
        ("context_length", &["--ctx-size", "512"] as &[_]),
        (
            "chat_template",
            &["--ctx-size", "2048", "--chat-template", "chatml"],
        ),
        ("gpu_layers", &["--ctx-size", "2048", "--gpu-layers", "1"]),
    ] {
        let wrong = folder.path().join(format!("{named}.ndjson"));
        snapshot(&[&base[..], options].concat(), &wrong)?;
        let names = [
            right.to_string_lossy().into_owned(),
            wrong.to_string_lossy().into_owned(),
        ];
        let output = tracer::output(&["diff", &names[0], &names[1], "--output", "json"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{named}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for other in ["context_length", "chat_template", "gpu_layers"] {
            assert_eq!(text.contains(other), other == named, "{named}: {text}");
        }
    }
    Ok(())
}
