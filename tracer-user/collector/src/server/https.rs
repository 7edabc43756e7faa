//! The HTTPS port: connections, until they are requests.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{Collector, Connections};
use crate::{
    admission::Verdict,
    api::{self, Caller},
};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and how long a connection may have none.
const HEAD: Duration = Duration::from_secs(20);
/// Bytes of a head, at most.
const HEAD_BYTES: usize = 16 * 1024;

pub(super) async fn listen(
    collector: Arc<Collector>,
    listener: TcpListener,
    config: Arc<ServerConfig>,
) {
    let acceptor = TlsAcceptor::from(config);
    let connections = Arc::new(Connections::default());
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = collector.ended() => break,
            Some(_) = tasks.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                log::warn!("cannot accept an HTTPS connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let limits = &collector.configuration().limits;
        let counted = connections.admit(
            from.ip(),
            limits.https_connections,
            limits.connections_per_address,
        );
        let Some(counted) = counted else {
            collector.metrics.turned_away.add(1);
            continue;
        };
        let (collector, acceptor) = (Arc::clone(&collector), acceptor.clone());
        tasks.spawn(async move {
            let _counted = counted;
            serve(collector, &acceptor, stream, from).await;
        });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn serve(
    collector: Arc<Collector>,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
) {
    let _ = stream.set_nodelay(true);
    let tls = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            collector.metrics.failed_handshakes.add(1);
            log::info!("{from}: {error}");
            return;
        }
        Err(_) => {
            collector.metrics.failed_handshakes.add(1);
            return;
        }
    };
    let certificate = tls
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|certificate| certificate.clone().into_owned());
    let of_service = Arc::clone(&collector);
    let service = service_fn(move |request: Request<Incoming>| {
        let collector = Arc::clone(&of_service);
        // Decided for each request: a connection may outlive what let it in.
        let agent = certificate.as_ref().and_then(|certificate| {
            let (agent, verdict) = collector.admission.of_certificate(certificate);
            let is_good = crate::pki::good_until(certificate) > crate::ingest::now();
            agent.filter(|_| verdict == Verdict::Admitted && is_good)
        });
        async move {
            let caller = Caller { agent, from };
            Ok::<_, Infallible>(api::answer(collector, caller, request).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(tls), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = collector.ended() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        log::debug!("{from}: {error}");
    }
}
