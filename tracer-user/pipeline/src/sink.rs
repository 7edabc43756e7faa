use std::io;

use tracer_event::RedactedEvent;

/// Where events go: a terminal, a file, a socket.
///
/// Raw content cannot be handed over:
/// ```compile_fail
/// use tracer_event::RawEvent;
/// use tracer_pipeline::Sink;
/// fn leak(sink: &mut impl Sink, event: &RawEvent) {
///     sink.write(event);
/// }
/// ```
/// ```
/// use tracer_event::RedactedEvent;
/// use tracer_pipeline::Sink;
/// fn show(sink: &mut impl Sink, event: &RedactedEvent) {
///     sink.write(event);
/// }
/// ```
pub trait Sink {
    /// Writes one event. It may be kept back until the next [`Sink::flush`].
    ///
    /// # Errors
    /// If the output does not take it. The pipeline then stops.
    fn write(&mut self, event: &RedactedEvent) -> io::Result<()>;

    /// Writes everything that was kept back. Called whenever no more events are at hand.
    ///
    /// # Errors
    /// If the output does not take it.
    fn flush(&mut self) -> io::Result<()>;
}
