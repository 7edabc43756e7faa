//! Finds what lets one ask: a token, or a certificate.

use std::{env, fmt, fs, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, version::TLS13};
use tracer_agent::pinned;
use tracer_wire::enrolment::{ReaderToken, TokenSecret};
use zeroize::Zeroizing;

use crate::{arguments::typed::Collector, trouble::Trouble};

const VARIABLE: &str = "TRACER_READER_TOKEN";
/// Stands before the address in a file with a certificate.
const ADDRESS: &str = "Collector: ";

/// Which collector, how to know it, and what to show it.
pub(super) struct Access {
    /// Host and port.
    pub(super) collector: Box<str>,
    /// How it is known; shows the certificate, if there is one.
    pub(super) tls: ClientConfig,
    /// None where a certificate is shown.
    pub(super) token: Option<TokenSecret>,
}

impl Access {
    /// What was shown, in words.
    pub(super) const fn shown(&self) -> Shown {
        match self.token {
            Some(_) => Shown::Token,
            None => Shown::Certificate,
        }
    }
}

/// What was shown.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    Token,
    Certificate,
}

impl Shown {
    /// How to come to another one.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::Token => "make another token with `tracer-collector token new --reader NAME`",
            Self::Certificate => {
                "make another certificate with `tracer-collector token new --reader NAME \
                 --certificate FILE`"
            }
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Certificate => "certificate",
        })
    }
}

/// What was named, or is in its usual place.
pub(super) fn find(arguments: &Collector) -> Result<Access> {
    let Collector {
        token,
        certificate,
        collector,
    } = arguments;
    let mut access = match certificate {
        Some(file) => {
            let text = Zeroizing::new(read(file, "certificate")?);
            let read = certified(&text, collector.is_some());
            read.with_context(|| format!("read the certificate in {}", file.display()))?
        }
        None => by_token(token.as_ref())?,
    };
    if let Some(collector) = collector {
        access.collector = collector.as_str().into();
    }
    Ok(access)
}

fn by_token(file: Option<&PathBuf>) -> Result<Access> {
    let (text, place) = match (file, env::var(VARIABLE)) {
        (Some(file), _) => (read(file, "token")?, file.display().to_string()),
        (None, Ok(text)) => (text, VARIABLE.to_owned()),
        (None, Err(_)) => {
            let file = usual().filter(|file| file.exists()).ok_or_else(|| {
                let what = "nothing says which collector to ask";
                let remedy = "make a token with `tracer-collector token new --reader NAME`, and \
                              keep it in ~/.config/tracer/reader.token, name its file with \
                              --token, or set TRACER_READER_TOKEN; or give --certificate";
                Trouble::new(what, remedy)
            })?;
            (read(&file, "token")?, file.display().to_string())
        }
    };
    let parsed: Result<ReaderToken, _> = text.parse();
    let ReaderToken(token) = parsed.with_context(|| format!("read the token in {place}"))?;
    Ok(Access {
        collector: token.collector,
        tls: pinned::client_config(token.authority)?,
        token: Some(token.secret),
    })
}

/// The first certificate is the reader's, and the others are those to trust.
fn certified(text: &str, is_address_known: bool) -> Result<Access> {
    let address = text.lines().find_map(|line| line.strip_prefix(ADDRESS));
    let address = match (address, is_address_known) {
        (Some(address), _) => address.trim(),
        (None, true) => "",
        (None, false) => anyhow::bail!("no line says `{ADDRESS}HOST:PORT`: give --collector"),
    };
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
    let key = key.context("it holds no private key in PEM")?;
    let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("it holds no certificate in PEM")?
        .into_iter();
    let own = certificates
        .next()
        .context("it holds no certificate in PEM")?;
    let mut roots = RootCertStore::empty();
    for authority in certificates {
        roots
            .add(authority)
            .context("the authority's certificate is none")?;
    }
    anyhow::ensure!(
        !roots.is_empty(),
        "it does not hold the authority's certificate, authority.pem, behind the reader's"
    );
    let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![own], key)
        .context("the key is not that of the certificate")?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Access {
        collector: address.into(),
        tls,
        token: None,
    })
}

fn read(file: &PathBuf, what: &str) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("read the {what} in {}", file.display()))
}

fn usual() -> Option<PathBuf> {
    let home = env::var_os("HOME")?;
    let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.unwrap_or_else(|| PathBuf::from(home).join(".config"));
    Some(config.join("tracer/reader.token"))
}
