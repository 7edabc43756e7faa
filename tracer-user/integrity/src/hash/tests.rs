use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    os::fd::AsRawFd,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    guarantee::{Guarantee, NoLease, Reason},
    lease::tests::leases,
    tree::Symlinks,
};

const OPTIONS: Options = Options {
    workers: None,
    check_disk: false,
};

fn sha256(bytes: &[u8]) -> String {
    crate::digest::hex(&Sha256::digest(bytes))
}

fn target<'a>(tree: &'a Tree, name: &'a str) -> Target<'a> {
    Target {
        contents: Contents::InTree(tree, name),
        algorithm: Algorithm::Sha256,
        shard_size: None,
        size_hint: 0,
    }
}

fn run(targets: &[Target<'_>], leases: &Leases) -> Vec<Result<Hashed, HashError>> {
    hash(targets, leases, OPTIONS, &Progress::default())
}

/// Waits until a file is being hashed: it has been opened then, and its lease taken.
fn until_begun(progress: &Progress) {
    let start = Instant::now();
    while progress.bytes().0 == 0 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "nothing is hashed"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// A file without data that takes some tenths of a second to hash.
fn large(path: &Path) {
    File::create(path).unwrap().set_len(1 << 30).unwrap();
}

#[test]
fn files_and_shards_have_their_digests_in_order_and_the_best_guarantee() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|n| (n / 7) as u8).collect();
    for name in ["a", "b", "c"] {
        fs::write(folder.path().join(name), &bytes).unwrap();
    }
    fs::write(folder.path().join("empty"), b"").unwrap();
    let tree = Tree::open(folder.path(), Symlinks::Refuse).unwrap();
    let mut targets = vec![target(&tree, "a"), target(&tree, "empty")];
    for name in ["b", "empty"] {
        targets.push(Target {
            shard_size: NonZeroU64::new(1_000_000),
            ..target(&tree, name)
        });
    }
    let results = run(&targets, &leases());
    let hexes: Vec<Vec<String>> = results
        .iter()
        .map(|result| {
            let hashed = result.as_ref().unwrap();
            assert_eq!(hashed.assurance.guarantee, Guarantee::Leased, "{hashed:?}");
            hashed
                .pieces
                .iter()
                .map(|piece| piece.digest.hex())
                .collect()
        })
        .collect();
    let shards = bytes.chunks(1_000_000).map(sha256).collect();
    assert_eq!(
        hexes,
        [vec![sha256(&bytes)], vec![sha256(b"")], shards, vec![]]
    );
}

#[test]
fn a_file_that_is_open_for_writing_is_unstable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let mut writer = File::create(&path).unwrap();
    writer.write_all(b"abc").unwrap();
    let tree = Tree::open(folder.path(), Symlinks::Refuse).unwrap();
    let hashed = run(&[target(&tree, "weights")], &leases())
        .remove(0)
        .unwrap();
    assert_eq!(hashed.pieces[0].digest.hex(), sha256(b"abc"));
    assert_eq!(hashed.assurance.guarantee, Guarantee::Unstable);
    assert_eq!(hashed.assurance.reason, Reason::Writer);
}

#[test]
fn a_writer_that_comes_while_it_is_hashed_makes_it_unstable_and_does_not_wait_for_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    large(&path);
    let tree = Tree::open(folder.path(), Symlinks::Refuse).unwrap();
    let leases = leases();
    let progress = Progress::default();
    let targets = [target(&tree, "weights")];
    let hashed = thread::scope(|scope| {
        let hashing = scope.spawn(|| hash(&targets, &leases, OPTIONS, &progress).remove(0));
        until_begun(&progress);
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(!hashing.is_finished(), "the writer waited until the end");
        drop(writer);
        hashing.join().unwrap().unwrap()
    });
    assert_eq!(hashed.assurance.guarantee, Guarantee::Unstable);
    assert_eq!(hashed.assurance.reason, Reason::LeaseBroken);
}

#[test]
fn without_a_lease_a_change_meanwhile_is_seen_by_the_change_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    large(&path);
    let tree = Tree::open(folder.path(), Symlinks::Refuse).unwrap();
    let leases = Leases::start(&mut Command::new("/nonexistent/keeper"));
    let untouched = run(&[target(&tree, "weights")], &leases).remove(0).unwrap();
    assert_eq!(untouched.assurance.guarantee, Guarantee::Unchanged);
    assert!(matches!(
        untouched.assurance.reason,
        Reason::NoLease(NoLease::NoKeeper(_))
    ));
    let progress = Progress::default();
    let targets = [target(&tree, "weights")];
    let changed = thread::scope(|scope| {
        let hashing = scope.spawn(|| hash(&targets, &leases, OPTIONS, &progress).remove(0));
        until_begun(&progress);
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.seek(SeekFrom::Start(5)).unwrap();
        writer.write_all(b"x").unwrap();
        assert!(!hashing.is_finished());
        hashing.join().unwrap().unwrap()
    });
    assert_eq!(changed.assurance.reason, Reason::Changed);
}

#[test]
fn the_disk_is_compared_when_asked_for() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    fs::write(folder.path().join("weights"), vec![7; 3_000_001]).unwrap();
    let tree = Tree::open(folder.path(), Symlinks::Refuse).unwrap();
    let options = Options {
        check_disk: true,
        ..OPTIONS
    };
    let targets = [target(&tree, "weights")];
    let hashed = hash(&targets, &leases(), options, &Progress::default()).remove(0);
    match hashed {
        Ok(hashed) => assert_eq!(hashed.same_on_disk, Some(true)),
        // The source may lie on a file system without O_DIRECT.
        Err(error) => assert!(matches!(error, HashError::NoDirect), "{error}"),
    }
}

#[test]
fn what_cannot_be_hashed_has_its_own_error_and_stops_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weights"), b"abc").unwrap();
    let fifo = folder.path().join("fifo");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, fifo, kind, rustix::fs::Mode::RUSR, 0).unwrap();
    let tree = Tree::open(folder.path(), Symlinks::Refuse).unwrap();
    let targets = ["fifo", "missing", "weights"].map(|name| target(&tree, name));
    let results = run(&targets, &leases());
    let [fifo, missing, weights] = results.as_slice() else {
        panic!("{results:?}");
    };
    assert!(matches!(fifo, Err(error @ HashError::Open(_)) if !error.is_missing()));
    assert!(matches!(missing, Err(error) if error.is_missing()));
    assert!(weights.is_ok());
}

/// The kernel grants a lease beside whoever made it and can write to it.
#[test]
fn memory_without_a_name_is_vouched_for_only_when_it_is_sealed() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut memory = File::from(memfd_create("model", flags).unwrap());
    memory.write_all(b"a model").unwrap();
    let assurance = || {
        let again = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let target = Target {
            contents: Contents::Open(File::open(again).unwrap()),
            algorithm: Algorithm::Sha256,
            shard_size: None,
            size_hint: 0,
        };
        let hashed = run(&[target], &leases()).pop().unwrap().unwrap();
        assert_eq!(hashed.pieces[0].digest.hex(), sha256(b"a model"));
        (hashed.assurance.guarantee, hashed.assurance.reason)
    };
    assert_eq!(assurance(), (Guarantee::Unstable, Reason::Nameless));
    fcntl_add_seals(&memory, SealFlags::WRITE).unwrap();
    assert_eq!(assurance(), (Guarantee::Leased, Reason::Lease));
}
