//! What holds for every kind of event.

use std::{collections::BTreeSet, fs, path::Path};

use proptest::prelude::*;
use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};

use crate::{
    BootNanos, Event, Known, Label, Nanos, RawEvent, Recorded, RequestId, SequenceId,
    inference::{EndReason, Request},
    samples::{self, SECRET},
};

fn engine(level: CaptureLevel) -> Engine {
    Engine::new(Policy::default(), level, RunKey::new([7; 32])).unwrap()
}

fn line(event: RawEvent, level: CaptureLevel) -> String {
    serde_json::to_string(&event.redact(&engine(level))).unwrap()
}

/// The kinds that the schema lists.
fn kinds_of_schema() -> BTreeSet<String> {
    let schema: serde_json::Value = serde_json::from_str(&crate::schema::json_schema()).unwrap();
    let variants = schema["oneOf"].as_array().unwrap();
    let kind = |variant: &serde_json::Value| {
        let kind = variant["properties"]["kind"]["const"].as_str().unwrap();
        kind.to_owned()
    };
    variants.iter().map(kind).collect()
}

#[test]
fn the_samples_show_every_kind() {
    let shown: BTreeSet<_> = samples::all()
        .iter()
        .map(|event| event.kind().to_string())
        .collect();
    assert_eq!(shown, kinds_of_schema());
}

#[test]
fn every_kind_is_written_under_its_own_name() {
    for event in samples::all() {
        let kind = event.kind();
        let line = line(event, CaptureLevel::Shape);
        let read: Event<Recorded> = serde_json::from_str(&line).unwrap();
        assert!(line.contains(&format!(r#""kind":"{kind}""#)), "{line}");
        assert_eq!(read.kind(), kind);
    }
}

#[test]
fn every_kind_is_written_like_this() {
    let events: Vec<_> = samples::all()
        .into_iter()
        .map(|event| event.redact(&engine(CaptureLevel::Shape)))
        .collect();
    insta::assert_json_snapshot!(events);
}

#[test]
fn a_line_reads_back_as_what_was_written() {
    for level in [CaptureLevel::Shape, CaptureLevel::Tokens] {
        for event in samples::all() {
            let line = line(event, level);
            let read: Event<Recorded> = serde_json::from_str(&line).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), line);
        }
    }
}

#[test]
fn nothing_that_the_default_policy_withholds_is_written() {
    for event in samples::all() {
        let line = line(event, CaptureLevel::Shape);
        assert!(!line.contains(SECRET) && !line.contains("15043"), "{line}");
    }
}

#[test]
fn a_line_of_another_schema_is_refused_by_name() {
    let event = samples::all().remove(0);
    let line = line(event, CaptureLevel::Shape).replace(crate::SCHEMA, "tracer.event/9");
    let error = serde_json::from_str::<Event<Recorded>>(&line).unwrap_err();
    assert!(error.to_string().contains("tracer.event/9"), "{error}");
}

#[test]
fn the_checked_in_schema_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema/event.schema.json");
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == crate::schema::json_schema(),
        "schema/event.schema.json is not what the types say; write it anew with `cargo run -p \
         tracer-event --features schema --example schema > schema/event.schema.json`"
    );
}

fn known<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Known<T>> {
    prop::option::of(value).prop_map(Known::from)
}

proptest! {
    #[test]
    fn any_request_reads_back_exactly(
        number: u64,
        opened: u64,
        // serde_json reads a float exactly but for its last bit: up to 2^50 ns, 13 days, less than
        // half a nanosecond.
        duration in 0u64..1 << 50,
        tokens in known(any::<u64>()),
        first in known(0u64..1 << 50),
        sequence in known(any::<i32>()),
        end in prop::sample::select(vec![EndReason::Eog, EndReason::ContextFull, EndReason::Unknown]),
    ) {
        let request = Request {
            request: RequestId(number),
            opened: BootNanos(opened),
            duration: Nanos(duration),
            prompt_tokens: tokens,
            time_to_first_token: first.map(Nanos),
            sequence: sequence.map(SequenceId),
            end,
            ..samples::request()
        };
        let line = serde_json::to_string(&request).unwrap();
        prop_assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
    }

    #[test]
    fn any_text_of_the_target_reads_back(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let mut snapshot = samples::model_snapshot();
        snapshot.files[0].path = samples::text(&text);
        snapshot.header.name = Known::Known(tracer_redact::Raw::new(
            tracer_redact::Content::text(bytes),
        ));
        let event = samples::event(crate::Body::ModelLoaded(Box::new(snapshot)));
        let line = line(event, CaptureLevel::Shape);
        prop_assert!(!line.contains('\n'));
        let read: Event<Recorded> = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), line);
        let crate::Body::ModelLoaded(snapshot) = read.body else { unreachable!() };
        prop_assert_eq!(&snapshot.files[0].path, &Recorded::Text(text));
    }

    #[test]
    fn no_line_makes_the_reader_panic(line in ".{0,200}") {
        let _ = serde_json::from_str::<Event<Recorded>>(&line);
    }
}

#[test]
fn labels_are_written_as_bare_words() {
    assert_eq!(
        serde_json::to_string(&Label::new("F16")).unwrap(),
        r#""F16""#
    );
}
