//! What `cargo xtask bench` measures with, beside the [`Supervisor`](crate::Supervisor): records
//! without a traced process, and a program that does nothing. Tests of the reader use the first too.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use tracer_abi::Control;

use crate::{
    features::{self, OwnSite},
    load::{KernelHalf, LoadError},
    observation::RecordBatch,
    supervisor::Config,
    sys::{
        bpf::{self, UprobeLink},
        cpus,
    },
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
        let rings = kernel.ring_count;
        Self::using(kernel, program, rings)
    }

    /// Loads it with one ring of `ring_bytes` that every CPU writes to, to compare with.
    ///
    /// # Errors
    /// As [`Generator::load`].
    pub fn load_sharing_one_ring(ring_bytes: usize) -> Result<Self, LoadError> {
        let cpus = cpus::possible().map_err(|cause| LoadError::System {
            what: "count the CPUs",
            cause,
        })?;
        let rings = cpus.min(tracer_abi::MAX_RINGS as usize);
        let (kernel, program) = KernelHalf::load_with_measure(ring_bytes * rings, "generate")?;
        Self::using(kernel, program, 1)
    }

    fn using(kernel: KernelHalf, program: OwnedFd, rings: u32) -> Result<Self, LoadError> {
        let control = Control {
            rings,
            ..Control::default()
        };
        let failed = |cause| LoadError::System {
            what: "tell the programs of the rings",
            cause,
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

/// A program that does nothing: what a probe costs before it does anything.
pub struct Empty {
    program: OwnedFd,
    filters_by_process: bool,
}

/// Sites with the empty program; dropping it detaches them.
pub struct EmptySites {
    _link: OwnedFd,
}

impl Empty {
    /// Loads it as the programs that follow calls are loaded.
    ///
    /// # Errors
    /// If the host does not allow it.
    ///
    /// # Minimum kernel version
    /// 6.6, for `uprobe_multi`.
    pub fn load() -> Result<Self, LoadError> {
        let (kernel, program) = KernelHalf::load_with_measure(Config::RING_BYTES, "empty")?;
        Ok(Self {
            program,
            filters_by_process: kernel.calls.filters_by_process(),
        })
    }

    /// Attaches it to the instructions at `offsets` of `file`, for the process `pid` where the
    /// kernel can tell, as [`Supervisor`](crate::Supervisor) does for a single process.
    ///
    /// # Errors
    /// If the file cannot be opened or a site cannot be probed.
    pub fn attach(&self, file: &Path, offsets: &[u64], pid: u32) -> io::Result<EmptySites> {
        let file = File::open(file)?;
        let link = bpf::link_uprobes(
            self.program.as_fd(),
            &UprobeLink {
                path: &features::descriptor_path(&file),
                offsets,
                cookies: &vec![0; offsets.len()],
                pid: if self.filters_by_process { pid } else { 0 },
            },
        )?;
        Ok(EmptySites { _link: link })
    }
}
