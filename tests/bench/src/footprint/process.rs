//! What a running process takes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// A process, by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

/// Processes and threads that have started on this machine since it did, from /proc/stat: each of them may
/// give a tracer something to do.
pub(crate) fn started() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("processes "));
    let count = line.and_then(|count| count.trim().parse().ok());
    count.context("/proc/stat does not say how many processes have started")
}

/// Bytes.
pub(crate) struct Resident {
    /// Everything.
    pub(crate) all: u64,
    /// Those of them that are rings, which are as large as they are told to be.
    pub(crate) rings: u64,
}

impl Process {
    /// From proc(5): a line with the mapping's name, and below it lines with what is resident.
    pub(crate) fn resident(&self) -> Result<Resident> {
        let text = self.proc("smaps")?;
        let mut resident = Resident { all: 0, rings: 0 };
        let mut is_ring = false;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("Rss:") => {
                    let size = words.next().and_then(|size| size.parse::<u64>().ok());
                    let bytes = size.context("a size in /proc/PID/smaps is no number")? << 10;
                    resident.all += bytes;
                    resident.rings += if is_ring { bytes } else { 0 };
                }
                Some(first) if first.contains('-') => is_ring = line.contains("bpf-map"),
                _ => {}
            }
        }
        ensure!(resident.all > 0, "it has no memory");
        Ok(resident)
    }

    /// Percent of a core that it takes in `time`. What a thread took that ends meanwhile goes with it, so that
    /// it is measured again then.
    ///
    /// # Errors
    /// If threads end each time, or it cannot be read.
    pub(crate) fn busy_percent(&self, time: Duration) -> Result<f64> {
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            let (before, begin) = (self.busy()?, Instant::now());
            thread::sleep(time);
            let after = self.busy()?;
            let elapsed = begin.elapsed().as_secs_f64();
            if before.keys().all(|thread| after.contains_key(thread)) {
                let busy = after.iter().map(|(thread, &busy)| {
                    busy.saturating_sub(before.get(thread).copied().unwrap_or_default())
                });
                return Ok(100.0 * busy.sum::<Duration>().as_secs_f64() / elapsed);
            }
        }
        bail!("a thread ended in each of {TRIES} looks of {time:?}")
    }

    /// Time that each of its threads has run, from the first field of /proc/PID/task/TID/schedstat, which
    /// counts nanoseconds where /proc/PID/stat counts ticks of 10 ms.
    fn busy(&self) -> Result<BTreeMap<OsString, Duration>> {
        let tasks = Path::new("/proc").join(self.0.to_string()).join("task");
        let mut busy = BTreeMap::new();
        for task in fs::read_dir(&tasks).context("has it ended?")? {
            let task = task?;
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let nanoseconds = text.split_whitespace().next().map(str::parse);
            let nanoseconds = nanoseconds.context("a thread's schedstat is empty")??;
            busy.insert(task.file_name(), Duration::from_nanos(nanoseconds));
        }
        Ok(busy)
    }

    /// Processor time of all its threads, also of those that have ended, in ticks of 10 ms (the 14th and
    /// 15th fields of /proc/PID/stat).
    pub(crate) fn used(&self) -> Result<Duration> {
        let text = self.proc("stat")?;
        // The name before may hold anything, in parentheses.
        let (_, rest) = text.rsplit_once(')').context("/proc/PID/stat has a name")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
        let used = ticks().zip(ticks()).context("/proc/PID/stat has times")?;
        Ok(Duration::from_millis(10 * (used.0 + used.1)))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = Path::new("/proc").join(self.0.to_string()).join(file);
        fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; has it ended?", path.display()))
    }
}
