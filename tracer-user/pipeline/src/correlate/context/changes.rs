//! Changes of a context's cache: which of them end a request, and which do not.

use tracer_event::{BootNanos, inference::EndReason};

use super::Context;
use crate::correlate::{
    action::Change,
    ledger::{Ledger, TextChange},
    request::Hole,
};

impl Context {
    /// The cache is changed.
    pub(in crate::correlate) fn change(
        &mut self,
        change: Change,
        time: BootNanos,
        ledger: &mut Ledger,
    ) {
        match change {
            Change::Clear => self.was_warm_up(ledger),
            Change::Remove { .. } => {}
            Change::Copy { .. } | Change::Keep { .. } | Change::Shift { .. } => self.serves(ledger),
        }
        match change {
            Change::Remove { sequence, from, to } => {
                for number in self.meant(sequence) {
                    let next = self.sequences.get(&number).map(|sequence| sequence.next);
                    let reaches_end = to < 0 || next.is_none_or(|next| to >= next);
                    self.remove(number, from, to, ledger);
                    let from = from.max(0);
                    let change = match reaches_end {
                        true => TextChange::Removed { from },
                        false => TextChange::Forgotten { from, to },
                    };
                    ledger.text(time, self.id, number, change);
                }
            }
            Change::Copy { to } => self.forget(to, time, ledger),
            Change::Keep { sequence } => {
                for number in self.meant(-1) {
                    if number != sequence {
                        self.forget(number, time, ledger);
                    }
                }
            }
            Change::Shift {
                sequence,
                from,
                delta,
            } => {
                for number in self.meant(sequence) {
                    self.shift(number, from, delta, ledger);
                    let change = match delta {
                        Some(delta) => TextChange::Shifted { from, delta },
                        None => TextChange::Forgotten { from, to: i32::MAX },
                    };
                    ledger.text(time, self.id, number, change);
                }
            }
            Change::Clear => {
                for number in self.meant(-1) {
                    self.forget(number, time, ledger);
                }
            }
        }
        if !matches!(change, Change::Shift { .. }) {
            self.close_blind(EndReason::Stopped, ledger);
        }
    }

    /// A saved state is put back into a sequence, or into all.
    pub(in crate::correlate) fn restored(
        &mut self,
        sequence: Option<i32>,
        time: BootNanos,
        ledger: &mut Ledger,
    ) {
        self.serves(ledger);
        for number in self.meant(sequence.unwrap_or(-1)) {
            self.forget(number, time, ledger);
        }
        self.close_blind(EndReason::Stopped, ledger);
    }

    pub(super) fn meant(&self, sequence: i32) -> Vec<i32> {
        if sequence >= 0 {
            return vec![sequence];
        }
        self.sequences.keys().copied().collect()
    }

    fn remove(&mut self, number: i32, from: i32, to: i32, ledger: &mut Ledger) {
        let Some(sequence) = self.sequences.get_mut(&number) else {
            return;
        };
        if sequence.hole.take().is_some() {
            self.close(number, EndReason::Stopped, ledger);
        }
        let Some(sequence) = self.sequences.get_mut(&number) else {
            return;
        };
        let from = from.max(0);
        let reaches_end = to < 0 || to >= sequence.next;
        let Some(open) = &sequence.open else {
            if reaches_end {
                sequence.next = sequence.next.min(from);
            }
            return;
        };
        if !reaches_end {
            if to > from {
                sequence.hole = Some(Hole { to });
            }
            return;
        }
        // Callers cut off what lies beyond the cached prefix before each part of a prompt too:
        // nothing is there, and nothing ends.
        let nothing = from >= sequence.next;
        if open.is_draft(from) || nothing && !open.prompt_is_over() {
            sequence.next = sequence.next.min(from);
            return;
        }
        self.close(number, EndReason::Stopped, ledger);
        if let Some(sequence) = self.sequences.get_mut(&number) {
            sequence.next = sequence.next.min(from);
        }
    }

    fn shift(&mut self, number: i32, from: i32, delta: Option<i32>, ledger: &mut Ledger) {
        let Some(sequence) = self.sequences.get_mut(&number) else {
            return;
        };
        if let Some(Hole { to }) = sequence.hole.take()
            && from > to
        {
            // What moves does not follow the hole: the removal meant the end.
            self.close(number, EndReason::Stopped, ledger);
        }
        if let Some(sequence) = self.sequences.get_mut(&number)
            && sequence.next > from
        {
            sequence.next = sequence.next.saturating_add(delta.unwrap_or(0));
        }
    }

    /// What a sequence held is gone or replaced.
    fn forget(&mut self, number: i32, time: BootNanos, ledger: &mut Ledger) {
        self.close(number, EndReason::Stopped, ledger);
        self.sequences.remove(&number);
        ledger.text(time, self.id, number, TextChange::Emptied);
    }
}
