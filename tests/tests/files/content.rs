//! C: what becomes of the bytes.

use anyhow::{Result, ensure};
use tracer_event::{
    Recorded,
    file::{FileAccess, FileAct},
};
use tracer_tests::{tracer::Line, watching::PATIENCE};

use crate::bench::{Bench, OPENED, WRITTEN};

pub(crate) fn c19_a_mapping_that_is_only_read_is_told(bench: &mut Bench<'_>) -> Result<()> {
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

pub(crate) fn c21_a_store_through_a_mapping_is_a_writer(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("store", None)? else {
        return Ok(());
    };
    let (inode, knows_closers) = (bench.inode, !bench.watching.is_blind_to("last_closers"));
    let writer = |line: &Line, access: &FileAccess<Recorded>| {
        let by_it = line.place.pid.is_some_and(|seen| seen.0 == pid);
        let by_nobody = line.place.pid.is_none() && !knows_closers;
        access.inode.inode == inode
            && match access.act {
                FileAct::OpenedForWriting => by_it,
                // The mapping may be taken apart by the tracer, which asks about a process that ends.
                FileAct::ClosedForWriting => by_it || by_nobody,
                _ => false,
            }
    };
    bench
        .watching
        .until("that it was open for writing", PATIENCE, writer)
        .map(drop)
}

pub(crate) fn c22_a_write_whose_time_is_set_back_is_told(bench: &mut Bench<'_>) -> Result<()> {
    let Some((pid, _)) = bench.go("write-back-in-time", None)? else {
        return Ok(());
    };
    bench
        .told(pid, &[WRITTEN, &[FileAct::AttributesChanged]])
        .map(drop)
}

pub(crate) fn c23_a_hole_and_a_truncation_change_bytes(bench: &mut Bench<'_>) -> Result<()> {
    for way in ["punch", "truncate"] {
        if let Some((pid, _)) = bench.go(way, None)? {
            bench.told(pid, &[WRITTEN])?;
        }
    }
    Ok(())
}

pub(crate) fn c30_direct_reads_are_reads(bench: &mut Bench<'_>) -> Result<()> {
    bench.opens_and_reads("direct", None)
}
