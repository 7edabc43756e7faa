//! Checks all that is stored, with no key: that each record is what its agent signed, and that none is
//! missing. What retention or shredding deleted is not missed where it was at a session's beginning.

use std::fmt;

use tracer_wire::{
    AgentId, Body, ChainError, Position, Record, RecordHash, Sequence, SessionId, Verifier,
};

use crate::store::{Entry, Session, Store, StoreError};

/// Entries that are looked up at once.
const PAGE: usize = 256;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sessions that were checked.
    pub sessions: u64,
    /// Records in them.
    pub records: u64,
    /// Events that agents declared as lost.
    pub lost: u64,
    /// Sessions that were cut off, or go on: their agents know which.
    pub open: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something is not as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose.
    pub agent: AgentId,
    /// In which session.
    pub session: SessionId,
    /// What.
    pub what: String,
}

impl Report {
    /// Whether all is as it was sent.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let Finding {
                agent,
                session,
                what,
            } = finding;
            writeln!(f, "agent {agent}, session {session}: {what}")?;
        }
        let Self {
            sessions,
            records,
            lost,
            open,
            findings,
        } = self;
        let verdict = match findings.len() {
            0 => String::from("all as it was sent"),
            count => format!("{count} findings"),
        };
        writeln!(
            f,
            "{verdict}: {records} records of {sessions} sessions, {open} of them not closed; \
             {lost} events declared as lost"
        )
    }
}

/// Checks everything.
///
/// # Errors
/// If the store does not work.
pub fn verify(store: &impl Store) -> Result<Report, StoreError> {
    let mut report = Report::default();
    for session in store.sessions()? {
        report.sessions += 1;
        report.lost += session.lost;
        report.open += u64::from(!session.position.closed);
        follow(store, &session, &mut report)?;
    }
    Ok(report)
}

fn follow(store: &impl Store, session: &Session, report: &mut Report) -> Result<(), StoreError> {
    let Session {
        agent, session: id, ..
    } = *session;
    let mut found = |what: String| {
        report.findings.push(Finding {
            agent,
            session: id,
            what,
        });
    };
    let mut verifier: Option<Verifier> = None;
    let mut after = None;
    let mut is_broken = false;
    loop {
        let page = store.chain(agent, id, after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(last.sequence);
        for entry in &page {
            report.records += 1;
            let record = match store.read(entry) {
                Ok(record) => record,
                Err(error @ StoreError::Damaged { .. }) => {
                    found(format!("record {}: {error}", entry.sequence));
                    is_broken = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Behind one that is damaged, and at the beginning of what is kept, it begins anew.
            let follows = verifier.take().filter(|_| !is_broken);
            let mut next = follows.unwrap_or_else(|| from(&record));
            is_broken = false;
            if let Err(error) = next.accept(&record, |_| None) {
                found(describe(error, entry));
                is_broken = true;
            }
            verifier = Some(next);
        }
    }
    let ends = verifier.map(|verifier| verifier.position());
    if let Some(ends) = ends
        && !is_broken
        && ends != session.position
    {
        found(format!(
            "its records end before {}, and it stood at {}: the last ones were taken away",
            ends.next, session.position.next
        ));
    }
    Ok(())
}

/// A verifier that expects a record whose predecessors are not kept.
fn from(record: &Record) -> Verifier {
    let claims = record.claims();
    let first = claims.first();
    let is_first = first == Sequence(0);
    let epoch = match claims.body {
        // It must be the one after this.
        Body::Epoch(_) => claims.epoch.0.checked_sub(1).map(tracer_wire::Epoch),
        Body::Batch(_) | Body::Gap(_) | Body::Closing => Some(claims.epoch),
    };
    let position = Position {
        next: first,
        link: if is_first {
            RecordHash::NONE
        } else {
            claims.previous
        },
        epoch: if is_first { None } else { epoch },
        closed: false,
    };
    Verifier::resume(claims, position)
}

fn describe(error: ChainError, entry: &Entry) -> String {
    format!("{error} (number {} of the store)", entry.number.0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracer_event::WallNanos;
    use tracer_wire::Stream;

    use super::*;
    use crate::{
        fixture::{key, session},
        store::SqliteStore,
    };

    fn stored(folder: &std::path::Path) -> SqliteStore {
        let store = SqliteStore::open(folder, 1 << 20).unwrap();
        for number in 1..=2 {
            let records = session(&key(number), Stream::Telemetry, 6);
            store.append(&records, WallNanos(1)).unwrap();
        }
        store
    }

    fn index(folder: &std::path::Path) -> rusqlite::Connection {
        rusqlite::Connection::open(folder.join("index.sqlite")).unwrap()
    }

    #[test]
    fn what_was_sent_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let report = verify(&stored(folder.path())).unwrap();
        assert!(report.is_whole(), "{report}");
        assert_eq!((report.sessions, report.records, report.open), (2, 16, 0));
    }

    #[test]
    fn what_somebody_did_to_the_store_is_named() {
        for (change, named) in [
            (
                "DELETE FROM records WHERE number = 4",
                "are missing or out of order",
            ),
            (
                "DELETE FROM records WHERE number IN (7, 8)",
                "the last ones were taken away",
            ),
            (
                "UPDATE records SET (segment, position, length, link) = (SELECT segment, position,
                 length, link FROM records o WHERE o.number = 4) WHERE number = 5",
                "it is another record",
            ),
            (
                "UPDATE records SET link = zeroblob(32) WHERE number = 3",
                "it is another record",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let store = stored(folder.path());
            index(folder.path()).execute(change, []).unwrap();
            let report = verify(&store).unwrap();
            assert!(!report.is_whole(), "{change}");
            assert!(report.to_string().contains(named), "{change}: {report}");
        }
    }

    #[test]
    fn a_changed_byte_is_named_and_what_follows_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let store = stored(folder.path());
        let path = folder.path().join("segments/000000000001.segment");
        let mut bytes = fs::read(&path).unwrap();
        bytes[1500] ^= 1;
        fs::write(&path, bytes).unwrap();
        let report = verify(&store).unwrap();
        assert_eq!(report.findings.len(), 1, "{report}");
        assert!(report.to_string().contains("checksum"), "{report}");
        assert_eq!(report.records, 16);
    }

    #[test]
    fn what_was_deleted_on_purpose_at_the_beginning_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let store = stored(folder.path());
        let sql = "DELETE FROM records WHERE number <= 3";
        index(folder.path()).execute(sql, []).unwrap();
        let report = verify(&store).unwrap();
        assert!(report.is_whole(), "{report}");
        let [session, _] = store.sessions().unwrap().try_into().unwrap();
        store.shred(session.agent, session.session).unwrap();
        assert!(verify(&store).unwrap().is_whole());
    }
}
