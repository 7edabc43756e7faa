//! `tracer agent status`.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use tracer_agent::{config::AgentConfig, ship::CONTROL, status::ShipStatus};

use crate::{
    arguments::typed::DocumentFormat,
    outcome::Outcome,
    text::{counted, printable, size},
    trouble::Trouble,
};

/// How long ship may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of its answer, at most.
const LIMIT: u64 = 64 << 10;

/// Asks ship, and prints what it says.
///
/// # Errors
/// If ship does not answer.
pub(super) fn run(config: &AgentConfig, format: DocumentFormat) -> Result<Outcome> {
    let path = config.ship.sockets.join(CONTROL);
    let ask = || -> io::Result<Vec<u8>> {
        let stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = Vec::new();
        stream.take(LIMIT).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| {
        Trouble::new(
            format!("ask ship at {}: {error}", path.display()),
            "is the agent running? systemctl status tracer-ship, or start it: sudo tracer agent",
        )
    })?;
    if answer.is_empty() {
        let what = format!("ship at {} does not answer this user", path.display());
        return Err(Trouble::new(what, "ask as root: sudo tracer agent status").into());
    }
    let status: ShipStatus = serde_json::from_slice(&answer)
        .context("what ship says is not what this version understands; restart the agent")?;
    let text = match format {
        DocumentFormat::Pretty => pretty(&status),
        DocumentFormat::Json => serde_json::to_string_pretty(&status)? + "\n",
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")?;
    Ok(match status.is_connected {
        true => Outcome::Something,
        false => Outcome::Nothing,
    })
}

fn pretty(status: &ShipStatus) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("{name:<12}{}\n", printable(value)));
    };
    line(
        "agent",
        status
            .agent
            .as_deref()
            .unwrap_or("not known while capture is not there"),
    );
    line("collector", &status.collector);
    if let Some(until) = status.certificate_until {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let left = until.checked_sub(now.unwrap_or_default().as_secs());
        let said = left.map_or_else(
            || "has ended".to_owned(),
            |left| format!("ends in {} h {} min", left / 3600, left / 60 % 60),
        );
        line("certificate", &said);
    }
    let spool = format!(
        "{} in {} of {}",
        counted(status.spool_records, "record"),
        size(status.spool_bytes),
        size(status.spool_limit),
    );
    line("spool", &spool);
    if let Some(disk) = &status.disk {
        line("disk", disk);
    }
    let stored = format!(
        "{} kept, {} stored since ship (process {}) began",
        counted(status.records_kept, "record"),
        status.records_stored,
        status.pid,
    );
    line("ship", &stored);
    match &status.capture {
        None => line("capture", "not there: no event is seen"),
        Some(capture) => {
            let doing = format!(
                "{} (process {}): {}, {} sealed",
                capture.doing,
                capture.pid,
                counted(capture.runtimes, "runtime"),
                counted(capture.events_sealed, "event"),
            );
            line("capture", &doing);
            let losses = [
                (capture.events_withheld, "of content without a recipient"),
                (capture.events_lost, "that could not be sealed"),
                (
                    capture.events_dropped,
                    "dropped, since ship did not take them",
                ),
            ];
            for (count, what) in losses {
                if count > 0 {
                    line("", &format!("{} {what}", counted(count, "event")));
                }
            }
        }
    }
    text
}
