//! Families `session` and `agent`: what tracer itself does, so that silence can be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracer_redact::Field;

use crate::{
    identity::{BuildId, Digest, Inode, Label, Name},
    known::Known,
    loss::LossReason,
    place::Level,
    time::{BootNanos, Nanos},
};

/// Tracing began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct SessionStarted {
    /// tracer's version.
    pub version: Label,
    /// The kernel's release.
    pub kernel: Name,
    /// The capture level.
    pub level: Level,
    /// Profiles in use.
    pub profiles: Vec<Name>,
    /// Digest of the redaction policy in force.
    #[serde(default)]
    pub policy: Known<Digest>,
}

/// Tracing ended; what it amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Summary {
    /// How long it took.
    pub duration: Nanos,
    /// Ring records that were read.
    pub records: u64,
    /// Events that were written before this one.
    pub events: u64,
    /// Events that were written, by kind.
    pub events_by_kind: BTreeMap<Label, u64>,
    /// Requests that ended, warm-up not counted.
    pub requests: u64,
    /// Steps, warm-up not counted.
    pub steps: u64,
    /// Events that were marked late.
    pub late: u64,
    /// What was lost, by reason. Empty means that nothing was.
    pub losses: BTreeMap<LossReason, u64>,
    /// What something else was shown for, by kind; never a value.
    #[serde(default)]
    pub redacted: BTreeMap<Name, u64>,
}

impl Summary {
    /// Records that are missing although nobody asked for it.
    #[must_use]
    pub fn unintended_losses(&self) -> u64 {
        self.losses
            .iter()
            .filter(|(reason, _)| reason.loses_record() && !reason.is_intended())
            .map(|(_, count)| count)
            .sum()
    }
}

/// A process that runs a model was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct RuntimeFound<C> {
    /// The runtime.
    #[serde(rename = "gen_ai.provider.name")]
    pub runtime: Name,
    /// The library that shows it.
    pub library: LibraryFile<C>,
    /// Whether the library was mapped before it was probed, so that a load may have been missed.
    pub load_may_be_missed: bool,
}

impl<C> RuntimeFound<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> RuntimeFound<D> {
        let Self {
            runtime,
            library,
            load_may_be_missed,
        } = self;
        RuntimeFound {
            runtime,
            library: library.map(change),
            load_may_be_missed,
        }
    }
}

/// That process ended, replaced its program or let the library go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct RuntimeGone {
    /// The runtime.
    #[serde(rename = "gen_ai.provider.name")]
    pub runtime: Name,
}

/// A library that is probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(bound(deserialize = "C: Deserialize<'de>"))]
pub struct LibraryFile<C> {
    /// Its path.
    pub path: C,
    /// The file itself.
    pub inode: Inode,
    /// Its build-id.
    pub build_id: Known<BuildId>,
    /// The version that its own code tells, where the profile knows which function does.
    #[serde(default)]
    pub version: Known<C>,
    /// Whether it has been removed or replaced since it was mapped.
    pub deleted: bool,
}

impl<C> LibraryFile<C> {
    fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> LibraryFile<D> {
        let Self {
            path,
            inode,
            build_id,
            version,
            deleted,
        } = self;
        LibraryFile {
            path: change(Field::Path, path),
            inode,
            build_id,
            version: version.map(|version| change(Field::Symbol, version)),
            deleted,
        }
    }
}

/// A library got its probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Attached<C> {
    /// The runtime.
    #[serde(rename = "gen_ai.provider.name")]
    pub runtime: Name,
    /// The library.
    pub library: LibraryFile<C>,
    /// How.
    pub means: Means,
    /// How long it took.
    pub duration: Nanos,
    /// The probes.
    pub probes: Vec<AttachedProbe<C>>,
}

impl<C> Attached<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> Attached<D> {
        let Self {
            runtime,
            library,
            means,
            duration,
            probes,
        } = self;
        Attached {
            runtime,
            library: library.map(change),
            means,
            duration,
            probes: probes.into_iter().map(|probe| probe.map(change)).collect(),
        }
    }
}

/// How sites are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// One link for many sites.
    UprobeMulti,
    /// One perf event for each site.
    PerfEvent,
}

/// A probe and its sites in one library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct AttachedProbe<C> {
    /// The probe, as its profile names it.
    pub probe: Name,
    /// The function, as the library names it.
    pub symbol: C,
    /// The probed instructions.
    pub sites: Vec<Site>,
    /// Why the end of the call is not seen although the profile asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_missing: Option<C>,
}

impl<C> AttachedProbe<C> {
    fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> AttachedProbe<D> {
        let Self {
            probe,
            symbol,
            sites,
            exit_missing,
        } = self;
        AttachedProbe {
            probe,
            symbol: change(Field::Symbol, symbol),
            sites,
            exit_missing: exit_missing.map(|content| change(Field::Diagnostic, content)),
        }
    }
}

/// A probed instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Site {
    /// Where it is in the file, in bytes.
    pub offset: u64,
    /// What a hit means.
    pub role: SiteRole,
    /// What a hit costs.
    pub cost: SiteCost,
}

/// What a hit of a site means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SiteRole {
    /// Nothing: the site is switched off.
    Off,
    /// The call begins.
    Entry,
    /// The call ends.
    Exit,
}

/// How the kernel runs the instruction that a probe replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SiteCost {
    /// It emulates it: about 0.4 µs a hit.
    Emulated,
    /// It steps through it: about 1 µs on bare metal, 14 µs in a nested VM.
    SingleStepped,
}

/// A probe or a library was not attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct NotAttachable<C> {
    /// The probe; none if the whole file is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Name>,
    /// Path of the library or executable.
    pub path: C,
    /// What was attempted, what happened, and what to do.
    pub reason: C,
}

impl<C> NotAttachable<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> NotAttachable<D> {
        let Self {
            probe,
            path,
            reason,
        } = self;
        NotAttachable {
            probe,
            path: change(Field::Path, path),
            reason: change(Field::Diagnostic, reason),
        }
    }
}

/// Probes were switched off because they cost too much. Calls since then are not observed, which
/// is not the same as lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Shed {
    /// The group, or the probe of a runaway site.
    pub group: Name,
    /// The probes.
    pub probes: Vec<Name>,
    /// Why.
    pub cause: ShedCause,
    /// Share of one core that they cost; 0.05 is 5 %.
    pub core_share: f64,
    /// Beginning of the window in which that was measured.
    pub since: BootNanos,
}

/// Why probes were switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ShedCause {
    /// One site cost more than 5 % of a core for a second.
    Runaway,
    /// All sites together cost more than the budget.
    Budget,
}

/// Probes that had been switched off are back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Restored {
    /// The group, or the probe of a runaway site.
    pub group: Name,
    /// The probes.
    pub probes: Vec<Name>,
}

/// A process is busy while none of the probes in one of its libraries is ever hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Silent {
    /// The runtime whose library it is.
    #[serde(rename = "gen_ai.provider.name")]
    pub runtime: Name,
    /// CPU time that the process used without a hit.
    pub busy: Nanos,
}
