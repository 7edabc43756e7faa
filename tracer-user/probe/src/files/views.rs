//! Where processes see the files that they use: among their own mounts, below their own root.
//!
//! Worked out from what the kernel says in `/proc`; no path of a watched process is looked up. It is how
//! things were when the tracer looked, a moment after the access.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::observation::Actor;
use crate::{
    process::{Mounts, ProcessId, Standpoint},
    sys::changes::has_changed,
};

/// How long a process's root and mounts are believed to be as they were.
const BELIEVED: Duration = Duration::from_millis(100);
/// Processes, ways to see mounts, and paths in each that are remembered.
const MOST_PROCESSES: usize = 4096;
const MOST_VIEWS: usize = 256;
const MOST_PATHS: usize = 4096;
/// One part in so many of all time goes into reading mounts, after a beginning that is free: whoever may
/// mount can make that take long.
const SHARE: u32 = 20;
const FREE: Duration = Duration::from_millis(250);

/// Remembers what takes long to find out.
#[derive(Default)]
pub(super) struct Views {
    own: Option<Own>,
    processes: HashMap<u32, Looked>,
    views: HashMap<Standpoint, View>,
    budget: Budget,
}

/// What this process sees itself.
struct Own {
    standpoint: Standpoint,
    mounts: Mounts,
    /// Says whether they have changed.
    file: File,
}

struct Looked {
    start_ticks: u64,
    when: Instant,
    /// None if it had ended, or could not be looked at.
    standpoint: Option<Standpoint>,
}

struct View {
    mounts: Mounts,
    /// The path of its root out here, where the mounts are those out here.
    root: Option<PathBuf>,
    when: Instant,
    /// What was worked out, by path out here.
    paths: HashMap<PathBuf, Option<PathBuf>>,
}

impl Views {
    /// A path by which a process sees what this process sees at `path`, which has no links. None if the
    /// process has ended, sees it nowhere, or that is not known.
    pub(super) fn path(&mut self, actor: &Actor, path: &Path) -> Option<PathBuf> {
        let start_ticks = actor.start_ticks?;
        let standpoint = self.standpoint(ProcessId {
            pid: actor.pid,
            start_ticks,
        })?;
        let own = self.own.as_ref()?;
        if standpoint == own.standpoint {
            return Some(path.to_owned());
        }
        let view = self.views.get_mut(&standpoint)?;
        if let Some(known) = view.paths.get(path) {
            return known.clone();
        }
        let seen = view.work_out(own, standpoint, path);
        if view.paths.len() >= MOST_PATHS {
            view.paths.clear();
        }
        view.paths.insert(path.to_owned(), seen.clone());
        seen
    }

    fn standpoint(&mut self, process: ProcessId) -> Option<Standpoint> {
        let known = self.processes.get(&process.pid);
        let known = known.filter(|known| known.start_ticks == process.start_ticks);
        if let Some(known) = known
            && known.when.elapsed() < BELIEVED
        {
            return known.standpoint;
        }
        let is_new = known.is_none();
        let standpoint = self.look_at(process, is_new);
        if self.processes.len() >= MOST_PROCESSES {
            self.processes.clear();
        }
        let looked = Looked {
            start_ticks: process.start_ticks,
            when: Instant::now(),
            standpoint,
        };
        self.processes.insert(process.pid, looked);
        standpoint
    }

    /// Where a process stands, once what it sees from there is known.
    fn look_at(&mut self, process: ProcessId, is_new: bool) -> Option<Standpoint> {
        let standpoint = Standpoint::of(process.pid).ok()?;
        let is_own = |own: &Own| own.standpoint == standpoint;
        // Numbers of namespaces and mounts are given again: what a process sees that was not known is
        // always read.
        let is_known = |view: &View| !is_new && view.when.elapsed() < BELIEVED;
        let is_read = self.own.as_ref().is_some_and(is_own)
            || self.views.get(&standpoint).is_some_and(is_known);
        if !is_read {
            if !self.budget.allows() {
                return None;
            }
            let begin = Instant::now();
            let read = self.read(process.pid, standpoint);
            self.budget.spend(begin.elapsed());
            read?;
        }
        process.is_alive().then_some(standpoint)
    }

    fn read(&mut self, pid: u32, standpoint: Standpoint) -> Option<()> {
        self.read_own()?;
        let own = self.own.as_ref()?;
        if own.standpoint == standpoint {
            return Some(());
        }
        // The file is let go of: it would keep what a container had mounted after its end.
        let (mounts, _) = Mounts::read(pid, standpoint).ok()?;
        let root = if standpoint.namespace == own.standpoint.namespace {
            fs::read_link(format!("/proc/{pid}/root")).ok()
        } else {
            None
        };
        if Standpoint::of(pid).ok()? != standpoint {
            return None;
        }
        let when = Instant::now();
        match self.views.get_mut(&standpoint) {
            Some(view) if view.mounts == mounts && view.root == root => view.when = when,
            _ => {
                if self.views.len() >= MOST_VIEWS {
                    self.views.clear();
                }
                let view = View {
                    mounts,
                    root,
                    when,
                    paths: HashMap::new(),
                };
                self.views.insert(standpoint, view);
            }
        }
        Some(())
    }

    fn read_own(&mut self) -> Option<()> {
        if let Some(own) = &self.own
            && !has_changed(own.file.as_fd()).ok()?
        {
            return Some(());
        }
        self.own = None;
        for view in self.views.values_mut() {
            view.paths.clear();
        }
        let pid = std::process::id();
        let standpoint = Standpoint::of(pid).ok()?;
        let (mounts, file) = Mounts::read(pid, standpoint).ok()?;
        self.own = Some(Own {
            standpoint,
            mounts,
            file,
        });
        Some(())
    }
}

impl View {
    fn work_out(&self, own: &Own, standpoint: Standpoint, path: &Path) -> Option<PathBuf> {
        let spot = own.mounts.spot(path)?;
        if self.mounts.spot(path).as_ref() == Some(&spot) {
            return Some(path.to_owned());
        }
        let below_root = || {
            let root = self.root.as_deref()?;
            let rest = path.strip_prefix(root).ok()?;
            // Unless something was mounted over that root since.
            let is_there = own.mounts.leads_to_root_of(root, standpoint);
            is_there.then(|| Path::new("/").join(rest))
        };
        below_root().or_else(|| self.mounts.path_to(&spot))
    }
}

/// What may still be spent on reading mounts.
#[derive(Default)]
struct Budget {
    owed: Duration,
    when: Option<Instant>,
}

impl Budget {
    fn allows(&mut self) -> bool {
        let now = Instant::now();
        let since = self
            .when
            .replace(now)
            .map_or(Duration::ZERO, |when| now - when);
        self.owed = self.owed.saturating_sub(since / SHARE);
        self.owed < FREE
    }

    fn spend(&mut self, time: Duration) {
        self.owed += time;
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn actor(pid: u32) -> Actor {
        let id = ProcessId::of(pid).expect("it lives");
        Actor {
            pid,
            start_ticks: Some(id.start_ticks),
            ..Actor::default()
        }
    }

    #[test]
    fn who_is_among_the_same_mounts_sees_the_same_path() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let path = Path::new("/srv/models/a.gguf");
        let seen = Views::default().path(&actor(child.id()), path);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(seen.as_deref(), Some(path));
    }

    #[test]
    fn of_who_has_ended_or_is_another_by_now_nothing_is_known() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let process = actor(child.id());
        let other = Actor {
            start_ticks: process.start_ticks.map(|start| start + 1),
            ..process.clone()
        };
        let mut views = Views::default();
        assert_eq!(views.path(&other, Path::new("/a")), None);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(views.path(&process, Path::new("/a")), None);
    }

    #[test]
    fn what_was_spent_is_paid_off_by_time() {
        let mut budget = Budget::default();
        assert!(budget.allows());
        budget.spend(FREE + Duration::from_millis(10));
        assert!(!budget.allows());
        budget.when = Instant::now().checked_sub(Duration::from_secs(1));
        assert!(budget.allows());
    }
}
