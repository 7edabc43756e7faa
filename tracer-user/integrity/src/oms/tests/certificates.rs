//! Signers with certificates: which chains are believed, when, and for what.

use std::time::Duration;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    date_time_ymd,
};
use rustls_pki_types::UnixTime;

use super::*;
use crate::trust::{CertificateError, TrustAnchors};

/// A root, an issuer below it, and a signer's certificate made by `change`.
struct Chain {
    root: String,
    issuer: String,
    signer: String,
    key: KeyPair,
}

fn chain(change: impl FnOnce(&mut CertificateParams)) -> Chain {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let root_key = pair();
    let root_params = authority("root");
    let root = root_params.self_signed(&root_key).unwrap().pem();
    let root_issuer = Issuer::new(root_params, root_key);
    let issuer_key = pair();
    let issuer_params = authority("issuer");
    let issuer = issuer_params
        .signed_by(&issuer_key, &root_issuer)
        .unwrap()
        .pem();
    let issuer_issuer = Issuer::new(issuer_params, issuer_key);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "signer");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    change(&mut params);
    let signer = params.signed_by(&key, &issuer_issuer).unwrap().pem();
    Chain {
        root,
        issuer,
        signer,
        key,
    }
}

fn certified(chain: &Chain, between: &[&str]) -> Result<Value, CertificateError> {
    let key = private(&chain.key);
    let between = between.iter().map(|pem| pem.as_bytes());
    let certificate = SigningCertificate::from_pems(&key, chain.signer.as_bytes(), between)?;
    let serialization = Serialization::Files;
    let resources = vec![Resource::parse("a", serialization, digest(1)).unwrap()];
    let manifest = Manifest::new(
        "m".into(),
        serialization,
        Algorithm::Sha256,
        false,
        Vec::new(),
        resources,
    );
    let identity = SigningIdentity::Certificate(key, certificate);
    let text = sign(&manifest.unwrap(), &identity, ShardNames::Specification).unwrap();
    Ok(serde_json::from_str(&text).unwrap())
}

/// 2026-01-01.
const THEN: u64 = 1_767_225_600;

fn certificate_trust(pems: &[&str], at: u64) -> Trust {
    let anchors = TrustAnchors::from_pems(pems.iter().map(|pem| pem.as_bytes())).unwrap();
    Trust::Certificates(anchors, UnixTime::since_unix_epoch(Duration::from_secs(at)))
}

fn certificate_error(bundle: &Value, trust: &Trust) -> CertificateError {
    match verified(bundle, trust) {
        Err(BundleError::Certificate(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_to_a_trusted_root_is_believed_and_no_other() {
    let (good, other) = (chain(|_| {}), chain(|_| {}));
    let bundle = certified(&good, &[&good.issuer, &good.root]).unwrap();
    let certificates = &bundle["verificationMaterial"]["x509CertificateChain"]["certificates"];
    assert_eq!(
        certificates.as_array().unwrap().len(),
        2,
        "the root stays out"
    );
    assert!(verified(&bundle, &certificate_trust(&[&good.root], THEN)).is_ok());
    let error = certificate_error(&bundle, &certificate_trust(&[&other.root], THEN));
    // Another root of the same name.
    assert!(matches!(error, CertificateError::NotTrusted(_)), "{error}");

    // Whoever verifies may know the issuer that the bundle lacks.
    let short = certified(&good, &[]).unwrap();
    assert!(
        verified(
            &short,
            &certificate_trust(&[&good.root, &good.issuer], THEN)
        )
        .is_ok()
    );
    let error = certificate_error(&short, &certificate_trust(&[&good.root], THEN));
    assert!(matches!(
        error,
        CertificateError::NotTrusted(webpki::Error::UnknownIssuer)
    ));
    let error = TrustAnchors::from_pems([good.issuer.as_bytes()]).unwrap_err();
    assert!(matches!(error, CertificateError::NoRoot));
}

#[test]
fn a_certificate_counts_only_while_it_is_valid() {
    let short = chain(|params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 2);
    });
    let bundle = certified(&short, &[&short.issuer]).unwrap();
    let error = certificate_error(&bundle, &certificate_trust(&[&short.root], THEN));
    assert!(
        matches!(
            error,
            CertificateError::Validity {
                whose: "signer's",
                ..
            }
        ),
        "{error}"
    );
    let while_valid = 1_577_836_800 + 3600;
    assert!(verified(&bundle, &certificate_trust(&[&short.root], while_valid)).is_ok());
}

#[test]
fn a_certificate_for_another_purpose_is_refused() {
    let encipher = chain(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    let error = certified(&encipher, &[&encipher.issuer]).unwrap_err();
    assert!(matches!(error, CertificateError::NotForSigning));
    let none = chain(|params| params.key_usages = Vec::new());
    let error = certified(&none, &[&none.issuer]).unwrap_err();
    assert!(matches!(error, CertificateError::NotForSigning));
    let code = chain(|params| {
        params.key_usages = Vec::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    });
    let bundle = certified(&code, &[&code.issuer]).unwrap();
    assert!(verified(&bundle, &certificate_trust(&[&code.root], THEN)).is_ok());
    // A web server's certificate may sign, but not models.
    let server = chain(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let bundle = certified(&server, &[&server.issuer]).unwrap();
    let error = certificate_error(&bundle, &certificate_trust(&[&server.root], THEN));
    assert!(matches!(error, CertificateError::NotTrusted(_)), "{error}");
}

#[test]
fn a_self_signed_signer_is_trusted_by_being_given_itself() {
    let key = pair();
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let signer = params.self_signed(&key).unwrap().pem();
    let (root, issuer) = (signer.clone(), String::new());
    let alone = Chain {
        root,
        issuer,
        signer,
        key,
    };
    let bundle = certified(&alone, &[&alone.root]).unwrap();
    assert!(verified(&bundle, &certificate_trust(&[&alone.root], THEN)).is_ok());
    let other = chain(|_| {});
    let error = certificate_error(&bundle, &certificate_trust(&[&other.root], THEN));
    assert!(matches!(error, CertificateError::NotTrusted(_)), "{error}");
}

#[test]
fn a_method_that_is_not_the_trusted_one_is_refused() {
    let certificates = chain(|_| {});
    let bundle = certified(&certificates, &[&certificates.issuer]).unwrap();
    let error = verified(&bundle, &trust(&certificates.key)).unwrap_err();
    assert!(matches!(
        error,
        BundleError::Method {
            found: "certificate",
            wanted: "key"
        }
    ));
    let pair = pair();
    let bundle = envelope(
        &pair,
        IN_TOTO,
        files(&[resource("a", 1)]).to_string().as_bytes(),
    );
    let error = verified(&bundle, &certificate_trust(&[&certificates.root], THEN)).unwrap_err();
    assert!(matches!(
        error,
        BundleError::Method {
            found: "key",
            wanted: "certificate"
        }
    ));
    let other = certificates.signer.as_bytes();
    let error = SigningCertificate::from_pems(&private(&pair), other, []).unwrap_err();
    assert!(matches!(error, CertificateError::OtherKey));
}
