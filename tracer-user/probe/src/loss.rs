//! The kernel half's loss counters, turned into what was lost since the last look.

use std::io;

use tracer_abi::{LossCell, LossReason};

use crate::{observation::Loss, table::Table, time::BootNanos};

/// Remembers what was already reported.
pub(crate) struct LossCounters {
    /// By reason, then by CPU.
    reported: Vec<Vec<u64>>,
    last_look: BootNanos,
}

impl LossCounters {
    pub(crate) fn new() -> Self {
        let reasons = LossReason::ALL.len();
        Self {
            reported: vec![Vec::new(); reasons],
            last_look: BootNanos::now(),
        }
    }

    /// What was lost since the last look, by reason and CPU.
    pub(crate) fn look(&mut self, table: &Table<u32, LossCell>) -> io::Result<Vec<Loss>> {
        let since = self.last_look;
        self.last_look = BootNanos::now();
        let mut losses = Vec::new();
        for (reason, reported) in LossReason::ALL.into_iter().zip(&mut self.reported) {
            let cells = table.per_cpu(reason as u32)?;
            reported.resize(cells.len(), 0);
            for (cpu, (cell, reported)) in cells.iter().zip(reported).enumerate() {
                let count = cell.count.saturating_sub(*reported);
                if count > 0 {
                    *reported = cell.count;
                    losses.push(Loss {
                        reason,
                        count,
                        cpu: u16::try_from(cpu).unwrap_or(u16::MAX),
                        since,
                        until: BootNanos(cell.newest),
                    });
                }
            }
        }
        Ok(losses)
    }
}
