//! Where fetched and built things are kept between runs, and how they get there whole.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Two folders: one for what was fetched, one that every user can read.
///
/// They are the same folder unless the cache lies under a private one, as root's home is: the
/// workloads run as `nobody` and could not open a library there.
#[derive(Clone, Debug)]
pub struct Cache {
    private: PathBuf,
    readable: PathBuf,
}

impl Cache {
    /// Opens `$TRACER_CACHE`, else `$XDG_CACHE_HOME/tracer`, else `$HOME/.cache/tracer`.
    ///
    /// # Errors
    /// When no folder is named by the environment, or it cannot be made.
    pub fn open() -> Result<Self> {
        let private = match (
            env::var_os("TRACER_CACHE"),
            env::var_os("XDG_CACHE_HOME"),
            env::var_os("HOME"),
        ) {
            (Some(cache), _, _) => PathBuf::from(cache),
            (None, Some(cache), _) => Path::new(&cache).join("tracer"),
            (None, None, Some(home)) => Path::new(&home).join(".cache/tracer"),
            (None, None, None) => bail!("no cache folder: set TRACER_CACHE or HOME"),
        };
        fs::create_dir_all(&private).with_context(|| {
            format!(
                "cannot make the cache folder {}; set TRACER_CACHE to another",
                private.display()
            )
        })?;
        let private = private.canonicalize()?;
        let readable = if open_to_everyone(&private)? {
            private.clone()
        } else {
            shared_folder()?
        };
        Ok(Self { private, readable })
    }

    /// The folder that every user can read; `once` makes things in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.readable
    }

    /// The folder for archives as they came from a registry.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn downloads(&self) -> Result<PathBuf> {
        let folder = self.private.join("downloads");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Returns `name` in the readable folder, made by `build` in a fresh folder the first time.
    ///
    /// The result appears under its name only when `build` has succeeded, and other processes that
    /// want the same one wait.
    ///
    /// # Errors
    /// Those of `build`, and of moving its result into place.
    pub fn once(&self, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let done = self.readable.join(name);
        if done.exists() {
            return Ok(done);
        }
        let parent = done
            .parent()
            .with_context(|| format!("`{name}` names no folder"))?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let lock = File::create(done.with_added_extension("lock"))
            .with_context(|| format!("cannot make a lock beside {}", done.display()))?;
        lock.lock()
            .with_context(|| format!("cannot lock {}", done.display()))?;
        if done.exists() {
            return Ok(done);
        }
        let scratch = tempfile::Builder::new()
            .prefix(".building-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
        build(scratch.path())?;
        let scratch = scratch.keep();
        fs::rename(&scratch, &done)
            .with_context(|| format!("cannot move {} to {}", scratch.display(), done.display()))?;
        Ok(done)
    }
}

/// Whether any user can reach the folder: every folder above it, and itself, lets others pass.
fn open_to_everyone(folder: &Path) -> Result<bool> {
    for ancestor in folder.ancestors() {
        let mode = fs::metadata(ancestor)
            .with_context(|| format!("cannot look at {}", ancestor.display()))?
            .mode();
        if mode & 0o005 != 0o005 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A folder of our own in `/var/tmp`, refused when somebody else made it first.
fn shared_folder() -> Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let folder = PathBuf::from(format!("/var/tmp/tracer-cache-{uid}"));
    match fs::DirBuilder::new().mode(0o755).create(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot make {}", folder.display()));
        }
    }
    let found = fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != uid {
        bail!(
            "{} belongs to somebody else; set TRACER_CACHE to a folder that every user can read",
            folder.display()
        );
    }
    Ok(folder)
}
