//! Requests for certificates.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData,
    SignatureAlgorithm,
};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject as _};
use x509_cert::{
    der::{Decode as _, Encode as _, oid::ObjectIdentifier},
    request::CertReq,
};
use zeroize::Zeroizing;

use super::PkiError;

/// A request for a certificate (PKCS #10) that is signed by the key that it is for.
#[derive(Debug)]
pub struct SigningRequest {
    der: Vec<u8>,
    public_key: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

/// Bytes of a request, at most.
const MAX_REQUEST: usize = 16 * 1024;
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const EDWARDS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

impl SigningRequest {
    /// The request in this text.
    ///
    /// # Errors
    /// If it is none, is of a key of another kind, or is not signed by it.
    pub fn parse(pem: &str) -> Result<Self, PkiError> {
        if pem.len() > MAX_REQUEST {
            return Err(PkiError::Request("it is too long"));
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| PkiError::Request("it is not in PEM"))?;
        let request =
            CertReq::from_der(&der).map_err(|_| PkiError::Request("it is not PKCS #10"))?;
        let key = &request.info.public_key;
        let curve = key
            .algorithm
            .parameters
            .as_ref()
            .and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        type Verification = &'static dyn VerificationAlgorithm;
        let (algorithm, verification): (_, Verification) =
            match (key.algorithm.oid, curve, request.algorithm.oid) {
                (EC, Some(P256), ECDSA_SHA256) => {
                    (&PKCS_ECDSA_P256_SHA256, &ECDSA_P256_SHA256_ASN1)
                }
                (EDWARDS, None, EDWARDS) => (&PKCS_ED25519, &ED25519),
                _ => return Err(PkiError::Request("its key is neither P-256 nor Ed25519")),
            };
        let bits = |bits: &x509_cert::der::asn1::BitString| bits.as_bytes().map(<[u8]>::to_vec);
        let public_key = bits(&key.subject_public_key);
        let public_key = public_key.ok_or(PkiError::Request("its key is none"))?;
        let signature = bits(&request.signature);
        let signature = signature.ok_or(PkiError::Request("its signature is none"))?;
        let signed = request.info.to_der();
        let signed = signed.map_err(|_| PkiError::Request("it is not in DER"))?;
        UnparsedPublicKey::new(verification, &public_key)
            .verify(&signed, &signature)
            .map_err(|_| PkiError::Request("it is not signed by its own key"))?;
        Ok(Self {
            der: der.to_vec(),
            public_key,
            algorithm,
        })
    }

    /// A request of a new key (P-256), and that key, PEM.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn with_new_key() -> Result<(Self, Zeroizing<String>), PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let request = CertificateParams::default().serialize_request(&key)?;
        let pem = Zeroizing::new(key.serialize_pem());
        Ok((Self::parse(&request.pem()?)?, pem))
    }

    /// Its bytes, which the agent signed too.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

impl PublicKeyData for SigningRequest {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_by_its_own_key() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = CertificateParams::new(vec![String::from("ignored.example")]).unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let parsed = SigningRequest::parse(&pem).unwrap();
        let mut der = parsed.der().to_vec();
        let name = der
            .windows(7)
            .position(|window| window == b"ignored")
            .unwrap();
        der[name] = b'I';
        let changed = pem::encode(&der);
        let error = SigningRequest::parse(&changed).unwrap_err();
        assert!(error.to_string().contains("not signed"), "{error}");
        for wrong in [
            "",
            "-----BEGIN CERTIFICATE REQUEST-----",
            &"a".repeat(20_000),
        ] {
            assert!(SigningRequest::parse(wrong).is_err());
        }
    }

    mod pem {
        use base64::{Engine as _, prelude::BASE64_STANDARD};

        pub(super) fn encode(der: &[u8]) -> String {
            let text = BASE64_STANDARD.encode(der);
            let what = "CERTIFICATE REQUEST";
            format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
        }
    }
}
