//! Where events happen: what `/proc` tells about a process, read once.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::Read,
};

use tracer_event::{
    Cgroup, ContainerId, Content, Cpu, Device, Inode, Known, Name, Pid, Place, Raw, StartTicks,
    Tid,
    process::{ProcessOrigin, ProcessSeen},
};
use tracer_probe::process::{FileId, Process};

/// Processes that are remembered; beyond it the one that was read first is forgotten, and read
/// again if it comes back.
const CAPACITY: usize = 8192;

/// Most bytes of arguments that are read.
const ARGUMENTS: u64 = 64 << 10;

/// What is known of processes, for the place of every event.
///
/// Only files of `/proc` are read that do not wait for the process's memory map, so that a process
/// that is stuck in a page fault cannot hold the pipeline up. The arguments are the exception, and
/// not read under a policy that drops them.
#[derive(Debug)]
pub struct Processes {
    node: Name,
    with_arguments: bool,
    known: HashMap<Pid, Known<Facts>>,
    order: VecDeque<Pid>,
}

#[derive(Clone, Debug)]
struct Facts {
    start: StartTicks,
    cgroup: Option<Cgroup>,
    container: Option<ContainerId>,
    /// Whether it has been announced as traced.
    announced: bool,
}

impl Processes {
    /// Knows no process yet.
    #[must_use]
    pub fn new(node: Name) -> Self {
        Self {
            node,
            with_arguments: false,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Also reads arguments when a process is announced.
    pub(crate) const fn with_arguments(mut self, wanted: bool) -> Self {
        self.with_arguments = wanted;
        self
    }

    /// The place of something that a process did.
    pub fn place(&mut self, pid: Option<Pid>, tid: Option<Tid>, cpu: Option<Cpu>) -> Place {
        let facts = pid.and_then(|pid| self.facts(pid).value().cloned());
        Place {
            node: self.node.clone(),
            cpu,
            pid,
            tid,
            start: facts.as_ref().map(|facts| facts.start),
            cgroup: facts.as_ref().and_then(|facts| facts.cgroup),
            container: facts.and_then(|facts| facts.container),
        }
    }

    /// Announces a process the first time that it is met.
    pub(crate) fn announce(
        &mut self,
        process: &Process,
        origin: ProcessOrigin,
    ) -> Option<ProcessSeen<Raw<Content>>> {
        let pid = Pid(process.id.pid);
        let start = StartTicks(process.id.start_ticks);
        let is_known = match self.known.get(&pid) {
            Some(Known::Known(facts)) => facts.start == start && facts.announced,
            Some(Known::Unknown) | None => false,
        };
        if is_known {
            return None;
        }
        let facts = Facts {
            announced: true,
            ..Facts::of(process)
        };
        self.remember(pid, Known::Known(facts));
        let mut seen = seen(process, origin);
        if self.with_arguments {
            seen.arguments = arguments(pid).into();
        }
        Some(seen)
    }

    /// Announces a process that has just come to run this program, if it still does.
    pub(crate) fn announce_pid(
        &mut self,
        pid: Pid,
        origin: ProcessOrigin,
        parent: Pid,
    ) -> Option<ProcessSeen<Raw<Content>>> {
        let process = Process::read(pid.0).ok()?;
        let mut seen = self.announce(&process, origin)?;
        seen.parent = Known::Known(parent);
        Some(seen)
    }

    /// Whether a process has been announced and neither ended nor replaced its program since.
    pub(crate) fn is_announced(&self, pid: Pid) -> bool {
        matches!(self.known.get(&pid), Some(Known::Known(facts)) if facts.announced)
    }

    /// Forgets what was read of a process, because it ended or replaced its program; whether it
    /// had been announced.
    pub(crate) fn forget(&mut self, pid: Pid) -> bool {
        let announced = self.is_announced(pid);
        self.known.remove(&pid);
        announced
    }

    fn facts(&mut self, pid: Pid) -> &Known<Facts> {
        if !self.known.contains_key(&pid) {
            let facts = Process::read(pid.0).ok();
            self.remember(pid, facts.as_ref().map(Facts::of).into());
        }
        &self.known[&pid]
    }

    fn remember(&mut self, pid: Pid, facts: Known<Facts>) {
        if self.known.insert(pid, facts).is_none() {
            self.order.push_back(pid);
        }
        while self.order.len() > CAPACITY {
            if let Some(oldest) = self.order.pop_front().filter(|oldest| *oldest != pid) {
                self.known.remove(&oldest);
            }
        }
    }
}

impl Facts {
    fn of(process: &Process) -> Self {
        Self {
            start: StartTicks(process.id.start_ticks),
            cgroup: process.cgroup_id.map(Cgroup),
            container: process
                .cgroup
                .as_deref()
                .and_then(ContainerId::in_cgroup_path),
            announced: false,
        }
    }
}

/// A file by the event model's name for it.
pub(crate) const fn inode(file: FileId) -> Inode {
    Inode {
        device: Device {
            major: file.device >> 20,
            minor: file.device & 0xf_ffff,
        },
        inode: file.inode,
    }
}

fn seen(process: &Process, origin: ProcessOrigin) -> ProcessSeen<Raw<Content>> {
    let text = |text: &str| Raw::new(Content::text(text));
    ProcessSeen {
        origin,
        name: Known::Known(text(&process.name)),
        executable: process
            .exe
            .as_ref()
            .map(|path| Raw::new(Content::text(path.as_os_str().as_encoded_bytes())))
            .into(),
        executable_inode: process.exe_file.map(inode).into(),
        arguments: Known::Unknown,
        cgroup_path: process.cgroup.as_deref().map(text).into(),
        parent: Known::Unknown,
    }
}

/// The arguments, each ended by a NUL byte in `/proc/PID/cmdline`.
fn arguments(pid: Pid) -> Option<Raw<Content>> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(ARGUMENTS).read_to_end(&mut bytes).ok()?;
    let all = bytes
        .strip_suffix(b"\0")
        .unwrap_or(&bytes)
        .split(|byte| *byte == 0);
    Some(Raw::new(Content::Texts(all.map(<[u8]>::to_vec).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_this_process_carries_its_start_and_cgroup() {
        let mut processes = Processes::new(Name::new("here"));
        let pid = Pid(std::process::id());
        let place = processes.place(Some(pid), None, Some(Cpu(1)));
        let now = Process::read(pid.0).unwrap();
        assert_eq!(place.start, Some(StartTicks(now.id.start_ticks)));
        assert_eq!(place.cgroup, now.cgroup_id.map(Cgroup));
        assert_eq!(place.cpu, Some(Cpu(1)));
    }

    #[test]
    fn a_process_that_is_gone_is_a_pid_and_nothing_more() {
        let mut processes = Processes::new(Name::new("here"));
        let place = processes.place(Some(Pid(u32::MAX)), None, None);
        assert_eq!((place.pid, place.start), (Some(Pid(u32::MAX)), None));
    }

    #[test]
    fn a_process_is_announced_once_until_it_is_forgotten() {
        let mut processes = Processes::new(Name::new("here"));
        let this = Process::read(std::process::id()).unwrap();
        assert!(processes.announce(&this, ProcessOrigin::Running).is_some());
        assert!(processes.announce(&this, ProcessOrigin::Running).is_none());
        assert!(processes.forget(Pid(this.id.pid)));
        assert!(processes.announce(&this, ProcessOrigin::Exec).is_some());
    }

    #[test]
    fn arguments_are_read_only_when_they_are_wanted() {
        let this = Process::read(std::process::id()).unwrap();
        for wanted in [false, true] {
            let mut processes = Processes::new(Name::new("here")).with_arguments(wanted);
            let seen = processes.announce(&this, ProcessOrigin::Running).unwrap();
            let read = seen.arguments.value().map(|raw| match raw.expose() {
                Content::Texts(texts) => texts.len(),
                Content::Text(_)
                | Content::Beginning(_)
                | Content::Tokens(_)
                | Content::LogProbabilities(_)
                | Content::Number(_) => 0,
            });
            assert_eq!(read, wanted.then(|| std::env::args_os().len()));
        }
    }

    #[test]
    fn no_number_of_processes_fills_the_memory() {
        let mut processes = Processes::new(Name::new("here"));
        for pid in 0..2 * CAPACITY {
            let pid = Pid(u32::MAX - u32::try_from(pid).unwrap());
            processes.remember(pid, Known::Unknown);
            if pid.0.is_multiple_of(3) {
                processes.forget(pid);
            }
        }
        assert!(processes.known.len() <= CAPACITY && processes.order.len() <= CAPACITY);
    }
}
