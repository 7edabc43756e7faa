//! Verdicts on the files of loaded models: a thread hashes the very inode that the process maps and
//! compares it with what somebody vouched for, while the tracing goes on.

mod writers;

use std::{
    os::unix::ffi::OsStrExt as _,
    process::Command,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tracer_event::{
    Body, Content, Digest, Inode, Known, Label, ModelId, Name, Nanos, Pid, Raw, RedactedEvent,
    integrity::{FileVerdict, VerdictGuarantee, VerdictOutcome},
};
use tracer_integrity::{
    Algorithm, ContentDigest, Guarantee,
    expected::{Expected, ExpectedFile},
    hash::Hashed,
    lease::Leases,
};
use tracer_probe::process::{FileId, MappedFile, file_mappings};

use self::writers::Writers;
use crate::{
    arguments::meant::integrity::Against,
    integrity::{
        self,
        vouched::{self, of_store, words},
    },
};

/// Files that wait to be hashed, at most. What comes beyond gets its verdict at once: nobody can
/// tell.
const WAITING: usize = 64;

/// How often writers are looked for while nothing is asked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The thread that hashes, and what it has been asked for.
pub(super) struct Vouching {
    source: Name,
    requests: SyncSender<Request>,
    verdicts: Receiver<Answer>,
    /// Asked for and not answered yet.
    open: Vec<Request>,
}

/// A file that a model was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    pid: Pid,
    model: ModelId,
    inode: Inode,
}

struct Answer {
    request: Request,
    verdict: FileVerdict<Raw<Content>>,
}

/// A verdict and whose it is.
pub(super) type Verdict = (Pid, FileVerdict<Raw<Content>>);

impl Vouching {
    /// Reads what the model files are to be compared with, and starts the thread.
    ///
    /// # Errors
    /// If that cannot be read, or is a signature that is not valid.
    pub(super) fn start(against: &Against) -> Result<Self> {
        let known = match against {
            Against::Store => KnownFiles::Store,
            listed => KnownFiles::Listed(integrity::verify::expected_files(listed)?),
        };
        let source = Name::new(&against.to_string());
        let (requests, to_do) = mpsc::sync_channel::<Request>(WAITING);
        // Never fuller than what was asked for.
        let (done, verdicts) = mpsc::channel();
        let hasher = Hasher {
            known,
            source: source.clone(),
            leases: Leases::start(Command::new("/proc/self/exe").arg("lease-keeper")),
            writers: Writers::default(),
        };
        thread::Builder::new()
            .name("vouching".into())
            .spawn(move || hasher.run(&to_do, &done))
            .context("start the thread that hashes model files")?;
        Ok(Self {
            source,
            requests,
            verdicts,
            open: Vec::new(),
        })
    }

    /// Asks for the files of a model that was loaded; other events are of no interest. What gets its
    /// verdict at once is returned.
    pub(super) fn consider(&mut self, event: &RedactedEvent) -> Vec<Verdict> {
        let (Body::ModelLoaded(snapshot), Some(pid)) = (&event.body, event.place.pid) else {
            return Vec::new();
        };
        if snapshot.dry_run == Known::Known(true) {
            return Vec::new();
        }
        let mut at_once = Vec::new();
        for file in &snapshot.files {
            let Known::Known(inode) = file.inode else {
                continue;
            };
            let request = Request {
                pid,
                model: snapshot.model,
                inode,
            };
            if !file.mapped {
                let why =
                    Label::new("the process does not map it: what it has read is out of sight");
                at_once.push((pid, request.undetermined(&self.source, why)));
                continue;
            }
            match self.requests.try_send(request.clone()) {
                Ok(()) => self.open.push(request),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    let why = Label::new("too many files wait to be hashed");
                    at_once.push((pid, request.undetermined(&self.source, why)));
                }
            }
        }
        at_once
    }

    /// The verdicts that are ready.
    pub(super) fn ready(&mut self) -> Vec<Verdict> {
        let answers: Vec<Answer> = self.verdicts.try_iter().collect();
        answers
            .into_iter()
            .map(|Answer { request, verdict }| {
                if let Some(place) = self.open.iter().position(|open| *open == request) {
                    self.open.swap_remove(place);
                }
                (request.pid, verdict)
            })
            .collect()
    }

    /// What is left when the run ends: those that are ready, and for the others that nobody can
    /// tell.
    pub(super) fn finish(mut self) -> Vec<Verdict> {
        let mut verdicts = self.ready();
        let why = Label::new("the run ended before it was hashed");
        verdicts.extend(self.open.iter().map(|request| {
            let verdict = request.undetermined(&self.source, why.clone());
            (request.pid, verdict)
        }));
        verdicts
    }
}

impl Request {
    /// The file as the kernel knows it.
    fn file(&self) -> FileId {
        let Inode { device, inode } = self.inode;
        FileId {
            device: device.major << 20 | device.minor,
            inode,
        }
    }

    fn undetermined(&self, source: &Name, reason: Label) -> FileVerdict<Raw<Content>> {
        FileVerdict {
            model: self.model,
            path: Known::Unknown,
            inode: Known::Known(self.inode),
            size: Known::Unknown,
            digest: Known::Unknown,
            outcome: VerdictOutcome::Undetermined,
            guarantee: Known::Unknown,
            reason,
            source: source.clone(),
            duration: Nanos(0),
        }
    }
}

/// What is known of model files.
enum KnownFiles {
    /// These; a file is recognised by its contents, whatever it is called here.
    Listed(Expected),
    /// What a file's name in a store says.
    Store,
}

/// The thread's own things.
struct Hasher {
    known: KnownFiles,
    source: Name,
    leases: Leases,
    writers: Writers,
}

impl Hasher {
    /// Answers requests until nobody asks any more, and takes back what no longer holds.
    fn run(mut self, to_do: &Receiver<Request>, done: &Sender<Answer>) {
        // Here, and not where this was started: tracing need not wait for it.
        self.writers = Writers::watch();
        loop {
            let answers = match to_do.recv_timeout(LOOK_EVERY) {
                Ok(request) => {
                    let verdict = self.verdict(&request);
                    let answer = Answer { request, verdict };
                    self.writers.remember(&answer);
                    vec![answer]
                }
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let taken_back = self.writers.look();
            for answer in answers.into_iter().chain(taken_back) {
                if done.send(answer).is_err() {
                    return;
                }
            }
        }
    }

    fn verdict(&mut self, request: &Request) -> FileVerdict<Raw<Content>> {
        let source = self.source.clone();
        let undetermined = |why| request.undetermined(&source, Label::new(why));
        let Some(mapped) = open(request) else {
            return undetermined("the process or its mapping is gone");
        };
        let path = Raw::new(Content::text(mapped.path().as_os_str().as_bytes()));
        let start = Instant::now();
        let verdict = match self.compare(&mapped, request.file()) {
            Ok(found) => FileVerdict {
                size: Known::Known(found.size),
                digest: found.digest.into(),
                outcome: found.outcome,
                guarantee: found.guarantee.into(),
                reason: found.reason,
                ..undetermined("")
            },
            Err(why) => undetermined(why),
        };
        let duration = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        FileVerdict {
            path: Known::Known(path),
            duration: Nanos(duration),
            ..verdict
        }
    }

    fn compare(&mut self, mapped: &MappedFile, file: FileId) -> Result<Found, &'static str> {
        let by_name;
        let candidates = match &self.known {
            KnownFiles::Listed(expected) => expected.files(),
            KnownFiles::Store => {
                by_name = of_store(mapped.path())
                    .ok_or("it is in no store that names it by its digest")?;
                by_name.files()
            }
        };
        let first = candidates.first().ok_or("nothing is listed")?;
        if let Some(hashed) = self.writers.known(file) {
            return Ok(Found::of(&hashed, candidates));
        }
        self.writers.begins(mapped, file);
        let hashed = vouched::hash(mapped.file(), first, &self.leases)?;
        let hashed = self.writers.ends(Hashed { file, ..hashed });
        Ok(Found::of(&hashed, candidates))
    }
}

/// What a comparison found.
struct Found {
    size: u64,
    digest: Option<Digest>,
    outcome: VerdictOutcome,
    guarantee: Option<VerdictGuarantee>,
    reason: Label,
}

impl Found {
    fn of(hashed: &Hashed, candidates: &[ExpectedFile]) -> Self {
        let known = candidates.iter().any(|file| file.is(hashed));
        let stable = hashed.assurance.guarantee > Guarantee::Unstable;
        let (outcome, reason) = match (known, stable) {
            (true, true) => (VerdictOutcome::Verified, words(&hashed.assurance.reason)),
            (true, false) => (
                VerdictOutcome::Undetermined,
                words(&hashed.assurance.reason),
            ),
            (false, _) => (
                VerdictOutcome::NotVerified,
                "nobody vouches for these bytes",
            ),
        };
        let whole = match hashed.pieces.as_slice() {
            [only] if only.range == (0..hashed.size) => sha256(&only.digest),
            _ => None,
        };
        Self {
            size: hashed.size,
            digest: whole,
            outcome,
            guarantee: Some(match hashed.assurance.guarantee {
                Guarantee::Unstable => VerdictGuarantee::G0,
                Guarantee::Unchanged => VerdictGuarantee::G1,
                Guarantee::Leased => VerdictGuarantee::G2,
                Guarantee::Verity => VerdictGuarantee::G3,
            }),
            reason: Label::new(reason),
        }
    }
}

/// The very file that the process maps, by inode; its path may lead elsewhere by now.
fn open(request: &Request) -> Option<MappedFile> {
    let wanted = request.file();
    let mappings = file_mappings(request.pid.0).ok()?;
    let mapping = mappings.iter().find(|mapping| mapping.file == wanted)?;
    MappedFile::open(request.pid.0, mapping).ok()
}

fn sha256(digest: &ContentDigest) -> Option<Digest> {
    let is_sha256 = digest.algorithm() == Algorithm::Sha256;
    let bytes = digest.bytes().try_into().ok().filter(|_| is_sha256);
    bytes.map(Digest)
}
