//! What holds for every session, whatever is done to it on the way.

mod contents;
mod fixture;
mod tampering;
mod vectors;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tracer_event::WallNanos;

use crate::{
    Accepted, Body, ChainError, Frame, FrameReader, Gap, GapReason, PROTOCOL, Position, Record,
    RecordHash, Refusal, Sequence, Stream, Verifier,
};

use self::fixture::{MINUTE, NOW, Session};

/// Hands records to a new verifier that remembers what it took.
fn follow(records: &[Record]) -> Result<(Verifier, Vec<Accepted>), ChainError> {
    let mut verifier = Verifier::of(records.first().expect("there is a record").claims());
    let mut links: BTreeMap<Sequence, RecordHash> = BTreeMap::new();
    let mut accepted = Vec::new();
    for record in records {
        accepted.push(verifier.accept(record, |sequence| links.get(&sequence).copied())?);
        links.insert(record.claims().sequence, record.link());
    }
    Ok((verifier, accepted))
}

#[test]
fn a_session_is_followed_to_its_end() {
    let session = Session::sealed(Stream::Telemetry, 5);
    let (verifier, accepted) = follow(&session.records).unwrap();
    assert_eq!(accepted, [Accepted::Next; 7]);
    assert_eq!(verifier.finish(), Ok(()));
    assert!(verifier.position().closed);
}

#[test]
fn a_key_serves_ten_minutes_or_until_the_clock_is_set_back() {
    let session = Session::sealed_at(
        Stream::Telemetry,
        [NOW, NOW + 9 * MINUTE, NOW + 10 * MINUTE, NOW + MINUTE],
    );
    let epochs: Vec<_> = session
        .records
        .iter()
        .map(|record| {
            (
                record.claims().epoch.0,
                matches!(record.claims().body, Body::Epoch(_)),
            )
        })
        .collect();
    assert_eq!(
        epochs,
        [
            (0, true),
            (0, false),
            (0, false),
            (1, true),
            (1, false),
            (2, true),
            (2, false),
            (2, false)
        ]
    );
    let (verifier, _) = follow(&session.records).unwrap();
    assert_eq!(verifier.finish(), Ok(()));
    assert_eq!(session.opened().len(), 4);
}

#[test]
fn a_position_that_was_kept_goes_on_where_it_stood() {
    let session = Session::sealed(Stream::Telemetry, 5);
    let (first, second) = session.records.split_at(3);
    let (verifier, _) = follow(first).unwrap();
    let mut resumed = Verifier::resume(second[0].claims(), verifier.position());
    for record in second {
        assert_eq!(resumed.accept(record, |_| None), Ok(Accepted::Next));
    }
    assert_eq!(resumed.finish(), Ok(()));
    let again = resumed.accept(&second[0], |_| None);
    assert_eq!(again, Ok(Accepted::Repeated));
}

#[test]
fn nothing_comes_after_the_end() {
    let session = Session::sealed(Stream::Telemetry, 1);
    let mut verifier = Verifier::of(session.records[0].claims());
    for record in &session.records {
        verifier.accept(record, |_| None).unwrap();
    }
    let after = session.resigned(&session.records[1], |claims| {
        claims.sequence = verifier.position().next;
        claims.previous = verifier.position().link;
    });
    let error = verifier.accept(&after, |_| None).unwrap_err();
    assert_eq!(error, ChainError::AfterEnd(Sequence(3)));
}

#[test]
fn a_gap_behind_what_arrived_all_the_same_is_accepted() {
    let session = Session::sealed(Stream::Telemetry, 4);
    // The collector has 0, 1 and 2; the spool, which did not hear so, dropped 2 and 3.
    let gap = session.gap(2..=3);
    let arrived = [
        &session.records[..3],
        std::slice::from_ref(&gap),
        &session.records[4..],
    ]
    .concat();
    let (verifier, accepted) = follow(&arrived).unwrap();
    assert_eq!(accepted, [Accepted::Next; 6]);
    assert_eq!(verifier.finish(), Ok(()));
    // And a late copy of what the gap replaced changes nothing.
    let late = [&arrived[..], &[session.records[3].clone()]].concat();
    let (_, accepted) = follow(&late).unwrap();
    assert_eq!(accepted.last(), Some(&Accepted::Repeated));
    // A gap that contradicts what came before it is not believed.
    let other = session.resigned(&gap, |claims| claims.previous = RecordHash([9; 32]));
    let error = follow(&[&session.records[..3], &[other]].concat()).unwrap_err();
    assert_eq!(error, ChainError::Unlinked(Sequence(3)));
}

#[test]
fn what_is_missing_between_two_records_can_be_declared() {
    let session = Session::sealed_at(
        Stream::Content,
        [NOW, NOW, NOW + 11 * MINUTE, NOW + 11 * MINUTE],
    );
    // 0 epoch, 1 and 2 batches, 3 epoch, 4 and 5 batches, 6 the end.
    for missing in [1..=1, 1..=2, 1..=3, 2..=4, 3..=3, 3..=5] {
        let (first, last): (usize, usize) = (*missing.start(), *missing.end());
        let after = &session.records[last + 1];
        let (reader, _) = follow(&session.records[..first]).unwrap();
        let gap = Gap::missing(&reader.position(), after.claims()).unwrap();
        let gap = Record::gap(gap, &session.key);
        let Body::Gap(body) = &gap.claims().body else {
            panic!("it is a gap")
        };
        assert_eq!((body.reason, body.events), (GapReason::Damaged, None));
        let records = [
            &session.records[..first],
            &[gap],
            &session.records[last + 1..],
        ]
        .concat();
        let (verifier, _) = follow(&records).unwrap_or_else(|error| panic!("{missing:?}: {error}"));
        assert_eq!(verifier.finish(), Ok(()));
    }
    let (reader, _) = follow(&session.records[..1]).unwrap();
    let next = session.records[1].claims();
    assert_eq!(Gap::missing(&reader.position(), next), None);
}

proptest! {
    #[test]
    fn any_stretch_of_batches_can_be_a_gap_whose_counts_add_up(
        first in 1_usize..8,
        length in 1_usize..8,
    ) {
        let session = Session::sealed(Stream::Telemetry, 8);
        let last = (first + length - 1).min(8);
        let gap = session.gap(first..=last);
        let Body::Gap(body) = &gap.claims().body else { panic!("it is a gap") };
        let lost: u64 = session.records[first..=last]
            .iter()
            .map(|record| match &record.claims().body {
                Body::Batch(batch) => batch.events(),
                _ => 0,
            })
            .sum();
        prop_assert_eq!(body.events, Some(lost));
        let seen = WallNanos(NOW + u64::try_from(first).unwrap() - 1);
        prop_assert_eq!(body.span.map(|span| span.0), Some(seen));
        let records = [&session.records[..first], &[gap], &session.records[last + 1..]].concat();
        let (verifier, _) = follow(&records).unwrap();
        prop_assert_eq!(verifier.finish(), Ok(()));
    }

    #[test]
    fn frames_arrive_the_same_however_they_are_cut(cuts in prop::collection::vec(0_usize..4000, 0..8)) {
        let session = Session::sealed(Stream::Telemetry, 2);
        let position = follow(&session.records[..2]).unwrap().0.position();
        let id = session.records[0].claims().session;
        let mut frames = vec![
            Frame::Hello { version: PROTOCOL },
            Frame::Ask { session: id },
            Frame::Stands { session: id, position },
            Frame::Stands { session: id, position: Position::START },
            Frame::Stored { session: id, through: Sequence(u64::MAX) },
            Frame::Credit { records: 7 },
            Frame::Refused { session: id, sequence: Sequence(1), reason: Refusal::Missing },
        ];
        frames.extend(session.records.into_iter().map(Box::new).map(Frame::Record));
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut reader = FrameReader::new();
        let mut read = Vec::new();
        for cut in cuts.windows(2) {
            reader.push(&bytes[cut[0]..cut[1]]);
            while let Some(frame) = reader.next_frame().unwrap() {
                read.push(frame);
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert_eq!(reader.finish(), Ok(()));
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_arrives() {
    let mut reader = FrameReader::new();
    reader.push(&u32::MAX.to_be_bytes());
    let error = reader.next_frame().unwrap_err().to_string();
    assert!(
        error.contains("4294967295 are more than the limit"),
        "{error}"
    );
}

#[test]
fn a_connection_that_ends_within_a_frame_is_no_end() {
    let bytes = Frame::Hello { version: PROTOCOL }.to_bytes();
    let mut reader = FrameReader::new();
    reader.push(&bytes[..bytes.len() - 1]);
    assert_eq!(reader.next_frame(), Ok(None));
    assert!(reader.finish().is_err());
}
