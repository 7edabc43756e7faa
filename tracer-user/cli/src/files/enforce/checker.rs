//! Whether somebody vouches for the bytes of an open file.

use std::{fs::File, path::Path};

use anyhow::Result;
use tracer_integrity::{
    Guarantee,
    expected::{Expected, ExpectedFile},
    lease::Leases,
};

use crate::{
    arguments::meant::integrity::Against,
    integrity::{self, vouched},
};

/// What files are compared with; one source that vouches is enough.
pub(super) struct Checker {
    listed: Vec<Expected>,
    by_store: bool,
    leases: Leases,
}

/// What was found of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// Whether somebody vouches for its bytes, and they could not change while they were read.
    pub(super) verified: bool,
    /// Whether no writer could get in unseen meanwhile.
    pub(super) leased: bool,
    /// Whether the same would be found again as long as nobody changes the file.
    pub(super) lasts: bool,
    /// Why, in words that hold nothing of the host.
    pub(super) reason: &'static str,
}

impl Checked {
    /// Nothing was found out, for a reason that may be gone the next time.
    pub(super) const fn not(reason: &'static str) -> Self {
        Self {
            verified: false,
            leased: false,
            lasts: false,
            reason,
        }
    }
}

impl Checker {
    /// Reads every source.
    ///
    /// # Errors
    /// If one cannot be read, or is a signature that is not valid.
    pub(super) fn new(trust: &[Against]) -> Result<Self> {
        let mut listed = Vec::new();
        let mut by_store = false;
        for against in trust {
            match against {
                Against::Store => by_store = true,
                listed_in => listed.push(integrity::verify::expected_files(listed_in)?),
            }
        }
        Ok(Self {
            listed,
            by_store,
            leases: integrity::leases(),
        })
    }

    /// Hashes a file in each way in which somebody listed files, until one vouches for it.
    pub(super) fn check(&self, file: &File, path: &Path) -> Checked {
        let of_store = self.by_store.then(|| vouched::of_store(path)).flatten();
        let candidates: Vec<&ExpectedFile> = of_store
            .iter()
            .chain(&self.listed)
            .flat_map(Expected::files)
            .collect();
        let mut ways: Vec<&ExpectedFile> = Vec::new();
        for candidate in &candidates {
            let known = |way: &&ExpectedFile| {
                (way.algorithm, way.shard_size) == (candidate.algorithm, candidate.shard_size)
            };
            if !ways.iter().any(known) {
                ways.push(candidate);
            }
        }
        let mut found = Checked {
            lasts: true,
            ..Checked::not("nobody vouches for these bytes")
        };
        for way in ways {
            let Ok(hashed) = vouched::hash(file, way, &self.leases) else {
                return Checked::not("it cannot be read");
            };
            if !candidates.iter().any(|candidate| candidate.is(&hashed)) {
                continue;
            }
            let guarantee = hashed.assurance.guarantee;
            let (verified, leased) = (
                guarantee > Guarantee::Unstable,
                guarantee >= Guarantee::Leased,
            );
            found = Checked {
                verified,
                leased,
                lasts: leased || !verified,
                reason: vouched::words(&hashed.assurance.reason),
            };
            if found.verified {
                break;
            }
        }
        found
    }
}
