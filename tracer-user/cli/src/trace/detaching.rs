//! The end of a run: why it takes longer than a moment, and because of whom.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    time::Duration,
};

use anyhow::Result;
use tracer_probe::{Inside, Observation, Supervisor, time::BootNanos};

use crate::{
    output::progress::Progress,
    text::{printable, short_duration},
};

/// A thread that has been inside a probe for so long is held up; others come and go.
const HELD_UP: Duration = Duration::from_millis(500);

/// Detaches every probe. Where that takes more than a second, it says once of each process that it
/// waits for it.
///
/// # Errors
/// If a ring cannot be read.
pub(super) fn detach(supervisor: Supervisor) -> Result<Vec<Observation>> {
    let _progress = Progress::of("detaching");
    let mut told = BTreeSet::new();
    let last = supervisor.stop_telling(|inside| {
        let now = BootNanos::now();
        for held in inside {
            if now.since(held.since) >= HELD_UP && told.insert(held.pid) {
                let name = fs::read_to_string(format!("/proc/{}/comm", held.pid));
                let _ = io::stderr().write_all(text(held, name.ok(), now).as_bytes());
            }
        }
    })?;
    Ok(last)
}

fn text(held: &Inside, name: Option<String>, now: BootNanos) -> String {
    let Inside { pid, tid, since } = *held;
    let whose = match name.as_deref().map(str::trim_end) {
        Some(name) => format!("{} ({pid})", printable(name)),
        None => format!("process {pid}"),
    };
    let time = short_duration(now.since(since));
    format!(
        "tracer: cannot end yet: thread {tid} of {whose} has been inside a probe for {time}, reading \
         memory that does not arrive\n  this ends when the memory arrives or that process ends; \
         nobody else is held up\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_up_the_end_is_named_and_cannot_steer_the_terminal() {
        let held = Inside {
            pid: 7,
            tid: 8,
            since: BootNanos(0),
        };
        let said = text(
            &held,
            Some("evil\x1b[2J\n".into()),
            BootNanos(2_500_000_000),
        );
        assert!(said.contains("thread 8 of evil\\u{1b}[2J (7)"), "{said}");
        assert!(said.contains("for 2.50 s"), "{said}");
        assert!(text(&held, None, BootNanos(0)).contains("of process 7"));
    }
}
