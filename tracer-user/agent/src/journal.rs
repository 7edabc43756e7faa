//! What a process has to say, to standard error, where a service manager reads it.

use std::{
    io::{self, Write as _},
    sync::OnceLock,
};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Lines with the process's part before them; for journald with their severity (sd-daemon(3)).
struct Journal {
    part: &'static str,
    is_journald: bool,
}

static JOURNAL: OnceLock<Journal> = OnceLock::new();

/// From now on what is logged goes to standard error. A second call changes nothing.
pub fn begin(part: &'static str) {
    let journal = JOURNAL.get_or_init(|| Journal {
        part,
        is_journald: std::env::var_os("JOURNAL_STREAM").is_some(),
    });
    if log::set_logger(journal).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates' notices are of no use to whoever runs this.
        metadata.level() <= Level::Warn || metadata.target().starts_with("tracer")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let severity = match record.level() {
            Level::Error => "<3>",
            Level::Warn => "<4>",
            Level::Info | Level::Debug | Level::Trace => "<6>",
        };
        let severity = if self.is_journald { severity } else { "" };
        let text: String = record
            .args()
            .to_string()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = format!("{severity}tracer agent, {}: {text}\n", self.part);
        // Nobody is left to tell that nobody reads this.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
