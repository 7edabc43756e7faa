//! Bodies: small ones that come in, and what goes out, whole or as it is made.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Request, StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::Refusal;

/// Bytes of a body, at most.
const MAX: usize = 64 * 1024;
/// How long a body may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Reads a body as JSON.
pub(super) async fn read<T, B>(request: Request<B>) -> Result<T, Refusal>
where
    T: DeserializeOwned,
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let reading = Limited::new(request.into_body(), MAX).collect();
    let read = tokio::time::timeout(PATIENCE, reading).await;
    let read =
        read.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long"))?;
    let bytes = match read {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let error = format!("the body is longer than {MAX} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        Err(_) => return Err(Refusal::bad("the body was cut off")),
    };
    parse(&bytes)
}

/// The request in these bytes.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::bad(format!("the body is not what this path takes: {error}")))
}

/// What goes out.
pub(crate) enum Outgoing {
    /// All of it is there.
    Whole(Option<Bytes>),
    /// It comes as it is made; whoever makes it waits for who reads it.
    Made(mpsc::Receiver<Bytes>),
}

impl Outgoing {
    pub(super) fn whole(text: String) -> Self {
        Self::Whole(Some(text.into()))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Made(made) => made.poll_recv(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Made(_) => SizeHint::default(),
        }
    }
}
