//! One request to a collector, which is known by its authority.

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
use tracer_wire::enrolment::{Problem, TokenSecret};

use super::access::{Access, Shown};
use crate::{text::printable, trouble::Trouble};

/// How long the collector may take to be there.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer that is taken whole, at most.
const WHOLE: usize = 64 << 20;

/// A connection that one request goes over.
pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    collector: Box<str>,
    token: Option<TokenSecret>,
    shown: Shown,
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
    /// Connects to the collector.
    pub(super) async fn open(access: Access) -> Result<Self> {
        let address = access.collector.clone();
        let shown = access.shown();
        timeout(PATIENCE, Self::connect(access))
            .await
            .unwrap_or_else(|_| bail!("it does not answer"))
            .map_err(|error| {
                let what = format!("cannot reach the collector at {address}: {error:#}");
                let remedy = format!(
                    "check that it runs, that this host reaches it, and that the {shown} \
                     is of this collector (--collector names another address)"
                );
                Trouble::new(what, remedy).into()
            })
    }

    async fn connect(access: Access) -> Result<Self> {
        let shown = access.shown();
        let Access {
            collector,
            tls,
            token,
        } = access;
        let (host, _) = collector
            .rsplit_once(':')
            .context("the address is not host:port")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).context("the host has no name")?;
        let stream = TcpStream::connect(&*collector).await?;
        let tls = TlsConnector::from(Arc::new(tls)).connect(name, stream);
        let (sender, connection) = http1::handshake(TokioIo::new(tls.await?)).await?;
        // It ends with the request that goes over it; what breaks it breaks the answer too.
        tokio::spawn(connection);
        Ok(Self {
            sender,
            collector,
            token,
            shown,
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// If the collector refuses; the message is its own.
    pub(super) async fn get(mut self, path: &str) -> Result<Answer> {
        let mut request = Request::get(path).header(header::HOST, &*self.collector);
        if let Some(secret) = &self.token {
            let bearer = format!("Bearer {}", secret.reveal());
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let request = request.body(Empty::new()).context("make the request")?;
        let response = match (self.sender.send_request(request).await, self.shown) {
            (Ok(response), _) => response,
            // In TLS 1.3 what the collector thinks of a certificate comes with the first answer.
            (Err(error), Shown::Certificate) => {
                let error = anyhow::Error::new(error);
                let what = format!("the collector ended the connection: {error:#}");
                return Err(Trouble::new(what, self.shown.remedy()).into());
            }
            (Err(error), Shown::Token) => {
                return Err(error).context("the collector ended the connection");
            }
        };
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
            return Err(Trouble::new(what, self.shown.remedy()).into());
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
