//! From tokens to text that may leave: which bytes the tokens of each sequence stand for, held until
//! the policy has been applied to all of them together.

use std::{collections::BTreeMap, mem, sync::Arc};

use tracer_event::{
    Body, BootNanos, Content, ContextId, Field, Known, ModelId, Pid, Position, Raw, Redacted,
    RequestId, SequenceId,
    inference::{Direction, Text, Tokens},
};
use tracer_redact::{Engine, Half, Part, Passage, Token, Treatment, Way};

use crate::{
    correlate::{SequenceChange, TextChange},
    output::{Change, Draft},
    snapshot::{Pieces, gguf::Want},
};

/// Sequences whose text is held at once; beyond it the one that was touched longest ago is told as
/// it stands.
const MOST_SEQUENCES: usize = 512;

/// The texts of all sequences.
pub(crate) struct Texts {
    /// Whether token ids wait for their text.
    holds_ids: bool,
    /// Whether text is told.
    tells_text: bool,
    pieces: BTreeMap<ModelId, Arc<Pieces>>,
    sequences: BTreeMap<(ContextId, i32), Sequence>,
    /// Counts uses, to find the sequence that was touched longest ago.
    clock: u64,
}

struct Sequence {
    pid: Option<Pid>,
    request: Option<RequestId>,
    /// Parts of the request that were told.
    parts: u32,
    passage: Passage,
    /// When its last token was seen.
    time: BootNanos,
    used: u64,
}

/// An event that has passed redaction here.
pub(crate) struct Told {
    pub(crate) time: BootNanos,
    pub(crate) pid: Option<Pid>,
    pub(crate) body: Body<Redacted<Content>>,
}

impl Texts {
    pub(crate) fn new(engine: &Engine) -> Self {
        let is_searched = matches!(engine.treatment(Field::TokenIds), Treatment::Scan(_));
        Self {
            holds_ids: engine.shows(Field::TokenIds) && is_searched,
            tells_text: engine.shows(Field::Text),
            pieces: BTreeMap::new(),
            sequences: BTreeMap::new(),
            clock: 0,
        }
    }

    /// What has to be read of model files for this.
    pub(crate) const fn want(&self) -> Want {
        match self.is_needed() {
            true => Want::Pieces,
            false => Want::Facts,
        }
    }

    /// Takes the tokens of an event. Gives it back if it need not wait.
    pub(crate) fn tokens(
        &mut self,
        draft: Draft,
        engine: &Engine,
        told: &mut Vec<Told>,
    ) -> Option<Draft> {
        if !self.is_needed() {
            return Some(draft);
        }
        let Body::Tokens(tokens) = &draft.body else {
            return Some(draft);
        };
        let (Known::Known(context), Known::Known(SequenceId(number))) =
            (tokens.context, tokens.sequence)
        else {
            return Some(draft);
        };
        let key = (context, number);
        self.make_room(key, engine, told);
        let pieces = draft.model.and_then(|model| self.pieces.get(&model));
        let sequence = self.sequences.entry(key).or_insert_with(|| Sequence {
            pid: draft.pid,
            request: None,
            parts: 0,
            passage: Passage::new(),
            time: draft.time,
            used: 0,
        });
        let request = tokens.request.value().copied();
        if sequence.request != request {
            sequence.end(key, engine, self.holds_ids, self.tells_text, told);
            sequence.request = request;
        }
        self.clock += 1;
        (sequence.used, sequence.time, sequence.pid) = (self.clock, draft.time, draft.pid);
        if pieces.is_none() {
            sequence.passage.unreadable();
        }
        let way = match tokens.direction {
            Direction::Input => Way::Input,
            Direction::Output => Way::Output,
        };
        if let Content::Tokens(ids) = tokens.tokens.expose() {
            let likely = match tokens.log_probabilities.as_ref().map(Raw::expose) {
                Some(Content::LogProbabilities(values)) => values.as_slice(),
                Some(_) | None => &[],
            };
            let positions = tokens.positions.value();
            for (index, id) in ids.iter().copied().enumerate() {
                let position = positions.and_then(|positions| positions.get(index));
                let id = id.unwrap_or(-1);
                let token = Token {
                    id,
                    bytes: pieces.and_then(|pieces| pieces.get(id)),
                    position: position.map(|position| position.0),
                    log_probability: likely.get(index).copied().flatten(),
                };
                sequence.passage.push(way, token, engine);
            }
        }
        if tokens.truncated {
            sequence.passage.gap();
        }
        let parts = sequence.passage.parts();
        sequence.tell(key, parts, self.holds_ids, self.tells_text, told);
        (!self.holds_ids).then_some(draft)
    }

    /// Something that is no event and matters for the texts.
    pub(crate) fn change(&mut self, change: Change, engine: &Engine, told: &mut Vec<Told>) {
        match change {
            Change::Pieces(model, pieces) => drop(self.pieces.insert(model, pieces)),
            Change::Gone(model) => drop(self.pieces.remove(&model)),
            Change::Sequence(SequenceChange {
                context,
                sequence: number,
                change,
            }) => {
                let key = (context, number);
                let Some(sequence) = self.sequences.get_mut(&key) else {
                    return;
                };
                match change {
                    TextChange::Ended => {
                        sequence.end(key, engine, self.holds_ids, self.tells_text, told);
                    }
                    TextChange::Removed { from } => sequence.passage.remove_from(from),
                    TextChange::Forgotten { from, to } => sequence.passage.forget(from..to),
                    TextChange::Shifted { from, delta } => sequence.passage.shift(from, delta),
                    TextChange::Emptied => {
                        sequence.end(key, engine, self.holds_ids, self.tells_text, told);
                        self.sequences.remove(&key);
                    }
                }
            }
        }
    }

    /// Records were lost: something may be missing in any text.
    pub(crate) fn lost(&mut self) {
        for sequence in self.sequences.values_mut() {
            sequence.passage.gap();
        }
    }

    /// Tells what is left.
    pub(crate) fn finish(&mut self, engine: &Engine, told: &mut Vec<Told>) {
        for (key, mut sequence) in mem::take(&mut self.sequences) {
            sequence.end(key, engine, self.holds_ids, self.tells_text, told);
        }
    }

    const fn is_needed(&self) -> bool {
        self.holds_ids || self.tells_text
    }

    fn make_room(&mut self, key: (ContextId, i32), engine: &Engine, told: &mut Vec<Told>) {
        if self.sequences.len() < MOST_SEQUENCES || self.sequences.contains_key(&key) {
            return;
        }
        let oldest = self
            .sequences
            .iter()
            .min_by_key(|(_, sequence)| sequence.used);
        if let Some(key) = oldest.map(|(key, _)| *key)
            && let Some(mut sequence) = self.sequences.remove(&key)
        {
            sequence.end(key, engine, self.holds_ids, self.tells_text, told);
        }
    }
}

impl Sequence {
    fn end(
        &mut self,
        key: (ContextId, i32),
        engine: &Engine,
        ids: bool,
        text: bool,
        told: &mut Vec<Told>,
    ) {
        let parts = self.passage.finish(engine);
        self.tell(key, parts, ids, text, told);
        self.parts = 0;
    }

    fn tell(
        &mut self,
        key: (ContextId, i32),
        parts: Vec<Part>,
        ids: bool,
        text: bool,
        told: &mut Vec<Told>,
    ) {
        for part in parts {
            let Part {
                input,
                output,
                incomplete,
            } = part;
            for (direction, half) in [(Direction::Input, input), (Direction::Output, output)] {
                self.tell_half(key, direction, half, incomplete, (ids, text), told);
            }
            self.parts = self.parts.saturating_add(1);
        }
    }

    fn tell_half(
        &self,
        (context, number): (ContextId, i32),
        direction: Direction,
        half: Half,
        incomplete: bool,
        (tells_ids, tells_text): (bool, bool),
        told: &mut Vec<Told>,
    ) {
        let Half {
            text,
            has_text,
            ids,
            log_probabilities,
            positions,
        } = half;
        let (context, sequence) = (Known::Known(context), Known::Known(SequenceId(number)));
        let request = self.request.into();
        let mut tell = |body| {
            told.push(Told {
                time: self.time,
                pid: self.pid,
                body,
            });
        };
        if tells_ids && !positions.is_empty() {
            let positions: Option<Vec<Position>> = positions
                .into_iter()
                .map(|position| position.map(Position))
                .collect();
            tell(Body::Tokens(Box::new(Tokens {
                direction,
                context,
                request,
                sequence,
                tokens: ids,
                log_probabilities,
                positions: positions.into(),
                truncated: incomplete,
            })));
        }
        if tells_text && has_text {
            tell(Body::Text(Box::new(Text {
                direction,
                context,
                request,
                sequence,
                part: self.parts,
                text,
                incomplete,
            })));
        }
    }
}
