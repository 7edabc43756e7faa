//! What becomes of each thing that a supervisor observed.

use tracer_event::{
    Body, BootNanos, Content, Loss, Pid, Raw,
    agent::{RuntimeGone, Silent},
    process::{ProcessExited, ProcessOrigin},
};
use tracer_probe::observation::{self, Observation};

use super::Pipeline;
use crate::{
    decode::ProbeSource,
    output::Draft,
    translate::{self, boot, nanos},
};

/// When it was; records have each a time of their own.
pub(super) fn time_of(observation: &Observation) -> BootNanos {
    boot(match observation {
        Observation::Records(_) => tracer_probe::time::BootNanos(0),
        Observation::RuntimeFound(found) => found.time,
        Observation::Attached(report) => report.time,
        Observation::NotAttachable(refused) => refused.time,
        Observation::Loss(loss) => loss.until,
        Observation::Operations(told) => told.until,
        Observation::Shed(shed) => shed.time,
        Observation::RuntimeGone { time, .. }
        | Observation::ProcessExec { time, .. }
        | Observation::ProcessFork { time, .. }
        | Observation::ProcessExit { time, .. }
        | Observation::Restored { time, .. }
        | Observation::Silent { time, .. } => *time,
    })
}

impl Pipeline {
    /// Puts out what an observation says, and tells whom it concerns.
    pub(super) fn observe(
        &mut self,
        observation: Observation,
        late: bool,
        probes: &impl ProbeSource,
    ) {
        let time = time_of(&observation);
        let first = self.output.drafts.len();
        match observation {
            Observation::Records(records) => self.merge.push_records(records),
            Observation::RuntimeFound(found) => {
                let pid = Pid(found.process.id.pid);
                let seen = self
                    .processes
                    .announce(&found.process, ProcessOrigin::Running);
                if let Some(seen) = seen {
                    self.emit(time, Some(pid), Body::ProcessSeen(Box::new(seen)));
                }
                let body = self.names.runtime_found(&found);
                self.emit(time, Some(pid), Body::RuntimeFound(Box::new(body)));
                if let Some(profile) = self.options.profiles.get(found.profile) {
                    self.correlator
                        .runtime_found(&found, profile, &mut self.output);
                }
            }
            Observation::RuntimeGone {
                process, library, ..
            } => {
                let runtime = self.names.library(library);
                let body = Body::RuntimeGone(RuntimeGone { runtime });
                self.emit(time, Some(Pid(process.pid)), body);
            }
            Observation::Attached(report) => {
                let body = self.names.attached(&report, probes);
                self.emit(time, None, Body::Attached(Box::new(body)));
            }
            Observation::NotAttachable(refused) => {
                let pid = refused.process.map(|process| Pid(process.pid));
                let body = translate::not_attachable(&refused, probes);
                self.emit(time, pid, Body::NotAttachable(Box::new(body)));
            }
            Observation::ProcessExec { pid, parent, .. } => {
                let pid = Pid(pid);
                self.correlator.process_gone(pid, time, &mut self.output);
                if self.processes.forget(pid) {
                    self.announce(time, pid, ProcessOrigin::Exec, Pid(parent));
                }
            }
            Observation::ProcessFork {
                parent,
                pid,
                traced,
                ..
            } => {
                if traced {
                    self.announce(time, Pid(pid), ProcessOrigin::Fork, Pid(parent));
                }
            }
            Observation::ProcessExit { pid, status, .. } => {
                let pid = Pid(pid);
                self.correlator.process_gone(pid, time, &mut self.output);
                if self.processes.is_announced(pid) {
                    let body = Body::ProcessExited(ProcessExited::from_status(status));
                    self.emit(time, Some(pid), body);
                }
            }
            Observation::Loss(loss) => {
                let body = loss_body(&loss);
                self.correlator.lost(body.reason, body.to);
                if body.reason.loses_record() && !body.reason.is_intended() {
                    self.texts.lost();
                }
                self.emit(time, None, Body::Loss(body));
            }
            Observation::Operations(told) => {
                let body = translate::operations(&told, probes);
                self.output.emit(Draft {
                    probe: Some(body.operation.clone()),
                    ..Draft::of_agent(time, Body::OperationHistogram(body))
                });
            }
            Observation::Shed(shed) => {
                let body = translate::shed(&shed, probes);
                self.emit(time, None, Body::Shed(Box::new(body)));
            }
            Observation::Restored {
                group,
                probes: restored,
                ..
            } => {
                let body = translate::restored(&group, &restored, probes);
                self.emit(time, None, Body::Restored(Box::new(body)));
            }
            Observation::Silent {
                process,
                library,
                busy,
                ..
            } => {
                let body = Body::Silent(Silent {
                    runtime: self.names.library(library),
                    busy: nanos(busy),
                });
                self.emit(time, Some(Pid(process.pid)), body);
            }
        }
        for draft in &mut self.output.drafts[first..] {
            draft.late |= late;
        }
    }

    fn announce(&mut self, time: BootNanos, pid: Pid, origin: ProcessOrigin, parent: Pid) {
        if let Some(seen) = self.processes.announce_pid(pid, origin, parent) {
            self.emit(time, Some(pid), Body::ProcessSeen(Box::new(seen)));
        }
    }

    fn emit(&mut self, time: BootNanos, pid: Option<Pid>, body: Body<Raw<Content>>) {
        self.output.emit(Draft {
            pid,
            ..Draft::of_agent(time, body)
        });
    }
}

fn loss_body(loss: &observation::Loss) -> Loss {
    Loss {
        reason: loss.reason.into(),
        count: loss.count,
        cpu: Some(tracer_event::Cpu(loss.cpu)),
        from: boot(loss.since),
        to: boot(loss.until),
        intended: loss.reason.is_intended(),
    }
}
