//! What a run amounted to, counted from its events, in the line that ends it.

use std::collections::BTreeMap;

use tracer_event::{Body, BootNanos, Event, LossReason, agent::Summary};

use crate::text::{count, counted, short_duration};

/// What happened in a run.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// Processes that ran a runtime, counted at each discovery.
    pub(crate) runtimes: u64,
    models: u64,
    failed_loads: u64,
    unattached_probes: u64,
    /// What was done to watched files.
    accesses: u64,
    /// Files that are watched, in a run that watches files.
    watched: Option<u64>,
    /// Calls that histograms counted.
    operations: u64,
    began: Option<BootNanos>,
    losses: BTreeMap<LossReason, Lost>,
    summary: Option<Summary>,
}

/// Losses of one reason.
#[derive(Clone, Copy, Debug)]
struct Lost {
    count: u64,
    from: BootNanos,
    to: BootNanos,
}

impl Closing {
    /// Counts an event.
    pub(crate) fn count<C>(&mut self, event: &Event<C>) {
        let time = event.time.boot;
        self.began = Some(self.began.map_or(time, |began| began.min(time)));
        match &event.body {
            Body::RuntimeFound(_) => self.runtimes += 1,
            Body::ModelLoaded(_) => self.models += 1,
            Body::ModelLoadFailed(_) => self.failed_loads += 1,
            Body::NotAttachable(refusal) if refusal.probe.is_some() => self.unattached_probes += 1,
            Body::Loss(loss) => {
                let lost = self.losses.entry(loss.reason).or_insert(Lost {
                    count: 0,
                    from: loss.from,
                    to: loss.to,
                });
                lost.count += loss.count;
                lost.from = lost.from.min(loss.from);
                lost.to = lost.to.max(loss.to);
            }
            Body::FileAccess(access) => self.accesses += access.count,
            Body::FilesWatched(watched) => self.watched = Some(watched.files),
            Body::OperationHistogram(window) => self.operations += window.count,
            Body::Summary(summary) => self.summary = Some((**summary).clone()),
            Body::ProcessSeen(_)
            | Body::ProcessExited(_)
            | Body::ModelFreed(_)
            | Body::ContextCreated(_)
            | Body::ContextFreed(_)
            | Body::Step(_)
            | Body::Request(_)
            | Body::RuntimeError(_)
            | Body::Tokens(_)
            | Body::Called(_)
            | Body::Text(_)
            | Body::FileVerdict(_)
            | Body::SessionStarted(_)
            | Body::RuntimeGone(_)
            | Body::Attached(_)
            | Body::NotAttachable(_)
            | Body::Shed(_)
            | Body::Restored(_)
            | Body::Silent(_) => {}
        }
    }

    /// Whether anything was done to a watched file.
    pub(crate) fn has_accesses(&self) -> bool {
        self.accesses > 0
    }

    /// Whether anything is missing that nobody asked to leave out.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.summary
            .as_ref()
            .is_some_and(|summary| summary.unintended_losses() > 0)
    }

    /// The lines that end the run.
    pub(crate) fn text(&self) -> String {
        let Some(summary) = &self.summary else {
            return "the run ended before it could be summed up\n".to_owned();
        };
        if let Some(files) = self.watched {
            let time = short_duration(std::time::Duration::from_nanos(summary.duration.0));
            let accesses = match self.accesses {
                1 => "1 access".to_owned(),
                accesses => format!("{} accesses", count(accesses)),
            };
            return format!(
                "watched {} for {time}: {accesses}, {}, {}\n",
                counted(files, "file"),
                counted(summary.events, "event"),
                self.lost(summary)
            );
        }
        let mut parts = vec![counted(self.models, "model")];
        if self.failed_loads > 0 {
            parts.push(counted(self.failed_loads, "failed load"));
        }
        parts.push(counted(summary.requests, "request"));
        parts.push(counted(summary.steps, "step"));
        if self.operations > 0 {
            parts.push(counted(self.operations, "operation"));
        }
        let late = match summary.late {
            0 => "none late".to_owned(),
            late => format!("{} late", count(late)),
        };
        parts.push(format!("{} ({late})", counted(summary.events, "event")));
        let time = short_duration(std::time::Duration::from_nanos(summary.duration.0));
        let mut text = format!(
            "traced {time}: {}, {}\n",
            parts.join(", "),
            self.lost(summary)
        );
        if !summary.redacted.is_empty() {
            let kinds = summary.redacted.iter();
            let kinds: Vec<String> = kinds
                .map(|(kind, times)| format!("{} {kind}", count(*times)))
                .collect();
            text.push_str(&format!("redacted: {}\n", kinds.join(", ")));
        }
        if self.unattached_probes > 0 {
            text.push_str(&format!(
                "{} could not be attached: tracer ps -v says why\n",
                counted(self.unattached_probes, "probe")
            ));
        }
        text
    }

    fn lost(&self, summary: &Summary) -> String {
        let (asked, lost): (Vec<_>, Vec<_>) = summary
            .losses
            .iter()
            .partition(|(reason, _)| reason.is_intended());
        let list = |losses: Vec<(&LossReason, &u64)>| {
            let each = losses.into_iter().map(|(&reason, &lost)| {
                format!(
                    "{} {}{}",
                    count(lost),
                    describe(reason),
                    self.window(reason)
                )
            });
            each.collect::<Vec<_>>().join("; ")
        };
        let mut text = match lost.len() {
            0 => "nothing lost".to_owned(),
            _ => format!("lost: {}", list(lost)),
        };
        if !asked.is_empty() {
            text.push_str(&format!("; left out as asked: {}", list(asked)));
        }
        text
    }

    /// When, as seconds since the run began.
    fn window(&self, reason: LossReason) -> String {
        let Some((began, lost)) = self.began.zip(self.losses.get(&reason)) else {
            return String::new();
        };
        let (from, to) = (
            lost.from.since(began).as_seconds(),
            lost.to.since(began).as_seconds(),
        );
        format!(" (from {from:.1} s to {to:.1} s)")
    }
}

/// A reason in words.
pub(crate) fn describe(reason: LossReason) -> &'static str {
    match reason {
        LossReason::RingFull => "records that found no room in a ring",
        LossReason::NoScratch => "records without a scratch slot",
        LossReason::StashFull => "calls whose end cannot be told",
        LossReason::RateLimited => "calls above the rate limit",
        LossReason::SampledOut => "calls passed over by sampling",
        LossReason::Expired => "calls after the deadline",
        LossReason::ReadFault => "fields that could not be read",
        LossReason::Truncated => "fields cut short",
        LossReason::CriticalRingFull => "records that found no room in the critical ring",
        LossReason::WatchBufferFull => "announcements of mappings",
        LossReason::MalformedRecord => "records that could not be understood",
        LossReason::UnknownProbe => "records of a probe that is not loaded",
        LossReason::TableFull => "models, contexts or requests that found no room in a table",
        LossReason::Unsearched => "texts that could not be searched, and were withheld",
        LossReason::FileTableFull => "accesses to files that found no room in a table",
        LossReason::FileNoticesLost => "times the kernel's queue of notices about files was full",
        LossReason::FileNamesLost => "names of files that were just opened",
        LossReason::FileMissed => "accesses to files that a pre-empted program left out",
        LossReason::FileTooDeep => "files that lay too deep to be looked at",
        LossReason::FileUnwatched => "files that could not be watched",
        LossReason::OutputFailed => "events that an output refused",
    }
}
