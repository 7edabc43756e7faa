//! One library: its probes, their sites, their links.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::MetadataExt,
    thread::{self, JoinHandle},
    time::Instant,
};

use tracer_abi::{Site, SiteRole};

use super::{
    plan::{Plan, PlannedProbe, PlannedSite},
    sites::SiteTable,
};
use crate::{
    attach::{Links, Placed},
    load::{CallPrograms, Tables},
    observation::{AttachedProbe, AttachedSite, LibraryId, ProbeId},
    process::MappedFile,
    time::BootNanos,
};

/// What attaching needs.
pub(super) struct Workshop<'a> {
    pub(super) tables: &'a Tables,
    pub(super) programs: &'a CallPrograms,
    pub(super) sites: &'a mut SiteTable,
    /// Only this process, where a link can be so narrow.
    pub(super) pid: Option<u32>,
}

/// A library that a profile recognises.
pub(super) struct Library {
    pub(super) id: LibraryId,
    pub(super) profile: usize,
    /// Held open: its inode number cannot be given to another file.
    pub(super) file: MappedFile,
    pub(super) build_id: Option<Vec<u8>>,
    pub(super) version: Option<String>,
    pub(super) probes: Vec<LibraryProbe>,
    groups: BTreeMap<String, Links>,
    /// When the last link was in place; a process that existed before may have loaded its model
    /// already.
    pub(super) attached: BootNanos,
    /// Since when no process is known that maps it.
    pub(super) idle_since: Option<Instant>,
}

/// A probe in one library.
pub(super) struct LibraryProbe {
    pub(super) id: ProbeId,
    pub(super) group: String,
    pub(super) planned: PlannedProbe,
    pub(super) state: State,
    indices: Vec<u32>,
}

/// Whether a probe is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    On,
    /// Switched off with its group until there is room in the budget.
    Shed,
    /// Switched off for good.
    Runaway,
    /// Could not be attached.
    Failed,
}

/// Links that are being closed, and the indices that are free once they are.
pub(super) struct Closing {
    thread: JoinHandle<()>,
    indices: Vec<u32>,
}

impl Closing {
    /// Whether the links are closed.
    pub(super) fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// The indices that nobody hits any more.
    pub(super) fn indices(self) -> Vec<u32> {
        self.indices
    }
}

impl Library {
    /// A library without links. `first_probe` is the id of its profile's first probe.
    pub(super) fn new(
        id: LibraryId,
        profile: usize,
        file: MappedFile,
        build_id: Option<Vec<u8>>,
        plan: Plan,
        group_of: impl Fn(usize) -> (ProbeId, String),
    ) -> Self {
        let probe = |planned: PlannedProbe| {
            let (id, group) = group_of(planned.probe);
            LibraryProbe {
                id,
                group,
                planned,
                state: State::On,
                indices: Vec::new(),
            }
        };
        Self {
            id,
            profile,
            file,
            build_id,
            version: plan.version,
            probes: plan.probes.into_iter().map(probe).collect(),
            groups: BTreeMap::new(),
            attached: BootNanos::NEVER,
            idle_since: None,
        }
    }

    /// Names of the groups.
    pub(super) fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self
            .probes
            .iter()
            .map(|probe| probe.group.clone())
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Attaches a group for the first time, or anew with those of its probes that are on now: the
    /// new links are in place before the old ones go, and the site table decides which of them
    /// count, so that no call is seen twice.
    ///
    /// # Errors
    /// If the kernel refuses; the old links then stay.
    pub(super) fn attach(
        &mut self,
        group: &str,
        workshop: &mut Workshop<'_>,
    ) -> io::Result<Option<Closing>> {
        let mut placed = Vec::new();
        let mut taken: Vec<(usize, Vec<u32>)> = Vec::new();
        let on = |probe: &LibraryProbe| probe.group == group && probe.state == State::On;
        for (number, probe) in self
            .probes
            .iter()
            .enumerate()
            .filter(|(_, probe)| on(probe))
        {
            let mut indices = Vec::new();
            for site in &probe.planned.sites {
                match take(self.id, probe.id, site, workshop) {
                    Ok(index) => indices.push(index),
                    Err(error) => {
                        taken.push((number, indices));
                        give_back(&taken, workshop.sites);
                        return Err(error);
                    }
                }
            }
            placed.extend(
                probe
                    .planned
                    .sites
                    .iter()
                    .zip(&indices)
                    .map(|(site, &index)| Placed {
                        offset: site.offset,
                        role: site.role,
                        only_times: probe.planned.only_times,
                        index,
                    }),
            );
            taken.push((number, indices));
        }

        let is_first = !self.groups.contains_key(group);
        if is_first {
            // Nothing can count twice yet, and no call after the link may be missed.
            switch(&placed, true, workshop)?;
        }
        let links = Links::attach(workshop.programs, &self.file, &placed, workshop.pid)
            .inspect_err(|_| {
                give_back(&taken, workshop.sites);
            })?;
        let before: Vec<u32> = self
            .probes
            .iter_mut()
            .filter(|probe| probe.group == group)
            .flat_map(|probe| std::mem::take(&mut probe.indices))
            .collect();
        for &index in &before {
            workshop.sites.switch(workshop.tables, index, false)?;
        }
        if !is_first {
            switch(&placed, true, workshop)?;
        }
        for (number, indices) in taken {
            self.probes[number].indices = indices;
        }
        let old = self.groups.insert(group.to_owned(), links);
        Ok(old.map(|links| Closing {
            thread: thread::spawn(move || Links::close_all([links])),
            indices: before,
        }))
    }

    /// Switches a probe off at once: its traps stay until its group is attached anew.
    pub(super) fn silence(
        &self,
        probe: &LibraryProbe,
        tables: &Tables,
        sites: &SiteTable,
    ) -> io::Result<()> {
        probe
            .indices
            .iter()
            .try_for_each(|&index| sites.switch(tables, index, false))
    }

    /// The probes that are attached.
    pub(super) fn attached_probes(&self) -> Vec<AttachedProbe> {
        let on = self.probes.iter().filter(|probe| probe.state == State::On);
        on.map(|probe| report(probe.id, &probe.planned)).collect()
    }

    /// How many links there are.
    pub(super) fn link_count(&self) -> usize {
        self.groups.values().map(Links::len).sum()
    }

    /// Whether its file has lost its last name.
    pub(super) fn is_deleted(&self) -> bool {
        let metadata = self.file.file().metadata();
        metadata.is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Removes all probes and closes the file.
    pub(super) fn close(self, tables: &Tables, sites: &SiteTable) -> Closing {
        for probe in &self.probes {
            // On refusal the site counts until its link is closed.
            let _ = self.silence(probe, tables, sites);
        }
        let Self {
            file,
            probes,
            groups,
            ..
        } = self;
        Closing {
            thread: thread::spawn(move || {
                Links::close_all(groups.into_values());
                drop(file);
            }),
            indices: probes.into_iter().flat_map(|probe| probe.indices).collect(),
        }
    }

    /// Gives up all links.
    pub(super) fn into_links(self) -> impl Iterator<Item = Links> {
        self.groups.into_values()
    }
}

/// What a plan says of a probe.
pub(crate) fn report(id: ProbeId, planned: &PlannedProbe) -> AttachedProbe {
    let site = |site: &PlannedSite| AttachedSite {
        offset: site.offset,
        role: site.role,
        cost: site.cost,
    };
    AttachedProbe {
        probe: id,
        symbol: planned.symbol.clone(),
        sites: planned.sites.iter().map(site).collect(),
        exit_missing: planned.exit_missing.clone(),
    }
}

fn take(
    library: LibraryId,
    probe: ProbeId,
    site: &PlannedSite,
    workshop: &mut Workshop<'_>,
) -> io::Result<u32> {
    let entry = Site {
        spec: probe.0,
        ..site.entry
    };
    workshop
        .sites
        .take(workshop.tables, library.0, probe.0, site.cost, entry)?
        .ok_or_else(|| io::Error::other("all 4,096 entries of the site table are in use"))
}

fn give_back(taken: &[(usize, Vec<u32>)], sites: &mut SiteTable) {
    for (_, indices) in taken {
        sites.give_back(indices);
    }
}

/// Exits before entries, as they are attached.
fn switch(placed: &[Placed], on: bool, workshop: &Workshop<'_>) -> io::Result<()> {
    for role in [SiteRole::Exit, SiteRole::Entry] {
        for site in placed.iter().filter(|site| site.role == role) {
            workshop.sites.switch(workshop.tables, site.index, on)?;
        }
    }
    Ok(())
}
