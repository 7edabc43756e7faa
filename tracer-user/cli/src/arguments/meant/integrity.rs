//! What the arguments of `verify` and `sign` mean, in both of their forms.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use anyhow::{Context, Result, bail, ensure};
use tracer_integrity::{Algorithm, oms::ShardNames, report};

use crate::{
    arguments::typed::{self, DocumentFormat, Effort, Hash, Method},
    trouble::Trouble,
};

/// `tracer verify` and `tracer verify-model`.
#[derive(Debug)]
pub(crate) struct Verify {
    pub(crate) model: PathBuf,
    pub(crate) against: Against,
    pub(crate) ignore_paths: Vec<PathBuf>,
    pub(crate) ignore_unsigned: bool,
    pub(crate) check_disk: bool,
    pub(crate) jobs: Option<NonZeroUsize>,
    pub(crate) format: DocumentFormat,
}

/// What a model is compared with.
#[derive(Debug)]
pub(crate) enum Against {
    /// A bundle by the owner of this key.
    Key { bundle: PathBuf, key: PathBuf },
    /// A bundle by whoever these certificates vouch for.
    Certificates {
        bundle: PathBuf,
        trusted: Vec<PathBuf>,
        /// Seconds since 1970; now if not given.
        at: Option<u64>,
    },
    /// A bundle by whoever proved to be this when signing.
    Keyless { bundle: PathBuf, signer: Signer },
    /// A list of digests.
    Sums(PathBuf),
    /// The names in a store.
    Store,
}

/// Who signed without a key of their own.
#[derive(Debug)]
pub(crate) struct Signer {
    /// Sigstore's `trusted_root.json`.
    pub(crate) trusted_root: PathBuf,
    pub(crate) identity: String,
    pub(crate) issuer: String,
}

/// As an operator would name it.
impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { bundle, .. }
            | Self::Certificates { bundle, .. }
            | Self::Keyless { bundle, .. } => write!(f, "{}", bundle.display()),
            Self::Sums(list) => write!(f, "{}", list.display()),
            Self::Store => f.write_str("the names in their store"),
        }
    }
}

/// `tracer sign` and `tracer sign-model`.
#[derive(Debug)]
pub(crate) struct Sign {
    pub(crate) model: PathBuf,
    pub(crate) key: PathBuf,
    /// The key's certificate and those above it.
    pub(crate) certificate: Option<(PathBuf, Vec<PathBuf>)>,
    pub(crate) bundle: PathBuf,
    pub(crate) algorithm: Algorithm,
    pub(crate) shard_size: Option<NonZeroU64>,
    pub(crate) shard_names: ShardNames,
    pub(crate) ignore_paths: Vec<PathBuf>,
    pub(crate) allow_symlinks: bool,
    pub(crate) jobs: Option<NonZeroUsize>,
}

/// Decides what the files of traced models are compared with, if with anything.
///
/// # Errors
/// If a bundle is given and nothing to trust.
pub(super) fn resolve_vouch(typed: typed::Vouch) -> Result<Option<Against>> {
    let typed::Vouch {
        verify_bundle,
        public_key,
        cert_chain,
        verify_sha256sums,
        verify_auto,
    } = typed;
    ensure!(
        verify_bundle.is_some() || (public_key.is_none() && cert_chain.is_empty()),
        "--public-key and --cert-chain say whose --verify-bundle is believed, and there is none"
    );
    Ok(match (verify_bundle, public_key, verify_sha256sums) {
        (Some(bundle), Some(key), _) => Some(Against::Key { bundle, key }),
        (Some(bundle), None, _) if !cert_chain.is_empty() => Some(Against::Certificates {
            bundle,
            trusted: cert_chain,
            at: None,
        }),
        (Some(_), None, _) => return Err(nobody_trusted("--verify-bundle").into()),
        (None, _, Some(list)) => Some(Against::Sums(list)),
        (None, _, None) => verify_auto.then_some(Against::Store),
    })
}

fn nobody_trusted(option: &str) -> Trouble {
    Trouble::new(
        format!("{option} alone says nothing: anybody can sign"),
        "say whom you trust, with --public-key, --cert-chain or --trusted-root",
    )
}

/// Decides what the arguments of `verify` mean.
///
/// # Errors
/// If a bundle is given and nothing to trust, or the time cannot be read.
pub(super) fn resolve_verify(typed: typed::Verify) -> Result<Verify> {
    let typed::Verify {
        model,
        bundle,
        public_key,
        cert_chain,
        at_time,
        keyless,
        sha256sums,
        auto: _,
        ignore_paths,
        ignore_unsigned_files,
        check_disk,
        effort: Effort { jobs },
        output,
    } = typed;
    // clap takes an option's requirement for met where a conflict would forbid it.
    ensure!(
        bundle.is_some()
            || (public_key.is_none() && cert_chain.is_empty() && keyless.trusted_root.is_none()),
        "--public-key, --cert-chain and --trusted-root say whose --bundle is believed, and there is \
         none"
    );
    let at = at_time.as_deref().map(|word| {
        report::unix_seconds(word).with_context(|| {
            format!("--at-time {word}: give a time in UTC as 2026-01-31T12:00:00Z")
        })
    });
    // clap lets exactly one of bundle, list and --auto through.
    let against = match (bundle, public_key, sha256sums) {
        (Some(bundle), Some(key), _) => Against::Key { bundle, key },
        (Some(bundle), None, _) if !cert_chain.is_empty() => Against::Certificates {
            bundle,
            trusted: cert_chain,
            at: at.transpose()?,
        },
        (Some(bundle), None, _) => match resolve_keyless(keyless)? {
            Some(signer) => Against::Keyless { bundle, signer },
            None => return Err(nobody_trusted("--bundle").into()),
        },
        (None, _, Some(list)) => Against::Sums(list),
        (None, _, None) => Against::Store,
    };
    Ok(Verify {
        model,
        against,
        ignore_paths,
        ignore_unsigned: ignore_unsigned_files,
        check_disk,
        jobs,
        format: output,
    })
}

fn resolve_keyless(typed: typed::Keyless) -> Result<Option<Signer>> {
    let typed::Keyless {
        trusted_root,
        identity,
        identity_provider,
    } = typed;
    match (trusted_root, identity, identity_provider) {
        (None, ..) => Ok(None),
        (Some(trusted_root), Some(identity), Some(issuer)) => Ok(Some(Signer {
            trusted_root,
            identity,
            issuer,
        })),
        (Some(_), ..) => bail!(
            "--trusted-root alone says nothing: anybody can sign; say who must have, with --identity \
             and --identity-provider"
        ),
    }
}

/// Decides what the arguments of `verify-model` mean.
///
/// # Errors
/// If what the method needs is not given.
pub(super) fn resolve_verify_model(typed: typed::VerifyModel) -> Result<Verify> {
    let typed::VerifyModel {
        method,
        model_path,
        bundle,
        public_key,
        cert_chain,
        keyless,
        ignore_paths,
        ignore_unsigned_files,
    } = typed;
    let against = match (method, public_key) {
        (Method::Key, Some(key)) => Against::Key { bundle, key },
        (Method::Key, None) => bail!("--method key needs --public-key"),
        (Method::Certificate, _) => Against::Certificates {
            bundle,
            trusted: cert_chain,
            at: None,
        },
        (Method::Sigstore, _) => match resolve_keyless(keyless)? {
            Some(signer) => Against::Keyless { bundle, signer },
            None => bail!("--method sigstore needs --trusted-root"),
        },
    };
    Ok(Verify {
        model: model_path,
        against,
        ignore_paths,
        ignore_unsigned: ignore_unsigned_files,
        check_disk: false,
        jobs: None,
        format: DocumentFormat::Pretty,
    })
}

/// Decides what the arguments of `sign` mean.
pub(super) fn resolve_sign(typed: typed::Sign) -> Sign {
    let typed::Sign {
        model,
        key,
        cert,
        cert_chain,
        bundle,
        hash,
        shards,
        reference_names,
        ignore_paths,
        allow_symlinks,
        effort: Effort { jobs },
    } = typed;
    Sign {
        model,
        key,
        certificate: cert.map(|cert| (cert, cert_chain)),
        bundle,
        algorithm: match hash {
            Hash::Sha256 => Algorithm::Sha256,
            Hash::Blake2b => Algorithm::Blake2b,
            Hash::Blake3 => Algorithm::Blake3,
        },
        shard_size: shards,
        shard_names: if reference_names {
            ShardNames::Reference
        } else {
            ShardNames::Specification
        },
        ignore_paths,
        allow_symlinks,
        jobs,
    }
}

/// Decides what the arguments of `sign-model` mean.
///
/// # Errors
/// If the method is not built in.
pub(super) fn resolve_sign_model(typed: typed::SignModel) -> Result<Sign> {
    let typed::SignModel {
        method,
        model_path,
        output_bundle,
        private_key,
        signing_cert,
        cert_chain,
        ignore_paths,
    } = typed;
    let certificate = match method {
        Method::Key => None,
        Method::Certificate => {
            let cert = signing_cert.context("--method certificate needs --signing-cert")?;
            Some((cert, cert_chain))
        }
        Method::Sigstore => return Err(no_sigstore().into()),
    };
    Ok(Sign {
        model: model_path,
        key: private_key.context("--private-key is missing")?,
        certificate,
        bundle: output_bundle,
        algorithm: Algorithm::Sha256,
        shard_size: None,
        shard_names: ShardNames::Specification,
        ignore_paths,
        allow_symlinks: false,
        jobs: None,
    })
}

fn no_sigstore() -> Trouble {
    Trouble::new(
        "--method sigstore: this tracer verifies without a key, and cannot sign without one",
        "use the methods key or certificate",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{
        Invocation,
        meant::tests::{refusal, resolved},
    };

    fn verify(line: &str) -> Verify {
        match resolved(line) {
            Ok(Invocation::Verify(verify)) => verify,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_model_is_compared_with_exactly_one_thing() {
        assert!(matches!(
            verify("tracer verify m --auto").against,
            Against::Store
        ));
        let sums = verify("tracer verify m --sha256sums f").against;
        assert!(matches!(sums, Against::Sums(_)));
        assert!(refusal("tracer verify m").contains("--bundle"));
        assert!(refusal("tracer verify m --auto --sha256sums f").contains("cannot be used with"));
        assert!(refusal("tracer verify m --auto --public-key k").contains("--bundle"));
    }

    #[test]
    fn a_bundle_needs_somebody_to_trust() {
        assert!(refusal("tracer verify m --bundle b").contains("anybody can sign"));
        let key = verify("tracer verify m --bundle b --public-key k").against;
        assert!(matches!(key, Against::Key { .. }));
        let line = "tracer verify m --bundle b --cert-chain r --cert-chain i";
        let at = format!("{line} --at-time 2026-01-01T00:00:00Z");
        let Against::Certificates { trusted, at, .. } = verify(&at).against else {
            panic!("{at}");
        };
        assert_eq!((trusted.len(), at), (2, Some(1_767_225_600)));
        assert!(refusal(&format!("{line} --at-time now")).contains("2026-01-31T12:00:00Z"));
    }

    #[test]
    fn a_keyless_signature_needs_a_root_an_identity_and_who_vouches_for_it() {
        let all = "--trusted-root r --identity i --identity-provider p";
        for line in [
            format!("tracer verify m --bundle b {all}"),
            format!("tracer verify-model --method sigstore --model-path m --bundle b {all}"),
        ] {
            let Against::Keyless { signer, .. } = verify(&line).against else {
                panic!("{line}");
            };
            assert_eq!((&*signer.identity, &*signer.issuer), ("i", "p"));
        }
        let missing = refusal("tracer verify m --bundle b --trusted-root r --identity i");
        assert!(missing.contains("--identity-provider"), "{missing}");
        let alone = refusal("tracer verify m --bundle b --identity i --identity-provider p");
        assert!(alone.contains("--trusted-root"), "{alone}");
        let two = refusal(&format!("tracer verify m --bundle b --public-key k {all}"));
        assert!(two.contains("cannot be used with"), "{two}");
        assert!(refusal(&format!("tracer verify m --auto {all}")).contains("--bundle"));
    }

    #[test]
    fn the_suites_command_line_means_the_same() {
        let line = "tracer verify-model --method key --model-path /m --bundle /b --public-key /k \
                    --ignore-paths /m/a --ignore-paths /m/b --ignore-unsigned-files";
        let verify = verify(line);
        assert!(verify.ignore_unsigned && verify.ignore_paths.len() == 2);
        assert!(
            refusal("tracer verify-model --method key --model-path m --bundle b")
                .contains("--public-key")
        );
        assert!(
            refusal("tracer verify-model --method certificate --model-path m --bundle b")
                .contains("--cert-chain")
        );
        assert!(
            refusal("tracer verify-model --method sigstore --model-path m --bundle b")
                .contains("sigstore")
        );
        assert!(
            refusal("tracer sign-model --method key --model-path m --output-bundle b")
                .contains("--private-key")
        );
    }

    #[test]
    fn shards_have_a_billion_bytes_unless_another_size_is_given() {
        let size = |line: &str| match resolved(line) {
            Ok(Invocation::Sign(sign)) => sign.shard_size.map(NonZeroU64::get),
            other => panic!("{line}: {other:?}"),
        };
        let line = "tracer sign m --key k --bundle b";
        assert_eq!(size(line), None);
        assert_eq!(size(&format!("{line} --shards")), Some(1_000_000_000));
        assert_eq!(size(&format!("{line} --shards=4096")), Some(4096));
        assert!(refusal(&format!("{line} --shards=0")).contains("--shards"));
        assert!(refusal(&format!("{line} --reference-names")).contains("--shards"));
    }
}
