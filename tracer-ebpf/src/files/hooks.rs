//! The security hooks of files, in three forms with the same bodies: LSM, fentry and kprobe.
//!
//! They see every way to open, read, write and map, also io_uring's, and every way in which a
//! descriptor changes hands. An LSM program returns what it was given, the answer of whoever was asked
//! before; only where a policy is enforced it may refuse what nobody else has.

use core::ffi::c_void;

use aya_ebpf::{
    macros::{fentry, kprobe, lsm},
    programs::{FEntryContext, LsmContext, ProbeContext},
};
use tracer_abi::file::{FileAct, FileKey};

use crate::{
    access::{self, Detail},
    enforce,
    kernel::{
        O_DENTRY_INODE, O_FILE_INODE, O_FILE_MODE, O_FILE_PATH, O_PATH_DENTRY, Object, Typed,
        Untyped,
    },
    watched,
};

/// `FMODE_WRITE` of include/linux/fs.h.
const MODE_WRITE: u32 = 1 << 1;
/// `MAY_WRITE` and `MAY_READ` of include/linux/fs.h.
const MAY_WRITE: u32 = 1 << 1;
const MAY_READ: u32 = 1 << 2;
/// `MAP_TYPE` and `MAP_SHARED`, `MAP_SHARED_VALIDATE` of include/uapi/linux/mman.h.
const MAP_TYPE: u64 = 0xf;
const MAP_SHARED: u64 = 1;
const MAP_SHARED_VALIDATE: u64 = 3;

#[lsm(hook = "file_open")]
pub(crate) fn lsm_file_open(ctx: LsmContext) -> i32 {
    let answer = opened(Typed::at(ctx.arg(0)));
    refused_before(ctx.arg(1)).unwrap_or(answer)
}

#[lsm(hook = "file_permission")]
pub(crate) fn lsm_file_permission(ctx: LsmContext) -> i32 {
    used(Typed::at(ctx.arg(0)), ctx.arg(1));
    ctx.arg(2)
}

#[lsm(hook = "mmap_file")]
pub(crate) fn lsm_mmap_file(ctx: LsmContext) -> i32 {
    let answer = mapped(Typed::at(ctx.arg(0)), ctx.arg(3));
    refused_before(ctx.arg(4)).unwrap_or(answer)
}

#[lsm(hook = "file_receive")]
pub(crate) fn lsm_file_receive(ctx: LsmContext) -> i32 {
    received(Typed::at(ctx.arg(0)));
    ctx.arg(1)
}

/// `path_truncate`: a file is made shorter or longer by its name. Attached only where a policy is
/// enforced; elsewhere fanotify tells it.
#[lsm(hook = "path_truncate")]
pub(crate) fn lsm_path_truncate(ctx: LsmContext) -> i32 {
    let inode = Typed::at(ctx.arg(0))
        .follow(&O_PATH_DENTRY)
        .follow(&O_DENTRY_INODE);
    let key = watched::key(inode);
    let mut answer = 0;
    if watched::contains(&key) {
        answer = decide(&key, true);
    }
    refused_before(ctx.arg(1)).unwrap_or(answer)
}

#[fentry(function = "security_file_open")]
pub(crate) fn fentry_file_open(ctx: FEntryContext) -> i32 {
    opened(Typed::at(ctx.arg(0)));
    0
}

#[fentry(function = "security_file_permission")]
pub(crate) fn fentry_file_permission(ctx: FEntryContext) -> i32 {
    used(Typed::at(ctx.arg(0)), ctx.arg(1))
}

#[fentry(function = "security_mmap_file")]
pub(crate) fn fentry_mmap_file(ctx: FEntryContext) -> i32 {
    mapped(Typed::at(ctx.arg(0)), ctx.arg(2));
    0
}

#[fentry(function = "security_file_receive")]
pub(crate) fn fentry_file_receive(ctx: FEntryContext) -> i32 {
    received(Typed::at(ctx.arg(0)))
}

#[kprobe]
pub(crate) fn kprobe_file_open(ctx: ProbeContext) -> i32 {
    opened(argument(&ctx));
    0
}

#[kprobe]
pub(crate) fn kprobe_file_permission(ctx: ProbeContext) -> i32 {
    used(argument(&ctx), ctx.arg(1).unwrap_or_default())
}

#[kprobe]
pub(crate) fn kprobe_mmap_file(ctx: ProbeContext) -> i32 {
    mapped(argument(&ctx), ctx.arg(2).unwrap_or_default());
    0
}

#[kprobe]
pub(crate) fn kprobe_file_receive(ctx: ProbeContext) -> i32 {
    received(argument(&ctx))
}

/// The first argument.
#[inline(always)]
fn argument(ctx: &ProbeContext) -> Untyped {
    ctx.arg::<*const c_void>(0).map_or(Untyped::NONE, Untyped)
}

/// What whoever was asked before has refused.
#[inline(always)]
fn refused_before(answer: i32) -> Option<i32> {
    (answer != 0).then_some(answer)
}

/// The answer to who wants to open, map or cut a watched inode.
#[inline(always)]
fn decide(key: &FileKey, to_write: bool) -> i32 {
    if enforce::permits(key, to_write) {
        return 0;
    }
    access::note(key, FileAct::Refused, Detail::NONE);
    enforce::REFUSED
}

#[inline(always)]
fn opened(file: impl Object) -> i32 {
    if let Some(key) = watched::key_of_opened(file) {
        let act = if may_write(file) {
            FileAct::OpenWritable
        } else {
            FileAct::Open
        };
        let dentry = file.field(&O_FILE_PATH).follow(&O_PATH_DENTRY);
        let detail = Detail {
            dentry: Untyped(dentry.address()),
            ..Detail::NONE
        };
        let answer = decide(&key, may_write(file));
        if answer == 0 {
            access::note(&key, act, detail);
        }
        return answer;
    }
    0
}

#[inline(always)]
fn used(file: impl Object, mask: u32) -> i32 {
    let key = watched::key(file.follow(&O_FILE_INODE));
    if watched::contains(&key) {
        if mask & MAY_WRITE != 0 {
            enforce::written(&key);
            access::note(&key, FileAct::Write, Detail::NONE);
        } else if mask & MAY_READ != 0 {
            access::note(&key, FileAct::Read, Detail::NONE);
        }
    }
    0
}

/// `file` is null where memory without a file is mapped. Newer verifiers (7.3) insist that this is
/// asked; older ones believe that it never happens and leave the question out, so that what is read of
/// it has to be looked at too.
#[inline(always)]
fn mapped(file: impl Object, flags: u64) -> i32 {
    if file.is_none() {
        return 0;
    }
    let inode = file.follow(&O_FILE_INODE);
    if inode.is_none() {
        return 0;
    }
    let key = watched::key(inode);
    if watched::contains(&key) {
        // Without PROT_WRITE now, mprotect may add it later: the descriptor decides.
        let shared = matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
        let act = if shared && may_write(file) {
            FileAct::MapWritable
        } else {
            FileAct::Map
        };
        let answer = decide(&key, matches!(act, FileAct::MapWritable));
        if answer == 0 {
            access::note(&key, act, Detail::NONE);
        }
        return answer;
    }
    0
}

#[inline(always)]
fn received(file: impl Object) -> i32 {
    let key = watched::key(file.follow(&O_FILE_INODE));
    if watched::contains(&key) {
        access::note(&key, FileAct::Receive, Detail::NONE);
    }
    0
}

#[inline(always)]
fn may_write(file: impl Object) -> bool {
    file.read::<u32>(&O_FILE_MODE) & MODE_WRITE != 0
}
