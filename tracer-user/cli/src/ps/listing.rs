//! What `tracer ps` tells of a process, in the words of its JSON.

use std::path::PathBuf;

use serde::Serialize;
use tracer_abi::SiteRole;
use tracer_pipeline::snapshot::{files, gguf::Want, live::CommandLine};
use tracer_probe::{
    observation::{AttachedProbe, AttachedSite, NotAttachable, ProbeId, SiteCost},
    process::Process,
    survey::{Survey, Surveyed},
};
use tracer_profile::Profile;

use crate::profiles::numbered;

/// A process that runs a model runtime.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    /// Process id.
    pub(crate) pid: u32,
    /// Process id in its own pid namespace, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace_pid: Option<u32>,
    /// Its name.
    pub(crate) name: String,
    /// Real user id.
    pub(crate) uid: u32,
    /// Its executable, as it sees it.
    pub(crate) exe: Option<PathBuf>,
    /// Container id.
    pub(crate) container: Option<String>,
    /// Path in the unified cgroup hierarchy.
    pub(crate) cgroup: Option<String>,
    /// The runtime.
    pub(crate) runtime: String,
    /// Model files that it maps; if it maps none, the one that its command line names.
    pub(crate) models: Vec<Model>,
    /// Its libraries.
    pub(crate) libraries: Vec<Library>,
}

/// A model file of a process.
#[derive(Debug, Serialize)]
pub(crate) struct Model {
    /// Its path as the process sees it.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Whether the process maps it.
    pub(crate) mapped: bool,
    /// The file has been removed or replaced since it was mapped.
    pub(crate) deleted: bool,
    /// The architecture that its header names.
    pub(crate) architecture: Option<String>,
}

/// A library of the runtime that the process maps.
#[derive(Debug, Serialize)]
pub(crate) struct Library {
    /// Its path as the process sees it.
    pub(crate) path: PathBuf,
    /// GNU build-id in hexadecimal.
    pub(crate) build_id: Option<String>,
    /// The version that its own code tells; only with `-v`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The file has been removed or replaced since it was mapped.
    pub(crate) deleted: bool,
    /// What would be attached; only with `-v`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) probes: Vec<Planned>,
    /// What would not; only with `-v`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_attachable: Vec<Refused>,
}

/// A probe that would be attached.
#[derive(Debug, Serialize)]
pub(crate) struct Planned {
    /// Its name in the profile.
    pub(crate) probe: String,
    /// The function.
    pub(crate) symbol: String,
    /// The instructions; the first is the entry's.
    pub(crate) sites: Vec<PlannedSite>,
    /// How the call's end is seen.
    pub(crate) exit: ExitKind,
    /// Why its end is not seen although the profile asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_missing: Option<String>,
}

/// An instruction that would be probed.
#[derive(Debug, Serialize)]
pub(crate) struct PlannedSite {
    /// File offset.
    pub(crate) offset: u64,
    /// `entry` or `exit`.
    pub(crate) role: &'static str,
    /// What a hit costs: `emulated` or `single-stepped`.
    pub(crate) cost: &'static str,
}

/// How a call's end is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ExitKind {
    /// It is not.
    None,
    /// At the function's own instructions, all of them emulated.
    Emulated,
    /// At the function's own instructions, of which at least one is single-stepped.
    SingleStepped,
}

/// A probe, or the library as a whole, that would not be attached.
#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    /// The probe's name; none if the whole library is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) probe: Option<String>,
    /// Why.
    pub(crate) reason: String,
}

/// What a survey found, by process id.
pub(crate) fn list(survey: &Survey, profiles: &[Profile]) -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    for surveyed in &survey.runtimes {
        let profile = &profiles[surveyed.runtime.profile];
        let process = &surveyed.runtime.process;
        let library = library(surveyed, profiles);
        let known = listed
            .iter_mut()
            .find(|known| known.pid == process.id.pid && known.runtime == profile.runtime);
        match known {
            Some(known) => known.libraries.push(library),
            None => listed.push(describe(process, profile, library)),
        }
    }
    listed.sort_by_key(|process| process.pid);
    listed
}

fn describe(process: &Process, profile: &Profile, library: Library) -> Listed {
    let Process {
        id,
        name,
        exe,
        exe_file: _,
        cgroup,
        cgroup_id: _,
        container,
        namespace_pid,
        uid,
    } = process;
    Listed {
        pid: id.pid,
        namespace_pid: Some(*namespace_pid).filter(|inner| *inner != id.pid),
        name: name.clone(),
        uid: *uid,
        exe: exe.clone(),
        container: container.clone(),
        cgroup: cgroup.clone(),
        runtime: profile.runtime.clone(),
        models: models(id.pid, profile),
        libraries: vec![library],
    }
}

fn models(pid: u32, profile: &Profile) -> Vec<Model> {
    let mut found = files::mapped(pid, Want::Facts);
    if found.is_empty() {
        let named = CommandLine::read(pid, &profile.options).model;
        found.extend(named.and_then(|path| files::named(pid, &path, Want::Facts)));
    }
    let model = |found: files::Found| Model {
        path: found.path,
        size: found.size,
        mapped: found.mapped,
        deleted: found.deleted,
        architecture: found.header.and_then(|header| header.architecture),
    };
    found.into_iter().map(model).collect()
}

fn library(surveyed: &Surveyed, profiles: &[Profile]) -> Library {
    let Surveyed {
        runtime,
        probes,
        not_attachable,
    } = surveyed;
    Library {
        path: runtime.path.clone(),
        build_id: runtime.build_id.as_deref().map(hexadecimal),
        version: runtime.version.clone(),
        deleted: runtime.deleted,
        probes: probes
            .iter()
            .map(|probe| planned(probe, profiles))
            .collect(),
        not_attachable: not_attachable
            .iter()
            .map(|refusal| refused(refusal, profiles))
            .collect(),
    }
}

/// What would be attached of a probe.
pub(crate) fn planned(probe: &AttachedProbe, profiles: &[Profile]) -> Planned {
    let AttachedProbe {
        probe,
        symbol,
        sites,
        exit_missing,
    } = probe;
    Planned {
        probe: name(*probe, profiles),
        symbol: symbol.clone(),
        sites: sites.iter().filter_map(site).collect(),
        exit: exit_kind(sites),
        exit_missing: exit_missing.clone(),
    }
}

fn site(site: &AttachedSite) -> Option<PlannedSite> {
    let role = match site.role {
        SiteRole::Off => return None,
        SiteRole::Entry | SiteRole::EntryAlone => "entry",
        SiteRole::Exit => "exit",
    };
    let cost = match site.cost {
        SiteCost::Emulated => "emulated",
        SiteCost::SingleStepped => "single-stepped",
    };
    Some(PlannedSite {
        offset: site.offset,
        role,
        cost,
    })
}

fn exit_kind(sites: &[AttachedSite]) -> ExitKind {
    let dearest = sites
        .iter()
        .filter(|site| site.role == SiteRole::Exit)
        .map(|site| site.cost)
        .max();
    match dearest {
        None => ExitKind::None,
        Some(SiteCost::Emulated) => ExitKind::Emulated,
        Some(SiteCost::SingleStepped) => ExitKind::SingleStepped,
    }
}

fn refused(refusal: &NotAttachable, profiles: &[Profile]) -> Refused {
    Refused {
        probe: refusal.probe.map(|probe| name(probe, profiles)),
        reason: refusal.reason.clone(),
    }
}

fn name(id: ProbeId, profiles: &[Profile]) -> String {
    numbered(profiles, id).map_or_else(|| format!("#{}", id.0), |(_, probe)| probe.name.clone())
}

/// Bytes as people write build-ids.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(role: SiteRole, cost: SiteCost) -> AttachedSite {
        AttachedSite {
            offset: 0,
            role,
            cost,
        }
    }

    #[test]
    fn the_dearest_exit_names_the_kind() {
        let entry = site(SiteRole::Entry, SiteCost::SingleStepped);
        let cheap = site(SiteRole::Exit, SiteCost::Emulated);
        let stepped = site(SiteRole::Exit, SiteCost::SingleStepped);
        assert_eq!(exit_kind(std::slice::from_ref(&entry)), ExitKind::None);
        assert_eq!(
            exit_kind(&[entry.clone(), cheap.clone()]),
            ExitKind::Emulated
        );
        assert_eq!(exit_kind(&[entry, cheap, stepped]), ExitKind::SingleStepped);
    }

    #[test]
    fn a_build_id_is_written_in_hexadecimal() {
        assert_eq!(hexadecimal(&[0x0a, 0xff]), "0aff");
    }
}
