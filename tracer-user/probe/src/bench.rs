//! Records without a traced process, for `cargo xtask bench` and for tests of the reader.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use tracer_abi::Control;

use crate::{
    features::{self, OwnSite},
    load::{KernelHalf, LoadError},
    observation::RecordBatch,
};

/// The kernel half with a program that makes records by itself.
pub struct Generator {
    kernel: KernelHalf,
    program: OwnedFd,
}

/// A source of records; dropping it detaches it.
pub struct Source {
    _link: OwnedFd,
}

impl Generator {
    /// Loads the kernel half with event rings of `ring_bytes` together.
    ///
    /// # Errors
    /// If the host does not allow it.
    ///
    /// # Minimum kernel version
    /// 6.6, for `uprobe_multi`, and what [`Supervisor`](crate::Supervisor) needs.
    pub fn load(ring_bytes: usize) -> Result<Self, LoadError> {
        let (kernel, program) = KernelHalf::load_with_measure(ring_bytes, "generate")?;
        let control = Control {
            rings: kernel.ring_count,
            ..Control::default()
        };
        let failed = |source| LoadError::System {
            what: "tell the programs of the rings",
            source,
        };
        kernel.tables.control.put(0, &control).map_err(failed)?;
        Ok(Self { kernel, program })
    }

    /// A source that makes `records` call records of 64 bytes each time that it is asked, on the
    /// CPU that asks.
    ///
    /// # Errors
    /// If it cannot be attached to this program.
    pub fn source(&self, records: u32) -> io::Result<Source> {
        let cookie = u64::from(records);
        let link = features::link(OwnSite::EMULATED, self.program.as_fd(), cookie, true)?;
        Ok(Source { _link: link })
    }

    /// Takes what the rings hold.
    pub fn drain(&mut self) -> Vec<RecordBatch> {
        self.kernel.rings.drain()
    }

    /// Waits until there may be records, at most `timeout`.
    ///
    /// # Errors
    /// If the rings cannot be waited for.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.kernel.rings.wait(timeout)
    }

    /// Records that did not fit since the start.
    ///
    /// # Errors
    /// If the counters cannot be read.
    pub fn lost(&self) -> io::Result<u64> {
        let full = tracer_abi::LossReason::RingFull as u32;
        Ok(self
            .kernel
            .tables
            .losses
            .per_cpu(full)?
            .iter()
            .map(|cell| cell.count)
            .sum())
    }

    /// Lets the reader sleep after another time without a record than usual.
    pub fn stay_awake_for(&mut self, awake: Duration) {
        self.kernel.rings.stay_awake_for(awake);
    }
}

impl Source {
    /// Makes the records.
    pub fn emit(&self) {
        OwnSite::EMULATED.call();
    }
}
