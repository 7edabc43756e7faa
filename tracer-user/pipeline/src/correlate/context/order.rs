//! The tokens of a step in the order of the caller's batch, which is how a sampler names them.
//!
//! What is seen are the parts (micro-batches) into which the library cuts the batch. With a cache of
//! its own for each sequence it takes equally many tokens of every sequence into a part
//! (`llama_batch_allocr::split_equal`): a batch of one token of sequence 0 and three each of 1 and 2
//! comes as `0 1 2 | 1 1 2 2`. Sequences appear in their order in the batch, so bringing each one's
//! tokens together restores it. A caller that alternates between sequences within a part is left as it
//! is: such a batch is cut without changing its order.

use std::collections::HashMap;

/// Tokens of one step whose order is remembered.
const MOST: usize = 1 << 16;

/// A token of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordered {
    pub(super) sequence: i32,
    pub(super) position: i32,
    /// Whether its output was asked for.
    pub(super) output: bool,
}

/// The tokens of the last step.
#[derive(Debug, Default)]
pub(super) struct Order {
    tokens: Vec<Ordered>,
    /// Where the part in hand begins.
    part: usize,
    parts: usize,
    /// Whether a part comes back to a sequence that it had left.
    alternates: bool,
}

impl Order {
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.part = 0;
        self.parts = 0;
        self.alternates = false;
    }

    /// Another part begins.
    pub(super) fn begin_part(&mut self) {
        self.part = self.tokens.len();
        self.parts += 1;
    }

    pub(super) fn push(&mut self, token: Ordered) {
        if self.tokens.len() == MOST {
            return;
        }
        let part = &self.tokens[self.part..];
        let is_next = part
            .last()
            .is_none_or(|last| last.sequence == token.sequence);
        if !is_next && !self.alternates {
            self.alternates = part.iter().any(|seen| seen.sequence == token.sequence);
        }
        self.tokens.push(token);
    }

    /// The step is over: its tokens are brought into the batch's order.
    pub(super) fn restore(&mut self) {
        if self.parts < 2 || self.alternates {
            return;
        }
        let mut places: HashMap<i32, usize> = HashMap::new();
        for token in &self.tokens {
            let next = places.len();
            places.entry(token.sequence).or_insert(next);
        }
        self.tokens.sort_by_key(|token| places[&token.sequence]);
    }

    /// The token at a place in the batch.
    pub(super) fn at(&self, place: usize) -> Option<&Ordered> {
        self.tokens.get(place)
    }

    /// The tokens whose output was asked for.
    pub(super) fn outputs(&self) -> impl DoubleEndedIterator<Item = &Ordered> {
        self.tokens.iter().filter(|token| token.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(parts: &[&[i32]]) -> Vec<i32> {
        let mut order = Order::default();
        for part in parts {
            order.begin_part();
            for &sequence in *part {
                order.push(Ordered {
                    sequence,
                    position: 0,
                    output: false,
                });
            }
        }
        order.restore();
        let tokens = order.tokens.iter();
        tokens.map(|token| token.sequence).collect()
    }

    #[test]
    fn sequences_that_were_cut_equally_come_together_again() {
        let cut = order(&[&[0, 1, 2], &[1, 1, 2, 2]]);
        assert_eq!(cut, [0, 1, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn a_long_prompt_that_was_cut_in_two_stays_where_it_was() {
        let cut = order(&[&[0, 1, 1], &[1, 1, 2]]);
        assert_eq!(cut, [0, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn a_batch_that_alternates_keeps_its_order() {
        let cut = order(&[&[0, 1, 0, 1], &[0, 1]]);
        assert_eq!(cut, [0, 1, 0, 1, 0, 1]);
    }
}
