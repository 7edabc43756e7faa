//! Whoever is not let in gets nothing, and costs little.

use std::time::Duration;

use rustls::{NamedGroup, ProtocolVersion};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tracer_wire::Stream;

use super::site::{HOUR, Identity, Site, authority, issued_by};
use crate::{
    Port,
    fixture::{key, session},
    ingest::now,
    init::{self, Plan},
};

/// Connections of each kind of stranger.
const MANY: usize = 100;
/// What all of them together may leave in memory.
const LEFT_OVER: usize = 16 << 20;

/// All that a port answers to these bytes.
async fn answer(site: &Site, port: Port, bytes: &[u8]) -> Vec<u8> {
    let address = match port {
        Port::Agents => site.agents,
        Port::Https => site.https,
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // It may be reset.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// The hello of a client that knows TLS 1.2 and nothing newer (RFC 5246, 7.4.1.2), which offers
/// ECDHE with ECDSA and AES-GCM.
fn hello_of_tls_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let points = [0, 11, 0, 2, 1, 0];
    hello.extend([0, (groups.len() + signatures.len() + points.len()) as u8]);
    hello.extend(groups);
    hello.extend(signatures);
    hello.extend(points);
    let length = hello.len() as u8;
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn tls_1_2_is_refused_and_keys_are_exchanged_post_quantum() {
    let site = Site::start().await;
    for port in [Port::Agents, Port::Https] {
        // A fatal alert: protocol_version (RFC 8446, 6.2).
        let refused = answer(&site, port, &hello_of_tls_1_2()).await;
        assert_eq!(refused, [21, 3, 3, 0, 2, 2, 70], "{port}");
    }
    let identity = site.enrol(&key(1), "gpu-7").await;
    for (port, identity) in [(Port::Agents, Some(&identity)), (Port::Https, None)] {
        let tls = site.connect(port, identity).await.unwrap();
        let connection = tls.get_ref().1;
        assert_eq!(
            connection.protocol_version(),
            Some(ProtocolVersion::TLSv1_3)
        );
        let group = connection.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), NamedGroup::X25519MLKEM768, "{port}");
    }
    site.stop().await;
}

/// Bytes of this process in memory, the collector's and the clients'.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

async fn metric(site: &Site, name: &str) -> u64 {
    let metrics = site.get(Some(&site.reader()), "/metrics").await.1;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&format!("tracer_collector_{name} ")));
    line.unwrap_or_else(|| panic!("{name}\n{metrics}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_thousand_strangers_get_nothing_and_leave_nothing() {
    let site = Site::start_with(|configuration| {
        configuration.limits.connections_per_address = 1024;
    })
    .await;
    let good = site.enrol(&key(1), "gpu-7").await;
    let mut line = site.agent(&good).await.unwrap();
    let records = session(&key(1), Stream::Telemetry, 4);

    let long = Duration::from_hours(24);
    let expired = issued_by(&site.authority(), key(1).agent(), HOUR);
    let elsewhere = tempfile::tempdir().unwrap();
    let plan = Plan::on_loopback(elsewhere.path().join("c"), "test.internal".parse().unwrap());
    init::init(&plan, now()).unwrap();
    let foreign = issued_by(&authority(&plan.folder), key(1).agent(), long);
    let revoked = site.enrol(&key(2), "gpu-8").await;
    site.registry().revoke_agent(key(2).agent(), now()).unwrap();
    while is_let_in(&site, Some(&revoked)).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let unknown = issued_by(&site.authority(), key(3).agent(), long);
    let kinds = [
        None,
        Some(&expired),
        Some(&foreign),
        Some(&revoked),
        Some(&unknown),
    ];
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        &[0; 64],
        &[0x16, 3, 1, 0x40, 1, 1, 0, 0, 0],
        &[0xff; 64],
        &hello_of_tls_1_2(),
    ];
    // What is made once is there before it is measured.
    for kind in kinds {
        assert!(!is_let_in(&site, kind).await);
    }
    let failed = metric(&site, "handshakes_failed_total").await;
    let before = resident();
    for _ in 0..MANY {
        for kind in kinds {
            assert!(!is_let_in(&site, kind).await);
        }
        for garbage in garbage {
            let mut stream = TcpStream::connect(site.agents).await.unwrap();
            stream.write_all(garbage).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.len() <= 7, "an alert at most: {answer:?}");
        }
    }
    let strangers = (MANY * (kinds.len() + garbage.len())) as u64;
    // One is counted just after its client knows.
    let mut counted = 0;
    for _ in 0..200 {
        counted = metric(&site, "handshakes_failed_total").await - failed;
        if counted >= strangers {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(counted, strangers, "all of them are counted");
    let left = resident().saturating_sub(before);
    assert!(left < LEFT_OVER, "{left} bytes are left of them");
    // Who was there before notices nothing.
    line.deliver(&records).await;
    site.stop().await;
}

/// Whether a client gets as far as one byte.
async fn is_let_in(site: &Site, identity: Option<&Identity>) -> bool {
    let Ok(mut tls) = site.connect(Port::Agents, identity).await else {
        return false;
    };
    let hello = tracer_wire::Frame::Hello {
        version: tracer_wire::PROTOCOL,
    };
    let _ = tls.write_all(&hello.to_bytes()).await;
    let mut byte = [0];
    matches!(tls.read(&mut byte).await, Ok(1))
}
