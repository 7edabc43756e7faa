//! The tracer goes without a trace: killed, or attached and detached a thousand times, it leaves the
//! target's code as its file has it. Needs root and BPF.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tracer_event::Body;
use tracer_probe::{Config, Observation, Selection, Supervisor};
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    memory::changed_code_bytes,
    model::TINY,
    package::NODE_LLAMA_CPP,
    report::{Account, Event},
    requires_root,
    tracer::Tracing,
    workload::{Place, Running, Runtime, Target},
};

const LIBRARY: &str = "package/bins/linux-x64/libllama.v0.5.0.so";

/// Starts a llama.cpp process that generates until it is told to stop.
fn generating(cache: &Cache) -> Result<Running> {
    let steps = [
        "--n", "200", "--repeat", "1000000", "load", "context", "wait", "generate",
    ];
    let mut running = Running::start(
        Runtime::NodeLlamaCpp.command(cache, TINY, &steps)?,
        Place::Host,
    )?;
    running.until_waiting()?;
    Ok(running)
}

#[test]
fn a_killed_tracer_leaves_no_probe_and_the_target_runs_on() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let library = NODE_LLAMA_CPP.unpacked(&cache)?.join(LIBRARY);
    let mut running = generating(&cache)?;
    let mut tracing = Tracing::start(&[])?;
    tracing.until_attached(running.pid())?;
    running.go()?;
    assert!(
        changed_code_bytes(running.pid(), &library)? > 0,
        "an attached probe shows in the target's code"
    );
    tracing.kill()?;
    wait_until_clean(running.pid(), &library)?;
    assert_it_generates(running)
}

#[test]
fn a_tracer_that_comes_and_goes_does_not_harm_llama_cpp() -> Result<()> {
    requires_root!();
    let cycles = if env::var_os("TRACER_FULL").is_some() {
        100
    } else {
        6
    };
    let cache = Cache::open()?;
    let library = NODE_LLAMA_CPP.unpacked(&cache)?.join(LIBRARY);
    let mut running = generating(&cache)?;
    running.go()?;
    let pid = running.pid().to_string();
    for cycle in 0..cycles {
        let mut tracing = Tracing::start(&["--pid", &pid])?;
        tracing.until(|line| matches!(line.body, Body::Attached(_)))?;
        if cycle % 2 == 0 {
            tracing.interrupt().map(drop)?
        } else {
            tracing.kill()?
        }
    }
    wait_until_clean(running.pid(), &library)?;
    assert_it_generates(running)
}

/// The target throws through every probed function all the time, and ends with an error when one result
/// is wrong.
#[test]
fn a_thousand_attachments_do_not_harm_a_target_that_throws() -> Result<()> {
    requires_root!();
    let cycles = if env::var_os("TRACER_FULL").is_some() {
        1000
    } else {
        40
    };
    let command = Target::Unwind.command(&Cache::open()?, &["1000000000"])?;
    let program = PathBuf::from(command.get_program());
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    running.go()?;
    let profile = tracer_profile::read(
        "unwind.toml",
        &fs::read_to_string(format!("{SOURCES}/unwind.toml"))?,
    )?;
    for cycle in 0..cycles {
        let mut config = Config::new(vec![profile.clone()]);
        config.selection = Selection::Pids(vec![running.pid()]);
        config.govern = false;
        let mut supervisor = Supervisor::start(config)?;
        let (mut attached, mut records) = (false, 0);
        let start = Instant::now();
        while !attached || records == 0 {
            for observation in supervisor.next(Duration::from_millis(10))? {
                match observation {
                    Observation::Attached(_) => attached = true,
                    Observation::Records(batch) => records += batch.len(),
                    _ => {}
                }
            }
            if start.elapsed() > Duration::from_secs(30) {
                bail!("cycle {cycle}: attached {attached}, {records} records");
            }
        }
        if cycle % 2 == 0 {
            supervisor.stop().map(drop)?
        } else {
            drop(supervisor)
        }
        if running.poll(Duration::ZERO)?.is_some() {
            bail!("the target ended in cycle {cycle}");
        }
    }
    wait_until_clean(running.pid(), &program)?;
    thread::sleep(Duration::from_millis(100));
    assert!(running.poll(Duration::ZERO)?.is_none(), "the target ended");
    running.kill().map(drop)
}

/// The kernel removes a dead process's probes when it closes its descriptors, a moment later.
fn wait_until_clean(pid: u32, library: &Path) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if changed_code_bytes(pid, library)? == 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!(
        "{} bytes of the code of process {pid} are still changed",
        changed_code_bytes(pid, library)?
    )
}

/// The target still makes calls, all of them successful.
fn assert_it_generates(mut running: Running) -> Result<()> {
    let before = running.lines().len();
    running.until(|event| matches!(event, Event::DecodeEnd { .. }))?;
    assert!(running.lines().len() > before);
    let account = Account::of(&running.kill()?)?;
    assert!(
        account
            .calls
            .iter()
            .all(|call| matches!(call.ret, Some(0) | None))
    );
    Ok(())
}
