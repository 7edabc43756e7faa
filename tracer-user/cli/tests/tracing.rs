//! Runs of the real binary that load the kernel half, without any model runtime: how a run ends,
//! and what becomes of its outputs. They need root and BPF, and skip by name elsewhere, except in
//! CI. Real runtimes are traced in the crate `tracer-tests`.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Whether runs can be traced here; says so otherwise.
fn can_trace(test: &str) -> bool {
    let report = tracer(&["doctor", "-o", "json"]);
    let report: Value = serde_json::from_slice(&report.stdout).expect("the report is JSON");
    if report["verdict"] != "unusable" {
        return true;
    }
    assert!(env::var_os("CI").is_none(), "{test}: {report:#}");
    eprintln!("skipped {test}: {}", report["obstacle"]);
    false
}

fn tracer(arguments: &[&str]) -> Output {
    command(arguments)
        .output()
        .expect("the binary that cargo built can be run")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A run whose first event has been read, so that it is in the middle of its work.
fn running(arguments: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that cargo built can be run");
    let mut events = BufReader::new(child.stdout.take().expect("it was piped"));
    let mut first = String::new();
    events.read_line(&mut first).expect("events are UTF-8");
    assert!(first.contains("session.started"), "{first}");
    (child, events)
}

fn errors(child: &mut Child) -> String {
    let mut text = String::new();
    let mut stderr = child.stderr.take().expect("it was piped");
    stderr.read_to_string(&mut text).expect("errors are UTF-8");
    text
}

/// A process that runs no model.
fn bystander() -> Child {
    Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("coreutils are installed")
}

#[test]
fn a_run_that_finds_no_runtime_says_what_it_looked_for() {
    if !can_trace("a_run_that_finds_no_runtime_says_what_it_looked_for") {
        return;
    }
    let mut bystander = bystander();
    let pid = bystander.id().to_string();
    let said = tracer(&["trace", "--pid", &pid, "--duration", "1s"]);
    let err = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{err}");
    assert!(
        err.contains("llama.cpp: ") && err.contains("--profile FILE"),
        "{err}"
    );
    assert!(
        String::from_utf8_lossy(&said.stdout).contains("0 requests"),
        "{said:?}"
    );
    bystander.kill().expect("the bystander is ours");
    bystander.wait().expect("the bystander is ours");
}

#[test]
fn a_run_ends_with_the_last_of_its_processes() {
    if !can_trace("a_run_ends_with_the_last_of_its_processes") {
        return;
    }
    let mut bystander = bystander();
    let pid = bystander.id().to_string();
    let (mut child, _events) = running(&["trace", "--pid", &pid, "-o", "ndjson"]);
    bystander.kill().expect("the bystander is ours");
    bystander.wait().expect("the bystander is ours");
    let status = child.wait().expect("the run is ours");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_signal_ends_a_run_with_its_last_line() {
    if !can_trace("a_signal_ends_a_run_with_its_last_line") {
        return;
    }
    for signal in [Signal::INT, Signal::TERM] {
        let (mut child, mut events) = running(&["trace", "-o", "ndjson"]);
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).expect("the run is ours");
        let mut rest = String::new();
        events.read_to_string(&mut rest).expect("events are UTF-8");
        let status = child.wait().expect("the run is ours");
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
        let last = rest.lines().last().expect("the summary is an event");
        let last: Value = serde_json::from_str(last).expect("every line is JSON");
        assert_eq!(last["kind"], "agent.summary");
        assert!(errors(&mut child).contains("traced "), "{signal:?}");
    }
}

#[test]
fn a_full_disk_is_counted_and_ends_with_status_2() {
    if !can_trace("a_full_disk_is_counted_and_ends_with_status_2") {
        return;
    }
    let said = tracer(&[
        "trace",
        "--duration",
        "1s",
        "-o",
        "json",
        "-o",
        "ndjson:/dev/full",
    ]);
    let err = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(2), "{err}");
    assert!(
        err.contains("could not be written to /dev/full: No space left"),
        "{err}"
    );
    let events: Vec<Value> =
        serde_json::from_slice(&said.stdout).expect("the other output is one whole document");
    assert!(events.len() >= 2, "{events:?}");
}

#[test]
fn a_run_whose_reader_leaves_ends_quietly() {
    if !can_trace("a_run_whose_reader_leaves_ends_quietly") {
        return;
    }
    let (mut child, events) = running(&["trace", "--duration", "2s", "-o", "ndjson"]);
    drop(events);
    let status = child.wait().expect("the run is ours");
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    let err = errors(&mut child);
    assert!(!err.contains("pipe") && !err.contains("panicked"), "{err}");
}

#[test]
fn a_selection_that_is_not_there_is_named() {
    if !can_trace("a_selection_that_is_not_there_is_named") {
        return;
    }
    for (arguments, named) in [
        (["trace", "--pid", "4194303"], "no process 4194303"),
        (["trace", "--exe", "/nonexistent"], "/nonexistent"),
        (["trace", "--cgroup", "/nonexistent"], "/nonexistent"),
        (["ps", "--pid", "4194303"], "no process 4194303"),
    ] {
        let said = tracer(&arguments);
        let err = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains(named), "{arguments:?}: {err}");
    }
}

#[test]
fn another_pid_namespace_is_refused_with_the_remedy() {
    if !can_trace("another_pid_namespace_is_refused_with_the_remedy") {
        return;
    }
    for command in ["trace", "ps"] {
        let said = Command::new("unshare")
            .args([
                "--fork",
                "--pid",
                "--mount-proc",
                env!("CARGO_BIN_EXE_tracer"),
                command,
            ])
            .output()
            .expect("util-linux is installed");
        let err = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(2), "{err}");
        assert!(err.contains("--pid=host"), "{err}");
    }
}

#[test]
fn content_without_the_hosts_consent_is_refused_with_the_line_to_add() {
    if !can_trace("content_without_the_hosts_consent_is_refused_with_the_line_to_add") {
        return;
    }
    // In a mount namespace of its own, where no ceiling file shows.
    let said = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("[ ! -d /etc/tracer ] || mount -t tmpfs tmpfs /etc/tracer; exec \"$@\"")
        .args([
            "sh",
            env!("CARGO_BIN_EXE_tracer"),
            "trace",
            "--capture",
            "tokens",
        ])
        .output()
        .expect("util-linux is installed");
    let err = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(2), "{err}");
    assert!(err.contains("/etc/tracer/ceiling.toml"), "{err}");
    assert!(err.ends_with("\n  capture = \"tokens\"\n"), "{err}");
}
