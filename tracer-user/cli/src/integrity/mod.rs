//! `tracer verify` and `tracer sign`: whether a model's files are those that somebody vouched for.

pub(crate) mod sign;
pub(crate) mod verify;
mod view;
pub(crate) mod vouched;

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd as _,
    path::Path,
    process::Command,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use tracer_integrity::{
    hash,
    lease::{Leases, keeper},
};

use crate::outcome::Outcome;
use crate::{output::progress::Progress, text};

/// The longest key or certificate file that is read.
const MAX_PEM: u64 = 4 << 20;

/// The lease keeper: this program once more, which a stop of the first one does not stop.
pub(crate) fn leases() -> Leases {
    Leases::start(Command::new("/proc/self/exe").arg("lease-keeper"))
}

/// `tracer lease-keeper`.
///
/// # Errors
/// If standard input is not the socket of a tracer.
pub(crate) fn keep_leases() -> Result<Outcome> {
    keeper::serve(io::stdin().as_fd())
        .context("lease-keeper is started by tracer itself, with a socket as standard input")?;
    Ok(Outcome::Something)
}

/// Reads a file of at most `limit` bytes.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .with_context(|| format!("read {}", path.display()))?;
    ensure!(
        bytes.len() as u64 <= limit,
        "{} is longer than {}",
        path.display(),
        text::size(limit)
    );
    Ok(bytes)
}

/// Reads keys or certificates.
fn read_pem(path: &Path) -> Result<Vec<u8>> {
    read(path, MAX_PEM)
}

/// Shows how far the hashing is, from its second second on.
fn show(progress: &Arc<hash::Progress>) -> Progress {
    let progress = Arc::clone(progress);
    let start = Instant::now();
    Progress::showing("hashing", move || {
        let (done, total) = progress.bytes();
        let percent = (done * 100).checked_div(total).unwrap_or(0);
        let per_second = done as f64 / start.elapsed().as_secs_f64();
        format!(
            "{} of {} ({percent} %), {}/s",
            text::size(done),
            text::size(total.max(done)),
            text::size(per_second as u64),
        )
    })
}
