//! What capture keeps on disk: the key that signs its records, and whom telemetry is sealed for.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tracer_wire::{Recipient, SigningKey};
use zeroize::Zeroizing;

use crate::folder;

/// The file of the key, 64 hex digits.
const KEY: &str = "record.key";
/// The file of the collector's public key.
const COLLECTOR: &str = "collector.recipient";
/// Bytes of either, at most.
const LIMIT: u64 = 256;

/// A file of capture's is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system refused.
    #[error("{doing} {path}: {cause}")]
    Io {
        /// What was done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Others may read or write it.
    #[error(
        "{0} belongs to somebody else or others may read it; chown it to this user and chmod 600"
    )]
    Exposed(PathBuf),
    /// It holds something else.
    #[error("{path} holds no {what}; {remedy}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The collector's key is another one than before.
    #[error(
        "the collector now wants telemetry sealed for {offered}, and {path} says {known}: a ship \
         process that was taken over could ask for the same; if the collector's key was changed, \
         remove that file"
    )]
    OtherCollector {
        /// What is offered.
        offered: Box<Recipient>,
        /// What was known.
        known: Box<Recipient>,
        /// Where that is written.
        path: PathBuf,
    },
    /// No key could be made.
    #[error("making a key: {0}")]
    Key(tracer_wire::KeyError),
}

/// The key that signs this host's records; made the first time.
///
/// # Errors
/// If the file cannot be read or made, or is not this user's alone.
pub fn load_or_make_key(folder: &Path) -> Result<SigningKey, KeyFileError> {
    private_folder(folder)?;
    let path = folder.join(KEY);
    if let Some(text) = read_private(&path)? {
        let malformed = || KeyFileError::Malformed {
            path: path.clone(),
            what: "key",
            remedy: "restore it from a backup, or remove it: the host becomes a new agent then",
        };
        let seed = unhex(text.trim()).ok_or_else(malformed)?;
        return SigningKey::from_seed(&seed).map_err(KeyFileError::Key);
    }
    let mut seed = Zeroizing::new([0_u8; 32]);
    let filled =
        rustix::rand::getrandom(seed.as_mut_slice(), rustix::rand::GetRandomFlags::empty());
    if filled.ok() != Some(seed.len()) {
        return Err(KeyFileError::Key(tracer_wire::KeyError::NoRandomness));
    }
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in seed.iter() {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('\n');
    write_private(&path, text.as_bytes())?;
    SigningKey::from_seed(&seed).map_err(KeyFileError::Key)
}

/// The public key that telemetry is sealed for: what the configuration says, or what was offered
/// first. It never changes by itself.
#[derive(Clone, Debug)]
pub struct CollectorKey {
    path: PathBuf,
    known: Option<Recipient>,
}

impl CollectorKey {
    /// What is known already.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn load(folder: &Path, configured: Option<Recipient>) -> Result<Self, KeyFileError> {
        let path = folder.join(COLLECTOR);
        if configured.is_some() {
            let known = configured;
            return Ok(Self { path, known });
        }
        let text = read_private(&path)?;
        let known = text
            .map(|text| text.trim().parse())
            .transpose()
            .map_err(|_| KeyFileError::Malformed {
                path: path.clone(),
                what: "public key",
                remedy: "remove it: the collector's answer to enrolment fills it again",
            })?;
        Ok(Self { path, known })
    }

    /// The key, once it is known.
    #[must_use]
    pub const fn known(&self) -> Option<&Recipient> {
        self.known.as_ref()
    }

    /// Takes what ship was told by the collector; tells whether it is news.
    ///
    /// # Errors
    /// If another one is known, or it cannot be written down.
    pub fn offer(&mut self, offered: Recipient) -> Result<bool, KeyFileError> {
        match &self.known {
            Some(known) if *known == offered => Ok(false),
            Some(known) => Err(KeyFileError::OtherCollector {
                offered: Box::new(offered),
                known: Box::new(known.clone()),
                path: self.path.clone(),
            }),
            None => {
                write_private(&self.path, format!("{offered}\n").as_bytes())?;
                self.known = Some(offered);
                Ok(true)
            }
        }
    }
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut seed = Zeroizing::new([0; 32]);
    if pairs.len() != seed.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(seed)
}

fn private_folder(path: &Path) -> Result<(), KeyFileError> {
    folder::make(path, 0o700).map_err(failed("making", path))
}

fn read_private(path: &Path) -> Result<Option<Zeroizing<String>>, KeyFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("reading", path)(error)),
    };
    let facts = file.metadata().map_err(failed("inspecting", path))?;
    if facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o077 != 0 {
        return Err(KeyFileError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LIMIT)
        .read_to_string(&mut text)
        .map_err(failed("reading", path))?;
    Ok(Some(text))
}

/// Writes a file whole or not at all, for its owner alone.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let draft = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        // The name is on the disk, too.
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(failed("writing", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |cause| KeyFileError::Io { doing, path, cause }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::fixture::recipient;

    #[test]
    fn a_key_is_made_once_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("capture");
        let made = load_or_make_key(&folder).unwrap().agent();
        assert_eq!(load_or_make_key(&folder).unwrap().agent(), made);
        let path = folder.join(KEY);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = load_or_make_key(&folder).err().unwrap();
        assert!(matches!(error, KeyFileError::Exposed(_)), "{error}");
    }

    #[test]
    fn a_damaged_key_is_never_replaced_silently() {
        let folder = tempfile::tempdir().unwrap();
        load_or_make_key(folder.path()).unwrap();
        let path = folder.path().join(KEY);
        for text in ["", "00", &"zz".repeat(32), &"00".repeat(33)] {
            fs::write(&path, text).unwrap();
            let error = load_or_make_key(folder.path()).err().unwrap();
            assert!(error.to_string().contains("backup"), "{error}");
        }
    }

    #[test]
    fn whom_telemetry_is_for_never_changes_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let load = |configured| CollectorKey::load(folder.path(), configured).unwrap();
        let first = recipient().recipient().clone();
        let other = tracer_wire::RecipientSecret::generate().unwrap();
        let mut key = load(None);
        assert_eq!(key.known(), None);
        assert!(key.offer(first.clone()).unwrap());
        assert!(!load(None).offer(first.clone()).unwrap());
        let error = load(None).offer(other.recipient().clone()).unwrap_err();
        assert!(error.to_string().contains("taken over"), "{error}");
        // What the configuration says stands above it.
        let configured = load(Some(other.recipient().clone()));
        assert_eq!(configured.known(), Some(other.recipient()));
    }
}
