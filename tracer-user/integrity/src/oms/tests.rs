//! Bundles whose signature is valid and whose contents are not: each must be refused for what is
//! wrong with it. The public suite's malformed bundles have invalid signatures, so that a verifier
//! passes them without looking any further.

mod certificates;
mod manifests;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512};
use serde_json::{Value, json};

use super::{bundle::pre_authentication_encoding, *};
use crate::{
    digest::{Algorithm, ContentDigest},
    trust::{Curve, KeyError, PublicKey},
};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const SIZE: u64 = 1000;

fn pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn private(pair: &KeyPair) -> PrivateKey {
    PrivateKey::from_pem(pair.serialize_pem().as_bytes()).unwrap()
}

fn trust(pair: &KeyPair) -> Trust {
    Trust::Key(PublicKey::from_pem(pair.public_key_pem().as_bytes()).unwrap())
}

fn digest(byte: u8) -> ContentDigest {
    ContentDigest::new(Algorithm::Sha256, &[byte; 32]).unwrap()
}

fn resource(name: &str, byte: u8) -> Value {
    json!({ "name": name, "digest": digest(byte).hex(), "algorithm": "sha256" })
}

fn root(resources: &[Value]) -> String {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    for resource in resources {
        let hex = resource["digest"].as_str().unwrap_or_default();
        if let Some(digest) = ContentDigest::from_hex(Algorithm::Sha256, hex) {
            hasher.update(digest.bytes());
        }
    }
    crate::digest::hex(&hasher.finalize())
}

/// A good statement over these resources.
fn statement(serialization: Value, resources: &[Value]) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "model", "digest": { "sha256": root(resources) } }],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": { "serialization": serialization, "resources": resources },
    })
}

fn files(resources: &[Value]) -> Value {
    let serialization =
        json!({ "method": "files", "hash_type": "sha256", "allow_symlinks": false });
    statement(serialization, resources)
}

fn shards(resources: &[Value]) -> Value {
    let serialization = json!({
        "method": "shards", "hash_type": "sha256", "shard_size": SIZE, "allow_symlinks": false,
    });
    statement(serialization, resources)
}

/// A bundle with a valid signature over any payload.
fn envelope(pair: &KeyPair, kind: &str, payload: &[u8]) -> Value {
    let key = private(pair);
    let signature = key
        .sign(&pre_authentication_encoding(kind, payload))
        .unwrap();
    json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key.public().hint() }, "tlogEntries": [] },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": kind,
            "signatures": [{ "sig": STANDARD.encode(signature), "keyid": "" }],
        },
    })
}

fn verified(bundle: &Value, trust: &Trust) -> Result<Manifest, BundleError> {
    let bundle = Bundle::parse(bundle.to_string().as_bytes())?;
    bundle.verify(trust).map(|(_, manifest)| manifest)
}

/// What a verifier says to a validly signed payload.
fn answer(payload: &Value) -> Result<Manifest, BundleError> {
    let pair = pair();
    let bundle = envelope(&pair, IN_TOTO, payload.to_string().as_bytes());
    verified(&bundle, &trust(&pair))
}

fn statement_error(payload: &Value) -> StatementError {
    match answer(payload) {
        Err(BundleError::Statement(error)) => error,
        other => panic!("{payload}: {other:?}"),
    }
}

#[test]
fn a_signed_manifest_comes_back_whole_with_every_curve() {
    for (algorithm, curve) in [
        (&PKCS_ECDSA_P256_SHA256, Curve::P256),
        (&PKCS_ECDSA_P384_SHA384, Curve::P384),
        (&PKCS_ECDSA_P521_SHA512, Curve::P521),
    ] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let key = private(&pair);
        assert_eq!(key.public().curve(), curve);
        for (serialization, name, shard_names) in [
            (Serialization::Files, "a:b/c d", ShardNames::Specification),
            (
                Serialization::Shards(NonZeroU64::MIN),
                "a:b/c:0:1",
                ShardNames::Specification,
            ),
            (
                Serialization::Shards(NonZeroU64::MIN),
                "a:b/c:0:1",
                ShardNames::Reference,
            ),
        ] {
            let resources = vec![Resource::parse(name, serialization, digest(1)).unwrap()];
            let ignored = vec![".git".to_owned()];
            let (model, algorithm) = ("m".to_owned(), Algorithm::Sha256);
            let manifest =
                Manifest::new(model, serialization, algorithm, true, ignored, resources).unwrap();
            let identity = SigningIdentity::Key(private(&pair));
            let text = sign(&manifest, &identity, shard_names).unwrap();
            let bundle = Bundle::parse(text.as_bytes()).unwrap();
            let (signer, read) = bundle.verify(&trust(&pair)).unwrap();
            assert_eq!(read, manifest);
            let hint = key.public().hint();
            assert_eq!(signer, Signer::Key { hint, named: true });
        }
    }
}

#[test]
fn what_other_signers_write_is_accepted() {
    let good = [resource("a/b", 1), resource("a-b", 2)];
    // The reference sorts by components; the root digest counts in the order given.
    assert!(answer(&files(&good)).is_ok());
    // Fields of a later version, and none for what was left out.
    let mut more = files(&good);
    more["predicate"]["model_card"] = json!({});
    more["predicate"]["serialization"]["ignore_paths"] = json!(["../../srv/model/.git", "/x"]);
    assert!(answer(&more).is_ok());
    // Protobuf's floats, and the reference's names of sharded digests.
    let mut floats = shards(&[resource("w:0:1000", 1), resource("w:1000:1001", 2)]);
    floats["predicate"]["serialization"]["shard_size"] = json!(1000.0);
    for resource in floats["predicate"]["resources"].as_array_mut().unwrap() {
        resource["algorithm"] = json!("sha256-sharded-1000");
    }
    assert!(answer(&floats).is_ok());

    let pair = pair();
    let mut old = envelope(&pair, IN_TOTO, files(&good).to_string().as_bytes());
    let key = STANDARD.encode("anything");
    old["verificationMaterial"] = json!({ "publicKey": { "rawBytes": key, "keyDetails": "x" } });
    old["dsseEnvelope"]["signatures"][0]["keyid"] = Value::Null;
    assert!(verified(&old, &trust(&pair)).is_ok());
    let payload = old["dsseEnvelope"]["payload"].as_str().unwrap();
    old["dsseEnvelope"]["payload"] = json!(payload.trim_end_matches('='));
    assert!(verified(&old, &trust(&pair)).is_ok());
}

#[test]
fn a_validly_signed_payload_of_another_kind_is_refused_for_its_kind() {
    let pair = pair();
    let good = files(&[resource("a", 1)]);
    let other = envelope(&pair, "text/plain", good.to_string().as_bytes());
    let error = verified(&other, &trust(&pair)).unwrap_err();
    assert!(matches!(error, BundleError::PayloadType(kind) if kind == "text/plain"));

    let changed = |field: &str, value: Value| {
        let mut payload = good.clone();
        payload[field] = value;
        statement_error(&payload)
    };
    let error = changed("_type", json!("https://in-toto.io/Statement/v0.1"));
    assert!(matches!(error, StatementError::Type(_)));
    for predicate in [
        "https://slsa.dev/provenance/v1",
        "https://model_signing/Digests/v0.1",
    ] {
        let error = changed("predicateType", json!(predicate));
        assert!(matches!(error, StatementError::Predicate(found) if found == predicate));
    }
    let two = json!([good["subject"][0], good["subject"][0]]);
    assert!(matches!(
        changed("subject", two),
        StatementError::Subjects(2)
    ));
    assert!(matches!(
        changed("subject", json!([])),
        StatementError::Subjects(0)
    ));
    let none = json!([{ "name": "m", "digest": {} }]);
    assert!(matches!(
        changed("subject", none),
        StatementError::SubjectDigest
    ));
    assert!(matches!(
        changed("predicate", json!([])),
        StatementError::Form(_)
    ));
    for payload in [&b"{}"[..], b"", b"[]", b"\xff", &[b'['; 5000]] {
        let bundle = envelope(&pair, IN_TOTO, payload);
        let error = verified(&bundle, &trust(&pair)).unwrap_err();
        assert!(
            matches!(error, BundleError::Statement(StatementError::Form(_))),
            "{error}"
        );
    }
}

#[test]
fn a_field_that_stands_there_twice_is_refused() {
    let pair = pair();
    let text = files(&[resource("a", 1)]).to_string();
    let field = "\"resources\":[";
    let twice = text.replacen(field, &format!("\"resources\":[],{field}"), 1);
    assert_ne!(twice, text);
    let error = verified(&envelope(&pair, IN_TOTO, twice.as_bytes()), &trust(&pair)).unwrap_err();
    assert!(
        matches!(error, BundleError::Statement(StatementError::Form(_))),
        "{error}"
    );
}

#[test]
fn a_bundle_in_another_form_is_refused() {
    let pair = pair();
    let good = envelope(
        &pair,
        IN_TOTO,
        files(&[resource("a", 1)]).to_string().as_bytes(),
    );
    let trust = trust(&pair);
    assert!(verified(&good, &trust).is_ok());
    let changed = |path: &str, value: Value| {
        let mut bundle = good.clone();
        *bundle.pointer_mut(path).unwrap() = value;
        verified(&bundle, &trust).unwrap_err()
    };
    let v01 = json!("application/vnd.dev.sigstore.bundle+json;version=0.1");
    assert!(matches!(
        changed("/mediaType", v01),
        BundleError::MediaType(_)
    ));
    assert!(matches!(
        changed("/dsseEnvelope", Value::Null),
        BundleError::Form(_)
    ));
    let none = changed("/dsseEnvelope/signatures", json!([]));
    assert!(matches!(none, BundleError::Signatures(0)));
    let one = good["dsseEnvelope"]["signatures"][0].clone();
    let two = changed("/dsseEnvelope/signatures", json!([one, one]));
    assert!(matches!(two, BundleError::Signatures(2)));
    let payload = changed("/dsseEnvelope/payload", json!("a b"));
    assert!(matches!(payload, BundleError::Base64("payload")));
    assert!(matches!(
        changed("/verificationMaterial", json!({})),
        BundleError::Material(0)
    ));
    let both = json!({ "publicKey": {}, "x509CertificateChain": { "certificates": [] } });
    assert!(matches!(
        changed("/verificationMaterial", both),
        BundleError::Material(2)
    ));
    let chain = json!({ "x509CertificateChain": { "certificates": [] } });
    assert!(matches!(
        changed("/verificationMaterial", chain),
        BundleError::Chain(0)
    ));
    let keyless = json!({ "certificate": { "rawBytes": "" }, "tlogEntries": [{}] });
    let error = changed("/verificationMaterial", keyless);
    assert!(matches!(
        error,
        BundleError::Method {
            found: "sigstore",
            wanted: "key"
        }
    ));
    assert!(matches!(
        Bundle::parse(b"").unwrap_err(),
        BundleError::Form(_)
    ));
    let text = good.to_string();
    assert!(matches!(
        Bundle::parse(&text.as_bytes()[..100]).unwrap_err(),
        BundleError::Form(_)
    ));
}

#[test]
fn a_signature_by_another_key_or_over_other_bytes_is_refused() {
    let (pair, other) = (pair(), pair());
    let mut bundle = envelope(
        &pair,
        IN_TOTO,
        files(&[resource("a", 1)]).to_string().as_bytes(),
    );
    let error = verified(&bundle, &trust(&other)).unwrap_err();
    assert!(matches!(error, BundleError::OtherKey { .. }));
    bundle["verificationMaterial"]["publicKey"] = json!({});
    let error = verified(&bundle, &trust(&other)).unwrap_err();
    assert!(matches!(error, BundleError::Signature));
    let payload = files(&[resource("b", 1)]).to_string();
    bundle["dsseEnvelope"]["payload"] = json!(STANDARD.encode(payload));
    let error = verified(&bundle, &trust(&pair)).unwrap_err();
    assert!(matches!(error, BundleError::Signature));
    // The same two numbers in a longer encoding than DER has.
    let mut lax = envelope(
        &pair,
        IN_TOTO,
        files(&[resource("a", 1)]).to_string().as_bytes(),
    );
    let sig = lax["dsseEnvelope"]["signatures"][0]["sig"]
        .as_str()
        .unwrap();
    let mut der = STANDARD.decode(sig).unwrap();
    der.splice(1..2, [0x81, der[1]]);
    lax["dsseEnvelope"]["signatures"][0]["sig"] = json!(STANDARD.encode(der));
    assert!(matches!(
        verified(&lax, &trust(&pair)).unwrap_err(),
        BundleError::Signature
    ));
}

#[test]
fn the_hint_is_over_the_canonical_text_whatever_stands_around_the_key() {
    let pair = pair();
    let pem = pair.public_key_pem();
    let plain = PublicKey::from_pem(pem.as_bytes()).unwrap();
    let wrapped = pem.replace("\r\n", "\n");
    assert_eq!(plain.pem(), wrapped);
    let noisy = format!(
        "Public-Key: (256 bit)\npub:\n    04:aa\n{}\n\n",
        pem.replace('\n', "\r\n")
    );
    let noisy = PublicKey::from_pem(noisy.as_bytes()).unwrap();
    assert_eq!(noisy.hint(), plain.hint());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, plain.pem().as_bytes());
    assert_eq!(plain.hint(), crate::digest::hex(digest.as_ref()));
}

#[test]
fn keys_of_other_kinds_are_refused_with_the_reason() {
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let error = PublicKey::from_pem(ed25519.public_key_pem().as_bytes()).unwrap_err();
    assert!(matches!(error, KeyError::Kind));
    let error = PrivateKey::from_pem(ed25519.serialize_pem().as_bytes()).unwrap_err();
    assert!(matches!(error, KeyError::Kind));
    let error = PublicKey::from_pem(pair().serialize_pem().as_bytes()).unwrap_err();
    assert!(matches!(error, KeyError::NoSection(_)));
    let encrypted =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(matches!(
        PrivateKey::from_pem(encrypted).unwrap_err(),
        KeyError::Encrypted
    ));
}

proptest! {
    #[test]
    fn any_text_is_a_bundle_or_an_error(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Bundle::parse(&text);
    }

    #[test]
    fn a_name_that_is_accepted_reads_back_as_itself(name in "[a-c./:0-9]{0,12}") {
        for serialization in [Serialization::Files, Serialization::Shards(NonZeroU64::MIN)] {
            if let Ok(resource) = Resource::parse(&name, serialization, digest(1)) {
                prop_assert_eq!(resource.name(), name.clone());
                prop_assert!(!resource.path.split('/').any(|part| part == ".."));
            }
        }
    }
}
