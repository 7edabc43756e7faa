//! What both ports do with a connection before they differ: it is counted, and it speaks TLS.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Collector, connections::Connections};
use crate::tls::Port;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves the connections of `port` until the collector ends, and waits for those that are open.
pub(super) async fn accept<F>(
    collector: Arc<Collector>,
    listener: TcpListener,
    config: Arc<ServerConfig>,
    port: Port,
    serve: fn(Arc<Collector>, TlsStream<TcpStream>, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
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
                // Out of descriptors, mostly: others must end first.
                log::warn!("cannot accept a connection to the port {port}: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let limits = &collector.configuration().limits;
        let limit = match port {
            Port::Agents => limits.agent_connections,
            Port::Https => limits.https_connections,
        };
        let counted = connections.admit(from.ip(), limit, limits.connections_per_address);
        let Some(counted) = counted else {
            collector.metrics.turned_away.add(1);
            continue;
        };
        let (collector, acceptor) = (Arc::clone(&collector), acceptor.clone());
        tasks.spawn(async move {
            let _counted = counted;
            if let Some(tls) = handshake(&collector, &acceptor, stream, from, port).await {
                serve(collector, tls, from).await;
            }
        });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn handshake(
    collector: &Collector,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
    port: Port,
) -> Option<TlsStream<TcpStream>> {
    let _ = stream.set_nodelay(true);
    let why = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(tls)) => return Some(tls),
        Ok(Err(error)) => error.to_string(),
        Err(_) => String::from("the handshake took too long"),
    };
    collector.metrics.failed_handshakes.add(1);
    log::info!("{from}, port {port}: {why}");
    None
}
