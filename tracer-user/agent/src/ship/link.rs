//! Ship's end of the socket to capture.

use std::{
    collections::HashMap,
    io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
    time::Duration,
};

use tracer_wire::{
    AgentId, Gap, Recipient, Record, Sequence, SessionId,
    enrolment::{Proof, Purpose},
};

use crate::{
    link::{self, FromCapture, FromShip, LinkError, PLACES, VERSION},
    status::CaptureStatus,
};

/// How long a question may take to be answered, and a message to be written.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whoever takes what capture hands over.
pub(super) trait Intake: Send + Sync + 'static {
    /// A record, and over which connection it came.
    fn record(&self, record: Box<Record>, over: Generation);
}

/// Numbers connections of capture: an answer goes to the one that the record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// The connection to capture, while there is one.
pub(super) struct CaptureLink {
    current: Mutex<Option<Connection>>,
    /// Whom to tell capture that telemetry is for, once the collector has said so.
    recipient: Mutex<Option<Recipient>>,
    status: Mutex<Option<CaptureStatus>>,
    questions: Mutex<HashMap<u32, SyncSender<Option<Answer>>>>,
    next_question: AtomicU32,
    next_generation: AtomicU64,
}

struct Connection {
    generation: Generation,
    stream: UnixStream,
    agent: AgentId,
}

enum Answer {
    Gap(Box<Record>),
    Proof(Proof),
}

impl CaptureLink {
    pub(super) fn new(recipient: Option<Recipient>) -> Self {
        Self {
            current: Mutex::default(),
            recipient: Mutex::new(recipient),
            status: Mutex::default(),
            questions: Mutex::default(),
            next_question: AtomicU32::new(0),
            next_generation: AtomicU64::new(0),
        }
    }

    /// Takes connections of the user `expected`; a later one takes the place of an earlier one.
    pub(super) fn listen(
        self: &Arc<Self>,
        listener: UnixListener,
        expected: u32,
        intake: Arc<impl Intake>,
    ) -> io::Result<()> {
        let own = Arc::clone(self);
        let accept = move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else {
                    // Out of descriptors: not a reason to turn in circles.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                };
                if let Err(error) = link::check_peer(&stream, expected) {
                    log::warn!("refused a connection: {error}");
                    continue;
                }
                let (own, intake) = (Arc::clone(&own), Arc::clone(&intake));
                let spawned =
                    thread::Builder::new()
                        .name("capture".into())
                        .spawn(move || match own.converse(stream, &*intake) {
                            Err(LinkError::Socket(error))
                                if error.kind() == io::ErrorKind::UnexpectedEof =>
                            {
                                log::info!("capture has left");
                            }
                            Err(error) => log::warn!("{error}"),
                            Ok(()) => {}
                        });
                if let Err(error) = spawned {
                    log::warn!("no thread for capture's connection: {error}");
                }
            }
        };
        thread::Builder::new()
            .name("accepting".into())
            .spawn(accept)
            .map(drop)
    }

    fn converse(&self, mut stream: UnixStream, intake: &impl Intake) -> Result<(), LinkError> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let agent = match link::read(&mut stream)? {
            FromCapture::Hello {
                version: VERSION,
                agent,
            } => agent,
            FromCapture::Hello { version, .. } => return Err(LinkError::Version(version)),
            _ => return Err(LinkError::Order("something else than hello")),
        };
        link::write(&mut stream, &FromShip::Hello { version: VERSION })?;
        stream.set_read_timeout(None)?;
        let generation = Generation(self.next_generation.fetch_add(1, Ordering::Relaxed));
        let connection = Connection {
            generation,
            stream: stream.try_clone()?,
            agent,
        };
        if let Some(before) = lock(&self.current).replace(connection) {
            let _ = before.stream.shutdown(Shutdown::Both);
        }
        let recipient = lock(&self.recipient).clone();
        if let Some(recipient) = recipient {
            self.say(None, &FromShip::Recipient(recipient));
        }
        let ended = self.read(&mut stream, generation, agent, intake);
        let mut current = lock(&self.current);
        if current
            .as_ref()
            .is_some_and(|current| current.generation == generation)
        {
            *current = None;
            lock(&self.status).take();
            // Nobody answers any more.
            lock(&self.questions).clear();
        }
        ended
    }

    fn read(
        &self,
        stream: &mut UnixStream,
        generation: Generation,
        agent: AgentId,
        intake: &impl Intake,
    ) -> Result<(), LinkError> {
        loop {
            let (question, answer) = match link::read(stream)? {
                FromCapture::Record(record) => {
                    if record.claims().agent != agent {
                        return Err(LinkError::Order("a record of another agent"));
                    }
                    intake.record(record, generation);
                    continue;
                }
                FromCapture::Status(text) => {
                    *lock(&self.status) = serde_json::from_str(&text).ok();
                    continue;
                }
                FromCapture::Gap { question, record } => (question, Some(Answer::Gap(record))),
                FromCapture::Proof { question, proof } => (question, Some(Answer::Proof(proof))),
                FromCapture::Refused { question } => (question, None),
                FromCapture::Hello { .. } => return Err(LinkError::Order("hello")),
            };
            if let Some(asked) = lock(&self.questions).remove(&question) {
                // There is room for the one answer; who asked may have given up.
                let _ = asked.try_send(answer);
            }
        }
    }

    /// Whose capture is there.
    pub(super) fn agent(&self) -> Option<AgentId> {
        lock(&self.current).as_ref().map(|current| current.agent)
    }

    /// How capture is.
    pub(super) fn status(&self) -> Option<CaptureStatus> {
        lock(&self.status).clone()
    }

    /// Tells capture whom telemetry is for.
    pub(super) fn tell_recipient(&self, recipient: Recipient) {
        *lock(&self.recipient) = Some(recipient.clone());
        self.say(None, &FromShip::Recipient(recipient));
    }

    /// Tells capture what is kept, if it is still the one that handed it over.
    pub(super) fn tell_kept(&self, to: Generation, session: SessionId, through: Sequence) {
        self.say(Some(to), &FromShip::Kept { session, through });
    }

    /// Ends the connection: capture comes back, and hands over what is not kept.
    pub(super) fn reset(&self) {
        if let Some(current) = lock(&self.current).take() {
            let _ = current.stream.shutdown(Shutdown::Both);
        }
    }

    /// Has a gap signed; none if capture is not there.
    pub(super) fn sign_gap(&self, gap: Gap) -> Option<Record> {
        let claims = gap.claims().clone();
        match self.ask(|question| FromShip::SignGap { question, gap })? {
            Answer::Gap(record) if *record.claims() == claims && record.is_signed() => {
                Some(*record)
            }
            Answer::Gap(_) | Answer::Proof(_) => None,
        }
    }

    /// Has a certificate request signed; none if capture is not there.
    pub(super) fn sign_request(&self, purpose: Purpose, request: Vec<u8>) -> Option<Proof> {
        let ask = |question| FromShip::SignRequest {
            question,
            purpose,
            request,
        };
        match self.ask(ask)? {
            Answer::Proof(proof) => Some(proof),
            Answer::Gap(_) => None,
        }
    }

    fn ask(&self, question: impl FnOnce(u32) -> FromShip) -> Option<Answer> {
        let number = self.next_question.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = mpsc::sync_channel(1);
        lock(&self.questions).insert(number, answer);
        let answer = self
            .say(None, &question(number))
            .then(|| answered.recv_timeout(PATIENCE).ok().flatten())
            .flatten();
        lock(&self.questions).remove(&number);
        answer
    }

    /// Says something to capture; tells whether it was written.
    fn say(&self, to: Option<Generation>, message: &FromShip) -> bool {
        let mut current = lock(&self.current);
        let Some(connection) = current.as_mut() else {
            return false;
        };
        if to.is_some_and(|to| to != connection.generation) {
            return false;
        }
        if link::write(&mut connection.stream, message).is_ok() {
            return true;
        }
        // Half a message may be out: nothing after it could be read.
        let _ = connection.stream.shutdown(Shutdown::Both);
        *current = None;
        false
    }
}

/// Records that wait to be kept are never more.
pub(super) const MOST_WAITING: usize = PLACES;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
