//! `tracer verify` and `tracer sign`, the real binary on real files; none of these needs root.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
use rustix::{
    fs::{Advice, FileType, Mode},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tempfile::TempDir;
use tracer_probe::model_file::Residency;

/// A digest that no file here has.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// On a loaded machine; the kernel ends a lease by itself after 45 seconds, and hashing takes as long.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A folder with a key pair and a model of three files.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        };
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("keys can be made");
        fs::write(bench.path("key.pem"), pair.serialize_pem()).expect("the folder is ours");
        fs::write(bench.path("key.pub"), pair.public_key_pem()).expect("the folder is ours");
        fs::create_dir_all(bench.path("model/sub")).expect("the folder is ours");
        for name in ["config.json", "sub/weights.bin", "a b.txt"] {
            bench.write(name, name.as_bytes());
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self, name: &str) -> PathBuf {
        self.path("model").join(name)
    }

    fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.model(name), contents).expect("the folder is ours");
    }

    fn tracer(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn sign(&self, more: &[&str]) {
        let mut arguments = vec!["sign", "model", "--key", "key.pem", "--bundle", "b.sig"];
        arguments.extend(more);
        let said = self.tracer(&arguments);
        assert_eq!(said.status, Some(0), "{said:?}");
    }

    fn verify(&self, more: &[&str]) -> Said {
        let mut arguments = vec![
            "verify",
            "model",
            "--bundle",
            "b.sig",
            "--public-key",
            "key.pub",
        ];
        arguments.extend(more);
        self.tracer(&arguments)
    }

    /// A file without data that takes seconds to hash, and a list that names it.
    fn large(&self, bytes: u64) -> PathBuf {
        fs::create_dir(self.path("large")).expect("the folder is ours");
        let path = self.path("large/weights");
        let file = File::create(&path).expect("the folder is ours");
        file.set_len(bytes).expect("holes take no room");
        fs::write(self.path("sums"), format!("{NO_DIGEST}  weights\n")).expect("it is ours");
        path
    }

    /// Begins to hash that file and waits until it is held by a lease, which is before its first byte.
    fn hashing(&self) -> Child {
        let child = self
            .command(&["verify", "large", "--sha256sums", "sums"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary that cargo built can be run");
        let inode = fs::metadata(self.path("large/weights"))
            .expect("it is ours")
            .ino();
        let start = Instant::now();
        while !is_leased(inode) {
            assert!(start.elapsed() < PATIENCE, "{inode} is not leased");
            thread::sleep(Duration::from_millis(10));
        }
        child
    }
}

/// Whether somebody, tracer or its keeper, holds a lease on a file: a line of `/proc/locks` is `1: LEASE
/// ACTIVE READ PID MAJOR:MINOR:INODE 0 EOF`.
fn is_leased(inode: u64) -> bool {
    let inode = inode.to_string();
    let locks = fs::read_to_string("/proc/locks").expect("the kernel lists locks");
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"LEASE")
            && words.get(5).and_then(|file| file.rsplit(':').next()) == Some(inode.as_str())
    })
}

#[derive(Debug)]
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(mut command: Command) -> Self {
        let output = command.output();
        output
            .expect("the binary that cargo built can be run")
            .into()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("tracer writes UTF-8");
        Self {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

#[test]
fn a_signed_model_verifies_until_a_byte_of_it_changes() {
    let bench = Bench::new();
    for form in [
        &[][..],
        &["--hash=blake2b"],
        &["--hash=blake3"],
        &["--shards"],
        &["--shards=5", "--hash=blake3"],
        &["--shards=5", "--reference-names"],
    ] {
        bench.sign(form);
        let said = bench.verify(&[]);
        assert_eq!(said.status, Some(0), "{form:?}: {said:?}");
        assert!(said.out.starts_with("verified  model: 3 files"), "{said:?}");
        bench.write("sub/weights.bin", b"sub/weights.bIn");
        let said = bench.verify(&[]);
        assert_eq!(said.status, Some(1), "{form:?}: {said:?}");
        assert!(said.out.contains("sub/weights.bin"), "{said:?}");
        bench.write("sub/weights.bin", b"sub/weights.bin");
    }
}

#[test]
fn a_bundle_inside_the_model_does_not_count_as_a_file_of_it() {
    let bench = Bench::new();
    let key = ["--key", "key.pem", "--bundle", "model/model.sig"];
    let said = bench.tracer(&[&["sign", "model"][..], &key].concat());
    assert_eq!(said.status, Some(0), "{said:?}");
    let verify = ["verify", "model", "--bundle", "model/model.sig"];
    let said = bench.tracer(&[&verify[..], &["--public-key", "key.pub"]].concat());
    assert_eq!(said.status, Some(0), "{said:?}");
}

#[test]
fn what_nobody_vouches_for_is_named_and_devices_are_never_opened() {
    let bench = Bench::new();
    bench.sign(&[]);
    symlink("config.json", bench.model("link")).expect("the folder is ours");
    let (fifo, mode) = (bench.model("fifo"), Mode::RUSR | Mode::WUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, mode, 0).expect("it is ours");
    // Opened for reading, the FIFO would hold the run up for ever.
    let said = bench.verify(&[]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(
        said.out
            .contains("a FIFO, socket or device that nobody vouches for"),
        "{said:?}"
    );
    assert!(
        said.out.contains("a symbolic link that nobody vouches for"),
        "{said:?}"
    );
    assert_eq!(bench.verify(&["--ignore-unsigned-files"]).status, Some(0));
    let ignored = ["--ignore-paths", "model/fifo", "--ignore-paths", "link"];
    assert_eq!(bench.verify(&ignored).status, Some(0));
    let sign = bench.tracer(&["sign", "model", "--key", "key.pem", "--bundle", "c.sig"]);
    assert_eq!(sign.status, Some(2), "{sign:?}");
    assert!(!bench.path("c.sig").exists());
}

#[test]
fn the_result_for_programs_is_an_in_toto_statement() {
    let bench = Bench::new();
    bench.sign(&[]);
    let said = bench.verify(&["-o", "json"]);
    let statement: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        statement["predicateType"],
        "https://in-toto.io/attestation/svr/v0.2"
    );
    assert_eq!(
        statement["predicate"]["properties"][0],
        "TRACER_MODEL_VERIFIED"
    );
    assert_eq!(statement["subject"].as_array().map(Vec::len), Some(4));

    bench.write("config.json", b"changed");
    let said = bench.verify(&["-o", "json"]);
    let statement: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(statement["predicate"]["properties"], serde_json::json!([]));
    assert_eq!(statement["predicate"]["tracer_outcome"], "not verified");

    fs::write(bench.path("b.sig"), "{}").expect("it is ours");
    let said = bench.verify(&["-o", "json"]);
    assert_eq!(said.status, Some(1), "{said:?}");
    let statement: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert!(
        statement["predicate"]["tracer_refusal"].is_string(),
        "{statement}"
    );
}

#[test]
fn what_cannot_be_read_ends_with_status_2_and_names_itself() {
    let bench = Bench::new();
    bench.sign(&[]);
    for (arguments, named) in [
        (
            vec![
                "verify",
                "model",
                "--bundle",
                "gone.sig",
                "--public-key",
                "key.pub",
            ],
            "gone.sig",
        ),
        (
            vec![
                "verify",
                "gone",
                "--bundle",
                "b.sig",
                "--public-key",
                "key.pub",
            ],
            "gone",
        ),
        (
            vec![
                "verify",
                "model",
                "--bundle",
                "b.sig",
                "--public-key",
                "key.pem",
            ],
            "PUBLIC KEY",
        ),
        (
            vec![
                "verify",
                "model",
                "--bundle",
                "b.sig",
                "--cert-chain",
                "key.pub",
            ],
            "CERTIFICATE",
        ),
        (vec!["verify", "model", "--sha256sums", "b.sig"], "line 1"),
        (vec!["verify", "model", "--auto"], "no store"),
        (
            vec!["sign", "model", "--key", "key.pub", "--bundle", "x"],
            "PRIVATE KEY",
        ),
        (
            vec!["sign", "/dev/null", "--key", "key.pem", "--bundle", "x"],
            "neither a file",
        ),
        (
            vec!["sign", "model", "--key", "key.pem", "--bundle", "no/x"],
            "no/x",
        ),
        (vec!["lease-keeper"], "socket"),
    ] {
        let said = bench.tracer(&arguments);
        assert_eq!(said.status, Some(2), "{arguments:?}: {said:?}");
        assert!(said.err.contains(named), "{arguments:?}: {said:?}");
    }
}

#[test]
fn the_conformance_suites_command_line_signs_and_verifies() {
    let bench = Bench::new();
    let model = bench.path("model").display().to_string();
    let ignored = bench.model("a b.txt").display().to_string();
    let sign = [
        "sign-model",
        "--method",
        "key",
        "--model-path",
        &model,
        "--output-bundle",
        "s.sig",
        "--private-key",
        "key.pem",
        "--ignore-paths",
        &ignored,
    ];
    assert_eq!(bench.tracer(&sign).status, Some(0));
    let verify = [
        "verify-model",
        "--method",
        "key",
        "--model-path",
        &model,
        "--bundle",
        "s.sig",
        "--public-key",
        "key.pub",
    ];
    assert_eq!(
        bench.tracer(&verify).status,
        Some(0),
        "the bundle says what is left out"
    );
    bench.write("injected.bin", b"");
    assert_eq!(bench.tracer(&verify).status, Some(1));
    let lenient = [&verify[..], &["--ignore-unsigned-files"]].concat();
    assert_eq!(bench.tracer(&lenient).status, Some(0));
}

#[test]
fn a_list_by_sha256sum_verifies_a_folder_and_a_file() {
    let bench = Bench::new();
    let list = Command::new("sh")
        .args(["-c", "find . -type f -exec sha256sum {} + > ../sums"])
        .current_dir(bench.path("model"))
        .status();
    assert!(list.expect("sha256sum is there").success());
    for model in ["model", "model/sub/weights.bin"] {
        let said = bench.tracer(&["verify", model, "--sha256sums", "sums"]);
        assert_eq!(said.status, Some(0), "{said:?}");
    }
    bench.write("sub/weights.bin", b"other");
    for model in ["model", "model/sub/weights.bin"] {
        let said = bench.tracer(&["verify", model, "--sha256sums", "sums"]);
        assert_eq!(said.status, Some(1), "{said:?}");
    }
}

#[test]
fn a_file_that_somebody_has_open_for_writing_is_never_verified() {
    let bench = Bench::new();
    bench.sign(&[]);
    let _writer = OpenOptions::new()
        .append(true)
        .open(bench.model("config.json"));
    let said = bench.verify(&[]);
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.out.starts_with("undetermined"), "{said:?}");
    assert!(
        said.out.contains("G0: it is open or mapped for writing"),
        "{said:?}"
    );
}

/// A store through a mapping that was made before changes neither size nor times.
#[test]
fn a_file_that_is_only_mapped_for_writing_is_never_verified() {
    const MAP: &str = "
import mmap, sys
with open(sys.argv[1], 'r+b') as file:
    memory = mmap.mmap(file.fileno(), 0)
memory[0] = memory[0]
print('mapped', flush=True)
sys.stdin.read()
";
    let bench = Bench::new();
    bench.sign(&[]);
    let mut mapper = Command::new("python3")
        .args(["-c", MAP])
        .arg(bench.model("config.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut mapped = [0; 7];
    let out = mapper.stdout.as_mut().expect("it was piped");
    std::io::Read::read_exact(out, &mut mapped).expect("it says so");
    let said = bench.verify(&[]);
    drop(mapper.stdin.take());
    mapper.wait().expect("it is ours");
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(
        said.out.contains("G0: it is open or mapped for writing"),
        "{said:?}"
    );
    assert_eq!(bench.verify(&[]).status, Some(0));
}

#[test]
fn a_writer_that_comes_while_a_file_is_hashed_does_not_wait_for_its_end() {
    let bench = Bench::new();
    let path = bench.large(16 << 30);
    let hashing = bench.hashing();
    let waited = wait_to_write(&path);
    assert!(waited < AT_ONCE, "{waited:?}");
    interrupt(hashing);
}

#[test]
fn a_writer_ends_the_guarantee_of_what_is_being_hashed() {
    let bench = Bench::new();
    let path = bench.large(2 << 30);
    let right = Command::new("sh")
        .args(["-c", "sha256sum large/weights | sed 's,large/,,' > sums"])
        .current_dir(bench.folder.path())
        .status();
    assert!(right.expect("sha256sum is there").success());
    let hashing = bench.hashing();
    drop(
        OpenOptions::new()
            .append(true)
            .open(path)
            .expect("it is ours"),
    );
    let said = Said::from(hashing.wait_with_output().expect("it is ours"));
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(
        said.out
            .contains("opened for writing or truncated while it was hashed"),
        "{said:?}"
    );
    let said = bench.tracer(&["verify", "large", "--sha256sums", "sums"]);
    assert_eq!(said.status, Some(0), "{said:?}");
}

#[test]
fn a_stopped_tracer_holds_a_writer_up_for_a_moment_only() {
    let bench = Bench::new();
    let path = bench.large(16 << 30);
    let hashing = bench.hashing();
    signal(&hashing, Signal::STOP);
    let waited = wait_to_write(&path);
    assert!(waited < AT_ONCE, "{waited:?}");
    signal(&hashing, Signal::CONT);
    interrupt(hashing);
}

#[test]
fn a_stopped_lease_keeper_holds_nobody_up_and_nothing_is_left_of_a_killed_tracer() {
    let bench = Bench::new();
    let path = bench.large(16 << 30);
    let hashing = bench.hashing();
    let keeper = keeper_of(&hashing);
    kill_process(keeper, Signal::STOP).expect("it is there");
    let waited = wait_to_write(&path);
    assert!(waited < AT_ONCE, "{waited:?}");
    kill_process(keeper, Signal::CONT).expect("it is there");
    interrupt(hashing);

    let hashing = bench.hashing();
    let keeper = keeper_of(&hashing);
    signal(&hashing, Signal::KILL);
    let waited = wait_to_write(&path);
    assert!(waited < AT_ONCE, "{waited:?}");
    let start = Instant::now();
    while rustix::process::test_kill_process(keeper).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the keeper outlives its tracer");
        thread::sleep(Duration::from_millis(10));
    }
    let mut hashing = hashing;
    hashing.wait().expect("it is ours");
}

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

fn wait_to_write(path: &Path) -> Duration {
    let start = Instant::now();
    drop(
        OpenOptions::new()
            .append(true)
            .open(path)
            .expect("it is ours"),
    );
    start.elapsed()
}

fn keeper_of(child: &Child) -> Pid {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let children = fs::read_to_string(children).expect("the kernel lists children");
    let keeper = children
        .split_whitespace()
        .next()
        .and_then(|pid| pid.parse().ok());
    keeper.and_then(Pid::from_raw).expect("it has a keeper")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is there");
}

fn interrupt(mut child: Child) {
    assert!(
        child.try_wait().expect("it is ours").is_none(),
        "it ended before it was needed"
    );
    signal(&child, Signal::INT);
    child.wait().expect("it is ours");
}

/// A real keyless signature of model-signing, and its model: `tracer-user/integrity/vectors/sigstore`.
#[test]
fn a_keyless_signature_is_verified_against_a_trusted_root() {
    let bench = Bench::new();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../integrity/vectors/sigstore");
    let (bundle, root) = (
        format!("{vectors}/model-v1.0.1.sig"),
        format!("{vectors}/trusted_root.json"),
    );
    let model = bench.path("keyless");
    fs::create_dir(&model).expect("the folder is ours");
    for name in ["signme-1", "signme-2"] {
        fs::write(model.join(name), name).expect("the folder is ours");
    }
    let model = model.display().to_string();
    let provider = "https://sigstore.verify.ibm.com/oauth2";
    let verify = |identity: &str| {
        let whom = ["--identity", identity, "--identity-provider", provider];
        let what = [
            "verify",
            &model,
            "--bundle",
            &bundle,
            "--trusted-root",
            &root,
        ];
        Said::of(bench.command(&[&what[..], &whom[..]].concat()))
    };
    let good = verify("stefanb@us.ibm.com");
    assert_eq!(good.status, Some(0), "{good:?}");
    let signer = "signed by      stefanb@us.ibm.com (https://sigstore.verify.ibm.com/oauth2), log entry \
                  588939812 of 2025-10-07T15:33:48Z";
    assert!(good.out.contains(signer), "{good:?}");

    let other = verify("mallory@us.ibm.com");
    assert_eq!(other.status, Some(1), "{other:?}");
    let reason = "the signer is stefanb@us.ibm.com, and not mallory@us.ibm.com";
    assert!(other.out.contains(reason), "{other:?}");

    fs::write(bench.path("keyless/signme-2"), "signme-3").expect("the folder is ours");
    let changed = verify("stefanb@us.ibm.com");
    assert_eq!(changed.status, Some(1), "{changed:?}");
}
