//! Events as they are asked for: first those that are stored, then, live, those that arrive.

use std::{sync::Arc, time::Duration};

use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{self, HeaderValue},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Outgoing, Refusal, blocking, lines::Lines, parameters::Parameters};
use crate::{
    ingest::now,
    server::Collector,
    store::{Credential, Cursor, Denied, RecordNumber, Selection, StoreError},
};

/// Records that are looked up at once.
const PAGE: usize = 64;
/// Pages that wait for who reads them.
const AHEAD: usize = 2;
/// How often it is asked again whether the reader may still read.
const RECHECK: Duration = Duration::from_secs(1);
/// How long a reader may take nothing. Until then it holds a place among the queries.
const STALLED: Duration = Duration::from_mins(10);
/// How often a line is sent that says nothing, so that a reader who is gone is noticed.
const ALIVE: Duration = Duration::from_secs(30);

pub(super) async fn events(
    collector: &Arc<Collector>,
    reader: Credential,
    query: &str,
) -> Result<Response<Outgoing>, Refusal> {
    let parameters = Parameters::parse(query)?;
    let permit = Arc::clone(&collector.queries).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let error = "too many queries are running; try again";
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, error)
    })?;
    let wanted = parameters.clone();
    let (selection, through) = blocking(collector, move |collector| {
        let selection = wanted.selection(&collector.registry)?;
        Ok::<_, StoreError>((selection, collector.store.newest()?))
    })
    .await??;
    let (to, made) = mpsc::channel(AHEAD);
    let telling = Telling {
        collector: Arc::clone(collector),
        reader,
        lines: Some(Lines::new(&selection, parameters.limit)),
        selection,
        to,
        _permit: permit,
    };
    tokio::spawn(telling.tell(through, parameters.follow));
    let mut response = Response::new(Outgoing::Made(made));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    Ok(response)
}

/// A query that is being answered.
struct Telling {
    collector: Arc<Collector>,
    reader: Credential,
    selection: Selection,
    /// None while a thread has it.
    lines: Option<Lines>,
    to: mpsc::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

/// Why it is over.
enum Over {
    /// All was told, or nobody listens.
    Done,
    /// The reader may no longer read.
    Denied,
    /// The store does not work.
    Failed(StoreError),
}

impl Telling {
    async fn tell(mut self, through: RecordNumber, follow: bool) {
        let over = match self.stored(through).await {
            Ok(()) if follow => self.arriving(through).await,
            Ok(()) => Over::Done,
            Err(over) => over,
        };
        let error = match over {
            Over::Done => return,
            Over::Denied => String::from("the reader may read no longer"),
            Over::Failed(error) => {
                log::error!("a query fails: {error}");
                String::from("the store does not work; see the collector's log")
            }
        };
        // An answer that has begun cannot become an error: the last line tells.
        let line = serde_json::json!({ "schema": "tracer.problem/1", "error": error });
        let _ = self.to.send(format!("{line}\n").into()).await;
    }

    async fn stored(&mut self, through: RecordNumber) -> Result<(), Over> {
        let mut after = None;
        loop {
            let from = Cursor::Time { after, through };
            let Some((first, number)) = self.page(from).await? else {
                return Ok(());
            };
            after = Some((first, number));
            self.may_read().await?;
        }
    }

    async fn arriving(&mut self, mut after: RecordNumber) -> Over {
        let mut newest = self.collector.committer.newest();
        let mut quiet = Duration::ZERO;
        loop {
            // There is one writer, and it tells of a record after its commit: a page sees all up to here.
            let seen = *newest.borrow_and_update();
            match self.page(Cursor::Arrival { after }).await {
                Ok(Some((_, number))) => {
                    after = number;
                    quiet = Duration::ZERO;
                    continue;
                }
                // None of them is wanted, and none is looked at again.
                Ok(None) => after = after.max(seen),
                Err(over) => return over,
            }
            if let Err(over) = self.may_read().await {
                return over;
            }
            tokio::select! {
                _ = newest.changed() => {}
                () = tokio::time::sleep(RECHECK) => {
                    quiet += RECHECK;
                    if quiet >= ALIVE {
                        quiet = Duration::ZERO;
                        if self.to.send(Bytes::from_static(b"\n")).await.is_err() {
                            return Over::Done;
                        }
                    }
                }
                () = self.to.closed() => return Over::Done,
                () = self.collector.ended() => return Over::Done,
            }
        }
    }

    /// Tells the next page, and gives where it ends; none if there is no more.
    async fn page(
        &mut self,
        from: Cursor,
    ) -> Result<Option<(tracer_event::WallNanos, RecordNumber)>, Over> {
        let Some(mut lines) = self.lines.take() else {
            return Err(Over::Done);
        };
        let collector = Arc::clone(&self.collector);
        let selection = self.selection.clone();
        let to = self.to.clone();
        let runtime = tokio::runtime::Handle::current();
        let told = tokio::task::spawn_blocking(move || {
            let entries = collector.store.select(&selection, from, PAGE)?;
            for entry in &entries {
                let bytes = lines.of(&collector, entry)?;
                let is_taken = bytes.is_empty()
                    || runtime
                        .block_on(to.send_timeout(bytes.into(), STALLED))
                        .is_ok();
                if !is_taken || lines.is_full() {
                    return Ok((lines, !is_taken, None));
                }
            }
            let last = entries.last().map(|entry| (entry.first, entry.number));
            Ok((lines, false, last))
        });
        match told.await {
            Ok(Ok((lines, is_stalled, last))) => {
                if is_stalled || lines.is_full() || self.to.is_closed() {
                    return Err(Over::Done);
                }
                self.lines = Some(lines);
                Ok(last)
            }
            Ok(Err(error)) => Err(Over::Failed(error)),
            Err(error) => {
                log::error!("a query fails: {error}");
                Err(Over::Done)
            }
        }
    }

    /// Whether the reader may still read: decided anew for each page.
    async fn may_read(&self) -> Result<(), Over> {
        let reader = self.reader.clone();
        let checked = blocking(&self.collector, move |collector| {
            collector.registry.reader(&reader, now())
        });
        match checked.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Denied::Store(error))) => Err(Over::Failed(error)),
            Ok(Err(_)) | Err(_) => Err(Over::Denied),
        }
    }
}
