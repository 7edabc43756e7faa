//! When a probe holds for a library: by the functions it has, by a version read from the binary,
//! or by build-id. Two builds that report one version can differ, so presence comes first.

use std::fmt;

/// What a gate asks about one mapped library.
pub trait Library {
    /// Whether the library defines a function that matches.
    fn defines(&self, symbol: &SymbolPattern) -> bool;
    /// The string that the function `symbol` returns, read from the binary without running it.
    fn version(&self, symbol: &str) -> Option<String>;
    /// The build-id note, if there is one.
    fn build_id(&self) -> Option<&[u8]>;
}

/// A function's name in a symbol table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SymbolPattern {
    /// The whole name; found through the hash table.
    Exact(String),
    /// The beginning of a mangled name whose end differs between builds, written `name*`; needs
    /// a walk over the table.
    Prefix(String),
    /// The parts of a mangled name between which builds differ, written `first*second*last`: Rust
    /// puts hashes of crates into its names. Two parts or more, the first is not empty; needs a
    /// walk over the table.
    Parts(Vec<String>),
}

impl SymbolPattern {
    /// Whether a symbol's name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(whole) => name == whole,
            Self::Prefix(beginning) => name.starts_with(beginning),
            Self::Parts(parts) => has_parts(name, parts),
        }
    }
}

impl fmt::Display for SymbolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(name) => write!(f, "{name}*"),
            Self::Parts(parts) => f.write_str(&parts.join("*")),
        }
    }
}

/// Whether a name consists of the parts, in their order, and whatever is between them.
fn has_parts(name: &str, parts: &[String]) -> bool {
    let Some((first, others)) = parts.split_first() else {
        return false;
    };
    let Some(mut rest) = name.strip_prefix(first.as_str()) else {
        return false;
    };
    let Some((last, between)) = others.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

/// A release number: up to four parts, a suffix such as `-dev` left out because builds between
/// two releases carry the next one's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u32; 4]);

impl Version {
    /// Reads `1.2.3`, `v1.2.3` or `1.2.3-dev`; missing parts are 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let mut parts = [0; 4];
        let mut count = 0;
        for part in text[..end].split('.') {
            *parts.get_mut(count)? = part.parse().ok()?;
            count += 1;
        }
        (count > 0).then_some(Self(parts))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch, _]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Versions from one release up to, not including, another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionRange {
    /// The first that fits.
    pub from: Option<Version>,
    /// The first that no longer fits.
    pub below: Option<Version>,
}

impl VersionRange {
    /// Whether a version lies in the range.
    #[must_use]
    pub fn contains(&self, version: Version) -> bool {
        self.from.is_none_or(|from| version >= from)
            && self.below.is_none_or(|below| version < below)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.below) {
            (Some(from), Some(below)) => write!(f, "{from} up to, not including, {below}"),
            (Some(from), None) => write!(f, "{from} or later"),
            (None, Some(below)) => write!(f, "before {below}"),
            (None, None) => f.write_str("any version"),
        }
    }
}

/// The conditions of a probe; all must hold. The empty gate always opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Functions that must exist.
    pub present: Vec<SymbolPattern>,
    /// Functions that must not exist.
    pub absent: Vec<SymbolPattern>,
    /// The range, and the functions that may tell the version, in order of trust.
    pub version: Option<(Vec<String>, VersionRange)>,
    /// Only these builds.
    pub build_ids: Option<Vec<Vec<u8>>>,
}

/// Why a gate is shut for a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateRefusal {
    /// A function that must exist does not.
    Missing(SymbolPattern),
    /// A function that must not exist does.
    Unexpected(SymbolPattern),
    /// The library does not tell its version.
    VersionUnknown(VersionRange),
    /// The version does not fit.
    VersionOutside {
        /// What the library says.
        found: String,
        /// What fits.
        wanted: VersionRange,
    },
    /// The build-id is missing or none of those listed.
    BuildId,
}

impl fmt::Display for GateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(symbol) => write!(f, "the library has no {symbol}"),
            Self::Unexpected(symbol) => write!(f, "the library has {symbol}"),
            Self::VersionUnknown(wanted) => {
                write!(
                    f,
                    "the library does not tell its version, wanted is {wanted}"
                )
            }
            Self::VersionOutside { found, wanted } => {
                write!(f, "the library says version {found}, wanted is {wanted}")
            }
            Self::BuildId => f.write_str("the library's build-id is not one of those known"),
        }
    }
}

impl Gate {
    /// Whether the gate opens for `library`.
    ///
    /// # Errors
    /// The first condition that does not hold.
    pub fn check(&self, library: &dyn Library) -> Result<(), GateRefusal> {
        let Self {
            present,
            absent,
            version,
            build_ids,
        } = self;
        if let Some(symbol) = present.iter().find(|symbol| !library.defines(symbol)) {
            return Err(GateRefusal::Missing(symbol.clone()));
        }
        if let Some(symbol) = absent.iter().find(|symbol| library.defines(symbol)) {
            return Err(GateRefusal::Unexpected(symbol.clone()));
        }
        if let Some((tellers, wanted)) = version {
            let found = tellers
                .iter()
                .find_map(|teller| library.version(teller))
                .ok_or(GateRefusal::VersionUnknown(*wanted))?;
            let fits = Version::parse(&found).is_some_and(|version| wanted.contains(version));
            if !fits {
                return Err(GateRefusal::VersionOutside {
                    found,
                    wanted: *wanted,
                });
            }
        }
        if let Some(known) = build_ids {
            let found = library.build_id();
            if !known.iter().any(|id| found == Some(id.as_slice())) {
                return Err(GateRefusal::BuildId);
            }
        }
        Ok(())
    }
}
