use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::BodyExt as _;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracer_wire::{
    Opener, Record, Stream,
    enrolment::{ENROL_PATH, Proof, Purpose, RENEW_PATH},
};

use super::site::{HOUR, Site, csr, enrolment, identity};
use crate::{
    fixture::{SECRET, digest, key, recipient, session, session_for},
    ingest::now,
    init,
    pki::good_until,
    telemetry::TelemetryKeys,
};

/// The record in a line of content.
pub(super) fn record(line: &Value) -> Record {
    assert_eq!(line["schema"], "tracer.sealed/1");
    let bytes = BASE64_STANDARD.decode(line["record"].as_str().unwrap());
    Record::parse(&bytes.unwrap()).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_token_is_good_for_one_agent() {
    let site = Site::start().await;
    let token = init::enrolment_token(&site.configuration, "", HOUR, now()).unwrap();
    let (tls_key, request) = enrolment(&token.secret, &key(1), "gpu-7");
    let (status, body) = site.post(None, ENROL_PATH, &request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let enrolled: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        enrolled["agents"],
        format!("localhost:{}", site.agents.port())
    );
    assert_eq!(enrolled["trust_domain"], "test.internal");
    let first = identity(&body, tls_key);
    // The answer was lost: the same agent asks again.
    let (status, _) = site.post(None, ENROL_PATH, &request).await;
    assert_eq!(status, StatusCode::OK);
    let (_, other) = enrolment(&token.secret, &key(2), "gpu-8");
    let (status, body) = site.post(None, ENROL_PATH, &other).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("used by another agent"), "{body}");
    // A revoked agent does not come back with a new token.
    site.registry().revoke_agent(key(1).agent(), now()).unwrap();
    let token = init::enrolment_token(&site.configuration, "", HOUR, now()).unwrap();
    let (_, again) = enrolment(&token.secret, &key(1), "gpu-7");
    let (status, _) = site.post(None, ENROL_PATH, &again).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    drop(first);
    site.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_enrolment_is_named() {
    let site = Site::start().await;
    let good = init::enrolment_token(&site.configuration, "", HOUR, now()).unwrap();
    let expired = init::enrolment_token(&site.configuration, "", Duration::ZERO, now()).unwrap();
    let named = init::enrolment_token(&site.configuration, "gpu-9", HOUR, now()).unwrap();
    let reader = site.reader();
    let (_, request) = enrolment(&good.secret, &key(1), "gpu-7");
    let changed = |name: &str, value: Value| {
        let mut request = request.clone();
        request[name] = value;
        request
    };
    let (_, other_csr, der) = csr();
    let for_renewal = Proof::sign(Purpose::Renewal, &der, &key(1));
    for (request, status, why) in [
        (changed("token", json!("AAAA")), 400, "a secret as"),
        (
            changed("token", json!(expired.secret.reveal())),
            403,
            "expired",
        ),
        (changed("token", json!(named.secret.reveal())), 403, "gpu-9"),
        (changed("token", json!(reader.reveal())), 403, "not known"),
        (changed("name", json!("../../etc")), 400, "name is not"),
        (changed("name", json!("")), 400, "name is not"),
        (changed("csr", json!(other_csr)), 403, "proof"),
        (changed("csr", json!("no csr")), 400, "not in PEM"),
        // Nothing is looked at, or signed, for whoever has no token.
        (
            json!({ "token": expired.secret.reveal(), "agent": key(1).agent(), "csr": "no csr",
                    "proof": for_renewal.clone(), "name": "gpu-7" }),
            403,
            "expired",
        ),
        (changed("proof", json!(for_renewal)), 403, "proof"),
        (changed("agent", json!(key(2).agent())), 403, "proof"),
        (changed("surprise", json!(1)), 400, "surprise"),
        (json!([1]), 400, "not what this path takes"),
    ] {
        let (found, body) = site.post(None, ENROL_PATH, &request).await;
        assert_eq!(found.as_u16(), status, "{why}: {body}");
        assert!(body.contains(why), "{why}: {body}");
    }
    // None of them used the token up.
    let (status, _) = site.post(None, ENROL_PATH, &request).await;
    assert_eq!(status, StatusCode::OK);
    let long = json!({ "token": "a".repeat(100_000) });
    let (status, _) = site.post(None, ENROL_PATH, &long).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    site.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_with_the_present_one() {
    let site = Site::start().await;
    let first = site.enrol(&key(1), "gpu-7").await;
    let (tls_key, pem, der) = csr();
    let request = json!({ "csr": pem, "proof": Proof::sign(Purpose::Renewal, &der, &key(1)) });
    let (status, _) = site.post(None, RENEW_PATH, &request).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (status, body) = site.post(Some(&first), RENEW_PATH, &request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let second = identity(&body, tls_key);
    assert!(good_until(&second.chain[0]) > good_until(&first.chain[0]));
    assert!(site.agent(&second).await.unwrap().hear().await.is_some());
    // With the certificate of one agent there is none for another.
    let (_, pem, der) = csr();
    let other = json!({ "csr": pem, "proof": Proof::sign(Purpose::Renewal, &der, &key(2)) });
    let (status, _) = site.post(Some(&second), RENEW_PATH, &other).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    site.stop().await;
}

#[tokio::test]
async fn only_health_is_for_everybody() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(site.get(None, path).await.0, StatusCode::OK);
    }
    let reader = site.reader();
    let enrolment = init::enrolment_token(&site.configuration, "", HOUR, now()).unwrap();
    for path in [
        "/metrics",
        "/v1/openapi.json",
        "/v1/nodes",
        "/v1/sessions",
        "/v1/events",
    ] {
        assert_eq!(
            site.get(None, path).await.0,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
        let (status, _) = site.get(Some(&enrolment.secret), path).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        // An agent writes; it does not read.
        let response = site
            .request(Some(&identity), None, Method::GET, path, Vec::new())
            .await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(
            site.get(Some(&reader), path).await.0,
            StatusCode::OK,
            "{path}"
        );
    }
    assert_eq!(
        site.get(Some(&reader), "/v1/agents").await.0,
        StatusCode::NOT_FOUND
    );
    let (status, _) = site.get(Some(&reader), ENROL_PATH).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let token = site.registry().tokens().unwrap()[1].id;
    site.registry().revoke_token(token, now()).unwrap();
    assert_eq!(
        site.get(Some(&reader), "/v1/nodes").await.0,
        StatusCode::UNAUTHORIZED
    );
    site.stop().await;
}

/// Two nodes, two models, ten batches each.
async fn two_nodes() -> Site {
    let site = Site::start().await;
    let collector = TelemetryKeys::load(&site.home()).unwrap();
    let collector = collector.present();
    for (number, node, model) in [(1, "gpu-7", 5), (2, "gpu-8", 6)] {
        let identity = site.enrol(&key(number), node).await;
        let mut line = site.agent(&identity).await.unwrap();
        let telemetry = Stream::Telemetry;
        let records = session_for(&key(number), collector.recipient(), telemetry, 10, model);
        line.deliver(&records).await;
    }
    site
}

#[tokio::test]
async fn events_are_found_by_node_time_kind_and_model() {
    let site = two_nodes().await;
    let reader = site.reader();
    let sha = |model| serde_json::to_value(digest(model)).unwrap();
    let [five, nine] = [5, 9].map(|model| sha(model).as_str().unwrap().to_owned());
    for (query, count) in [
        (String::new(), 62),
        (String::from("node=gpu-7"), 31),
        (format!("node={}", key(2).agent()), 31),
        (String::from("node=gpu-7&node=gpu-8"), 62),
        (String::from("node=nobody"), 0),
        (String::from("kind=model.loaded"), 2),
        (String::from("kind=model.loaded&kind=inference.step"), 62),
        (format!("model={five}"), 31),
        (format!("model={five}&kind=inference.step"), 30),
        (format!("model={nine}"), 0),
        (
            String::from("from=2026-11-23T03:00:03Z&to=2026-11-23T03:00:04Z"),
            8,
        ),
        (String::from("to=2026-11-23T03%3A00%3A00Z"), 4),
        (String::from("limit=7"), 7),
        (String::from("stream=content"), 0),
    ] {
        let (status, body) = site
            .get(Some(&reader), &format!("/v1/events?{query}"))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let found = lines(&body);
        assert_eq!(found.len(), count, "{query}");
        assert!(found.iter().all(|line| line["schema"] == "tracer.event/1"));
    }
    for (query, why) in [
        ("nodes=gpu-7", "there is no parameter"),
        ("from=yesterday", "a time such as"),
        ("limit=0", "from 1"),
        ("kind=NOT%20A%20KIND", "a kind such as"),
        ("model=sha256:12", "64 hex digits"),
        ("follow=true&follow=true", "given twice"),
        ("node=%zz", "%"),
    ] {
        let (status, body) = site
            .get(Some(&reader), &format!("/v1/events?{query}"))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(body.contains(why), "{query}: {body}");
    }
    site.stop().await;
}

#[tokio::test]
async fn nodes_and_sessions_are_told() {
    let site = two_nodes().await;
    let reader = site.reader();
    let nodes: Value = serde_json::from_str(&site.get(Some(&reader), "/v1/nodes").await.1).unwrap();
    let node = &nodes[0];
    assert_eq!(
        (&node["name"], &node["events"]),
        (&json!("gpu-7"), &json!(31))
    );
    let sessions = site.get(Some(&reader), "/v1/sessions").await.1;
    let sessions: Value = serde_json::from_str(&sessions).unwrap();
    assert_eq!(sessions.as_array().unwrap().len(), 2);
    assert_eq!(sessions[0]["is_closed"], true);
    site.stop().await;
}

#[tokio::test]
async fn content_opens_with_the_recipients_key() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    let mut line = site.agent(&identity).await.unwrap();
    line.deliver(&session(&key(1), Stream::Content, 3)).await;
    let (_, body) = site
        .get(Some(&site.reader()), "/v1/events?stream=content")
        .await;
    let mut opener = Opener::new(recipient());
    let mut opened = 0;
    for line in lines(&body) {
        let record = record(&line);
        assert!(record.is_signed());
        opener.learn(&record).unwrap();
        if let tracer_wire::Body::Batch(_) = record.claims().body {
            let contents = opener.open(&record).unwrap();
            assert!(String::from_utf8_lossy(contents.ndjson()).contains(SECRET));
            opened += 1;
        }
    }
    assert_eq!(opened, 3);
    site.stop().await;
}

#[tokio::test]
async fn telemetry_that_is_not_for_the_collector_is_told_as_unreadable() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    let mut line = site.agent(&identity).await.unwrap();
    line.deliver(&session(&key(1), Stream::Telemetry, 2)).await;
    let (_, body) = site.get(Some(&site.reader()), "/v1/events").await;
    let found = lines(&body);
    assert_eq!(found.len(), 2);
    for line in found {
        assert_eq!(line["schema"], "tracer.unreadable/1");
        assert!(
            line["why"]
                .as_str()
                .unwrap()
                .contains("not sealed for this key")
        );
    }
    site.stop().await;
}

#[tokio::test]
async fn what_arrives_is_told_at_once_until_the_token_is_revoked() {
    let site = Site::start().await;
    let collector = TelemetryKeys::load(&site.home()).unwrap();
    let collector = collector.present();
    let identity = site.enrol(&key(1), "gpu-7").await;
    let telemetry = Stream::Telemetry;
    let records = session_for(&key(1), collector.recipient(), telemetry, 10, 1);
    let mut line = site.agent(&identity).await.unwrap();
    line.deliver(&records[..5]).await;
    let reader = site.reader();
    let path = "/v1/events?follow=true&kind=inference.step";
    let response = site
        .request(None, Some(&reader), Method::GET, path, Vec::new())
        .await;
    let mut body = response.into_body();
    let mut told = String::new();
    let mut more = async |told: &mut String, count| {
        while lines(told).len() < count {
            let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await;
            let Some(frame) = frame.expect("it comes at once") else {
                return false;
            };
            told.push_str(str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
        true
    };
    assert!(more(&mut told, 12).await);
    for record in &records[5..] {
        line.send(record).await.unwrap();
    }
    assert!(more(&mut told, 30).await);
    let token = site.registry().tokens().unwrap().pop().unwrap();
    site.registry().revoke_token(token.id, now()).unwrap();
    assert!(more(&mut told, 31).await);
    assert_eq!(lines(&told)[30]["schema"], "tracer.problem/1");
    assert!(!more(&mut told, 32).await, "it goes on");
    site.stop().await;
}

#[tokio::test]
async fn nonsense_costs_little() {
    let site = Site::start().await;
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "a".repeat(100_000)
    );
    for nonsense in [
        b"\0\0\0\0\0\0\0\0\r\n\r\n".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        head.as_bytes(),
    ] {
        let mut tls = site.connect(crate::Port::Https, None).await.unwrap();
        let _ = tls.write_all(nonsense).await;
        let _ = tls.flush().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), tls.read_to_end(&mut answer));
        assert!(read.await.is_ok(), "it is not cut off");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    assert_eq!(site.get(None, "/healthz").await.0, StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn a_reload_changes_what_can_be_changed_and_keeps_what_is_wrong_out() {
    let site = Site::start().await;
    let path = site.home().join("collector.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("agent_hours = 24", "agent_hours = 2")).unwrap();
    let before = site.connect(crate::Port::Https, None).await.unwrap();
    site.reload.send(()).await.unwrap();
    let hours = async || {
        let identity = site.enrol(&key(1), "gpu-7").await;
        (good_until(&identity.chain[0]).0 - now().0).div_ceil(3_600_000_000_000)
    };
    for _ in 0..50 {
        if hours().await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(hours().await, 2);
    let after = site.connect(crate::Port::Https, None).await.unwrap();
    let certificate = |tls: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        tls.get_ref().1.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    };
    assert_ne!(certificate(&before), certificate(&after));
    std::fs::write(&path, "names = 3").unwrap();
    site.reload.send(()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(hours().await, 2);
    site.stop().await;
}
