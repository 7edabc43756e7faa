//! Events for an engineer at a terminal: a block for each model, a line for each request, and
//! whatever went wrong in red. Steps are counted and not shown.

pub(crate) mod call;
mod file;
mod model;
mod notes;
mod operations;
mod request;
mod shown;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tracer_event::{
    Body, Event, Nanos, Pid, WallNanos,
    agent::{Attached, RuntimeFound, SessionStarted},
    inference::{Direction, Outcome, Step, Text},
    process::{ProcessExited, ProcessSeen},
};

pub(crate) use self::shown::Shown;
use self::{notes::Note, operations::Operations};
use crate::text::{Palette, Tone, count, counted, short_duration};

/// Equal failures of one process are shown once in this time, and counted in between.
const QUIET: Nanos = Nanos(1_000_000_000);
/// Lines after which the request table's heading is shown again.
const HEADING_EVERY: u32 = 40;

/// Turns events into lines.
#[derive(Debug)]
pub(crate) struct Pretty {
    palette: Palette,
    /// Names of processes, by pid.
    names: HashMap<Pid, String>,
    /// Lines about processes that were just found. Those that end at once, as `ldd` does, are not
    /// worth one.
    found: Vec<(Pid, String)>,
    /// Processes whose line was shown.
    shown: HashSet<Pid>,
    /// Probes and libraries attached since the last pause.
    attached: Attaching,
    /// Lines that may follow before the request table needs its heading again.
    heading_holds: u32,
    /// When a failing step of a process was last shown, and how many were not since.
    failures: HashMap<(Pid, i64), (Nanos, u64)>,
    /// What hot operations took.
    operations: Operations,
}

#[derive(Debug, Default)]
struct Attaching {
    probes: usize,
    libraries: usize,
    took: u64,
}

impl Pretty {
    pub(crate) fn new(palette: Palette) -> Self {
        Self {
            palette,
            names: HashMap::new(),
            found: Vec::new(),
            shown: HashSet::new(),
            attached: Attaching::default(),
            heading_holds: 0,
            failures: HashMap::new(),
            operations: Operations::default(),
        }
    }

    /// The lines for an event; often none.
    pub(crate) fn event<C: Shown>(&mut self, event: &Event<C>) -> String {
        let lines = self.lines(event);
        // What a process did stands below the line that introduces it.
        if lines.is_empty() {
            lines
        } else {
            self.pause() + &lines
        }
    }

    fn lines<C: Shown>(&mut self, event: &Event<C>) -> String {
        let pid = event.place.pid;
        match &event.body {
            Body::SessionStarted(started) => self.started(started),
            Body::ProcessSeen(seen) => {
                self.remember(pid, seen);
                String::new()
            }
            Body::RuntimeFound(found) => self.found(event, found),
            Body::Attached(attached) => {
                self.attached.add(attached);
                String::new()
            }
            // Single probes are counted at the end: most builds lack one or another.
            Body::NotAttachable(refusal) if refusal.probe.is_some() => String::new(),
            Body::NotAttachable(refusal) => self.note(event, notes::not_attachable(refusal)),
            Body::ModelLoaded(snapshot) | Body::ModelLoadFailed(snapshot) => {
                self.heading_holds = 0;
                let loaded = matches!(event.body, Body::ModelLoaded(_));
                model::block(snapshot, loaded, &self.whose(pid), self.palette)
            }
            Body::Request(request) if request.warm_up => String::new(),
            Body::Request(request) => {
                let heading = self.heading(request::heading);
                heading + &request::line(request, event, self.palette)
            }
            Body::Step(step) => self.step(event, step),
            Body::RuntimeError(error) => self.note(event, notes::runtime_error(error)),
            Body::FileVerdict(verdict) => self.note(event, notes::verdict(verdict)),
            Body::FileAccess(access) => {
                let heading = self.heading(file::heading);
                heading + &file::line(access, event, self.palette)
            }
            Body::FilesWatched(watched) => file::watched(watched, self.palette),
            Body::Tokens(tokens) => match notes::tokens(tokens) {
                Some(note) => self.note(event, note),
                None => String::new(),
            },
            Body::Called(called) => self.note(event, notes::called(event, called)),
            Body::Text(text) => self.text(event, text),
            Body::ProcessExited(exited) => self.exited(event, *exited),
            Body::Loss(loss) if loss.intended => String::new(),
            Body::Loss(loss) => self.note(event, notes::loss(loss)),
            Body::Shed(shed) => self.note(event, notes::shed(shed)),
            Body::Restored(restored) => self.note(event, notes::restored(restored)),
            Body::Silent(silent) => self.note(event, notes::silent(silent)),
            Body::ModelFreed(freed) => {
                let what = format!("model {} released", freed.model);
                self.note(event, (Tone::Faint, what))
            }
            Body::OperationHistogram(window) => {
                match self.operations.add(event, window, self.palette) {
                    Some(table) => {
                        self.heading_holds = 0;
                        table
                    }
                    None => String::new(),
                }
            }
            Body::ContextCreated(_)
            | Body::ContextFreed(_)
            | Body::RuntimeGone(_)
            | Body::Summary(_) => String::new(),
        }
    }

    /// The heading of a table, now and then.
    fn heading(&mut self, heading: fn(Palette) -> String) -> String {
        let heading = match self.heading_holds {
            0 => heading(self.palette),
            _ => String::new(),
        };
        if self.heading_holds == 0 {
            self.heading_holds = HEADING_EVERY;
        }
        self.heading_holds -= 1;
        heading
    }

    /// Lines that wait for a pause, so that many small events become one line.
    pub(crate) fn pause(&mut self) -> String {
        let mut lines = String::new();
        for (pid, line) in self.found.drain(..) {
            self.shown.insert(pid);
            lines.push_str(&line);
        }
        let Attaching {
            probes,
            libraries,
            took,
        } = std::mem::take(&mut self.attached);
        if probes > 0 {
            let libraries = match libraries {
                1 => "1 library".to_owned(),
                _ => format!("{libraries} libraries"),
            };
            let text = format!(
                "{} attached to {libraries} in {}",
                counted(probes as u64, "probe"),
                short_duration(Duration::from_nanos(took)),
            );
            lines.push_str(&self.palette.paint(Tone::Faint, &text));
            lines.push('\n');
        }
        lines
    }

    /// The lines that end the run.
    pub(crate) fn end(&mut self, text: &str, is_incomplete: bool) -> String {
        let tone = if is_incomplete {
            Tone::Bad
        } else {
            Tone::Strong
        };
        let mut lines = self.pause();
        lines.push_str(&self.operations.end(self.palette));
        lines.push('\n');
        for line in text.lines() {
            lines.push_str(&self.palette.paint(tone, line));
            lines.push('\n');
        }
        lines
    }

    fn started(&mut self, started: &SessionStarted) -> String {
        if started.profiles.is_empty() {
            let text = format!(
                "watching files on kernel {}; times are UTC; Ctrl-C ends\n",
                started.kernel
            );
            return self.palette.paint(Tone::Faint, &text);
        }
        let profiles: Vec<&str> = started.profiles.iter().map(|name| name.as_str()).collect();
        let text = format!(
            "tracing on kernel {}, profiles: {}; times are UTC; Ctrl-C ends\n",
            started.kernel,
            profiles.join(", "),
        );
        self.palette.paint(Tone::Faint, &text)
    }

    fn remember<C: Shown>(&mut self, pid: Option<Pid>, seen: &ProcessSeen<C>) {
        if let (Some(pid), Some(name)) = (pid, seen.name.value()) {
            self.names.insert(pid, name.shown());
        }
    }

    /// A process as people tell it apart.
    fn whose(&self, pid: Option<Pid>) -> String {
        match pid {
            None => "this host".to_owned(),
            Some(pid) => match self.names.get(&pid) {
                Some(name) => format!("{name} ({pid})"),
                None => format!("process {pid}"),
            },
        }
    }

    /// A line of its own: time, whose, what.
    fn note<C>(&mut self, event: &Event<C>, (tone, what): Note) -> String {
        self.heading_holds = self.heading_holds.saturating_sub(1);
        let time = self
            .palette
            .paint(Tone::Faint, &time_of_day(event.time.wall));
        let what = format!("{}: {what}", self.whose(event.place.pid));
        format!("{time}  {}\n", self.palette.paint(tone, &what))
    }

    /// One line a process, whatever the number of its libraries.
    fn found<C: Shown>(&mut self, event: &Event<C>, found: &RuntimeFound<C>) -> String {
        let Some(pid) = event.place.pid else {
            return String::new();
        };
        if self.shown.contains(&pid) || self.found.iter().any(|(known, _)| *known == pid) {
            return String::new();
        }
        let version = found.library.version.value();
        let version = version.map(|version| format!(" {}", version.shown()));
        let what = format!("runs {}{}", found.runtime, version.unwrap_or_default());
        let line = self.note(event, (Tone::Plain, what));
        self.found.push((pid, line));
        String::new()
    }

    fn step<C>(&mut self, event: &Event<C>, step: &Step) -> String {
        let (code, what) = match step.outcome {
            Outcome::Ended | Outcome::NotSeen | Outcome::Returned(0) => return String::new(),
            Outcome::Returned(code) => (code, format!("a step failed with result {code}")),
            Outcome::Unwound => (i64::MIN, "a step was left by an exception".to_owned()),
        };
        let now = Nanos(event.time.boot.0);
        let key = (event.place.pid.unwrap_or_default(), code);
        let more = match self.failures.get_mut(&key) {
            Some((shown, unshown)) if now.0.saturating_sub(shown.0) < QUIET.0 => {
                *unshown += 1;
                return String::new();
            }
            Some((_, 0)) | None => String::new(),
            Some((_, unshown)) => format!(", and {} times before", count(*unshown)),
        };
        self.failures.insert(key, (now, 0));
        // llama.cpp's positive results are warnings: no room in the cache, aborted by the caller.
        let tone = if code > 0 { Tone::Warning } else { Tone::Bad };
        self.note(event, (tone, what + &more))
    }

    /// The text of a request, each line under its heading.
    fn text<C: Shown>(&mut self, event: &Event<C>, text: &Text<C>) -> String {
        let way = match text.direction {
            Direction::Input => "in",
            Direction::Output => "out",
        };
        let request = text.request.value();
        let mut what = match request {
            Some(request) => format!("request {request} {way}"),
            None => way.to_owned(),
        };
        if text.part > 0 {
            what.push_str(&format!(", part {}", text.part + 1));
        }
        if text.incomplete {
            what.push_str(", incomplete");
        }
        let mut lines = self.note(event, (Tone::Plain, what));
        for line in text.text.lines() {
            lines.push_str(&format!("    {line}\n"));
        }
        lines
    }

    fn exited<C>(&mut self, event: &Event<C>, exited: ProcessExited) -> String {
        let (tone, how) = match (exited.code, exited.signal) {
            (Some(0), _) => (Tone::Faint, "ended".to_owned()),
            (Some(code), _) => (Tone::Warning, format!("ended with status {code}")),
            (None, Some(signal)) => {
                let core = if exited.core_dumped {
                    " and dumped core"
                } else {
                    ""
                };
                (Tone::Bad, format!("was killed by signal {signal}{core}"))
            }
            (None, None) => (Tone::Faint, "ended".to_owned()),
        };
        let line = self.note(event, (tone, how));
        let Some(pid) = event.place.pid else {
            return line;
        };
        self.names.remove(&pid);
        self.failures.retain(|(process, _), _| *process != pid);
        self.found.retain(|(process, _)| *process != pid);
        if self.shown.remove(&pid) {
            line
        } else {
            String::new()
        }
    }
}

impl Attaching {
    fn add<C>(&mut self, attached: &Attached<C>) {
        self.probes += attached.probes.len();
        self.libraries += usize::from(!attached.probes.is_empty());
        self.took += attached.duration.0;
    }
}

/// Hours to milliseconds of a time, in UTC.
pub(crate) fn time_of_day(wall: WallNanos) -> String {
    let milliseconds = wall.0 / 1_000_000;
    let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{rest:03}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use tracer_event::Recorded;

    use super::*;

    const RUN: &str = include_str!("../../tests/recorded/node-llama-cpp.ndjson");

    fn events() -> Vec<Event<Recorded>> {
        RUN.lines()
            .map(|line| serde_json::from_str(line).expect("the run was recorded"))
            .collect()
    }

    #[test]
    fn a_recorded_run_reads_as_people_were_promised() {
        let mut pretty = Pretty::new(Palette::PLAIN);
        let mut closing = super::super::closing::Closing::default();
        let mut text = String::new();
        for event in events() {
            closing.count(&event);
            text.push_str(&pretty.event(&event));
        }
        text.push_str(&pretty.end(&closing.text(), closing.is_incomplete()));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_process_that_ends_at_once_is_not_worth_a_line() {
        let mut events = events();
        let found = events
            .iter()
            .position(|event| matches!(event.body, Body::RuntimeFound(_)));
        let found = events.swap_remove(found.expect("the run found a runtime"));
        let exited = events
            .iter()
            .find(|event| matches!(event.body, Body::ProcessExited(_)));
        let mut exited = exited.expect("a process of the run ended").clone();
        exited.place.pid = found.place.pid;
        let mut pretty = Pretty::new(Palette::PLAIN);
        assert_eq!(
            pretty.event(&found) + &pretty.event(&exited) + &pretty.pause(),
            ""
        );
    }

    #[test]
    fn a_failure_that_repeats_is_counted_instead_of_shown() {
        let mut events = events();
        let failed = events.iter().position(|event| {
            matches!(&event.body, Body::Step(step) if step.outcome == Outcome::Returned(-1))
        });
        let mut step = events.swap_remove(failed.expect("a step of the run failed"));
        let mut pretty = Pretty::new(Palette::PLAIN);
        assert!(
            pretty
                .event(&step)
                .ends_with("a step failed with result -1\n")
        );
        for _ in 0..3 {
            assert_eq!(pretty.event(&step), "");
        }
        step.time.boot.0 += QUIET.0;
        assert!(
            pretty
                .event(&step)
                .ends_with("result -1, and 3 times before\n")
        );
    }
}
