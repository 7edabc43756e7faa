//! `/proc/PID/mountinfo`: which file systems a process sees, and where.
//!
//! Only what the kernel says is read here. No path is looked up: the file systems on the way may belong
//! to anybody, and need not answer.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::sys::changes::has_changed;

/// Most bytes that are read: some 20,000 mounts. A namespace may have 100,000 (`fs.mount-max`).
const MOST_BYTES: usize = 4 << 20;
/// How often it is read while somebody mounts meanwhile.
const TRIES: u32 = 3;

/// Which mounts a process sees: those of its namespace that lie below its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Standpoint {
    /// Number of the mount namespace. It goes to another one once this one is gone.
    pub(crate) namespace: u64,
    root_mount: u64,
    root_inode: u64,
}

impl Standpoint {
    /// That of a process.
    ///
    /// # Errors
    /// If the process has ended.
    ///
    /// # Minimum kernel version
    /// 5.8, for the mount's number.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let namespace = fs::metadata(format!("/proc/{pid}/ns/mnt"))?.ino();
        // Follows the link to the very folder, and asks its file system nothing.
        let root = statx(
            CWD,
            format!("/proc/{pid}/root"),
            AtFlags::STATX_DONT_SYNC,
            StatxFlags::INO | StatxFlags::MNT_ID,
        )?;
        Ok(Self {
            namespace,
            root_mount: root.stx_mnt_id,
            root_inode: root.stx_ino,
        })
    }
}

/// Where a file lies on its file system, whatever is mounted where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The file system's device in the kernel's encoding, `major << 20 | minor`.
    device: u32,
    path: PathBuf,
}

/// The mounts that a process sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mounts {
    mounts: Vec<Mount>,
    /// The mount that the process's root lies on. Of a root that is no mount's own one, as after
    /// `chroot`, it is not among `mounts`.
    root: u64,
}

impl Mounts {
    /// Those that a process sees now, from one moment, and a file that says whether they have changed.
    ///
    /// That file keeps the namespace and all that is mounted in it alive: let go of another process's at
    /// once.
    ///
    /// # Errors
    /// If the process has ended, has more mounts than are looked at, or somebody mounts all the time.
    pub(crate) fn read(pid: u32, from: Standpoint) -> io::Result<(Self, File)> {
        for _ in 0..TRIES {
            let file = File::open(format!("/proc/{pid}/mountinfo"))?;
            let mut text = Vec::new();
            (&file).take(MOST_BYTES as u64 + 1).read_to_end(&mut text)?;
            if text.len() > MOST_BYTES {
                return Err(io::Error::other("it has more mounts than are looked at"));
            }
            if !has_changed(file.as_fd())? {
                let mounts = Self::parse(&text, from.root_mount);
                return Ok((mounts, file));
            }
        }
        Err(io::Error::other("its mounts change all the time"))
    }

    fn parse(text: &[u8], root: u64) -> Self {
        let lines = text.split(|&byte| byte == b'\n');
        Self {
            mounts: lines.filter_map(Mount::parse).collect(),
            root,
        }
    }

    /// Where on its file system the file lies to which a path leads. The path has no links.
    pub(crate) fn spot(&self, path: &Path) -> Option<Spot> {
        let mount = self.reached_by(path)?;
        let rest = path.strip_prefix(&mount.point).ok()?;
        Some(Spot {
            device: mount.device,
            path: below(mount.root.as_ref()?, rest),
        })
    }

    /// A path that leads there, if one does.
    pub(crate) fn path_to(&self, spot: &Spot) -> Option<PathBuf> {
        self.mounts
            .iter()
            .filter(|mount| mount.device == spot.device)
            .find_map(|mount| {
                let rest = spot.path.strip_prefix(mount.root.as_ref()?).ok()?;
                let path = below(&mount.point, rest);
                // Not where something else is mounted over it.
                let reached = self.reached_by(&path)?;
                (reached.id == mount.id).then_some(path)
            })
    }

    /// Whether a path leads to a folder or file on the mount on which that root lies.
    pub(crate) fn leads_to_root_of(&self, path: &Path, other: Standpoint) -> bool {
        let reached = self.reached_by(path);
        reached.is_some_and(|mount| mount.id == other.root_mount)
    }

    /// The mount on which a path ends, as the kernel walks it: from the root, onto whatever is mounted on
    /// the way. What is mounted on the root itself is not on the way.
    fn reached_by(&self, path: &Path) -> Option<&Mount> {
        let mut here = self.mounts.iter().find(|mount| mount.id == self.root);
        // Each step leads to another mount.
        for _ in 0..self.mounts.len() {
            let Some(next) = self.next_on(path, here) else {
                break;
            };
            here = Some(next);
        }
        here
    }

    /// The first mount on the way from `here`, none for a root that is not listed, along a path.
    fn next_on(&self, path: &Path, here: Option<&Mount>) -> Option<&Mount> {
        let is_on = |mount: &Mount| match here {
            Some(here) => mount.parent == here.id && mount.id != here.id,
            None => !self.mounts.iter().any(|above| above.id == mount.parent),
        };
        let is_root = here.is_none_or(|here| here.id == self.root);
        self.mounts
            .iter()
            .filter(|mount| is_on(mount) && path.starts_with(&mount.point))
            .filter(|mount| !is_root || mount.point != Path::new("/"))
            .min_by_key(|mount| mount.point.as_os_str().len())
    }
}

/// A mount, in the order of `proc_pid_mountinfo(5)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    id: u64,
    /// The mount that it is mounted on.
    parent: u64,
    device: u32,
    /// What of the file system is mounted; none if that has no name any more.
    root: Option<PathBuf>,
    /// Where, from the process's root.
    point: PathBuf,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let mut text = || std::str::from_utf8(fields.next()?).ok();
        let id = text()?.parse().ok()?;
        let parent = text()?.parse().ok()?;
        let (major, minor) = text()?.split_once(':')?;
        let device = major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?;
        let root = fields.next()?;
        // So the kernel marks it (`dentry_path` in fs/d_path.c).
        let is_named = !root.ends_with(b"//deleted");
        Some(Self {
            id,
            parent,
            device,
            root: is_named.then(|| unescaped(root)),
            point: unescaped(fields.next()?),
        })
    }
}

/// The device of one of the mounts that a process sees.
pub(crate) fn device_of_mount(pid: u32, id: u64) -> Option<u32> {
    let text = fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
    let mut lines = text.split(|&byte| byte == b'\n').filter_map(Mount::parse);
    lines.find(|mount| mount.id == id).map(|mount| mount.device)
}

/// A folder's path, or that of what lies below it.
fn below(folder: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        folder.to_owned()
    } else {
        folder.join(rest)
    }
}

/// A path in which the kernel has written blanks and backslashes as `\040` and the like.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let escaped = match rest {
            [
                b'\\',
                high @ b'0'..=b'3',
                middle @ b'0'..=b'7',
                low @ b'0'..=b'7',
                after @ ..,
            ] => {
                let digit = |digit: &u8| digit - b'0';
                Some((digit(high) << 6 | digit(middle) << 3 | digit(low), after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*byte, after));
        bytes.push(byte);
        rest = after;
    }
    OsStr::from_bytes(&bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host: a disk with models on it, and another one over part of it.
    const HOST: &str = "\
        20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        21 20 0:5 / /proc rw - proc proc rw\n\
        30 20 8:16 /data /srv/models rw - ext4 /dev/sdb rw\n";

    /// A container's: a root of its own, with the models' folder, one single file, and a folder that is
    /// hidden by another one.
    const CONTAINER: &str = "\
        50 49 0:70 / / rw - overlay overlay rw,lowerdir=/a:/b\n\
        51 50 0:71 / /proc rw - proc proc rw\n\
        52 50 8:16 /data/llama /hidden ro - ext4 /dev/sdb rw\n\
        53 52 0:72 / /hidden rw - tmpfs tmpfs rw\n\
        54 50 8:16 /data/llama /the\\040models ro - ext4 /dev/sdb rw\n\
        55 50 8:16 /data/one.gguf /model.gguf ro - ext4 /dev/sdb rw\n\
        56 50 8:16 /data/old//deleted /old ro - ext4 /dev/sdb rw\n";

    fn mounts(text: &str, root: u64) -> Mounts {
        Mounts::parse(text.as_bytes(), root)
    }

    fn inside(container: &Mounts, path: &str) -> Option<String> {
        let spot = mounts(HOST, 20).spot(Path::new(path)).expect("it is seen");
        let path = container.path_to(&spot)?;
        Some(path.to_str().expect("it is text").to_owned())
    }

    #[test]
    fn a_path_outside_is_translated_to_the_one_inside() {
        let container = mounts(CONTAINER, 50);
        let inside = |path| inside(&container, path);
        // Where it is not hidden, and with the blank that the kernel has escaped.
        let found = inside("/srv/models/llama/a.gguf");
        assert_eq!(found.as_deref(), Some("/the models/a.gguf"));
        let found = inside("/srv/models/one.gguf");
        assert_eq!(found.as_deref(), Some("/model.gguf"));
    }

    #[test]
    fn what_is_mounted_nowhere_inside_has_no_path_there() {
        let container = mounts(CONTAINER, 50);
        for path in [
            "/srv/models/other.gguf",
            "/srv/models/llama.gguf",
            // What was mounted is gone, and this is another folder.
            "/srv/models/old/deleted",
            "/etc/passwd",
        ] {
            assert_eq!(inside(&container, path), None, "{path}");
        }
    }

    #[test]
    fn what_is_mounted_over_a_folder_hides_it() {
        let text = format!("{CONTAINER}57 54 0:73 / /the\\040models/big rw - tmpfs tmpfs rw\n");
        let container = mounts(&text, 50);
        assert_eq!(inside(&container, "/srv/models/llama/big/a.gguf"), None);
        let found = inside(&container, "/srv/models/llama/small/a.gguf");
        assert_eq!(found.as_deref(), Some("/the models/small/a.gguf"));
    }

    /// As in a system in memory, whose first root cannot be left: the process's root is the mount on it.
    #[test]
    fn a_root_begins_where_the_process_says() {
        let text = "\
            1 1 0:2 / / rw - rootfs rootfs rw\n\
            9 1 0:80 / / rw - tmpfs root rw\n\
            10 9 8:16 /data /models rw - ext4 /dev/sdb rw\n";
        let found = inside(&mounts(text, 9), "/srv/models/a");
        assert_eq!(found.as_deref(), Some("/models/a"));
        // From the first root nothing leads onto what is mounted on it.
        assert_eq!(inside(&mounts(text, 1), "/srv/models/a"), None);
    }

    /// `chroot` into a folder: only what is mounted below it is listed.
    #[test]
    fn below_a_root_that_is_no_mount_the_mounts_are_found() {
        let text = "60 20 8:16 /data /models rw - ext4 /dev/sdb rw\n";
        let found = inside(&mounts(text, 20), "/srv/models/a");
        assert_eq!(found.as_deref(), Some("/models/a"));
        assert_eq!(inside(&mounts(text, 20), "/etc/passwd"), None);
    }

    #[test]
    fn what_is_no_line_of_mountinfo_is_passed_over() {
        for line in [
            b"".as_slice(),
            b"1",
            b"1 2 3 / /",
            b"1 2 8:1 /",
            b"1 2 99999999999:1 / /",
            b"a b c:d / /",
            b"\xff \xff",
        ] {
            assert_eq!(Mount::parse(line), None, "{line:?}");
        }
        assert_eq!(unescaped(b"a\\011b\\134\\9\\"), Path::new("a\tb\\\\9\\"));
        assert_eq!(
            unescaped(b"\\400\xff"),
            Path::new(OsStr::from_bytes(b"\\400\xff"))
        );
    }

    #[test]
    fn a_path_that_is_no_text_is_a_path() {
        let mount = Mount::parse(b"1 2 8:1 / /\xff rw - ext4 /dev/sda1 rw").expect("a whole line");
        assert_eq!(mount.point, Path::new(OsStr::from_bytes(b"/\xff")));
        assert_eq!((mount.id, mount.device), (1, 8 << 20 | 1));
    }

    #[test]
    fn mounts_on_each_other_end_the_walk() {
        let text = "\
            1 2 0:1 / /a rw - x x rw\n\
            2 1 0:2 / /a rw - x x rw\n";
        assert!(mounts(text, 1).spot(Path::new("/a/b")).is_some());
        assert_eq!(mounts(text, 3).spot(Path::new("/a/b")), None);
    }

    #[test]
    fn this_process_sees_itself_where_it_is() {
        let pid = std::process::id();
        let from = Standpoint::of(pid).expect("this process lives");
        let (mounts, _) = Mounts::read(pid, from).expect("own mounts are readable");
        let exe = std::env::current_exe().expect("/proc is mounted");
        let exe = fs::canonicalize(exe).expect("it is there");
        let spot = mounts.spot(&exe).expect("it lies on a mount");
        let path = mounts.path_to(&spot).expect("it is seen");
        // Perhaps by another way, but it is that file.
        let ino = |path: &Path| fs::metadata(path).expect("it is there").ino();
        assert_eq!(ino(&path), ino(&exe));
    }
}
