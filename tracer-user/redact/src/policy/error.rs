use crate::detect::RuleError;

/// Why a policy file is refused: the line, what stands there, and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file is not TOML.
    #[error("line {line}: not valid TOML: {what}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        what: String,
    },
    /// A word that no policy has in that place.
    #[error("line {line}: unknown {place} `{name}`; did you mean `{nearest}`?")]
    Unknown {
        /// Line, from 1.
        line: usize,
        /// What was expected there.
        place: &'static str,
        /// What stands there.
        name: String,
        /// The known one that looks most like it.
        nearest: String,
    },
    /// A rule of the policy's own that cannot be used.
    #[error("line {line}: {cause}")]
    Rule {
        /// Line where the rule begins, from 1.
        line: usize,
        /// Why.
        cause: Box<RuleError>,
    },
    /// A value that does not fit.
    #[error("line {line}: {what}; {remedy}")]
    Value {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
}

impl PolicyError {
    /// The line that the error is in, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        match self {
            Self::Syntax { line, .. }
            | Self::Unknown { line, .. }
            | Self::Rule { line, .. }
            | Self::Value { line, .. } => *line,
        }
    }
}
