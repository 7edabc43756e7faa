//! A regular expression that is compiled when it is first needed.

use std::sync::OnceLock;

use regex_automata::{Anchored, Input, meta, util::syntax};

/// No compiled pattern takes more memory, in bytes.
const MAX_COMPILED: usize = 4 << 20;
/// How far a pattern is followed from where it begins.
pub(crate) const MAX_MATCH: usize = 16 << 10;

/// A pattern, compiled at its first use.
pub(crate) struct Pattern {
    source: String,
    group: usize,
    compiled: OnceLock<Option<meta::Regex>>,
}

impl Pattern {
    /// The match is the pattern's group of this number; 0 is all of it.
    pub(crate) fn new(source: impl Into<String>, group: usize) -> Self {
        Self {
            source: source.into(),
            group,
            compiled: OnceLock::new(),
        }
    }

    /// Compiles the pattern.
    ///
    /// # Errors
    /// The reason why it cannot be.
    pub(crate) fn check(&self) -> Result<(), Box<meta::BuildError>> {
        if self.compiled.get().is_none() {
            let regex = build(&self.source)?;
            // Whoever came first compiled the same.
            let _ = self.compiled.set(Some(regex));
        }
        Ok(())
    }

    fn regex(&self) -> Option<&meta::Regex> {
        self.compiled
            .get_or_init(|| build(&self.source).ok())
            .as_ref()
    }

    /// The match that begins at `start`.
    pub(crate) fn at(&self, text: &[u8], start: usize) -> Option<(usize, usize)> {
        let end = text.len().min(start + MAX_MATCH);
        self.run(Input::new(text).range(start..end).anchored(Anchored::Yes))
    }

    /// The first match within the range.
    pub(crate) fn within(&self, text: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
        let end = text.len().min(end);
        self.run(Input::new(text).range(start.min(end)..end))
    }

    fn run(&self, input: Input<'_>) -> Option<(usize, usize)> {
        let regex = self.regex()?;
        if self.group == 0 {
            let found = regex.search(&input)?;
            return Some((found.start(), found.end()));
        }
        let mut captures = regex.create_captures();
        regex.search_captures(&input, &mut captures);
        let span = captures.get_group(self.group)?;
        Some((span.start, span.end))
    }
}

fn build(source: &str) -> Result<meta::Regex, Box<meta::BuildError>> {
    meta::Regex::builder()
        .configure(
            meta::Regex::config()
                .utf8_empty(false)
                .nfa_size_limit(Some(MAX_COMPILED))
                .hybrid_cache_capacity(1 << 20),
        )
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build(source)
        .map_err(Box::new)
}
