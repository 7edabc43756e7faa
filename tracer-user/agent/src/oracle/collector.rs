//! The other end: the real collector's conversation and store, which is killed and opened again now
//! and then.

use std::collections::BTreeMap;

use tempfile::TempDir;
use tracer_collector::{
    ingest::{Conversation, Request},
    store::{Outcome, SqliteStore, Store as _},
};
use tracer_event::WallNanos;
use tracer_wire::{ChainError, Record, SessionId};

use crate::fixture::{KEY, NOW};

/// Records that the agent may have on their way.
const WINDOW: u32 = 4;
/// Small, so that there are several.
const SEGMENT: u64 = 4_000;
/// How often the collector is killed, in calls.
const KILLED: u64 = 23;

/// What survives all connections.
pub(super) struct Collector {
    /// None only while it is killed.
    store: Option<SqliteStore>,
    folder: TempDir,
    calls: u64,
    /// Records that came a second time and changed nothing.
    pub(super) repeated: u64,
}

/// One connection.
pub(super) struct Connection {
    conversation: Conversation,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            conversation: Conversation::new(KEY.agent(), WINDOW),
        }
    }
}

impl Default for Collector {
    fn default() -> Self {
        // In memory where there is such a folder: the agent's disk fails here, not this one.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        Self {
            store: Some(SqliteStore::open(folder.path(), SEGMENT).unwrap()),
            folder,
            calls: 0,
            repeated: 0,
        }
    }
}

impl Collector {
    /// Takes bytes and answers.
    pub(super) fn receive(&mut self, connection: &mut Connection, bytes: &[u8]) -> Vec<u8> {
        self.calls += 1;
        if self.calls.is_multiple_of(KILLED) {
            self.store = None;
            self.store = Some(SqliteStore::open(self.folder.path(), SEGMENT).unwrap());
        }
        let store = self.store.as_ref().expect("it was opened again");
        let conversation = &mut connection.conversation;
        let mut requests = Vec::new();
        let mut answers = conversation
            .receive(bytes, &mut requests)
            .expect("the network cuts, no more");
        for request in requests {
            match request {
                Request::Position(session) => {
                    let position = store.position(KEY.agent(), session).unwrap();
                    answers.extend(Conversation::stands(session, position));
                }
                Request::Append(record) => {
                    let outcomes = store.append(std::slice::from_ref(&record), WallNanos(NOW));
                    let outcome = outcomes.unwrap()[0];
                    match outcome {
                        Outcome::Stored | Outcome::Refused(ChainError::Missing { .. }) => {}
                        Outcome::Repeated => self.repeated += 1,
                        Outcome::Refused(error) => {
                            panic!("an honest agent's record is refused: {error}\n{record:?}")
                        }
                    }
                    let claims = record.claims();
                    let done = (claims.session, claims.sequence, outcome);
                    answers.extend(conversation.appended(&[done]));
                }
            }
        }
        answers
    }

    /// All that is stored, by session, in its order.
    pub(super) fn sessions(&self) -> BTreeMap<SessionId, Vec<Record>> {
        let store = self.store.as_ref().expect("it was opened again");
        let sessions = store.sessions().unwrap().into_iter().map(|session| {
            let entries = store.chain(session.agent, session.session, None, usize::MAX);
            let records = entries.unwrap();
            let records = records.iter().map(|entry| store.read(entry).unwrap());
            (session.session, records.collect())
        });
        sessions.collect()
    }
}
