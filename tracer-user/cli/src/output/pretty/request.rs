//! Requests, a line each, in columns that stay where they are.

use std::time::Duration;

use tracer_event::{
    Event, Known, Nanos,
    inference::{EndReason, Request},
};

use super::time_of_day;
use crate::text::{Palette, Tone, count, short_duration};

/// The columns' names.
pub(crate) fn heading(palette: Palette) -> String {
    let heading = format!(
        "\n{:<12}  {:>7}  {:>7}  {:>7}  {:>7}  {:>9}  {:>8}  {:>9}  {:>9}  END\n",
        "TIME", "PID", "REQUEST", "PROMPT", "CACHED", "GENERATED", "TTFT", "PER TOKEN", "TOTAL",
    );
    palette.paint(Tone::Faint, &heading)
}

/// A request that ended.
pub(crate) fn line<C>(request: &Request, event: &Event<C>, palette: Palette) -> String {
    let tokens = |known: Known<u64>| known.value().map_or_else(unknown, |&tokens| count(tokens));
    let time = |known: Known<Nanos>| known.value().map_or_else(unknown, |&time| duration(time));
    let pid = event.place.pid.map_or_else(unknown, |pid| pid.to_string());
    let (tone, end) = end(request.end);
    let mut marks = String::new();
    if request.approximate {
        marks.push_str("  approximate");
    }
    if event.late {
        marks.push_str("  late");
    }
    format!(
        "{}  {pid:>7}  {:>7}  {:>7}  {:>7}  {:>9}  {:>8}  {:>9}  {:>9}  {}{}\n",
        palette.paint(Tone::Faint, &time_of_day(event.time.wall)),
        request.request.to_string(),
        tokens(request.prompt_tokens),
        tokens(request.cached_tokens),
        tokens(request.generated_tokens),
        time(request.time_to_first_token),
        time(request.time_per_output_token),
        duration(request.duration),
        palette.paint(tone, end),
        palette.paint(Tone::Faint, &marks),
    )
}

fn unknown() -> String {
    "?".to_owned()
}

fn duration(time: Nanos) -> String {
    short_duration(Duration::from_nanos(time.0))
}

/// The reason in words that fit a column.
fn end(reason: EndReason) -> (Tone, &'static str) {
    match reason {
        EndReason::Eog => (Tone::Good, "eog"),
        EndReason::Stopped => (Tone::Plain, "stopped"),
        EndReason::Length => (Tone::Plain, "length"),
        EndReason::Cancelled => (Tone::Warning, "cancelled"),
        EndReason::ContextFull => (Tone::Warning, "context full"),
        EndReason::Aborted => (Tone::Warning, "aborted"),
        EndReason::Error => (Tone::Bad, "error"),
        EndReason::Unknown => (Tone::Faint, "not seen"),
    }
}
