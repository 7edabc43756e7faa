//! Who did something, as far as it can still be found out.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tracer_abi::{USER_HZ, file::FileActor};

use super::observation::Actor;
use crate::{
    process::{FileId, Process, ProcessId},
    table::Table,
};

/// How long what `/proc` said of a process is believed: it may run another program the next moment.
const BELIEVED: Duration = Duration::from_millis(20);
/// How long is waited, once, for what is kept of a process that is ending: before its memory is taken
/// apart it lets go of its executable, and only then is it noted in `EXITED` (`exit_mm` in
/// kernel/exit.c).
const ENDING: Duration = Duration::from_millis(250);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(1);
/// Paths of executables that are remembered.
const MOST_PATHS: usize = 4096;
/// Where cgroups are.
const CGROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// How deep and how many cgroups are looked at to find one by its number.
const MOST_CGROUPS: usize = 20_000;

/// Remembers what takes long to find out.
#[derive(Default)]
pub(super) struct Who {
    recent: HashMap<u32, (Instant, Option<Actor>)>,
    paths: HashMap<FileId, PathBuf>,
    cgroups: HashMap<u64, Option<String>>,
    looked: Option<Instant>,
    /// Who was last waited for in vain.
    waited_for: Option<ProcessId>,
}

impl Who {
    /// The actor that a program saw; `/proc` only adds names to it.
    pub(super) fn seen(&mut self, pid: u32, seen: &FileActor) -> Actor {
        let start_ticks = seen.started / (1_000_000_000 / USER_HZ);
        let exe_file = FileId {
            device: seen.exe_device,
            inode: seen.exe_inode,
        };
        let exe_file = (exe_file.inode != 0).then_some(exe_file);
        let alive = ProcessId::of(pid).is_ok_and(|now| now.start_ticks == start_ticks);
        if alive
            && let Some(file) = exe_file
            && !self.paths.contains_key(&file)
            && let Ok(path) = fs::read_link(format!("/proc/{pid}/exe"))
        {
            self.remember(file, path);
        }
        Actor {
            pid,
            tid: Some(seen.tid),
            start_ticks: Some(start_ticks),
            exe: exe_file.and_then(|file| self.paths.get(&file).cloned()),
            exe_file,
            uid: Some(seen.uid),
            cgroup: Some(seen.cgroup),
            cgroup_path: self.cgroup(seen.cgroup),
            parent: Some(seen.parent),
        }
    }

    /// The actor of which only the pid is known, and which may have ended since.
    pub(super) fn named(&mut self, pid: u32, exited: &Table<u32, FileActor>) -> Option<Actor> {
        if pid == 0 {
            return None;
        }
        if let Some((when, actor)) = self.recent.get(&pid)
            && when.elapsed() < BELIEVED
        {
            return actor.clone();
        }
        // Before anything that holds on to its memory.
        let exe = fs::metadata(format!("/proc/{pid}/exe")).ok();
        let mut actor = match Process::read(pid).ok() {
            Some(process) => {
                let id = process.id;
                let alive = self.alive(pid, process);
                // One that is ending has let go of its executable already, or is gone before all of
                // this was read; kernel threads have no executable.
                if alive.exe_file.is_some() && alive.parent.is_some() {
                    Some(alive)
                } else {
                    self.ending(id, exited).or(Some(alive))
                }
            }
            None => self.ended(pid, exited),
        };
        if let Some(actor) = &mut actor
            && actor.exe_file.is_none()
        {
            let exe = exe.map(|metadata| FileId::of(&metadata));
            self.complete(actor, exe);
        }
        if self.recent.len() > MOST_PATHS {
            self.recent.clear();
        }
        self.recent.insert(pid, (Instant::now(), actor.clone()));
        actor
    }

    /// What was kept of a process that is ending or has just ended, once it is kept.
    fn ending(&mut self, id: ProcessId, exited: &Table<u32, FileActor>) -> Option<Actor> {
        let begin = Instant::now();
        loop {
            // Asked first: who has ended after that is found.
            let is_ending = id.is_ending();
            let ended = self
                .ended(id.pid, exited)
                .filter(|ended| ended.start_ticks == Some(id.start_ticks));
            if ended.is_some() || !is_ending || self.waited_for == Some(id) {
                return ended;
            }
            if begin.elapsed() >= ENDING {
                self.waited_for = Some(id);
                return None;
            }
            thread::sleep(LOOK);
        }
    }

    /// Reading what `/proc` says of a process holds on to its memory for a moment (`get_task_mm` in
    /// fs/proc/array.c). If it ends just then, this thread takes that memory apart, and the end is noted
    /// without an executable: it is the one that was seen before.
    fn complete(&self, actor: &mut Actor, exe: Option<FileId>) {
        let before = self.recent.get(&actor.pid);
        let before = before.and_then(|(_, before)| before.as_ref());
        let before = before.filter(|before| before.start_ticks == actor.start_ticks);
        actor.exe_file = exe.or_else(|| before?.exe_file);
        actor.exe = actor
            .exe_file
            .and_then(|file| self.paths.get(&file).cloned());
    }

    fn ended(&mut self, pid: u32, exited: &Table<u32, FileActor>) -> Option<Actor> {
        let seen = exited.get(pid).ok().flatten()?;
        Some(Actor {
            tid: None,
            ..self.seen(pid, &seen)
        })
    }

    fn alive(&mut self, pid: u32, process: Process) -> Actor {
        if let (Some(file), Some(path)) = (process.exe_file, &process.exe) {
            self.remember(file, path.clone());
        }
        Actor {
            pid,
            tid: None,
            start_ticks: Some(process.id.start_ticks),
            exe: process.exe,
            exe_file: process.exe_file,
            uid: Some(process.uid),
            cgroup: process.cgroup_id,
            cgroup_path: process.cgroup,
            parent: parent(pid),
        }
    }

    fn remember(&mut self, file: FileId, path: PathBuf) {
        if self.paths.len() >= MOST_PATHS {
            self.paths.clear();
        }
        self.paths.insert(file, path);
    }

    /// The path of a cgroup, whose number is that of its folder.
    fn cgroup(&mut self, id: u64) -> Option<String> {
        if let Some(path) = self.cgroups.get(&id) {
            return path.clone();
        }
        // One walk a second: who makes cgroups all the time does not keep this busy.
        if self
            .looked
            .is_some_and(|when| when.elapsed() < Duration::from_secs(1))
        {
            return None;
        }
        self.looked = Some(Instant::now());
        self.cgroups.clear();
        let root = CGROUPS
            .iter()
            .find(|root| Path::new(root).join("cgroup.controllers").exists())?;
        let mut to_do = vec![PathBuf::from(root)];
        while let Some(folder) = to_do.pop() {
            if self.cgroups.len() >= MOST_CGROUPS {
                break;
            }
            let Ok(metadata) = fs::symlink_metadata(&folder) else {
                continue;
            };
            let path = folder.strip_prefix(root).unwrap_or(&folder);
            let path = format!("/{}", path.display());
            self.cgroups.insert(metadata.ino(), Some(path));
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            to_do.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        self.cgroups.entry(id).or_default().clone()
    }
}

/// The parent of a process, field 4 of `/proc/PID/stat`.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_this_process_is_known() {
        let parent = parent(std::process::id()).expect("this process lives");
        assert!(ProcessId::of(parent).is_ok());
    }

    #[test]
    fn a_cgroup_is_found_by_its_number() {
        let this = Process::read(std::process::id()).expect("this process lives");
        let (Some(id), Some(path)) = (this.cgroup_id, this.cgroup) else {
            eprintln!("skipped a_cgroup_is_found_by_its_number: no cgroup v2 here");
            return;
        };
        assert_eq!(Who::default().cgroup(id), Some(path));
    }
}
