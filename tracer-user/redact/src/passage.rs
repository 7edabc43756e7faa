//! The text of one sequence as its tokens come: what went in and what came out, in the order in
//! which the model sees them, so that nothing hides across the seam between the two.

use std::ops::Range;

use crate::{
    content::Content,
    engine::Engine,
    field::Field,
    log_probability::LogProbability,
    policy::{Action, Treatment},
    raw::Raw,
    redacted::{Redacted, Withheld},
    window::{Decided, Sizes, Window},
};

/// A token as it is added to a [`Passage`].
#[derive(Clone, Copy)]
pub struct Token<'a> {
    /// Its number in the vocabulary.
    pub id: i32,
    /// Its bytes; none if the vocabulary has no such token.
    pub bytes: Option<&'a [u8]>,
    /// Its position in the sequence; none if it is not known.
    pub position: Option<i32>,
    /// How likely its sampler found it; none if it did not say.
    pub log_probability: Option<LogProbability>,
}

/// Which way a token went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the model.
    Input,
    /// Out of its sampler.
    Output,
}

/// The text of one sequence. It holds at most a window of text back and remembers a little of what
/// was before it; all of it is overwritten when it is let go.
pub struct Passage {
    window: Window,
    pieces: Vec<Piece>,
    /// Whether the text is not known, because the vocabulary is not.
    unreadable: bool,
    /// Whether something was missing since the last part.
    incomplete: bool,
    /// Tokens that were taken back before they were told.
    undone: Vec<(Way, Option<i32>)>,
    ready: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Piece {
    range: Range<usize>,
    id: i32,
    position: Option<i32>,
    log_probability: Option<LogProbability>,
    input: bool,
    output: bool,
    hidden: bool,
    /// Whether it is in a part already.
    told: bool,
}

/// What may leave of a part of a passage.
pub struct Part {
    /// What went in.
    pub input: Half,
    /// What came out.
    pub output: Half,
    /// Whether something is missing in it or beside it.
    pub incomplete: bool,
}

/// One direction of a part.
pub struct Half {
    /// The text, without generated tokens where they went in again; empty if there is none.
    pub text: Redacted<Content>,
    /// Whether there is any text, shown or not.
    pub has_text: bool,
    /// The tokens, those without number whose text is not shown.
    pub ids: Redacted<Content>,
    /// Their log-probabilities, one for each token, if any of them has one; none as for the ids.
    pub log_probabilities: Option<Redacted<Content>>,
    /// Their positions, one for each token.
    pub positions: Vec<Option<i32>>,
}

impl Default for Passage {
    fn default() -> Self {
        Self::new()
    }
}

impl Passage {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Sizes::default())
    }

    pub(crate) fn with(sizes: Sizes) -> Self {
        Self {
            window: Window::new(sizes),
            pieces: Vec::new(),
            unreadable: false,
            incomplete: false,
            undone: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Adds a token. One that is at its position already is the same: a generated token that goes
    /// in again, or a draft that is accepted. A different one there takes its place, and what
    /// followed is undone.
    pub fn push(&mut self, way: Way, token: Token<'_>, engine: &Engine) {
        if let Some(position) = token.position {
            if let Some(known) = self.at(position) {
                let piece = &mut self.pieces[known];
                if piece.id == token.id {
                    match way {
                        Way::Input => piece.input = true,
                        Way::Output => piece.output |= !piece.told,
                    }
                    piece.log_probability = token.log_probability.or(piece.log_probability);
                    if !piece.told {
                        return;
                    }
                }
                self.undo_from(known);
            }
            let expected = self.pieces.last().map_or(Some(0), |last| {
                last.position.map(|position| position.saturating_add(1))
            });
            if expected != Some(position) {
                self.gap();
            }
        }
        let start = self.window.end();
        self.pieces.push(Piece {
            range: start..start,
            id: token.id,
            position: token.position.or_else(|| {
                let last = self.pieces.last()?.position?;
                Some(last.saturating_add(1))
            }),
            log_probability: token.log_probability,
            input: way == Way::Input,
            output: way == Way::Output,
            hidden: token.bytes.is_none(),
            told: false,
        });
        match token.bytes {
            Some(bytes) => self.extend(bytes, engine),
            None => self.gap(),
        }
        // Tokens without any text, and those that are taken back each time, fill no window.
        if self.pieces.len().max(self.undone.len()) > 2 * self.window_size() {
            self.settle(engine, true);
        }
    }

    /// Marks that something is missing here: records were lost, or the cache was filled by other
    /// means than tokens.
    pub fn gap(&mut self) {
        self.incomplete = true;
        self.window.gap();
    }

    /// Marks that the text of the tokens cannot be known. Nothing of the passage will be shown
    /// then, unless the policy keeps all of it.
    pub fn unreadable(&mut self) {
        self.unreadable = true;
    }

    /// Positions from here on are taken back.
    pub fn remove_from(&mut self, position: i32) {
        let first = self
            .pieces
            .iter()
            .position(|piece| piece.position.is_some_and(|known| known >= position));
        if let Some(first) = first {
            self.undo_from(first);
        }
    }

    /// Positions in the midst are taken out of the cache; their text stays what was said.
    pub fn forget(&mut self, positions: Range<i32>) {
        for piece in &mut self.pieces {
            if piece
                .position
                .is_some_and(|known| positions.contains(&known))
            {
                piece.position = None;
            }
        }
    }

    /// Positions from here on move.
    pub fn shift(&mut self, from: i32, delta: i32) {
        for piece in &mut self.pieces {
            piece.position = piece.position.map(|known| match known >= from {
                true => known.saturating_add(delta),
                false => known,
            });
        }
    }

    /// The parts that are decided so far, oldest first.
    pub fn parts(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.ready)
    }

    /// The text ends here, at least for now: everything is decided. What follows later is read in
    /// the light of what was there.
    pub fn finish(&mut self, engine: &Engine) -> Vec<Part> {
        self.settle(engine, true);
        self.parts()
    }

    /// Tokens and bytes that are held, roughly in bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.window.end() - self.window.base() + self.pieces.len() * size_of::<Piece>()
    }

    fn at(&self, position: i32) -> Option<usize> {
        // Almost always it is the next one, or one of the last.
        let last = self.pieces.last()?.position;
        if last.is_some_and(|last| last < position) {
            return None;
        }
        self.pieces
            .iter()
            .rposition(|piece| piece.position == Some(position))
    }

    fn undo_from(&mut self, first: usize) {
        let end = self.pieces[first].range.start;
        for piece in self.pieces.drain(first..).filter(|piece| !piece.told) {
            if piece.input {
                self.undone.push((Way::Input, piece.position));
            }
            if piece.output {
                self.undone.push((Way::Output, piece.position));
            }
        }
        self.window.truncate(end);
    }

    fn extend(&mut self, mut bytes: &[u8], engine: &Engine) {
        while !bytes.is_empty() {
            let taken = self.window.take(bytes);
            bytes = &bytes[taken.bytes..];
            let end = self.window.end();
            if let Some(piece) = self.pieces.last_mut() {
                piece.range.end = end;
                piece.hidden |= taken.hidden;
            }
            if self.window.is_full() {
                self.settle(engine, false);
            }
        }
    }

    const fn window_size(&self) -> usize {
        self.window.sizes().window
    }

    fn settle(&mut self, engine: &Engine, last: bool) {
        let treatment = engine.treatment(Field::Text);
        let decided = match treatment {
            Treatment::Scan(_) if self.unreadable => {
                self.window.withhold(engine.fail(Withheld::Unreadable))
            }
            Treatment::Scan(scan) => self.window.decide(last, |text| engine.judge(scan, &text)),
            Treatment::Act(_) => self.window.decide(true, |_| Ok(Vec::new())),
        };
        engine.count(&decided);
        let upto = decided.range.end;
        for piece in &mut self.pieces {
            let part = piece.range.start.max(decided.range.start)..piece.range.end.min(upto);
            let is_here = piece.range.start < upto || last;
            let part = if part.start <= part.end {
                part
            } else {
                piece.range.clone()
            };
            piece.hidden |= is_here
                && (decided.withheld.is_some()
                    || decided.marks.iter().any(|mark| mark.touches(&part)));
        }
        let part = Part {
            input: self.half(Way::Input, &decided, last, engine),
            output: self.half(Way::Output, &decided, last, engine),
            incomplete: std::mem::take(&mut self.incomplete),
        };
        for piece in &mut self.pieces {
            piece.told |= piece.range.end <= upto || last;
        }
        self.undone.clear();
        self.window.advance(&decided, last);
        let base = self.window.base();
        // What is told and no longer remembered is not needed; the last piece says where the
        // sequence goes on.
        let keep = self.pieces.len().saturating_sub(1);
        let first = self.pieces[..keep].iter();
        let gone = first
            .take_while(|piece| piece.told && piece.range.start < base)
            .count();
        self.pieces.drain(..gone);
        if !part.input.positions.is_empty()
            || !part.output.positions.is_empty()
            || part.input.has_text
            || part.output.has_text
        {
            self.ready.push(part);
        }
    }

    fn half(&self, way: Way, decided: &Decided, last: bool, engine: &Engine) -> Half {
        let is_way = |piece: &Piece| match way {
            Way::Input => piece.input,
            Way::Output => piece.output,
        };
        // A generated token that goes in again is told as output; its text is shown once.
        let is_text = |piece: &Piece| match way {
            Way::Input => piece.input && !piece.output,
            Way::Output => piece.output,
        };
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for piece in self.pieces.iter().filter(|piece| is_text(piece)) {
            let start = piece.range.start.max(decided.range.start);
            let end = piece.range.end.min(decided.range.end);
            match ranges.last_mut() {
                _ if start >= end => {}
                Some(range) if range.end == start => range.end = end,
                _ => ranges.push(start..end),
            }
        }
        let told = |piece: &&Piece| {
            !piece.told && (piece.range.end <= decided.range.end || last) && is_way(piece)
        };
        let pieces: Vec<&Piece> = self.pieces.iter().filter(told).collect();
        let undone = self.undone.iter().filter(|(undone, _)| *undone == way);
        let mut ids: Vec<Option<i32>> = Vec::new();
        let mut log_probabilities = Vec::new();
        let mut positions = Vec::new();
        let is_likely = |piece: &&Piece| way == Way::Output && piece.log_probability.is_some();
        let has_log_probabilities = pieces.iter().any(is_likely);
        for piece in pieces {
            ids.push((!piece.hidden).then_some(piece.id));
            log_probabilities.push(piece.log_probability.filter(|_| !piece.hidden));
            positions.push(piece.position);
        }
        for (_, position) in undone {
            ids.push(None);
            log_probabilities.push(None);
            positions.push(*position);
        }
        let mut text = Vec::new();
        for range in &ranges {
            text.extend(self.window.render(range.clone(), &decided.marks));
        }
        Half {
            has_text: !ranges.is_empty() || decided.withheld.is_some() && !positions.is_empty(),
            text: engine.release_text(Field::Text, text, decided.withheld),
            ids: engine.release(Content::Tokens(ids), decided.withheld),
            log_probabilities: has_log_probabilities.then(|| {
                engine.release(
                    Content::LogProbabilities(log_probabilities),
                    decided.withheld,
                )
            }),
            positions,
        }
    }
}

impl Engine {
    /// A part's text under a treatment that has already been applied to its content if it is a
    /// scan.
    fn release_text(
        &self,
        field: Field<'_>,
        text: Vec<u8>,
        withheld: Option<Withheld>,
    ) -> Redacted<Content> {
        if !self.is_granted(field) {
            return Redacted::withheld(Withheld::Level);
        }
        match (self.treatment(field), withheld) {
            (_, Some(reason)) => Redacted::withheld(reason),
            (Treatment::Scan(_), None) => Redacted::kept(Content::Text(text)),
            (Treatment::Act(_), None) => self.redact(field, Raw::new(Content::Text(text))),
        }
    }

    /// What stands for tokens, without those whose text is hidden.
    fn release(&self, content: Content, withheld: Option<Withheld>) -> Redacted<Content> {
        if !self.is_granted(Field::TokenIds) {
            return Redacted::withheld(Withheld::Level);
        }
        match (self.treatment(Field::TokenIds), withheld) {
            (_, Some(reason)) => Redacted::withheld(reason),
            (Treatment::Scan(_) | Treatment::Act(Action::Keep), None) => Redacted::kept(content),
            (Treatment::Act(_), None) => Redacted::withheld(Withheld::Drop),
        }
    }
}

#[cfg(test)]
mod tests;
