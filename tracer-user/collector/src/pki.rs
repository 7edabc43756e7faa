//! The embedded authority: issues certificates to agents and to the collector itself.

mod request;
mod rotation;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
    SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use time::OffsetDateTime;
use tracer_event::WallNanos;
use tracer_wire::{
    AgentId,
    enrolment::{AgentUri, TrustDomain, is_node_name},
};
use x509_cert::der::{Decode as _, Encode as _};

pub use self::request::SigningRequest;
use self::rotation::Former;
pub use self::rotation::{finish as finish_rotation, rotate};
use crate::store::Fingerprint;

/// How far clocks of agents may be behind.
const SKEW: Duration = Duration::from_mins(5);
/// How long the authority's own certificate is good.
const AUTHORITY_LASTS: Duration = Duration::from_hours(24 * 3653);

/// Signs certificates of one trust domain.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    trust_domain: TrustDomain,
    former: Option<Former>,
}

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// PEM.
    pub pem: String,
    /// DER.
    pub der: CertificateDer<'static>,
    /// Until when it is good.
    pub until: WallNanos,
}

/// A certificate could not be made, or a request is none.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused.
    #[error("no certificate could be made")]
    Certificate(#[from] rcgen::Error),
    /// A file.
    #[error("cannot {attempt} {}", path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// A file that holds something else.
    #[error("{} holds no {what} in PEM", path.display())]
    NotPem {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// The key and the certificate do not belong together.
    #[error("{} is not the certificate of the key beside it", .0.display())]
    OtherKey(PathBuf),
    /// There was a rotation whose end has not come.
    #[error(
        "the authority before is still trusted ({}): finish that rotation first, or give --distrust if its key \
         is in other hands", .0.display()
    )]
    Rotating(PathBuf),
    /// Agents may still have certificates of the former authority.
    #[error(
        "certificates of the former authority are good for {0} minutes more: finish after that"
    )]
    TooEarly(u64),
    /// A request has not the form of one.
    #[error("the certificate request is none: {0}")]
    Request(&'static str),
}

const CERTIFICATE: &str = "authority.pem";
const KEY: &str = "authority.key";

impl Authority {
    /// A new one, kept in a folder.
    ///
    /// # Errors
    /// If there is one, or it cannot be written.
    pub fn create(
        folder: &Path,
        trust_domain: TrustDomain,
        now: WallNanos,
    ) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = parameters(&trust_domain);
        validity(&mut params, now, AUTHORITY_LASTS);
        let certificate = params.self_signed(&key)?;
        write_new(&folder.join(KEY), key.serialize_pem().as_bytes(), 0o600)?;
        write_new(
            &folder.join(CERTIFICATE),
            certificate.pem().as_bytes(),
            0o644,
        )?;
        Ok(Self::new(
            trust_domain,
            key,
            &certificate.pem(),
            certificate.der().clone(),
            None,
        ))
    }

    /// The one in a folder.
    ///
    /// # Errors
    /// If there is none.
    pub fn load(folder: &Path, trust_domain: TrustDomain) -> Result<Self, PkiError> {
        rotation::take_up(folder)?;
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .map_err(file("read", &path))
                .map(|text| (path, text))
        };
        let (path, text) = read(KEY)?;
        let what = "private key";
        let key = KeyPair::from_pem(&text).map_err(|_| PkiError::NotPem { what, path })?;
        let (path, pem) = read(CERTIFICATE)?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        let what = "certificate";
        let certificate = certificate.map_err(|_| PkiError::NotPem {
            what,
            path: path.clone(),
        })?;
        let parsed = x509_cert::Certificate::from_der(&certificate);
        let is_ours = parsed.is_ok_and(|parsed| {
            let public = parsed.tbs_certificate.subject_public_key_info;
            public
                .to_der()
                .is_ok_and(|der| der == key.subject_public_key_info())
        });
        if !is_ours {
            return Err(PkiError::OtherKey(path));
        }
        // One that is the present one is what a rotation left that did not come to its end.
        let former = Former::load(folder)?.filter(|former| former.certificate != certificate);
        Ok(Self::new(trust_domain, key, &pem, certificate, former))
    }

    fn new(
        trust_domain: TrustDomain,
        key: KeyPair,
        pem: &str,
        certificate: CertificateDer<'static>,
        former: Option<Former>,
    ) -> Self {
        Self {
            issuer: Issuer::new(parameters(&trust_domain), key),
            certificate,
            pem: pem.to_owned(),
            trust_domain,
            former,
        }
    }

    /// The authorities whose certificates are good: this one and, while a rotation lasts, the one
    /// before.
    pub fn trusted(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        let former = self.former.iter().map(|former| &former.certificate);
        [&self.certificate].into_iter().chain(former)
    }

    /// What is shown beside a certificate that it issued: who knows one of these finds the way to it,
    /// and who knows but its hash finds the certificate itself.
    pub fn shown(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        let former = self.former.iter();
        let former = former.flat_map(|former| [&former.cross, &former.certificate]);
        [&self.certificate].into_iter().chain(former)
    }

    /// Its certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// For whom it signs.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// A certificate for an agent.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn issue_agent(
        &self,
        agent: AgentId,
        request: &SigningRequest,
        lasts: Duration,
        now: WallNanos,
    ) -> Result<Issued, PkiError> {
        let trust_domain = self.trust_domain.clone();
        let uri = AgentUri {
            trust_domain,
            agent,
        };
        let mut params = leaf("tracer agent", ExtendedKeyUsagePurpose::ClientAuth)?;
        params.subject_alt_names = vec![SanType::URI(uri.to_string().try_into()?)];
        let until = validity(&mut params, now, lasts);
        let certificate = params.signed_by(request, &self.issuer)?;
        Ok(issued(&certificate, until))
    }

    /// A certificate for somebody who queries.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn issue_reader(
        &self,
        name: &str,
        request: &SigningRequest,
        lasts: Duration,
        now: WallNanos,
    ) -> Result<Issued, PkiError> {
        let uri = format!("spiffe://{}{READER}{name}", self.trust_domain);
        let mut params = leaf("tracer reader", ExtendedKeyUsagePurpose::ClientAuth)?;
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        let until = validity(&mut params, now, lasts);
        let certificate = params.signed_by(request, &self.issuer)?;
        Ok(issued(&certificate, until))
    }

    /// A certificate for the collector, which is reached by these names, and its key.
    ///
    /// # Errors
    /// If the library refuses, as for a name that is none.
    pub fn issue_collector(
        &self,
        names: &[String],
        lasts: Duration,
        now: WallNanos,
    ) -> Result<(Issued, PrivateKeyDer<'static>), PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = leaf("tracer collector", ExtendedKeyUsagePurpose::ServerAuth)?;
        let uri = format!("spiffe://{}/collector", self.trust_domain);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        let until = validity(&mut params, now, lasts);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::try_from(key.serialize_der());
        let key = key.map_err(|_| PkiError::Request("the key that was made is none"))?;
        Ok((issued(&certificate, until), key))
    }
}

fn issued(certificate: &Certificate, until: WallNanos) -> Issued {
    Issued {
        pem: certificate.pem(),
        der: certificate.der().clone(),
        until,
    }
}

/// What the authority says of itself; the same each time, so that what it signs names it.
fn parameters(trust_domain: &TrustDomain) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = &mut params.distinguished_name;
    *name = rcgen::DistinguishedName::new();
    name.push(
        DnType::CommonName,
        format!("tracer authority of {trust_domain}"),
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn serial() -> Result<SerialNumber, PkiError> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial)
        .map_err(|_| PkiError::Request("the operating system gave no random bytes"))?;
    // Positive, and not shorter than it looks (RFC 5280, 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&serial))
}

fn validity(params: &mut CertificateParams, now: WallNanos, lasts: Duration) -> WallNanos {
    let at = OffsetDateTime::from_unix_timestamp_nanos(now.0.into())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = at - SKEW;
    params.not_after = at + lasts;
    // Certificates count seconds.
    let seconds = params.not_after.unix_timestamp();
    WallNanos(seconds.cast_unsigned().saturating_mul(1_000_000_000))
}

/// Whose certificate this is; none if it is not an agent's of this trust domain.
#[must_use]
pub fn agent_of(certificate: &CertificateDer<'_>, trust_domain: &TrustDomain) -> Option<AgentId> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut uris = certificate.valid_uri_names();
    let uri: AgentUri = uris.next()?.parse().ok()?;
    // SPIFFE allows one URI.
    (uris.next().is_none() && uri.trust_domain == *trust_domain).then_some(uri.agent)
}

/// Where a SPIFFE id names a reader.
const READER: &str = "/reader/";

/// What a reader's certificate of this trust domain is known by; none if it is not one.
#[must_use]
pub fn reader_of(
    certificate: &CertificateDer<'_>,
    trust_domain: &TrustDomain,
) -> Option<Fingerprint> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut uris = parsed.valid_uri_names();
    let name = uris
        .next()?
        .strip_prefix("spiffe://")?
        .strip_prefix(trust_domain.as_str())?
        .strip_prefix(READER)?;
    let is_reader = uris.next().is_none() && is_node_name(name);
    is_reader.then(|| fingerprint(certificate))
}

/// SHA-256 of a certificate.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let digest = digest(&SHA256, certificate);
    let bytes = digest.as_ref().try_into();
    Fingerprint(bytes.expect("SHA-256 has 32 bytes (FIPS 180-4)"))
}

/// Until when a certificate is good; the epoch if it does not say.
#[must_use]
pub fn good_until(certificate: &CertificateDer<'_>) -> WallNanos {
    let parsed = x509_cert::Certificate::from_der(certificate).ok();
    let until = parsed.map(|parsed| {
        let until = parsed.tbs_certificate.validity.not_after;
        until.to_unix_duration().as_nanos()
    });
    WallNanos(
        until
            .and_then(|until| u64::try_from(until).ok())
            .unwrap_or(0),
    )
}

/// Writes a file that must not exist yet, and waits for the disk.
pub(crate) fn write_new(path: &Path, contents: &[u8], mode: u32) -> Result<(), PkiError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut to = options.open(path).map_err(file("create", path))?;
    to.write_all(contents)
        .and_then(|()| to.sync_all())
        .map_err(file("write", path))
}

pub(crate) fn file(
    attempt: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> PkiError + use<> {
    let path = path.to_owned();
    move |source| PkiError::File {
        attempt,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ED25519, SignatureAlgorithm};

    use super::*;
    use crate::fixture::{NOW, key};

    fn authority(folder: &Path) -> Authority {
        let trust_domain = "test.internal".parse().unwrap();
        Authority::create(folder, trust_domain, WallNanos(NOW)).unwrap()
    }

    fn request(algorithm: &'static SignatureAlgorithm) -> String {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec![String::from("ignored.example")]).unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn a_certificate_names_the_agent_and_nothing_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path());
        let agent = key(1).agent();
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
            let request = SigningRequest::parse(&request(algorithm)).unwrap();
            let issued = authority
                .issue_agent(agent, &request, Duration::from_hours(24), WallNanos(NOW))
                .unwrap();
            assert_eq!(agent_of(&issued.der, authority.trust_domain()), Some(agent));
            let elsewhere = "other.internal".parse().unwrap();
            assert_eq!(agent_of(&issued.der, &elsewhere), None);
            assert_eq!(good_until(&issued.der), issued.until);
            assert_eq!(issued.until.0 / 1_000_000_000, NOW / 1_000_000_000 + 86_400);
            let parsed = webpki::EndEntityCert::try_from(&issued.der).unwrap();
            assert_eq!(parsed.valid_dns_names().count(), 0);
        }
    }

    #[test]
    fn a_reader_is_no_agent_and_an_agent_no_reader() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path());
        let ours = authority.trust_domain();
        let request = SigningRequest::parse(&request(&PKCS_ED25519)).unwrap();
        let (hour, now) = (Duration::from_hours(1), WallNanos(NOW));
        let reader = authority
            .issue_reader("ada.b-c_d", &request, hour, now)
            .unwrap();
        assert_eq!(reader_of(&reader.der, ours), Some(fingerprint(&reader.der)));
        assert_eq!(agent_of(&reader.der, ours), None);
        assert_eq!(reader_of(&reader.der, &"test".parse().unwrap()), None);
        let agent = authority
            .issue_agent(key(1).agent(), &request, hour, now)
            .unwrap();
        assert_eq!(reader_of(&agent.der, ours), None);
        // A name that would be another place of the path.
        let nested = authority
            .issue_reader("ada/x", &request, hour, now)
            .unwrap();
        assert_eq!(reader_of(&nested.der, ours), None);
    }

    #[test]
    fn an_authority_is_found_again_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let first = authority(folder.path());
        let trust_domain = first.trust_domain().clone();
        let again = Authority::load(folder.path(), trust_domain.clone()).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        assert!(Authority::create(folder.path(), trust_domain.clone(), WallNanos(NOW)).is_err());
        let other = tempfile::tempdir().unwrap();
        authority(other.path());
        fs::copy(other.path().join(KEY), folder.path().join(KEY)).unwrap();
        let mixed = Authority::load(folder.path(), trust_domain);
        assert!(matches!(mixed, Err(PkiError::OtherKey(_))));
    }
}
