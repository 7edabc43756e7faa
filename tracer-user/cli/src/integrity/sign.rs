//! `tracer sign`: writes a bundle over a model's files.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use tracer_integrity::{
    hash,
    ignore::Ignored,
    oms::{self, SigningIdentity},
    sign::{self, DescribeError, Form},
    tree::{EntryKind, Symlinks, Tree},
    trust::{PrivateKey, SigningCertificate},
};

use super::{leases, read_pem, show};
use crate::{arguments::meant::integrity::Sign, outcome::Outcome, text::counted, trouble::Trouble};

/// Signs the model.
///
/// # Errors
/// If it cannot be read, holds what cannot be signed, or the bundle cannot be written.
pub(crate) fn run(arguments: &Sign) -> Result<Outcome> {
    let Sign {
        model,
        key,
        certificate,
        bundle,
        algorithm,
        shard_size,
        shard_names,
        ignore_paths,
        allow_symlinks,
        jobs,
    } = arguments;
    let identity = identity(key, certificate.as_ref())?;
    let symlinks = if *allow_symlinks {
        Symlinks::FollowInside
    } else {
        Symlinks::Refuse
    };
    let tree = Tree::open(model, symlinks)?;
    let mut ignored = Ignored::git();
    for path in ignore_paths {
        ignored.add_typed(model, path);
    }
    ignored.add_path(model, bundle);
    let form = Form {
        algorithm: *algorithm,
        shard_size: *shard_size,
        allow_symlinks: *allow_symlinks,
        ignored,
    };
    let progress = Arc::new(hash::Progress::default());
    let shown = show(&progress);
    let options = hash::Options {
        workers: *jobs,
        check_disk: false,
    };
    let manifest = sign::describe(&tree, &form, &leases(), options, &progress).map_err(advise)?;
    drop(shown);
    let text = oms::sign(&manifest, &identity, *shard_names).context("sign")?;
    write(bundle, &text).with_context(|| format!("write {}", bundle.display()))?;
    let resources = manifest.resources().len() as u64;
    let noun = if shard_size.is_some() {
        "shard"
    } else {
        "file"
    };
    writeln!(
        io::stdout(),
        "signed {} of {} in {}",
        counted(resources, noun),
        manifest.model(),
        bundle.display()
    )
    .context("write to standard output")?;
    Ok(Outcome::Something)
}

fn identity(
    key: &Path,
    certificate: Option<&(std::path::PathBuf, Vec<std::path::PathBuf>)>,
) -> Result<SigningIdentity> {
    let key_path = key.display();
    let key = PrivateKey::from_pem(&read_pem(key)?).with_context(|| format!("--key {key_path}"))?;
    let Some((certificate, chain)) = certificate else {
        return Ok(SigningIdentity::Key(key));
    };
    let leaf = read_pem(certificate)?;
    let chain = chain
        .iter()
        .map(|file| read_pem(file))
        .collect::<Result<Vec<_>>>()?;
    let certificate = SigningCertificate::from_pems(&key, &leaf, chain.iter().map(Vec::as_slice))
        .with_context(|| format!("--cert {}", certificate.display()))?;
    Ok(SigningIdentity::Certificate(key, certificate))
}

fn advise(error: DescribeError) -> anyhow::Error {
    match &error {
        DescribeError::NotAFile {
            name,
            kind: EntryKind::Symlink,
        } => Trouble::new(
            format!("`{name}` is a symbolic link"),
            "follow links that stay inside the model with --allow-symlinks, or leave this one out \
             with --ignore-paths",
        )
        .into(),
        DescribeError::Unstable { .. } => Trouble::new(
            error.to_string(),
            "end what writes it, or copy the model to a local file system, and sign again",
        )
        .into(),
        _ => error.into(),
    }
}

/// Writes beside the place and then renames: whoever reads finds the old bundle or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut scratch = name.to_owned();
    scratch.push(format!(".{}.new", std::process::id()));
    let scratch = path.with_file_name(scratch);
    let written = fs::File::create_new(&scratch).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&scratch, path)
    });
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&scratch);
    }
    written
}
