//! Tokens that are chosen from a step's outputs: whose each of them is.

use tracer_event::{
    BootNanos, Position,
    inference::{Direction, EndReason},
};

use super::{Context, Sequence};
use crate::correlate::{
    action::Sample,
    ledger::{BatchOfTokens, Fact, Ledger},
};

impl Context {
    /// A token was chosen from the last step's outputs. Gives back whether its sequence is known.
    pub(in crate::correlate) fn sampled(
        &mut self,
        sample: &Sample,
        time: BootNanos,
        ledger: &mut Ledger,
    ) -> bool {
        self.serves(ledger);
        let Some((number, position)) = self.sampled_sequence(sample) else {
            let Some(blind) = &mut self.blind else {
                return false;
            };
            blind.sampled(time, sample.ends);
            if sample.ends == Some(true) {
                self.close_blind(EndReason::Eog, ledger);
            }
            return true;
        };
        let Some(Sequence {
            open: Some(open), ..
        }) = self.sequences.get_mut(&number)
        else {
            return false;
        };
        open.sampled(time, sample.ends);
        if let Some(token) = sample.token {
            let batch = BatchOfTokens {
                model: self.model,
                direction: Direction::Output,
                context: self.id,
                request: Some(open.id),
                sequence: number,
                tokens: vec![token],
                log_probabilities: sample.log_probability.map(Some).into_iter().collect(),
                positions: position.map(Position).into_iter().collect(),
                truncated: false,
            };
            ledger.facts.push((time, Fact::Tokens(batch)));
        }
        if sample.ends == Some(true) {
            self.close(number, EndReason::Eog, ledger);
        }
        true
    }

    /// The sequence of a sampled token, and its position there if that is known.
    fn sampled_sequence(&mut self, sample: &Sample) -> Option<(i32, Option<i32>)> {
        let outputs = || self.order.outputs();
        let named = match sample.index {
            Some(index) => match usize::try_from(index) {
                Ok(index) => self.order.at(index),
                Err(_) => {
                    let back = usize::try_from(index.unsigned_abs()).ok()?;
                    outputs().rev().nth(back - 1)
                }
            },
            None => {
                let token = outputs().nth(self.taken);
                self.taken += 1;
                token
            }
        };
        let named = named.map(|token| (token.sequence, Some(token.position.saturating_add(1))));
        let mut open = self
            .sequences
            .iter()
            .filter(|(_, sequence)| sequence.open.is_some());
        named.or_else(|| match (open.next(), open.next()) {
            (Some((number, _)), None) => Some((*number, None)),
            _ => None,
        })
    }

    /// Whether the last step has outputs that a sampler may still choose from.
    pub(in crate::correlate) fn may_be_sampled(&self) -> bool {
        let outputs = self.order.outputs().count();
        self.step.is_none() && (outputs > self.taken || self.blind.is_some())
    }
}
