//! For kernels that let no program into the file hooks: tracepoints of the page cache and of direct
//! I/O, which know the inode. They see what is read, touched and dirtied, and not who opens.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_abi::file::{FileAct, FileKey};

use crate::{
    access::{self, Detail},
    kernel::{
        O_FILE_INODE, O_ITER_COUNT, O_ITER_SOURCE, O_KIOCB_FILE, O_MAPPING_HOST, Object as _,
        Untyped,
    },
    watched,
};

/// `I_DIRTY_PAGES` of include/linux/fs.h; the other bits are of times and attributes.
const DIRTY_PAGES: u64 = 1 << 2;

/// `mm_filemap_get_pages(mapping, index, last_index)`: pages are read through a descriptor.
///
/// # Minimum kernel version
/// 6.12, as the next two.
#[raw_tracepoint(tracepoint = "mm_filemap_get_pages")]
pub(crate) fn file_get_pages(ctx: RawTracePointContext) -> i32 {
    let (first, last): (u64, u64) = (ctx.arg(1), ctx.arg(2));
    of_mapping(&ctx, FileAct::Read, (first, last.saturating_add(1)))
}

/// `mm_filemap_map_pages(mapping, start, end)`: pages around a touched one are mapped.
#[raw_tracepoint(tracepoint = "mm_filemap_map_pages")]
pub(crate) fn file_map_pages(ctx: RawTracePointContext) -> i32 {
    let (first, last): (u64, u64) = (ctx.arg(1), ctx.arg(2));
    of_mapping(&ctx, FileAct::PageIn, (first, last.saturating_add(1)))
}

/// `mm_filemap_fault(mapping, index)`: a page of a mapping is touched that is not in memory.
#[raw_tracepoint(tracepoint = "mm_filemap_fault")]
pub(crate) fn file_fault(ctx: RawTracePointContext) -> i32 {
    let page: u64 = ctx.arg(1);
    of_mapping(&ctx, FileAct::PageIn, (page, page.saturating_add(1)))
}

/// `iomap_dio_rw_begin(iocb, iter, …)`: direct I/O begins.
#[raw_tracepoint(tracepoint = "iomap_dio_rw_begin")]
pub(crate) fn file_direct(ctx: RawTracePointContext) -> i32 {
    let (iocb, iter): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let iter = Untyped(iter as *const _);
    // A request of no bytes touches none.
    if iter.read::<u64>(&O_ITER_COUNT) == 0 {
        return 0;
    }
    let writes = iter.read::<u8>(&O_ITER_SOURCE) != 0;
    let act = if writes {
        FileAct::Write
    } else {
        FileAct::Read
    };
    let file = Untyped(iocb as *const _).follow(&O_KIOCB_FILE);
    of_inode(file.follow(&O_FILE_INODE), act, Detail::NONE.pages)
}

/// `writeback_mark_inode_dirty(inode, flags)`: a page becomes dirty, through a descriptor or by a
/// store into a shared mapping.
#[raw_tracepoint(tracepoint = "writeback_mark_inode_dirty")]
pub(crate) fn file_dirty(ctx: RawTracePointContext) -> i32 {
    let (inode, flags): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    if flags & DIRTY_PAGES == 0 {
        return 0;
    }
    of_inode(
        Untyped(inode as *const _),
        FileAct::Write,
        Detail::NONE.pages,
    )
}

#[inline(always)]
fn of_mapping(ctx: &RawTracePointContext, act: FileAct, pages: (u64, u64)) -> i32 {
    let mapping: u64 = ctx.arg(0);
    let inode = Untyped(mapping as *const _).follow(&O_MAPPING_HOST);
    of_inode(inode, act, pages)
}

#[inline(always)]
fn of_inode(inode: Untyped, act: FileAct, pages: (u64, u64)) -> i32 {
    let key: FileKey = watched::key(inode);
    if watched::contains(&key) {
        let detail = Detail {
            pages,
            ..Detail::NONE
        };
        access::note(&key, act, detail);
    }
    0
}
