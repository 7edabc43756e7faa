//! The HTTPS port: a connection, until it is requests.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Collector;
use crate::{
    admission::Verdict,
    api::{self, Caller},
};

/// How long the head of a request may take, and how long a connection may have none.
const HEAD: Duration = Duration::from_secs(20);
/// Bytes of a head, at most.
const HEAD_BYTES: usize = 16 * 1024;

/// Serves a connection, whose client may have a certificate.
pub(super) async fn serve(collector: Arc<Collector>, tls: TlsStream<TcpStream>, from: SocketAddr) {
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
        let holder = certificate.as_ref().and_then(|certificate| {
            let (holder, verdict) = collector.admission.of_certificate(certificate)?;
            let is_good = crate::pki::good_until(certificate) > crate::ingest::now();
            (verdict == Verdict::Admitted && is_good).then_some(holder)
        });
        async move {
            let caller = Caller { holder, from };
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
