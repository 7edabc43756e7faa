//! Who queries with a certificate, and who does not get in with one.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{Method, StatusCode};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracer_event::WallNanos;
use tracer_wire::{
    Stream,
    enrolment::{Proof, Purpose, RENEW_PATH},
};

use super::site::{HOUR, Identity, Site, authority, csr, whole};
use crate::{
    Port,
    config::Configuration,
    fixture::{key, session},
    ingest::now,
    init::{self, CONFIGURATION, Plan},
    pki::SigningRequest,
    store::TokenPurpose,
};

const PATHS: [&str; 5] = [
    "/metrics",
    "/v1/openapi.json",
    "/v1/nodes",
    "/v1/sessions",
    "/v1/events",
];

/// A certificate that the collector's program would make, and the file that it is in.
fn certificate(configuration: &Configuration, file: &str, lasts: Duration) -> (Identity, PathBuf) {
    let path = configuration.folder.join(file);
    init::reader_certificate(configuration, "ada", None, lasts, now(), &path).unwrap();
    let text = std::fs::read(&path).unwrap();
    let certificates = CertificateDer::pem_slice_iter(&text);
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().unwrap();
    let identity = Identity {
        chain: certificates[..1].to_vec(),
        key: Arc::new(PrivateKeyDer::from_pem_slice(&text).unwrap()),
    };
    (identity, path)
}

/// All that somebody with this certificate is answered; nothing if the connection is not even made.
async fn answer(site: &Site, port: Port, identity: Option<&Identity>, path: &str) -> String {
    let Ok(mut tls) = site.connect(port, identity).await else {
        return String::new();
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let _ = tls.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = tls.read_to_end(&mut answer);
    // It may be cut off, which is an answer too.
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    assert!(read.is_ok(), "neither an answer nor an end");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_reader_with_a_certificate_reads_and_does_nothing_else() {
    let site = Site::start().await;
    let (reader, file) = certificate(&site.configuration, "ada.pem", HOUR);
    for path in PATHS {
        let response = site.request(Some(&reader), None, Method::GET, path, Vec::new());
        assert_eq!(response.await.status(), StatusCode::OK, "{path}");
    }
    // It writes nothing, and is no agent.
    let (_, pem, der) = csr();
    let proof = Proof::sign(Purpose::Renewal, &der, &key(1));
    let request = json!({ "csr": pem, "proof": proof });
    let (status, _) = site.post(Some(&reader), RENEW_PATH, &request).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer(&site, Port::Agents, Some(&reader), "/").await, "");
    // The file is its owner's, and is not overwritten; the collector has no other copy of the key.
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = init::reader_certificate(&site.configuration, "ada", None, HOUR, now(), &file);
    assert!(again.is_err());
    let [token] = site.registry().tokens().unwrap().try_into().unwrap();
    assert_eq!(
        (token.purpose, &*token.name),
        (TokenPurpose::ReadCertified, "ada")
    );
    site.stop().await;
}

#[tokio::test]
async fn a_key_that_stays_where_it_is_gets_a_certificate_too() {
    let site = Site::start().await;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let request = request.pem().unwrap();
    let file = site.home().join("exporter.pem");
    let made = |name: &str| {
        init::reader_certificate(
            &site.configuration,
            name,
            Some(&request),
            HOUR,
            now(),
            &file,
        )
    };
    made("exporter").unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("PRIVATE KEY"), "{text}");
    let own = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
    let exporter = Identity {
        chain: vec![own],
        key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
    };
    let response = site.request(Some(&exporter), None, Method::GET, "/metrics", Vec::new());
    assert_eq!(response.await.status(), StatusCode::OK);
    // A thief has the certificate and not the key.
    let (stranger, _) = certificate(&site.configuration, "other.pem", HOUR);
    let thief = Identity {
        chain: exporter.chain.clone(),
        key: Arc::clone(&stranger.key),
    };
    assert_eq!(
        answer(&site, Port::Https, Some(&thief), "/metrics").await,
        ""
    );
    site.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_none_expired_revoked_foreign_or_unknown_gets_nothing() {
    let site = Site::start().await;
    let (revoked, _) = certificate(&site.configuration, "revoked.pem", HOUR);
    let (good, _) = certificate(&site.configuration, "good.pem", HOUR);
    // Certificates are dated back, so that clocks of others may be behind: this one has ended.
    let past = WallNanos(now().0 - 3_600_000_000_000);
    let issue = |authority: &crate::pki::Authority, at| {
        let (key, pem, _) = csr();
        let request = SigningRequest::parse(&pem).unwrap();
        let lasts = Duration::from_mins(10);
        let issued = authority.issue_reader("ada", &request, lasts, at).unwrap();
        Identity {
            chain: vec![issued.der],
            key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
        }
    };
    let expired = issue(&site.authority(), past);
    let elsewhere = tempfile::tempdir().unwrap();
    let plan = Plan::on_loopback(elsewhere.path().join("c"), "test.internal".parse().unwrap());
    init::init(&plan, now()).unwrap();
    let foreign = issue(&authority(&plan.folder), now());
    // Signed, as by somebody who had the authority's key for a moment, and never noted.
    let unknown = issue(&site.authority(), now());
    let id = site.registry().tokens().unwrap()[0].id;
    assert!(site.registry().revoke_token(id, now()).unwrap());
    for (what, identity) in [
        ("none", None),
        ("expired", Some(&expired)),
        ("revoked", Some(&revoked)),
        ("foreign", Some(&foreign)),
        ("unknown", Some(&unknown)),
    ] {
        for path in PATHS {
            let answer = answer(&site, Port::Https, identity, path).await;
            let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 401 ");
            assert!(is_refused, "{what}: {answer}");
            assert!(!answer.contains("tracer_collector_"), "{what}: {answer}");
        }
    }
    // Within seconds a revoked one does not come through the handshake either.
    let refused = async || {
        answer(&site, Port::Https, Some(&revoked), "/healthz")
            .await
            .is_empty()
    };
    let mut is_refused = refused().await;
    for _ in 0..600 {
        if is_refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        is_refused = refused().await;
    }
    assert!(
        is_refused,
        "a revoked certificate still comes through the handshake"
    );
    let answer = answer(&site, Port::Https, Some(&good), "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    site.stop().await;
}

#[tokio::test]
async fn a_query_that_runs_ends_when_its_certificate_is_revoked() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    let mut line = site.agent(&identity).await.unwrap();
    line.deliver(&session(&key(1), Stream::Telemetry, 4)).await;
    let (reader, _) = certificate(&site.configuration, "ada.pem", HOUR);
    let path = "/v1/events?follow=true";
    let response = site.request(Some(&reader), None, Method::GET, path, Vec::new());
    let response = response.await;
    assert_eq!(response.status(), StatusCode::OK);
    let tokens = site.registry().tokens().unwrap();
    let token = tokens
        .iter()
        .find(|token| token.purpose == TokenPurpose::ReadCertified);
    site.registry()
        .revoke_token(token.unwrap().id, now())
        .unwrap();
    let whole = response.into_body().collect();
    let whole = tokio::time::timeout(Duration::from_secs(60), whole).await;
    let text = whole.expect("it does not end").unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("the reader may read no longer"), "{text}");
    site.stop().await;
}

#[tokio::test]
async fn where_readers_must_show_a_certificate_no_token_is_taken() {
    let site = Site::start_with(|configuration| configuration.only_certified_readers = true).await;
    let token = site.reader();
    let (reader, _) = certificate(&site.configuration, "ada.pem", HOUR);
    let agent = site.enrol(&key(1), "gpu-7").await;
    for path in PATHS {
        for identity in [None, Some(&agent)] {
            let refused = site.request(identity, Some(&token), Method::GET, path, Vec::new());
            let (status, body) = whole(refused.await).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(body.contains("show a reader's certificate"), "{body}");
        }
        let response = site.request(Some(&reader), None, Method::GET, path, Vec::new());
        assert_eq!(response.await.status(), StatusCode::OK, "{path}");
    }
    let text = std::fs::read_to_string(site.home().join(CONFIGURATION)).unwrap();
    assert!(text.contains("required_of_readers = false"), "{text}");
    site.stop().await;
}
