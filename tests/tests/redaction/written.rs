//! Everything that a run wrote: where nothing may be found that was planted.

use std::{fs, path::Path};

use anyhow::Result;
use tracer_tests::{
    report::Line,
    tracer::{Trace, Tracing},
    workload::Running,
};

/// What is left of a run.
pub(crate) struct Ended {
    pub(crate) pid: u32,
    /// What the workload reported.
    pub(crate) lines: Vec<Line>,
    pub(crate) trace: Trace,
    /// The tracer's own files, one after the other.
    pub(crate) files: Vec<u8>,
}

impl Ended {
    /// Lets a workload run to its end, then ends the tracer.
    pub(crate) fn of(mut running: Running, mut tracing: Tracing) -> Result<Self> {
        let pid = running.pid();
        running.go()?;
        let lines = running.finish()?;
        // Its folder goes with it, so that is read in between.
        tracing.signal_end()?;
        tracing.until_ended()?;
        let mut files = Vec::new();
        gather(tracing.folder(), &mut files)?;
        Ok(Self {
            pid,
            lines,
            trace: tracing.finish()?,
            files,
        })
    }

    /// Every byte that was written of the run, with what lies in the folder of its other outputs.
    pub(crate) fn all(&self, others: Option<&Path>) -> Result<Vec<u8>> {
        let mut written = self.files.clone();
        if let Some(others) = others {
            gather(others, &mut written)?;
        }
        for line in &self.trace.events {
            written.extend(serde_json::to_vec(line)?);
            written.push(b'\n');
        }
        written.extend(self.trace.stderr.as_bytes());
        written.extend(fs::read("/var/log/tracer/captures.log").unwrap_or_default());
        Ok(written)
    }
}

/// The contents of every file below a folder but the copy of `/etc` and the policy, one after the
/// other.
fn gather(folder: &Path, all: &mut Vec<u8>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.file_name() != "etc" {
            gather(&entry.path(), all)?;
        } else if kind.is_file() {
            all.extend(fs::read(entry.path())?);
            all.push(b'\n');
        }
    }
    Ok(())
}
