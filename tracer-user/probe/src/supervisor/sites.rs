//! The site table: which index is which instruction of which library.

use std::{collections::HashMap, io};

use tracer_abi::{MAX_SITES, Site, SiteRole};

use crate::{load::Tables, observation::SiteCost};

/// What an index in use stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct SiteInUse {
    pub(super) library: u32,
    pub(super) probe: u16,
    pub(super) cost: SiteCost,
    /// As the table holds it while the site is on.
    pub(super) entry: Site,
    /// Hits that an earlier use of the index had.
    hits_before: u64,
}

/// Hands out indices and switches sites on and off.
pub(super) struct SiteTable {
    in_use: HashMap<u32, SiteInUse>,
    free: Vec<u32>,
}

impl SiteTable {
    pub(super) fn new() -> Self {
        Self {
            in_use: HashMap::new(),
            free: (0..MAX_SITES).rev().collect(),
        }
    }

    /// Takes an index for a site, switched off; `None` if the table is full.
    pub(super) fn take(
        &mut self,
        tables: &Tables,
        library: u32,
        probe: u16,
        cost: SiteCost,
        entry: Site,
    ) -> io::Result<Option<u32>> {
        let Some(index) = self.free.pop() else {
            return Ok(None);
        };
        let off = Site {
            role: SiteRole::Off as u8,
            ..entry
        };
        let ready = tables
            .sites
            .put(index, &off)
            .and_then(|()| total_hits(tables, index));
        match ready {
            Ok(hits_before) => {
                self.in_use.insert(
                    index,
                    SiteInUse {
                        library,
                        probe,
                        cost,
                        entry,
                        hits_before,
                    },
                );
                Ok(Some(index))
            }
            Err(error) => {
                self.free.push(index);
                Err(error)
            }
        }
    }

    /// Switches a site on or off at once, wherever its trap is attached.
    pub(super) fn switch(&self, tables: &Tables, index: u32, on: bool) -> io::Result<()> {
        let Some(site) = self.in_use.get(&index) else {
            return Ok(());
        };
        let role = if on {
            site.entry.role
        } else {
            SiteRole::Off as u8
        };
        tables.sites.put(index, &Site { role, ..site.entry })
    }

    /// Gives indices back; their links must be closed.
    pub(super) fn give_back(&mut self, indices: &[u32]) {
        for index in indices {
            if self.in_use.remove(index).is_some() {
                self.free.push(*index);
            }
        }
    }

    /// Every index in use, with its hits since it was taken.
    pub(super) fn hits(&self, tables: &Tables) -> io::Result<Vec<(u32, SiteInUse, u64)>> {
        let read = |(&index, site): (&u32, &SiteInUse)| {
            let hits = total_hits(tables, index)?.saturating_sub(site.hits_before);
            Ok((index, *site, hits))
        };
        self.in_use.iter().map(read).collect()
    }
}

fn total_hits(tables: &Tables, index: u32) -> io::Result<u64> {
    Ok(tables.site_hits.per_cpu(index)?.iter().sum())
}
