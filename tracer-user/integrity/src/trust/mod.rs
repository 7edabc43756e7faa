//! Keys and certificates: whom to believe, and what to sign with.

mod certificate;
mod key;

pub use certificate::{CertificateError, Leaf, SigningCertificate, TrustAnchors};
pub use key::{Curve, KeyError, PrivateKey, PublicKey};
