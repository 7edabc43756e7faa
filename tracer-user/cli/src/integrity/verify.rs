//! `tracer verify`: compares a model with what somebody vouched for.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use tracer_integrity::{
    expected::Expected,
    hash,
    ignore::Ignored,
    oms::{Bundle, BundleError, MAX_BUNDLE, Manifest, Signer, Trust},
    report::{self, Source},
    sigstore::{Keyless, MAX_TRUSTED_ROOT, TrustedRoot},
    store,
    sums::{self, MAX_SUMS},
    tree::{Symlinks, Tree},
    trust::{PublicKey, TrustAnchors},
    verify::{self, Rules, Verification},
};

use super::{leases, read, read_pem, show, view};
use crate::{
    arguments::{
        meant::integrity::{self as meant, Against, Verify},
        typed::DocumentFormat,
    },
    outcome::Outcome,
    text::Palette,
    trouble::Trouble,
};

/// Compares the model and prints the result.
///
/// # Errors
/// If something that is needed cannot be read.
pub(crate) fn run(arguments: &Verify) -> Result<Outcome> {
    let now = now()?;
    let result = compare(arguments, now)?;
    let text = match arguments.format {
        DocumentFormat::Pretty => view::pretty(&result, Palette::for_stream(&io::stdout())),
        DocumentFormat::Json => format!("{:#}\n", view::json(&result, now)),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")?;
    Ok(match result.verification.outcome() {
        _ if result.refusal.is_some() => Outcome::Nothing,
        verify::Outcome::Verified => Outcome::Something,
        verify::Outcome::NotVerified => Outcome::Nothing,
        verify::Outcome::Undetermined => Outcome::Undetermined,
    })
}

/// What a verification found.
#[derive(Debug)]
pub(super) struct Compared {
    /// The model's name.
    pub(super) model: String,
    /// What it was compared with.
    pub(super) source: Source,
    /// What the signer left out, which whoever verifies should know.
    pub(super) signed_ignored: Vec<String>,
    /// Why the source is not believed; nothing was compared then.
    pub(super) refusal: Option<String>,
    /// The files.
    pub(super) verification: Verification,
}

/// What to compare with, and with which files.
struct Plan {
    tree: Tree,
    source: Source,
    expected: Expected,
    rules: Rules,
    signed_ignored: Vec<String>,
}

fn compare(arguments: &Verify, now: Duration) -> Result<Compared> {
    let plan = match &arguments.against {
        Against::Key { bundle, key } => signed(arguments, bundle, &trusted_key(key)?)?,
        Against::Certificates {
            bundle,
            trusted,
            at,
        } => {
            let trust = certificates(trusted, at.map_or(now, Duration::from_secs))?;
            signed(arguments, bundle, &trust)?
        }
        Against::Keyless { bundle, signer } => signed(arguments, bundle, &keyless(signer)?)?,
        Against::Sums(list) => Ok(listed(arguments, list)?),
        Against::Store => Ok(stored(arguments)?),
    };
    let Plan {
        tree,
        source,
        expected,
        rules,
        signed_ignored,
    } = match plan {
        Ok(plan) => plan,
        Err(refused) => return Ok(*refused),
    };
    let progress = Arc::new(hash::Progress::default());
    let shown = show(&progress);
    let options = hash::Options {
        workers: arguments.jobs,
        check_disk: arguments.check_disk,
    };
    let verification = verify::verify(&tree, &expected, &rules, &leases(), options, &progress)?;
    drop(shown);
    Ok(Compared {
        model: tree.name(),
        source,
        signed_ignored,
        refusal: None,
        verification,
    })
}

fn certificates(files: &[std::path::PathBuf], at: Duration) -> Result<Trust> {
    let texts = files
        .iter()
        .map(|file| read_pem(file))
        .collect::<Result<Vec<_>>>()?;
    let anchors =
        TrustAnchors::from_pems(texts.iter().map(Vec::as_slice)).context("--cert-chain")?;
    Ok(Trust::certificates(anchors, at))
}

fn keyless(signer: &meant::Signer) -> Result<Trust> {
    let meant::Signer {
        trusted_root,
        identity,
        issuer,
    } = signer;
    // One byte more than allowed, for the root's own error.
    let root = TrustedRoot::parse(&read(trusted_root, MAX_TRUSTED_ROOT + 1)?)
        .with_context(|| format!("--trusted-root {}", trusted_root.display()))?;
    let keyless = Keyless::new(root, identity.clone(), issuer.clone());
    Ok(Trust::Sigstore(Box::new(keyless)))
}

/// The files that a bundle or a list vouches for, whichever model they are of.
///
/// # Errors
/// If it cannot be read or is not believed.
pub(crate) fn expected_files(against: &Against) -> Result<Expected> {
    let trust = match against {
        Against::Key { key, .. } => trusted_key(key)?,
        Against::Certificates { trusted, at, .. } => certificates(
            trusted,
            at.map_or_else(now, |at| Ok(Duration::from_secs(at)))?,
        )?,
        Against::Keyless { signer, .. } => keyless(signer)?,
        Against::Sums(list) => {
            let parsed = sums::parse(&read(list, MAX_SUMS + 1)?);
            let parsed = parsed.with_context(|| format!("read the list {}", list.display()))?;
            return Ok(Expected::of_sums(&parsed, None));
        }
        Against::Store => return Ok(Expected::of_files([])),
    };
    let (Against::Key { bundle, .. }
    | Against::Certificates { bundle, .. }
    | Against::Keyless { bundle, .. }) = against
    else {
        return Ok(Expected::of_files([]));
    };
    let (_, manifest) = Bundle::parse(&read(bundle, MAX_BUNDLE + 1)?)
        .and_then(|bundle| bundle.verify(&trust))
        .with_context(|| format!("the bundle {} is not believed", bundle.display()))?;
    Ok(Expected::of_manifest(&manifest, None))
}

fn trusted_key(path: &Path) -> Result<Trust> {
    let key = PublicKey::from_pem(&read_pem(path)?)
        .with_context(|| format!("--public-key {}", path.display()))?;
    Ok(Trust::Key(key))
}

/// A bundle that is not believed is a result, no error.
fn signed(arguments: &Verify, path: &Path, trust: &Trust) -> Result<Result<Plan, Box<Compared>>> {
    // One byte more than allowed, for the bundle's own error.
    let text = read(path, MAX_BUNDLE + 1)?;
    let verified = Bundle::parse(&text).and_then(|bundle| {
        let digest = bundle.payload_digest();
        let (signer, manifest) = bundle.verify(trust)?;
        Ok((digest, signer, manifest))
    });
    let (digest, signer, manifest) = match verified {
        Ok(verified) => verified,
        Err(refusal) => return Ok(Err(Box::new(refused(arguments, path, &refusal)))),
    };
    let symlinks = if manifest.allow_symlinks() {
        Symlinks::FollowInside
    } else {
        Symlinks::Refuse
    };
    let tree = store::open_model(&arguments.model, symlinks)?;
    let mut ignored = Ignored::git();
    ignored.extend(manifest.ignore_paths().iter().map(String::as_str));
    Ok(Ok(Plan {
        source: Source {
            kind: "model-signing",
            name: path.display().to_string(),
            sha256: Some(digest),
            signer: Some(describe(&signer)),
            root: Some(manifest.root().hex()),
        },
        expected: Expected::of_manifest(&manifest, tree.single_file()),
        rules: rules(arguments, ignored, Some(path)),
        signed_ignored: beyond_git(&manifest),
        tree,
    }))
}

/// What the signer left out beside what everybody leaves out.
fn beyond_git(manifest: &Manifest) -> Vec<String> {
    let git = Ignored::git();
    let beyond = manifest.ignore_paths().iter();
    beyond.filter(|name| !git.covers(name)).cloned().collect()
}

fn refused(arguments: &Verify, bundle: &Path, refusal: &BundleError) -> Compared {
    let model = &arguments.model;
    Compared {
        model: model.file_name().map_or_else(
            || model.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        ),
        source: Source {
            kind: "model-signing",
            name: bundle.display().to_string(),
            sha256: None,
            signer: None,
            root: None,
        },
        signed_ignored: Vec::new(),
        refusal: Some(refusal.to_string()),
        verification: Verification {
            files: Vec::new(),
            ignored: Vec::new(),
            unsigned_ignored: arguments.ignore_unsigned,
        },
    }
}

fn listed(arguments: &Verify, list: &Path) -> Result<Plan> {
    // One byte more than allowed, for the list's own error.
    let text = read(list, MAX_SUMS + 1)?;
    let parsed = sums::parse(&text).with_context(|| format!("--sha256sums {}", list.display()))?;
    let tree = store::open_model(&arguments.model, Symlinks::Refuse)?;
    let expected = Expected::of_sums(&parsed, tree.single_file());
    if expected.files().is_empty() {
        bail!(Trouble::new(
            format!(
                "{} names no `{}`, or several in different folders",
                list.display(),
                tree.name()
            ),
            "give the list that was made for this file, or the folder that the list is about",
        ));
    }
    Ok(Plan {
        source: Source {
            kind: "sha256sums",
            name: list.display().to_string(),
            sha256: Some(sums::digest(&text)),
            signer: None,
            root: None,
        },
        expected,
        rules: rules(arguments, Ignored::git(), Some(list)),
        signed_ignored: Vec::new(),
        tree,
    })
}

fn stored(arguments: &Verify) -> Result<Plan> {
    let store::Stored {
        tree,
        expected,
        ignored,
        shared,
        kind,
    } = store::find(&arguments.model).map_err(|error| {
        Trouble::new(
            error.to_string(),
            "give a file, snapshot or model of such a store, or compare with --bundle or \
             --sha256sums",
        )
    })?;
    let mut rules = rules(arguments, ignored, None);
    rules.ignore_unsigned |= shared;
    Ok(Plan {
        source: Source {
            kind: "store",
            name: kind.to_string(),
            sha256: None,
            signer: None,
            root: None,
        },
        expected,
        rules,
        signed_ignored: Vec::new(),
        tree,
    })
}

fn rules(arguments: &Verify, mut ignored: Ignored, source: Option<&Path>) -> Rules {
    for path in &arguments.ignore_paths {
        ignored.add_typed(&arguments.model, path);
    }
    if let Some(source) = source {
        ignored.add_path(&arguments.model, source);
    }
    Rules {
        ignored,
        ignore_unsigned: arguments.ignore_unsigned,
    }
}

fn describe(signer: &Signer) -> String {
    match signer {
        Signer::Key { hint, named: true } => format!("key {hint}"),
        Signer::Key { hint, named: false } => {
            format!("key {hint}, which this old bundle does not name")
        }
        Signer::Certificate {
            subject,
            fingerprint,
        } => format!("{subject}, certificate {fingerprint}"),
        Signer::Sigstore {
            identity,
            issuer,
            entry,
            time,
        } => {
            let time = report::rfc3339(Duration::from_secs(*time));
            format!("{identity} ({issuer}), log entry {entry} of {time}")
        }
    }
}

fn now() -> Result<Duration> {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")
}
