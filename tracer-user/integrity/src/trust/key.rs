//! ECDSA keys on the three NIST curves, each with the hash of its size; Model Signing has no others.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _,
        UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{
    PrivateKeyDer, SubjectPublicKeyInfoDer,
    pem::{self, PemObject as _},
};
use x509_cert::{
    der::{
        Decode as _, Encode as _,
        asn1::{AnyRef, BitStringRef, ObjectIdentifier},
    },
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef},
};

/// `id-ecPublicKey` (RFC 5480).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// Begins a point that is not compressed (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A NIST curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// With SHA-256.
    P256,
    /// With SHA-384.
    P384,
    /// With SHA-512.
    P521,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No such section in the file.
    #[error("there is no PEM section with {0}")]
    NoSection(&'static str),
    /// The section is damaged.
    #[error("the PEM text is damaged: {0}")]
    Pem(String),
    /// Nobody can ask for a password here.
    #[error(
        "the key is encrypted; write it without a password first: openssl pkcs8 -in KEY -out PLAIN"
    )]
    Encrypted,
    /// RSA, Ed25519, another curve, or no key at all.
    #[error("it is not an ECDSA key on P-256, P-384 or P-521")]
    Kind,
    /// The curve's point is in the short form.
    #[error("its point is compressed; write it with: openssl ec -pubin -conv_form uncompressed")]
    Compressed,
    /// The signature is not this key's.
    #[error("the signature is not valid")]
    Signature,
    /// The cryptographic library refused.
    #[error("the key cannot sign")]
    CannotSign,
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    curve: Curve,
    /// The key with its algorithm, as DER.
    der: Vec<u8>,
    point: Vec<u8>,
}

impl PublicKey {
    /// Reads the first `PUBLIC KEY` of a PEM text, whatever stands around it.
    ///
    /// # Errors
    /// If there is none, or it is of another kind.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text)
            .map_err(|error| describe(error, "a public key (BEGIN PUBLIC KEY)"))?;
        Self::from_der(&der)
    }

    /// Reads a key with its algorithm.
    ///
    /// # Errors
    /// If it is of another kind.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Kind)?;
        let AlgorithmIdentifierRef { oid, parameters } = key.algorithm;
        let curve = parameters
            .filter(|_| oid == EC_PUBLIC_KEY)
            .and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok())
            .and_then(Curve::of)
            .ok_or(KeyError::Kind)?;
        let point = key.subject_public_key.as_bytes().ok_or(KeyError::Kind)?;
        if point.first() != Some(&UNCOMPRESSED) {
            return Err(KeyError::Compressed);
        }
        Ok(Self {
            curve,
            der: der.to_vec(),
            point: point.to_vec(),
        })
    }

    fn new(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        let oid = curve.oid();
        let key = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef {
                oid: EC_PUBLIC_KEY,
                parameters: Some(AnyRef::from(&oid)),
            },
            subject_public_key: BitStringRef::from_bytes(point).map_err(|_| KeyError::Kind)?,
        };
        Self::from_der(&key.to_der().map_err(|_| KeyError::Kind)?)
    }

    /// The curve.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The key's name in bundles: SHA-256, in hex, over the PEM text as OpenSSL writes it, not over
    /// the file that the key came in.
    #[must_use]
    pub fn hint(&self) -> String {
        use sha2::Digest as _;
        crate::digest::hex(&sha2::Sha256::digest(self.pem()))
    }

    /// The PEM text: 64 columns, with a newline at the end.
    #[must_use]
    pub fn pem(&self) -> String {
        let encoded = STANDARD.encode(&self.der);
        let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END PUBLIC KEY-----\n");
        text
    }

    /// Checks a DER signature over a message.
    ///
    /// # Errors
    /// If it is not this key's.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        UnparsedPublicKey::new(self.curve.verification(), &self.point)
            .verify(message, signature)
            .map_err(|_| KeyError::Signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.curve, self.hint())
    }
}

/// A private key.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads the first private key of a PEM text: PKCS #8, or the older form of `openssl ecparam`.
    ///
    /// # Errors
    /// If there is none, it is encrypted or of another kind.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
        let encrypted = |mark: &[u8]| text.windows(mark.len()).any(|part| part == mark);
        if ENCRYPTED.into_iter().any(encrypted) {
            return Err(KeyError::Encrypted);
        }
        let der = PrivateKeyDer::from_pem_slice(text)
            .map_err(|error| describe(error, "a private key (BEGIN PRIVATE KEY)"))?;
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let pair = match &der {
                PrivateKeyDer::Pkcs8(key) => {
                    EcdsaKeyPair::from_pkcs8(curve.signing(), key.secret_pkcs8_der())
                }
                PrivateKeyDer::Sec1(key) => {
                    EcdsaKeyPair::from_private_key_der(curve.signing(), key.secret_sec1_der())
                }
                _ => return Err(KeyError::Kind),
            };
            if let Ok(pair) = pair {
                let public = PublicKey::new(curve, pair.public_key().as_ref())?;
                return Ok(Self { pair, public });
            }
        }
        Err(KeyError::Kind)
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message; the signature is DER.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| KeyError::CannotSign)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey of {:?}", self.public)
    }
}

impl Curve {
    const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        })
    }

    fn of(oid: ObjectIdentifier) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521]
            .into_iter()
            .find(|curve| curve.oid() == oid)
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }
}

pub(super) fn describe(error: pem::Error, wanted: &'static str) -> KeyError {
    match error {
        pem::Error::NoItemsFound => KeyError::NoSection(wanted),
        other => KeyError::Pem(other.to_string()),
    }
}
