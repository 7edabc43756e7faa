//! Who sent what, in which order.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use crate::octets::FormError;

/// Bytes in hex, both ways.
macro_rules! octets {
    ($(#[$documentation:meta])* $name:ident($length:literal), $expected:literal) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdentityError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                hex(text).map(Self).ok_or(ParseIdentityError { expected: $expected })
            }
        }
    };
}

octets! {
    /// An agent, by its Ed25519 public key: whoever has the private key is the agent.
    AgentId(32), "an agent as 64 hex digits"
}
octets! {
    /// One stream of one run of an agent; random.
    SessionId(16), "a session as 32 hex digits"
}
octets! {
    /// A record, by SHA-256 over all that it says and holds.
    RecordHash(32), "a record's hash as 64 hex digits"
}

impl RecordHash {
    /// What the first record of a session names as the one before it.
    pub const NONE: Self = Self([0; 32]);
}

/// Text that does not have the form of the thing that it should name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ParseIdentityError {
    pub(crate) expected: &'static str,
}

/// A stretch of a session under one key, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// A record's place in its session, counted from 0 through all epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The place after it. At 2^64 records the count stays.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of an agent's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// What the collector may read: no content.
    Telemetry,
    /// What only the recipients may read.
    Content,
}

impl Stream {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Telemetry => 1,
            Self::Content => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Result<Self, FormError> {
        match code {
            1 => Ok(Self::Telemetry),
            2 => Ok(Self::Content),
            _ => Err(FormError::Unknown {
                what: "the stream",
                value: code as u64,
            }),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Telemetry => "telemetry",
            Self::Content => "content",
        })
    }
}

/// SHA-256 over parts, the first of which says what it is for.
pub(crate) fn sha256(purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(purpose.as_bytes());
    digest.update([0]);
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// Lower-case hex of exactly `N` bytes.
pub(crate) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}
