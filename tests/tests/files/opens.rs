//! B: every way to open a file and to read it.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, Result, ensure};
use tracer_event::{Recorded, file::FileAct};
use tracer_tests::{
    cache::Cache,
    watching::{PATIENCE, Watching},
};

use crate::bench::{Bench, Holder, OPENED, READ};

pub(crate) fn b12_an_open_by_handle_is_an_open(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("handle", None)
}

pub(crate) fn b13_a_descriptor_without_rights_opened_again_is_an_open(
    bench: &mut Bench<'_>,
) -> Result<()> {
    bench.opens_and_reads("path-only", None)
}

pub(crate) fn b14_io_uring_is_the_submitter(bench: &mut Bench<'_>) -> Result<()> {
    for way in ["uring", "uring-polled", "uring-direct"] {
        bench.opens_and_reads(way, None)?;
    }
    Ok(())
}

pub(crate) fn b15_a_descriptor_that_was_passed_on_is_told_by_its_use(
    bench: &mut Bench<'_>,
) -> Result<()> {
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

pub(crate) fn b17_every_system_call_that_reads_is_a_read(bench: &mut Bench<'_>) -> Result<()> {
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

pub(crate) fn b18_a_32_bit_call_is_an_open(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("compat", None)
}

/// What was open or mapped before the tracer came is found, also in a container.
pub(crate) fn b16_who_has_the_file_already_is_found(tier: &str) -> Result<()> {
    let cache = Cache::open()?;
    let root = tempfile::tempdir()?;
    let file = root.path().join("model.bin");
    fs::write(&file, vec![1; 8192])?;
    let elsewhere = tempfile::tempdir()?;
    let other = elsewhere.path().join("root");
    let inside = Path::new("/models/model.bin");
    let mut holders = Vec::new();
    for (way, act, path) in [
        ("hold", FileAct::FoundOpen, &*file),
        ("hold-writable", FileAct::FoundOpenForWriting, &file),
        ("hold-mapped", FileAct::FoundMapped, &file),
        ("hold-contained", FileAct::FoundOpen, inside),
    ] {
        let holder = Holder::start(&cache, way, &file, Some(&other))?;
        let path = Recorded::Text(path.display().to_string());
        let holder = holder.with_context(|| format!("this host has no way `{way}`"))?;
        holders.push((holder, act, path));
    }
    let mut watching = Watching::start(Some(tier), root.path())?;
    let inode = fs::metadata(&file)?.ino();
    for (holder, act, path) in holders {
        let access = watching.until(&format!("{act:?}"), PATIENCE, |line, access| {
            line.place.pid.is_some_and(|seen| seen.0 == holder.pid)
                && access.inode.inode == inode
                && access.act == act
        })?;
        assert_eq!(access.path_inside, Some(path));
        holder.let_go()?;
    }
    Ok(())
}
