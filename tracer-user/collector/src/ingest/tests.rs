use std::sync::Arc;

use tokio::sync::mpsc;
use tracer_event::WallNanos;
use tracer_wire::{Frame, FrameReader, PROTOCOL, Position, Record, Refusal, Sequence, Stream};

use super::{Answer, Committer, Conversation, ConversationError, Job, Request};
use crate::{
    fixture::{key, session},
    store::{Outcome, SqliteStore, Store},
};

fn hello() -> Vec<u8> {
    Frame::Hello { version: PROTOCOL }.to_bytes()
}

fn frame(record: &Record) -> Vec<u8> {
    Frame::Record(Box::new(record.clone())).to_bytes()
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut reader = FrameReader::new();
    reader.push(bytes);
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

fn refused(record: &Record, reason: Refusal) -> Frame {
    let claims = record.claims();
    Frame::Refused {
        session: claims.session,
        sequence: claims.sequence,
        reason,
    }
}

#[test]
fn an_agent_sends_no_more_than_it_has_credits_for() {
    let records = session(&key(1), Stream::Telemetry, 3);
    let mut conversation = Conversation::new(key(1).agent(), 2);
    let mut requests = Vec::new();
    let sent = [
        hello(),
        frame(&records[0]),
        frame(&records[1]),
        frame(&records[2]),
    ]
    .concat();
    let answers = conversation.receive(&sent, &mut requests).unwrap();
    let no_credit = refused(&records[2], Refusal::NoCredit);
    assert_eq!(frames(&answers), [Frame::Credit { records: 2 }, no_credit]);
    assert_eq!(requests.len(), 2);
    let claims = records[1].claims();
    let done = [0, 1].map(|at| (claims.session, Sequence(at), Outcome::Stored));
    let stored = Frame::Stored {
        session: claims.session,
        through: Sequence(1),
    };
    assert_eq!(
        frames(&conversation.appended(&done)),
        [stored, Frame::Credit { records: 2 }]
    );
    conversation
        .receive(&frame(&records[2]), &mut requests)
        .unwrap();
    assert_eq!(requests[2], Request::Append(Box::new(records[2].clone())));
}

#[test]
fn a_record_of_another_agent_is_refused() {
    let records = session(&key(2), Stream::Telemetry, 1);
    let mut conversation = Conversation::new(key(1).agent(), 2);
    let mut requests = Vec::new();
    let sent = [hello(), frame(&records[0])].concat();
    let answers = conversation.receive(&sent, &mut requests).unwrap();
    let other = refused(&records[0], Refusal::OtherAgent);
    assert_eq!(frames(&answers)[1], other);
    assert!(requests.is_empty());
}

#[test]
fn a_conversation_begins_with_one_hello_of_this_version() {
    let records = session(&key(1), Stream::Telemetry, 1);
    let said = |bytes: Vec<u8>| {
        let mut conversation = Conversation::new(key(1).agent(), 2);
        conversation.receive(&bytes, &mut Vec::new()).unwrap_err()
    };
    assert_eq!(said(frame(&records[0])), ConversationError::Greeting);
    assert_eq!(
        said([hello(), hello()].concat()),
        ConversationError::Greeting
    );
    let later = Frame::Hello { version: 2 }.to_bytes();
    assert_eq!(said(later), ConversationError::Version(2));
    let credit = Frame::Credit { records: 1 }.to_bytes();
    assert_eq!(said([hello(), credit].concat()), ConversationError::Roles);
    let garbage = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    assert!(matches!(said(garbage), ConversationError::Form(_)));
}

#[test]
fn what_is_answered_is_on_the_disk_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path(), 1 << 20).unwrap());
    let (committer, committing) = Committer::start(store.clone()).unwrap();
    let records = session(&key(1), Stream::Telemetry, 6);
    let claims = records[0].claims();
    let (answers, mut answered) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let submit = |request| {
        let job = Job {
            agent: claims.agent,
            request,
            room: None,
            answers: answers.clone(),
        };
        assert!(runtime.block_on(committer.submit(job)));
    };
    for record in &records[..4] {
        submit(Request::Append(Box::new(record.clone())));
    }
    // Asked while records are on their way: what it says includes them.
    submit(Request::Position(claims.session));
    submit(Request::Append(Box::new(records[7].clone())));
    let mut next = || runtime.block_on(answered.recv()).unwrap();
    for sequence in 0..4 {
        let answer = next();
        let Answer::Appended(_, Sequence(at), Outcome::Stored) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(at, sequence);
    }
    let stands = next();
    let Answer::Stands(_, position) = stands else {
        panic!("{stands:?}");
    };
    assert_eq!(position.next, Sequence(4));
    assert!(matches!(
        next(),
        Answer::Appended(_, Sequence(7), Outcome::Refused(_))
    ));
    assert_eq!(
        store.position(claims.agent, claims.session).unwrap(),
        position
    );
    assert_eq!(*committer.newest().borrow(), store.newest().unwrap());
    assert!(committer.works());
    drop(committer);
    committing.wait();
}

#[test]
fn nothing_is_stored_where_no_segment_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), 1 << 20).unwrap();
    let [segments, away] = ["segments", "away"].map(|name| folder.path().join(name));
    let records = session(&key(1), Stream::Content, 1);
    let claims = records[0].claims();
    std::fs::rename(&segments, &away).unwrap();
    std::fs::write(&segments, b"no folder").unwrap();
    assert!(store.append(&records, WallNanos(0)).is_err());
    let position = store.position(claims.agent, claims.session).unwrap();
    assert_eq!(position, Position::START);
    std::fs::remove_file(&segments).unwrap();
    std::fs::rename(&away, &segments).unwrap();
    let outcomes = store.append(&records, WallNanos(0)).unwrap();
    assert_eq!(outcomes, vec![Outcome::Stored; records.len()]);
}
