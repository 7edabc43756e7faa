//! A spool on a real folder, and on disks that fail in one way at a time.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tracer_wire::{Accepted, Body, GapReason, Position, Record, Stream, Verifier};

use super::{Append, Folder, Limits, Next, Recovered, Spool, SpoolError, Storage};
use crate::fixture::{SECRET, session, sign};

const LIMITS: Limits = Limits {
    total: 1 << 20,
    segment: 4 << 10,
};

fn open(path: &Path) -> (Spool<Folder>, Recovered) {
    Spool::open(Folder::open(path).unwrap(), LIMITS).unwrap()
}

fn keep<S: Storage>(spool: &mut Spool<S>, records: &[Record]) {
    for record in records {
        spool.append(record, &mut sign).unwrap();
    }
    spool.commit().unwrap();
}

/// All that a reader gets of the session that a record is of, verified; gaps are signed.
fn delivered<S: Storage>(spool: &mut Spool<S>, of: &Record) -> Vec<Record> {
    let mut verifier = Verifier::of(of.claims());
    let mut records = Vec::new();
    while let Some(next) = spool
        .next(of.claims().session, &verifier.position())
        .unwrap()
    {
        let record = match next {
            Next::Record(record) => *record,
            Next::Missing(gap) => sign(gap).unwrap(),
        };
        assert_eq!(verifier.accept(&record, |_| None), Ok(Accepted::Next));
        records.push(record);
    }
    records
}

/// The segments of a folder.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|name| name == "segment");
    files.filter(is_segment).collect()
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = segments(folder);
    let file = files.pop().expect("there is a segment");
    assert_eq!(files, [] as [PathBuf; 0]);
    file
}

#[test]
fn a_record_is_given_out_once_it_is_kept_until_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let records = session(Stream::Telemetry, 3);
    for record in &records {
        spool.append(record, &mut sign).unwrap();
    }
    let id = records[0].claims().session;
    assert_eq!(spool.next(id, &Position::START).unwrap(), None);
    spool.commit().unwrap();
    assert_eq!(delivered(&mut spool, &records[0]), records);
    spool.acknowledge(id, records[3].claims().sequence);
    assert_eq!((spool.records(), spool.sessions().count()), (1, 1));
    spool.acknowledge(id, records[4].claims().sequence);
    assert_eq!((spool.records(), spool.sessions().count()), (0, 0));
}

#[test]
fn an_opened_spool_has_what_was_kept_and_frees_what_was_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let telemetry = session(Stream::Telemetry, 20);
    let content = session(Stream::Content, 20);
    let (mut spool, found) = open(folder.path());
    assert_eq!(found, Recovered::default());
    keep(&mut spool, &telemetry);
    keep(&mut spool, &content);
    let bytes = spool.bytes();
    drop(spool);
    let (mut spool, found) = open(folder.path());
    let expected = Recovered {
        records: 44,
        ..Recovered::default()
    };
    assert_eq!((found, spool.bytes()), (expected, bytes));
    assert_eq!(delivered(&mut spool, &telemetry[0]), telemetry);
    assert_eq!(delivered(&mut spool, &content[0]), content);
    for session in [&telemetry, &content] {
        let last = session.last().unwrap().claims();
        spool.acknowledge(last.session, last.sequence);
    }
    assert_eq!(spool.bytes(), 0);
    assert_eq!(segments(folder.path()), [] as [PathBuf; 0]);
}

#[test]
fn a_spool_is_its_owners_alone_and_holds_nothing_in_the_clear() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("spool");
    let (mut spool, _) = open(&folder);
    keep(&mut spool, &session(Stream::Content, 3));
    let file = only_file(&folder);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    let bytes = fs::read(file).unwrap();
    let secret = SECRET.as_bytes();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}

#[test]
fn two_processes_do_not_share_a_spool() {
    let folder = tempfile::tempdir().unwrap();
    let first = Folder::open(folder.path()).unwrap();
    let error = Folder::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(first);
    assert!(Folder::open(folder.path()).is_ok());
}

#[test]
fn a_file_of_another_name_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "notes",
        "telemetry-1.segment",
        "telemetry-000000000000000G.segment",
        "content-ffffffffffffffff.segment",
    ];
    for name in names {
        fs::write(folder.path().join(name), "mine").unwrap();
    }
    let (spool, found) = open(folder.path());
    assert_eq!((found, spool.bytes()), (Recovered::default(), 0));
    drop(spool);
    for name in names {
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"mine");
    }
}

#[test]
fn a_torn_end_costs_the_record_that_it_tears() {
    let folder = tempfile::tempdir().unwrap();
    let records = session(Stream::Telemetry, 2);
    let (mut spool, _) = open(folder.path());
    keep(&mut spool, &records[..2]);
    let file = only_file(folder.path());
    let whole = fs::read(&file).unwrap().len();
    keep(&mut spool, &records[2..3]);
    drop(spool);
    let bytes = fs::read(&file).unwrap();
    for kept in whole..bytes.len() {
        fs::write(&file, &bytes[..kept]).unwrap();
        let (mut spool, found) = open(folder.path());
        assert_eq!(found.records, 2);
        assert_eq!(found.damaged_bytes, (kept - whole) as u64);
        assert_eq!(delivered(&mut spool, &records[0]), records[..2]);
    }
}

#[test]
fn a_changed_byte_costs_its_record_and_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let records = session(Stream::Telemetry, 3);
    let (mut spool, _) = open(folder.path());
    keep(&mut spool, &records);
    drop(spool);
    let file = only_file(folder.path());
    let bytes = fs::read(&file).unwrap();
    let ends: Vec<_> = records
        .iter()
        .scan(0, |end, record| {
            *end += super::segment::entry(record).len();
            Some(*end)
        })
        .collect();
    // Every byte at full length.
    let step = std::env::var_os("TRACER_FULL").map_or(7, |_| 1);
    for at in (0..bytes.len()).step_by(step) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, changed).unwrap();
        let (mut spool, found) = open(folder.path());
        assert_eq!(found.records, 4, "byte {at}");
        let hit = ends.iter().position(|&end| at < end).unwrap();
        let delivered = delivered(&mut spool, &records[1]);
        if hit + 1 == records.len() {
            // Nothing comes behind it: the session is cut off, which its reader sees.
            assert_eq!(delivered, records[..hit]);
            continue;
        }
        assert_eq!(delivered.len(), records.len());
        let gap = delivered[hit].claims();
        let Body::Gap(body) = &gap.body else {
            panic!("byte {at}: {gap:?}")
        };
        assert_eq!(
            (body.first, body.reason),
            (gap.sequence, GapReason::Damaged)
        );
    }
}

#[test]
fn the_oldest_telemetry_goes_first_and_then_the_oldest_content() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        total: 24 << 10,
        segment: 4 << 10,
    };
    let storage = Folder::open(folder.path()).unwrap();
    let (mut spool, _) = Spool::open(storage, limits).unwrap();
    let telemetry = session(Stream::Telemetry, 24);
    let content = session(Stream::Content, 60);
    let is_gap = |record: &Record| matches!(record.claims().body, Body::Gap(_));
    keep(&mut spool, &telemetry);
    assert!(!delivered(&mut spool, &telemetry[0]).iter().any(is_gap));

    let mut telemetry_gone_first = false;
    for record in &content {
        keep(&mut spool, std::slice::from_ref(record));
        assert!(spool.bytes() <= limits.total);
        let telemetry_left = delivered(&mut spool, &telemetry[0]);
        let batches = telemetry_left
            .iter()
            .filter(|record| matches!(record.claims().body, Body::Batch(_)))
            .count();
        if delivered(&mut spool, &content[0]).iter().any(is_gap) {
            assert_eq!(batches, 0, "content went before telemetry");
            telemetry_gone_first = true;
        }
    }
    assert!(telemetry_gone_first);
    for (session, batches) in [(&telemetry, 24), (&content, 60)] {
        let delivered = delivered(&mut spool, &session[0]);
        // The opening and the end are still there, and every batch is, or is declared.
        assert_eq!(delivered.first(), session.first());
        assert_eq!(delivered.last(), session.last());
        let events: u64 = delivered
            .iter()
            .map(|record| match &record.claims().body {
                Body::Batch(batch) => batch.events(),
                Body::Gap(gap) => gap.events.expect("the spool knew what it dropped"),
                Body::Epoch(_) | Body::Closing => 0,
            })
            .sum();
        assert_eq!(events, batches);
    }
}

#[test]
fn a_record_is_taken_once_and_what_is_missing_before_it_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let records = session(Stream::Telemetry, 3);
    spool.append(&records[0], &mut sign).unwrap();
    spool.append(&records[2], &mut sign).unwrap();
    let error = spool.append(&records[1], &mut sign).unwrap_err();
    assert_eq!(
        error.to_string(),
        "record 1 comes after record 2 of its session, which was taken before"
    );
    spool.commit().unwrap();
    let places: Vec<_> = delivered(&mut spool, &records[0])
        .iter()
        .map(|record| (record.claims().first().0, record.claims().sequence.0))
        .collect();
    assert_eq!(places, [(0, 0), (1, 1), (2, 2)]);
}

#[test]
fn nothing_is_dropped_while_nobody_signs_what_declares_it() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        total: 4_000,
        segment: 1_000,
    };
    let (mut spool, _) = Spool::open(Folder::open(folder.path()).unwrap(), limits).unwrap();
    let records = session(Stream::Telemetry, 12);
    let mut taken = 0;
    let error = loop {
        match spool.append(&records[taken], &mut |_| None) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SpoolError::Unsigned), "{error}");
    spool.commit().unwrap();
    assert_eq!(delivered(&mut spool, &records[0]), records[..taken]);
    // Once somebody does, there is room.
    keep(&mut spool, &records[taken..]);
    let first = &delivered(&mut spool, &records[0])[1];
    assert!(matches!(first.claims().body, Body::Gap(_)), "{first:?}");
}

/// A disk whose syncs fail.
struct Failing(Folder);

struct FailingFile(fs::File);

impl Storage for Failing {
    type File = FailingFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> io::Result<FailingFile> {
        self.0.create(name).map(FailingFile)
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        self.0.read(name, limit)
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.read_at(name, offset, length)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.0.sync(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.0.sync_folder()
    }
}

impl Append for FailingFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Err(io::Error::other("the disk answers with EIO"))
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.cut(length)
    }
}

#[test]
fn after_a_failed_sync_nothing_counts_as_kept() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Failing(Folder::open(folder.path()).unwrap());
    let (mut spool, _) = Spool::open(storage, LIMITS).unwrap();
    let records = session(Stream::Telemetry, 1);
    spool.append(&records[0], &mut sign).unwrap();
    let failed = spool.commit().unwrap_err();
    assert!(matches!(failed, SpoolError::Disk { .. }), "{failed}");
    let id = records[0].claims().session;
    assert_eq!(spool.next(id, &Position::START).unwrap(), None);
    for error in [
        spool.commit().unwrap_err(),
        spool.append(&records[1], &mut sign).unwrap_err(),
    ] {
        assert!(matches!(error, SpoolError::Broken), "{error}");
    }
    // What never reached the disk is not read later as if it had.
    drop(spool);
    assert_eq!(open(folder.path()).1, Recovered::default());
}
