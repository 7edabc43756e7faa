//! `cargo xtask dist`: what users install.
//!
//! Two static programs, their completions and manual pages, as a tarball and as a Debian package, with a
//! bill of materials and checksums. Nothing in them depends on the folder or the time of the build: a
//! test compares the bytes of two builds in different folders.

mod debian;
mod program;
mod sbom;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;
use crate::{bpf, digest, process};

/// Shells whose completions are shipped, and where each looks for a program's below the prefix.
fn completions(program: &str) -> [(&'static str, String); 3] {
    [
        (
            "bash",
            format!("share/bash-completion/completions/{program}"),
        ),
        ("zsh", format!("share/zsh/vendor-completions/_{program}")),
        (
            "fish",
            format!("share/fish/vendor_completions.d/{program}.fish"),
        ),
    ]
}

/// What the services need, and where each lies below the prefix.
const SERVICES: [(&str, &str); 4] = [
    (
        "tracer-collector.service",
        "lib/systemd/system/tracer-collector.service",
    ),
    (
        "tracer-capture.service",
        "lib/systemd/system/tracer-capture.service",
    ),
    (
        "tracer-ship.service",
        "lib/systemd/system/tracer-ship.service",
    ),
    ("sysusers.conf", "lib/sysusers.d/tracer.conf"),
];

/// What `dist` can be asked.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder for the release
    #[arg(long, default_value = "target/dist")]
    out: PathBuf,
}

/// What every file of a release is named and dated after.
struct Release {
    version: String,
    /// Seconds since 1970 of the last commit, as `SOURCE_DATE_EPOCH` (reproducible-builds.org).
    epoch: String,
}

/// Builds the release and prints what it consists of.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    bpf::build(workspace, &bpf::Options::default())?;
    let metadata = sbom::Metadata::read(workspace, "tracer-cli", program::TARGET)?;
    let release = Release {
        version: metadata.version()?.to_owned(),
        epoch: epoch(workspace)?,
    };
    let programs = program::build(workspace, &release.epoch)?;
    for (program, _) in program::PROGRAMS {
        program::ensure_static(&programs.join(program))?;
    }

    let out = workspace.root.join(&options.out);
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("emptying {}", out.display()))?;
    }
    let named = format!("tracer-{}-x86_64-linux", release.version);
    let staged = out.join(&named);
    stage(workspace, &programs, &staged)?;

    let tarball = out.join(format!("{named}.tar.gz"));
    pack(&staged, &tarball, &release.epoch)?;
    let package = debian::package(&staged, &out, &release)?;
    let materials = out.join(format!("{named}.cdx.json"));
    let kernel_half = sbom::Metadata::read(workspace, "tracer-ebpf", "bpfel-unknown-none")?;
    let collector = sbom::Metadata::read(workspace, "tracer-collector", program::TARGET)?;
    let parts = [metadata, collector, kernel_half];
    let bill = sbom::bill(workspace, &parts, &programs)?;
    write(&materials, &bill)?;
    fs::remove_dir_all(&staged).with_context(|| format!("removing {}", staged.display()))?;

    let mut sums = String::new();
    for file in [&tarball, &package, &materials] {
        let name = file.file_name().context("a release file has a name")?;
        let sum = digest::of_file(file)?;
        sums.push_str(&format!("{sum}  {}\n", name.to_string_lossy()));
    }
    write(&out.join("SHA256SUMS"), &sums)?;
    print!("{sums}");
    Ok(())
}

/// When the last commit was made; a tree without one, or `SOURCE_DATE_EPOCH`, gives another.
fn epoch(workspace: &Workspace) -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let mut git = Command::new("git");
    git.current_dir(&workspace.root)
        .args(["log", "-1", "--format=%ct"]);
    let time = process::read(&mut git).context(
        "a release is dated by its commit: build in a git checkout, or set SOURCE_DATE_EPOCH",
    )?;
    Ok(time.trim().to_owned())
}

/// Lays out below `staged` what lies below a prefix once it is installed.
fn stage(workspace: &Workspace, programs: &Path, staged: &Path) -> Result<()> {
    for (name, _) in program::PROGRAMS {
        let program = &programs.join(name);
        let installed = staged.join("bin").join(name);
        make_parent(&installed)?;
        fs::copy(program, &installed).with_context(|| format!("copying {}", program.display()))?;
        fs::set_permissions(&installed, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("marking {} executable", installed.display()))?;
        for (shell, place) in completions(name) {
            let script = process::read(Command::new(program).args(["completions", shell]))?;
            write(&staged.join(place), &script)?;
        }
        let pages = staged.join("share/man/man1");
        process::run(Command::new(program).args(["man", "--folder"]).arg(&pages))?;
    }
    for (file, place) in SERVICES {
        copy(
            &workspace.root.join("packaging/systemd").join(file),
            &staged.join(place),
        )?;
    }
    let documentation = staged.join("share/doc/tracer");
    copy(
        &workspace.root.join("packaging/copyright"),
        &documentation.join("copyright"),
    )?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        copy(&workspace.root.join(file), &documentation.join(file))?;
    }
    copy_folder(&workspace.root.join("docs"), &documentation.join("docs"))
}

/// A tarball whose bytes depend on nothing but the files: one order, one time, no owner's name.
fn pack(folder: &Path, tarball: &Path, epoch: &str) -> Result<()> {
    let name = folder.file_name().context("the folder has a name")?;
    let parent = folder.parent().context("the folder lies in another")?;
    let file =
        fs::File::create(tarball).with_context(|| format!("making {}", tarball.display()))?;
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--format=ustar",
        "--sort=name",
        "--numeric-owner",
    ])
    .args(["--owner=0", "--group=0", "--mode=go=rX,u=rwX"])
    .arg(format!("--mtime=@{epoch}"))
    .arg("--directory")
    .arg(parent)
    .arg(name)
    .stdout(Stdio::piped());
    let mut packing = tar.spawn().context("starting tar")?;
    let packed = packing.stdout.take().context("tar has a standard output")?;
    // Without -n the file's name and time go into its header.
    let mut gzip = Command::new("gzip");
    process::run(gzip.args(["-9n"]).stdin(packed).stdout(file))?;
    let status = packing.wait().context("waiting for tar")?;
    anyhow::ensure!(status.success(), "tar ended with {status}");
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry.with_context(|| format!("listing {}", from.display()))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            copy(&path, &target)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    make_parent(path)?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("the path has a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))
}
