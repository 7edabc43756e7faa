//! What a confined process can still do, found out by trying.
//!
//! Each test runs this program once more as a child, which confines itself and then tries.

use std::{
    fs::{self, File},
    io::ErrorKind,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Command,
};

use tracer_agent::confine::{self, CAPTURE_NEEDS, Reach};

const CHILD: &str = "TRACER_CONFINED";
/// nobody and nogroup, on every Debian.
const NOBODY: (u32, u32) = (65534, 65534);

/// Runs a test of this file in a process of its own; tells whether this is that process.
fn is_child(test: &str, folder: &Path) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let this = std::env::current_exe().expect("a test has a file");
    let output = Command::new(this)
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, folder)
        .output()
        .expect("it runs once more");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{test}:\n{text}");
    assert!(text.contains("1 passed"), "{text}");
    false
}

fn given_folder() -> PathBuf {
    std::env::var_os(CHILD).expect("the parent sets it").into()
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "giving up rights needs root, and CI=true forbids skipping it"
        );
        println!("skipped: giving up rights needs root");
    }
    is_root
}

/// A line of this process's status.
fn status(name: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").expect("it may read its own");
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with(name));
    let line = line.expect("every kernel tells it");
    line[name.len()..].trim_start_matches(':').trim().to_owned()
}

#[track_caller]
fn refused<T>(result: std::io::Result<T>) {
    match result {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        Err(error) => panic!("refused as {error}"),
        Ok(_) => panic!("allowed"),
    }
}

#[test]
fn capture_has_few_rights_and_no_network() {
    let folder = tempfile::tempdir().unwrap();
    if !is_root() || !is_child("capture_has_few_rights_and_no_network", folder.path()) {
        return;
    }
    // Before: it could.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(TcpStream::connect(address).unwrap());
    confine::capture(false, false).unwrap();
    let kept: u64 = CAPTURE_NEEDS
        .iter()
        .filter(|(capability, _)| *capability != rustix::thread::CapabilitySet::SYS_ADMIN)
        .map(|(capability, _)| capability.bits())
        .sum();
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(status(set), format!("{kept:016x}"), "{set}");
    }
    assert_eq!(status("CapAmb"), "0000000000000000");
    assert_eq!((&*status("NoNewPrivs"), &*status("Seccomp")), ("1", "2"));

    refused(TcpStream::connect(address));
    refused(UdpSocket::bind("127.0.0.1:0"));
    refused(TcpListener::bind("[::1]:0"));
    let socket = given_folder().join("socket");
    let local = UnixListener::bind(&socket).unwrap();
    UnixStream::connect(&socket).unwrap();
    drop(local);
    // Threads and whatever it starts have no more than it has.
    std::thread::spawn(move || refused(TcpStream::connect(address)))
        .join()
        .unwrap();
    let script = "import ctypes, os\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        def call(number, *arguments):\n    \
            result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])\n    \
            return ctypes.get_errno() if result < 0 else 0\n\
        for family in (2, 10, 16, 17, 40):\n    \
            assert call(41, family, 2, 0) == 1, ('socket', family)\n    \
            assert call(0x40000000 | 41, family, 2, 0) == 1, ('x32', family)\n\
        assert call(425, 8, 0) == 1, 'io_uring'\n\
        assert call(101, 16, os.getppid(), 0, 0) == 1, 'ptrace'\n\
        assert call(308, 0, 0) == 1, 'setns'\n\
        assert call(41, 1, 1, 0) == 0, 'AF_UNIX'\n\
        print('tried everything')\n";
    let tried = Command::new("python3")
        .args(["-c", script])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&tried.stdout),
        "tried everything\n",
        "{}",
        String::from_utf8_lossy(&tried.stderr)
    );
    // What it did not keep is gone: changing an owner needs CAP_CHOWN.
    let file = given_folder().join("file");
    File::create(&file).unwrap();
    refused(std::os::unix::fs::chown(&file, Some(1), None));
}

#[test]
fn ship_has_no_rights_and_reaches_its_folder_and_port_alone() {
    let folder = tempfile::tempdir().unwrap();
    let name = "ship_has_no_rights_and_reaches_its_folder_and_port_alone";
    if !is_root() || !is_child(name, folder.path()) {
        return;
    }
    let folder = given_folder();
    std::os::unix::fs::chown(&folder, Some(NOBODY.0), Some(NOBODY.1)).unwrap();
    let [allowed, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [allowed_at, other_at] = [&allowed, &other].map(|listener| listener.local_addr().unwrap());
    confine::become_user(NOBODY.0, NOBODY.1).unwrap();
    // Before: it could.
    drop(TcpStream::connect(other_at).unwrap());
    File::open("/etc/passwd").unwrap();
    let reach = Reach {
        written: &[&folder],
        read: &[],
        ports: &[allowed_at.port()],
        ends_with_parent: false,
    };
    let landlock = confine::ship(&reach).unwrap();
    println!("Landlock: {landlock:?}");
    assert_eq!(landlock, landlock::RulesetStatus::FullyEnforced);

    // /proc of this process is root's now, and no folder of ship's: its kernel says it by trying.
    refused(fs::read_to_string("/proc/thread-self/status"));
    refused(File::open("/etc/passwd"));
    refused(fs::read_dir("/"));
    refused(File::create("/tmp/tracer-confine-test"));
    let own = folder.join("segment");
    fs::write(&own, "sealed").unwrap();
    assert_eq!(fs::read_to_string(&own).unwrap(), "sealed");
    fs::rename(&own, folder.join("renamed")).unwrap();
    fs::remove_file(folder.join("renamed")).unwrap();
    fs::create_dir(folder.join("spool")).unwrap();
    drop(TcpStream::connect(allowed_at).unwrap());
    refused(TcpStream::connect(other_at));
    refused(TcpListener::bind("127.0.0.1:0"));
    refused(Command::new("/bin/true").spawn());
    let root = rustix::process::set_parent_process_death_signal(None);
    assert_eq!(root, Err(rustix::io::Errno::PERM), "prctl");
    assert!(rustix::thread::set_thread_uid(rustix::process::Uid::ROOT).is_err());
    assert!(
        std::thread::spawn(|| 7)
            .join()
            .is_ok_and(|seven| seven == 7)
    );
}
