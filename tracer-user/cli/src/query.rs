//! What asks a collector: `tracer query` and `tracer nodes`.

mod access;
mod connection;
mod nodes;
mod opening;
mod showing;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tracer_event::WallNanos;

pub(crate) use self::nodes::run as nodes;
use self::{connection::Connection, opening::Opening, showing::Showing};
use crate::{
    arguments::{quantity, typed::Query},
    key,
    outcome::Outcome,
};

/// Asks for events and prints them.
///
/// # Errors
/// If the collector cannot be asked, or does not finish its answer.
pub(crate) fn run(arguments: &Query) -> Result<Outcome> {
    let opening = match &arguments.key {
        Some(file) => Some(Opening::new(key::read(file)?, arguments)?),
        None => None,
    };
    let path = path(arguments)?;
    let access = access::find(&arguments.collector)?;
    let mut showing = Showing::new(arguments.output, opening);
    connection::runtime()?.block_on(async {
        let connection = Connection::open(access).await?;
        let mut answer = connection.get(&path).await?;
        loop {
            let chunk = tokio::select! {
                chunk = answer.chunk() => chunk?,
                interrupted = tokio::signal::ctrl_c(), if arguments.follow => {
                    interrupted.context("await Ctrl-C")?;
                    break;
                }
            };
            let Some(chunk) = chunk else { break };
            if showing.take(&chunk)?.is_enough(arguments.limit) {
                break;
            }
        }
        anyhow::Ok(())
    })?;
    showing.end()
}

/// What is asked, as the collector's API has it.
fn path(arguments: &Query) -> Result<String> {
    let Query {
        collector: _,
        node,
        kind,
        model,
        from,
        since,
        to,
        limit,
        follow,
        key,
        output: _,
    } = arguments;
    let mut pairs: Vec<(&str, String)> = Vec::new();
    let mut each = |name, values: &[String]| {
        pairs.extend(values.iter().map(|value| (name, value.clone())));
    };
    each("node", node);
    each("kind", kind);
    each("model", model);
    if let Some(since) = since {
        let since = quantity::duration(since).context("--since")?;
        let from = now().0.saturating_sub(u64::try_from(since.as_nanos())?);
        pairs.push(("from", from.to_string()));
    }
    for (name, value) in [("from", from), ("to", to)] {
        pairs.extend(value.iter().map(|value| (name, value.clone())));
    }
    if key.is_some() {
        pairs.push(("stream", String::from("content")));
    } else {
        // Of content only the one who opens it can count events.
        pairs.extend(limit.map(|limit| ("limit", limit.to_string())));
    }
    if *follow {
        pairs.push(("follow", String::from("true")));
    }
    let query: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    Ok(format!("/v1/events?{}", query.join("&")))
}

fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn now() -> WallNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    WallNanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::typed::{Command, Typed};

    fn asked(arguments: &[&str]) -> String {
        let typed = Typed::try_parse_from([&["tracer", "query"], arguments].concat()).unwrap();
        let Command::Query(query) = typed.command else {
            panic!("it is a query");
        };
        path(&query).unwrap()
    }

    #[test]
    fn what_is_typed_is_what_is_asked() {
        assert_eq!(asked(&[]), "/v1/events?");
        assert_eq!(
            asked(&[
                "--node",
                "gpu 7&x=1",
                "--node",
                "b",
                "--kind",
                "inference.step"
            ]),
            "/v1/events?node=gpu%207%26x%3D1&node=b&kind=inference.step"
        );
        assert_eq!(
            asked(&["--to", "2026-11-23T03:00:00Z", "--limit", "3"]),
            "/v1/events?to=2026-11-23T03:00:00Z&limit=3"
        );
        assert_eq!(
            asked(&["--key", "file", "--limit", "3"]),
            "/v1/events?stream=content"
        );
        assert!(asked(&["--since", "1h", "-f"]).ends_with("&follow=true"));
    }
}
