//! Which inodes matter.

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap},
    macros::btf_map,
};
use tracer_abi::file::{
    FileKey, FileLoss, FoldersState, MAX_FOLDER_DEPTH, MAX_FOLDERS, MAX_MARKS, MAX_WATCHED,
};

use crate::{
    access,
    cleared::Cleared,
    enforce,
    kernel::{
        O_DENTRY_INODE, O_DENTRY_PARENT, O_FILE_INODE, O_FILE_PATH, O_INODE_MODE, O_INODE_NUMBER,
        O_INODE_SUPER_BLOCK, O_PATH_DENTRY, O_SUPER_BLOCK_DEVICE, Object,
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
/// Whether an inode may be in `WATCHED` ([`FileKey::mark`]), or anything of a device may be watched:
/// nearly everything else on a host is passed over by a look at one word. Marks stay.
#[btf_map]
static MARKS: Array<u64, { MAX_MARKS as usize }> = Array::new();
/// What can be said of `FOLDERS`; user space counts after it has put another folder in. A section is a map
/// with one entry, whose address is part of the instruction that loads it.
#[unsafe(link_section = ".data.folders")]
#[unsafe(no_mangle)]
static FOLDERS_STATE: Global<FoldersState> = Global::new(FoldersState {
    version: 0,
    moves_are_counted: 0,
});

const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;

/// The key of an inode.
#[inline(always)]
pub(crate) fn key(inode: impl Object) -> FileKey {
    FileKey {
        inode: inode.read(&O_INODE_NUMBER),
        device: device(inode),
        reserved: 0,
    }
}

#[inline(always)]
fn device(inode: impl Object) -> u32 {
    inode
        .follow(&O_INODE_SUPER_BLOCK)
        .read(&O_SUPER_BLOCK_DEVICE)
}

/// Whether an inode is watched.
#[inline(always)]
pub(crate) fn contains(key: &FileKey) -> bool {
    is_marked(key.mark()) && WATCHED.get_ptr(key).is_some()
}

#[inline(always)]
fn is_marked(mark: u32) -> bool {
    // SAFETY: the lookup returned map memory, of which an aligned word is read.
    MARKS
        .get_ptr(mark)
        .is_some_and(|mark| unsafe { mark.read_volatile() } != 0)
}

/// The key of a file that is being opened, if it is watched or has to be from now on.
#[inline(always)]
pub(crate) fn key_of_opened(file: impl Object) -> Option<FileKey> {
    let inode = file.follow(&O_FILE_INODE);
    let system = inode.follow(&O_INODE_SUPER_BLOCK);
    let mut key = FileKey {
        inode: 0,
        device: system.read(&O_SUPER_BLOCK_DEVICE),
        reserved: 0,
    };
    if !is_marked(key.device_mark()) {
        return None;
    }
    key.inode = inode.read(&O_INODE_NUMBER);
    if contains(&key) {
        return Some(key);
    }
    let state = FOLDERS_STATE.load();
    let dentry = file.field(&O_FILE_PATH).follow(&O_PATH_DENTRY);
    if state.version == 0
        || !is_below_a_folder(dentry, system, key.device, state)
        || inode.read::<u16>(&O_INODE_MODE) & S_IFMT != S_IFREG
    {
        return None;
    }
    if let Some(mark) = MARKS.get_ptr_mut(key.mark()) {
        // SAFETY: the lookup returned map memory, of which an aligned word is written.
        unsafe { mark.write_volatile(1) };
    }
    if WATCHED.insert(&key, 1, 0).is_err() {
        access::lose(FileLoss::WatchedFull);
    }
    Some(key)
}

/// Whether a folder above `dentry`, on its own file system, is one of ours. The file's inode is one of
/// `system`, on `device`.
#[inline(always)]
fn is_below_a_folder<O: Object>(dentry: O, system: O, device: u32, state: FoldersState) -> bool {
    let first = dentry.follow(&O_DENTRY_PARENT);
    let cleared = Cleared::of(first, system, device, state);
    if cleared.is_known() {
        return false;
    }
    let may_be_remembered = cleared.is_certain();
    // Not that of the file: an overlay's may be opened under the overlay's name.
    let device = self::device(first.follow(&O_DENTRY_INODE));
    let mut at = dentry;
    for _ in 0..MAX_FOLDER_DEPTH {
        let parent = at.follow(&O_DENTRY_PARENT);
        if parent == at || parent.is_none() {
            if may_be_remembered {
                cleared.remember();
            }
            return false;
        }
        let folder = FileKey {
            inode: parent.follow(&O_DENTRY_INODE).read(&O_INODE_NUMBER),
            device,
            reserved: 0,
        };
        if FOLDERS.get_ptr(&folder).is_some() {
            return true;
        }
        at = parent;
    }
    access::lose(FileLoss::TooDeep);
    // It may be: where a policy is enforced, nobody gets in by depth.
    enforce::is_on()
}
