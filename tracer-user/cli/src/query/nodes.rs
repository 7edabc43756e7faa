//! `tracer nodes`: who sends to the collector, and how they are.

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use tracer_event::WallNanos;

use super::{
    access,
    connection::{self, Connection},
    now,
};
use crate::{
    arguments::typed::{ListFormat, Nodes},
    outcome::Outcome,
    text::{Palette, Table, Tone, count, short_duration},
};

/// A node as the collector tells of it.
#[derive(Deserialize)]
struct Node {
    name: String,
    agent: String,
    is_connected: bool,
    #[serde(default)]
    last_stored: Option<WallNanos>,
    certified_until: WallNanos,
    #[serde(default)]
    revoked: Option<WallNanos>,
    events: u64,
    events_lost: u64,
    gaps: u64,
    sessions_cut_off: u64,
}

/// Asks for the nodes and prints them.
///
/// # Errors
/// If the collector cannot be asked.
pub(crate) fn run(arguments: &Nodes) -> Result<Outcome> {
    let access = access::find(&arguments.collector)?;
    let body = connection::runtime()?.block_on(async {
        let connection = Connection::open(access).await?;
        connection.get("/v1/nodes").await?.whole().await
    })?;
    let values: Vec<Value> =
        serde_json::from_slice(&body).context("read what the collector answered")?;
    let text = match arguments.output {
        ListFormat::Json => format!("{}\n", Value::from(values.clone())),
        ListFormat::Ndjson => values.iter().map(|value| format!("{value}\n")).collect(),
        ListFormat::Pretty => pretty(&values, now(), Palette::for_stream(&io::stdout()))?,
    };
    let written = io::stdout().write_all(text.as_bytes());
    written.context("write to standard output")?;
    Ok(if values.is_empty() {
        Outcome::Nothing
    } else {
        Outcome::Something
    })
}

fn pretty(values: &[Value], now: WallNanos, palette: Palette) -> Result<String> {
    if values.is_empty() {
        return Ok(String::from("no node has enrolled\n"));
    }
    let heading = [
        "NODE",
        "STATE",
        "LAST STORED",
        "EVENTS",
        "LOST",
        "GAPS",
        "CUT OFF",
        "AGENT",
    ];
    let mut table = Table::with_heading(&heading);
    for value in values {
        let node: Node = Node::deserialize(value).context("read what the collector answered")?;
        let (tone, state) = if node.revoked.is_some() {
            (Tone::Bad, "revoked")
        } else if node.is_connected {
            (Tone::Good, "connected")
        } else if node.certified_until <= now {
            (Tone::Bad, "expired")
        } else {
            (Tone::Warning, "away")
        };
        let last = node.last_stored.map_or_else(
            || String::from("never"),
            |at| {
                let ago = std::time::Duration::from_nanos(now.0.saturating_sub(at.0));
                format!("{} ago", short_duration(ago))
            },
        );
        let bad = |number: u64| match number {
            0 => (Tone::Plain, String::from("0")),
            _ => (Tone::Bad, count(number)),
        };
        table.row([
            (Tone::Strong, node.name),
            (tone, state.to_owned()),
            (Tone::Plain, last),
            (Tone::Plain, count(node.events)),
            bad(node.events_lost),
            bad(node.gaps),
            bad(node.sessions_cut_off),
            (Tone::Faint, node.agent.chars().take(16).collect()),
        ]);
    }
    Ok(table.render(palette))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_node_is_seen_at_once() {
        let time = |second: u64| WallNanos((1_795_402_800 + second) * 1_000_000_000);
        let node = |name: &str, change: Value| {
            let mut node = json!({
                "name": name, "agent": "3d40".repeat(16), "is_connected": false,
                "enrolled": time(0), "certified_until": time(500), "sessions": 1, "records": 9,
                "events": 1234, "events_lost": 0, "gaps": 0, "sessions_cut_off": 0,
            });
            let change = change.as_object().unwrap().clone();
            node.as_object_mut().unwrap().extend(change);
            node
        };
        let nodes = [
            node(
                "gpu-7",
                json!({ "is_connected": true, "last_stored": time(98) }),
            ),
            node(
                "gpu-8",
                json!({ "gaps": 2, "events_lost": 40, "sessions_cut_off": 1 }),
            ),
            node("gpu-9", json!({ "certified_until": time(50) })),
            node("old", json!({ "revoked": time(10) })),
        ];
        let text = pretty(&nodes, time(100), Palette::PLAIN).unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[1][..5], ["gpu-7", "connected", "2.00", "s", "ago"]);
        assert_eq!(
            lines[2][..6],
            ["gpu-8", "away", "never", "1,234", "40", "2"]
        );
        assert_eq!(lines[3][1], "expired");
        assert_eq!(lines[4][1], "revoked");
    }
}
