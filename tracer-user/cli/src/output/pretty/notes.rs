//! What single lines say, and in which tone. The time and whose it is are put before it.

use std::time::Duration;

use tracer_event::{
    Event, Known, Loss,
    agent::{NotAttachable, Restored, Shed, ShedCause, Silent},
    call::Called,
    inference::{RuntimeError, Tokens},
    integrity::{FileVerdict, VerdictOutcome},
};

use super::{Shown, call};
use crate::{
    output::closing::describe,
    text::{Tone, count, counted, printable, short_duration},
};

/// Token ids of a prompt that are shown.
const SHOWN_TOKENS: usize = 12;

/// A line's tone and words.
pub(super) type Note = (Tone, String);

/// A library that is not probed.
pub(super) fn not_attachable<C: Shown>(refusal: &NotAttachable<C>) -> Note {
    let (path, reason) = (refusal.path.shown(), refusal.reason.shown());
    (Tone::Warning, format!("{path} is not probed: {reason}"))
}

/// What a runtime says before it gives up.
pub(super) fn runtime_error<C: Shown>(error: &RuntimeError<C>) -> Note {
    let message = error
        .message
        .value()
        .map_or("unknown error".to_owned(), Shown::shown);
    let place = match (error.file.value(), error.line.value()) {
        (Some(file), Some(line)) => format!(" at {}:{line}", file.shown()),
        (Some(file), None) => format!(" in {}", file.shown()),
        (None, _) => String::new(),
    };
    let what = format!("the runtime gives up{place}: {message}");
    (Tone::Bad, what)
}

/// Whether a mapped file is the one that was signed.
pub(super) fn verdict<C: Shown>(verdict: &FileVerdict<C>) -> Note {
    let (tone, word) = match verdict.outcome {
        VerdictOutcome::Verified => (Tone::Good, "verified"),
        VerdictOutcome::NotVerified => (Tone::Bad, "not verified"),
        VerdictOutcome::Undetermined => (Tone::Warning, "neither verified nor refuted"),
    };
    let guarantee = match verdict.guarantee {
        Known::Known(guarantee) => format!("{guarantee:?}, "),
        Known::Unknown => String::new(),
    };
    let what = format!(
        "{} is {word} against {} ({guarantee}{})",
        verdict
            .path
            .value()
            .map_or_else(|| "a model file".to_owned(), Shown::shown),
        printable(verdict.source.as_str()),
        verdict.reason,
    );
    (tone, what)
}

/// The tokens of a prompt; of a single one nothing is said.
pub(super) fn tokens<C: Shown>(tokens: &Tokens<C>) -> Option<Note> {
    let ids = tokens.tokens.token_ids().filter(|ids| ids.len() > 1)?;
    let shown: Vec<String> = ids
        .iter()
        .take(SHOWN_TOKENS)
        .map(|id| id.map_or_else(|| "-".to_owned(), |id| id.to_string()))
        .collect();
    let rest = if ids.len() > SHOWN_TOKENS {
        ", …"
    } else {
        ""
    };
    let what = format!(
        "{}: {}{rest}",
        counted(ids.len() as u64, "token"),
        shown.join(", ")
    );
    Some((Tone::Faint, what))
}

/// A call of a function that a profile names.
pub(super) fn called<C: Shown>(event: &Event<C>, called: &Called<C>) -> Note {
    let probe = event
        .probe
        .as_ref()
        .map_or("a call", |probe| probe.as_str());
    let what = format!("{probe} {}", call::summary(called));
    (Tone::Plain, what)
}

/// What was not seen.
pub(super) fn loss(loss: &Loss) -> Note {
    let tone = if loss.reason.loses_record() {
        Tone::Bad
    } else {
        Tone::Warning
    };
    let within = short_duration(Duration::from_nanos(loss.to.since(loss.from).0));
    let what = format!(
        "lost {} {}, within {within}",
        count(loss.count),
        describe(loss.reason)
    );
    (tone, what)
}

/// Probes that cost too much.
pub(super) fn shed(shed: &Shed) -> Note {
    let why = match shed.cause {
        ShedCause::Runaway => "one instruction of it",
        ShedCause::Budget => "probing as a whole",
    };
    let what = format!(
        "{} is no longer probed ({}): {why} cost {:.1} % of a core; its calls are not observed \
         from now on",
        shed.group,
        counted(shed.probes.len() as u64, "probe"),
        shed.core_share * 100.0,
    );
    (Tone::Warning, what)
}

/// Probes that are there again.
pub(super) fn restored(restored: &Restored) -> Note {
    let probes = counted(restored.probes.len() as u64, "probe");
    let what = format!("{} is probed again ({probes})", restored.group);
    (Tone::Faint, what)
}

/// A process that is busy, and whose probes are never hit.
pub(super) fn silent(silent: &Silent) -> Note {
    let busy = short_duration(Duration::from_nanos(silent.busy.0));
    let what = format!(
        "has used {busy} of CPU without one hit of the probes for {}: it may not call the \
         functions that the profile knows",
        silent.runtime
    );
    (Tone::Warning, what)
}
