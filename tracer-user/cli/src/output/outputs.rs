//! All outputs of a run.

use std::io::{self, Write};

use anyhow::Result;
use tracer_event::RedactedEvent;
use tracer_pipeline::Sink;

use super::{
    closing::Closing,
    json::Framing,
    pretty::Pretty,
    stream::{Stream, StreamReport},
};
use crate::{
    arguments::{Destination, Output, OutputFormat},
    text::{Palette, counted, printable},
    trouble::Trouble,
};

/// Every event goes to each of these; one that fails does not disturb the others.
#[derive(Debug)]
pub(crate) struct Outputs {
    outputs: Vec<(Writer, Stream)>,
    closing: Closing,
}

#[derive(Debug)]
enum Writer {
    Pretty(Box<Pretty>),
    Json(Framing),
}

impl Outputs {
    /// Opens them; `private` makes new files their owner's alone.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub(crate) fn open(outputs: &[Output], private: bool) -> Result<Self> {
        let outputs = outputs.iter().map(
            |Output {
                 format,
                 destination,
             }| {
                let writer = match format {
                    OutputFormat::Pretty => {
                        Writer::Pretty(Box::new(Pretty::new(palette(destination))))
                    }
                    OutputFormat::Json => Writer::Json(Framing::Array),
                    OutputFormat::Ndjson => Writer::Json(Framing::Lines),
                };
                Ok((writer, Stream::open(destination, private)?))
            },
        );
        Ok(Self {
            outputs: outputs.collect::<Result<_>>()?,
            closing: Closing::default(),
        })
    }

    /// What the run amounted to so far.
    pub(crate) fn closing(&self) -> &Closing {
        &self.closing
    }

    /// Ends every output, and the run with its last lines: where people read the events, else on
    /// standard error.
    ///
    /// # Errors
    /// If events could not be written, unless their reader had gone.
    pub(crate) fn finish(self) -> Result<(), Trouble> {
        let Self { outputs, closing } = self;
        let text = closing.text();
        let mut told = false;
        let mut failures = Vec::new();
        for (writer, mut stream) in outputs {
            match writer {
                Writer::Pretty(mut pretty) => {
                    told |= stream.is_standard_output();
                    stream.frame(pretty.end(&text, closing.is_incomplete()).as_bytes());
                }
                Writer::Json(framing) => framing.finish(&mut stream),
            }
            failures.extend(failure(stream.close()));
        }
        if !told {
            let _ = io::stderr().write_all(text.as_bytes());
        }
        if failures.is_empty() {
            return Ok(());
        }
        Err(Trouble::new(
            failures.join("; "),
            "make room on the disk, or write somewhere else with -o FORMAT:FILE; the traced \
             processes were not disturbed",
        ))
    }
}

/// A full disk is no reason to stop: what does not fit is counted, and other outputs go on. The
/// run ends only when nobody reads any output any more.
impl Sink for Outputs {
    fn write(&mut self, event: &RedactedEvent) -> io::Result<()> {
        self.closing.count(event);
        for (writer, stream) in &mut self.outputs {
            match writer {
                Writer::Pretty(pretty) => stream.event(pretty.event(event).as_bytes()),
                Writer::Json(framing) => framing.write(event, stream)?,
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        for (writer, stream) in &mut self.outputs {
            if let Writer::Pretty(pretty) = writer {
                stream.frame(pretty.pause().as_bytes());
            }
            let had_failed = stream.failure().is_some();
            stream.flush();
            if !had_failed && !stream.is_closed() {
                tell_of_failure(stream);
            }
        }
        if self.outputs.iter().all(|(_, stream)| stream.is_closed()) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

fn tell_of_failure(stream: &Stream) {
    if let Some(error) = stream.failure() {
        let name = stream.name();
        let _ = writeln!(
            io::stderr(),
            "tracer: cannot write to {}: {error}; what does not fit is counted, and tracing goes on",
            printable(&name),
        );
    }
}

fn failure(report: StreamReport) -> Option<String> {
    let StreamReport {
        name,
        written,
        unwritten,
        failure,
    } = report;
    let error = failure.filter(|error| error.kind() != io::ErrorKind::BrokenPipe)?;
    Some(format!(
        "{} could not be written to {name}: {error} ({} were)",
        counted(unwritten, "event"),
        counted(written, "event"),
    ))
}

fn palette(destination: &Destination) -> Palette {
    match destination {
        Destination::StandardOutput => Palette::for_stream(&io::stdout()),
        Destination::File(_) => Palette::PLAIN,
    }
}
