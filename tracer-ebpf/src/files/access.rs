//! The counters of each (process, inode), and the records that say that they changed.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{HashMap, PerCpuArray, RingBuf},
    helpers::generated::bpf_probe_read_kernel_str,
    macros::btf_map,
};
use tracer_abi::{
    LossCell,
    file::{
        AccessKey, FileAccess, FileAct, FileKey, FileLoss, FileTold, MAX_ACCESSES, MAX_FILE_NAME,
        TELL_EVERY,
    },
};

use crate::{
    actor, atomic,
    kernel::{
        O_DENTRY_INODE, O_DENTRY_NAME, O_DENTRY_PARENT, O_QSTR_NAME, Object as _, Untyped,
        boot_time,
    },
    watched,
};

#[btf_map]
static ACCESSES: HashMap<
    AccessKey,
    FileAccess,
    { MAX_ACCESSES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
static FILE_RING: RingBuf<FileTold, { 1024 * 1024 }> = RingBuf::new();
#[btf_map]
static FILE_LOSSES: PerCpuArray<LossCell, { FileLoss::COUNT as usize }> = PerCpuArray::new();

/// What is known of an access beside who and what.
#[derive(Clone, Copy)]
pub(crate) struct Detail {
    /// Pages that were read or touched, the last one excluded; `NO_PAGES` where the hook cannot tell.
    pub(crate) pages: (u64, u64),
    /// The dentry that the file was reached through.
    pub(crate) dentry: Untyped,
}

impl Detail {
    pub(crate) const NONE: Self = Self {
        pages: (u64::MAX, 0),
        dentry: Untyped::NONE,
    };
}

/// Counts an access of the running process to a watched inode, and tells it if nothing like it was
/// told a moment ago.
#[inline(always)]
pub(crate) fn note(file: &FileKey, act: FileAct, detail: Detail) {
    let started = actor::started();
    let key = AccessKey {
        inode: file.inode,
        device: file.device,
        pid: actor::pid(),
        started,
    };
    let now = boot_time();
    let entry = match ACCESSES.get_ptr_mut(&key) {
        Some(entry) => entry,
        None => {
            let entry = FileAccess {
                actor: actor::current(started),
                first: now,
                newest: now,
                lowest: u64::MAX,
                highest: 0,
                counts: [0; FileAct::COUNT],
                told: [0; FileAct::COUNT],
            };
            // Another thread of this process may have been faster; then its entry serves.
            let _ = ACCESSES.insert(&key, entry, u64::from(BPF_NOEXIST));
            match ACCESSES.get_ptr_mut(&key) {
                Some(entry) => entry,
                None => return lose(FileLoss::TableFull),
            }
        }
    };
    // SAFETY: the lookup returned map memory; counters are added to atomically, and of the other
    // fields the newest store may win.
    let entry = unsafe { &mut *entry };
    atomic::add(&mut entry.counts[act as usize], 1);
    entry.newest = now;
    let (first, behind) = detail.pages;
    if first < entry.lowest {
        entry.lowest = first;
    }
    if behind > entry.highest {
        entry.highest = behind;
    }
    let told = entry.told[act as usize];
    if told != 0 && now.wrapping_sub(told) < TELL_EVERY {
        return;
    }
    entry.told[act as usize] = now;
    tell(key, act, now, detail.dentry);
}

#[inline(always)]
fn tell(key: AccessKey, act: FileAct, now: u64, dentry: Untyped) {
    let Some(mut entry) = FILE_RING.reserve(0) else {
        return lose(FileLoss::RingFull);
    };
    let told: *mut FileTold = entry.as_mut_ptr();
    let folder = if dentry.is_none() {
        FileKey::default()
    } else {
        watched::key(dentry.follow(&O_DENTRY_PARENT).follow(&O_DENTRY_INODE))
    };
    let name = dentry.field(&O_DENTRY_NAME).follow(&O_QSTR_NAME);
    // SAFETY: the reservation is as large as a record, and every field of it is written.
    unsafe {
        (&raw mut (*told).key).write(key);
        (&raw mut (*told).folder).write(folder);
        (&raw mut (*told).time).write(now);
        (&raw mut (*told).act).write(act as u32);
        let to = (&raw mut (*told).name).cast();
        let length = bpf_probe_read_kernel_str(to, MAX_FILE_NAME as u32, name.0);
        (&raw mut (*told).name_length).write(if length > 0 { length as u32 - 1 } else { 0 });
    }
    entry.submit(0);
}

/// Counts what did not get out.
#[inline(never)]
pub(crate) fn lose(what: FileLoss) {
    if let Some(cell) = FILE_LOSSES.get_ptr_mut(what as u32) {
        // SAFETY: the lookup returned this CPU's cell, which lives as long as the program runs.
        let cell = unsafe { &mut *cell };
        atomic::add(&mut cell.count, 1);
        cell.newest = boot_time();
    }
}
