//! Once a second: what was lost, what hot operations took, what the probes cost, and which
//! libraries are silent.

use std::{
    collections::{HashMap, HashSet},
    io,
    time::Duration,
};

use super::{
    Supervisor,
    library::{Closing, State, Workshop},
};
use crate::{
    govern::{Decision, Governor, GroupKey, Prices, ProbeKey, Reading},
    histogram::Windows,
    loss::LossCounters,
    observation::{LibraryId, Observation, ProbeId, Shed, ShedCause},
    process::{ProcessId, cpu_time},
    time::BootNanos,
};

/// CPU time that a process may use before the silence of its runtime's probes is worth a word.
const BUSY: Duration = Duration::from_secs(10);

/// What the accounts remember.
pub(super) struct Accounts {
    losses: LossCounters,
    histograms: Windows,
    governor: Option<Governor>,
    /// CPU time that a process had used when it was first looked at.
    cpu_time: HashMap<ProcessId, Duration>,
    /// Told once.
    silent: HashSet<(ProcessId, LibraryId)>,
}

impl Accounts {
    /// Without prices nothing is switched off.
    pub(super) fn new(govern: Option<Prices>) -> Self {
        let now = BootNanos::now();
        Self {
            losses: LossCounters::new(),
            histograms: Windows::new(now),
            governor: govern.map(|prices| Governor::new(prices, now)),
            cpu_time: HashMap::new(),
            silent: HashSet::new(),
        }
    }
}

impl Supervisor {
    pub(super) fn do_accounts(&mut self) -> io::Result<()> {
        self.count_losses()?;
        self.count_operations()?;
        let (done, closing): (Vec<Closing>, Vec<Closing>) = std::mem::take(&mut self.closing)
            .into_iter()
            .partition(Closing::is_done);
        self.closing = closing;
        done.into_iter()
            .for_each(|closed| self.sites.give_back(&closed.indices()));

        let readings = self.read_sites()?;
        self.listen_for_silence(&readings);
        let Some(governor) = &mut self.accounts.governor else {
            return Ok(());
        };
        for decision in governor.look(BootNanos::now(), &readings) {
            self.carry_out(decision)?;
        }
        Ok(())
    }

    pub(super) fn count_losses(&mut self) -> io::Result<()> {
        let losses = self.accounts.losses.look(&self.kernel.tables.losses)?;
        self.pending
            .extend(losses.into_iter().map(Observation::Loss));
        Ok(())
    }

    /// Tells what histogram probes counted since the last time.
    pub(super) fn count_operations(&mut self) -> io::Result<()> {
        let totals = self.read_histograms()?;
        let told = self.accounts.histograms.look(BootNanos::now(), totals);
        let told = told.into_iter().map(Box::new);
        self.pending.extend(told.map(Observation::Operations));
        Ok(())
    }

    fn read_sites(&self) -> io::Result<Vec<Reading>> {
        let hits = self.sites.hits(&self.kernel.tables)?;
        let reading = |(site, used, hits): (u32, super::sites::SiteInUse, u64)| {
            let probe = (used.library, used.probe);
            Some(Reading {
                site,
                probe,
                group: self.group_key(probe)?,
                cost: used.cost,
                hits,
            })
        };
        Ok(hits.into_iter().filter_map(reading).collect())
    }

    /// `None` once the library is let go of.
    fn group_key(&self, (library, probe): ProbeKey) -> Option<GroupKey> {
        let library = self.libraries.get(&LibraryId(library))?;
        let group = self.probe(ProbeId(probe)).map(|(_, probe)| &probe.group);
        let order = &self.profiles[library.profile].shed_order;
        Some((
            library.profile,
            order.iter().position(|shed| Some(shed) == group),
        ))
    }

    fn carry_out(&mut self, decision: Decision) -> io::Result<()> {
        let time = BootNanos::now();
        match decision {
            Decision::Runaway {
                probe: (library, probe),
                share,
                since,
            } => {
                let id = ProbeId(probe);
                let group = self.change(
                    |place, candidate| place == library && candidate == id,
                    State::On,
                    State::Runaway,
                )?;
                let name = self.probe(id).map(|(_, probe)| probe.name.clone());
                self.pending.push_back(Observation::Shed(Shed {
                    group: name.unwrap_or_default(),
                    probes: group,
                    cause: ShedCause::Runaway,
                    share,
                    since,
                    time,
                }));
            }
            Decision::Shed {
                group,
                share,
                since,
            } => {
                let probes = self.change_group(group, State::On, State::Shed)?;
                self.pending.push_back(Observation::Shed(Shed {
                    group: self.group_name(group),
                    probes,
                    cause: ShedCause::Budget,
                    share,
                    since,
                    time,
                }));
            }
            Decision::Restore { group } => {
                let probes = self.change_group(group, State::Shed, State::On)?;
                let group = self.group_name(group);
                self.pending.push_back(Observation::Restored {
                    group,
                    probes,
                    time,
                });
            }
        }
        Ok(())
    }

    fn group_name(&self, (profile, place): GroupKey) -> String {
        let order = &self.profiles[profile].shed_order;
        place
            .and_then(|place| order.get(place))
            .cloned()
            .unwrap_or_default()
    }

    fn change_group(
        &mut self,
        group: GroupKey,
        from: State,
        to: State,
    ) -> io::Result<Vec<ProbeId>> {
        let name = self.group_name(group);
        let members: HashSet<(u32, ProbeId)> = self
            .libraries
            .values()
            .filter(|library| library.profile == group.0)
            .flat_map(|library| {
                library
                    .probes
                    .iter()
                    .map(move |probe| (library.id.0, probe))
            })
            .filter(|(_, probe)| probe.group == name)
            .map(|(library, probe)| (library, probe.id))
            .collect();
        self.change(
            |library, probe| members.contains(&(library, probe)),
            from,
            to,
        )
    }

    /// Changes the state of probes: at once in the site table, then in the links of their groups.
    fn change(
        &mut self,
        is_meant: impl Fn(u32, ProbeId) -> bool,
        from: State,
        to: State,
    ) -> io::Result<Vec<ProbeId>> {
        let mut changed = Vec::new();
        for library in self.libraries.values_mut() {
            let mut groups = HashSet::new();
            for place in 0..library.probes.len() {
                let probe = &library.probes[place];
                if !is_meant(library.id.0, probe.id) || probe.state != from {
                    continue;
                }
                if to != State::On {
                    library.silence(probe, &self.kernel.tables, &self.sites)?;
                }
                changed.push(probe.id);
                groups.insert(probe.group.clone());
                library.probes[place].state = to;
            }
            for group in groups {
                let mut workshop = Workshop {
                    tables: &self.kernel.tables,
                    programs: &self.kernel.calls,
                    sites: &mut self.sites,
                    pid: self.link_pid,
                };
                // On refusal the old links stay; the site table has switched the probes already.
                if let Ok(closing) = library.attach(&group, &mut workshop) {
                    self.closing.extend(closing);
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        Ok(changed)
    }

    /// Exported does not mean called: a process that works while none of its library's probes was
    /// ever hit is told of once.
    fn listen_for_silence(&mut self, readings: &[Reading]) {
        let heard: HashSet<u32> = readings
            .iter()
            .filter(|reading| reading.hits > 0)
            .map(|reading| reading.probe.0)
            .collect();
        let now = BootNanos::now();
        let alive: HashSet<ProcessId> = self.known.runtimes().map(|(process, _)| process).collect();
        self.accounts
            .cpu_time
            .retain(|process, _| alive.contains(process));
        self.accounts
            .silent
            .retain(|(process, _)| alive.contains(process));
        for (process, library) in self.known.runtimes() {
            if heard.contains(&library.0) || self.accounts.silent.contains(&(process, library)) {
                continue;
            }
            let Some(used) = cpu_time(process.pid) else {
                continue;
            };
            let first = *self.accounts.cpu_time.entry(process).or_insert(used);
            let busy = used.saturating_sub(first);
            if busy >= BUSY {
                self.accounts.silent.insert((process, library));
                self.pending.push_back(Observation::Silent {
                    library,
                    process,
                    busy,
                    time: now,
                });
            }
        }
    }
}
