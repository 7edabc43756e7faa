//! The thread that owns the spool. What capture hands over is on the disk before it is told so; what
//! the collector has stored leaves it.
//!
//! The disk is waited for here and nowhere else. Many records share one wait.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender as Queue},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, mpsc as tokio_mpsc};
use tracer_wire::{Record, Sequence, SessionId};

use super::link::{CaptureLink, Generation, Intake, MOST_WAITING};
use crate::{
    sender::Sender,
    spool::{Folder, Limits, Spool, SpoolError},
    status::ShipStatus,
};

/// Between two tries of what failed.
const TICK: Duration = Duration::from_millis(250);
/// How long it sleeps while nothing has failed and nobody has an order: all else comes as one.
const IDLE: Duration = Duration::from_secs(10);
/// Between two tries to open a spool whose disk failed.
const REOPEN: Duration = Duration::from_secs(1);
/// Records that share one wait for the disk, at most.
const GROUP: usize = 64;
/// Records that wait for the disk, with those of captures that were killed: a few of them.
const MOST_WAITING_OF_ALL: usize = 8 * MOST_WAITING;
/// Pieces of bytes that wait for the network.
pub(super) const OUTGOING: usize = 8;

/// What the keeper is asked. Records are bounded by the places that capture has, bytes of the network
/// by permits, and the rest is rare.
pub(super) enum Order {
    /// To be kept.
    Record(Box<Record>, Generation),
    /// The collector is reached: bytes for it go here.
    Connected(tokio_mpsc::Sender<Vec<u8>>),
    /// The collector said something. The permit is given back when it was heard.
    Received(Vec<u8>, OwnedSemaphorePermit),
    /// The network took something.
    Room,
    /// The collector is not reached any more.
    Disconnected,
    /// End: everything that was handed over is kept, and the spool closed.
    End,
}

/// The keeper as others see it.
#[derive(Clone)]
pub(super) struct Keeper {
    orders: Queue<Order>,
    facts: Arc<Mutex<ShipStatus>>,
}

impl Keeper {
    /// Opens the spool and starts the thread that owns it. The second value ends with it.
    pub(super) fn start(
        folder: PathBuf,
        limits: Limits,
        link: Arc<CaptureLink>,
    ) -> Result<(Self, std::thread::JoinHandle<()>), SpoolError> {
        let spool = open(&folder, limits)?;
        let (orders, queue) = mpsc::channel();
        let facts = Arc::new(Mutex::new(ShipStatus::default()));
        let keeper = Self {
            orders,
            facts: Arc::clone(&facts),
        };
        let keeping = Keeping {
            folder,
            limits,
            link,
            facts,
            spool: Some(spool),
            reopened: Instant::now(),
            waiting: VecDeque::new(),
            appended: Vec::new(),
            network: None,
            is_unsent: false,
            uncounted: 0,
            kept: 0,
            stored: 0,
        };
        let thread = std::thread::Builder::new()
            .name("keeping".into())
            .spawn(move || keeping.run(&queue))
            .map_err(|source| SpoolError::Disk {
                doing: "starting the thread that owns it",
                source,
            })?;
        Ok((keeper, thread))
    }

    /// Asks something of it. After its end nothing is heard any more.
    pub(super) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// What the keeper knows: the spool's numbers.
    pub(super) fn facts(&self) -> ShipStatus {
        self.facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Intake for Keeper {
    fn record(&self, record: Box<Record>, over: Generation) {
        self.order(Order::Record(record, over));
    }
}

struct Keeping {
    folder: PathBuf,
    limits: Limits,
    link: Arc<CaptureLink>,
    facts: Arc<Mutex<ShipStatus>>,
    /// None after its disk failed, until it can be opened again.
    spool: Option<Spool<Folder>>,
    reopened: Instant,
    /// Records that the spool has not taken yet.
    waiting: VecDeque<(Box<Record>, Generation)>,
    /// What it took, and what does not count as kept yet.
    appended: Vec<(Generation, SessionId, Sequence)>,
    network: Option<Network>,
    /// What the network has room for could not be read.
    is_unsent: bool,
    /// Appended and not committed yet.
    uncounted: u64,
    kept: u64,
    stored: u64,
}

struct Network {
    sender: Sender,
    outgoing: tokio_mpsc::Sender<Vec<u8>>,
}

fn open(folder: &std::path::Path, limits: Limits) -> Result<Spool<Folder>, SpoolError> {
    let storage = Folder::open(folder).map_err(|source| SpoolError::Disk {
        doing: "opening its folder",
        source,
    })?;
    let (spool, recovered) = Spool::open(storage, limits)?;
    if recovered.damaged_bytes > 0 || recovered.unread_segments > 0 {
        log::warn!(
            "the spool has {} bytes that are no record and {} segments that cannot be read; what is \
             missing is declared to the collector",
            recovered.damaged_bytes,
            recovered.unread_segments
        );
    }
    Ok(spool)
}

impl Keeping {
    fn run(mut self, queue: &Receiver<Order>) {
        loop {
            let first = match queue.recv_timeout(if self.has_failed() { TICK } else { IDLE }) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut is_ending = false;
            for order in first.into_iter().chain(queue.try_iter().take(GROUP)) {
                is_ending |= matches!(order, Order::End);
                self.take(order);
            }
            self.reopen();
            self.append_waiting();
            self.commit();
            self.send();
            self.note();
            if is_ending {
                return;
            }
        }
    }

    fn has_failed(&self) -> bool {
        self.spool.is_none() || !self.waiting.is_empty() || self.is_unsent
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Record(record, over) => {
                // What an earlier connection handed over of this session comes again over this one. Other
                // sessions are of a capture that is gone: nobody has their records but this process.
                let session = record.claims().session;
                self.waiting.retain(|(waiting, earlier)| {
                    *earlier == over || waiting.claims().session != session
                });
                let of_this = self.waiting.iter().filter(|(_, other)| *other == over);
                if of_this.count() >= MOST_WAITING {
                    log::warn!("capture hands over more than it may; its connection is ended");
                    self.link.reset();
                    self.waiting.retain(|(_, other)| *other != over);
                    return;
                }
                if self.waiting.len() >= MOST_WAITING_OF_ALL {
                    log::error!(
                        "too many records of captures that are gone wait; the oldest is lost"
                    );
                    self.waiting.pop_front();
                }
                self.waiting.push_back((record, over));
            }
            Order::Connected(outgoing) => {
                let (sender, hello) = Sender::connected();
                if outgoing.try_send(hello).is_ok() {
                    self.network = Some(Network { sender, outgoing });
                }
            }
            Order::Received(bytes, permit) => {
                let (Some(network), Some(spool)) = (&mut self.network, &mut self.spool) else {
                    return;
                };
                let before = spool.records();
                let received = network.sender.receive(&bytes, spool);
                self.stored += before.saturating_sub(spool.records());
                if let Err(error) = received {
                    log::error!("the collector is left: {error}");
                    self.network = None;
                }
                drop(permit);
            }
            Order::Room | Order::End => {}
            Order::Disconnected => self.network = None,
        }
    }

    /// Opens the spool again after its disk failed.
    fn reopen(&mut self) {
        if self.spool.is_some() || self.reopened.elapsed() < REOPEN {
            return;
        }
        self.reopened = Instant::now();
        match open(&self.folder, self.limits) {
            Ok(spool) => {
                log::warn!("the spool's disk works again");
                self.spool = Some(spool);
                self.trouble(None);
            }
            Err(error) => self.trouble(Some(&error)),
        }
    }

    fn append_waiting(&mut self) {
        while let Some((record, over)) = self.waiting.front() {
            let Some(spool) = &mut self.spool else { return };
            let claims = record.claims();
            let place = (*over, claims.session, claims.sequence);
            let mut sign = |gap| self.link.sign_gap(gap);
            match spool.append(record, &mut sign) {
                Ok(()) => self.uncounted += 1,
                // A ship before this one had kept it, and could not say so any more.
                Err(SpoolError::Taken { .. }) => {}
                Err(error @ (SpoolError::Full | SpoolError::Unsigned)) => {
                    return self.trouble(Some(&error));
                }
                Err(error @ (SpoolError::Disk { .. } | SpoolError::Broken)) => {
                    return self.failed(&error);
                }
            }
            self.waiting.pop_front();
            self.appended.push(place);
        }
        if self.spool.is_some() {
            self.trouble(None);
        }
    }

    /// Waits for the disk, then tells capture what is kept.
    fn commit(&mut self) {
        if self.appended.is_empty() {
            return;
        }
        let Some(spool) = &mut self.spool else { return };
        if let Err(error) = spool.commit() {
            return self.failed(&error);
        }
        let mut kept: BTreeMap<SessionId, (Generation, Sequence)> = BTreeMap::new();
        self.kept += std::mem::take(&mut self.uncounted);
        for (over, session, sequence) in self.appended.drain(..) {
            kept.insert(session, (over, sequence));
        }
        for (session, (over, through)) in kept {
            self.link.tell_kept(over, session, through);
        }
    }

    /// Hands the network what it has room for.
    fn send(&mut self) {
        self.is_unsent = false;
        loop {
            let (Some(network), Some(spool)) = (&mut self.network, &mut self.spool) else {
                return;
            };
            let Ok(room) = network.outgoing.try_reserve() else {
                if network.outgoing.is_closed() {
                    self.network = None;
                }
                return;
            };
            let mut sign = |gap| self.link.sign_gap(gap);
            match network.sender.send(spool, &mut sign) {
                Ok(Some(bytes)) => room.send(bytes),
                Ok(None) => return,
                // After some tries what cannot be read counts as missing.
                Err(error) => {
                    log::warn!("{error}");
                    self.is_unsent = true;
                    return;
                }
            }
        }
    }

    /// Nothing that was not committed counts. Capture hands it over again.
    fn failed(&mut self, error: &SpoolError) {
        self.trouble(Some(error));
        self.spool = None;
        self.network = None;
        self.waiting.clear();
        self.appended.clear();
        self.uncounted = 0;
        self.reopened = Instant::now();
        self.link.reset();
    }

    fn trouble(&self, error: Option<&SpoolError>) {
        let said = error.map(|error| {
            let source = std::error::Error::source(error);
            let why = source.map_or_else(String::new, |source| format!(": {source}"));
            let remedy = match error {
                SpoolError::Full => "; make room, or raise the spool's limit",
                SpoolError::Unsigned => "; capture is not there to sign what declares it",
                SpoolError::Disk { .. } | SpoolError::Broken => "; see the kernel's log",
                SpoolError::Taken { .. } => "",
            };
            format!("{error}{why}{remedy}")
        });
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.disk != said {
            if let Some(said) = &said {
                log::error!("{said}");
            }
            facts.disk = said;
        }
    }

    fn note(&self) {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.records_kept = self.kept;
        facts.records_stored = self.stored;
        facts.spool_limit = self.limits.total;
        if let Some(spool) = &self.spool {
            facts.spool_records = spool.records();
            facts.spool_bytes = spool.bytes();
        }
    }
}
