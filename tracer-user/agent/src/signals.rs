//! SIGTERM and SIGINT end a process, SIGHUP makes it read its configuration again.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

/// Which signals have arrived.
#[derive(Clone, Debug)]
pub struct Signals(Arc<Arrived>);

#[derive(Debug, Default)]
struct Arrived {
    stop: AtomicBool,
    reload: AtomicBool,
    news: Notify,
}

impl Signals {
    /// Begins to listen. Signals that arrive after this returned are seen.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let arrived = Arc::new(Arrived::default());
        let own = Arc::clone(&arrived);
        // One answer travels, so the thread never waits for room.
        let (answer, installed) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || own.wait(&answer))?;
        installed
            .recv()
            .map_err(|_| io::Error::other("the thread that waits for signals ended"))??;
        Ok(Self(arrived))
    }

    /// Whether the process should end.
    #[must_use]
    pub fn is_stop(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    /// Whether the configuration should be read again; asked once for each time.
    #[must_use]
    pub fn take_reload(&self) -> bool {
        self.0.reload.swap(false, Ordering::Relaxed)
    }

    /// Waits for the next signal; one that arrived before anybody waited for it ends the next wait.
    pub async fn next(&self) {
        self.0.news.notified().await;
    }
}

impl Arrived {
    fn wait(&self, answer: &mpsc::SyncSender<io::Result<()>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(answer.send(Err(error))),
        };
        runtime.block_on(async {
            let listeners = (|| {
                Ok::<_, io::Error>((
                    signal(SignalKind::interrupt())?,
                    signal(SignalKind::terminate())?,
                    signal(SignalKind::hangup())?,
                ))
            })();
            let (mut interrupt, mut terminate, mut hangup) = match listeners {
                Ok(listeners) => listeners,
                Err(error) => return drop(answer.send(Err(error))),
            };
            // The receiver waits for exactly this answer.
            let _ = answer.send(Ok(()));
            loop {
                let flag = tokio::select! {
                    _ = interrupt.recv() => &self.stop,
                    _ = terminate.recv() => &self.stop,
                    _ = hangup.recv() => &self.reload,
                };
                flag.store(true, Ordering::Relaxed);
                self.news.notify_one();
            }
        });
    }
}
