//! What is particular to a store in files.

use std::fs;

use tracer_wire::Stream;

use super::{SEGMENT, at, batches, everything, read_all, sqlite};
use crate::{
    fixture::{SECRET, key, session},
    store::{Damage, Outcome, SqliteStore, Store as _, StoreError},
};

#[test]
fn a_changed_byte_is_found_and_costs_one_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let records = session(&key(1), Stream::Telemetry, 10);
    store.append(&records, at(0)).unwrap();
    let entries = everything(&store, Stream::Telemetry);
    let victim = &entries[4];
    let path = folder
        .path()
        .join(format!("segments/{:012}.segment", victim.place.segment));
    let mut bytes = fs::read(&path).unwrap();
    bytes[victim.place.position as usize + 300] ^= 4;
    fs::write(&path, bytes).unwrap();
    let damaged: Vec<_> = entries
        .iter()
        .filter_map(|entry| store.read(entry).err())
        .collect();
    let [StoreError::Damaged { number, why, .. }] = &damaged[..] else {
        panic!("{damaged:?}");
    };
    assert_eq!((*number, why), (victim.number, &Damage::Checksum));
}

#[test]
fn what_was_written_and_not_committed_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let records = session(&key(1), Stream::Telemetry, 3);
    store.append(&records[..2], at(0)).unwrap();
    drop(store);
    // As a collector that was killed between its two syncs leaves it.
    let path = folder.path().join("segments/000000000001.segment");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[7; 1234]);
    fs::write(&path, &bytes).unwrap();
    fs::write(folder.path().join("segments/000000000099.segment"), b"x").unwrap();
    let store = sqlite(folder.path());
    store.append(&records[2..], at(0)).unwrap();
    let stored = read_all(&store, Stream::Telemetry);
    assert_eq!(stored.iter().collect::<Vec<_>>(), batches(&records));
    assert!(!folder.path().join("segments/000000000099.segment").exists());
}

/// A file system of its own, as long as this lives.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_takes_nothing_and_goes_on_when_there_is_room() {
    let folder = Mounted(tempfile::tempdir().unwrap());
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(folder.0.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("SKIP a full disk: mounting one needs root");
        return;
    }
    let store = sqlite(folder.0.path());
    let records = session(&key(1), Stream::Telemetry, 30);
    store.append(&records[..10], at(0)).unwrap();
    let filler = folder.0.path().join("filler");
    let full = fs::write(&filler, vec![7; 4 << 20]);
    assert!(full.is_err(), "the disk is full");
    let mut taken = 10;
    for record in &records[10..] {
        match store.append(std::slice::from_ref(record), at(0)) {
            Ok(outcomes) => {
                assert_eq!(outcomes, [Outcome::Stored]);
                taken += 1;
            }
            Err(_) => break,
        }
    }
    assert!(taken < records.len(), "something was taken without room");
    let claims = records[0].claims();
    let position = store.position(claims.agent, claims.session).unwrap();
    assert_eq!(position.next.0 as usize, taken);
    fs::remove_file(&filler).unwrap();
    let outcomes = store.append(&records[taken..], at(0)).unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Stored));
    drop(store);
    let store = sqlite(folder.0.path());
    let stored = read_all(&store, Stream::Telemetry);
    assert_eq!(stored.iter().collect::<Vec<_>>(), batches(&records));
    drop(store);
}

#[test]
fn a_lost_segment_is_told_and_the_store_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let records = session(&key(1), Stream::Telemetry, 12);
    for record in &records {
        store.append(std::slice::from_ref(record), at(0)).unwrap();
    }
    fs::remove_file(folder.path().join("segments/000000000001.segment")).unwrap();
    let entries = everything(&store, Stream::Telemetry);
    let lost = entries.iter().filter(|entry| store.read(entry).is_err());
    assert!((1..6).contains(&lost.count()));
}

#[test]
fn a_store_is_for_one_collector() {
    let folder = tempfile::tempdir().unwrap();
    let _store = sqlite(folder.path());
    let second = SqliteStore::open(folder.path(), SEGMENT);
    assert!(matches!(second, Err(StoreError::InUse(_))));
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(sqlite(folder.path()));
    let index = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
    index.pragma_update(None, "user_version", 99).unwrap();
    let opened = SqliteStore::open(folder.path(), SEGMENT);
    assert!(matches!(opened, Err(StoreError::Version { found: 99, .. })));
}

#[test]
fn shredding_that_was_cut_off_is_finished_on_opening() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let records = session(&key(1), Stream::Content, 3);
    store.append(&records, at(0)).unwrap();
    drop(store);
    let index = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
    index
        .execute("UPDATE sessions SET shredded = 1", [])
        .unwrap();
    drop(index);
    let store = sqlite(folder.path());
    assert!(everything(&store, Stream::Content).is_empty());
    let left = fs::read(folder.path().join("segments/000000000001.segment")).unwrap();
    assert!(left.iter().all(|&byte| byte == 0));
}

#[test]
fn no_file_holds_what_was_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    store
        .append(&session(&key(1), Stream::Content, 5), at(0))
        .unwrap();
    drop(store);
    for file in ["index.sqlite", "segments/000000000001.segment"] {
        let bytes = fs::read(folder.path().join(file)).unwrap();
        let mut windows = bytes.windows(SECRET.len());
        assert!(!windows.any(|window| window == SECRET.as_bytes()), "{file}");
    }
}
