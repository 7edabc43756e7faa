//! Keys that are exchanged while agents have certificates, and events are stored.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracer_wire::{
    Frame, PROTOCOL, Stream,
    enrolment::{Proof, Purpose, RENEW_PATH},
};

use super::site::{Identity, Site, csr, identity};
use crate::{
    Port,
    fixture::{key, session_for},
    ingest::now,
    init,
    pki::{finish_rotation, rotate},
    telemetry::TelemetryKeys,
};

/// Whether a client that trusts this certificate alone gets as far as one byte.
async fn is_served(
    site: &Site,
    root: &rustls_pki_types::CertificateDer<'static>,
    identity: &Identity,
) -> bool {
    let connected = site.connect_trusting(root, Port::Agents, Some(identity));
    let Ok(mut tls) = connected.await else {
        return false;
    };
    let hello = Frame::Hello { version: PROTOCOL }.to_bytes();
    let _ = tls.write_all(&hello).await;
    matches!(tls.read(&mut [0]).await, Ok(1))
}

#[tokio::test]
async fn agents_follow_to_another_authority_and_the_former_one_ends() {
    let site = Site::start().await;
    let before = site.enrol(&key(1), "gpu-7").await;
    let former = site.authority().certificate().clone();
    let trust_domain = site.configuration.trust_domain.clone();
    let folder = site.stop().await;
    let home = folder.path().join("c");
    rotate(&home, &trust_domain, true, now()).unwrap();

    let site = Site::start_in(folder, |_| {}).await;
    let present = site.authority().certificate().clone();
    assert_ne!(present, former);
    for root in [&former, &present] {
        assert!(is_served(&site, root, &before).await);
        let tls = site
            .connect_trusting(root, Port::Https, None)
            .await
            .unwrap();
        // Whoever knows but its hash finds it.
        let shown = tls.get_ref().1.peer_certificates().unwrap();
        assert!(shown.contains(root));
    }
    let (tls_key, pem, der) = csr();
    let request = json!({ "csr": pem, "proof": Proof::sign(Purpose::Renewal, &der, &key(1)) });
    let (status, body) = site.post(Some(&before), RENEW_PATH, &request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let renewed: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(renewed["roots"], site.authority().pem());
    let after = identity(&body, tls_key);
    assert!(is_served(&site, &present, &after).await);
    let folder = site.stop().await;
    assert!(finish_rotation(&home, Duration::ZERO, now()).unwrap());

    let site = Site::start_in(folder, |_| {}).await;
    assert!(is_served(&site, &present, &after).await);
    assert!(!is_served(&site, &present, &before).await, "a former one");
    assert!(!is_served(&site, &former, &after).await, "who trusts it");
    site.stop().await;
}

#[tokio::test]
async fn an_authority_that_is_in_other_hands_lets_nobody_in() {
    let site = Site::start().await;
    let before = site.enrol(&key(1), "gpu-7").await;
    let trust_domain = site.configuration.trust_domain.clone();
    let folder = site.stop().await;
    rotate(&folder.path().join("c"), &trust_domain, false, now()).unwrap();
    let site = Site::start_in(folder, |_| {}).await;
    let present = site.authority().certificate().clone();
    assert!(!is_served(&site, &present, &before).await);
    let anew = site.enrol(&key(1), "gpu-7").await;
    assert!(is_served(&site, &present, &anew).await);
    site.stop().await;
}

#[tokio::test]
async fn telemetry_for_a_former_key_is_read_beside_that_for_the_present_one() {
    let site = Site::start().await;
    let agent = site.enrol(&key(1), "gpu-7").await;
    let deliver = async |site: &Site, batches| {
        let keys = TelemetryKeys::load(&site.home()).unwrap();
        let recipient = keys.present().recipient().clone();
        let records = session_for(&key(1), &recipient, Stream::Telemetry, batches, 1);
        let mut line = site.agent(&agent).await.unwrap();
        line.deliver(&records).await;
        recipient
    };
    let mut recipients = vec![deliver(&site, 2).await];
    let mut folder = site.stop().await;
    for _ in 0..2 {
        let site = Site::start_in(folder, |_| {}).await;
        let configuration = site.configuration.clone();
        folder = site.stop().await;
        let next = init::rotate_telemetry(&configuration).unwrap();
        assert!(!recipients.contains(&next), "it is another one");
        let site = Site::start_in(folder, |_| {}).await;
        recipients.push(deliver(&site, 2).await);
        let (_, body) = site.get(Some(&site.reader()), "/v1/events").await;
        assert!(!body.contains("tracer.unreadable"), "{body}");
        // A load, and three steps in each batch.
        assert_eq!(body.lines().count(), recipients.len() * 7);
        folder = site.stop().await;
    }
}
