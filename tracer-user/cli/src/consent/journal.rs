//! The trace that every capture above `shape` leaves in the host's own log, before its first
//! event: who, what, of whom, for how long.
//!
//! It goes to the first of these that takes it: the systemd journal, the syslog socket, and, on a
//! host that runs neither (a container, an initramfs), an append-only file that only root can
//! read. A run that none of them takes is refused.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt},
        net::UnixDatagram,
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use rustix::fs::{Mode, OFlags};

use crate::trouble::Trouble;

/// journald's datagram socket (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).
const JOURNALD: &str = "/run/systemd/journal/socket";
/// The socket of `syslog(3)`.
const SYSLOG: &str = "/dev/log";
/// Folder of the log of hosts without either.
const OWN_FOLDER: &str = "/var/log/tracer";
/// The log of hosts without either.
const OWN_FILE: &str = "/var/log/tracer/captures.log";

/// Facility authpriv (10), severity notice (5), as RFC 5424 numbers them: `10 * 8 + 5`.
const SYSLOG_PRIORITY: u8 = 85;

/// A log that has taken an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journal {
    Journald,
    Syslog,
    OwnFile,
}

impl Journal {
    /// Where a person finds the entry.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Journald => "the journal (journalctl -t tracer)",
            Self::Syslog => "the system log, from `tracer`",
            Self::OwnFile => OWN_FILE,
        }
    }

    /// Writes one more entry to the same log.
    ///
    /// # Errors
    /// If the log no longer takes it.
    pub(crate) fn write(self, entry: &str) -> io::Result<()> {
        let entry = one_line(entry);
        match self {
            Self::Journald => send(
                JOURNALD,
                format!(
                    "MESSAGE={entry}\nPRIORITY=5\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=tracer\n"
                )
                .as_bytes(),
            ),
            Self::Syslog => send(
                SYSLOG,
                format!("<{SYSLOG_PRIORITY}>tracer[{}]: {entry}", std::process::id()).as_bytes(),
            ),
            Self::OwnFile => append(&entry),
        }
    }
}

/// Writes the entry to the host's log.
///
/// # Errors
/// If no log takes it; the capture must not begin then.
pub(crate) fn record(entry: &str) -> Result<Journal, Trouble> {
    let mut refusals = Vec::new();
    for (journal, path) in [
        (Journal::Journald, JOURNALD),
        (Journal::Syslog, SYSLOG),
        (Journal::OwnFile, OWN_FILE),
    ] {
        match journal.write(entry) {
            Ok(()) => return Ok(journal),
            Err(error) => refusals.push(format!("{path}: {error}")),
        }
    }
    Err(Trouble::new(
        format!(
            "cannot capture content: no log of this host takes the entry that such a run must \
             leave ({})",
            refusals.join("; ")
        ),
        format!("start the system's journal, or make {OWN_FOLDER} writable for root"),
    ))
}

/// Who runs this: the user of the login session as the kernel's audit knows it, and the one that
/// sudo names.
pub(crate) fn caller() -> String {
    let login = fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    let login = match login.trim() {
        // (uid_t)-1: the process descends from no login.
        "" | "4294967295" => "none".to_owned(),
        uid => uid.to_owned(),
    };
    let user = rustix::process::getuid().as_raw();
    match std::env::var("SUDO_USER") {
        Ok(sudo) => format!("uid {user}, login uid {login}, sudo by {sudo}"),
        Err(_) => format!("uid {user}, login uid {login}"),
    }
}

/// An entry is one line: a newline in a name must not begin another field or entry.
fn one_line(entry: &str) -> String {
    entry
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn send(socket: &str, datagram: &[u8]) -> io::Result<()> {
    // A log daemon that does not read must not hang the command.
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to(datagram, socket).map(drop)
}

fn append(entry: &str) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(OWN_FOLDER)?;
    let folder = fs::symlink_metadata(OWN_FOLDER)?;
    if !folder.is_dir() || folder.uid() != 0 || folder.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "{OWN_FOLDER} is not a folder that only root writes"
        )));
    }
    let file = rustix::fs::open(
        OWN_FILE,
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )?;
    let mut file = File::from(file);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    file.write_all(format!("{now} tracer[{}]: {entry}\n", std::process::id()).as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_whatever_the_names_in_it() {
        assert_eq!(one_line("run\nPRIORITY=0\u{1b}[0m"), "run PRIORITY=0 [0m");
    }

    #[test]
    fn the_caller_is_named_by_number() {
        assert!(caller().starts_with(&format!("uid {}", rustix::process::getuid().as_raw())));
    }
}
