//! A target that holds up a probe's read for ever delays the end of the tracer, which says so and of
//! whom, and ends when told twice. Needs root, BPF and userfaultfd.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tracer_probe::features::{Features, Support};
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    patience,
    report::Event,
    requires_root,
    tracer::binary,
    workload::{Place, Running, Target},
};

/// Where in the kernel each thread of a process waits.
fn held_where(pid: u32) -> String {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let stacks = threads.into_iter().flatten().flatten().map(|thread| {
        let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        format!("{}{}", read("comm"), read("stack"))
    });
    stacks.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_delayed_end_names_who_delays_it_and_a_second_signal_does_not_wait() -> Result<()> {
    requires_root!();
    if let Support::Missing(reason) = Features::detect().sleepable {
        eprintln!("skipped a_delayed_end: nobody can be stalled in a probe: {reason}");
        return Ok(());
    }
    let command = Target::Stall.command(&Cache::open()?, &["slow", "192"])?;
    let mut slow = Running::start_as(command, Place::Host, None)?;
    slow.until_waiting()?;
    let folder = tempfile::tempdir()?;
    let (events, errors) = (folder.path().join("events"), folder.path().join("errors"));
    let mut tracer = Command::new(binary()?)
        .args(["trace", "--no-govern", "--output", "ndjson"])
        .args(["--profile", &format!("{SOURCES}/held.toml")])
        .args(["--pid", &slow.pid().to_string()])
        .stdin(Stdio::null())
        .stdout(File::create(&events)?)
        .stderr(File::create(&errors)?)
        .spawn()?;
    patience::until("the probes are attached", || {
        Ok(fs::read_to_string(&events)?.contains("agent.attached"))
    })?;
    slow.go()?;
    // It is read by the probe now, which waits.
    slow.until_waiting()?;

    let pid = Pid::from_child(&tracer);
    kill_process(pid, Signal::INT)?;
    let whom = format!(" ({}) has been inside a probe for ", slow.pid());
    patience::until("it says whom it waits for", || {
        let said = fs::read_to_string(&errors)?;
        if let Some(status) = tracer.try_wait()? {
            bail!("it ended with {status} instead of waiting; it said: {said}");
        }
        Ok(said.contains(&whom))
    })
    .with_context(|| held_where(tracer.id()))?;
    assert!(tracer.try_wait()?.is_none(), "it waits");
    kill_process(pid, Signal::INT)?;
    patience::until("a second signal ends it", || {
        Ok(tracer.try_wait()?.is_some())
    })?;
    let status = tracer.wait()?;
    assert_eq!(status.code(), Some(130), "{}", fs::read_to_string(&errors)?);
    // The target is unharmed: its page arrives, and it returns what it always does.
    slow.go()?;
    let counts = slow.until(|event| matches!(event, Event::Counts { .. }))?;
    let Event::Counts { functions, .. } = counts.event else {
        bail!("not what was waited for");
    };
    let calls = functions
        .get("stall_target")
        .context("its calls are counted")?;
    assert_eq!((calls.entered, calls.returned), (1, 1));
    slow.until_waiting()?;
    slow.go()?;
    slow.finish().map(drop)
}
