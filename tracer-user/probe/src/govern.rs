//! Decides which probes to switch off because they cost too much, and when to try them again.
//!
//! Pure: it is told hits and times, and says what to do.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use crate::{observation::SiteCost, time::BootNanos};

/// Share of one core above which a single site is switched off at once.
const RUNAWAY: f64 = 0.05;
/// Share of one core that all sites together may cost.
const BUDGET: f64 = 0.05;
/// A group comes back when the sum with it would stay below this part of the budget.
const RESTORE_BELOW: f64 = 0.7;
/// Looks over the budget in a row before a group goes.
const LOOKS_OVER: u32 = 3;
/// Looks well below the budget in a row before a group comes back; doubled each time that it had
/// to go again.
const LOOKS_BELOW: u32 = 10;

/// What a hit costs, by class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prices {
    pub(crate) emulated: Duration,
    pub(crate) stepped: Duration,
}

impl Prices {
    /// Of a record at an emulated site, and in a nested VM at a stepped one, where nothing could
    /// be measured.
    pub(crate) const ASSUMED: Self = Self {
        emulated: Duration::from_nanos(500),
        stepped: Duration::from_micros(14),
    };

    pub(crate) fn of(self, cost: SiteCost) -> Duration {
        match cost {
            SiteCost::Emulated => self.emulated,
            SiteCost::SingleStepped => self.stepped,
        }
    }
}

/// A site and how often it was hit since it was attached.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) site: u32,
    /// Which probe in which library; its sites go together.
    pub(crate) probe: ProbeKey,
    /// Group that the probe belongs to, in its profile.
    pub(crate) group: GroupKey,
    pub(crate) cost: SiteCost,
    pub(crate) hits: u64,
}

/// Library and probe.
pub(crate) type ProbeKey = (u32, u16);
/// Profile and the group's place in its shed order; groups that are not listed have none.
pub(crate) type GroupKey = (usize, Option<usize>);

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Switch a probe off for good.
    Runaway {
        probe: ProbeKey,
        share: f64,
        since: BootNanos,
    },
    /// Switch a group off.
    Shed {
        group: GroupKey,
        share: f64,
        since: BootNanos,
    },
    /// Switch it on again.
    Restore { group: GroupKey },
}

/// Remembers what was measured and what was decided.
pub(crate) struct Governor {
    prices: Prices,
    last_look: BootNanos,
    hits: HashMap<u32, u64>,
    over: u32,
    below: u32,
    /// Groups that are off, newest last, with what they cost before.
    shed: Vec<(GroupKey, f64)>,
    /// Looks that a group must wait, by how often it went.
    patience: HashMap<GroupKey, u32>,
}

impl Governor {
    pub(crate) fn new(prices: Prices, now: BootNanos) -> Self {
        Self {
            prices,
            last_look: now,
            hits: HashMap::new(),
            over: 0,
            below: 0,
            shed: Vec::new(),
            patience: HashMap::new(),
        }
    }

    /// Looks at all sites that are attached; call it about once a second.
    pub(crate) fn look(&mut self, now: BootNanos, readings: &[Reading]) -> Vec<Decision> {
        let since = self.last_look;
        let elapsed = now.since(since).as_secs_f64();
        if elapsed < 0.5 {
            return Vec::new();
        }
        self.last_look = now;
        let mut decisions: Vec<Decision> = Vec::new();
        let mut groups: HashMap<GroupKey, f64> = HashMap::new();
        let mut seen = HashMap::with_capacity(readings.len());
        for reading in readings {
            let before = self.hits.get(&reading.site).copied().unwrap_or(0);
            seen.insert(reading.site, reading.hits);
            let hits = reading.hits.saturating_sub(before) as f64;
            let share = hits * self.prices.of(reading.cost).as_secs_f64() / elapsed;
            let is_new = |decision: &Decision| !matches!(decision, Decision::Runaway { probe, .. } if *probe == reading.probe);
            if share <= RUNAWAY {
                *groups.entry(reading.group).or_default() += share;
            } else if decisions.iter().all(is_new) {
                decisions.push(Decision::Runaway {
                    probe: reading.probe,
                    share,
                    since,
                });
            }
        }
        self.hits = seen;
        decisions.extend(self.balance(&groups, since));
        decisions
    }

    fn balance(&mut self, groups: &HashMap<GroupKey, f64>, since: BootNanos) -> Option<Decision> {
        let total: f64 = groups.values().sum();
        if total > BUDGET {
            self.below = 0;
            self.over += 1;
            if self.over < LOOKS_OVER {
                return None;
            }
            self.over = 0;
            let costs = groups.iter().filter(|(_, share)| **share > 0.0);
            // What a run added to the built-in profiles goes before what those have.
            let first = costs
                .filter(|((_, place), _)| place.is_some())
                .min_by_key(|((profile, place), _)| (*place, Reverse(*profile)));
            let (&group, &share) = first?;
            self.shed.push((group, share));
            *self.patience.entry(group).or_insert(LOOKS_BELOW / 2) *= 2;
            return Some(Decision::Shed {
                group,
                share,
                since,
            });
        }
        self.over = 0;
        let &(group, share) = self.shed.last()?;
        if total + share > BUDGET * RESTORE_BELOW && self.below < self.patience[&group] * 3 {
            // What the group would cost now is not known; after three times the wait it is tried.
            self.below += 1;
            return None;
        }
        self.below += 1;
        if self.below < self.patience[&group] {
            return None;
        }
        self.below = 0;
        self.shed.pop();
        Some(Decision::Restore { group })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn governor() -> Governor {
        let prices = Prices {
            emulated: Duration::from_nanos(500),
            stepped: Duration::from_micros(14),
        };
        Governor::new(prices, BootNanos(0))
    }

    fn reading(site: u32, group: usize, cost: SiteCost, hits: u64) -> Reading {
        Reading {
            site,
            probe: (0, site as u16),
            group: (0, Some(group)),
            cost,
            hits,
        }
    }

    /// Looks once a second at one site with `rate` hits a second; what was decided, by second.
    fn run(
        governor: &mut Governor,
        from: u64,
        seconds: u64,
        hits: &mut u64,
        rate: u64,
    ) -> Vec<(u64, Decision)> {
        let mut all = Vec::new();
        for second in from + 1..=from + seconds {
            *hits += rate;
            let readings = [reading(1, 0, SiteCost::Emulated, *hits)];
            let decided = governor.look(BootNanos(second * SECOND), &readings);
            all.extend(decided.into_iter().map(|decision| (second, decision)));
        }
        all
    }

    #[test]
    fn a_site_above_five_percent_of_a_core_goes_after_one_second() {
        let decisions = governor().look(
            BootNanos(SECOND),
            &[reading(7, 0, SiteCost::SingleStepped, 5000)],
        );
        assert!(
            matches!(decisions[..], [Decision::Runaway { probe: (0, 7), share, .. }]
            if (share - 0.07).abs() < 1e-9)
        );
        let mut other = governor();
        assert!(
            other
                .look(
                    BootNanos(SECOND),
                    &[reading(7, 0, SiteCost::Emulated, 5000)]
                )
                .is_empty()
        );
    }

    #[test]
    fn groups_go_in_the_profiles_order_and_come_back_last_first() {
        let mut governor = governor();
        let mut hits = 0;
        let mut shed = Vec::new();
        for second in 1..=3 {
            hits += 60_000;
            let readings = [
                reading(1, 1, SiteCost::Emulated, hits),
                reading(2, 0, SiteCost::Emulated, hits),
            ];
            shed.extend(governor.look(BootNanos(second * SECOND), &readings));
        }
        assert!(
            matches!(
                shed[..],
                [Decision::Shed {
                    group: (0, Some(0)),
                    ..
                }]
            ),
            "{shed:?}"
        );
    }

    #[test]
    fn a_group_comes_back_when_the_load_has_gone_and_waits_longer_the_second_time() {
        let mut governor = governor();
        governor.shed.push(((0, Some(0)), 0.02));
        governor.patience.insert((0, Some(0)), LOOKS_BELOW);
        let mut hits = 0;
        let decided = run(&mut governor, 0, 30, &mut hits, 100);
        assert_eq!(
            decided,
            vec![(
                10,
                Decision::Restore {
                    group: (0, Some(0))
                }
            )]
        );
        let mut hits = 0;
        // Two sites' worth in one: over the budget, but no runaway.
        governor.shed.push(((0, Some(0)), 0.02));
        *governor
            .patience
            .get_mut(&(0, Some(0)))
            .expect("inserted above") *= 2;
        let decided = run(&mut governor, 30, 30, &mut hits, 100);
        assert_eq!(
            decided,
            vec![(
                50,
                Decision::Restore {
                    group: (0, Some(0))
                }
            )]
        );
    }

    #[test]
    fn a_group_that_no_order_lists_stays() {
        let mut governor = governor();
        for second in 1..=20 {
            let hits = second * 60_000;
            let mut readings = [
                reading(1, 0, SiteCost::Emulated, hits),
                reading(2, 0, SiteCost::Emulated, hits),
            ];
            readings
                .iter_mut()
                .for_each(|reading| reading.group = (0, None));
            assert!(
                governor
                    .look(BootNanos(second * SECOND), &readings)
                    .is_empty()
            );
        }
    }
}
