//! Keeps the measuring thread on some CPUs for a while.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// This thread stays on some CPUs until this is dropped; what it starts meanwhile stays there too.
#[derive(Debug)]
pub struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Moves this thread to `cpu`.
    ///
    /// # Errors
    /// If it may not run there.
    pub fn to(cpu: usize) -> Result<Self> {
        Self::among(&[cpu])
    }

    /// Moves this thread, and what it starts from now on, to these CPUs.
    ///
    /// # Errors
    /// If it may not run there.
    pub fn among(cpus: &[usize]) -> Result<Self> {
        let before = sched_getaffinity(None).context("cannot read this thread's CPUs")?;
        let mut only = CpuSet::new();
        for &cpu in cpus {
            only.set(cpu);
        }
        sched_setaffinity(None, &only).with_context(|| format!("cannot run on CPUs {cpus:?}"))?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // These CPUs were allowed before; if they no longer are, the next figure says so itself.
        let _ = sched_setaffinity(None, &self.before);
    }
}
