/// What kind of thing a value is; the policy has one action for each kind.
///
/// Sizes, counts, durations, result codes and digests are plain numbers in the event model and
/// always kept; only what can hold text or tokens passes the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A path of a model file, a library or a cgroup.
    Path,
    /// The path or short name of a process's executable.
    Executable,
    /// A process's arguments.
    Arguments,
    /// The value of an environment variable.
    Environment {
        /// The variable.
        name: &'a str,
    },
    /// A name in a model file's header: its architecture, its own name.
    ModelName,
    /// A function, version or message constant of a runtime library's own file.
    Symbol,
    /// What the served runtime says went wrong.
    ErrorText,
    /// What tracer itself says about a refusal of its own.
    Diagnostic,
    /// Token ids.
    TokenIds,
    /// Prompt or generated text.
    Text,
}

impl Field<'static> {
    /// Every field, in the order of a policy file; of the environment a variable without name.
    pub const ALL: [Self; 10] = [
        Self::Path,
        Self::Executable,
        Self::Arguments,
        Self::Environment { name: "" },
        Self::ModelName,
        Self::Symbol,
        Self::ErrorText,
        Self::Diagnostic,
        Self::TokenIds,
        Self::Text,
    ];
}

impl Field<'_> {
    /// The name in a policy file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Executable => "executable",
            Self::Arguments => "arguments",
            Self::Environment { .. } => "environment",
            Self::ModelName => "model_name",
            Self::Symbol => "symbol",
            Self::ErrorText => "error_text",
            Self::Diagnostic => "diagnostic",
            Self::TokenIds => "token_ids",
            Self::Text => "text",
        }
    }
}
