//! One request to a collector, which is known by the authority that the token names.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tracer_agent::pinned;
use tracer_wire::enrolment::{Problem, ReaderToken};

use crate::{text::printable, trouble::Trouble};

/// How long the collector may take to be there.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer that is taken whole, at most.
const WHOLE: usize = 64 << 20;

/// A connection that one request goes over.
pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    token: ReaderToken,
}

/// An answer, as it arrives.
pub(super) struct Answer(Incoming);

/// Runs what waits for the network, on this thread.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

impl Connection {
    /// Connects to the collector of the token.
    pub(super) async fn open(token: &ReaderToken) -> Result<Self> {
        let address = &*token.0.collector;
        timeout(PATIENCE, Self::connect(token))
            .await
            .unwrap_or_else(|_| bail!("it does not answer"))
            .map_err(|error| {
                let what = format!("cannot reach the collector at {address}: {error:#}");
                let remedy = "check that it runs, that this host reaches it, and that the token \
                              is of this collector (--collector names another address)";
                Trouble::new(what, remedy).into()
            })
    }

    async fn connect(token: &ReaderToken) -> Result<Self> {
        let address = &*token.0.collector;
        let (host, _) = address
            .rsplit_once(':')
            .context("the address is not host:port")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).context("the host has no name")?;
        let config = pinned::client_config(token.0.authority)?;
        let stream = TcpStream::connect(address).await?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let (sender, connection) = http1::handshake(TokioIo::new(tls.await?)).await?;
        // It ends with the request that goes over it; what breaks it breaks the answer too.
        tokio::spawn(connection);
        Ok(Self {
            sender,
            token: token.clone(),
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// If the collector refuses; the message is its own.
    pub(super) async fn get(mut self, path: &str) -> Result<Answer> {
        let secret = self.token.0.secret.reveal();
        let request = Request::get(path)
            .header(header::HOST, &*self.token.0.collector)
            .header(header::AUTHORIZATION, format!("Bearer {secret}"))
            .body(Empty::new())
            .context("make the request")?;
        let response = self.sender.send_request(request).await;
        let response = response.context("the collector ended the connection")?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(Answer(response.into_body()));
        }
        let body = Answer(response.into_body())
            .whole()
            .await
            .unwrap_or_default();
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        let why = problem.map_or_else(|| status.to_string(), |problem| problem.error);
        let what = format!("the collector refuses: {}", printable(&why));
        if status == StatusCode::UNAUTHORIZED {
            let remedy = "make another token with `tracer-collector token new --reader NAME`";
            return Err(Trouble::new(what, remedy).into());
        }
        bail!("{what}");
    }
}

impl Answer {
    /// The next bytes; none at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.0.frame().await {
            let frame = frame.context("the collector's answer was cut off")?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// All of it.
    pub(super) async fn whole(self) -> Result<Bytes> {
        let body = Limited::new(self.0, WHOLE).collect().await;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => bail!("the collector's answer was cut off: {error}"),
        }
    }
}
