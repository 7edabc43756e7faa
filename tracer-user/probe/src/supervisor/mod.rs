//! The one loop that keeps probes attached to the right libraries and records flowing.
//!
//! One thread, no callbacks: [`Supervisor::next`] looks at what the kernel says about new mappings,
//! attaches what is new, drains the rings, once a second does the accounts, and otherwise waits.

mod accounts;
mod config;
mod discovery;
mod examination;
mod functions;
mod idle;
mod known;
pub(crate) mod library;
mod lifecycle;
mod passed;
pub(crate) mod plan;
mod reader;
mod sites;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tracer_abi::{Histogram, MAX_SPECS, SetKey, Spec};
use tracer_profile::{Mode, Probe, Profile};

use self::{
    accounts::Accounts,
    examination::Slow,
    known::Known,
    library::{Closing, Library},
    passed::Passed,
    reader::Reader,
    sites::SiteTable,
};
use crate::{
    attach::Links,
    features,
    govern::Prices,
    inside::Inside,
    load::{Diagnostics, KernelHalf},
    observation::{LibraryId, Means, Observation, ProbeId, RecordBatch},
    process::{FileId, ProcessId},
    target::{TargetError, Targets},
    watch::Watch,
};

pub use config::{Config, Selection, StartError};

/// How often the accounts are done: losses, costs, silence.
const ACCOUNT_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether a file that is read slowly has been read.
const LOOK_AT_SLOW_EVERY: Duration = Duration::from_millis(50);
/// How often every process is looked at, for what no event told.
const RESCAN_EVERY: Duration = Duration::from_secs(10);
/// The same where the kernel does not tell of new mappings.
const RESCAN_EVERY_WITHOUT_EVENTS: Duration = Duration::from_secs(1);

/// Members of one set of a process: the tokens that end a generation are about ten, and the table has
/// room for 16,384 members of all processes.
const MOST_MEMBERS: usize = 256;

/// How long detaching may take before it is told what it waits for, and from word to word.
const WORD_EVERY: Duration = Duration::from_secs(1);

/// Everything that is loaded and attached; dropping it removes every probe.
pub struct Supervisor {
    kernel: KernelHalf,
    profiles: Arc<[Profile]>,
    /// Profile and place in it, by [`ProbeId`].
    probes: Vec<(usize, usize)>,
    targets: Targets,
    /// Where every link is limited to this process.
    link_pid: Option<u32>,
    watch: Option<Watch>,
    sites: SiteTable,
    libraries: BTreeMap<LibraryId, Library>,
    next_library: u32,
    /// Libraries that were found before any process mapped them.
    early: HashSet<LibraryId>,
    known: Known,
    passed: Passed,
    reader: Reader,
    /// Files whose reading takes long.
    slow: Vec<Slow>,
    /// Files that are not read again: their reading takes long, or did.
    given_up: HashSet<FileId>,
    closing: Vec<Closing>,
    accounts: Accounts,
    prices: Prices,
    shadow_stacks: bool,
    sets: HashMap<(u32, u32), Vec<u64>>,
    pending: VecDeque<Observation>,
    next_accounts: Instant,
    next_rescan: Instant,
}

impl Supervisor {
    /// Loads the programs, attaches them to what runs already and to what the profiles say may be
    /// loaded soon, and begins to watch for more. What was found and attached on the way is what
    /// [`Supervisor::next`] tells first.
    ///
    /// # Errors
    /// If the host does not allow it or the selection names what is not there; the message says
    /// what to do.
    ///
    /// # Minimum kernel version
    /// 5.15, for BPF cookies.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let Config {
            profiles,
            selection,
            level,
            deadline,
            ring_bytes,
            govern,
            means,
            kernel_log,
        } = config;
        let profiles = select_profiles(profiles, &selection)?;
        config::check_selection(&selection)?;
        // Measured on this program itself, while the other CPU loads the kernel half.
        let prices = thread::spawn(measured_prices);
        let kernel = KernelHalf::load(ring_bytes, means, kernel_log)?;
        let probes = load_specs(&profiles, &kernel)?;
        let targets = Targets::grant(
            &selection,
            level,
            deadline,
            &kernel.tables,
            kernel.ring_count,
        )?;
        let link_pid = targets.only().filter(|_| kernel.calls.filters_by_process());

        let prices = prices.join().unwrap_or(Prices::ASSUMED);
        // Without events, new processes are found by looking more often.
        let watch = Watch::open().ok();
        for fd in watch.iter().flat_map(Watch::fds) {
            kernel.rings.watch(fd).map_err(StartError::Ring)?;
        }
        let now = Instant::now();
        let mut supervisor = Self {
            kernel,
            profiles,
            probes,
            targets,
            link_pid,
            watch,
            sites: SiteTable::new(),
            libraries: BTreeMap::new(),
            next_library: 0,
            early: HashSet::new(),
            known: Known::default(),
            passed: Passed::default(),
            reader: Reader::default(),
            slow: Vec::new(),
            given_up: HashSet::new(),
            closing: Vec::new(),
            accounts: Accounts::new(govern.then_some(prices)),
            prices,
            shadow_stacks: features::has_user_shadow_stacks(),
            sets: HashMap::new(),
            pending: VecDeque::new(),
            next_accounts: now + ACCOUNT_EVERY,
            next_rescan: now + RESCAN_EVERY,
        };
        if supervisor.link_pid.is_none() {
            supervisor.attach_early();
        }
        supervisor.scan();
        Ok(supervisor)
    }

    /// Waits at most `timeout` for something to happen, and tells what did. Empty if nothing did.
    ///
    /// # Errors
    /// If a ring or a table cannot be read any more.
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<Observation>, StartError> {
        let end = Instant::now() + timeout;
        loop {
            self.notice_mappings();
            self.look_at_slow();
            self.take_records();
            let now = Instant::now();
            if now >= self.next_rescan {
                let interval = if self.watch.is_some() {
                    RESCAN_EVERY
                } else {
                    RESCAN_EVERY_WITHOUT_EVENTS
                };
                self.next_rescan = now + interval;
                self.scan();
            }
            if now >= self.next_accounts {
                self.next_accounts = now + ACCOUNT_EVERY;
                self.do_accounts().map_err(StartError::Table)?;
            }
            let left = end.saturating_duration_since(now);
            if !self.pending.is_empty() || left.is_zero() {
                return Ok(self.pending.drain(..).collect());
            }
            let due = self
                .next_accounts
                .min(self.next_rescan)
                .saturating_duration_since(now);
            let due = if self.waits_for_slow() {
                due.min(LOOK_AT_SLOW_EVERY)
            } else {
                due
            };
            self.kernel
                .rings
                .wait(left.min(due))
                .map_err(StartError::Ring)?;
        }
    }

    /// The profile and probe that records with this spec come from.
    #[must_use]
    pub fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        let &(profile, probe) = self.probes.get(usize::from(id.0))?;
        let profile = self.profiles.get(profile)?;
        Some((profile, profile.probes.get(probe)?))
    }

    /// The profiles of this run; [`Runtime::profile`](crate::observation::Runtime::profile) is a
    /// place among them.
    #[must_use]
    pub fn profiles(&self) -> &Arc<[Profile]> {
        &self.profiles
    }

    /// The probe with the place `probe` in the profile with the place `profile`.
    #[must_use]
    pub fn probe_id(&self, profile: usize, probe: usize) -> Option<ProbeId> {
        let place = self
            .probes
            .iter()
            .position(|&known| known == (profile, probe))?;
        u16::try_from(place).ok().map(ProbeId)
    }

    /// What the histogram probes have counted since the start, all CPUs together; probes without a
    /// call are left out.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn histograms(&self) -> Result<Vec<(ProbeId, Histogram)>, StartError> {
        self.read_histograms().map_err(StartError::Table)
    }

    fn read_histograms(&self) -> io::Result<Vec<(ProbeId, Histogram)>> {
        let is_histogram = |&(profile, probe): &(usize, usize)| {
            self.profiles[profile].probes[probe].mode == Mode::Histogram
        };
        let mut all = Vec::new();
        for (id, _) in (0..)
            .zip(&self.probes)
            .filter(|(_, place)| is_histogram(place))
        {
            let cpus = self.kernel.tables.histograms.per_cpu(u32::from(id))?;
            let sum = cpus.into_iter().reduce(add);
            all.extend(
                sum.filter(|sum| sum.calls() > 0)
                    .map(|sum| (ProbeId(id), sum)),
            );
        }
        Ok(all)
    }

    /// How sites are attached.
    #[must_use]
    pub fn means(&self) -> Means {
        self.kernel.calls.means()
    }

    /// What the programs said about themselves since the last call, if [`Config::kernel_log`] asked
    /// for it.
    pub fn kernel_log(&mut self) -> Vec<String> {
        self.kernel
            .diagnostics
            .as_mut()
            .map(Diagnostics::take)
            .unwrap_or_default()
    }

    /// Whether everything that was selected has ended, so that nothing more can come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.targets.is_exhausted()
    }

    /// Tells the kernel half the members of set `set` of a process, for
    /// [`OpKind::InSet`](tracer_abi::OpKind::InSet); replaces what it had. The programs say that they
    /// do not know where there is no set: one of more than 256 members, one that found no room,
    /// and that of a process which is gone are left out.
    pub fn put_set(&mut self, pid: u32, set: u32, values: &[u64]) {
        self.remove_set(pid, set);
        if values.len() > MOST_MEMBERS || ProcessId::of(pid).is_err() {
            return;
        }
        self.sets.insert((pid, set), values.to_vec());
        let put = |value| self.kernel.tables.sets.put(SetKey { pid, set, value }, &1);
        // Its existence last: a program must not see a set that is only half there.
        let members = values.iter().copied().chain([SetKey::EXISTS]);
        if members.map(put).any(|put| put.is_err()) {
            self.remove_set(pid, set);
        }
    }

    fn remove_set(&mut self, pid: u32, set: u32) {
        for value in self
            .sets
            .remove(&(pid, set))
            .into_iter()
            .flat_map(|values| [SetKey::EXISTS].into_iter().chain(values))
        {
            // What was never put cannot be removed.
            let _ = self.kernel.tables.sets.remove(SetKey { pid, set, value });
        }
    }

    /// Removes all sets of processes that `gone` says are.
    fn remove_sets(&mut self, gone: impl Fn(u32) -> bool) {
        let sets: Vec<(u32, u32)> = self.sets.keys().copied().collect();
        for (pid, set) in sets.into_iter().filter(|&(pid, _)| gone(pid)) {
            self.remove_set(pid, set);
        }
    }

    /// Detaches every probe, reads what the rings still hold, and tells it with the last losses and
    /// operations.
    ///
    /// # Errors
    /// If a ring or a table cannot be read any more.
    pub fn stop(self) -> Result<Vec<Observation>, StartError> {
        self.stop_telling(|_| {})
    }

    /// As [`Supervisor::stop`]; where that takes longer than a second, `tell` hears once a second
    /// who is inside a program meanwhile, longest first. The kernel takes a probe away only when
    /// nobody is: a thread whose page does not arrive holds it up.
    ///
    /// # Errors
    /// As for [`Supervisor::stop`].
    pub fn stop_telling(
        mut self,
        mut tell: impl FnMut(&[Inside]),
    ) -> Result<Vec<Observation>, StartError> {
        let links: Vec<Links> = std::mem::take(&mut self.libraries)
            .into_values()
            .flat_map(Library::into_links)
            .collect();
        let mut departing = Links::close_apart(links);
        let mut next_word = Instant::now() + WORD_EVERY;
        while !departing.is_done() {
            self.take_records();
            if Instant::now() >= next_word {
                next_word += WORD_EVERY;
                let inside = self.kernel.tables.slots.inside();
                tell(&inside.map_err(StartError::Table)?);
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.take_records();
        self.count_losses().map_err(StartError::Table)?;
        self.count_operations().map_err(StartError::Table)?;
        Ok(self.pending.drain(..).collect())
    }

    /// Moves what the rings hold to the pending observations.
    fn take_records(&mut self) {
        for batch in self.kernel.rings.drain() {
            if batch.ring == RecordBatch::CRITICAL {
                self.take_critical(&batch);
            } else {
                self.pending.push_back(Observation::Records(batch));
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let libraries = std::mem::take(&mut self.libraries);
        Links::close_all(libraries.into_values().flat_map(Library::into_links));
    }
}

/// The profiles that the selection leaves.
fn select_profiles(
    profiles: Vec<Profile>,
    selection: &Selection,
) -> Result<Arc<[Profile]>, StartError> {
    let Selection::Runtime(name) = selection else {
        return Ok(profiles.into());
    };
    let is_named = |profile: &&Profile| profile.runtime == *name || profile.name == *name;
    let named: Vec<Profile> = profiles.iter().filter(is_named).cloned().collect();
    if named.is_empty() {
        let known: Vec<&str> = profiles
            .iter()
            .map(|profile| profile.runtime.as_str())
            .collect();
        return Err(TargetError::Runtime {
            name: name.clone(),
            known: known.join(", "),
        }
        .into());
    }
    Ok(named.into())
}

/// Numbers every probe and tells the kernel half its spec.
fn load_specs(
    profiles: &[Profile],
    kernel: &KernelHalf,
) -> Result<Vec<(usize, usize)>, StartError> {
    let probes: Vec<(usize, usize)> = profiles
        .iter()
        .enumerate()
        .flat_map(|(place, profile)| (0..profile.probes.len()).map(move |probe| (place, probe)))
        .collect();
    if probes.len() > MAX_SPECS as usize {
        return Err(StartError::TooManyProbes {
            count: probes.len(),
            limit: MAX_SPECS as usize,
        });
    }
    for (index, &(profile, probe)) in (0..).zip(&probes) {
        // 0 marks a spec that was never loaded.
        let spec = Spec {
            function: index + 1,
            ..profiles[profile].probes[probe].spec
        };
        kernel
            .tables
            .specs
            .put(index, &spec)
            .map_err(StartError::Table)?;
    }
    Ok(probes)
}

fn add(mut left: Histogram, right: Histogram) -> Histogram {
    left.sum += right.sum;
    left.buckets
        .iter_mut()
        .zip(right.buckets)
        .for_each(|(left, right)| *left += right);
    left
}

/// Measured where `uprobe_multi` works, assumed elsewhere.
fn measured_prices() -> Prices {
    features::measured_costs().map_or(Prices::ASSUMED, |costs| Prices {
        emulated: costs.emulated,
        stepped: costs.stepped,
    })
}
