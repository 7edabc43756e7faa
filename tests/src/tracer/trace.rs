//! What a run of the tracer left, and what can be asked of it.

use std::{collections::BTreeMap, process::ExitStatus};

use anyhow::{Result, bail};
use tracer_event::{
    Body, LossReason, OperationHistogram, Pid, Recorded,
    agent::Summary,
    inference::{Direction, Request, Step, Text, Tokens},
};

use super::Line;

/// What a run of the tracer left.
#[derive(Debug)]
pub struct Trace {
    /// Every line, in order.
    pub events: Vec<Line>,
    /// What it said to the person who started it.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Trace {
    /// What was traced of one process, in the order in which it happened.
    pub fn of(&self, pid: u32) -> impl Iterator<Item = &Line> {
        let mut lines: Vec<_> = self
            .events
            .iter()
            .filter(|line| line.place.pid == Some(Pid(pid)))
            .collect();
        lines.sort_by_key(|line| line.time.boot);
        lines.into_iter()
    }

    /// The process's decode calls, those that only warm caches left out.
    #[must_use]
    pub fn steps(&self, pid: u32) -> Vec<&Step> {
        self.of(pid)
            .filter_map(|line| {
                if let Body::Step(step) = &line.body {
                    Some(&**step)
                } else {
                    None
                }
            })
            .filter(|step| !step.warm_up)
            .collect()
    }

    /// The process's requests, those that only warm caches left out.
    #[must_use]
    pub fn requests(&self, pid: u32) -> Vec<&Request> {
        self.of(pid)
            .filter_map(|line| {
                if let Body::Request(request) = &line.body {
                    Some(&**request)
                } else {
                    None
                }
            })
            .filter(|request| !request.warm_up)
            .collect()
    }

    /// The process's tokens.
    #[must_use]
    pub fn tokens(&self, pid: u32) -> Vec<&Tokens<Recorded>> {
        self.of(pid)
            .filter_map(|line| {
                if let Body::Tokens(tokens) = &line.body {
                    Some(&**tokens)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The windows of each hot operation, added up.
    ///
    /// # Errors
    /// When a window does not agree with itself, or overlaps the one before.
    pub fn operations(&self) -> Result<BTreeMap<String, OperationHistogram>> {
        let mut all: BTreeMap<String, OperationHistogram> = BTreeMap::new();
        for line in &self.events {
            let Body::OperationHistogram(window) = &line.body else {
                continue;
            };
            let is_sound = line.probe.as_ref() == Some(&window.operation)
                // The kernel's table is of all processes.
                && line.place.pid.is_none()
                && line.time.boot == window.to
                && window.from < window.to
                && window.count > 0
                && window.count == window.buckets.iter().sum::<u64>();
            if !is_sound {
                bail!("not a sound window: {line:?}");
            }
            match all.get_mut(window.operation.as_str()) {
                Some(known) if known.to > window.from => {
                    bail!("{window:?} overlaps what ended at {:?}", known.to)
                }
                Some(known) => known.add(window),
                None => drop(all.insert(window.operation.as_str().to_owned(), window.clone())),
            }
        }
        Ok(all)
    }

    /// The process's texts.
    #[must_use]
    pub fn texts(&self, pid: u32) -> Vec<&Text<Recorded>> {
        self.of(pid)
            .filter_map(|line| {
                if let Body::Text(text) = &line.body {
                    Some(&**text)
                } else {
                    None
                }
            })
            .collect()
    }

    /// All text that went one way, in order.
    ///
    /// # Errors
    /// When some of it is withheld.
    pub fn text(&self, pid: u32, direction: Direction) -> Result<String> {
        let texts = self.texts(pid).into_iter();
        texts
            .filter(|text| text.direction == direction)
            .map(|text| match &text.text {
                Recorded::Text(text) => Ok(text.as_str()),
                other => bail!("text is withheld: {other:?}"),
            })
            .collect()
    }

    /// The last line: what the run amounted to.
    ///
    /// # Errors
    /// When the run ended without one.
    pub fn summary(&self) -> Result<&Summary> {
        match self.events.last().map(|line| &line.body) {
            Some(Body::Summary(summary)) => Ok(summary),
            other => bail!(
                "the run ended with {other:?} instead of a summary:\n{}",
                self.stderr
            ),
        }
    }

    /// Fails when anything was lost that the run's own rules did not ask for.
    ///
    /// # Errors
    /// Names what was lost.
    pub fn assert_nothing_lost(&self) -> Result<()> {
        let losses = &self.summary()?.losses;
        let unintended: Vec<_> = losses
            .iter()
            .filter(|(reason, count)| !LossReason::is_intended(**reason) && **count > 0)
            .collect();
        if !unintended.is_empty() {
            bail!("lost: {unintended:?}");
        }
        Ok(())
    }
}
