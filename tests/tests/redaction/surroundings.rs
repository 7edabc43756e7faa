//! What stands around a model and is no content: arguments, variables, paths and errors.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::{Context, Result, ensure};
use tracer_event::{Body, Pid};
use tracer_tests::{
    cache::Cache,
    model::{self, TINY},
    python, requires_root,
    tracer::{Trace, Tracing},
    workload::{Place, Running},
};

use crate::{PLANTED, assert_absent, llama::BOTH, written::Ended};

/// Paths are kept by default. Here they are searched like the rest, but not for being paths.
const POLICY: &str = r#"
[fields]
path = { action = "scan", groups = ["credentials", "personal"] }
executable = { action = "scan", groups = ["credentials", "personal"] }
"#;

#[test]
fn nothing_that_was_planted_around_a_model_is_anywhere_in_what_the_tracer_wrote() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let others = tempfile::tempdir()?;
    let models = tempfile::tempdir()?;
    fs::set_permissions(models.path(), fs::Permissions::from_mode(0o755))?;
    // A path that holds a token, and one that leads nowhere, so that loading it fails.
    let folder = models.path().join(format!("token={}", PLANTED[1]));
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    let path = folder.join("tiny.gguf");
    fs::copy(model::model(&cache, TINY)?, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    let missing = models.path().join(format!("password={}.gguf", PLANTED[5]));
    for runtime in BOTH {
        let load = format!("load={}", path.display());
        let fails = format!("load={}", missing.display());
        let said = format!("my key is {}", PLANTED[0]);
        let steps = [
            "--n", "4", "--prompt", &said, "wait", &fails, &load, "context", "generate", "bad",
            "free", "unload", "wait=end",
        ];
        let mut command = runtime.command(&cache, TINY, &steps)?;
        // The profile lists the first, which holds a switch; a secret in it is one all the same.
        command.env("CUDA_VISIBLE_DEVICES", PLANTED[1]);
        command.env(
            "DATABASE_URL",
            format!("postgres://app:{}@db/app", PLANTED[5]),
        );
        command.env("OPENAI_API_KEY", PLANTED[0]);
        let mut running = Running::start(command, Place::Host)?;
        running.until_waiting()?;
        let [json, pretty] = ["all.json", "all.txt"].map(|name| others.path().join(name));
        let json = format!("json:{}", json.display());
        let pretty = format!("pretty:{}", pretty.display());
        let mut tracing = Tracing::content("text", POLICY, &["-o", &json, "-o", &pretty])?;
        let pid = running.pid();
        tracing.until_attached(pid)?;
        running.go()?;
        running.until_waiting()?;
        let is_freed = |body: &Body<_>| matches!(body, Body::ModelFreed(_));
        tracing.until(|line| line.place.pid == Some(Pid(pid)) && is_freed(&line.body))?;
        let ended = Ended::of(running, tracing)?;
        let written = ended.all(Some(others.path()))?;
        for value in [PLANTED[0], PLANTED[1], PLANTED[5]] {
            assert_absent(&written, value, &format!("{runtime:?}"))?;
        }
        let folder = models.path().to_string_lossy().into_owned();
        assert_shown(&ended.trace, pid, &folder)?;
    }
    Ok(())
}

#[test]
fn nothing_that_was_planted_around_onnx_runtime_is_anywhere_in_what_the_tracer_wrote() -> Result<()>
{
    requires_root!();
    let cache = Cache::open()?;
    let others = tempfile::tempdir()?;
    let said = format!("my key is {}", PLANTED[0]);
    let mut command = python::prompts(&cache, &[&said])?;
    command.arg(format!("--api-key={}", PLANTED[1]));
    command.args(["--password", PLANTED[5]]);
    command.env("CUDA_VISIBLE_DEVICES", PLANTED[1]);
    command.env("MAIL_PASSWORD", PLANTED[5]);
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let pretty = others.path().join("all.txt");
    let pretty = format!("pretty:{}", pretty.display());
    let mut tracing = Tracing::content("text", POLICY, &["-o", &pretty])?;
    let pid = running.pid();
    tracing.until_attached(pid)?;
    running.go()?;
    running.until_waiting()?;
    let ended = Ended::of(running, tracing)?;
    let written = ended.all(Some(others.path()))?;
    for value in [PLANTED[0], PLANTED[1], PLANTED[5]] {
        assert_absent(&written, value, "ONNX Runtime")?;
    }
    let seen = event(&ended.trace, pid, "process.seen")?;
    for shown in ["[TEXT]", "--api-key=[", "--password"] {
        ensure!(seen.contains(shown), "{shown} stands there: {seen}");
    }
    Ok(())
}

/// Fails unless the fields are there, so that the search says something.
fn assert_shown(trace: &Trace, pid: u32, folder: &str) -> Result<()> {
    let seen = event(trace, pid, "process.seen")?;
    ensure!(
        seen.contains("[TEXT]"),
        "the prompt stands for itself: {seen}"
    );
    let failed = event(trace, pid, "model.load_failed")?;
    ensure!(
        failed.contains(folder),
        "the rest of a path stays: {failed}"
    );
    let loaded = event(trace, pid, "model.loaded")?;
    ensure!(
        loaded.contains(folder),
        "the rest of a path stays: {loaded}"
    );
    ensure!(
        loaded.contains("CUDA_VISIBLE_DEVICES"),
        "the variable is told: {loaded}"
    );
    Ok(())
}

/// The first event of a kind and process, as JSON.
fn event(trace: &Trace, pid: u32, kind: &str) -> Result<String> {
    let lines = trace.of(pid).map(serde_json::to_string);
    lines
        .filter_map(Result::ok)
        .find(|line| line.contains(kind))
        .with_context(|| format!("no {kind}"))
}
