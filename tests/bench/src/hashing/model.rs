//! A whole model of eight files, verified by the commands that people run: `tracer verify`,
//! `sha256sum --check`, PyPI's model-signing.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};
use tracer_tests::{cache::Cache, reference::Reference, tracer};

use super::GROUP;
use crate::{
    peer::LeftOut,
    row::{Bar, Row},
};

/// Measures each command on the files in `model`, of which `bytes` are the size together.
///
/// # Errors
/// If a command fails or does not verify the model.
pub(super) fn measure(
    model: &Path,
    bytes: u64,
    repetitions: usize,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<Row>> {
    let bench = Bench::new(model)?;
    let note = format!("8 files, {} MiB together, whole commands", bytes >> 20);
    let mut rows = vec![
        bench.against_sha256sum("in the page cache", repetitions, &note, || Ok(()))?,
        bench.against_sha256sum("from the disk", repetitions.div_ceil(3), &note, || {
            cold(model)
        })?,
    ];
    match Reference::install(&Cache::open()?) {
        Ok(reference) => rows.push(bench.against(&reference, repetitions.div_ceil(3), &note)?),
        Err(why) => left_out.push(LeftOut::because(GROUP, "model-signing", &why)),
    }
    Ok(rows)
}

/// A model that is listed and signed.
struct Bench<'a> {
    model: &'a Path,
    signed: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    fn new(model: &'a Path) -> Result<Self> {
        let bench = Self {
            model,
            signed: tempfile::tempdir()?,
        };
        let list = File::create(bench.signed.path().join("SHA256SUMS"))?;
        let mut names = Vec::new();
        for entry in model.read_dir()? {
            names.push(entry?.file_name());
        }
        run(Command::new("sha256sum")
            .args(&names)
            .current_dir(model)
            .stdout(list))?;
        let key = bench.signed.path().join("key.pem");
        run(Command::new("openssl")
            .args([
                "ecparam",
                "-genkey",
                "-noout",
                "-name",
                "prime256v1",
                "-out",
            ])
            .arg(&key))?;
        run(Command::new("openssl")
            .args(["ec", "-pubout", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(bench.signed.path().join("key.pub")))?;
        run(bench
            .tracer("sign")?
            .args(["--bundle", "model.sig", "--key", "key.pem"])
            .arg(model))?;
        Ok(bench)
    }

    /// How many times faster than `sha256sum --check`, with `before` ahead of each of the two.
    fn against_sha256sum(
        &self,
        state: &str,
        repetitions: usize,
        note: &str,
        before: impl Fn() -> Result<()>,
    ) -> Result<Row> {
        let list = self.signed.path().join("SHA256SUMS");
        let mut ratios = Vec::new();
        for _ in 0..repetitions {
            before()?;
            let theirs = run(Command::new("sha256sum")
                .args(["--check", "--quiet"])
                .arg(&list)
                .current_dir(self.model))?;
            before()?;
            let verify = &mut self.tracer("verify")?;
            let ours = run(verify.arg("--sha256sums").arg(&list).arg(self.model))?;
            ratios.push(theirs / ours);
        }
        let name = format!("a model {state}: speed ÷ sha256sum --check");
        Row::judge(GROUP, name, "x", ratios, Bar::None, note)
    }

    /// How many times faster than the reference implementation at the same signature.
    fn against(&self, reference: &Reference, repetitions: usize, note: &str) -> Result<Row> {
        let model = self.model.to_str().context("a temporary path is UTF-8")?;
        let mut ratios = Vec::new();
        for _ in 0..repetitions {
            let start = Instant::now();
            let arguments = ["verify", model, "model.sig", "as-signed", "key", "key.pub"];
            let output = reference.call(self.signed.path(), &arguments)?;
            let theirs = start.elapsed().as_secs_f64();
            ensure!(
                output.status.success(),
                "model-signing does not verify our signature: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            let ours = run(self
                .tracer("verify")?
                .args(["--bundle", "model.sig", "--public-key", "key.pub"])
                .arg(self.model))?;
            ratios.push(theirs / ours);
        }
        let name = "a signed model in the page cache: speed ÷ model-signing";
        Row::judge(GROUP, name, "x", ratios, Bar::None, note)
    }

    fn tracer(&self, action: &str) -> Result<Command> {
        let mut command = Command::new(tracer::binary()?);
        command
            .arg(action)
            .current_dir(self.signed.path())
            .stdout(Stdio::null());
        Ok(command)
    }
}

/// Runs a command to its end and returns the seconds that it took.
fn run(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let child = command.stderr(Stdio::piped());
    let output = child
        .spawn()
        .and_then(std::process::Child::wait_with_output);
    let seconds = start.elapsed().as_secs_f64();
    let output = output.with_context(|| format!("cannot run {command:?}; install it"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(seconds)
}

/// Drops the files of `folder` from the page cache.
fn cold(folder: &Path) -> Result<()> {
    for entry in folder.read_dir()? {
        let file = File::open(entry?.path())?;
        fadvise(&file, 0, None, Advice::DontNeed).context("cannot empty the page cache")?;
    }
    Ok(())
}
