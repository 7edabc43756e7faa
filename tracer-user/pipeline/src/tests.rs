//! The pipeline as a whole: what goes in comes out, redacted, counted and in order.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use tracer_event::{BootNanos, Label, LossReason, Name, RedactedEvent};
use tracer_probe::{
    observation::{self, LibraryId, Observation, RecordBatch, Runtime},
    process::{FileId, Process},
    time,
};
use tracer_profile::FieldName;
use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};

use crate::{
    Options, Pipeline, Sink,
    fixture::{Fixture, Record},
};

/// Keeps the lines that a JSON sink would write.
#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    kinds: Vec<Label>,
}

impl Sink for Lines {
    fn write(&mut self, event: &RedactedEvent) -> io::Result<()> {
        self.kinds.push(event.kind());
        self.lines.push(serde_json::to_string(event)?);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses everything, as a closed pipe does.
struct Closed;

impl Sink for Closed {
    fn write(&mut self, _: &RedactedEvent) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pipeline() -> Pipeline {
    let options = Options {
        node: Name::new("here"),
        grant: Name::new("local"),
        version: Label::new("test"),
        kernel: Name::new("test"),
        profiles: Fixture::new().profiles().into(),
        window: Options::WINDOW,
        limit: Options::LIMIT,
    };
    let key = RunKey::new([7; 32]);
    let engine = Engine::new(Policy::default(), CaptureLevel::Shape, key).unwrap();
    Pipeline::new(options, engine)
}

fn this_process(time: u64) -> Observation {
    found(std::process::id(), time)
}

fn found(pid: u32, time: u64) -> Observation {
    Observation::RuntimeFound(Arc::new(Runtime {
        process: Process::read(pid).unwrap(),
        profile: 0,
        library: LibraryId(0),
        path: "/usr/lib/libfixture.so".into(),
        file: FileId::default(),
        deleted: false,
        build_id: None,
        version: None,
        load_may_be_missed: false,
        time: time::BootNanos(time),
    }))
}

fn records(records: &[Vec<u8>]) -> Observation {
    let mut batch = RecordBatch::new(0);
    for record in records {
        batch.push(record);
    }
    Observation::Records(batch)
}

#[test]
fn a_run_begins_with_its_session_and_ends_with_its_summary() {
    let mut sink = Lines::default();
    let summary = pipeline().finish(&Fixture::new(), &mut sink).unwrap();
    assert_eq!(
        sink.kinds,
        ["session.started", "agent.summary"].map(Label::new)
    );
    assert_eq!((summary.events, summary.records), (1, 0));
    assert!(summary.losses.is_empty());
}

#[test]
fn a_process_is_announced_before_what_it_runs_and_its_end_comes_last() {
    let mut pipeline = pipeline();
    let pid = std::process::id();
    pipeline.push(Observation::ProcessExit {
        pid,
        started: 0,
        status: 9,
        time: time::BootNanos(20),
    });
    pipeline.push(this_process(10));
    let mut sink = Lines::default();
    pipeline.finish(&Fixture::new(), &mut sink).unwrap();
    let kinds: Vec<_> = sink.kinds.iter().map(Label::as_str).collect();
    assert_eq!(
        kinds[1..4],
        ["process.seen", "agent.runtime_found", "process.exited"]
    );
    let place = format!(r#""where":{{"node":"here","pid":{pid},"#);
    assert!(sink.lines[1..4].iter().all(|line| line.contains(&place)));
}

#[test]
fn nothing_within_the_window_is_written_before_its_time() {
    let mut pipeline = pipeline();
    let mut sink = Lines::default();
    pipeline.push(this_process(1_000_000_000));
    let window = u64::try_from(Options::WINDOW.as_nanos()).unwrap();
    for (read, events) in [(1_000_000_000, 1), (1_000_000_000 + window, 3)] {
        pipeline
            .advance(BootNanos(read), &Fixture::new(), &mut sink)
            .unwrap();
        assert_eq!(sink.lines.len(), events);
        assert_eq!(pipeline.holds_back(), events == 1);
    }
}

#[test]
fn a_load_that_fails_before_its_runtime_is_known_is_told_with_what_its_profile_asks_for() {
    let mut pipeline = pipeline();
    let mut sink = Lines::default();
    let mut failed = Record::load().value(FieldName::Result, 1);
    failed.header.pid = std::process::id();
    pipeline.push(records(&[failed.bytes()]));
    let window = u64::try_from(Options::WINDOW.as_nanos()).unwrap();
    pipeline
        .advance(BootNanos(2000 + window), &Fixture::new(), &mut sink)
        .unwrap();
    pipeline.push(this_process(3000 + window));
    pipeline.finish(&Fixture::new(), &mut sink).unwrap();
    let told = std::iter::zip(&sink.kinds, &sink.lines);
    let told: Vec<&String> = told
        .filter(|(kind, _)| kind.as_str() == "model.load_failed")
        .map(|(_, line)| line)
        .collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("\"PATH\""), "{}", told[0]);
}

/// A process that maps no model and waits, and whose command line names one.
fn serving(model: &std::path::Path) -> Child {
    Command::new("sh")
        .args(["-c", "read _", "sh", "--model"])
        .arg(model)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_context_whose_model_was_loaded_unseen_has_it_once_it_computes_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.gguf");
    let mut header = b"GGUF".to_vec();
    header.extend(3_u32.to_le_bytes());
    header.extend([0; 16]);
    fs::write(&model, header).unwrap();
    let mut server = serving(&model);
    let pid = server.id();

    let mut pipeline = pipeline();
    pipeline.push(found(pid, 10));
    let mut made = Record::create()
        .value(FieldName::Context, 5)
        .value(FieldName::Model, 6);
    made.header.pid = pid;
    let mut computed = Record::exit().value(FieldName::Context, 5);
    (computed.header.pid, computed.header.time) = (pid, 2000);
    pipeline.push(records(&[made.bytes(), computed.bytes()]));
    let mut sink = Lines::default();
    pipeline.finish(&Fixture::new(), &mut sink).unwrap();
    drop(server.stdin.take());
    server.wait().unwrap();

    let told = |kind| {
        let told = std::iter::zip(&sink.kinds, &sink.lines);
        let mut told = told.filter(|(label, _)| label.as_str() == kind);
        match (told.next(), told.next()) {
            (Some((_, line)), None) => line,
            other => panic!("{kind}: {other:?}"),
        }
    };
    assert!(
        told("model.loaded").contains("\"load\":\"not seen\""),
        "{sink:?}"
    );
    assert!(
        told("context.created").contains("\"model\":\"unknown\""),
        "{sink:?}"
    );
    assert!(told("inference.step").contains("\"model\":1"), "{sink:?}");
}

#[test]
fn what_cannot_be_used_is_counted_and_told() {
    let mut pipeline = pipeline();
    let mut unknown = Record::exit();
    unknown.header.spec = 99;
    pipeline.push(records(&[b"short".to_vec(), unknown.bytes()]));
    pipeline.push(Observation::Loss(observation::Loss {
        reason: tracer_abi::LossReason::RingFull,
        count: 5,
        cpu: 0,
        since: time::BootNanos(0),
        until: time::BootNanos(1),
    }));
    let mut sink = Lines::default();
    let summary = pipeline.finish(&Fixture::new(), &mut sink).unwrap();
    assert_eq!(summary.records, 2);
    assert_eq!(summary.losses[&LossReason::MalformedRecord], 1);
    assert_eq!(summary.losses[&LossReason::UnknownProbe], 1);
    assert_eq!(summary.losses[&LossReason::RingFull], 5);
    assert_eq!(summary.unintended_losses(), 7);
    let told = sink.kinds.iter().filter(|kind| kind.as_str() == "loss");
    assert_eq!(told.count(), 3);
}

#[test]
fn the_kernels_losses_are_on_their_cpu_and_in_their_window() {
    let mut pipeline = pipeline();
    pipeline.push(Observation::Loss(observation::Loss {
        reason: tracer_abi::LossReason::SampledOut,
        count: 5,
        cpu: 3,
        since: time::BootNanos(10),
        until: time::BootNanos(20),
    }));
    let mut sink = Lines::default();
    pipeline.finish(&Fixture::new(), &mut sink).unwrap();
    let loss =
        r#""body":{"reason":"sampled_out","count":5,"cpu":3,"from":10,"to":20,"intended":true}"#;
    assert!(sink.lines[1].contains(loss), "{}", sink.lines[1]);
}

#[test]
fn hot_operations_are_told_with_their_probe_and_of_no_process() {
    let mut pipeline = pipeline();
    let mut buckets = [0; tracer_abi::HISTOGRAM_BUCKETS];
    (buckets[1], buckets[3]) = (2, 1);
    let calls = tracer_abi::Histogram { sum: 14, buckets };
    pipeline.push(Observation::Operations(Box::new(observation::Operations {
        probe: observation::ProbeId(0),
        calls,
        since: time::BootNanos(10),
        until: time::BootNanos(20),
    })));
    let mut sink = Lines::default();
    pipeline.finish(&Fixture::new(), &mut sink).unwrap();
    let line = &sink.lines[1];
    assert!(
        line.contains(r#""where":{"node":"here"},"probe":"fixture/step""#),
        "{line}"
    );
    let body = r#""kind":"op.histogram","body":{"operation":"fixture/step","from":10,"to":20,"count":3,"sum":14,"buckets":[0,2,0,1]}"#;
    assert!(line.contains(body), "{line}");
}

#[test]
fn a_sink_that_refuses_stops_the_run() {
    let error = pipeline().finish(&Fixture::new(), &mut Closed).unwrap_err();
    assert!(error.to_string().contains("cannot write"));
}

#[test]
fn every_record_that_is_read_is_counted() {
    let mut pipeline = pipeline();
    let mut sink = Lines::default();
    let record = |time| {
        let mut record = Record::exit().value(FieldName::Context, 5);
        record.header.time = time;
        record.bytes()
    };
    for round in 0..10 {
        let times = (0..7).map(|index| record(round * 100 + index));
        pipeline.push(records(&times.collect::<Vec<_>>()));
        let read = BootNanos(round * 100);
        pipeline.advance(read, &Fixture::new(), &mut sink).unwrap();
    }
    let summary = pipeline.finish(&Fixture::new(), &mut sink).unwrap();
    assert_eq!(summary.records, 70);
    assert_eq!(
        usize::try_from(summary.events).unwrap() + 1,
        sink.lines.len()
    );
}
