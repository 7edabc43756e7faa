//! bpftrace and the kernel's own probe events at the same calls, as their users write them.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::target::Target;
use crate::bpftrace::Bpftrace;

/// What is asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    /// How many calls there were.
    Count,
    /// A line with the arguments of each call.
    Entry,
    /// A line with an argument and the result of each call.
    Pair,
    /// A histogram of durations.
    Histogram,
}

/// A call's CPU time while bpftrace does `job` at the site that it chooses, a function's first instruction,
/// in nanoseconds.
///
/// # Errors
/// If it does not attach, or did not see the calls.
pub(super) fn cost_with(bpftrace: &Bpftrace, job: Job, target: &mut Target) -> Result<f64> {
    let site = format!("{}:{}", target.file().display(), target.symbol());
    // A map says how many calls were seen where lines do not.
    let script = match job {
        Job::Count => format!("uprobe:{site} {{ @calls = count(); }}"),
        Job::Entry => format!("uprobe:{site} {{ printf(\"%d %p %d\\n\", tid, arg0, arg1); }}"),
        Job::Pair => format!(
            "uprobe:{site} {{ @size[tid] = arg1; }} uretprobe:{site} \
             {{ printf(\"%d %d %d\\n\", tid, @size[tid], retval); delete(@size[tid]); }}"
        ),
        Job::Histogram => format!(
            "uprobe:{site} {{ @start[tid] = nsecs; }} uretprobe:{site} /@start[tid]/ \
             {{ @calls = count(); @ns = hist(nsecs - @start[tid]); delete(@start[tid]); }}"
        ),
    };
    let running = bpftrace.attach(target.pid(), &script)?;
    let (calls, cost) = target.calls_and_cost()?;
    let output = running.finish()?;
    let seen = match job {
        Job::Entry | Job::Pair => output.lines_of_calls(3),
        Job::Count | Job::Histogram => output.counted("calls"),
    };
    // A line can be dropped on the way, and bpftrace says how many were, and the last ones can be
    // missing at its end; what matters here is that it was at work for the whole round.
    let lost = output.lost();
    ensure!(
        seen + lost >= calls - calls / 100,
        "bpftrace accounts for {seen} calls and {lost} lost ones of {calls}"
    );
    Ok(cost)
}

/// The kernel's probe events, in an instance of their own, so that nobody else's tracing changes.
pub(super) struct Tracefs {
    root: PathBuf,
}

impl Tracefs {
    const GROUP: &str = "tracer_bench";

    /// Looks where the kernel keeps them.
    ///
    /// # Errors
    /// If they are not there, or this is not root.
    pub(super) fn find() -> Result<Self> {
        let root = PathBuf::from("/sys/kernel/tracing");
        OpenOptions::new()
            .append(true)
            .open(root.join("uprobe_events"))
            .context("the kernel's probe events cannot be written (are you root?)")?;
        Ok(Self { root })
    }

    /// A call's CPU time with a probe event at our entry and, for [`Job::Pair`], one at its return.
    ///
    /// # Errors
    /// If the kernel refuses, or did not see every call.
    pub(super) fn cost(&self, job: Job, target: &mut Target) -> Result<f64> {
        let events = Events::enable(self, job, target)?;
        let (calls, cost) = target.calls_and_cost()?;
        let hits = events.hits()?;
        ensure!(
            hits.iter().all(|&seen| seen == calls),
            "the probe events counted {hits:?} of {calls} calls"
        );
        Ok(cost)
    }
}

/// Enabled events; dropping them takes them away.
struct Events<'a> {
    tracefs: &'a Tracefs,
    instance: PathBuf,
    names: Vec<&'static str>,
}

impl<'a> Events<'a> {
    fn enable(tracefs: &'a Tracefs, job: Job, target: &Target) -> Result<Self> {
        let group = Tracefs::GROUP;
        let instance = tracefs.root.join("instances").join(group);
        let site = format!("{}:{:#x}", target.file().display(), target.entry());
        let mut events = Self {
            tracefs,
            instance,
            names: Vec::new(),
        };
        events.define("entry", &format!("p:{group}/entry {site} a=%di b=%si"))?;
        if job == Job::Pair {
            events.define("result", &format!("r:{group}/result {site} r=$retval"))?;
        }
        fs::create_dir(&events.instance).with_context(|| {
            format!(
                "cannot make {}; remove it if a run was killed",
                events.instance.display()
            )
        })?;
        for name in &events.names {
            events.switch(name, "1")?;
        }
        Ok(events)
    }

    fn define(&mut self, name: &'static str, definition: &str) -> Result<()> {
        append(&self.tracefs.root.join("uprobe_events"), definition)?;
        self.names.push(name);
        Ok(())
    }

    fn switch(&self, name: &str, state: &str) -> Result<()> {
        let file = Path::new("events").join(Tracefs::GROUP).join(name);
        let file = self.instance.join(file).join("enable");
        fs::write(&file, state).with_context(|| format!("cannot write {}", file.display()))
    }

    /// How often each was hit.
    fn hits(&self) -> Result<Vec<u64>> {
        let profile = fs::read_to_string(self.tracefs.root.join("uprobe_profile"))?;
        let of = |name: &&str| {
            let line = profile
                .lines()
                .map(|line| line.split_whitespace().rev().collect::<Vec<_>>())
                .find(|words| words.get(1) == Some(name));
            let hits = line.and_then(|words| words[0].parse().ok());
            hits.with_context(|| format!("the kernel counts no event {name}"))
        };
        self.names.iter().map(of).collect()
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = self.switch(name, "0");
        }
        let _ = fs::remove_dir(&self.instance);
        for name in &self.names {
            let removal = format!("-:{}/{name}", Tracefs::GROUP);
            if let Err(error) = append(&self.tracefs.root.join("uprobe_events"), &removal) {
                eprintln!("tracer-bench: a probe event is left behind: {error:#}");
            }
        }
    }
}

fn append(file: &Path, line: &str) -> Result<()> {
    let mut events = OpenOptions::new().append(true).open(file)?;
    writeln!(events, "{line}")
        .with_context(|| format!("cannot write `{line}` to {}", file.display()))
}
