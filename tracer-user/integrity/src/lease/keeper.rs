//! The lease keeper: a small process of its own that takes the leases which it is sent descriptors
//! for, and gives back those that break. It goes on when the process that hashes is stopped, and
//! its end closes its descriptors.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
        sendmsg, socketpair, sockopt,
    },
};
use tracer_probe::model_file;

use super::is_held;

/// How often the keeper looks. It acts when the other process cannot, so that it may be slower.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long an answer may take before the keeper counts as stopped.
const PATIENCE: Duration = Duration::from_secs(1);
/// One word that says what to do, and the lease's number.
const REQUEST: usize = 9;
const TAKE: u8 = b'T';
const FORGET: u8 = b'F';

/// The other end: asks the keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    socket: OwnedFd,
    /// The keeper's process, in a group of its own: a Ctrl-Z that stops this process is not for it.
    process: Option<Child>,
}

impl Keeper {
    /// Starts the process.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let (ours, theirs) = socket_pair()?;
        let process = command
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut keeper = Self::over(ours)?;
        keeper.process = Some(process);
        Ok(keeper)
    }

    /// A keeper that serves the other end of `socket` already.
    pub(super) fn over(socket: OwnedFd) -> io::Result<Self> {
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self {
            socket,
            process: None,
        })
    }

    /// Lets the keeper take a lease; the inner result is what the kernel said to that.
    ///
    /// # Errors
    /// If the keeper has ended or does not answer.
    pub(super) fn take(
        &mut self,
        number: u64,
        file: BorrowedFd<'_>,
    ) -> io::Result<Result<(), Errno>> {
        let descriptors = [file];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let request = request(TAKE, number);
        sendmsg(
            &self.socket,
            &[IoSlice::new(&request)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        let answer = self.answer_to(number);
        if answer.is_err() {
            self.forget(number);
        }
        answer
    }

    fn answer_to(&self, number: u64) -> io::Result<Result<(), Errno>> {
        // An answer that came too late for an earlier request is not this one's.
        loop {
            let mut answer = [0; 12];
            let length = rustix::io::read(&self.socket, &mut answer)?;
            let (to, code) = answer
                .first_chunk::<8>()
                .zip(answer.last_chunk::<4>())
                .expect("the array has both");
            if length != answer.len() {
                return Err(io::Error::other("it has ended"));
            }
            if u64::from_ne_bytes(*to) == number {
                return Ok(match i32::from_ne_bytes(*code) {
                    0 => Ok(()),
                    code => Err(Errno::from_raw_os_error(code)),
                });
            }
        }
    }

    /// Lets the keeper close its descriptor.
    pub(super) fn forget(&mut self, number: u64) {
        let request = request(FORGET, number);
        // A keeper that has ended has closed it.
        let _ = sendmsg(
            &self.socket,
            &[IoSlice::new(&request)],
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        );
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It has nothing to finish; killing it also ends one that was stopped.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The two ends between a process and its keeper.
pub(super) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Serves the process at the other end of `socket` until that has ended.
///
/// # Errors
/// If the socket cannot be read.
pub fn serve(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut leases: Vec<(u64, OwnedFd)> = Vec::new();
    loop {
        leases.retain(|(_, file)| {
            let whole = is_held(file);
            if !whole {
                // Given back by the other process already, if that is not stopped.
                let _ = model_file::release_lease(file.as_fd());
            }
            whole
        });
        let interval = Timespec::try_from(INTERVAL).expect("50 ms fit");
        let timeout = (!leases.is_empty()).then_some(&interval);
        let mut ready = [PollFd::new(&socket, PollFlags::IN)];
        match poll(&mut ready, timeout) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let Some((what, number, file)) = next_request(socket)? else {
            return Ok(());
        };
        match (what, file) {
            (TAKE, Some(file)) => {
                let taken = model_file::take_read_lease(file.as_fd());
                let code = taken
                    .as_ref()
                    .map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0);
                let mut answer = [0; 12];
                answer[..8].copy_from_slice(&number.to_ne_bytes());
                answer[8..].copy_from_slice(&code.to_ne_bytes());
                if taken.is_ok() {
                    leases.push((number, file));
                }
                match rustix::io::write(socket, &answer) {
                    Ok(_) => {}
                    Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            _ => leases.retain(|(known, file)| {
                let other = *known != number;
                if !other {
                    // The process that asks has done so, unless it gave up waiting for the answer.
                    let _ = model_file::release_lease(file.as_fd());
                }
                other
            }),
        }
    }
}

/// The next request, with the descriptor that came along; `None` when the other process has ended.
fn next_request(socket: BorrowedFd<'_>) -> io::Result<Option<(u8, u64, Option<OwnedFd>)>> {
    let mut request = [0; REQUEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut request)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    );
    let received = match received {
        Ok(received) => received,
        Err(Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    if received.bytes != REQUEST || received.flags.contains(ReturnFlags::TRUNC) {
        return Ok(None);
    }
    let [what, number @ ..] = request;
    Ok(Some((what, u64::from_ne_bytes(number), file)))
}

fn request(what: u8, number: u64) -> [u8; REQUEST] {
    let mut request = [what; REQUEST];
    request[1..].copy_from_slice(&number.to_ne_bytes());
    request
}
