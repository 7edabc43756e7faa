//! `--cgroup` on real cgroups: a process below the selected one is traced, one outside is not, one that
//! moves in is, and so is one in a cgroup that was made anew. Needs root, BPF and the unified hierarchy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tracer_event::{Body, Pid};
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    patience,
    report::Event,
    requires_root,
    tracer::{Line, Tracing},
    workload::{Place, Running, Target},
};

/// Calls of each of a target's two threads.
const CALLS: u64 = 20_000;

/// A cgroup with one below it, removed when this is dropped.
struct Cgroup {
    folder: PathBuf,
    /// As the tracer is told it.
    path: String,
}

impl Cgroup {
    fn make(name: &str) -> Result<Self> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let root = roots
            .into_iter()
            .find(|root| root.join("cgroup.controllers").exists());
        let root = root.context("the unified cgroup hierarchy is not mounted")?;
        let name = format!("tracer-test-{}-{name}", std::process::id());
        let this = Self {
            folder: root.join(&name),
            path: format!("/{name}"),
        };
        this.make_again()?;
        Ok(this)
    }

    /// A cgroup that is removed and made is another, under the same path.
    fn make_again(&self) -> Result<()> {
        self.remove()?;
        fs::create_dir_all(self.folder.join("below"))
            .with_context(|| format!("cannot make {}", self.folder.display()))
    }

    fn remove(&self) -> Result<()> {
        for folder in [self.folder.join("below"), self.folder.clone()] {
            // A process that has just ended may still be in it.
            patience::until(&format!("{} is removed", folder.display()), || {
                Ok(!folder.exists() || fs::remove_dir(&folder).is_ok())
            })?;
        }
        Ok(())
    }

    /// Moves a process into the cgroup below this one.
    fn take(&self, running: &Running) -> Result<()> {
        fs::write(
            self.folder.join("below/cgroup.procs"),
            running.pid().to_string(),
        )
        .context("cannot move a process into the cgroup")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{error:#}");
        }
    }
}

fn waiting(cache: &Cache) -> Result<Running> {
    let command = Target::Flood.command(cache, &[&CALLS.to_string(), "2"])?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    Ok(running)
}

/// Lets it make its calls, and end.
fn let_call(mut running: Running) -> Result<()> {
    running.go()?;
    running.until(|event| matches!(event, Event::Counts { .. }))?;
    running.until_waiting()?;
    running.go()?;
    running.finish().map(drop)
}

fn finds(pid: u32) -> impl Fn(&Line) -> bool {
    move |line| line.place.pid == Some(Pid(pid)) && matches!(line.body, Body::RuntimeFound(_))
}

#[test]
fn a_cgroup_is_traced_with_what_is_below_it_and_moves_into_it() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let cgroup = Cgroup::make("below")?;
    let (inside, outside, mover) = (waiting(&cache)?, waiting(&cache)?, waiting(&cache)?);
    cgroup.take(&inside)?;
    let profile = format!("{SOURCES}/operation.toml");
    let arguments = [
        "--profile",
        &profile,
        "--no-govern",
        "--cgroup",
        &cgroup.path,
    ];
    let mut tracing = Tracing::start(&arguments)?;
    tracing.until_attached(inside.pid())?;
    let outside_pid = outside.pid();
    // They share the probes, which count only those of the cgroup.
    let_call(inside)?;
    let_call(outside)?;
    cgroup.take(&mover)?;
    tracing.until(finds(mover.pid()))?;
    let_call(mover)?;
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    assert!(!trace.events.iter().any(finds(outside_pid)));
    let counted = trace.operations()?["operation/call"].count;
    assert_eq!(counted, 2 * 2 * CALLS, "two processes with two threads");
    Ok(())
}

#[test]
fn a_cgroup_that_is_made_anew_is_traced_as_the_one_before() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let cgroup = Cgroup::make("anew")?;
    let before = waiting(&cache)?;
    cgroup.take(&before)?;
    let profile = format!("{SOURCES}/operation.toml");
    let folder = cgroup.folder.display().to_string();
    let arguments = ["--profile", &profile, "--no-govern", "--cgroup", &folder];
    let mut tracing = Tracing::start(&arguments)?;
    tracing.until_attached(before.pid())?;
    let_call(before)?;
    cgroup.make_again()?;
    let after = waiting(&cache)?;
    cgroup.take(&after)?;
    tracing.until(finds(after.pid()))?;
    let_call(after)?;
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    assert_eq!(trace.operations()?["operation/call"].count, 2 * 2 * CALLS);
    Ok(())
}
