//! The text that is not decided yet, and the text before it that helps to decide.
//!
//! Decisions are made when a window is full or the text ends, never when a piece arrives: so the
//! same text gives the same output however it was cut. A byte is released only if everything that
//! could be found around it has been seen: what reaches [`HOLD_BACK`] bytes before the end waits,
//! with the whole of whatever begins before. What does not fit a window is not shown at all.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::{mark::Mark, redacted::Withheld};

/// Bytes that are decided at once.
pub(crate) const WINDOW: usize = 128 << 10;
/// Bytes behind which nothing is released before the text's end: the longest thing that is found
/// in parts of a text.
pub(crate) const HOLD_BACK: usize = 20 << 10;
/// Bytes before the undecided ones that are looked at again.
pub(crate) const CONTEXT: usize = 4 << 10;

/// The kind of what does not fit a window.
const OVERFLOW: &str = "OVERFLOW";

/// Sizes of a window; smaller ones make tests find its seams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) window: usize,
    pub(crate) hold_back: usize,
    pub(crate) context: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            window: WINDOW,
            hold_back: HOLD_BACK,
            context: CONTEXT,
        }
    }
}

/// See the module. Offsets are counted from the text's beginning.
pub(crate) struct Window {
    sizes: Sizes,
    bytes: Zeroizing<Vec<u8>>,
    /// Where `bytes` begins.
    base: usize,
    /// Up to where everything is decided.
    decided: usize,
    gaps: Vec<usize>,
    swallow: Swallow,
}

/// Why bytes are hidden as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swallow {
    Nothing,
    /// They belong to a run without an end in sight.
    Run,
    /// What began before them does not fit a window, or could not be decided.
    All,
}

/// What became of offered bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: usize,
    /// Whether they are hidden without being looked at.
    pub(crate) hidden: bool,
}

/// What is to be decided, with what is remembered before it.
pub(crate) struct Undecided<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where something is missing.
    pub(crate) gaps: &'a [usize],
    /// Whether there is nothing before and after it.
    pub(crate) is_whole: bool,
}

/// What has been decided.
pub(crate) struct Decided {
    /// From and up to where.
    pub(crate) range: Range<usize>,
    pub(crate) marks: Vec<Mark>,
    /// Why nothing of it may be shown.
    pub(crate) withheld: Option<Withheld>,
    /// What becomes of what follows.
    then: Swallow,
}

impl Window {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            bytes: Zeroizing::new(Vec::new()),
            base: 0,
            decided: 0,
            gaps: Vec::new(),
            swallow: Swallow::Nothing,
        }
    }

    pub(crate) const fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Takes what is there as context: it is looked at and not shown.
    pub(crate) fn skip(&mut self) {
        self.decided = self.end();
    }

    /// Nothing of what is undecided may be shown.
    pub(crate) fn withhold(&self, reason: Withheld) -> Decided {
        Decided {
            range: self.decided..self.end(),
            marks: Vec::new(),
            withheld: Some(reason),
            then: Swallow::All,
        }
    }

    /// Where the text ends so far.
    pub(crate) fn end(&self) -> usize {
        self.base + self.bytes.len()
    }

    /// Where the remembered text begins.
    pub(crate) const fn base(&self) -> usize {
        self.base
    }

    /// Takes as many bytes as fit, or hides as many as belong to what is hidden.
    pub(crate) fn take(&mut self, offered: &[u8]) -> Taken {
        let hidden = match self.swallow {
            Swallow::Nothing => 0,
            Swallow::Run => {
                let end = offered.iter().position(|byte| !is_run(*byte));
                end.unwrap_or(offered.len())
            }
            Swallow::All => offered.len(),
        };
        if hidden > 0 {
            self.restart(self.end() + hidden);
            return Taken {
                bytes: hidden,
                hidden: true,
            };
        }
        self.swallow = Swallow::Nothing;
        let bytes = offered.len().min(self.sizes.window - self.bytes.len());
        if self.bytes.capacity() - self.bytes.len() < bytes {
            self.grow(bytes);
        }
        self.bytes.extend_from_slice(&offered[..bytes]);
        Taken {
            bytes,
            hidden: false,
        }
    }

    /// Whether nothing more fits before something is decided.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= self.sizes.window
    }

    /// Something is missing between the text so far and what follows.
    pub(crate) fn gap(&mut self) {
        let end = self.end();
        if self.gaps.last() != Some(&end) {
            self.gaps.push(end);
        }
        // What was hidden ended in the gap, for all that is known.
        if self.swallow == Swallow::Run {
            self.swallow = Swallow::Nothing;
        }
    }

    /// The text ends earlier: what follows was taken back.
    pub(crate) fn truncate(&mut self, end: usize) {
        if end <= self.base {
            self.restart(end);
            return;
        }
        self.bytes.truncate(end - self.base);
        self.decided = self.decided.min(end);
        self.gaps.retain(|gap| *gap <= end);
    }

    /// Decides as much as can be decided; all of it if the text ends here.
    pub(crate) fn decide(
        &self,
        last: bool,
        judge: impl FnOnce(Undecided<'_>) -> Result<Vec<Mark>, Withheld>,
    ) -> Decided {
        let (end, decided) = (self.end(), self.decided);
        let gaps: Vec<usize> = self.gaps.iter().map(|gap| gap - self.base).collect();
        let text = Undecided {
            bytes: &self.bytes,
            gaps: &gaps,
            is_whole: last && self.base == 0 && decided == 0,
        };
        let mut marks = match judge(text) {
            Ok(marks) => marks,
            Err(reason) => return self.withhold(reason),
        };
        for mark in &mut marks {
            mark.range = mark.range.start + self.base..mark.range.end + self.base;
        }
        let upto = match last {
            true => end,
            false => self.release(&marks),
        };
        let mut all = Decided {
            range: decided..upto,
            marks,
            withheld: None,
            then: Swallow::Nothing,
        };
        if !last && upto <= decided {
            all.range = decided..end;
            all.marks = vec![Mark {
                range: decided..end,
                kind: OVERFLOW.to_owned(),
                shown: format!("[{OVERFLOW}]").into_bytes(),
            }];
            all.then = match self.run_start(end) <= decided {
                true => Swallow::Run,
                false => Swallow::All,
            };
        }
        all
    }

    /// Puts a decision into effect, after what it released has been rendered.
    pub(crate) fn advance(&mut self, decided: &Decided, last: bool) {
        let end = decided.range.end;
        if decided.then != Swallow::Nothing {
            self.restart(end);
            if last {
                self.gap();
            } else {
                self.swallow = decided.then;
            }
            return;
        }
        self.decided = end;
        if last {
            self.swallow = Swallow::Nothing;
        }
        let oldest = end.saturating_sub(self.sizes.context);
        if oldest > self.base {
            // Not in the middle of a word, if one ends soon.
            let from = oldest - self.base;
            let part = &self.bytes[from..end - self.base];
            let word = part.iter().position(|byte| byte.is_ascii_whitespace());
            let cut = from + word.map_or(0, |word| word + 1);
            let rest = Zeroizing::new(self.bytes[cut..].to_vec());
            self.bytes = rest;
            self.base += cut;
            self.gaps.retain(|gap| *gap > self.base);
        }
    }

    /// The text of a range, with what is shown instead of its marks.
    pub(crate) fn render(&self, range: Range<usize>, marks: &[Mark]) -> Vec<u8> {
        let base = self.base;
        let moved: Vec<Mark> = marks
            .iter()
            .filter(|mark| mark.touches(&range))
            .map(|mark| Mark {
                range: mark.range.start.saturating_sub(base)..mark.range.end - base,
                ..mark.clone()
            })
            .collect();
        crate::mark::render(&self.bytes, range.start - base..range.end - base, &moved)
    }

    /// Up to where a full window can be released: not within what was found or may go on.
    fn release(&self, marks: &[Mark]) -> usize {
        let mut upto = self
            .end()
            .saturating_sub(self.sizes.hold_back)
            .max(self.base);
        upto = self.run_start(upto);
        for mark in marks.iter().rev() {
            if mark.range.start < upto && upto < mark.range.end {
                upto = mark.range.start;
            }
        }
        upto
    }

    /// The beginning of the run of characters, of those that encodings and secrets are made of,
    /// that a place lies in.
    fn run_start(&self, at: usize) -> usize {
        let before = &self.bytes[..at - self.base];
        let boundary = before.iter().rposition(|byte| !is_run(*byte));
        let mut start = boundary.map_or(0, |boundary| boundary + 1);
        // Not within a character.
        while start > 0
            && self
                .bytes
                .get(start)
                .is_some_and(|byte| byte & 0xc0 == 0x80)
        {
            start -= 1;
        }
        self.base + start
    }

    /// Forgets everything; the text goes on at `at`.
    fn restart(&mut self, at: usize) {
        self.bytes = Zeroizing::new(Vec::new());
        self.base = at;
        self.decided = at;
        self.gaps.clear();
    }

    /// Makes room without leaving a copy behind in memory that is given back.
    fn grow(&mut self, more: usize) {
        let capacity = (self.bytes.len() + more)
            .next_power_of_two()
            .clamp(256, self.sizes.window.max(256));
        let mut wider = Zeroizing::new(Vec::with_capacity(capacity.max(self.bytes.len() + more)));
        wider.extend_from_slice(&self.bytes);
        self.bytes = wider;
    }
}

const fn is_run(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Detectors;

    #[test]
    fn a_window_holds_back_as_far_as_detectors_look() {
        let reach = Detectors::builtin().reach();
        assert!(HOLD_BACK >= reach.longest + reach.around);
        assert!(CONTEXT >= reach.around);
    }
}
