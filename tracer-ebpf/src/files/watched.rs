//! Which inodes matter.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap},
    macros::btf_map,
};
use tracer_abi::file::{FileKey, FileLoss, MAX_FOLDER_DEPTH, MAX_FOLDERS, MAX_WATCHED};

use crate::{
    access, enforce,
    kernel::{
        O_DENTRY_INODE, O_DENTRY_PARENT, O_INODE_MODE, O_INODE_NUMBER, O_INODE_SUPER_BLOCK,
        O_SUPER_BLOCK_DEVICE, Object,
    },
};

/// The inodes. User space puts in what it finds, `is_below_a_folder` what is opened before that.
#[btf_map]
static WATCHED: HashMap<FileKey, u32, { MAX_WATCHED as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// Folders whose files are watched, however deep.
#[btf_map]
static FOLDERS: HashMap<FileKey, u32, { MAX_FOLDERS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// Devices that such folders lie on: files elsewhere are passed over at once.
#[btf_map]
static DEVICES: HashMap<u32, u32, 256> = HashMap::new();
/// 1 while `FOLDERS` holds anything.
#[btf_map]
static HAS_FOLDERS: Array<u32, 1> = Array::new();

const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;

/// The key of an inode.
#[inline(always)]
pub(crate) fn key(inode: Object) -> FileKey {
    FileKey {
        inode: inode.read(&O_INODE_NUMBER),
        device: inode
            .follow(&O_INODE_SUPER_BLOCK)
            .read(&O_SUPER_BLOCK_DEVICE),
        reserved: 0,
    }
}

/// Whether an inode is watched.
#[inline(always)]
pub(crate) fn contains(key: &FileKey) -> bool {
    WATCHED.get_ptr(key).is_some()
}

/// Whether a file that is being opened is watched, or has to be from now on.
#[inline(always)]
pub(crate) fn is_or_becomes(key: &FileKey, inode: Object, dentry: Object) -> bool {
    if contains(key) {
        return true;
    }
    // SAFETY: only user space writes this map.
    if HAS_FOLDERS.get(0).is_none_or(|&any| any == 0) || DEVICES.get_ptr(key.device).is_none() {
        return false;
    }
    if inode.read::<u16>(&O_INODE_MODE) & S_IFMT != S_IFREG || !is_below_a_folder(dentry) {
        return false;
    }
    if WATCHED.insert(key, 1, 0).is_err() {
        access::lose(FileLoss::WatchedFull);
    }
    true
}

/// Whether a folder above `dentry`, on its own file system, is one of ours.
#[inline(always)]
fn is_below_a_folder(dentry: Object) -> bool {
    let mut at = dentry;
    for _ in 0..MAX_FOLDER_DEPTH {
        let parent = at.follow(&O_DENTRY_PARENT);
        if parent == at || parent.is_none() {
            return false;
        }
        if FOLDERS
            .get_ptr(key(parent.follow(&O_DENTRY_INODE)))
            .is_some()
        {
            return true;
        }
        at = parent;
    }
    access::lose(FileLoss::TooDeep);
    // It may be: where a policy is enforced, nobody gets in by depth.
    enforce::is_on()
}
