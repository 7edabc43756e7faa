//! A workload with the tracer beside it: what every test of exact counts begins and ends with.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use tracer_event::LossReason;
use tracer_probe::features::{Features, Support};

use crate::{
    cache::Cache,
    model::TINY,
    report::{Account, Counts, Event, Line},
    tracer::{Trace, Tracing},
    workload::{Place, Running, Runtime},
};

/// A workload that waits, and a tracer whose probes it has.
#[derive(Debug)]
pub struct Traced {
    /// The workload.
    pub running: Running,
    /// The tracer.
    pub tracing: Tracing,
}

/// What a workload did and what was traced of it.
#[derive(Debug)]
pub struct Ended {
    /// The workload's process id.
    pub pid: u32,
    /// All that it reported.
    pub lines: Vec<Line>,
    /// What that amounts to.
    pub account: Account,
    /// What the tracer said.
    pub trace: Trace,
}

impl Traced {
    /// Starts llama.cpp with the tiny model, and once it waits the tracer, which counts exactly.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn llama(cache: &Cache, runtime: Runtime, place: Place, steps: &[&str]) -> Result<Self> {
        let running = waiting(cache, runtime, place, steps)?;
        Self::exactly(running)
    }

    /// Starts the tracer, which counts exactly, beside a workload that waits.
    ///
    /// # Errors
    /// When it does not start.
    pub fn exactly(running: Running) -> Result<Self> {
        Self::beside(running, Tracing::exact(&[])?)
    }

    /// Starts the tracer with `arguments`, as people use it, for this one workload that waits.
    ///
    /// # Errors
    /// When it does not start.
    pub fn only(running: Running, arguments: &[&str]) -> Result<Self> {
        let pid = running.pid().to_string();
        let tracing = Tracing::start(&[arguments, &["--pid", &pid]].concat())?;
        Self::beside(running, tracing)
    }

    fn beside(running: Running, mut tracing: Tracing) -> Result<Self> {
        tracing.until_attached(running.pid())?;
        Ok(Self { running, tracing })
    }

    /// Lets the workload run to its end, then ends the tracer.
    ///
    /// # Errors
    /// When the workload fails, or one of them does not end.
    pub fn finish(self) -> Result<Ended> {
        let Self {
            mut running,
            tracing,
        } = self;
        running.go()?;
        let pid = running.pid();
        let lines = running.finish()?;
        Ok(Ended {
            pid,
            account: Account::of(&lines)?,
            lines,
            trace: tracing.interrupt()?,
        })
    }

    /// Lets a small target make its calls, ends the tracer while the target still lives, then the
    /// target: what became of each function's calls, and what was traced.
    ///
    /// # Errors
    /// As for [`Traced::finish`].
    pub fn finish_counted(self) -> Result<(BTreeMap<String, Counts>, Trace)> {
        let Self {
            mut running,
            tracing,
        } = self;
        running.go()?;
        let counts = running.until(|event| matches!(event, Event::Counts { .. }))?;
        let Event::Counts { functions, .. } = counts.event else {
            bail!("not what was waited for: {counts:?}");
        };
        let trace = tracing.interrupt()?;
        running.until_waiting()?;
        running.go()?;
        running.finish()?;
        Ok((functions, trace))
    }
}

/// Runs a case, and once more where its tracer told that a read of memory failed and the kernel lets no
/// probe wait for a page: it may have moved one just then, and that this is told is all that can be done.
///
/// # Errors
/// Those of the case.
pub fn read_whole<T>(case: impl Fn() -> Result<T>, trace: impl Fn(&T) -> &Trace) -> Result<T> {
    let done = case()?;
    let failed = trace(&done).summary()?.losses.get(&LossReason::ReadFault);
    let Some(failed) = failed.filter(|count| **count > 0) else {
        return Ok(done);
    };
    match Features::detect().sleepable {
        Support::Missing(_) => {
            eprintln!("again: {failed} reads failed, as was told");
            case()
        }
        _ => Ok(done),
    }
}

/// Starts llama.cpp with the tiny model, up to its first `wait`.
///
/// # Errors
/// When it does not start.
pub fn waiting(cache: &Cache, runtime: Runtime, place: Place, steps: &[&str]) -> Result<Running> {
    let mut running = Running::start(runtime.command(cache, TINY, steps)?, place)?;
    running.until_waiting()?;
    Ok(running)
}
