//! The parameters of a query, checked once.

use std::collections::BTreeSet;

use hyper::Uri;
use serde::Deserialize as _;
use tracer_event::{Digest, WallNanos};
use tracer_wire::{AgentId, EventKind, Stream};

use super::Refusal;
use crate::store::{Registry, Selection, StoreError};

/// What `/v1/events` takes.
pub(super) const NAMES: [&str; 8] = [
    "stream", "node", "from", "to", "kind", "model", "follow", "limit",
];
/// Values of a parameter that may be given again, at most.
const MAX_VALUES: usize = 64;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    stream: Stream,
    nodes: BTreeSet<String>,
    from: WallNanos,
    to: WallNanos,
    kinds: BTreeSet<EventKind>,
    models: BTreeSet<Digest>,
    /// Whether to go on with what arrives.
    pub(super) follow: bool,
    /// How many events at most, counting from the first.
    pub(super) limit: u64,
}

impl Parameters {
    /// The parameters of a query string.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut parameters = Self {
            stream: Stream::Telemetry,
            nodes: BTreeSet::new(),
            from: WallNanos(0),
            to: WallNanos(u64::MAX),
            kinds: BTreeSet::new(),
            models: BTreeSet::new(),
            follow: false,
            limit: u64::MAX,
        };
        let mut seen = BTreeSet::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            let wrong =
                |expected: &str| Refusal::bad(format!("{name} is {value:?}; expected {expected}"));
            let is_first = seen.insert(name.to_owned());
            if !is_first && !matches!(name, "node" | "kind" | "model") {
                return Err(Refusal::bad(format!("{name} is given twice")));
            }
            match name {
                "stream" => {
                    parameters.stream = match value.as_str() {
                        "telemetry" => Stream::Telemetry,
                        "content" => Stream::Content,
                        _ => return Err(wrong("telemetry or content")),
                    };
                }
                "node" => {
                    parameters.nodes.insert(value);
                }
                "from" | "to" => {
                    let time = time(&value);
                    let time = time.ok_or_else(|| wrong("a time such as 2026-11-23T03:00:00Z"))?;
                    if name == "from" {
                        parameters.from = time;
                    } else {
                        parameters.to = time;
                    }
                }
                "kind" => {
                    let kind = EventKind::new(&value);
                    let kind = kind.ok_or_else(|| wrong("a kind such as inference.step"))?;
                    parameters.kinds.insert(kind);
                }
                "model" => {
                    let model = digest(&value);
                    let model = model.ok_or_else(|| wrong("sha256: and 64 hex digits"))?;
                    parameters.models.insert(model);
                }
                "follow" => {
                    parameters.follow = match value.as_str() {
                        "true" => true,
                        "false" => false,
                        _ => return Err(wrong("true or false")),
                    };
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|&limit| limit > 0);
                    parameters.limit = limit.ok_or_else(|| wrong("a number from 1"))?;
                }
                _ => {
                    let names = NAMES.join(", ");
                    let error = format!("there is no parameter {name:?}; there are {names}");
                    return Err(Refusal::bad(error));
                }
            }
        }
        let counts = [
            parameters.nodes.len(),
            parameters.kinds.len(),
            parameters.models.len(),
        ];
        if counts.into_iter().any(|count| count > MAX_VALUES) {
            let error = format!("more than {MAX_VALUES} values of one parameter");
            return Err(Refusal::bad(error));
        }
        Ok(parameters)
    }

    /// The selection that this means with the agents that are known. A node is named as it enrolled,
    /// or by its agent.
    pub(super) fn selection(&self, registry: &Registry) -> Result<Selection, StoreError> {
        let agents = if self.nodes.is_empty() {
            None
        } else {
            let known = registry.agents()?.into_iter();
            let named = known
                .filter(|agent| self.nodes.contains(&agent.name))
                .map(|agent| agent.agent);
            let given = self.nodes.iter().filter_map(|node| node.parse().ok());
            Some(named.chain(given).collect::<BTreeSet<AgentId>>())
        };
        Ok(Selection {
            stream: self.stream,
            agents,
            session: None,
            from: self.from,
            to: self.to,
            kinds: self.kinds.clone(),
            models: self.models.clone(),
        })
    }
}

/// A time as events have it, with a shorter fraction or none, or nanoseconds since 1970.
fn time(text: &str) -> Option<WallNanos> {
    if let Ok(nanos) = text.parse() {
        return Some(WallNanos(nanos));
    }
    let whole = text.strip_suffix('Z')?;
    let (seconds, fraction) = whole.split_once('.').unwrap_or((whole, ""));
    format!("{seconds}.{fraction:0<9}Z").parse().ok()
}

fn digest(text: &str) -> Option<Digest> {
    Digest::deserialize(serde_json::Value::from(text)).ok()
}

/// Text without its percent signs.
fn decoded(text: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(rest.next()).zip(digit(rest.next()));
                let (high, low) = value.ok_or_else(|| Refusal::bad("a % without two digits"))?;
                u8::try_from(high << 4 | low).unwrap_or_default()
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad("a parameter is not UTF-8"))
}

/// Whether text can be a query at all; for the fuzzer.
pub(super) fn is_query(text: &str) -> bool {
    let uri: Result<Uri, _> = format!("/v1/events?{text}").parse();
    uri.is_ok() && Parameters::parse(text).is_ok()
}
