//! Another authority in the place of the one that there is.
//!
//! The new authority's key is certified twice: by itself, and by the former authority (a *cross*
//! certificate). A collector shows both, so that whoever trusts the former one alone finds a way to
//! the new one. The former key is gone from then on: it signs nothing any more.

use std::{fs, path::Path, time::Duration};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tracer_event::WallNanos;
use tracer_wire::enrolment::TrustDomain;

use super::{
    AUTHORITY_LASTS, Authority, CERTIFICATE, KEY, PkiError, file, parameters, serial, validity,
    write_new,
};

const FORMER: &str = "authority.former.pem";
const CROSS: &str = "authority.cross.pem";
const NEXT_KEY: &str = "authority.next.key";
const NEXT: &str = "authority.next.pem";

/// The authority before, as long as somebody may trust it alone.
pub(super) struct Former {
    pub(super) certificate: CertificateDer<'static>,
    /// The present authority's key, signed by it.
    pub(super) cross: CertificateDer<'static>,
}

impl Former {
    /// The one in a folder, if there is one.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, PkiError> {
        let read = |name| -> Result<Option<CertificateDer<'static>>, PkiError> {
            let path = folder.join(name);
            if !path.exists() {
                return Ok(None);
            }
            let pem = fs::read_to_string(&path).map_err(file("read", &path))?;
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
            let what = "certificate";
            Ok(Some(
                certificate.map_err(|_| PkiError::NotPem { what, path })?,
            ))
        };
        let both = read(FORMER)?.zip(read(CROSS)?);
        Ok(both.map(|(certificate, cross)| Self { certificate, cross }))
    }
}

/// Makes another authority and puts it in the place of the one in a folder. If the former one is to be
/// trusted no longer, all agents must enrol anew.
///
/// # Errors
/// If the rotation before is not finished, or something cannot be written. The authority is then the
/// one before.
pub fn rotate(
    folder: &Path,
    trust_domain: &TrustDomain,
    is_trusted: bool,
    now: WallNanos,
) -> Result<Authority, PkiError> {
    let before = Authority::load(folder, trust_domain.clone())?;
    if before.former.is_some() && is_trusted {
        return Err(PkiError::Rotating(folder.join(FORMER)));
    }
    // What is left of a try that did not come to its end.
    for name in [NEXT_KEY, NEXT, FORMER, CROSS] {
        remove(&folder.join(name))?;
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = parameters(trust_domain);
    validity(&mut params, now, AUTHORITY_LASTS);
    let certificate = params.self_signed(&key)?;
    if is_trusted {
        params.serial_number = Some(serial()?);
        let cross = params.signed_by(&key, &before.issuer)?;
        write_new(&folder.join(CROSS), cross.pem().as_bytes(), 0o644)?;
        write_new(&folder.join(FORMER), before.pem.as_bytes(), 0o644)?;
    }
    write_new(&folder.join(NEXT), certificate.pem().as_bytes(), 0o644)?;
    write_new(
        &folder.join(NEXT_KEY),
        key.serialize_pem().as_bytes(),
        0o600,
    )?;
    replace(folder, NEXT_KEY, KEY)?;
    replace(folder, NEXT, CERTIFICATE)?;
    Authority::load(folder, trust_domain.clone())
}

/// Takes up a rotation that ended between its last two steps: the new key is there, and its certificate
/// is not in its place yet.
pub(super) fn take_up(folder: &Path) -> Result<(), PkiError> {
    if folder.join(NEXT).exists() && !folder.join(NEXT_KEY).exists() {
        replace(folder, NEXT, CERTIFICATE)?;
    }
    Ok(())
}

/// Forgets the former authority. Tells whether there was one.
///
/// # Errors
/// If certificates that it signed may still be good, or its files cannot be removed.
pub fn finish(folder: &Path, agent_lasts: Duration, now: WallNanos) -> Result<bool, PkiError> {
    let path = folder.join(FORMER);
    if !path.exists() {
        return Ok(false);
    }
    let since = fs::metadata(&path)
        .and_then(|facts| facts.modified())
        .map_err(file("inspect", &path))?;
    let since = since.duration_since(std::time::UNIX_EPOCH);
    let until = since.unwrap_or_default() + agent_lasts;
    let left = until.saturating_sub(Duration::from_nanos(now.0));
    if !left.is_zero() {
        return Err(PkiError::TooEarly(left.as_secs().div_ceil(60)));
    }
    remove(&path)?;
    remove(&folder.join(CROSS))?;
    Ok(true)
}

fn replace(folder: &Path, from: &str, to: &str) -> Result<(), PkiError> {
    let to = folder.join(to);
    fs::rename(folder.join(from), &to)
        .and_then(|()| fs::File::open(folder)?.sync_all())
        .map_err(file("replace", &to))
}

fn remove(path: &Path) -> Result<(), PkiError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::NOW;

    fn made() -> (tempfile::TempDir, TrustDomain) {
        let folder = tempfile::tempdir().unwrap();
        let trust_domain: TrustDomain = "test.internal".parse().unwrap();
        Authority::create(folder.path(), trust_domain.clone(), WallNanos(NOW)).unwrap();
        (folder, trust_domain)
    }

    #[test]
    fn a_rotation_that_was_cut_off_leaves_an_authority_at_each_step() {
        let (folder, trust_domain) = made();
        let path = |name: &str| folder.path().join(name);
        let load = || Authority::load(folder.path(), trust_domain.clone()).unwrap();
        let first = load().pem().to_owned();
        // Before the key was exchanged: leftovers count for nothing.
        fs::write(path(NEXT), "half").unwrap();
        fs::write(path(NEXT_KEY), "half").unwrap();
        fs::write(path(FORMER), &first).unwrap();
        fs::write(path(CROSS), &first).unwrap();
        assert_eq!(load().pem(), first);
        assert_eq!(load().trusted().count(), 1);
        let second = rotate(folder.path(), &trust_domain, true, WallNanos(NOW)).unwrap();
        assert_ne!(second.pem(), first);
        // Between the exchange of the key and of the certificate.
        fs::write(path(NEXT), second.pem()).unwrap();
        fs::write(path(CERTIFICATE), &first).unwrap();
        assert_eq!(load().pem(), second.pem());
    }

    #[test]
    fn one_rotation_at_a_time_and_no_end_before_certificates_have_ended() {
        let (folder, trust_domain) = made();
        let day = Duration::from_hours(24);
        assert!(!finish(folder.path(), day, WallNanos(NOW)).unwrap());
        rotate(folder.path(), &trust_domain, true, WallNanos(NOW)).unwrap();
        let again = rotate(folder.path(), &trust_domain, true, WallNanos(NOW));
        assert!(matches!(again, Err(PkiError::Rotating(_))));
        let now = crate::ingest::now();
        let early = finish(folder.path(), day, now);
        assert!(matches!(early, Err(PkiError::TooEarly(minutes)) if minutes <= 24 * 60));
        assert!(finish(folder.path(), Duration::ZERO, crate::ingest::now()).unwrap());
        // One that is not trusted any more leaves at once.
        rotate(folder.path(), &trust_domain, true, now).unwrap();
        let last = rotate(folder.path(), &trust_domain, false, now).unwrap();
        assert!(last.former.is_none());
    }
}
