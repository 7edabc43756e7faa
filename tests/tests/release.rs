//! What users install: the same bytes from every folder, at work in a fresh Debian root without the source
//! tree, and on the oldest kernels. Needs root, BPF, debootstrap and QEMU, and compiles two releases.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tracer_event::Body;
use tracer_tests::{
    cache::Cache,
    debian,
    model::TINY,
    package::run,
    patience, requires_root,
    tracer::Line,
    workload::{Place, Running, Runtime},
};

/// Any fixed time will do, as long as both builds are given it.
const EPOCH: &str = "1790000000";

#[test]
#[ignore = "compiles two releases and installs one in a fresh Debian root: several minutes"]
fn a_release_is_the_same_from_every_folder_and_works_in_a_fresh_debian_root() -> Result<()> {
    requires_root!();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let scratch = tempfile::tempdir()?;
    let copy = scratch.path().join("another/depth/tracer");
    copy_sources(&here, &copy)?;
    let one = release(&here, &scratch.path().join("one"))?;
    let other = release(&copy, &scratch.path().join("other"))?;
    let names: Vec<_> = one.iter().filter_map(|path| path.file_name()).collect();
    ensure!(names.len() == 4, "a release has four files: {names:?}");
    for (one, other) in one.iter().zip(&other) {
        assert!(
            fs::read(one)? == fs::read(other)?,
            "{} differs between two folders",
            one.display()
        );
    }

    let root = FreshRoot::make(scratch.path().join("root"))?;
    let (package, tarball) = (with(&one, ".deb")?, with(&one, ".tar.gz")?);
    let before = root.files()?;
    fs::copy(package, root.folder.join("tracer.deb"))?;
    root.run(&["dpkg", "--install", "/tracer.deb"])?;
    traces(&root, "/usr/bin/tracer")?;
    collects(&root, "/usr/bin/tracer-collector")?;
    root.run(&["dpkg", "--purge", "tracer"])?;
    assert_eq!(root.files()?, before, "nothing stays behind");

    run(Command::new("tar")
        .arg("--extract")
        .arg("--file")
        .arg(tarball)
        .arg("--directory")
        .arg(root.folder.join("opt")))?;
    let unpacked = with(&list(&root.folder.join("opt"))?, "-linux")?.to_owned();
    let inside = Path::new("/opt").join(unpacked.file_name().context("it has a name")?);
    traces(&root, &inside.join("bin/tracer").display().to_string())?;
    collects(
        &root,
        &inside.join("bin/tracer-collector").display().to_string(),
    )?;
    starts_in_guests(&here, &unpacked.join("bin/tracer"))
}

/// The program works where it says so, on Linux 6.1, and says why it does not on 5.10.
fn starts_in_guests(sources: &Path, program: &Path) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .current_dir(sources)
        .args(["xtask", "vm", "--kernel", "5.10,6.1"])
        .args(["--test", "doctor-names-what-6.1-lacks"])
        .args(["--test", "an-old-kernel-is-refused"])
        .arg("--tracer")
        .arg(program))
}

/// The installed program follows a real generation that runs outside of the root.
fn traces(root: &FreshRoot, program: &str) -> Result<()> {
    let steps = ["--n", "16", "load", "context", "wait", "generate"];
    let command = Runtime::NodeLlamaCpp.command(&Cache::open()?, TINY, &steps)?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let mut tracer = root.command(&[program, "trace", "--pid", &running.pid().to_string()]);
    let mut tracer = tracer.args(["--output", "ndjson:/events"]).spawn()?;
    let events = root.folder.join("events");
    patience::until("the installed program attaches", || {
        ensure!(tracer.try_wait()?.is_none(), "{program} ended early");
        let told = fs::read_to_string(&events).unwrap_or_default();
        Ok(told.contains("agent.attached"))
    })?;
    running.go()?;
    running.finish()?;
    ensure!(tracer.wait()?.success(), "{program} failed");
    let lines = fs::read_to_string(&events)?;
    let lines: Vec<Line> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let count =
        |wanted: fn(&Body<_>) -> bool| lines.iter().filter(|line| wanted(&line.body)).count();
    assert_eq!(count(|body| matches!(body, Body::ModelLoaded(_))), 1);
    assert_eq!(count(|body| matches!(body, Body::Request(_))), 1);
    fs::remove_file(&events).context("cannot remove the events")
}

/// The installed collector makes what it serves from, and finds it right.
fn collects(root: &FreshRoot, program: &str) -> Result<()> {
    root.run(&[program, "init", "/collector"])?;
    let config = "/collector/collector.toml";
    root.run(&[program, "check", "--config", config])?;
    root.run(&[program, "verify", "--config", config])?;
    fs::remove_dir_all(root.folder.join("collector"))
        .context("cannot remove the collector's folder")
}

/// A Debian system with nothing but its essential packages, which sees the host's processes.
struct FreshRoot {
    folder: PathBuf,
}

impl FreshRoot {
    fn make(folder: PathBuf) -> Result<Self> {
        debian::fresh_root(&folder)?;
        let root = Self { folder };
        for (kind, place) in [("proc", "proc"), ("sysfs", "sys")] {
            run(Command::new("mount")
                .args(["-t", kind, kind])
                .arg(root.folder.join(place)))?;
        }
        Ok(root)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(&self.folder)
            .args(words)
            .env("PATH", "/usr/sbin:/usr/bin");
        command
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        run(&mut self.command(words))
    }

    /// Everything below /usr and /etc.
    fn files(&self) -> Result<BTreeSet<String>> {
        let output = self.command(&["find", "/usr", "/etc"]).output()?;
        ensure!(output.status.success(), "find failed");
        let text = String::from_utf8(output.stdout).context("Debian's names are ASCII")?;
        // Making a user, who stays, leaves the system's own copies of its lists.
        let is_copy = |line: &&str| {
            line.starts_with("/etc/") && (line.ends_with('-') || line.ends_with(".pwd.lock"))
        };
        let files = text.lines().filter(|line| !is_copy(line));
        Ok(files.map(str::to_owned).collect())
    }
}

impl Drop for FreshRoot {
    fn drop(&mut self) {
        for place in ["proc", "sys"] {
            // Where it fails nothing was mounted.
            let _ = Command::new("umount").arg(self.folder.join(place)).status();
        }
    }
}

/// The files of a release of the sources in `root`, in the order of their names.
fn release(root: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .current_dir(root)
        .args(["xtask", "dist", "--out"])
        .arg(out)
        .env_remove("CARGO_TARGET_DIR")
        .env("SOURCE_DATE_EPOCH", EPOCH))?;
    list(out)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn with<'a>(paths: &'a [PathBuf], ending: &str) -> Result<&'a Path> {
    let found = paths
        .iter()
        .find(|path| path.to_string_lossy().ends_with(ending));
    found
        .map(PathBuf::as_path)
        .with_context(|| format!("no file ends with {ending}: {paths:?}"))
}

/// Copies what git knows: no build results.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    let listed: TempDir = tempfile::tempdir()?;
    let archive = listed.path().join("sources.tar");
    fs::create_dir_all(to)?;
    run(Command::new("sh")
        .current_dir(from)
        .args([
            "-c",
            "git ls-files -z | tar --create --null --files-from=- --file \"$0\"",
        ])
        .arg(&archive))?;
    run(Command::new("tar")
        .arg("--extract")
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(to))
}
