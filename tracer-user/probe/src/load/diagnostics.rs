//! What the programs say about themselves, for people who develop them. Events never travel this
//! way.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::LoadError;

/// The reader of the programs' own log.
pub(crate) struct Diagnostics {
    reader: EbpfLogger<Lines>,
    lines: Lines,
}

/// Lines that were read and not yet taken. aya-log hands them to a [`Log`].
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Diagnostics {
    /// Takes over the log of a loaded object. Which levels are in it was decided by the object's
    /// `AYA_LOG_LEVEL` when it was loaded.
    pub(super) fn open(loaded: &mut Ebpf) -> Result<Self, LoadError> {
        let lines = Lines::default();
        let reader = EbpfLogger::init_with_logger(loaded, lines.clone())
            .map_err(|error| LoadError::Object(format!("its log cannot be read: {error}")))?;
        Ok(Self { reader, lines })
    }

    /// What was said since the last call.
    pub(crate) fn take(&mut self) -> Vec<String> {
        self.reader.flush();
        mem::take(&mut *self.lines.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    fn flush(&self) {}
}
