//! Setting a collector up, and giving out tokens.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sha2_of::sha256;
use tracer_event::WallNanos;
use tracer_wire::{
    Recipient,
    enrolment::{EnrolmentToken, ReaderToken, TokenSecret, TrustDomain},
};
use zeroize::Zeroizing;

use crate::{
    config::{Advertise, Configuration, Listen, Typed},
    pki::{Authority, SigningRequest},
    store::{Registry, TokenPurpose},
    telemetry::TelemetryKeys,
};

/// The configuration's name in a collector's folder.
pub const CONFIGURATION: &str = "collector.toml";

/// What a new collector is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its folder, which does not exist yet or is empty.
    pub folder: PathBuf,
    /// Whom it serves.
    pub trust_domain: TrustDomain,
    /// How it is reached.
    pub names: Vec<String>,
    /// Where it listens for agents.
    pub agents: SocketAddr,
    /// Where it listens for everybody else.
    pub https: SocketAddr,
}

impl Plan {
    /// A collector for this host alone.
    #[must_use]
    pub fn on_loopback(folder: PathBuf, trust_domain: TrustDomain) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            folder,
            trust_domain,
            names: vec![String::from("localhost"), String::from("127.0.0.1")],
            agents: at(7444),
            https: at(7443),
        }
    }
}

/// Makes all that a collector needs in a folder that only its owner reads. Nothing is overwritten.
///
/// # Errors
/// If the folder holds something, or cannot be written.
pub fn init(plan: &Plan, now: WallNanos) -> Result<Configuration> {
    let folder = &plan.folder;
    let display = folder.display();
    // Above it, others may have folders of their own.
    folder
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
        })
        .with_context(|| format!("creating {display}"))?;
    let mut entries = fs::read_dir(folder).with_context(|| format!("reading {display}"))?;
    ensure!(
        entries.next().is_none(),
        "{display} is not empty: a collector is made in a folder of its own"
    );
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing {display} to others"))?;
    let typed = Typed {
        trust_domain: plan.trust_domain.to_string(),
        names: plan.names.clone(),
        listen: Listen {
            agents: plan.agents,
            https: plan.https,
        },
        advertise: Advertise::default(),
        store: Default::default(),
        retention: Default::default(),
        certificates: Default::default(),
        limits: Default::default(),
    };
    let text = toml::to_string_pretty(&typed).context("writing the configuration")?;
    let configuration = typed.check(folder)?;
    Authority::create(folder, plan.trust_domain.clone(), now)?;
    TelemetryKeys::create(folder)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&configuration.store)
        .with_context(|| format!("creating {}", configuration.store.display()))?;
    Registry::open(&configuration.store)?;
    // Last: a folder without it is one that was not finished.
    let path = folder.join(CONFIGURATION);
    crate::pki::write_new(&path, text.as_bytes(), 0o600)?;
    Ok(configuration)
}

/// Puts another key in the place of that which telemetry is sealed for, and gives its public half. The
/// collector must not be running.
///
/// # Errors
/// If the collector's folder is not complete, or cannot be written.
pub fn rotate_telemetry(configuration: &Configuration) -> Result<Recipient> {
    let keys = TelemetryKeys::rotate(&configuration.folder)?;
    Ok(keys.present().recipient().clone())
}

/// A token that lets one agent enrol.
///
/// # Errors
/// If the collector's folder is not complete.
pub fn enrolment_token(
    configuration: &Configuration,
    node: &str,
    lasts: Duration,
    now: WallNanos,
) -> Result<EnrolmentToken> {
    let (authority, secret, expires) = prepare(configuration, lasts, now)?;
    let registry = Registry::open(&configuration.store)?;
    registry.add_token(TokenPurpose::Enrol, node, &secret, expires, now)?;
    Ok(EnrolmentToken {
        authority,
        expires,
        secret,
        collector: configuration.https.as_str().into(),
    })
}

/// A token that lets somebody query.
///
/// # Errors
/// If the collector's folder is not complete.
pub fn reader_token(
    configuration: &Configuration,
    name: &str,
    lasts: Duration,
    now: WallNanos,
) -> Result<ReaderToken> {
    let (authority, secret, expires) = prepare(configuration, lasts, now)?;
    let registry = Registry::open(&configuration.store)?;
    registry.add_token(TokenPurpose::Read, name, &secret, expires, now)?;
    Ok(ReaderToken(EnrolmentToken {
        authority,
        expires,
        secret,
        collector: configuration.https.as_str().into(),
    }))
}

/// Makes a certificate for somebody who queries, and writes it to a new file, all in PEM: the key, unless
/// there is a request (PKCS #10) of one that stays where it is, the certificate, and that of the
/// authority, which is to be trusted. A line before them says where the collector is.
///
/// # Errors
/// If there is such a file, the request is none, or the collector's folder is not complete.
pub fn reader_certificate(
    configuration: &Configuration,
    name: &str,
    request: Option<&str>,
    lasts: Duration,
    now: WallNanos,
    file: &Path,
) -> Result<()> {
    let folder: &Path = &configuration.folder;
    let authority = Authority::load(folder, configuration.trust_domain.clone())?;
    let registry = Registry::open(&configuration.store)?;
    let (request, key) = match request {
        Some(request) => (SigningRequest::parse(request)?, None),
        None => SigningRequest::with_new_key().map(|(request, key)| (request, Some(key)))?,
    };
    let issued = authority.issue_reader(name, &request, lasts, now)?;
    let mut text = Zeroizing::new(format!("Collector: {}\n\n", configuration.https));
    if let Some(key) = &key {
        text.push_str(key);
    }
    text.push_str(&issued.pem);
    text.push_str(authority.pem());
    crate::pki::write_new(file, text.as_bytes(), 0o600)?;
    let certificate = crate::pki::fingerprint(&issued.der);
    registry.add_certificate(name, certificate, issued.until, now)?;
    Ok(())
}

fn prepare(
    configuration: &Configuration,
    lasts: Duration,
    now: WallNanos,
) -> Result<([u8; 32], TokenSecret, WallNanos)> {
    let folder: &Path = &configuration.folder;
    let authority = Authority::load(folder, configuration.trust_domain.clone())?;
    let lasts = u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX);
    let expires = WallNanos(now.0.saturating_add(lasts));
    Ok((
        sha256(authority.certificate()),
        TokenSecret::generate()?,
        expires,
    ))
}

mod sha2_of {
    use aws_lc_rs::digest::{SHA256, digest};

    /// SHA-256.
    pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
        let digest = digest(&SHA256, bytes);
        digest
            .as_ref()
            .try_into()
            .expect("SHA-256 has 32 bytes (FIPS 180-4)")
    }
}
