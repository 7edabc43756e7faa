//! Keys and certificates: any text is one that can be used, or an error.
#![cfg_attr(fuzzing, no_main)]

use tracer_integrity::trust::{PrivateKey, PublicKey, SigningCertificate, TrustAnchors};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    if let Ok(key) = PublicKey::from_pem(bytes) {
        let again = PublicKey::from_pem(key.pem().as_bytes()).expect("it was written by us");
        assert_eq!(again.hint(), key.hint());
    }
    let _ = TrustAnchors::from_pems([bytes]);
    if let Ok(key) = PrivateKey::from_pem(bytes) {
        let signature = key.sign(b"message").expect("a key that was read can sign");
        assert!(key.public().verify(b"message", &signature).is_ok());
        let _ = SigningCertificate::from_pems(&key, bytes, [bytes]);
    }
}
