//! Who and what: numbers and names that are never mixed up because each has a type.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// A newtype around a number, written as the bare number.
macro_rules! number {
    ($(#[$documentation:meta])* $name:ident($inner:ty)) => {
        $(#[$documentation])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A process (tgid) in the initial pid namespace.
    Pid(u32)
}
number! {
    /// A thread in the initial pid namespace.
    Tid(u32)
}
number! {
    /// A logical CPU.
    Cpu(u16)
}
number! {
    /// Start of a process since boot in ticks of 1/100 s, as `/proc/PID/stat` field 22 has it;
    /// with the pid it names a process for good.
    StartTicks(u64)
}
number! {
    /// A cgroup v2 id.
    Cgroup(u64)
}
number! {
    /// A token of a model's vocabulary.
    TokenId(i32)
}
number! {
    /// A position in a sequence.
    Position(i32)
}
number! {
    /// A sequence of an inference context.
    SequenceId(i32)
}
number! {
    /// A loaded model: unique within a run, never an address of the target.
    ModelId(u64)
}
number! {
    /// An inference context: unique within a run, never an address of the target.
    ContextId(u64)
}
number! {
    /// A request: unique within a run.
    RequestId(u64)
}

/// A word of tracer's own, fixed when it was compiled: it cannot hold anything of the target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Label(Cow<'static, str>);

impl Label {
    /// A fixed word.
    #[must_use]
    pub const fn new(word: &'static str) -> Self {
        Self(Cow::Borrowed(word))
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name given by this host's operator: a profile, a probe, a group, an environment variable on
/// a profile's list, the node. Never text of the target; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Name(Arc<str>);

impl Name {
    /// A name from configuration.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that does not have the form of the thing that it should name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ParseIdentityError {
    expected: &'static str,
}

/// Writes a type as its `Display` and reads it with its `FromStr`.
macro_rules! as_text {
    ($name:ident, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        #[cfg(any(test, feature = "schema"))]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

/// A device number, written as `major:minor` like in `/proc/PID/maps` but in decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

as_text!(Device, "^[0-9]+:[0-9]+$");

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for Device {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text
            .split_once(':')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = numbers.ok_or(ParseIdentityError {
            expected: "a device as major:minor",
        })?;
        Ok(Self { major, minor })
    }
}

/// A file, whatever its path.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Inode {
    /// The file system's device.
    pub device: Device,
    /// The inode number on it.
    pub inode: u64,
}

/// The build-id note of an ELF file, written in hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId(Arc<[u8]>);

impl BuildId {
    /// The longest note that is taken for a build-id, in bytes; SHA-1's 20 are usual.
    pub const MAX: usize = 64;

    /// The note's bytes; `None` if there are none or more than [`BuildId::MAX`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=Self::MAX)
            .contains(&bytes.len())
            .then(|| Self(bytes.into()))
    }

    /// The note's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

as_text!(BuildId, "^([0-9a-f]{2}){1,64}$");

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl FromStr for BuildId {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text)
            .and_then(|bytes| Self::new(&bytes))
            .ok_or(ParseIdentityError {
                expected: "a build-id as 1 to 64 bytes in hex",
            })
    }
}

/// A SHA-256 digest, written as `sha256:` and hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

as_text!(Digest, "^sha256:[0-9a-f]{64}$");

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        write_hex(&self.0, f)
    }
}

impl FromStr for Digest {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("sha256:")
            .and_then(parse_hex)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(ParseIdentityError {
                expected: "a digest as sha256: and 64 hex digits",
            })
    }
}

/// A container's id as its cgroup's path has it: 64 hex digits. Nothing else fits in, so that it
/// needs no redaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    const DIGITS: usize = 64;

    /// Finds the id of the innermost container in a cgroup path, such as
    /// `/system.slice/docker-<id>.scope` or `/kubepods/pod<uid>/<id>`.
    #[must_use]
    pub fn in_cgroup_path(path: &str) -> Option<Self> {
        path.rsplit('/').find_map(|component| {
            let stem = component.strip_suffix(".scope").unwrap_or(component);
            stem.rsplit(['-', ':']).next()?.parse().ok()
        })
    }
}

as_text!(ContainerId, "^[0-9a-f]{64}$");

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.len() == Self::DIGITS && parse_hex(text).is_some();
        is_id.then(|| Self(text.into())).ok_or(ParseIdentityError {
            expected: "a container id as 64 hex digits",
        })
    }
}

/// Two digits a byte, handed on at once: every event carries a digest, and a formatter costs more for a
/// byte than writing it.
fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 2 * BuildId::MAX];
    let (pairs, _) = text.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
    }
    let text = text
        .get(..2 * bytes.len())
        .and_then(|text| str::from_utf8(text).ok());
    f.write_str(text.expect("as long as a build-id at most, and ASCII"))
}

/// Lower-case hex, two digits a byte.
fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_is_found_in_every_usual_cgroup_path() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/system.slice/docker-{id}.scope"),
            format!("/docker/{id}"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("/kubepods/besteffort/pod0a/{id}"),
            format!("/machine.slice/libpod-{id}.scope/container"),
            format!("/system.slice/containerd.service/kubepods:cri-containerd:{id}"),
        ] {
            let found = ContainerId::in_cgroup_path(&path).map(|id| id.to_string());
            assert_eq!(found.as_deref(), Some(id.as_str()), "{path}");
        }
        assert_eq!(
            ContainerId::in_cgroup_path("/user.slice/user-0.slice"),
            None
        );
    }

    #[test]
    fn identities_read_back_what_they_write() {
        let device: Device = "259:3".parse().unwrap();
        assert_eq!(device.to_string(), "259:3");
        let build: BuildId = "00ff10".parse().unwrap();
        assert_eq!(build.bytes(), [0, 255, 16]);
        assert_eq!(build.to_string(), "00ff10");
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn what_is_not_hex_is_refused() {
        for text in ["", "0", "0G", "é0", "sha256:00"] {
            assert!(text.parse::<BuildId>().is_err(), "{text}");
            assert!(text.parse::<Digest>().is_err(), "{text}");
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
    }
}
