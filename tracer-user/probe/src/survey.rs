//! What runs here and what would be attached to it, without attaching anything.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use tracer_profile::Profile;

use crate::{
    code::ImageError,
    features,
    govern::Prices,
    observation::{AttachedProbe, LibraryId, NotAttachable, ProbeId, Runtime},
    process::{self, FileId, MappedFile, Mapping, Process, ProcessError, executable_mappings},
    supervisor::{
        library,
        plan::{self, Plan, Recognised},
    },
    time::BootNanos,
};

/// A runtime that runs, and what [`Supervisor`](crate::Supervisor) would attach to it.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The process and library.
    pub runtime: Runtime,
    /// What would be attached. Empty unless asked for.
    pub probes: Vec<AttachedProbe>,
    /// What would not, and why. Empty unless asked for.
    pub not_attachable: Vec<NotAttachable>,
}

/// The result of [`survey`].
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Runtimes by process id.
    pub runtimes: Vec<Surveyed>,
    /// Processes looked at.
    pub processes: usize,
    /// Processes that could not be looked at, and why.
    pub unreadable: Vec<(u32, String)>,
    /// Different files looked at.
    pub files: usize,
    /// Files named as a runtime's libraries are that have none of its functions: stripped, or of an
    /// unknown build.
    pub stripped: Vec<PathBuf>,
}

/// Looks at every process, or only at `pid`, for what `profiles` recognise. With `with_sites` every
/// probe's sites are chosen too, which reads the libraries' code.
#[must_use]
pub fn survey(profiles: &[Profile], pid: Option<u32>, with_sites: bool) -> Survey {
    let mut surveyor = Surveyor {
        profiles,
        with_sites,
        shadow_stacks: features::has_user_shadow_stacks(),
        files: HashMap::new(),
        found: Survey::default(),
    };
    let pids = match pid {
        Some(pid) => vec![pid],
        None => process::all().unwrap_or_default(),
    };
    for one in pids {
        match surveyor.look_at(one) {
            Ok(()) => surveyor.found.processes += 1,
            // Processes come and go; only one that was asked for by number must be there.
            Err(ProcessError::Gone { .. }) if pid.is_none() => {}
            Err(error) => surveyor.found.unreadable.push((one, error.to_string())),
        }
    }
    let Surveyor {
        files, mut found, ..
    } = surveyor;
    found.files = files.len();
    found
        .runtimes
        .sort_by_key(|surveyed| surveyed.runtime.process.id);
    found.stripped.sort_unstable();
    found
}

/// What a profile would attach to one file.
#[derive(Clone, Debug)]
pub struct Examination {
    /// GNU build-id.
    pub build_id: Option<Vec<u8>>,
    /// The version that its own code tells.
    pub version: Option<String>,
    /// What would be attached.
    pub probes: Vec<AttachedProbe>,
    /// What would not, and why; without a probe it concerns the whole file.
    pub refused: Vec<(Option<ProbeId>, String)>,
}

/// Why a file cannot be examined.
#[derive(Debug, thiserror::Error)]
pub enum ExaminationError {
    /// It cannot be opened.
    #[error("cannot open {}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What happened.
        cause: std::io::Error,
    },
    /// It is no program or library that could be probed.
    #[error("{}: {cause}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: ImageError,
    },
}

/// Chooses the sites of a profile's probes in a file that perhaps nobody maps; `None` if the file has
/// none of the functions by which the profile knows its runtime. Probes are numbered from 0.
///
/// # Errors
/// If the file cannot be opened or is no image.
pub fn examine(profile: &Profile, path: &Path) -> Result<Option<Examination>, ExaminationError> {
    let file = MappedFile::open_path(path).map_err(|cause| ExaminationError::Open {
        path: path.to_owned(),
        cause,
    })?;
    let surveyor = Surveyor {
        profiles: std::slice::from_ref(profile),
        with_sites: true,
        shadow_stacks: features::has_user_shadow_stacks(),
        files: HashMap::new(),
        found: Survey::default(),
    };
    let recognised = plan::recognise(&file, None, surveyor.profiles).map_err(|cause| {
        ExaminationError::Image {
            path: path.to_owned(),
            cause,
        }
    })?;
    Ok(recognised.map(|recognised| surveyor.plan(&recognised)))
}

struct Surveyor<'a> {
    profiles: &'a [Profile],
    with_sites: bool,
    shadow_stacks: bool,
    /// Files looked at, and what they turned out to be.
    files: HashMap<FileId, Option<Examined>>,
    found: Survey,
}

/// A runtime's library.
#[derive(Clone)]
struct Examined {
    id: LibraryId,
    profile: usize,
    file: FileId,
    build_id: Option<Vec<u8>>,
    version: Option<String>,
    probes: Vec<AttachedProbe>,
    refused: Vec<(Option<ProbeId>, String)>,
}

impl Surveyor<'_> {
    fn look_at(&mut self, pid: u32) -> Result<(), ProcessError> {
        if process::is_32_bit(pid) {
            return Err(ProcessError::Not64Bit { pid });
        }
        let mappings = executable_mappings(pid)?;
        let mut seen = HashSet::new();
        for mapping in mappings.iter().filter(|mapping| seen.insert(mapping.file)) {
            let examined = match self.files.get(&mapping.file) {
                Some(examined) => examined.clone(),
                None => {
                    let examined = self.examine(pid, mapping);
                    self.files.insert(mapping.file, examined.clone());
                    examined
                }
            };
            if let Some(examined) = examined {
                self.tell(Process::read(pid)?, mapping, examined);
            }
        }
        Ok(())
    }

    fn examine(&mut self, pid: u32, mapping: &Mapping) -> Option<Examined> {
        let file = MappedFile::open(pid, mapping).ok()?;
        let Some(recognised) = plan::recognise(&file, Some(pid), self.profiles).ok()? else {
            if self.is_named_like_a_runtime(&mapping.path) {
                self.found.stripped.push(mapping.path.clone());
            }
            return None;
        };
        let Examination {
            build_id,
            version,
            probes,
            refused,
        } = if self.with_sites {
            self.plan(&recognised)
        } else {
            Examination {
                build_id: recognised.build_id,
                version: None,
                probes: Vec::new(),
                refused: Vec::new(),
            }
        };
        Some(Examined {
            id: LibraryId(u32::try_from(self.files.len()).unwrap_or(u32::MAX)),
            profile: recognised.profile,
            file: file.id(),
            build_id,
            version,
            probes,
            refused,
        })
    }

    /// Numbers probes as [`Supervisor`](crate::Supervisor) would with the same profiles.
    fn plan(&self, recognised: &Recognised) -> Examination {
        let profile = &self.profiles[recognised.profile];
        let before = &self.profiles[..recognised.profile];
        let first: usize = before.iter().map(|profile| profile.probes.len()).sum();
        let id = |probe: usize| ProbeId(u16::try_from(first + probe).unwrap_or(u16::MAX));
        let Plan {
            version,
            probes,
            refused,
            notes,
        } = plan::plan(recognised, profile, self.shadow_stacks, Prices::ASSUMED);
        let probes = probes
            .iter()
            .map(|probe| library::report(id(probe.probe), probe))
            .collect();
        let refused = refused
            .into_iter()
            .map(|(probe, reason)| (Some(id(probe)), reason))
            .chain(notes.into_iter().map(|reason| (None, reason)))
            .collect();
        Examination {
            build_id: recognised.build_id.clone(),
            version,
            probes,
            refused,
        }
    }

    fn is_named_like_a_runtime(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return false;
        };
        let patterns = self
            .profiles
            .iter()
            .flat_map(|profile| &profile.early_paths);
        patterns
            .filter_map(|pattern| pattern.rsplit('/').next())
            .any(|pattern| {
                // A pattern such as `*.so` says nothing about whose library it is.
                pattern.starts_with("lib")
                    && glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name))
            })
    }

    fn tell(&mut self, process: Process, mapping: &Mapping, examined: Examined) {
        let Examined {
            id,
            profile,
            file,
            build_id,
            version,
            probes,
            refused,
        } = examined;
        let time = BootNanos::now();
        let refused = refused.into_iter().map(|(probe, reason)| NotAttachable {
            process: Some(process.id),
            path: mapping.path.clone(),
            probe,
            reason,
            time,
        });
        self.found.runtimes.push(Surveyed {
            probes,
            not_attachable: refused.collect(),
            runtime: Runtime {
                process,
                profile,
                library: id,
                path: mapping.path.clone(),
                file,
                deleted: mapping.deleted,
                build_id,
                version,
                load_may_be_missed: true,
                time,
            },
        });
    }
}
