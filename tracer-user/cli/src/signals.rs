//! Ending on a signal: the first one asks, a second one does not.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Exit status of a run that a second signal cut short: 128 and SIGINT's number, as shells have it.
const CUT_SHORT: i32 = 130;

/// Says whether SIGINT, SIGTERM or SIGHUP has arrived.
///
/// The supervisor is synchronous and owns the calling thread, so the signals are awaited in a
/// thread of their own.
#[derive(Clone, Debug)]
pub(crate) struct StopRequest(Arc<AtomicBool>);

impl StopRequest {
    /// Begins to listen. Signals that arrive after this returned are seen.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub(crate) fn listen() -> Result<Self> {
        let request = Self(Arc::new(AtomicBool::new(false)));
        let asked = request.clone();
        // One answer travels, so the thread never waits for room.
        let (answer, installed) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || asked.wait_for_signals(&answer))
            .context("start the thread that waits for signals")?;
        installed
            .recv()
            .context("the thread that waits for signals ended")??;
        Ok(request)
    }

    /// Whether the run should end.
    pub(crate) fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn wait_for_signals(&self, answer: &mpsc::SyncSender<Result<()>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let runtime = match runtime.context("prepare to wait for signals") {
            Ok(runtime) => runtime,
            Err(error) => return drop(answer.send(Err(error))),
        };
        runtime.block_on(async {
            let listeners = (|| {
                Ok::<_, std::io::Error>((
                    signal(SignalKind::interrupt())?,
                    signal(SignalKind::terminate())?,
                    signal(SignalKind::hangup())?,
                ))
            })();
            let (mut interrupt, mut terminate, mut hangup) =
                match listeners.context("install signal handlers") {
                    Ok(listeners) => listeners,
                    Err(error) => return drop(answer.send(Err(error))),
                };
            // The receiver waits for exactly this answer.
            let _ = answer.send(Ok(()));
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if self.0.swap(true, Ordering::Relaxed) {
                    // Probes are never pinned: the kernel removes them with the process.
                    process::exit(CUT_SHORT);
                }
            }
        });
    }
}
