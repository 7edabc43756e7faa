//! Keys: an agent signs with one, a recipient opens with another.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use hpke::{
    Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _, aead::ChaCha20Poly1305,
    kdf::HkdfSha256, kem::X25519HkdfSha256,
};
use zeroize::Zeroizing;

use crate::{
    identity::{AgentId, ParseIdentityError, hex, sha256},
    octets::FormError,
};

/// The private half is not printed.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    agent: AgentId,
}

/// A key could not be made or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// Bytes that are no key.
    #[error("these bytes are no key of {0}")]
    NotAKey(&'static str),
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let seed: Zeroizing<[u8; 32]> = random()?;
        Self::from_seed(&seed)
    }

    /// The key that comes from these 32 random bytes, as RFC 8032 has it.
    ///
    /// # Errors
    /// If the cryptographic library refuses the bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let refused = KeyError::NotAKey("Ed25519");
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| refused)?;
        let public = pair.public_key().as_ref().try_into();
        let agent = public.map(AgentId).map_err(|_| refused)?;
        Ok(Self { pair, agent })
    }

    /// Whose key it is.
    #[must_use]
    pub const fn agent(&self) -> AgentId {
        self.agent
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(message);
        let bytes = signature.as_ref().try_into();
        bytes.expect("an Ed25519 signature has 64 bytes (RFC 8032, 5.1.6)")
    }
}

pub(crate) fn is_signed_by(agent: AgentId, message: &[u8], signature: &[u8; 64]) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, agent.0);
    key.verify(message, signature).is_ok()
}

/// How a key is wrapped for a recipient: an HPKE suite, by the numbers of RFC 9180, section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305.
    X25519,
}

impl Suite {
    /// KEM, KDF and AEAD.
    #[must_use]
    pub const fn ids(self) -> [u16; 3] {
        match self {
            Self::X25519 => [0x0020, 0x0001, 0x0003],
        }
    }

    pub(crate) const fn from_ids(ids: [u16; 3]) -> Result<Self, FormError> {
        match ids {
            [0x0020, 0x0001, 0x0003] => Ok(Self::X25519),
            [kem, kdf, aead] => Err(FormError::Unknown {
                what: "the HPKE suite (KEM, KDF, AEAD)",
                value: (kem as u64) << 32 | (kdf as u64) << 16 | aead as u64,
            }),
        }
    }
}

/// Names a recipient's key: SHA-256 over its suite and public half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecipientId(pub [u8; 32]);

impl fmt::Display for RecipientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RecipientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientId({self})")
    }
}

/// Whom content is sealed for: the public half of a key, written as `x25519:` and hex.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient {
    key: <X25519HkdfSha256 as hpke::Kem>::PublicKey,
    id: RecipientId,
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

/// The private half, which opens what was sealed for the public one. It is not printed.
pub struct RecipientSecret {
    key: <X25519HkdfSha256 as hpke::Kem>::PrivateKey,
    recipient: Recipient,
}

/// A key that was wrapped for a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// For whom.
    pub recipient: RecipientId,
    /// The HPKE encapsulated key.
    pub encapsulated: [u8; 32],
    /// The sealed key and its tag.
    pub sealed: [u8; Wrapped::SEALED],
}

impl Wrapped {
    /// Bytes of a sealed key: 32 and the tag of 16.
    pub const SEALED: usize = 48;
}

const RECIPIENT: &str = "x25519:";
const SECRET: &str = "x25519-secret:";

impl Recipient {
    /// The suite that the key is of.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        Suite::X25519
    }

    /// The key's name.
    #[must_use]
    pub const fn id(&self) -> RecipientId {
        self.id
    }

    fn new(key: <X25519HkdfSha256 as hpke::Kem>::PublicKey) -> Self {
        let [kem, kdf, aead] = Suite::X25519.ids().map(u16::to_be_bytes);
        let bytes = key.to_bytes();
        let id = sha256("tracer recipient 1", &[&kem, &kdf, &aead, &bytes]);
        let id = RecipientId(id);
        Self { key, id }
    }

    /// Wraps a key for this recipient alone; `context` must be the same when it is unwrapped.
    pub(crate) fn wrap(&self, key: &[u8; 32], context: &[u8]) -> Result<Wrapped, KeyError> {
        let refused = KeyError::NotAKey("X25519");
        let (encapsulated, sealed) = hpke::single_shot_seal::<
            ChaCha20Poly1305,
            HkdfSha256,
            X25519HkdfSha256,
        >(&OpModeS::Base, &self.key, context, key, b"")
        .map_err(|_| refused)?;
        Ok(Wrapped {
            recipient: self.id,
            encapsulated: encapsulated.to_bytes().into(),
            sealed: sealed.try_into().map_err(|_| refused)?,
        })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(RECIPIENT)?;
        let bytes = self.key.to_bytes();
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Recipient {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "a recipient as x25519: and 64 hex digits";
        let bytes: Option<[u8; 32]> = text.strip_prefix(RECIPIENT).and_then(hex);
        bytes
            .and_then(|bytes| <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&bytes).ok())
            .map(Self::new)
            .ok_or(ParseIdentityError { expected })
    }
}

impl RecipientSecret {
    /// A new key.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let material: Zeroizing<[u8; 32]> = random()?;
        let (key, public) = X25519HkdfSha256::derive_keypair(material.as_slice());
        let recipient = Recipient::new(public);
        Ok(Self { key, recipient })
    }

    /// The key with these bytes, as [`Self::to_bytes`] gives them.
    ///
    /// # Errors
    /// If they are no key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(bytes)
            .map_err(|_| KeyError::NotAKey("X25519"))?;
        let recipient = Recipient::new(X25519HkdfSha256::sk_to_pk(&key));
        Ok(Self { key, recipient })
    }

    /// The key's bytes, to be kept where only its owner reads.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes().into())
    }

    /// The key as it is kept in a file: `x25519-secret:` and 64 hex digits on a line. Lines that begin
    /// with `#` are comments.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!(
            "# Opens what was sealed for {}. Keep it secret.\n{SECRET}",
            self.recipient
        ));
        // Room for all of it, so that no copy is left behind.
        text.reserve(2 * 32 + 1);
        for byte in self.to_bytes().iter() {
            for digit in [byte >> 4, byte & 0xf] {
                let digit = char::from_digit(digit.into(), 16);
                text.push(digit.expect("four bits are a hex digit"));
            }
        }
        text.push('\n');
        text
    }

    /// The key in such a text.
    ///
    /// # Errors
    /// If there is none.
    pub fn parse(text: &str) -> Result<Self, ParseIdentityError> {
        let expected = "a recipient's secret key as x25519-secret: and 64 hex digits";
        let mut lines = text.lines().map(str::trim);
        let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        let bytes = line
            .and_then(|line| line.strip_prefix(SECRET))
            .and_then(hex);
        bytes
            .map(Zeroizing::new)
            .and_then(|bytes| Self::from_bytes(&bytes).ok())
            .ok_or(ParseIdentityError { expected })
    }

    /// The public half.
    #[must_use]
    pub const fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// The key that was wrapped; none if it was not wrapped for this recipient in this context.
    pub(crate) fn unwrap(&self, wrapped: &Wrapped, context: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let encapsulated =
            <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&wrapped.encapsulated).ok()?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.key,
            &encapsulated,
            context,
            &wrapped.sealed,
            b"",
        );
        let opened = Zeroizing::new(opened.ok()?);
        let key: [u8; 32] = opened.as_slice().try_into().ok()?;
        Some(Zeroizing::new(key))
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        let pairs = pairs.iter();
        pairs
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// RFC 9180, appendix A.2.1.1, sequence number 0.
    #[test]
    fn the_suite_opens_what_the_standard_sealed() {
        let secret = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
        let secret = RecipientSecret::from_bytes(&hex(secret).unwrap()).unwrap();
        assert_eq!(
            secret.recipient().to_string(),
            "x25519:4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
        );
        let encapsulated =
            bytes("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
        let encapsulated =
            <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&encapsulated).unwrap();
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret.key,
            &encapsulated,
            b"Ode on a Grecian Urn",
            &bytes(
                "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db\
                 21993c62ce81883d2dd1b51a28",
            ),
            b"Count-0",
        );
        assert_eq!(opened.unwrap(), b"Beauty is truth, truth beauty");
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn an_agent_signs_as_the_standard_does() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::from_seed(&seed.unwrap()).unwrap();
        assert_eq!(
            key.agent().to_string(),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            signature.to_vec(),
            bytes(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            )
        );
        assert!(is_signed_by(key.agent(), &[0x72], &signature));
        assert!(!is_signed_by(key.agent(), &[0x73], &signature));
    }

    #[test]
    fn a_wrapped_key_is_for_one_recipient_in_one_context() {
        let [ours, theirs] = [(); 2].map(|()| RecipientSecret::generate().unwrap());
        let wrapped = ours.recipient().wrap(&[7; 32], b"here").unwrap();
        assert_eq!(*ours.unwrap(&wrapped, b"here").unwrap(), [7; 32]);
        assert!(ours.unwrap(&wrapped, b"there").is_none());
        assert!(theirs.unwrap(&wrapped, b"here").is_none());
    }

    #[test]
    fn a_secret_reads_back_from_its_file() {
        let secret = RecipientSecret::generate().unwrap();
        let text = secret.to_text();
        let same = RecipientSecret::parse(&text).unwrap();
        assert_eq!(same.to_bytes(), secret.to_bytes());
        for wrong in ["", "# only a comment", "x25519:00", &text[..text.len() - 2]] {
            assert!(RecipientSecret::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_recipient_reads_back_from_its_text() {
        let secret = RecipientSecret::generate().unwrap();
        let same = RecipientSecret::from_bytes(&secret.to_bytes()).unwrap();
        let text = same.recipient().to_string();
        assert_eq!(text.parse().as_ref(), Ok(secret.recipient()));
        for wrong in ["", "x25519:", "x25519:00", &text.to_uppercase(), &text[7..]] {
            assert!(wrong.parse::<Recipient>().is_err(), "{wrong}");
        }
    }
}
