//! On two real bundles of model-signing, `vectors/sigstore`, whole and changed in one place each.

use serde_json::{Value, json};

use super::*;
use crate::oms::{Bundle, BundleError, Manifest, Signer, Trust};

const ROOT: &str = include_str!("../../vectors/sigstore/trusted_root.json");
const BUNDLES: [&str; 2] = [
    include_str!("../../vectors/sigstore/model-v1.0.1.sig"),
    include_str!("../../vectors/sigstore/model-v1.1.0.sig"),
];
const IDENTITY: &str = "stefanb@us.ibm.com";
const ISSUER: &str = "https://sigstore.verify.ibm.com/oauth2";

fn verified(
    root: &Value,
    bundle: &Value,
    identity: &str,
    issuer: &str,
) -> Result<(Signer, Manifest), BundleError> {
    let root =
        TrustedRoot::parse(root.to_string().as_bytes()).expect("the root has the right form");
    let keyless = Keyless::new(root, identity.into(), issuer.into());
    Bundle::parse(bundle.to_string().as_bytes())?.verify(&Trust::Sigstore(Box::new(keyless)))
}

fn refusal(root: &Value, bundle: &Value) -> SigstoreError {
    match verified(root, bundle, IDENTITY, ISSUER) {
        Err(BundleError::Sigstore(error)) => error,
        other => panic!("not for a reason of Sigstore's: {other:?}"),
    }
}

fn root() -> Value {
    serde_json::from_str(ROOT).expect("it is JSON")
}

fn bundle() -> Value {
    serde_json::from_str(BUNDLES[0]).expect("it is JSON")
}

/// The bundle with one place changed.
fn changed(place: &str, to: Value) -> Value {
    let mut bundle = bundle();
    *bundle
        .pointer_mut(place)
        .unwrap_or_else(|| panic!("there is no {place}")) = to;
    bundle
}

const ENTRY: &str = "/verificationMaterial/tlogEntries/0";

fn in_entry(place: &str, to: Value) -> Value {
    changed(&format!("{ENTRY}{place}"), to)
}

/// The text at a place with its bytes changed by `change`, in base64 as it was.
fn with_bytes(place: &str, change: impl Fn(&mut Vec<u8>)) -> Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let bundle = bundle();
    let text = bundle
        .pointer(place)
        .and_then(Value::as_str)
        .expect("a text is there");
    let mut bytes = STANDARD.decode(text).expect("it is base64");
    change(&mut bytes);
    changed(place, json!(STANDARD.encode(bytes)))
}

fn with_last_byte_changed(place: &str) -> Value {
    with_bytes(place, |bytes| {
        *bytes.last_mut().expect("it is not empty") ^= 1
    })
}

/// The entry's body with a piece of it replaced by one of the same length.
fn with_body(from: &str, to: &str) -> Value {
    with_bytes(&format!("{ENTRY}/canonicalizedBody"), |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).expect("it is text");
        assert!(text.contains(from), "{text}");
        *bytes = text.replacen(from, to, 1).into_bytes();
    })
}

#[test]
fn real_bundles_are_verified_without_a_network() {
    for (bundle, (entry, time)) in BUNDLES
        .iter()
        .zip([(588_939_812, 1_759_851_228), (598_151_086, 1_760_062_340)])
    {
        let bundle = serde_json::from_str(bundle).expect("it is JSON");
        let (signer, manifest) = verified(&root(), &bundle, IDENTITY, ISSUER).expect("it is good");
        let expected = Signer::Sigstore {
            identity: IDENTITY.into(),
            issuer: ISSUER.into(),
            entry,
            time,
        };
        assert_eq!(signer, expected);
        let names: Vec<_> = manifest
            .resources()
            .iter()
            .map(|resource| resource.name())
            .collect();
        assert_eq!(names, ["signme-1", "signme-2"]);
    }
}

#[test]
fn only_the_identity_that_was_asked_for_is_believed() {
    let refused = verified(&root(), &bundle(), "stefanb@us.ibm.co", ISSUER);
    assert!(
        matches!(refused, Err(BundleError::Sigstore(SigstoreError::Identity { found, .. })) if found == IDENTITY)
    );
    let refused = verified(&root(), &bundle(), IDENTITY, "https://accounts.google.com");
    assert!(
        matches!(refused, Err(BundleError::Sigstore(SigstoreError::Issuer { found, .. })) if found == ISSUER)
    );
}

#[test]
fn what_was_signed_cannot_be_exchanged() {
    let payload = "/dsseEnvelope/payload";
    let other = with_bytes(payload, |bytes| bytes.push(b' '));
    assert!(matches!(
        refusal(&root(), &other),
        SigstoreError::OtherEntry("payload")
    ));
    let other = with_last_byte_changed("/dsseEnvelope/signatures/0/sig");
    assert!(matches!(
        refusal(&root(), &other),
        SigstoreError::OtherEntry("signature")
    ));
    // The entry of another bundle by the same signer, which is valid by itself.
    let second: Value = serde_json::from_str(BUNDLES[1]).expect("it is JSON");
    let swapped = changed(ENTRY, second.pointer(ENTRY).expect("it has one").clone());
    assert!(matches!(
        refusal(&root(), &swapped),
        SigstoreError::OtherEntry(_)
    ));
}

#[test]
fn the_log_must_have_promised_the_entry_and_its_time() {
    for other in [
        in_entry("/integratedTime", json!("1759851229")),
        in_entry("/logIndex", json!("588939813")),
        with_last_byte_changed(&format!("{ENTRY}/inclusionPromise/signedEntryTimestamp")),
        with_body("0.0.1", "0.0.2"),
        with_body("\"dsse\"", "\"xsse\""),
    ] {
        assert!(
            matches!(refusal(&root(), &other), SigstoreError::Promise),
            "{other}"
        );
    }
    let other = in_entry("/inclusionPromise", Value::Null);
    assert!(matches!(
        refusal(&root(), &other),
        SigstoreError::Form("inclusionPromise")
    ));
}

#[test]
fn the_entry_must_be_in_the_tree_that_the_log_signed() {
    let proof = |place: &str| format!("{ENTRY}/inclusionProof{place}");
    for other in [
        changed(&proof("/logIndex"), json!("467035551")),
        with_last_byte_changed(&proof("/hashes/3")),
        with_last_byte_changed(&proof("/rootHash")),
        changed(&proof("/hashes"), json!([])),
        changed(&proof("/treeSize"), json!("1")),
    ] {
        assert!(
            matches!(refusal(&root(), &other), SigstoreError::Inclusion),
            "{other}"
        );
    }
    let bundle = bundle();
    let checkpoint = bundle
        .pointer(&proof("/checkpoint/envelope"))
        .and_then(Value::as_str)
        .expect("a text");
    for (from, to, reason) in [
        ("467035599", "467035598", "it is that of another tree"),
        (
            "rekor.sigstore.dev - 1",
            "rekor.sigstore.dev - 2",
            "the log did not sign it",
        ),
        ("wNI9ajBE", "wNI9azBE", "the log did not sign it"),
        ("\n\n", "\n", "it has another form"),
    ] {
        let other = changed(
            &proof("/checkpoint/envelope"),
            json!(checkpoint.replacen(from, to, 1)),
        );
        assert!(
            matches!(refusal(&root(), &other), SigstoreError::Checkpoint(found) if found == reason),
            "{from}"
        );
    }
    let other = in_entry("/inclusionProof", Value::Null);
    assert!(matches!(
        refusal(&root(), &other),
        SigstoreError::Form("inclusionProof")
    ));
}

#[test]
fn a_bundle_has_at_least_one_entry() {
    let none = changed("/verificationMaterial/tlogEntries", json!([]));
    assert!(matches!(refusal(&root(), &none), SigstoreError::Entries(0)));
    let entry = bundle().pointer(ENTRY).expect("it has one").clone();
    let many = changed(
        "/verificationMaterial/tlogEntries",
        json!(vec![entry; MAX_ENTRIES + 1]),
    );
    assert!(matches!(refusal(&root(), &many), SigstoreError::Entries(9)));
}

#[test]
fn only_logs_and_authorities_of_the_root_are_believed_and_only_in_their_time() {
    let with = |place: &str, to: Value| {
        let mut root = root();
        *root
            .pointer_mut(place)
            .unwrap_or_else(|| panic!("there is no {place}")) = to;
        root
    };
    let late = json!({ "start": "2025-11-01T00:00:00Z" });
    let early = json!({ "start": "2021-01-01T00:00:00Z", "end": "2025-01-01T00:00:00.999Z" });
    let other_id = json!("AAAAatQGlz+VWfO6LRygH4QUfY/8W4RFwiT5i5WRgB0=");
    let refused = |place: &str, to: &Value| refusal(&with(place, to.clone()), &bundle());

    assert!(matches!(
        refused("/tlogs/0/logId/keyId", &other_id),
        SigstoreError::UnknownLog(_)
    ));
    for times in [&late, &early] {
        assert!(matches!(
            refused("/tlogs/0/publicKey/validFor", times),
            SigstoreError::LogAtAnotherTime
        ));
        assert!(matches!(
            refused("/ctlogs/1/publicKey/validFor", times),
            SigstoreError::Timestamp
        ));
        assert!(matches!(
            refused("/certificateAuthorities/1/validFor", times),
            SigstoreError::NoAuthority
        ));
    }
    // The key of another log, under the name of this one.
    let other_key = root()["ctlogs"][0]["publicKey"]["rawBytes"].clone();
    assert!(matches!(
        refused("/ctlogs/1/publicKey/rawBytes", &other_key),
        SigstoreError::Timestamp
    ));
    assert!(matches!(
        refused("/tlogs/0/publicKey/rawBytes", &other_key),
        SigstoreError::Promise
    ));
    let ed25519 = root()["tlogs"][1]["publicKey"]["rawBytes"].clone();
    assert!(matches!(
        refused("/tlogs/0/publicKey/rawBytes", &ed25519),
        SigstoreError::LogKey
    ));
    // Another authority, with a root of its own.
    let other = root()["certificateAuthorities"][0]["certChain"].clone();
    assert!(matches!(
        refused("/certificateAuthorities/1/certChain", &other),
        SigstoreError::Certificate(_)
    ));
}

#[test]
fn a_signers_certificate_is_the_one_in_the_log() {
    let second: Value = serde_json::from_str(BUNDLES[1]).expect("it is JSON");
    let place = "/verificationMaterial/certificate";
    let other = changed(place, second.pointer(place).expect("it has one").clone());
    assert!(matches!(
        refusal(&root(), &other),
        SigstoreError::OtherEntry("certificate")
    ));
}

#[test]
fn a_keyless_bundle_is_not_taken_for_one_with_a_key() {
    let keyed = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "" }, "tlogEntries": [] },
        "dsseEnvelope": bundle()["dsseEnvelope"],
    });
    let refused = verified(&root(), &keyed, IDENTITY, ISSUER).expect_err("it has no identity");
    assert!(
        matches!(
            refused,
            BundleError::Method {
                found: "key",
                wanted: "sigstore"
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_trusted_root_without_anybody_is_an_error() {
    for part in ["tlogs", "ctlogs", "certificateAuthorities"] {
        let mut root = root();
        root[part] = json!([]);
        let error = TrustedRoot::parse(root.to_string().as_bytes()).expect_err("nobody is left");
        assert!(
            matches!(error, RootError::Empty(empty) if empty == part),
            "{error}"
        );
    }
    let error = TrustedRoot::parse(BUNDLES[0].as_bytes()).expect_err("it is a bundle");
    assert!(matches!(error, RootError::MediaType(_)), "{error}");
}
