//! What can be asked over HTTPS. `schema/collector.openapi.json` describes it, and a test holds both
//! to each other.

mod body;
mod enrol;
mod events;
mod lines;
mod parameters;
mod status;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{self, HeaderMap, HeaderValue},
};
use tracer_wire::enrolment::{ENROL_PATH, Problem, RENEW_PATH, TokenSecret};

pub(crate) use self::body::Outgoing;
use crate::{
    admission::Holder,
    ingest::now,
    server::Collector,
    store::{Credential, Denied, StoreError},
};

/// Who asks, as far as the connection tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// Whose certificate was shown.
    pub(crate) holder: Option<Holder>,
    /// From where.
    pub(crate) from: SocketAddr,
}

/// Something that can be asked.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    endpoint: Endpoint,
}

/// Who may ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Anybody,
    /// Whoever has an enrolment token, which is in the body.
    EnrolmentToken,
    /// An agent with a certificate.
    Agent,
    /// Whoever has a reader's certificate or token.
    Reader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Health,
    Ready,
    Metrics,
    Description,
    Enrol,
    Renew,
    Nodes,
    Sessions,
    Events,
}

const fn route(method: Method, path: &'static str, access: Access, endpoint: Endpoint) -> Route {
    Route {
        method,
        path,
        access,
        endpoint,
    }
}

/// All of it.
pub(crate) static ROUTES: [Route; 9] = [
    route(Method::GET, "/healthz", Access::Anybody, Endpoint::Health),
    route(Method::GET, "/readyz", Access::Anybody, Endpoint::Ready),
    route(Method::GET, "/metrics", Access::Reader, Endpoint::Metrics),
    route(
        Method::GET,
        "/v1/openapi.json",
        Access::Reader,
        Endpoint::Description,
    ),
    route(
        Method::POST,
        ENROL_PATH,
        Access::EnrolmentToken,
        Endpoint::Enrol,
    ),
    route(Method::POST, RENEW_PATH, Access::Agent, Endpoint::Renew),
    route(Method::GET, "/v1/nodes", Access::Reader, Endpoint::Nodes),
    route(
        Method::GET,
        "/v1/sessions",
        Access::Reader,
        Endpoint::Sessions,
    ),
    route(Method::GET, "/v1/events", Access::Reader, Endpoint::Events),
];

/// The description of all of it.
pub(crate) const DESCRIPTION: &str = include_str!("../../../schema/collector.openapi.json");

/// Why a request is not answered as it would like.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, error }
    }

    fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        // What went wrong inside is for the log, not for who asks.
        log::error!("a request fails: {error}");
        let error = "the store does not work; see the collector's log";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Store(error) => error.into(),
            Denied::Revoked => Self::new(StatusCode::FORBIDDEN, denied.to_string()),
            Denied::Unknown | Denied::Expired | Denied::Used | Denied::OtherName(_) => {
                Self::new(StatusCode::FORBIDDEN, format!("the token: {denied}"))
            }
        }
    }
}

/// Answers a request.
pub(crate) async fn answer<B>(
    collector: Arc<Collector>,
    caller: Caller,
    request: Request<B>,
) -> Response<Outgoing>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    collector.metrics.requests.add(1);
    let method = request.method().clone();
    let answered = dispatch(&collector, caller, request).await;
    let mut response = answered.unwrap_or_else(|refusal| {
        let Refusal { status, error } = refusal;
        let is_denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_denied {
            collector.metrics.denied.add(1);
            log::info!("{}: {status}: {error}", caller.from);
        }
        let mut response = json(&Problem { error });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    log::debug!("{}: {method} {}", caller.from, response.status());
    response
}

async fn dispatch<B>(
    collector: &Arc<Collector>,
    caller: Caller,
    request: Request<B>,
) -> Result<Response<Outgoing>, Refusal>
where
    B: Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let route = find(request.method(), request.uri().path())?;
    let reader = match route.access {
        Access::Anybody | Access::EnrolmentToken => None,
        Access::Agent => match caller.holder {
            Some(Holder::Agent(_)) => None,
            Some(Holder::Reader(_)) | None => {
                let error = "show a certificate of an agent that is let in";
                return Err(Refusal::new(StatusCode::UNAUTHORIZED, error));
            }
        },
        Access::Reader => {
            let shown = credential(collector, caller, request.headers())?;
            Some(admitted(collector, shown).await?)
        }
    };
    let query = request.uri().query().unwrap_or("").to_owned();
    if !query.is_empty() && route.endpoint != Endpoint::Events {
        return Err(Refusal::bad("this path takes no parameters"));
    }
    match route.endpoint {
        Endpoint::Health => Ok(text("ok\n".to_owned())),
        Endpoint::Ready => status::ready(collector),
        Endpoint::Metrics => status::metrics(collector).await,
        Endpoint::Description => Ok(with_type(DESCRIPTION.to_owned(), "application/json")),
        Endpoint::Enrol => enrol::enrol(collector, body::read(request).await?).await,
        Endpoint::Renew => {
            let Some(Holder::Agent(agent)) = caller.holder else {
                return Err(Refusal::bad("no certificate of an agent"));
            };
            enrol::renew(collector, agent, body::read(request).await?).await
        }
        Endpoint::Nodes => status::nodes(collector).await,
        Endpoint::Sessions => status::sessions(collector).await,
        Endpoint::Events => {
            let reader = reader.ok_or_else(|| Refusal::bad("no reader"))?;
            events::events(collector, reader, &query).await
        }
    }
}

fn find(method: &Method, path: &str) -> Result<&'static Route, Refusal> {
    let mut of_path = ROUTES.iter().filter(|route| route.path == path).peekable();
    if of_path.peek().is_none() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "there is nothing here"));
    }
    of_path
        .find(|route| route.method == *method)
        .ok_or_else(|| {
            let error = "this path has another method";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error)
        })
}

/// What a reader shows: a certificate counts before a token.
fn credential(
    collector: &Collector,
    caller: Caller,
    headers: &HeaderMap,
) -> Result<Credential, Refusal> {
    match caller.holder {
        Some(Holder::Reader(certificate)) => Ok(Credential::Certificate(certificate)),
        Some(Holder::Agent(_)) | None if collector.configuration().only_certified_readers => {
            let error = "show a reader's certificate: this collector takes no reader's token";
            Err(Refusal::new(StatusCode::UNAUTHORIZED, error))
        }
        Some(Holder::Agent(_)) | None => bearer(headers).map(Credential::Token),
    }
}

/// The secret in the header.
fn bearer(headers: &HeaderMap) -> Result<TokenSecret, Refusal> {
    let value = headers.get(header::AUTHORIZATION);
    let secret = value.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let secret = secret.and_then(|secret| secret.trim().parse().ok());
    secret.ok_or_else(|| {
        let error =
            "show a reader's certificate, or give a reader's token: Authorization: Bearer SECRET";
        Refusal::new(StatusCode::UNAUTHORIZED, error)
    })
}

/// What was shown, if whoever it was given to may read.
async fn admitted(collector: &Arc<Collector>, shown: Credential) -> Result<Credential, Refusal> {
    let known = blocking(collector, {
        let shown = shown.clone();
        move |collector| collector.registry.reader(&shown, now())
    })
    .await?;
    match known {
        Ok(_) => Ok(shown),
        Err(Denied::Store(error)) => Err(error.into()),
        Err(denied) => {
            let what = match shown {
                Credential::Token(_) => "token",
                Credential::Certificate(_) => "certificate",
            };
            let error = format!("the {what}: {denied}");
            Err(Refusal::new(StatusCode::UNAUTHORIZED, error))
        }
    }
}

/// Does what waits for a disk where that holds up nobody else.
async fn blocking<T: Send + 'static>(
    collector: &Arc<Collector>,
    work: impl FnOnce(&Collector) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let collector = Arc::clone(collector);
    let done = tokio::task::spawn_blocking(move || work(&collector)).await;
    done.map_err(|error| {
        log::error!("a request fails: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "see the collector's log")
    })
}

fn json(value: &impl serde::Serialize) -> Response<Outgoing> {
    let text = serde_json::to_string(value);
    let text = text.expect("what is answered has no map with keys other than text");
    with_type(text, "application/json")
}

fn text(text: String) -> Response<Outgoing> {
    with_type(text, "text/plain; charset=utf-8")
}

fn with_type(text: String, kind: &'static str) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::whole(text));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What the fuzzer drives.
pub mod fuzzing {
    use tracer_wire::enrolment::{EnrolmentRequest, RenewalRequest};

    use super::{body, parameters};
    use crate::pki::SigningRequest;

    /// Reads bytes as every body that the API takes, and a certificate request in it.
    pub fn body(bytes: &[u8]) {
        if let Ok(request) = body::parse::<EnrolmentRequest>(bytes) {
            let _ = SigningRequest::parse(&request.csr);
        }
        if let Ok(request) = body::parse::<RenewalRequest>(bytes) {
            let _ = SigningRequest::parse(&request.csr);
        }
    }

    /// Reads text as a certificate request.
    pub fn certificate_request(text: &str) {
        let _ = SigningRequest::parse(text);
    }

    /// Reads text as the parameters of a query.
    pub fn query(text: &str) {
        let _ = parameters::is_query(text);
    }
}
