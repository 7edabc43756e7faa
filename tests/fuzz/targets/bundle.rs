//! Signatures: any text is a bundle that verifies or an error that can be printed.
#![cfg_attr(fuzzing, no_main)]

use std::{sync::LazyLock, time::Duration};

use tracer_integrity::{
    oms::{Bundle, Trust},
    trust::{PublicKey, TrustAnchors},
};

/// The key and the root that the seeds were signed with.
static TRUSTED: LazyLock<[Trust; 2]> = LazyLock::new(|| {
    let key = PublicKey::from_pem(include_bytes!("../trusted-key.pem")).expect("it is a key");
    let root: &[u8] = include_bytes!("../trusted.pem");
    let anchors = TrustAnchors::from_pems([root]).expect("it is a root");
    // 2027-01-01, when the root is valid.
    let then = Duration::from_secs(1_798_761_600);
    [Trust::Key(key), Trust::certificates(anchors, then)]
});

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(not(fuzzing))]
fn main() {
    run(&[]);
}

fn run(bytes: &[u8]) {
    match Bundle::parse(bytes) {
        Ok(bundle) => {
            for trust in TRUSTED.iter() {
                if let Err(error) = bundle.verify(trust) {
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
