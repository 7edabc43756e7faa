//! A: other names for the same file, and the same name for others.

use std::{
    fs,
    io::Write,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use tracer_event::{Body, LossReason, Recorded, file::FileAct};
use tracer_tests::{
    cache::Cache,
    disk::Mounted,
    tracer::Line,
    watching::{PATIENCE, Watching},
    workload::Target,
};

use crate::bench::{Bench, Holder, OPENED, READ, WRITTEN};

pub(crate) fn a1_another_name_is_the_same_inode(bench: &mut Bench<'_>) -> Result<()> {
    let alias = bench.file.with_file_name("alias");
    bench.opens_and_reads("link", Some(&alias))
}

pub(crate) fn a2_a_link_that_is_swapped_leads_to_the_file_that_is_read(
    bench: &mut Bench<'_>,
) -> Result<()> {
    bench.opens_and_reads("symlink", Some(&bench.elsewhere("link")))
}

pub(crate) fn a3_a_bind_mount_in_another_namespace_is_the_same_inode(
    bench: &mut Bench<'_>,
) -> Result<()> {
    bench.opens_and_reads("bind", Some(&bench.elsewhere("mounted")))
}

/// Opened under the overlay's own inode; the layer's is read in the last tier, opened in the others.
pub(crate) fn a4_a_file_under_an_overlay_is_its_real_inode(bench: &mut Bench<'_>) -> Result<()> {
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

pub(crate) fn a5_a_replaced_file_is_told(bench: &mut Bench<'_>) -> Result<()> {
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

pub(crate) fn a6_a_file_is_watched_after_its_last_name_is_gone(
    bench: &mut Bench<'_>,
) -> Result<()> {
    let Some((pid, _)) = bench.go("unlink", None)? else {
        return Ok(());
    };
    bench
        .told(pid, &[OPENED, READ, &[FileAct::Unlinked]])
        .map(drop)
}

/// A copy in memory is no watched file; that it was made is a read.
pub(crate) fn a6_a_copy_in_memory_reads_the_original(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("memory", None)?;
    bench.opens_and_reads("huge", None)
}

/// Huge pages, which are outside of the page cache. Where nothing tells an open, that is told.
pub(crate) fn a6_a_file_in_huge_pages_is_told(tier: &str) -> Result<()> {
    let pages = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
    if pages.trim().parse().unwrap_or(0) == 0 {
        println!("not staged: this host has no huge pages");
        return Ok(());
    }
    let system = Mounted::new("hugetlbfs")?;
    let file = system.path().join("model.bin");
    fs::File::create(&file)?.set_len(2 << 20)?;
    let mut watching = Watching::start(Some(tier), system.path())?;
    let mut command = Target::Accesses.command(&Cache::open()?, &["map"])?;
    let mut reader = command.arg(&file).spawn()?;
    ensure!(reader.wait()?.success(), "it went wrong");
    let pid = reader.id();
    let told = |line: &Line, acts: &[FileAct]| {
        line.place.pid.is_some_and(|seen| seen.0 == pid)
            && matches!(&line.body, Body::FileAccess(access) if acts.contains(&access.act))
    };
    let is_seen = watching.find("the open, or that it cannot be seen", PATIENCE, |line| {
        let is_loss = matches!(&line.body, Body::Loss(loss)
            if loss.reason == LossReason::FileUnwatched);
        (is_loss || told(line, OPENED)).then_some(!is_loss)
    })?;
    if !is_seen {
        ensure!(tier == "tracepoint" && watching.is_blind_to("unmarked_systems"));
    }
    if tier != "tracepoint" {
        watching.find("the mapping", PATIENCE, |line| {
            told(line, &[FileAct::Mapped]).then_some(())
        })?;
    }
    Ok(())
}

pub(crate) fn a6_a_file_that_was_made_without_a_name_is_told(bench: &mut Bench<'_>) -> Result<()> {
    let named = bench.file.with_file_name("named");
    let Some((pid, said)) = bench.go("nameless", Some(&named))? else {
        return Ok(());
    };
    bench.inode = said.trim().parse().context("it prints the inode")?;
    bench.told(pid, &[&[FileAct::Created, FileAct::Linked]])?;
    let is_blind = bench.watching.is_blind_to("nameless_files");
    let written = bench.is_told(pid, WRITTEN, is_blind);
    ensure!(written || is_blind, "what was written before was not told");
    // From now on it is as any other.
    bench.file = named;
    bench.opens_and_reads("read", None)
}

pub(crate) fn a7_descriptors_and_mappings_opened_again_through_proc_are_opens(
    bench: &mut Bench<'_>,
) -> Result<()> {
    bench.opens_and_reads("proc", None)?;
    bench.opens_and_reads("map-files", None)
}

pub(crate) fn a8_relative_and_rooted_opens_are_opens(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("openat2", None)?;
    bench.opens_and_reads("chroot", None)
}

/// Mounts, processes and a root of its own: who it is and what it reads is told as it is outside, and
/// beside that where the file is inside.
pub(crate) fn a8_a_container_is_told_as_it_is_outside(bench: &mut Bench<'_>) -> Result<()> {
    let root = bench.elsewhere("root");
    let held = Holder::start(&bench.cache, "hold-contained", &bench.file, Some(&root))?;
    let Some(holder) = held else { return Ok(()) };
    let pid = holder.pid;
    let mut told = bench.told(pid, &[OPENED])?;
    assert_eq!(told[0].path_inside, Some(text("/models/model.bin")));
    holder.let_go()?;
    // By now it has ended, so that where it read may not be known.
    told.extend(bench.told(pid, &[READ])?);
    let program = Target::Accesses.command(&bench.cache, &[])?;
    let executable = fs::metadata(program.get_program())?.ino();
    for access in told {
        let path = access.path.value().context("its path is known")?;
        assert_eq!(*path, text(bench.file.display()));
        let seen = access.executable_inode.value().context("it is known")?;
        assert_eq!(seen.inode, executable);
    }
    Ok(())
}

pub(crate) fn a8_where_a_container_has_a_file_follows_its_mounts(
    bench: &mut Bench<'_>,
) -> Result<()> {
    let root = bench.elsewhere("root");
    let held = Holder::start(&bench.cache, "hold-moved", &bench.file, Some(&root))?;
    let Some(mut holder) = held else {
        return Ok(());
    };
    let (pid, inode) = (holder.pid, bench.inode);
    let opened = |bench: &mut Bench<'_>, inside: &str| {
        bench.watching.until(inside, PATIENCE, |line, access| {
            line.place.pid.is_some_and(|seen| seen.0 == pid)
                && access.inode.inode == inode
                && OPENED.contains(&access.act)
                && access.path_inside == Some(text(inside))
        })
    };
    opened(bench, "/models/model.bin")?;
    // Longer than the mounts that were read then are believed.
    thread::sleep(Duration::from_millis(200));
    holder.go_on()?;
    opened(bench, "/moved/model.bin")?;
    holder.let_go()
}

pub(crate) fn a8_a_root_is_told_with_the_path_below_it(bench: &mut Bench<'_>) -> Result<()> {
    let held = Holder::start(&bench.cache, "hold-chroot", &bench.file, None)?;
    let Some(holder) = held else { return Ok(()) };
    let told = bench.told(holder.pid, &[OPENED])?;
    assert_eq!(told[0].path_inside, Some(text("/model.bin")));
    holder.let_go()
}

fn text(text: impl ToString) -> Recorded {
    Recorded::Text(text.to_string())
}

/// Folders one in the other, by names so long that no call takes the path of what is in the last one.
pub(crate) fn a8_a_path_that_no_call_takes_is_watched(tier: &str) -> Result<()> {
    let root = tempfile::tempdir()?;
    let deep = Deep::make(root.path(), 25)?;
    let first = deep.write("first")?;
    let mut watching = Watching::start(Some(tier), root.path())?;
    for (name, inode) in [("first", first), ("second", deep.write("second")?)] {
        if name == "second" {
            watching.until("the new file", PATIENCE, |_, access| {
                access.inode.inode == inode && access.act == FileAct::Created
            })?;
        }
        let pid = deep.read(name)?;
        let path = Recorded::Text(deep.path.join(name).display().to_string());
        for acts in [OPENED, READ] {
            let access =
                watching.until(&format!("{acts:?} of {name}"), PATIENCE, |line, access| {
                    line.place.pid.is_some_and(|seen| seen.0 == pid)
                        && access.inode.inode == inode
                        && acts.contains(&access.act)
                })?;
            assert_eq!(access.path.value(), Some(&path));
        }
    }
    ensure!(watching.lost(LossReason::FileUnwatched) == 0);
    Ok(())
}

/// Deeper than is looked: not watched, and told as a loss.
pub(crate) fn a8_what_lies_too_deep_is_a_loss(tier: &str) -> Result<()> {
    let root = tempfile::tempdir()?;
    let deep = Deep::make(root.path(), 70)?;
    deep.write("model.bin")?;
    let mut watching = Watching::start(Some(tier), root.path())?;
    deep.read("model.bin")?;
    watching.find("that a file lies too deep", PATIENCE, |line| {
        matches!(&line.body, Body::Loss(loss) if loss.reason == LossReason::FileTooDeep)
            .then_some(())
    })
}

/// The last of many folders, each in the one before.
struct Deep {
    folder: OwnedFd,
    path: PathBuf,
}

impl Deep {
    fn make(root: &Path, depth: usize) -> Result<Self> {
        let name = "n".repeat(200);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = openat(CWD, root, flags, Mode::empty())?;
        let mut path = root.to_owned();
        for _ in 0..depth {
            mkdirat(&folder, &*name, Mode::RWXU)?;
            folder = openat(&folder, &*name, flags, Mode::empty())?;
            path.push(&name);
        }
        Ok(Self { folder, path })
    }

    /// Makes a file, and says its inode.
    fn write(&self, name: &str) -> Result<u64> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = fs::File::from(openat(&self.folder, name, flags, Mode::RUSR)?);
        (&file).write_all(b"a model")?;
        Ok(file.metadata()?.ino())
    }

    /// Reads it in a process of its own, which begins in that folder, and says which that was.
    fn read(&self, name: &str) -> Result<u32> {
        let here = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.folder.as_raw_fd()
        );
        let mut command = Target::Accesses.command(&Cache::open()?, &["read", name])?;
        let mut child = command.current_dir(here).spawn()?;
        ensure!(child.wait()?.success(), "it went wrong");
        Ok(child.id())
    }
}

pub(crate) fn a9_a_name_that_looks_the_same_is_another_inode(bench: &mut Bench<'_>) -> Result<()> {
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

pub(crate) fn a10_a_copy_reads_the_original(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("copy", Some(&bench.elsewhere("copy")))
}

pub(crate) fn a11_a_reused_descriptor_number_is_not_mistaken(bench: &mut Bench<'_>) -> Result<()> {
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

pub(crate) fn names_and_attributes_are_told(bench: &mut Bench<'_>) -> Result<()> {
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
