//! What the kernel half's critical ring tells: lifecycle, and records that a flood must not displace.

use std::time::Instant;

use tracer_abi::{Exec, Exit, Fork, RecordError, RecordHeader, RecordKind};

use super::{Supervisor, discovery::Noticed, library::Workshop};
use crate::{
    observation::{Observation, RecordBatch},
    process::FileId,
    time::BootNanos,
};

impl Supervisor {
    /// Takes lifecycle records out of the critical ring's batch and hands on the rest.
    pub(super) fn take_critical(&mut self, batch: &RecordBatch) {
        let mut calls = RecordBatch::new(RecordBatch::CRITICAL);
        for record in batch.iter() {
            match parse_lifecycle(record) {
                Ok(Some(observation)) => {
                    if !calls.is_empty() {
                        let calls =
                            std::mem::replace(&mut calls, RecordBatch::new(RecordBatch::CRITICAL));
                        self.pending.push_back(Observation::Records(calls));
                    }
                    self.follow(&observation);
                    self.pending.push_back(observation);
                }
                // What cannot be parsed goes on too: decoding is what counts it.
                Ok(None) | Err(_) => calls.push(record),
            }
        }
        if !calls.is_empty() {
            self.pending.push_back(Observation::Records(calls));
        }
    }

    /// Keeps what is known about processes in step.
    fn follow(&mut self, observation: &Observation) {
        match observation {
            Observation::ProcessExec { pid, time, .. } => self.forget_process(*pid, *time),
            Observation::ProcessExit { pid, .. } => {
                self.forget_process(*pid, BootNanos::NEVER);
                // Also where it ran nothing that was known.
                self.remove_sets(|owner| owner == *pid);
                self.targets.forget(*pid);
            }
            Observation::ProcessFork {
                pid, traced: true, ..
            } => {
                let was_denied = self.targets.inherit(*pid);
                self.widen();
                if was_denied {
                    self.look_at(*pid, Noticed::AsItHappened, Instant::now());
                }
            }
            _ => {}
        }
    }

    /// Forgets what a process ran before `before`.
    pub(super) fn forget_process(&mut self, pid: u32, before: BootNanos) {
        let gone = self.known.forget(pid, before);
        if gone.is_empty() {
            return;
        }
        for (process, library) in gone {
            let time = BootNanos::now();
            self.pending.push_back(Observation::RuntimeGone {
                process,
                library,
                time,
            });
        }
        self.remove_sets(|owner| owner == pid);
    }

    /// Attaches every link anew for all processes: the only one that was traced has a child.
    fn widen(&mut self) {
        if self.link_pid.take().is_none() {
            return;
        }
        for library in self.libraries.values_mut() {
            for group in library.groups() {
                let mut workshop = Workshop {
                    tables: &self.kernel.tables,
                    programs: &self.kernel.calls,
                    sites: &mut self.sites,
                    pid: None,
                };
                // On refusal the narrow links stay, and the parent is still traced.
                if let Ok(closing) = library.attach(&group, &mut workshop) {
                    self.closing.extend(closing);
                }
            }
        }
    }
}

/// A lifecycle record as an observation; `None` if the record is a call's.
fn parse_lifecycle(record: &[u8]) -> Result<Option<Observation>, RecordError> {
    let (header, body) = RecordHeader::parse(record)?;
    let (pid, time) = (header.pid, BootNanos(header.time));
    Ok(match header.record_kind()? {
        RecordKind::Call => None,
        RecordKind::Exec => {
            let Exec {
                started,
                exe_inode,
                exe_device,
                parent,
            } = Exec::parse(body)?;
            let exe = FileId {
                device: exe_device,
                inode: exe_inode,
            };
            Some(Observation::ProcessExec {
                pid,
                started,
                parent,
                exe,
                time,
            })
        }
        RecordKind::Exit => {
            let Exit {
                started,
                status,
                whole_process: _,
            } = Exit::parse(body)?;
            Some(Observation::ProcessExit {
                pid,
                started,
                status,
                time,
            })
        }
        RecordKind::Fork => {
            let Fork {
                started,
                child,
                target,
            } = Fork::parse(body)?;
            let traced = target != 0;
            Some(Observation::ProcessFork {
                parent: pid,
                pid: child,
                started,
                traced,
                time,
            })
        }
    })
}
