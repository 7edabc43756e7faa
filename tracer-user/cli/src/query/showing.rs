//! Prints an answer, line by line as it comes.

use std::{
    io::{self, Write},
    mem,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tracer_event::{Event, Recorded, SCHEMA};

use super::opening::Opening;
use crate::{
    arguments::typed::EventFormat,
    outcome::Outcome,
    output::pretty::Pretty,
    text::{Palette, Tone, counted, printable},
};

/// What is printed, and what was.
pub(super) struct Showing {
    format: EventFormat,
    pretty: Pretty,
    palette: Palette,
    opening: Option<Opening>,
    /// The beginning of a line that has not arrived whole.
    rest: Vec<u8>,
    events: u64,
    gaps: u64,
    unreadable: u64,
    /// Why the collector did not finish.
    problem: Option<String>,
}

/// What every line has.
#[derive(Deserialize)]
struct Line {
    schema: String,
    /// Of a problem.
    #[serde(default)]
    error: String,
    /// Of what cannot be read.
    #[serde(default)]
    why: String,
    /// Of a gap.
    #[serde(default)]
    reason: String,
    #[serde(default)]
    events: Option<u64>,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

impl Showing {
    pub(super) fn new(format: EventFormat, opening: Option<Opening>) -> Self {
        let palette = match format {
            EventFormat::Pretty => Palette::for_stream(&io::stdout()),
            EventFormat::Ndjson => Palette::PLAIN,
        };
        Self {
            format,
            pretty: Pretty::new(palette),
            palette,
            opening,
            rest: Vec::new(),
            events: 0,
            gaps: 0,
            unreadable: 0,
            problem: None,
        }
    }

    /// Prints what is whole by now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<&mut Self> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else {
            return Ok(self);
        };
        let after = self.rest.split_off(end + 1);
        let lines = mem::replace(&mut self.rest, after);
        let mut text = String::new();
        for line in lines.split(|&byte| byte == b'\n') {
            if !line.is_empty() {
                self.line(line, &mut text);
            }
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("write to standard output")?;
        Ok(self)
    }

    /// Whether so many events were shown. Of content the collector cannot count them.
    pub(super) fn is_enough(&self, limit: Option<u64>) -> bool {
        self.opening.is_some() && limit.is_some_and(|limit| self.events >= limit)
    }

    fn line(&mut self, line: &[u8], to: &mut String) {
        let Ok(read) = serde_json::from_slice::<Line>(line) else {
            self.note("the collector sent a line that is none", to);
            self.unreadable += 1;
            return;
        };
        match read.schema.as_str() {
            SCHEMA => {
                let event = match self.format {
                    EventFormat::Pretty => serde_json::from_slice::<Event<Recorded>>(line).ok(),
                    EventFormat::Ndjson => None,
                };
                self.event(&String::from_utf8_lossy(line), event.as_ref(), to);
            }
            "tracer.sealed/1" => self.sealed(line, to),
            "tracer.problem/1" => self.problem = Some(read.error),
            "tracer.gap/1" => {
                self.gaps += 1;
                let lost = read.events.map_or_else(
                    || String::from("an unknown number of events"),
                    |events| counted(events, "event"),
                );
                let Line {
                    agent,
                    from,
                    to: until,
                    reason,
                    ..
                } = read;
                let note = format!("agent {agent} has lost {lost}, {from} to {until}: {reason}");
                self.special(line, &note, to);
            }
            _ => {
                self.unreadable += 1;
                let Line {
                    agent,
                    from,
                    to: until,
                    why,
                    ..
                } = read;
                let note = format!("agent {agent}, {from} to {until}, cannot be read: {why}");
                self.special(line, &note, to);
            }
        }
    }

    fn sealed(&mut self, line: &[u8], to: &mut String) {
        let Some(opening) = &mut self.opening else {
            return;
        };
        match opening.open(line) {
            Ok(events) => {
                for (line, event) in events {
                    self.event(&line, Some(&event), to);
                }
            }
            Err(why) => {
                self.unreadable += 1;
                let note = format!("content cannot be opened: {why}");
                match self.format {
                    EventFormat::Pretty => self.note(&note, to),
                    EventFormat::Ndjson => {
                        let schema = "tracer.unreadable/1";
                        let line = serde_json::json!({ "schema": schema, "why": note });
                        to.push_str(&format!("{line}\n"));
                    }
                }
            }
        }
    }

    fn event(&mut self, line: &str, event: Option<&Event<Recorded>>, to: &mut String) {
        self.events += 1;
        match (self.format, event) {
            (EventFormat::Ndjson, _) => {
                to.push_str(line);
                to.push('\n');
            }
            (EventFormat::Pretty, Some(event)) => to.push_str(&self.pretty.event(event)),
            (EventFormat::Pretty, None) => {
                self.unreadable += 1;
                self.note("an event of a form that this program does not know", to);
            }
        }
    }

    /// A line that is no event.
    fn special(&self, line: &[u8], note: &str, to: &mut String) {
        match self.format {
            EventFormat::Pretty => self.note(note, to),
            EventFormat::Ndjson => {
                to.push_str(&String::from_utf8_lossy(line));
                to.push('\n');
            }
        }
    }

    fn note(&self, text: &str, to: &mut String) {
        to.push_str(&self.palette.paint(Tone::Bad, &printable(text)));
        to.push('\n');
    }

    /// Prints the last line.
    ///
    /// # Errors
    /// If the collector did not finish.
    pub(super) fn end(mut self) -> Result<Outcome> {
        let Self {
            events,
            gaps,
            unreadable,
            ..
        } = self;
        if self.format == EventFormat::Pretty {
            let mut text = counted(events, "event");
            if gaps > 0 {
                text += &format!(", {}", counted(gaps, "gap"));
            }
            if unreadable > 0 {
                text += &format!(", {unreadable} that cannot be read");
            }
            let text = self.pretty.end(&text, gaps + unreadable > 0);
            let written = io::stdout().write_all(text.as_bytes());
            written.context("write to standard output")?;
        }
        if let Some(problem) = self.problem {
            bail!("the collector did not finish: {}", printable(&problem));
        }
        Ok(if events > 0 {
            Outcome::Something
        } else {
            Outcome::Nothing
        })
    }
}
