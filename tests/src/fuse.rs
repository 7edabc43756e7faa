//! A file system in user space with one file, as somebody would write who wants a tracer to wait for
//! ever, or to see something else each time. It speaks the kernel's protocol itself
//! (`include/uapi/linux/fuse.h`, version 7.31).

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const HEADER: usize = 40;
const ROOT: u64 = 1;
const FILE: u64 = 2;
/// Reads do not hold up the asker in the kernel: it can be killed. What libfuse asks for by default.
const ASYNC_READ: u32 = 1;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

/// The one file's name.
pub const NAME: &str = "library.so";

/// How the file system behaves.
#[derive(Debug, Default)]
pub struct Behaviour {
    /// Reads are never answered while it is set.
    pub stalls: AtomicBool,
    /// Each read counts as a change.
    pub changes: AtomicBool,
    /// Reads that were asked for.
    pub reads: AtomicU64,
}

/// The mounted file system. It is unmounted, and its stalled readers are let go, when this is dropped.
#[derive(Debug)]
pub struct Fuse {
    /// What it does.
    pub behaviour: Arc<Behaviour>,
    folder: TempDir,
}

impl Fuse {
    /// Mounts a file system whose file holds `content`.
    ///
    /// # Errors
    /// When the kernel has no FUSE, or this user may not mount.
    pub fn mount(content: Vec<u8>) -> Result<Self> {
        let device = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .context("cannot open /dev/fuse")?;
        let folder = tempfile::tempdir()?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        let options = std::ffi::CString::new(options)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount(
            "tracer-test",
            folder.path(),
            "fuse",
            flags,
            options.as_c_str(),
        )
        .context("cannot mount a FUSE file system")?;
        let behaviour = Arc::new(Behaviour::default());
        let server = Server {
            device,
            content,
            behaviour: Arc::clone(&behaviour),
        };
        thread::spawn(move || server.serve());
        Ok(Self { behaviour, folder })
    }

    /// Where the file is.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        abort(self.folder.path());
        let _ = unmount(self.folder.path(), UnmountFlags::DETACH);
    }
}

/// Ends every request that waits, so that nobody is left in the kernel.
fn abort(mounted: &Path) {
    let maps = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = mounted.to_string_lossy();
    let line = maps
        .lines()
        .find(|line| line.split(' ').nth(4) == Some(&*path));
    let device = line.and_then(|line| line.split(' ').nth(2)?.split_once(':'));
    let Some((_, minor)) = device else { return };
    let connections = Path::new("/sys/fs/fuse/connections");
    if !connections.join(minor).exists() {
        let flags = MountFlags::empty();
        let _ = mount(
            "fusectl",
            connections,
            "fusectl",
            flags,
            None::<&std::ffi::CStr>,
        );
    }
    let _ = fs::write(connections.join(minor).join("abort"), "1");
}

struct Server {
    device: File,
    content: Vec<u8>,
    behaviour: Arc<Behaviour>,
}

impl Server {
    fn serve(mut self) {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let length = match self.device.read(&mut buffer) {
                Ok(length) => length,
                // The asker was killed before its request was read.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The file system was unmounted.
                Err(_) => return,
            };
            let request = &buffer[..length];
            if request.len() < HEADER {
                return;
            }
            let unique = word(request, 8);
            let reply = self.answer(request);
            let (error, body) = match reply {
                Some(Ok(body)) => (0, body),
                Some(Err(error)) => (-error, Vec::new()),
                None => continue,
            };
            let mut answer = Vec::new();
            answer.extend((16 + body.len() as u32).to_ne_bytes());
            answer.extend(error.to_ne_bytes());
            answer.extend(unique.to_ne_bytes());
            answer.extend(body);
            // The asker may have given up.
            let _ = self.device.write(&answer);
        }
    }

    /// The answer's body, an error number, or nothing for what is not answered.
    fn answer(&self, request: &[u8]) -> Option<Result<Vec<u8>, i32>> {
        let (opcode, node) = (word(request, 0) >> 32, word(request, 16));
        match opcode as u32 {
            INIT => {
                let mut body = Vec::new();
                for number in [7_u32, 31, 1 << 17, ASYNC_READ, 0, 1 << 17, 1, 0] {
                    body.extend(number.to_ne_bytes());
                }
                body.resize(64, 0);
                Some(Ok(body))
            }
            LOOKUP => {
                let name = request[HEADER..].split(|&byte| byte == 0).next();
                if name != Some(NAME.as_bytes()) {
                    return Some(Err(ENOENT));
                }
                let mut body = Vec::new();
                for number in [FILE, 0, 0, 0, 0] {
                    body.extend(number.to_ne_bytes());
                }
                body.extend(self.attributes(FILE));
                Some(Ok(body))
            }
            GETATTR => {
                let mut body = vec![0; 16];
                body.extend(self.attributes(node));
                Some(Ok(body))
            }
            OPEN => Some(Ok(vec![0; 16])),
            READ => {
                self.behaviour.reads.fetch_add(1, Ordering::Relaxed);
                if self.behaviour.stalls.load(Ordering::Relaxed) {
                    return None;
                }
                let offset = (word(request, HEADER + 8) as usize).min(self.content.len());
                let size = word(request, HEADER + 16) as u32 as usize;
                let end = (offset + size).min(self.content.len());
                Some(Ok(self.content[offset..end].to_vec()))
            }
            STATFS => Some(Ok(vec![0; 80])),
            RELEASE | FLUSH => Some(Ok(Vec::new())),
            FORGET | BATCH_FORGET | INTERRUPT => None,
            _ => Some(Err(ENOSYS)),
        }
    }

    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = if node == ROOT {
            (0o040_755_u32, 0)
        } else {
            (0o100_755, self.content.len() as u64)
        };
        let changed = if self.behaviour.changes.load(Ordering::Relaxed) {
            self.behaviour.reads.load(Ordering::Relaxed)
        } else {
            0
        };
        let mut body = Vec::new();
        for number in [node, size, size / 512 + 1, 1, 1 + changed, 1 + changed] {
            body.extend(number.to_ne_bytes());
        }
        for number in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
            body.extend(number.to_ne_bytes());
        }
        body
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    word.map_or(0, u64::from_ne_bytes)
}
