//! What every store must do. Each test takes a way to open the same store again and again.

mod files;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use tracer_event::WallNanos;
use tracer_wire::{
    Body, ChainError, Epoch, EventKind, Gap, GapReason, Position, Record, RecordHash, Sequence,
    Stream,
};

use super::{
    Cursor, Entry, Outcome, RecordNumber, Retention, Selection, SqliteStore, Store, StoreError,
};
use crate::fixture::{NOW, SECOND, digest, key, session, session_for};

/// Small, so that there are several.
const SEGMENT: u64 = 2_000;

fn sqlite(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder, SEGMENT).unwrap()
}

/// One test of each name here for each store.
macro_rules! every_store {
    ($($name:ident),* $(,)?) => {
        mod sqlite_store {
            $(
                #[test]
                fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    super::$name(&|| super::sqlite(folder.path()));
                }
            )*
        }
    };
}

every_store!(
    what_was_taken_is_there_once_unchanged_and_after_reopening,
    a_record_out_of_order_is_refused_and_nothing_of_it_stays,
    a_second_record_for_one_place_is_refused,
    a_record_after_the_end_is_refused,
    a_changed_record_is_refused,
    one_session_of_two_agents_is_two_sessions,
    a_gap_takes_the_place_of_what_is_missing,
    a_selection_is_by_time_agent_kind_and_model,
    pages_give_everything_once,
    what_arrives_is_found_by_arrival,
    shredding_leaves_nothing_and_nothing_comes_back,
    retention_deletes_whole_segments_oldest_first,
    a_session_without_its_end_is_told,
    appends_from_many_threads_do_not_mix,
);

type Open<'a, S> = &'a dyn Fn() -> S;

fn at(second: u64) -> WallNanos {
    WallNanos(NOW + second * SECOND)
}

fn everything(store: &impl Store, stream: Stream) -> Vec<Entry> {
    let selection = Selection::all(stream);
    let from = Cursor::Time {
        after: None,
        through: RecordNumber(u64::MAX >> 1),
    };
    store.select(&selection, from, usize::MAX).unwrap()
}

fn batches(records: &[Record]) -> Vec<&Record> {
    let batches = records.iter();
    batches
        .filter(|record| matches!(record.claims().body, Body::Batch(_) | Body::Gap(_)))
        .collect()
}

fn read_all(store: &impl Store, stream: Stream) -> Vec<Record> {
    let entries = everything(store, stream);
    entries
        .iter()
        .map(|entry| store.read(entry).unwrap())
        .collect()
}

fn what_was_taken_is_there_once_unchanged_and_after_reopening<S: Store>(open: Open<'_, S>) {
    let records = session(&key(1), Stream::Telemetry, 8);
    let (agent, session) = (key(1).agent(), records[0].claims().session);
    let store = open();
    assert_eq!(store.position(agent, session).unwrap(), Position::START);
    assert_eq!(
        store.append(&records[..4], at(0)).unwrap(),
        [Outcome::Stored; 4]
    );
    drop(store);
    let store = open();
    let position = store.position(agent, session).unwrap();
    assert_eq!(
        (position.next, position.link),
        (Sequence(4), records[3].link())
    );
    // As after an acknowledgement that did not arrive.
    let outcomes = store.append(&records[2..], at(1)).unwrap();
    assert_eq!(outcomes[..2], [Outcome::Repeated; 2]);
    assert!(
        outcomes[2..]
            .iter()
            .all(|outcome| *outcome == Outcome::Stored)
    );
    assert_eq!(
        store.append(&records, at(2)).unwrap(),
        vec![Outcome::Repeated; records.len()]
    );
    drop(store);
    let store = open();
    let stored = read_all(&store, Stream::Telemetry);
    assert_eq!(stored.iter().collect::<Vec<_>>(), batches(&records));
    assert!(everything(&store, Stream::Content).is_empty());
    let chain = store.chain(agent, session, None, 100).unwrap();
    let chain: Vec<_> = chain
        .iter()
        .map(|entry| store.read(entry).unwrap())
        .collect();
    assert_eq!(chain, records);
    let page = store.chain(agent, session, Some(Sequence(2)), 3).unwrap();
    let page: Vec<_> = page.iter().map(|entry| entry.sequence.0).collect();
    assert_eq!(page, [3, 4, 5]);
    let epoch = store.epoch(agent, session, Epoch(0)).unwrap().unwrap();
    assert_eq!(store.read(&epoch).unwrap(), records[0]);
    assert!(store.position(agent, session).unwrap().closed);
    assert!(store.size().unwrap() > 0);
}

fn a_record_out_of_order_is_refused_and_nothing_of_it_stays<S: Store>(open: Open<'_, S>) {
    let records = session(&key(1), Stream::Telemetry, 4);
    let store = open();
    let outcomes = store.append(&records[2..3], at(0)).unwrap();
    let missing = ChainError::Missing {
        expected: Sequence(0),
        found: Sequence(2),
    };
    assert_eq!(outcomes, [Outcome::Refused(missing)]);
    assert!(store.sessions().unwrap().is_empty());
    // Those before and after it in one call are taken.
    let mixed = [&records[0], &records[2], &records[1]].map(Clone::clone);
    let outcomes = store.append(&mixed, at(0)).unwrap();
    assert_eq!(outcomes[0], Outcome::Stored);
    assert!(matches!(
        outcomes[1],
        Outcome::Refused(ChainError::Missing { .. })
    ));
    assert_eq!(outcomes[2], Outcome::Stored);
    assert_eq!(read_all(&store, Stream::Telemetry), [records[1].clone()]);
}

fn a_second_record_for_one_place_is_refused<S: Store>(open: Open<'_, S>) {
    let records = session(&key(1), Stream::Telemetry, 3);
    let gap = Gap::over(records[2].claims(), records[1].link(), GapReason::SpoolFull);
    let fork = Record::gap(gap, &key(1));
    let store = open();
    store.append(&records, at(0)).unwrap();
    let outcomes = store.append(&[fork], at(0)).unwrap();
    let forked = Outcome::Refused(ChainError::Forked(Sequence(2)));
    assert_eq!(outcomes, [forked]);
    let reopened = {
        drop(store);
        open()
    };
    assert_eq!(read_all(&reopened, Stream::Telemetry).len(), 3);
}

fn a_record_after_the_end_is_refused<S: Store>(open: Open<'_, S>) {
    let records = session(&key(1), Stream::Telemetry, 1);
    let mut claims = Gap::over(records[1].claims(), RecordHash([1; 32]), GapReason::Damaged)
        .claims()
        .clone();
    let store = open();
    store.append(&records, at(0)).unwrap();
    claims.sequence = Sequence(9);
    let after = Gap::missing(
        &store.position(claims.agent, claims.session).unwrap(),
        &claims_at(&claims, 9),
    );
    let after = Record::gap(after.unwrap(), &key(1));
    let outcomes = store.append(&[after], at(0)).unwrap();
    assert!(matches!(
        outcomes[0],
        Outcome::Refused(ChainError::AfterEnd(_))
    ));
}

fn claims_at(claims: &tracer_wire::Claims, sequence: u64) -> tracer_wire::Claims {
    let mut claims = claims.clone();
    claims.sequence = Sequence(sequence);
    claims.body = Body::Closing;
    claims
}

fn a_changed_record_is_refused<S: Store>(open: Open<'_, S>) {
    let records = session(&key(1), Stream::Telemetry, 2);
    let mut bytes = records[0].to_bytes();
    // The last byte is of the signature.
    *bytes.last_mut().unwrap() ^= 1;
    let changed = Record::parse(&bytes).unwrap();
    let store = open();
    let outcomes = store.append(&[changed, records[0].clone()], at(0)).unwrap();
    let tampered = Outcome::Refused(ChainError::Tampered(Sequence(0)));
    assert_eq!(outcomes, [tampered, Outcome::Stored]);
}

fn one_session_of_two_agents_is_two_sessions<S: Store>(open: Open<'_, S>) {
    let ours = session(&key(1), Stream::Telemetry, 2);
    let store = open();
    store.append(&ours, at(0)).unwrap();
    // Another agent cannot know our session's position, and cannot take its place.
    let session_of_ours = ours[0].claims().session;
    let position = store.position(key(2).agent(), session_of_ours).unwrap();
    assert_eq!(position, Position::START);
    let theirs = Gap::missing(&Position::START, &claims_at(ours[1].claims(), 1)).unwrap();
    let theirs = Record::gap(theirs, &key(2));
    assert_eq!(theirs.claims().agent, key(2).agent());
    assert_eq!(store.append(&[theirs], at(0)).unwrap(), [Outcome::Stored]);
    assert_eq!(store.sessions().unwrap().len(), 2);
    let position = store.position(key(1).agent(), session_of_ours).unwrap();
    assert_eq!(position.next, Sequence(4));
}

fn a_gap_takes_the_place_of_what_is_missing<S: Store>(open: Open<'_, S>) {
    let records = session(&key(1), Stream::Telemetry, 4);
    let gap = Gap::over(records[2].claims(), records[2].link(), GapReason::SpoolFull);
    let gap = Record::gap(gap, &key(1));
    let mut sent = records.clone();
    sent[2] = gap.clone();
    let store = open();
    let outcomes = store.append(&sent, at(50)).unwrap();
    assert_eq!(outcomes, vec![Outcome::Stored; sent.len()]);
    let [session] = store.sessions().unwrap().try_into().unwrap();
    assert_eq!((session.gaps, session.lost, session.events), (1, 3, 10));
    // Whatever is asked for: it may have been lost.
    let mut selection = Selection::all(Stream::Telemetry);
    selection.kinds = BTreeSet::from([EventKind::new("loss").unwrap()]);
    let entries = select(&store, &selection);
    assert_eq!(entries.len(), 1);
    assert!(entries[0].is_gap);
    assert_eq!(store.read(&entries[0]).unwrap(), gap);
    selection.to = at(0);
    assert!(select(&store, &selection).is_empty());
}

fn select(store: &impl Store, selection: &Selection) -> Vec<Entry> {
    let through = store.newest().unwrap();
    let from = Cursor::Time {
        after: None,
        through,
    };
    store.select(selection, from, 1000).unwrap()
}

fn a_selection_is_by_time_agent_kind_and_model<S: Store>(open: Open<'_, S>) {
    let recipient = crate::fixture::recipient();
    let store = open();
    for (number, model) in [(1, 5), (2, 6)] {
        let records = session_for(
            &key(number),
            recipient.recipient(),
            Stream::Telemetry,
            10,
            model,
        );
        store.append(&records, at(0)).unwrap();
    }
    let count = |change: &dyn Fn(&mut Selection)| {
        let mut selection = Selection::all(Stream::Telemetry);
        change(&mut selection);
        select(&store, &selection).len()
    };
    let kind = |name| BTreeSet::from([EventKind::new(name).unwrap()]);
    assert_eq!(count(&|_| {}), 20);
    assert_eq!(
        count(&|s| s.agents = Some(BTreeSet::from([key(1).agent()]))),
        10
    );
    assert_eq!(count(&|s| s.agents = Some(BTreeSet::new())), 0);
    assert_eq!(count(&|s| s.models = BTreeSet::from([digest(6)])), 10);
    assert_eq!(count(&|s| s.models = BTreeSet::from([digest(7)])), 0);
    assert_eq!(count(&|s| s.kinds = kind("model.loaded")), 2);
    assert_eq!(count(&|s| s.kinds = kind("inference.step")), 20);
    assert_eq!(count(&|s| (s.from, s.to) = (at(3), at(4))), 4);
    // A batch is found by its last event too, and not by the time after.
    assert_eq!(count(&|s| s.from = WallNanos(at(9).0 + 2)), 2);
    assert_eq!(count(&|s| s.from = WallNanos(at(9).0 + 3)), 0);
    assert_eq!(
        count(&|s| {
            s.models = BTreeSet::from([digest(5)]);
            s.to = at(0);
        }),
        1
    );
}

fn pages_give_everything_once<S: Store>(open: Open<'_, S>) {
    let store = open();
    for number in 1..=3 {
        let records = session(&key(number), Stream::Telemetry, 7);
        store.append(&records, at(0)).unwrap();
    }
    let whole = everything(&store, Stream::Telemetry);
    let through = store.newest().unwrap();
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let from = Cursor::Time { after, through };
        let page = store
            .select(&Selection::all(Stream::Telemetry), from, 4)
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.first, last.number));
        // What arrives meanwhile is for later.
        let late = session(&key(9), Stream::Telemetry, 1);
        store.append(&late, at(0)).unwrap();
        paged.extend(page);
    }
    assert_eq!(paged, whole);
    assert!(paged.is_sorted_by_key(|entry| entry.first));
}

fn what_arrives_is_found_by_arrival<S: Store>(open: Open<'_, S>) {
    let store = open();
    let records = session(&key(1), Stream::Telemetry, 3);
    store.append(&records[..2], at(0)).unwrap();
    let after = store.newest().unwrap();
    store.append(&records[2..], at(0)).unwrap();
    let from = Cursor::Arrival { after };
    let selection = Selection::all(Stream::Telemetry);
    let arrived = store.select(&selection, from, 10).unwrap();
    let sequences: Vec<_> = arrived.iter().map(|entry| entry.sequence.0).collect();
    assert_eq!(sequences, [2, 3]);
}

fn shredding_leaves_nothing_and_nothing_comes_back<S: Store>(open: Open<'_, S>) {
    let store = open();
    let records = session(&key(1), Stream::Content, 6);
    let other = session(&key(2), Stream::Content, 6);
    let mixed: Vec<_> = records
        .iter()
        .zip(&other)
        .flat_map(|(a, b)| [a, b])
        .cloned()
        .collect();
    store.append(&mixed, at(0)).unwrap();
    let entries = everything(&store, Stream::Content);
    let claims = records[0].claims();
    assert_eq!(store.shred(claims.agent, claims.session).unwrap(), 8);
    assert_eq!(read_all(&store, Stream::Content).len(), 6);
    for entry in entries.iter().filter(|entry| entry.agent == claims.agent) {
        assert!(matches!(store.read(entry), Err(StoreError::Gone(_))));
    }
    assert!(
        store
            .epoch(claims.agent, claims.session, Epoch(0))
            .unwrap()
            .is_none()
    );
    let outcomes = store.append(&records, at(0)).unwrap();
    assert_eq!(outcomes, vec![Outcome::Repeated; records.len()]);
    assert_eq!(store.shred(key(5).agent(), claims.session).unwrap(), 0);
    assert_eq!(read_all(&store, Stream::Content).len(), 6);
    assert!(store.sessions().unwrap()[0].is_shredded);
}

fn retention_deletes_whole_segments_oldest_first<S: Store>(open: Open<'_, S>) {
    let store = open();
    for (number, second) in [(1, 0), (2, 100), (3, 200)] {
        let records = session(&key(number), Stream::Telemetry, 12);
        for record in records {
            store.append(&[record], at(second)).unwrap();
        }
    }
    let mut retention = Retention {
        telemetry: Duration::from_secs(1000),
        content: Duration::from_secs(1),
        total: u64::MAX,
    };
    assert_eq!(store.expire(&retention, at(300)).unwrap().records, 0);
    retention.telemetry = Duration::from_secs(250);
    let expired = store.expire(&retention, at(300)).unwrap();
    assert!(expired.records >= 8 && !expired.for_room, "{expired:?}");
    let left = everything(&store, Stream::Telemetry);
    let of = |number: u8| {
        left.iter()
            .filter(|e| e.agent == key(number).agent())
            .count()
    };
    assert!(of(1) < 5, "{}", of(1));
    assert_eq!((of(2), of(3)), (12, 12));
    retention.total = store.size().unwrap() - 1;
    let expired = store.expire(&retention, at(300)).unwrap();
    assert!(expired.for_room && store.size().unwrap() <= retention.total);
    assert_eq!(
        read_all(&store, Stream::Telemetry).len(),
        everything(&store, Stream::Telemetry).len()
    );
    // What is gone does not come back, and the store goes on.
    let records = session(&key(1), Stream::Telemetry, 2);
    store.append(&records, at(301)).unwrap();
    retention.telemetry = Duration::ZERO;
    store.expire(&retention, at(400)).unwrap();
    assert!(everything(&store, Stream::Telemetry).is_empty());
    let records = session(&key(4), Stream::Telemetry, 2);
    store.append(&records, at(401)).unwrap();
    assert_eq!(read_all(&store, Stream::Telemetry).len(), 2);
}

fn a_session_without_its_end_is_told<S: Store>(open: Open<'_, S>) {
    let store = open();
    let first = session(&key(1), Stream::Telemetry, 2);
    store.append(&first[..2], at(0)).unwrap();
    assert!(!store.sessions().unwrap()[0].is_cut_off, "it may go on");
    let second = session(&key(1), Stream::Telemetry, 2);
    store.append(&second, at(1)).unwrap();
    let cut_off: Vec<_> = store
        .sessions()
        .unwrap()
        .iter()
        .map(|s| s.is_cut_off)
        .collect();
    assert_eq!(cut_off, [true, false]);
}

fn appends_from_many_threads_do_not_mix<S: Store>(open: Open<'_, S>) {
    let store = open();
    let records = session(&key(1), Stream::Telemetry, 20);
    // Two connections of one agent, as when it came back before the old one was noticed.
    std::thread::scope(|scope| {
        for number in 2..5 {
            let store = &store;
            let others = session(&key(number), Stream::Telemetry, 20);
            scope.spawn(move || {
                for record in others {
                    store.append(&[record], at(0)).unwrap();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for record in &records {
                    let outcomes = store.append(std::slice::from_ref(record), at(0)).unwrap();
                    assert!(matches!(outcomes[0], Outcome::Stored | Outcome::Repeated));
                }
            });
        }
    });
    let mut sequences: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for entry in everything(&store, Stream::Telemetry) {
        let of = sequences.entry(entry.agent).or_default();
        of.push(entry.sequence.0);
    }
    assert_eq!(sequences.len(), 4);
    for of in sequences.values() {
        assert_eq!(*of, (1..=20).collect::<Vec<_>>());
    }
}
