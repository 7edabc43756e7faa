use std::time::{Duration, Instant};

use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracer_wire::{Frame, Position, Refusal, Sequence, SessionId, Stream};

use super::site::{Identity, Site, authority, csr, issued_by};
use crate::{
    Port,
    fixture::{SECRET, key, session},
    ingest::now,
    init::{self, Plan},
    store::{Cursor, RecordNumber, Selection, SqliteStore, Store as _},
};

/// Whether a client gets as far as one frame.
async fn is_let_in(site: &Site, identity: Option<&Identity>) -> bool {
    match identity {
        Some(identity) => match site.agent(identity).await {
            Ok(mut line) => line.hear().await.is_some(),
            Err(_) => false,
        },
        None => match site.connect(Port::Agents, None).await {
            Ok(mut tls) => {
                let hello = Frame::Hello { version: 1 }.to_bytes();
                let _ = tls.write_all(&hello).await;
                let mut byte = [0];
                matches!(tls.read(&mut byte).await, Ok(1))
            }
            Err(_) => false,
        },
    }
}

#[tokio::test]
async fn what_an_agent_sends_is_stored_when_it_is_acknowledged() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    let records = session(&key(1), Stream::Telemetry, 40);
    let mut line = site.agent(&identity).await.unwrap();
    line.deliver(&records).await;
    let mut again = site.agent(&identity).await.unwrap();
    let asked = records[0].claims().session;
    again.say(&Frame::Ask { session: asked }).await.unwrap();
    assert!(matches!(again.hear().await, Some(Frame::Credit { .. })));
    let Some(Frame::Stands { session, position }) = again.hear().await else {
        panic!("no answer");
    };
    assert_eq!(session, asked);
    assert_eq!(position.next, Sequence(records.len() as u64));
    assert!(position.closed);
    // A session that it does not know begins.
    let unknown = SessionId([9; 16]);
    again.say(&Frame::Ask { session: unknown }).await.unwrap();
    let begins = Frame::Stands {
        session: unknown,
        position: Position::START,
    };
    assert_eq!(again.hear().await, Some(begins));
    let store = site.configuration.store.clone();
    let _folder = site.stop().await;
    let store = SqliteStore::open(&store, 1 << 20).unwrap();
    let from = Cursor::Time {
        after: None,
        through: RecordNumber(u64::MAX >> 1),
    };
    let entries = store
        .select(&Selection::all(Stream::Telemetry), from, 1000)
        .unwrap();
    assert_eq!(entries.len(), 40);
    for (entry, record) in entries.iter().zip(&records[1..]) {
        assert_eq!(store.read(entry).unwrap(), *record);
    }
}

#[tokio::test]
async fn only_agents_that_are_known_are_let_in() {
    let site = Site::start().await;
    let good = site.enrol(&key(1), "gpu-7").await;
    assert!(is_let_in(&site, Some(&good)).await);
    assert!(!is_let_in(&site, None).await, "without a certificate");

    let hour = Duration::from_hours(1);
    let expired = issued_by(&site.authority(), key(1).agent(), hour);
    assert!(!is_let_in(&site, Some(&expired)).await, "expired");

    let elsewhere = tempfile::tempdir().unwrap();
    let trust_domain = "test.internal".parse().unwrap();
    let plan = Plan::on_loopback(elsewhere.path().join("c"), trust_domain);
    init::init(&plan, now()).unwrap();
    let long = Duration::from_hours(24);
    let foreign = issued_by(&authority(&plan.folder), key(1).agent(), long);
    assert!(!is_let_in(&site, Some(&foreign)).await, "foreign");

    let unknown = issued_by(&site.authority(), key(3).agent(), long);
    assert!(!is_let_in(&site, Some(&unknown)).await, "never enrolled");

    // The collector's own certificate is none of an agent.
    let (server, server_key) = site
        .authority()
        .issue_collector(&[String::from("localhost")], long, now())
        .unwrap();
    let server = Identity {
        chain: vec![server.der],
        key: std::sync::Arc::new(server_key),
    };
    assert!(!is_let_in(&site, Some(&server)).await, "the collector's");

    // A certificate without its key.
    let (other, _, _) = csr();
    let stolen = Identity {
        key: std::sync::Arc::new(PrivateKeyDer::try_from(other.serialize_der()).unwrap()),
        ..good.clone()
    };
    assert!(!is_let_in(&site, Some(&stolen)).await, "without the key");
    assert!(is_let_in(&site, Some(&good)).await);
    site.stop().await;
}

#[tokio::test]
async fn a_revoked_agent_is_out_within_seconds_also_on_an_open_connection() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    let other = site.enrol(&key(2), "gpu-8").await;
    let mut line = site.agent(&identity).await.unwrap();
    let mut stays = site.agent(&other).await.unwrap();
    assert!(line.hear().await.is_some());
    assert!(stays.hear().await.is_some());
    // As `tracer-collector agent revoke` does in another process.
    let registry = site.registry();
    assert!(registry.revoke_agent(key(1).agent(), now()).unwrap());
    let begun = Instant::now();
    assert_eq!(line.hear().await, None);
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert!(!is_let_in(&site, Some(&identity)).await);
    let records = session(&key(2), Stream::Telemetry, 1);
    stays.send(&records[0]).await.unwrap();
    assert!(matches!(stays.hear().await, Some(Frame::Stored { .. })));
    site.stop().await;
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let site = Site::start().await;
    site.enrol(&key(1), "gpu-7").await;
    // Issued two hours ago, and good for some seconds more.
    let soon = issued_by(&site.authority(), key(1).agent(), Duration::from_secs(7203));
    let mut line = site.agent(&soon).await.unwrap();
    assert!(line.hear().await.is_some());
    assert_eq!(line.hear().await, None);
    site.stop().await;
}

#[tokio::test]
async fn an_agent_speaks_for_itself_alone() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    site.enrol(&key(2), "gpu-8").await;
    let theirs = session(&key(2), Stream::Telemetry, 1);
    let mut line = site.agent(&identity).await.unwrap();
    assert!(matches!(line.hear().await, Some(Frame::Credit { .. })));
    line.send(&theirs[0]).await.unwrap();
    let refused = Frame::Refused {
        session: theirs[0].claims().session,
        sequence: Sequence(0),
        reason: Refusal::OtherAgent,
    };
    assert_eq!(line.hear().await, Some(refused));
    site.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_record_is_named() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    let records = session(&key(1), Stream::Telemetry, 3);
    let mut bytes = records[0].to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let tampered = tracer_wire::Record::parse(&bytes).unwrap();
    let mut line = site.agent(&identity).await.unwrap();
    line.hear().await;
    let mut answer = async |record| {
        line.send(record).await.unwrap();
        loop {
            match line.hear().await.unwrap() {
                Frame::Credit { .. } => {}
                other => return other,
            }
        }
    };
    let reason = |frame| match frame {
        Frame::Refused { reason, .. } => Some(reason),
        _ => None,
    };
    assert_eq!(reason(answer(&tampered).await), Some(Refusal::Tampered));
    assert_eq!(reason(answer(&records[1]).await), Some(Refusal::Missing));
    assert_eq!(reason(answer(&records[0]).await), None);
    // A replay is acknowledged, and changes nothing.
    assert_eq!(reason(answer(&records[0]).await), None);
    let metrics = site.get(Some(&site.reader()), "/metrics").await.1;
    let agent = key(1).agent();
    for (name, count) in [
        ("refused_total", "reason=\"tampered\"} 1"),
        ("refused_total", "reason=\"missing_before\"} 1"),
        ("repeated_total", "} 1"),
        ("stored_total", "} 1"),
    ] {
        let begin = format!("tracer_collector_agent_{name}{{agent=\"{agent}\",node=\"gpu-7\"");
        let mut lines = metrics.lines();
        assert!(
            lines.any(|line| line.starts_with(&begin) && line.ends_with(count)),
            "{name} {count}\n{metrics}"
        );
    }
    site.stop().await;
}

#[tokio::test]
async fn garbage_gets_nothing() {
    let site = Site::start().await;
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        &[0x16, 3, 1, 0xff, 0xff, 1],
        &[0; 100],
    ] {
        let mut stream = tokio::net::TcpStream::connect(site.agents).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        // An alert at most.
        assert!(answer.len() <= 7, "{answer:?}");
    }
    // With a good certificate, too.
    let identity = site.enrol(&key(1), "gpu-7").await;
    for garbage in [[0xff; 64], [0; 64]] {
        let mut line = site.agent(&identity).await.unwrap();
        assert!(line.hear().await.is_some());
        line.raw(&garbage).await.unwrap();
        assert_eq!(line.hear().await, None);
    }
    assert!(is_let_in(&site, Some(&identity)).await);
    site.stop().await;
}

#[tokio::test]
async fn half_open_connections_do_not_shut_others_out() {
    let site = Site::start_with(|configuration| {
        configuration.limits.agent_connections = 8;
        configuration.limits.connections_per_address = 4;
    })
    .await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    let mut half_open = Vec::new();
    for _ in 0..4 {
        half_open.push(tokio::net::TcpStream::connect(site.agents).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!is_let_in(&site, Some(&identity)).await, "beyond the limit");
    drop(half_open);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(is_let_in(&site, Some(&identity)).await);
    site.stop().await;
}

#[tokio::test]
async fn nothing_that_a_collector_has_shows_content() {
    let site = Site::start().await;
    let identity = site.enrol(&key(1), "gpu-7").await;
    let mut line = site.agent(&identity).await.unwrap();
    line.deliver(&session(&key(1), Stream::Content, 12)).await;
    let reader = site.reader();
    let (_, told) = site.get(Some(&reader), "/v1/events?stream=content").await;
    assert_eq!(told.lines().count(), 13, "the epoch and its batches");
    assert!(!told.contains(SECRET));
    for path in ["/v1/events", "/v1/sessions", "/v1/nodes", "/metrics"] {
        assert!(!site.get(Some(&reader), path).await.1.contains(SECRET));
    }
    // With all its keys: none of them is a recipient of content.
    let telemetry = crate::telemetry::TelemetryKeys::load(&site.home()).unwrap();
    let mut opener = telemetry.openers().unwrap();
    let first: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    let record = super::https::record(&first);
    assert!(opener.learn(&record).is_err());
    let folder = site.stop().await;
    let mut files = vec![folder.path().to_owned()];
    let mut searched = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            files.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let mut windows = bytes.windows(SECRET.len());
        let is_there = windows.any(|window| window == SECRET.as_bytes());
        assert!(!is_there, "{}", path.display());
        searched += 1;
    }
    assert!(searched >= 6, "{searched} files");
}
