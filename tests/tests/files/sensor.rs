//! D: the tracer itself, and who is told to have done it.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tracer_event::{Body, Known, LossReason, Recorded};
use tracer_tests::{
    cache::Cache,
    patience, requires_root, tracer,
    watching::{PATIENCE, Watching},
    workload::Target,
};

use crate::bench::{Bench, OPENED, READ};

pub(crate) fn d31_a_flood_of_opens_loses_nothing(bench: &mut Bench<'_>) -> Result<()> {
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
        bench.watching.take(Duration::from_secs(1));
    }
    // What other cases do too deep in the same file system is a loss to every tracer.
    let expected = [LossReason::FileMissed, LossReason::FileTooDeep];
    let losses: Vec<_> = bench
        .watching
        .seen
        .iter()
        .filter(|line| {
            matches!(&line.body, Body::Loss(loss)
                if loss.reason.loses_record() && !expected.contains(&loss.reason))
        })
        .collect();
    ensure!(losses.is_empty(), "{losses:?}");
    Ok(())
}

pub(crate) fn d34_root_of_its_own_namespace_is_still_who_it_is(
    bench: &mut Bench<'_>,
) -> Result<()> {
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

pub(crate) fn d35_the_executable_tells_and_not_the_name(bench: &mut Bench<'_>) -> Result<()> {
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

pub(crate) fn d38_who_may_not_open_still_may_not(bench: &mut Bench<'_>) -> Result<()> {
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

/// Nothing stays behind when the tracer is killed.
pub(crate) fn d32_a_killed_tracer_leaves_the_files_alone(tier: &str) -> Result<()> {
    let root = tempfile::tempdir()?;
    let file = root.path().join("model.bin");
    fs::write(&file, b"model")?;
    let watching = Watching::start(Some(tier), root.path())?;
    watching.signal(Signal::KILL)?;
    drop(watching);
    assert_eq!(fs::read(&file)?, b"model");
    fs::write(&file, b"another")?;
    Ok(())
}

/// Nothing of the kernel's structs is known without its types, and no offset is guessed.
#[test]
fn d37_a_kernel_without_types_is_refused_with_the_remedy() -> Result<()> {
    requires_root!();
    let root = tempfile::tempdir()?;
    let output = Target::Accesses
        .command(&Cache::open()?, &["without", "/sys/kernel/btf"])?
        .arg(tracer::binary()?)
        .args(["files", "--watch"])
        .arg(root.path())
        .output()?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    for words in ["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF=y"] {
        ensure!(said.contains(words), "{said}");
    }
    Ok(())
}

#[test]
fn d37_a_better_tier_that_does_not_work_is_told_with_the_reason() -> Result<()> {
    requires_root!();
    let root = tempfile::tempdir()?;
    let watching = Watching::start(None, root.path())?;
    let tiers = ["lsm", "fentry", "kprobe", "tracepoint"];
    let passed_over = &watching.watched.passed_over;
    let in_force = watching.watched.tier.as_str();
    assert_eq!(tiers[passed_over.len()], in_force, "{passed_over:?}");
    for (passed, tier) in passed_over.iter().zip(tiers) {
        assert_eq!(passed.tier.as_str(), tier);
        ensure!(matches!(&passed.reason, Recorded::Text(why) if !why.is_empty()));
        let output = Command::new(tracer::binary()?)
            .args(["files", "--tier", tier, "--watch"])
            .arg(root.path())
            .output()?;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let what = format!("the programs of tier {tier} cannot be used: ");
        ensure!(said.contains(&what), "{said}");
    }
    Ok(())
}

/// What kprobes, fentry and LSM programs stand on is switched off: they are refused, or attached and
/// never called. Neither may pass for a tier that sees.
#[test]
#[ignore = "runs in guests, where nobody else traces"]
fn d37_tiers_whose_means_are_switched_off_are_passed_over() -> Result<()> {
    requires_root!();
    let root = tempfile::tempdir()?;
    let file = root.path().join("model.bin");
    fs::write(&file, b"a model")?;
    let before = Watching::start(None, root.path())?.watched.tier.clone();
    assert_ne!(before.as_str(), "tracepoint");
    let off = Tracing::switch_off()?;
    let mut watching = Watching::start(None, root.path())?;
    assert_eq!(watching.watched.tier.as_str(), "tracepoint");
    println!("{:?}", watching.watched.passed_over);
    assert_eq!(watching.watched.passed_over.len(), 3);
    let mut command = Target::Accesses.command(&Cache::open()?, &["read"])?;
    let mut reader = command.arg(&file).spawn()?;
    ensure!(reader.wait()?.success());
    watching.until("the read", PATIENCE, |line, access| {
        line.place.pid.is_some_and(|seen| seen.0 == reader.id()) && READ.contains(&access.act)
    })?;
    drop(watching);
    drop(off);
    assert_eq!(Watching::start(None, root.path())?.watched.tier, before);
    Ok(())
}

/// The kernel's function tracing, switched off until this is dropped.
struct Tracing;

impl Tracing {
    const SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";

    /// Waits until the programs of the last tracer are gone: while one is attached the kernel refuses.
    fn switch_off() -> Result<Self> {
        patience::until("function tracing is switched off", || {
            Ok(fs::write(Self::SWITCH, "0").is_ok())
        })?;
        Ok(Self)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // If that fails, the tier that is looked at next tells.
        let _ = fs::write(Self::SWITCH, "1");
    }
}
