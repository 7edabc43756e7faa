//! What hashing takes of the memory, and leaves of the page cache to a server.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::Advice;
use tracer_probe::model_file::Residency;

use crate::{Bench, NO_DIGEST};

#[test]
fn hashing_leaves_the_page_cache_and_little_memory_behind() {
    const SIZE: u64 = 96 << 20;
    let bench = Bench::new();
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("the source is ours");
    let path = folder.path().join("weights");
    let file = File::create_new(&path).expect("the folder is ours");
    let block: Vec<u8> = (0..1 << 20).map(|n: u32| (n >> 3) as u8).collect();
    // Data, a hole, data.
    for at in (0..SIZE)
        .step_by(1 << 20)
        .filter(|at| !(40 << 20..60 << 20).contains(at))
    {
        file.write_all_at(&block, at).expect("the disk has room");
    }
    file.sync_all().expect("the disk works");
    // Like a server that has touched parts of its model.
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("it is a file");
    rustix::fs::fadvise(&file, 0, None, Advice::Random).expect("it is a file");
    let reader = File::open(&path).expect("it is ours");
    rustix::fs::fadvise(&reader, 0, None, Advice::Random).expect("it is a file");
    let mut touched = vec![0; 3 << 20];
    for at in [1_u64 << 20, 30 << 20, 70 << 20] {
        reader
            .read_exact_at(&mut touched, at)
            .expect("it is that long");
    }
    let before = resident(&path, SIZE);
    fs::write(bench.path("sums"), format!("{NO_DIGEST}  weights\n")).expect("it is ours");
    let model = folder.path().display().to_string();
    let said = bench.tracer(&["verify", &model, "--sha256sums", "sums"]);
    assert_eq!(said.status, Some(1), "{said:?}");
    let after = resident(&path, SIZE);
    let cached = before.iter().filter(|page| **page).count();
    let moved = std::iter::zip(&before, &after)
        .filter(|(a, b)| a != b)
        .count();
    assert!(
        cached > 0 && moved * 20 < cached,
        "{moved} of {cached} cached pages moved"
    );
}

#[test]
fn many_large_files_take_less_than_64_mib_of_memory() {
    let bench = Bench::new();
    fs::create_dir(bench.path("large")).expect("the folder is ours");
    let mut sums = String::new();
    for number in 0..32 {
        let file = File::create(bench.path(&format!("large/{number}"))).expect("it is ours");
        file.set_len(64 << 20).expect("holes take no room");
        sums.push_str(&format!("{NO_DIGEST}  {number}\n"));
    }
    fs::write(bench.path("sums"), sums).expect("the folder is ours");
    let mut hashing = bench
        .command(&["verify", "large", "--sha256sums", "sums", "--jobs", "16"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary that cargo built can be run");
    let most = peak_until_the_end(&mut hashing);
    assert!((1..64 << 10).contains(&most), "{most} KiB");
}

/// Holes of 19 GiB in all, and 1 GiB of data between them, half of which a server has in memory.
#[test]
fn twenty_gigabytes_are_verified_in_little_memory_beside_a_server() {
    const SIZE: u64 = 20 << 30;
    const PIECES: u64 = 64;
    if std::env::var_os("TRACER_FULL").is_none() {
        println!("not run: it takes a minute and a gigabyte; TRACER_FULL=1 runs it");
        return;
    }
    let bench = Bench::new();
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("the source is ours");
    let path = folder.path().join("weights");
    let file = File::create_new(&path).expect("the folder is ours");
    file.set_len(SIZE).expect("holes take no room");
    let places = (0..PIECES).map(|piece| piece * (SIZE / PIECES));
    for at in places.clone() {
        let piece: Vec<u8> = (0..16 << 20)
            .map(|n: u64| ((n >> 3) ^ (at >> 20)) as u8)
            .collect();
        file.write_all_at(&piece, at).expect("the disk has room");
    }
    file.sync_all().expect("the disk works");
    let sums = Command::new("sha256sum")
        .arg("weights")
        .current_dir(folder.path())
        .output();
    let sums = sums.expect("coreutils has it").stdout;
    fs::write(bench.path("sums"), sums).expect("it is ours");
    for advice in [Advice::DontNeed, Advice::Random] {
        rustix::fs::fadvise(&file, 0, None, advice).expect("it is a file");
    }
    let reader = File::open(&path).expect("it is ours");
    rustix::fs::fadvise(&reader, 0, None, Advice::Random).expect("it is a file");
    let mut touched = vec![0; 8 << 20];
    for at in places {
        reader
            .read_exact_at(&mut touched, at)
            .expect("it is that long");
    }
    drop(file);
    let before = resident(&path, SIZE);
    let model = folder.path().display().to_string();
    let start = Instant::now();
    let mut hashing = bench
        .command(&["verify", &model, "--sha256sums", "sums"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary that cargo built can be run");
    let most = peak_until_the_end(&mut hashing);
    let took = start.elapsed();
    let status = hashing.wait().expect("it is ours");
    assert_eq!(status.code(), Some(0));
    let after = resident(&path, SIZE);
    let cached = before.iter().filter(|page| **page).count();
    let moved = std::iter::zip(&before, &after)
        .filter(|(a, b)| a != b)
        .count();
    println!("{most} KiB resident at most, {moved} of {cached} cached pages moved, {took:.1?}");
    assert!((1..64 << 10).contains(&most), "{most} KiB");
    assert!(
        cached > 100_000 && moved * 20 < cached,
        "{moved} of {cached} cached pages moved"
    );
}

/// The most memory that a process had resident, in KiB.
fn peak_until_the_end(process: &mut Child) -> u64 {
    let mut most = 0;
    while process.try_wait().expect("it is ours").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id()));
        let peak = status.unwrap_or_default().lines().find_map(|line| {
            let kib = line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?;
            kib.parse::<u64>().ok()
        });
        most = most.max(peak.unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    }
    most
}

fn resident(path: &Path, size: u64) -> Vec<bool> {
    let file = File::open(path).expect("it is ours");
    let residency = Residency::of(&file, size).expect("it can be mapped");
    let mut pages = Vec::new();
    residency.pages(0..size, &mut pages).expect("it is ours");
    pages
}
