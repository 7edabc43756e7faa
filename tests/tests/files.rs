//! Every way to get at a watched file, against each way to see it. Needs root and BPF.
//!
//! The names are those of the list of ways around an auditor (A name and identity, B the open path, C
//! content, D the sensor). A case runs `workloads/accesses.c`, and the access has to be told with the
//! right inode and process. What a tier misses must be among the blind spots that it names itself.
//!
//! Not staged, because no program can: changes below the file system (A raw device under a mounted
//! file system, C25), DAX (C30), hot-unplugged CPUs and pages of 64 KiB (D36), another program with
//! `bpf_probe_write_user` (D33). Of verdicts: C24 and C26 to C29 are tests of `tracer verify`
//! (`tracer-user/cli/tests/integrity/writers.rs`).

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tracer_event::Recorded;
use tracer_event::{
    Body, Known, LossReason,
    file::{FileAccess, FileAct, FilesWatched},
};
use tracer_tests::{
    cache::Cache,
    requires_root,
    tracer::{self, Line},
    workload::Target,
};

/// How long an access may take to be told, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one is waited for that the tracer may be blind to.
const GLANCE: Duration = Duration::from_secs(2);
const SKIPPED: i32 = 77;
const TMPFS: i64 = 0x0102_1994;

const OPENED: &[FileAct] = &[FileAct::Opened, FileAct::OpenedSomehow];
const READ: &[FileAct] = &[FileAct::Read];
const WRITTEN: &[FileAct] = &[FileAct::Written, FileAct::Truncated];
const OPENED_TO_WRITE: &[FileAct] = &[FileAct::OpenedForWriting, FileAct::ClosedForWriting];

/// A tracer that watches a folder, shared by the cases of one process.
struct Watching {
    _stdin: ChildStdin,
    _child: Child,
    incoming: mpsc::Receiver<Line>,
    seen: Vec<Line>,
    watched: FilesWatched<Recorded>,
    root: TempDir,
}

/// A case's own folder below the watched one, and one that is not watched.
struct Bench<'a> {
    watching: &'a mut Watching,
    cache: Cache,
    file: PathBuf,
    inode: u64,
    elsewhere: TempDir,
}

fn watching(tier: &'static str) -> Result<Watching> {
    let root = tempfile::tempdir()?;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
    Watching::start(tier, root)
}

impl Watching {
    fn start(tier: &str, root: TempDir) -> Result<Self> {
        let cache = Cache::open()?;
        // It ends with this process, whatever becomes of that.
        let mut child = Target::Accesses
            .command(&cache, &["under"])?
            .arg(tracer::binary()?)
            .args(["files", "--tier", tier, "-o", "ndjson", "--watch"])
            .arg(root.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("it has standard input")?;
        let incoming = tracer::lines(&mut child)?;
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line: Line = incoming
                .recv_timeout(left)
                .context("the tracer does not say what it watches")?;
            if let Body::FilesWatched(watched) = &line.body {
                let watched = (**watched).clone();
                return Ok(Self {
                    _stdin: stdin,
                    _child: child,
                    incoming,
                    seen,
                    watched,
                    root,
                });
            }
            seen.push(line);
        }
    }

    /// Waits until an access is told that is as wanted.
    fn until(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Line, &FileAccess<Recorded>) -> bool,
    ) -> Result<FileAccess<Recorded>> {
        let deadline = Instant::now() + patience;
        let mut from = 0;
        loop {
            for line in &self.seen[from..] {
                if let Body::FileAccess(access) = &line.body
                    && wanted(line, access)
                {
                    return Ok((**access).clone());
                }
            }
            from = self.seen.len();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.incoming.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => bail!("{what} was not told"),
            }
        }
    }

    /// How many accesses the tracer says that it missed.
    fn missed(&self) -> u64 {
        self.seen
            .iter()
            .filter_map(|line| match &line.body {
                Body::Loss(loss) if loss.reason == LossReason::FileMissed => Some(loss.count),
                _ => None,
            })
            .sum()
    }

    fn is_blind_to(&self, spot: &str) -> bool {
        self.watched
            .blind_spots
            .iter()
            .any(|known| known.as_str() == spot)
    }
}

impl Bench<'_> {
    /// Runs the program in one way, and says which process that was and what it printed. `None` where
    /// there is no such way here.
    fn go(&self, way: &str, other: Option<&Path>) -> Result<Option<(u32, String)>> {
        let mut command = Target::Accesses.command(&self.cache, &[way])?;
        command.arg(&self.file).args(other).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let pid = child.id();
        let mut said = String::new();
        child
            .stdout
            .take()
            .context("it has standard output")?
            .read_to_string(&mut said)?;
        let status = child.wait()?;
        match status.code() {
            Some(0) => Ok(Some((pid, said))),
            Some(SKIPPED) => {
                eprintln!("not staged: this host has no way `{way}`");
                Ok(None)
            }
            _ => bail!("`{way}` went wrong: {status}"),
        }
    }

    fn elsewhere(&self, name: &str) -> PathBuf {
        self.elsewhere.path().join(name)
    }

    /// Each of these has to be told of the file, by this process.
    fn told(&mut self, pid: u32, groups: &[&[FileAct]]) -> Result<Vec<FileAccess<Recorded>>> {
        let inode = self.inode;
        groups
            .iter()
            .map(|group| {
                self.watching
                    .until(&format!("{group:?}"), PATIENCE, |line, access| {
                        line.place.pid.is_some_and(|seen| seen.0 == pid)
                            && access.inode.inode == inode
                            && group.contains(&access.act)
                    })
            })
            .collect()
    }

    /// The common case: run in one way, and both the open and the read are told.
    fn opens_and_reads(&mut self, way: &str, other: Option<&Path>) -> Result<()> {
        let Some((pid, _)) = self.go(way, other)? else {
            return Ok(());
        };
        self.told(pid, &[OPENED, READ]).map(drop)
    }

    fn is_on_tmpfs(&self) -> bool {
        rustix::fs::statfs(&self.file).is_ok_and(|system| system.f_type == TMPFS)
    }
}

fn run(tier: &'static str, name: &str, case: fn(&mut Bench<'_>) -> Result<()>) -> Result<()> {
    static SHARED: LazyLock<Mutex<HashMap<&'static str, Watching>>> = LazyLock::new(Mutex::default);
    requires_root!();
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if !shared.contains_key(tier) {
        shared.insert(tier, watching(tier)?);
    }
    let watching = shared.get_mut(tier).context("it was put in above")?;
    let before = watching.missed();
    let done = once(watching, name, case);
    // Every access is told, or that one was missed: then the case is tried once more.
    let missed = watching.missed() > before && watching.is_blind_to("preempted");
    match done {
        Err(error) if missed => {
            eprintln!("again: {error:#}, and that something was missed was told");
            once(watching, &format!("{name}-again"), case)
        }
        done => done,
    }
}

fn once(watching: &mut Watching, name: &str, case: fn(&mut Bench<'_>) -> Result<()>) -> Result<()> {
    let folder = watching.root.path().join(name);
    fs::create_dir(&folder)?;
    let file = folder.join("model.bin");
    fs::write(&file, vec![0x5a; 65_536])?;
    // What is dirty already would not be told to become so.
    fs::File::open(&file)?.sync_all()?;
    let metadata = fs::metadata(&file)?;
    let inode = metadata.ino();
    watching.until("the new file", PATIENCE, |_, access| {
        access.inode.inode == inode && access.act == FileAct::Created
    })?;
    let mut bench = Bench {
        watching,
        cache: Cache::open()?,
        file,
        inode,
        elsewhere: tempfile::tempdir()?,
    };
    case(&mut bench)
}

/// Each case as a test of each tier. Those with hooks run in guests, whose kernels let programs into
/// them.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        cases!(@tier lsm, #[ignore = "runs in guests"], $($name),*);
        cases!(@tier fentry, #[ignore = "runs in guests"], $($name),*);
        cases!(@tier kprobe, #[ignore = "runs in guests"], $($name),*);
        cases!(@tier tracepoint, #[cfg(all())], $($name),*);
    };
    (@tier $tier:ident, $(#[$attribute:meta])*, $($name:ident),*) => {
        cases!(@module $tier, [$(#[$attribute])*], $($name),*);
    };
    (@module $tier:ident, $attributes:tt, $($name:ident),*) => {
        mod $tier {
            $(cases!(@test $tier, $attributes, $name);)*
        }
    };
    (@test $tier:ident, [$(#[$attribute:meta])*], $name:ident) => {
        #[test]
        $(#[$attribute])*
        fn $name() -> anyhow::Result<()> {
            super::run(stringify!($tier), stringify!($name), super::$name)
        }
    };
}

cases! {
    a1_another_name_is_the_same_inode,
    a2_a_link_that_is_swapped_leads_to_the_file_that_is_read,
    a3_a_bind_mount_in_another_namespace_is_the_same_inode,
    a4_a_file_under_an_overlay_is_its_real_inode,
    a5_a_replaced_file_is_told,
    a6_a_file_is_watched_after_its_last_name_is_gone,
    a7_descriptors_and_mappings_opened_again_through_proc_are_opens,
    a8_relative_and_rooted_opens_are_opens,
    a9_a_name_that_looks_the_same_is_another_inode,
    a10_a_copy_reads_the_original,
    a11_a_reused_descriptor_number_is_not_mistaken,
    b12_an_open_by_handle_is_an_open,
    b13_a_descriptor_without_rights_opened_again_is_an_open,
    b14_io_uring_is_the_submitter,
    b15_a_descriptor_that_was_passed_on_is_told_by_its_use,
    b17_every_system_call_that_reads_is_a_read,
    b18_a_32_bit_call_is_an_open,
    c19_a_mapping_that_is_only_read_is_told,
    c21_a_store_through_a_mapping_is_a_writer,
    c22_a_write_whose_time_is_set_back_is_told,
    c23_a_hole_and_a_truncation_change_bytes,
    c30_direct_reads_are_reads,
    d31_a_flood_of_opens_loses_nothing,
    d34_root_of_its_own_namespace_is_still_who_it_is,
    d35_the_executable_tells_and_not_the_name,
    d38_who_may_not_open_still_may_not,
    names_and_attributes_are_told,
}

fn a1_another_name_is_the_same_inode(bench: &mut Bench<'_>) -> Result<()> {
    let alias = bench.file.with_file_name("alias");
    bench.opens_and_reads("link", Some(&alias))
}

fn a2_a_link_that_is_swapped_leads_to_the_file_that_is_read(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("symlink", Some(&bench.elsewhere("link")))
}

fn a3_a_bind_mount_in_another_namespace_is_the_same_inode(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("bind", Some(&bench.elsewhere("mounted")))
}

/// Opened under the overlay's own inode; the layer's is read in the last tier, opened in the others.
fn a4_a_file_under_an_overlay_is_its_real_inode(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("overlay", Some(&bench.elsewhere("mounted")))? else {
        return Ok(());
    };
    let seen = bench.told(
        pid,
        &[&[FileAct::Opened, FileAct::OpenedSomehow, FileAct::Read]],
    );
    if seen.is_err() {
        ensure!(bench.watching.is_blind_to("overlay_layers"), "{seen:?}");
    }
    Ok(())
}

fn a5_a_replaced_file_is_told(bench: &mut Bench<'_>) -> Result<()> {
    let new = bench.file.with_file_name("new");
    fs::write(&new, b"other bytes")?;
    let inode = fs::metadata(&new)?.ino();
    let Some((pid, _)) = bench.go("replace", Some(&new))? else {
        return Ok(());
    };
    let by = |line: &Line| line.place.pid.is_some_and(|seen| seen.0 == pid);
    bench
        .watching
        .until("the rename", PATIENCE, |line, access| {
            by(line) && access.inode.inode == inode && access.act == FileAct::Renamed
        })?;
    Ok(())
}

fn a6_a_file_is_watched_after_its_last_name_is_gone(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("unlink", None)? else {
        return Ok(());
    };
    bench
        .told(pid, &[OPENED, READ, &[FileAct::Unlinked]])
        .map(drop)
}

fn a7_descriptors_and_mappings_opened_again_through_proc_are_opens(
    bench: &mut Bench<'_>,
) -> Result<()> {
    bench.opens_and_reads("proc", None)?;
    bench.opens_and_reads("map-files", None)
}

fn a8_relative_and_rooted_opens_are_opens(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("openat2", None)?;
    bench.opens_and_reads("chroot", None)
}

fn a9_a_name_that_looks_the_same_is_another_inode(bench: &mut Bench<'_>) -> Result<()> {
    // A Cyrillic letter, and bytes that are no text at all.
    let lookalike = bench.file.with_file_name("m\u{43e}del.bin");
    fs::write(&lookalike, b"not the model")?;
    let first = std::mem::replace(&mut bench.file, lookalike.clone());
    let inode = std::mem::replace(&mut bench.inode, fs::metadata(&lookalike)?.ino());
    bench.opens_and_reads("read", None)?;
    bench.file = first;
    bench.inode = inode;
    Ok(())
}

fn a10_a_copy_reads_the_original(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("copy", Some(&bench.elsewhere("copy")))
}

fn a11_a_reused_descriptor_number_is_not_mistaken(bench: &mut Bench<'_>) -> Result<()> {
    let decoy = bench.file.with_file_name("decoy");
    fs::write(&decoy, b"decoy")?;
    let decoy_inode = fs::metadata(&decoy)?.ino();
    let Some((pid, _)) = bench.go("reuse", Some(&decoy))? else {
        return Ok(());
    };
    bench.told(pid, &[OPENED, READ])?;
    let read_the_decoy = bench.watching.seen.iter().any(|line| {
        line.place.pid.is_some_and(|seen| seen.0 == pid)
            && matches!(&line.body, Body::FileAccess(access)
                if access.inode.inode == decoy_inode && access.act == FileAct::Read)
    });
    ensure!(!read_the_decoy, "the decoy was only opened");
    Ok(())
}

fn b12_an_open_by_handle_is_an_open(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("handle", None)
}

fn b13_a_descriptor_without_rights_opened_again_is_an_open(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("path-only", None)
}

fn b14_io_uring_is_the_submitter(bench: &mut Bench<'_>) -> Result<()> {
    for way in ["uring", "uring-polled", "uring-direct"] {
        bench.opens_and_reads(way, None)?;
    }
    Ok(())
}

fn b15_a_descriptor_that_was_passed_on_is_told_by_its_use(bench: &mut Bench<'_>) -> Result<()> {
    for way in ["passed", "taken"] {
        if let Some((_, said)) = bench.go(way, None)? {
            let reader = said.trim().parse().context("it prints who reads")?;
            bench.told(reader, &[READ])?;
            let is_blind = bench.watching.is_blind_to("passed_descriptors");
            ensure!(
                bench.is_told(reader, &[FileAct::Received], is_blind) != is_blind,
                "{way}: that the descriptor was received was told: {is_blind}"
            );
        }
    }
    if let Some((pid, _)) = bench.go("inherited", None)? {
        bench.told(pid, &[OPENED, READ])?;
    }
    Ok(())
}

impl Bench<'_> {
    /// Whether one of `acts` is told. Where it need not be, nobody waits for it for long.
    fn is_told(&mut self, pid: u32, acts: &[FileAct], is_blind: bool) -> bool {
        let inode = self.inode;
        let patience = if is_blind { GLANCE } else { PATIENCE };
        let told = self.watching.until("it", patience, |line, access| {
            line.place.pid.is_some_and(|seen| seen.0 == pid)
                && access.inode.inode == inode
                && acts.contains(&access.act)
        });
        told.is_ok()
    }
}

fn b17_every_system_call_that_reads_is_a_read(bench: &mut Bench<'_>) -> Result<()> {
    for way in ["read", "preadv2"] {
        bench.opens_and_reads(way, None)?;
    }
    // Of these fanotify is not told everywhere, and outside the page cache nobody else is.
    for way in ["aio", "sendfile", "splice"] {
        let Some((pid, _)) = bench.go(way, None)? else {
            continue;
        };
        bench.told(pid, &[OPENED])?;
        let is_blind = bench.is_on_tmpfs() && bench.watching.is_blind_to("foreign_reads");
        ensure!(
            bench.is_told(pid, &[FileAct::Read], is_blind) || is_blind,
            "{way}: the read was not told"
        );
    }
    Ok(())
}

fn b18_a_32_bit_call_is_an_open(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("compat", None)
}

fn c19_a_mapping_that_is_only_read_is_told(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("map", None)? else {
        return Ok(());
    };
    bench.told(pid, &[OPENED])?;
    let is_blind = bench.watching.is_blind_to("mappings")
        || (bench.is_on_tmpfs() && bench.watching.is_blind_to("foreign_reads"));
    let mapped = bench.is_told(pid, &[FileAct::Mapped, FileAct::Touched], is_blind);
    ensure!(mapped || is_blind, "the mapping was not told");
    Ok(())
}

fn c21_a_store_through_a_mapping_is_a_writer(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("store", None)? else {
        return Ok(());
    };
    bench.told(pid, &[OPENED_TO_WRITE]).map(drop)
}

fn c22_a_write_whose_time_is_set_back_is_told(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("write-back-in-time", None)? else {
        return Ok(());
    };
    bench
        .told(pid, &[WRITTEN, &[FileAct::AttributesChanged]])
        .map(drop)
}

fn c23_a_hole_and_a_truncation_change_bytes(bench: &mut Bench<'_>) -> Result<()> {
    for way in ["punch", "truncate"] {
        if let Some((pid, _)) = bench.go(way, None)? {
            bench.told(pid, &[WRITTEN])?;
        }
    }
    Ok(())
}

fn c30_direct_reads_are_reads(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("direct", None)
}

fn d31_a_flood_of_opens_loses_nothing(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("many", None)? else {
        return Ok(());
    };
    bench.told(pid, &[OPENED])?;
    let inode = bench.inode;
    let exact = !bench.watching.is_blind_to("open_counts");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let opens: u64 = bench
            .watching
            .seen
            .iter()
            .filter(|line| line.place.pid.is_some_and(|seen| seen.0 == pid))
            .filter_map(|line| match &line.body {
                Body::FileAccess(access)
                    if access.inode.inode == inode && OPENED.contains(&access.act) =>
                {
                    Some(access.count)
                }
                _ => None,
            })
            .sum();
        let missed = bench.watching.missed();
        let is_blind = bench.watching.is_blind_to("preempted");
        if opens == 100_000
            || (!exact && opens > 0)
            || (is_blind && opens < 100_000 && opens + missed >= 100_000)
        {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{opens} of 100000 opens were told"
        );
        if let Ok(line) = bench.watching.incoming.recv_timeout(Duration::from_secs(1)) {
            bench.watching.seen.push(line);
        }
    }
    let losses: Vec<_> = bench
        .watching
        .seen
        .iter()
        .filter(|line| {
            matches!(&line.body, Body::Loss(loss)
                if loss.reason.loses_record() && loss.reason != LossReason::FileMissed)
        })
        .collect();
    ensure!(losses.is_empty(), "{losses:?}");
    Ok(())
}

fn d34_root_of_its_own_namespace_is_still_who_it_is(bench: &mut Bench<'_>) -> Result<()> {
    let mut command = Target::Accesses.command(&bench.cache, &["fake-root"])?;
    let mut child = command.arg(&bench.file).uid(65_534).gid(65_534).spawn()?;
    let pid = child.id();
    if child.wait()?.code() != Some(0) {
        eprintln!("not staged: this host makes no user namespaces");
        return Ok(());
    }
    let seen = bench.told(pid, &[READ])?;
    assert_eq!(seen[0].uid, Known::Known(65_534), "{seen:?}");
    Ok(())
}

fn d35_the_executable_tells_and_not_the_name(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("renamed-process", None)? else {
        return Ok(());
    };
    let program = Target::Accesses.command(&bench.cache, &[])?;
    let executable = fs::metadata(program.get_program())?.ino();
    let seen = bench.told(pid, &[READ])?;
    let known = seen[0].executable_inode.value().context("it is known")?;
    assert_eq!(known.inode, executable);
    assert_eq!(
        seen[0].parent.value().map(|parent| parent.0),
        Some(std::process::id())
    );
    Ok(())
}

fn d38_who_may_not_open_still_may_not(bench: &mut Bench<'_>) -> Result<()> {
    fs::set_permissions(&bench.file, fs::Permissions::from_mode(0o600))?;
    let mut command = Target::Accesses.command(&bench.cache, &["read"])?;
    let status = command
        .arg(&bench.file)
        .uid(65_534)
        .gid(65_534)
        .stderr(Stdio::null())
        .status()?;
    ensure!(!status.success(), "somebody else read a private file");
    bench.opens_and_reads("read", None)
}

fn names_and_attributes_are_told(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("mode", None)? else {
        return Ok(());
    };
    bench.told(pid, &[&[FileAct::AttributesChanged]])?;
    if let Some((pid, _)) = bench.go("extended", None)? {
        bench.told(pid, &[&[FileAct::AttributesChanged]])?;
    }
    let alias = bench.elsewhere("alias");
    if bench.go("link", Some(&alias)).is_ok() {
        let inode = bench.inode;
        bench
            .watching
            .until("the new name", PATIENCE, |_, access| {
                access.inode.inode == inode && access.act == FileAct::Linked
            })?;
    }
    Ok(())
}

/// B16: what was open or mapped before the tracer came is found.
#[test]
fn b16_who_has_the_file_already_is_found() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let root = tempfile::tempdir()?;
    let file = root.path().join("model.bin");
    fs::write(&file, vec![1; 8192])?;
    let mut holders = Vec::new();
    for (way, act) in [
        ("hold", FileAct::FoundOpen),
        ("hold-writable", FileAct::FoundOpenForWriting),
        ("hold-mapped", FileAct::FoundMapped),
    ] {
        let mut child = Target::Accesses
            .command(&cache, &[way])?
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("it has standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "holding\n", "{way} said {line:?}");
        holders.push((child, act));
    }
    let mut watching = Watching::start("tracepoint", root)?;
    let inode = fs::metadata(&file)?.ino();
    for (child, act) in &holders {
        watching.until(&format!("{act:?}"), PATIENCE, |line, access| {
            line.place.pid.is_some_and(|seen| seen.0 == child.id())
                && access.inode.inode == inode
                && access.act == *act
        })?;
    }
    for (mut child, _) in holders {
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(())
}

/// D32: nothing stays behind when the tracer is killed.
#[test]
fn d32_a_killed_tracer_leaves_the_files_alone() -> Result<()> {
    requires_root!();
    let root = tempfile::tempdir()?;
    let file = root.path().join("model.bin");
    fs::write(&file, b"model")?;
    let mut child = Command::new(tracer::binary()?)
        .args(["files", "--tier", "tracepoint", "-o", "ndjson", "--watch"])
        .arg(root.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("it has standard output")?).lines();
    lines.next().context("it says that it began")??;
    child.kill()?;
    child.wait()?;
    assert_eq!(fs::read(&file)?, b"model");
    fs::write(&file, b"another")?;
    Ok(())
}
