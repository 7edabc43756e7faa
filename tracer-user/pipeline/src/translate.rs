//! What the supervisor says about itself, in the event model's words.

use std::{collections::BTreeMap, path::Path};

use tracer_abi::SiteRole;
use tracer_event::{
    BootNanos, BuildId, Content, Known, Name, Nanos, OperationHistogram, Raw,
    agent::{self, LibraryFile},
};
use tracer_probe::{
    observation::{
        AttachReport, AttachedProbe, AttachedSite, LibraryId, Means, NotAttachable, Operations,
        ProbeId, Runtime, Shed, ShedCause, SiteCost,
    },
    time,
};
use tracer_profile::Profile;

use crate::{decode::ProbeSource, process::inode};

/// Most libraries whose runtime is remembered.
const LIBRARIES: usize = 4096;

/// Names of what the supervisor numbers.
#[derive(Debug)]
pub(crate) struct Names {
    runtimes: Vec<Name>,
    libraries: BTreeMap<LibraryId, Name>,
}

impl Names {
    pub(crate) fn new(profiles: &[Profile]) -> Self {
        Self {
            runtimes: profiles
                .iter()
                .map(|profile| Name::new(&profile.runtime))
                .collect(),
            libraries: BTreeMap::new(),
        }
    }

    pub(crate) fn library(&self, library: LibraryId) -> Name {
        let name = self.libraries.get(&library).cloned();
        name.unwrap_or_else(|| Name::new("unknown"))
    }

    pub(crate) fn runtime_found(&mut self, found: &Runtime) -> agent::RuntimeFound<Raw<Content>> {
        let runtime = self.runtime(found.profile);
        self.libraries.insert(found.library, runtime.clone());
        if self.libraries.len() > LIBRARIES {
            self.libraries.pop_first();
        }
        agent::RuntimeFound {
            runtime,
            library: LibraryFile {
                path: path(&found.path),
                inode: inode(found.file),
                build_id: build_id(found.build_id.as_deref()),
                version: version(found.version.as_deref()),
                deleted: found.deleted,
            },
            load_may_be_missed: found.load_may_be_missed,
        }
    }

    pub(crate) fn attached(
        &self,
        report: &AttachReport,
        probes: &impl ProbeSource,
    ) -> agent::Attached<Raw<Content>> {
        agent::Attached {
            runtime: self.runtime(report.profile),
            library: LibraryFile {
                path: path(&report.path),
                inode: inode(report.file),
                build_id: build_id(report.build_id.as_deref()),
                version: version(report.version.as_deref()),
                deleted: false,
            },
            means: match report.means {
                Means::UprobeMulti => agent::Means::UprobeMulti,
                Means::PerfEvent => agent::Means::PerfEvent,
            },
            duration: nanos(report.took),
            probes: report
                .probes
                .iter()
                .map(|probe| attached_probe(probe, probes))
                .collect(),
        }
    }

    fn runtime(&self, profile: usize) -> Name {
        let name = self.runtimes.get(profile).cloned();
        name.unwrap_or_else(|| Name::new("unknown"))
    }
}

pub(crate) fn not_attachable(
    refused: &NotAttachable,
    probes: &impl ProbeSource,
) -> agent::NotAttachable<Raw<Content>> {
    agent::NotAttachable {
        probe: refused.probe.map(|id| probe_name(id, probes)),
        path: path(&refused.path),
        reason: Raw::new(Content::text(refused.reason.as_str())),
    }
}

pub(crate) fn operations(told: &Operations, probes: &impl ProbeSource) -> OperationHistogram {
    let Operations {
        probe,
        calls,
        since,
        until,
    } = told;
    let filled = calls.buckets.iter().rposition(|calls| *calls > 0);
    OperationHistogram {
        operation: probe_name(*probe, probes),
        from: boot(*since),
        to: boot(*until),
        count: calls.calls(),
        sum: Nanos(calls.sum),
        buckets: calls.buckets[..filled.map_or(0, |last| last + 1)].to_vec(),
    }
}

pub(crate) fn shed(shed: &Shed, probes: &impl ProbeSource) -> agent::Shed {
    agent::Shed {
        group: Name::new(&shed.group),
        probes: probe_names(&shed.probes, probes),
        cause: match shed.cause {
            ShedCause::Runaway => agent::ShedCause::Runaway,
            ShedCause::Budget => agent::ShedCause::Budget,
        },
        core_share: shed.share,
        since: boot(shed.since),
    }
}

pub(crate) fn restored(
    group: &str,
    restored: &[ProbeId],
    probes: &impl ProbeSource,
) -> agent::Restored {
    agent::Restored {
        group: Name::new(group),
        probes: probe_names(restored, probes),
    }
}

pub(crate) const fn boot(time: time::BootNanos) -> BootNanos {
    BootNanos(time.0)
}

pub(crate) fn nanos(duration: std::time::Duration) -> Nanos {
    Nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn attached_probe(
    attached: &AttachedProbe,
    probes: &impl ProbeSource,
) -> agent::AttachedProbe<Raw<Content>> {
    agent::AttachedProbe {
        probe: probe_name(attached.probe, probes),
        symbol: Raw::new(Content::text(attached.symbol.as_str())),
        sites: attached.sites.iter().map(site).collect(),
        exit_missing: attached
            .exit_missing
            .as_deref()
            .map(|reason| Raw::new(Content::text(reason))),
    }
}

const fn site(site: &AttachedSite) -> agent::Site {
    agent::Site {
        offset: site.offset,
        role: match site.role {
            SiteRole::Off => agent::SiteRole::Off,
            SiteRole::Entry | SiteRole::EntryAlone => agent::SiteRole::Entry,
            SiteRole::Exit => agent::SiteRole::Exit,
        },
        cost: match site.cost {
            SiteCost::Emulated => agent::SiteCost::Emulated,
            SiteCost::SingleStepped => agent::SiteCost::SingleStepped,
        },
    }
}

fn probe_names(ids: &[ProbeId], probes: &impl ProbeSource) -> Vec<Name> {
    ids.iter().map(|id| probe_name(*id, probes)).collect()
}

fn probe_name(id: ProbeId, probes: &impl ProbeSource) -> Name {
    match probes.probe(id) {
        Some((profile, probe)) => Name::new(&format!("{}/{}", profile.name, probe.name)),
        None => Name::new("unknown"),
    }
}

fn path(path: &Path) -> Raw<Content> {
    Raw::new(Content::text(path.as_os_str().as_encoded_bytes()))
}

fn version(told: Option<&str>) -> Known<Raw<Content>> {
    told.map(|version| Raw::new(Content::text(version))).into()
}

fn build_id(bytes: Option<&[u8]>) -> Known<BuildId> {
    bytes.and_then(BuildId::new).into()
}
