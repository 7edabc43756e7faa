//! Opens content that came sealed. The collector could not look into it, so what of it was asked for
//! is decided here.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use tracer_event::{Event, Recorded, WallNanos};
use tracer_wire::{Body, Opener, RecipientSecret, Record};

use super::now;
use crate::arguments::{quantity, typed::Query};

/// Opens with a recipient's key.
pub(super) struct Opening {
    opener: Opener,
    from: WallNanos,
    to: WallNanos,
    kinds: BTreeSet<String>,
}

/// A line of an answer that holds a record.
#[derive(Deserialize)]
struct Sealed {
    record: String,
}

impl Opening {
    pub(super) fn new(key: RecipientSecret, arguments: &Query) -> Result<Self> {
        let time = |name: &str, given: &Option<String>, otherwise| {
            let Some(given) = given else {
                return Ok(otherwise);
            };
            time(given).with_context(|| {
                format!("--{name}: `{given}` is no time such as 2026-11-23T03:00:00Z")
            })
        };
        let mut from = time("from", &arguments.from, WallNanos(0))?;
        if let Some(since) = &arguments.since {
            let since = quantity::duration(since).context("--since")?;
            from = WallNanos(now().0.saturating_sub(u64::try_from(since.as_nanos())?));
        }
        Ok(Self {
            opener: Opener::new(key),
            from,
            to: time("to", &arguments.to, WallNanos(u64::MAX))?,
            kinds: arguments.kind.iter().cloned().collect(),
        })
    }

    /// The events of a line that were asked for, each with the line that it was recorded as; the
    /// reason if it cannot be opened.
    pub(super) fn open(&mut self, line: &[u8]) -> Result<Vec<(String, Event<Recorded>)>, String> {
        let sealed: Sealed = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let bytes = BASE64_STANDARD.decode(sealed.record);
        let bytes = bytes.map_err(|error| error.to_string())?;
        let record = Record::parse(&bytes).map_err(|error| error.to_string())?;
        let claims = record.claims();
        if !record.is_signed() {
            return Err(format!(
                "record {} of session {} was changed: its agent did not sign this",
                claims.sequence, claims.session
            ));
        }
        match &claims.body {
            Body::Epoch(_) => {
                let learnt = self.opener.learn(&record);
                learnt.map_err(|error| error.to_string())?;
                return Ok(Vec::new());
            }
            Body::Batch(_) => {}
            Body::Gap(_) | Body::Closing => return Ok(Vec::new()),
        }
        let contents = self
            .opener
            .open(&record)
            .map_err(|error| error.to_string())?;
        let lines = str::from_utf8(contents.ndjson()).map_err(|error| error.to_string())?;
        let mut events = Vec::new();
        for line in lines.lines() {
            let event: Event<Recorded> =
                serde_json::from_str(line).map_err(|error| error.to_string())?;
            let is_within = (self.from..=self.to).contains(&event.time.wall);
            let is_kind = self.kinds.is_empty() || self.kinds.contains(event.kind().as_str());
            if is_within && is_kind {
                events.push((line.to_owned(), event));
            }
        }
        Ok(events)
    }
}

/// A time as the collector takes it.
fn time(text: &str) -> Option<WallNanos> {
    let whole = text.strip_suffix('Z')?;
    let (seconds, fraction) = whole.split_once('.').unwrap_or((whole, ""));
    format!("{seconds}.{fraction:0<9}Z").parse().ok()
}
