use std::{collections::BTreeMap, mem};

use tracer_event::{Body, BootNanos, Loss, LossReason, RedactedEvent, agent::Summary};

/// What a run amounts to, counted as it goes.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    summary: Summary,
}

impl Totals {
    pub(crate) const fn record(&mut self) {
        self.summary.records += 1;
    }

    /// Counts an event that the sink took.
    pub(crate) fn event(&mut self, event: &RedactedEvent) {
        let summary = &mut self.summary;
        summary.events += 1;
        summary.late += u64::from(event.late);
        if let Body::Request(request) = &event.body {
            summary.requests += u64::from(!request.warm_up);
        }
        if let Body::Step(step) = &event.body {
            summary.steps += u64::from(!step.warm_up);
        }
        if let Body::Loss(loss) = &event.body {
            *summary.losses.entry(loss.reason).or_default() += loss.count;
        }
        *summary.events_by_kind.entry(event.kind()).or_default() += 1;
    }

    pub(crate) const fn summary(&self) -> &Summary {
        &self.summary
    }
}

/// What the pipeline itself could not use since it last said so.
#[derive(Debug)]
pub(crate) struct OwnLosses {
    counts: BTreeMap<LossReason, u64>,
    since: BootNanos,
}

impl OwnLosses {
    pub(crate) const fn new(since: BootNanos) -> Self {
        Self {
            counts: BTreeMap::new(),
            since,
        }
    }

    pub(crate) fn add(&mut self, reason: LossReason, count: u64) {
        if count > 0 {
            *self.counts.entry(reason).or_default() += count;
        }
    }

    /// The losses since the last call, as one event's body for each reason.
    pub(crate) fn tell(&mut self, now: BootNanos) -> impl Iterator<Item = Loss> + use<> {
        let from = mem::replace(&mut self.since, now);
        let counts = mem::take(&mut self.counts).into_iter();
        counts.map(move |(reason, count)| Loss {
            reason,
            count,
            cpu: None,
            from,
            to: now,
            intended: reason.is_intended(),
        })
    }
}
