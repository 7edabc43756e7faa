//! Digests of file contents, and the algorithms that make them.

use std::fmt;

use sha2::Digest as _;

/// How contents are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// BLAKE2b with 512 bits.
    Blake2b,
    /// BLAKE3 with 256 bits.
    Blake3,
    /// What git names a file by: SHA-1 over a header and the contents. Collisions of SHA-1 can be
    /// made, so that it tells damage but no clever forgery.
    GitSha1,
}

impl Algorithm {
    /// The name in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
            Self::GitSha1 => "gitsha1",
        }
    }

    /// Bytes of a digest.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Blake2b => 64,
            Self::GitSha1 => 20,
        }
    }

    /// The algorithm that a signed manifest names; git's is none of them.
    #[must_use]
    pub fn of_manifest(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Blake2b, Self::Blake3]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The digest of some contents, as long as its algorithm makes them. Written as `sha256:…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest {
    algorithm: Algorithm,
    bytes: Box<[u8]>,
}

impl ContentDigest {
    /// A digest that was read somewhere; `None` if its length is not the algorithm's.
    #[must_use]
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        (bytes.len() == algorithm.length()).then(|| Self {
            algorithm,
            bytes: bytes.into(),
        })
    }

    /// A digest in hex of either case; `None` if it is no hex or not as long as it must be.
    #[must_use]
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Option<Self> {
        // Checked first, so that a long text costs no memory.
        if hex.len() != 2 * algorithm.length() {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|&[high, low]| u8::try_from(digit(high)? << 4 | digit(low)?).ok())
            .collect();
        Self::new(algorithm, &bytes?)
    }

    /// How it was made.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes in lower-case hex.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.bytes)
    }
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| {
            [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]
        })
        .map(char::from)
        .collect()
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A digest in the making.
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Blake2b(Box<blake2::Blake2b512>),
    Blake3(Box<blake3::Hasher>),
    GitSha1(Box<aws_lc_rs::digest::Context>),
}

impl Hasher {
    /// Begins the digest of `size` bytes; git's needs to know how many will come.
    pub(crate) fn new(algorithm: Algorithm, size: u64) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Blake2b => Self::Blake2b(Box::new(blake2::Blake2b512::new())),
            Algorithm::Blake3 => Self::Blake3(Box::new(blake3::Hasher::new())),
            Algorithm::GitSha1 => {
                let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
                let mut context = aws_lc_rs::digest::Context::new(sha1);
                context.update(format!("blob {size}\0").as_bytes());
                Self::GitSha1(Box::new(context))
            }
        }
    }

    /// Adds contents.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake2b(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::GitSha1(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of everything added.
    pub(crate) fn finish(self) -> ContentDigest {
        let (algorithm, bytes): (_, Box<[u8]>) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, (*hasher.finalize()).into()),
            Self::Blake2b(hasher) => (Algorithm::Blake2b, (*hasher.finalize()).into()),
            Self::Blake3(hasher) => (Algorithm::Blake3, (*hasher.finalize().as_bytes()).into()),
            Self::GitSha1(hasher) => (Algorithm::GitSha1, hasher.finish().as_ref().into()),
        };
        ContentDigest { algorithm, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(algorithm, bytes.len() as u64);
        hasher.update(bytes);
        hasher.finish().hex()
    }

    /// `sha256sum`, `b2sum`, `b3sum` and `git hash-object` of the same three bytes.
    #[test]
    fn digests_are_those_of_the_usual_tools() {
        assert_eq!(
            of(Algorithm::Sha256, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            of(Algorithm::Blake2b, b"abc"),
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1\
             7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
        );
        assert_eq!(
            of(Algorithm::Blake3, b"abc"),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        assert_eq!(
            of(Algorithm::GitSha1, b"abc"),
            "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"
        );
    }

    #[test]
    fn a_digest_of_another_length_or_alphabet_is_refused() {
        let hex = of(Algorithm::Sha256, b"");
        let read = |hex: &str| ContentDigest::from_hex(Algorithm::Sha256, hex);
        assert_eq!(read(&hex).map(|digest| digest.hex()), Some(hex.clone()));
        assert!(read(&hex.to_uppercase()).is_some());
        assert!(read(&hex[..62]).is_none());
        assert!(read(&hex.replace('e', "g")).is_none());
        assert!(ContentDigest::from_hex(Algorithm::Blake2b, &hex).is_none());
    }
}
