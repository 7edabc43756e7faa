//! What a batch holds, and what it cannot be made to do to its reader.

use std::io::Write as _;

use super::fixture::{NOW, Session, event};
use crate::{
    BatchBody, BatchBuilder, BatchError, Body, Contents, SealError, Sealer, SigningKey, Stream,
};

#[test]
fn a_batch_holds_the_lines_that_any_other_output_has() {
    for stream in [Stream::Telemetry, Stream::Content] {
        let session = Session::sealed(stream, 3);
        let opened = session.opened();
        let held: Vec<_> = opened.iter().map(|contents| contents.ndjson()).collect();
        assert_eq!(held, session.lines);
        for contents in &opened {
            for read in contents.events() {
                assert_eq!(Stream::of(&read.unwrap()), stream);
            }
        }
    }
}

#[test]
fn a_batch_tells_how_many_events_of_which_kind_and_when() {
    let session = Session::sealed(Stream::Telemetry, 3);
    let Body::Batch(body) = &session.records[3].claims().body else {
        panic!("it is a batch")
    };
    let kinds: Vec<_> = body
        .kinds
        .iter()
        .map(|(kind, count)| (kind.as_str(), *count))
        .collect();
    assert_eq!(kinds, [("inference.step", 3)]);
    assert_eq!((body.first.0, body.last.0), (NOW + 2, NOW + 2));
}

#[test]
fn content_does_not_go_into_telemetry_nor_the_other_way() {
    let mut telemetry = BatchBuilder::new(Stream::Telemetry);
    let error = telemetry.push(&event(Stream::Content, NOW)).unwrap_err();
    assert!(matches!(error, BatchError::OtherStream { .. }), "{error}");
    let mut content = BatchBuilder::new(Stream::Content);
    let error = content.push(&event(Stream::Telemetry, NOW)).unwrap_err();
    assert!(matches!(error, BatchError::OtherStream { .. }), "{error}");

    content.push(&event(Stream::Content, NOW)).unwrap();
    let batch = content.take().unwrap().unwrap();
    let key = SigningKey::generate().unwrap();
    let recipient = Session::sealed(Stream::Telemetry, 0).recipient;
    let recipients = vec![recipient.recipient().clone()];
    let now = tracer_event::WallNanos(NOW);
    let (mut sealer, _) = Sealer::begin(&key, Stream::Telemetry, recipients, now).unwrap();
    let error = sealer.seal(batch, now).unwrap_err();
    assert!(matches!(error, SealError::OtherStream(_)), "{error}");
}

#[test]
fn without_a_recipient_there_is_no_session() {
    let key = SigningKey::generate().unwrap();
    let now = tracer_event::WallNanos(NOW);
    let begun = Sealer::begin(&key, Stream::Content, Vec::new(), now);
    assert!(matches!(begun, Err(SealError::NoRecipient)));
}

#[test]
fn a_thousand_decode_steps_fit_into_twenty_kilobytes() {
    let mut builder = BatchBuilder::new(Stream::Telemetry);
    for number in 0..1000_u64 {
        // As unlike each other as real ones: times and durations differ.
        let time = NOW + number * 10_000_019 + (number * number * 7919) % 1_000_003;
        builder.push(&event(Stream::Telemetry, time)).unwrap();
    }
    let batch = builder.take().unwrap().unwrap();
    assert_eq!(batch.body.events(), 1000);
    assert!(
        batch.compressed.len() < 20_000,
        "{}",
        batch.compressed.len()
    );
}

fn body(uncompressed: u32, events: u32) -> BatchBody {
    let step = crate::EventKind::new("inference.step").unwrap();
    BatchBody {
        first: tracer_event::WallNanos(0),
        last: tracer_event::WallNanos(0),
        uncompressed,
        kinds: [(step, events)].into(),
        models: Vec::new(),
    }
}

fn refused(body: &BatchBody, compressed: &[u8]) -> String {
    use std::error::Error as _;
    let error = Contents::unpack(body, compressed).unwrap_err();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error}: {cause}")
}

#[test]
fn a_batch_unpacks_to_what_it_says_and_no_more() {
    let packed = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
    let lines = packed(b"{}\n{}\n");
    assert!(Contents::unpack(&body(6, 2), &lines).is_ok());
    // 64 MiB in a few kilobytes.
    let bomb = packed(&vec![b'\n'; 64 << 20]);
    assert!(refused(&body(1 << 20, 1), &bomb).contains("holds 1048577"));
    assert!(refused(&body(u32::MAX, 1), &bomb).contains("the limit is 1048576"));
    assert!(refused(&body(7, 2), &lines).contains("7 bytes of events, and holds 6"));
    assert!(refused(&body(6, 3), &lines).contains("3 events, and holds 2"));
    let two_frames = [&lines[..], &lines[..]].concat();
    assert!(refused(&body(6, 2), &two_frames).contains("something follows"));
    assert!(refused(&body(6, 2), &lines[..lines.len() - 1]).contains("unpacked"));
    assert!(refused(&body(6, 2), b"no frame").contains("unpacked"));
    assert!(refused(&body(2, 0), &packed(b"{}")).contains("no end"));
}

#[test]
fn a_batch_cannot_ask_for_a_large_window() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(b"{}\n").unwrap();
    let compressed = encoder.finish().unwrap();
    assert!(refused(&body(3, 1), &compressed).contains("too much memory"));
}

#[test]
fn a_line_that_is_no_event_is_named() {
    let compressed = zstd::bulk::compress(b"{}\n", 1).unwrap();
    let contents = Contents::unpack(&body(3, 1), &compressed).unwrap();
    let error = contents.events().next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "line 1 of a batch is no event");
}
