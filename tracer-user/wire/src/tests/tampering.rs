//! Whoever is between agent and reader may do anything to the bytes.

use proptest::prelude::*;

use super::{
    fixture::{NOW, SECRET, Session, event},
    follow,
};
use crate::{
    Accepted, Body, ChainError, Epoch, OpenError, Opener, RecipientSecret, Record, Sealer,
    Sequence, SessionId, SigningKey, Stream,
};

#[test]
fn no_bit_of_a_record_can_be_changed_unnoticed() {
    let session = Session::sealed(Stream::Content, 1);
    for (place, record) in session.records.iter().enumerate() {
        let bytes = record.to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                // One bit of each byte of the sealed events is as good as another.
                if at > 300 && bit != at % 8 {
                    continue;
                }
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let Ok(changed) = Record::parse(&changed) else {
                    continue;
                };
                let mut records = session.records.clone();
                records[place] = changed;
                // A change to the first record may make it one of another agent, whose signature
                // is missing, so that nothing is ever taken.
                let error = follow(&records).expect_err("a changed record was taken");
                let is_named =
                    matches!(error, ChainError::Tampered(_) | ChainError::OtherSession(_));
                assert!(is_named, "byte {at} of record {place}: {error}");
            }
        }
    }
}

#[test]
fn a_recipient_notices_a_change_that_the_agent_signed() {
    let session = Session::sealed(Stream::Content, 2);
    let mut opener = Opener::new(session.recipient());
    opener.learn(&session.records[0]).unwrap();
    let batch = &session.records[1];
    let changed = [
        session.resigned(batch, |claims| claims.sequence = Sequence(9)),
        session.resigned(batch, |claims| claims.previous.0[0] ^= 1),
        session.resigned(batch, |claims| {
            if let Body::Batch(body) = &mut claims.body {
                body.uncompressed += 1;
            }
        }),
    ];
    assert!(opener.open(batch).is_ok());
    for changed in changed {
        let error = opener.open(&changed).unwrap_err();
        assert!(matches!(error, OpenError::Tampered(_)), "{error}");
    }
    let elsewhere = session.resigned(batch, |claims| claims.session = SessionId([9; 16]));
    let error = opener.open(&elsewhere).unwrap_err();
    assert!(matches!(error, OpenError::EpochNotSeen { .. }), "{error}");
}

#[test]
fn a_key_for_another_epoch_or_session_does_not_pass() {
    let session = Session::sealed(Stream::Content, 1);
    let mut opener = Opener::new(session.recipient());
    for moved in [
        session.resigned(&session.records[0], |claims| claims.epoch = Epoch(1)),
        session.resigned(&session.records[0], |claims| {
            claims.session = SessionId([9; 16]);
        }),
    ] {
        let error = opener.learn(&moved).unwrap_err();
        assert!(matches!(error, OpenError::NotARecipient { .. }), "{error}");
    }
    let bound = session.resigned(&session.records[0], |claims| {
        if let Body::Epoch(body) = &mut claims.body {
            body.commitment[0] ^= 1;
        }
    });
    let error = opener.learn(&bound).unwrap_err();
    assert!(matches!(error, OpenError::OtherKey { .. }), "{error}");
}

#[test]
fn only_recipients_read_content_and_each_of_them_does() {
    let key = SigningKey::generate().unwrap();
    let secrets: Vec<_> = (0..3)
        .map(|_| RecipientSecret::generate().unwrap())
        .collect();
    let recipients = secrets.iter().map(|secret| secret.recipient().clone());
    let now = tracer_event::WallNanos(NOW);
    let (mut sealer, opening) =
        Sealer::begin(&key, Stream::Content, recipients.collect(), now).unwrap();
    let mut builder = crate::BatchBuilder::new(Stream::Content);
    builder.push(&event(Stream::Content, NOW)).unwrap();
    let batch = builder.take().unwrap().unwrap();
    let sealed = sealer.seal(batch, now).unwrap().batch;

    for bytes in [opening.to_bytes(), sealed.to_bytes()] {
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!holds(SECRET.as_bytes()) && !holds(&SECRET.as_bytes()[..9]));
    }
    for secret in secrets {
        let mut opener = Opener::new(secret);
        opener.learn(&opening).unwrap();
        let contents = opener.open(&sealed).unwrap();
        let text = String::from_utf8(contents.ndjson().to_vec()).unwrap();
        assert!(text.contains(SECRET), "{text}");
        assert_eq!(contents.events().count(), 1);
    }
    let mut stranger = Opener::new(RecipientSecret::generate().unwrap());
    assert!(matches!(
        stranger.learn(&opening),
        Err(OpenError::NotARecipient { .. })
    ));
    assert!(matches!(
        stranger.open(&sealed),
        Err(OpenError::EpochNotSeen { .. })
    ));
}

#[test]
fn another_agent_cannot_continue_a_session() {
    let ours = Session::sealed(Stream::Telemetry, 3);
    let other = SigningKey::generate().unwrap();
    let forged = Record::sign(
        ours.records[2].claims().clone(),
        ours.records[2].sealed().to_vec(),
        &other,
    );
    let mut records = ours.records;
    records[2] = forged;
    let error = follow(&records).unwrap_err();
    assert_eq!(error, ChainError::OtherSession(Sequence(2)));
}

#[test]
fn an_agent_that_signs_two_records_for_a_place_is_found_out() {
    let session = Session::sealed(Stream::Telemetry, 3);
    let other = session.resigned(&session.records[2], |claims| {
        if let Body::Batch(body) = &mut claims.body {
            body.first.0 += 1;
        }
    });
    let records = [&session.records[..3], &[other]].concat();
    let error = follow(&records).unwrap_err();
    assert_eq!(error, ChainError::Forked(Sequence(2)));
}

proptest! {
    #[test]
    fn a_record_left_out_is_missed(out in 0_usize..7) {
        let session = Session::sealed(Stream::Telemetry, 6);
        let mut records = session.records;
        records.remove(out);
        let error = follow(&records).unwrap_err();
        let (expected, found) = (Sequence(out as u64), Sequence(out as u64 + 1));
        prop_assert_eq!(error, ChainError::Missing { expected, found });
    }

    #[test]
    fn two_records_that_changed_places_are_noticed(a in 0_usize..8, b in 0_usize..8) {
        prop_assume!(a != b);
        let session = Session::sealed(Stream::Telemetry, 6);
        let mut records = session.records;
        records.swap(a, b);
        let error = follow(&records).unwrap_err();
        let (expected, found) = (Sequence(a.min(b) as u64), Sequence(a.max(b) as u64));
        prop_assert_eq!(error, ChainError::Missing { expected, found });
    }

    #[test]
    fn a_record_that_comes_again_counts_once(again in 0_usize..8, later in 0_usize..8) {
        let session = Session::sealed(Stream::Telemetry, 6);
        let at = (again + 1 + later).min(session.records.len());
        let mut records = session.records;
        records.insert(at, records[again].clone());
        let (verifier, accepted) = follow(&records).unwrap();
        prop_assert_eq!(accepted[at], Accepted::Repeated);
        prop_assert_eq!(verifier.finish(), Ok(()));
    }

    #[test]
    fn a_session_that_is_cut_off_has_no_end(kept in 1_usize..8) {
        let session = Session::sealed(Stream::Telemetry, 6);
        let (verifier, _) = follow(&session.records[..kept]).unwrap();
        let last = Some(Sequence(kept as u64 - 1));
        prop_assert_eq!(verifier.finish(), Err(ChainError::Truncated(last)));
    }

    #[test]
    fn a_record_that_is_cut_off_is_none(kept in 0_usize..400) {
        let session = Session::sealed(Stream::Telemetry, 1);
        for record in session.records {
            let bytes = record.to_bytes();
            let kept = kept.min(bytes.len() - 1);
            prop_assert!(Record::parse(&bytes[..kept]).is_err());
            let longer = [&bytes[..], &[0]].concat();
            prop_assert!(Record::parse(&longer).is_err());
        }
    }
}
