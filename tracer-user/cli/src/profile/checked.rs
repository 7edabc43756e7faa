//! What a check found, in the words of its JSON.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tracer_event::{Content, Nanos, OperationHistogram, Redacted, call::Called};
use tracer_probe::{
    observation::{AttachedProbe, ProbeId},
    survey::{Examination, Surveyed},
};
use tracer_profile::{Mode, Moment, Probe, Profile, Reading};

use crate::{
    arguments::meant::level_name,
    output::pretty::call,
    ps::listing::{Planned, hexadecimal, planned},
    text::{counted, short_duration},
};

/// The mode of a probe that makes no record a call.
const HISTOGRAM: &str = "histogram";

/// What was captured of a call, after redaction, or of all calls of a while.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Captured {
    /// As the event has it.
    value: serde_json::Value,
    /// For people.
    #[serde(skip)]
    pub(super) shown: String,
}

impl Captured {
    /// What is said of a call.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(super) fn of(called: &Called<Redacted<Content>>) -> serde_json::Result<Self> {
        Ok(Self {
            value: serde_json::to_value(called)?,
            shown: call::summary(called),
        })
    }

    /// What is said of the latencies of a hot operation.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(super) fn of_operation(calls: &OperationHistogram) -> serde_json::Result<Self> {
        let time = |nanos: Option<Nanos>| match nanos {
            Some(Nanos(nanos)) => short_duration(Duration::from_nanos(nanos)),
            None => "unknown".to_owned(),
        };
        Ok(Self {
            value: serde_json::to_value(calls)?,
            shown: format!(
                "{} in {}, mean {}, half below {}, 99 % below {}",
                counted(calls.count, "call"),
                time(Some(calls.to.since(calls.from))),
                time(calls.mean()),
                time(calls.percentile(50)),
                time(calls.percentile(99)),
            ),
        })
    }

    /// Adds what the beginning of the same call told: its end does not repeat all of it.
    pub(super) fn after(mut self, entry: Self) -> Self {
        if entry.value["call"] != self.value["call"] {
            return self;
        }
        if let (Some(values), serde_json::Value::Object(told)) =
            (self.value["values"].as_object_mut(), &entry.value["values"])
        {
            for (name, value) in told {
                values.entry(name).or_insert_with(|| value.clone());
            }
        }
        self.shown = format!("{}; {}", entry.shown, self.shown);
        self
    }
}

/// A profile, and what it finds.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    pub(super) profile: String,
    pub(super) runtime: String,
    /// The libraries that it was checked against.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) libraries: Vec<CheckedLibrary>,
    /// Without a library: its probes, each with all its layouts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) probes: Vec<CheckedProbe>,
}

/// A library, and what each probe finds in it.
#[derive(Debug, Serialize)]
pub(super) struct CheckedLibrary {
    pub(super) path: PathBuf,
    /// GNU build-id in hexadecimal.
    pub(super) build_id: Option<String>,
    /// What concerns the whole library.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    pub(super) probes: Vec<CheckedProbe>,
}

/// A probe, and what it finds.
#[derive(Debug, Serialize)]
pub(super) struct CheckedProbe {
    pub(super) probe: String,
    /// What a call means.
    pub(super) signal: &'static str,
    /// What it is switched off with.
    pub(super) group: String,
    /// `event` or `histogram`.
    pub(super) mode: &'static str,
    /// Calls a second that the profile expects.
    pub(super) expected_rate: u32,
    /// Which of the probe's layouts this is, from 1, and of how many.
    pub(super) layout: (usize, usize),
    #[serde(flatten)]
    pub(super) status: Status,
    /// What its fields and locals read.
    pub(super) reads: Vec<Read>,
    /// One call, if one was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<Captured>,
    /// Of a histogram, the latencies of the calls that were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latencies: Option<Captured>,
}

/// Whether the probe can be attached.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(super) enum Status {
    /// There is no library to look at.
    Unchecked {
        /// The functions that are tried, in order.
        symbols: Vec<String>,
    },
    /// It can.
    Resolved(Planned),
    /// It could, but the profile leaves it off.
    Off,
    /// Its function is there, but it cannot.
    Refused { reason: String },
    /// The library has none of its functions, or another probe serves better there.
    Absent {
        /// The functions that were tried.
        symbols: Vec<String>,
    },
}

/// What a field or local reads.
#[derive(Debug, Serialize)]
pub(super) struct Read {
    pub(super) name: String,
    /// Whether it leaves the process; a local only serves other values.
    pub(super) field: bool,
    /// From which level on it is read.
    pub(super) level: &'static str,
    /// When: `entry` or `exit`.
    pub(super) at: &'static str,
    /// The expression.
    pub(super) expression: String,
    /// The same in plain words.
    pub(super) reads: String,
}

impl Checked {
    /// A profile by itself.
    pub(super) fn without_library(profile: &Profile) -> Self {
        let mut checked = Self::with(profile, Vec::new());
        for variants in variants(profile) {
            for (number, probe) in variants.iter().enumerate() {
                let status = Status::Unchecked {
                    symbols: symbols(probe),
                };
                let layout = (number + 1, variants.len());
                checked.probes.push(CheckedProbe::of(probe, layout, status));
            }
        }
        checked
    }

    /// A profile with what it finds in some libraries.
    pub(super) fn with(profile: &Profile, libraries: Vec<CheckedLibrary>) -> Self {
        Self {
            profile: profile.name.clone(),
            runtime: profile.runtime.clone(),
            libraries,
            probes: Vec::new(),
        }
    }

    /// How many probes can be attached.
    pub(super) fn resolved(&self) -> usize {
        self.attachable().count()
    }

    /// The probes that can be attached.
    pub(super) fn attachable(&self) -> impl Iterator<Item = &CheckedProbe> {
        let probes = self.libraries.iter().flat_map(|library| &library.probes);
        probes.filter(|probe| matches!(probe.status, Status::Resolved(_)))
    }

    /// Puts captured calls beside their probes.
    pub(super) fn take_calls(&mut self, mut calls: BTreeMap<String, Captured>) {
        let libraries = self.libraries.iter_mut();
        for probe in libraries.flat_map(|library| &mut library.probes) {
            if matches!(probe.status, Status::Resolved(_)) {
                let captured = calls.remove(&probe.probe);
                if probe.mode == HISTOGRAM {
                    probe.latencies = captured;
                } else {
                    probe.call = captured;
                }
            }
        }
    }
}

impl CheckedLibrary {
    /// A file that was examined.
    pub(super) fn examined(profile: &Profile, path: &Path, found: &Examination) -> Self {
        let refused = found.refused.iter();
        let refused = refused.map(|(probe, reason)| (*probe, reason.as_str()));
        let build_id = found.build_id.as_deref();
        Self::new(profile, path, build_id, &found.probes, refused.collect())
    }

    /// A library of a running process.
    pub(super) fn surveyed(profile: &Profile, found: &Surveyed) -> Self {
        let refused = found.not_attachable.iter();
        let refused = refused.map(|refused| (refused.probe, refused.reason.as_str()));
        let runtime = &found.runtime;
        let build_id = runtime.build_id.as_deref();
        Self::new(
            profile,
            &runtime.path,
            build_id,
            &found.probes,
            refused.collect(),
        )
    }

    fn new(
        profile: &Profile,
        path: &Path,
        build_id: Option<&[u8]>,
        attached: &[AttachedProbe],
        refused: Vec<(Option<ProbeId>, &str)>,
    ) -> Self {
        let notes = refused.iter().filter(|(probe, _)| probe.is_none());
        let notes = notes.map(|(_, reason)| (*reason).to_owned()).collect();
        let mut probes = Vec::new();
        let mut first = 0;
        for variants in variants(profile) {
            let here = first..first + variants.len();
            first = here.end;
            let place = |id: ProbeId| Some(usize::from(id.0)).filter(|id| here.contains(id));
            let attached = attached
                .iter()
                .find_map(|attached| Some((place(attached.probe)?, attached)));
            let refused = refused
                .iter()
                .find_map(|(probe, reason)| Some((place((*probe)?)?, reason)));
            let (at, status) = match (attached, refused) {
                (Some((at, attached)), _) => {
                    let profiles = std::slice::from_ref(profile);
                    (at, Status::Resolved(planned(attached, profiles)))
                }
                (None, Some((at, reason))) => {
                    let reason = (*reason).to_owned();
                    (at, Status::Refused { reason })
                }
                (None, None) if variants.iter().all(|probe| !probe.enabled) => {
                    (here.start, Status::Off)
                }
                (None, None) => {
                    let symbols = symbols(&variants[0]);
                    (here.start, Status::Absent { symbols })
                }
            };
            let number = at - here.start;
            let layout = (number + 1, variants.len());
            probes.push(CheckedProbe::of(&variants[number], layout, status));
        }
        Self {
            path: path.to_owned(),
            build_id: build_id.map(hexadecimal),
            notes,
            probes,
        }
    }
}

impl CheckedProbe {
    fn of(probe: &Probe, layout: (usize, usize), status: Status) -> Self {
        Self {
            probe: probe.name.clone(),
            signal: probe.signal.as_str(),
            group: probe.group.clone(),
            mode: match probe.mode {
                Mode::Event => "event",
                Mode::Histogram => HISTOGRAM,
            },
            expected_rate: probe.expected_rate,
            layout,
            status,
            reads: probe.readings.iter().map(Read::of).collect(),
            call: None,
            latencies: None,
        }
    }
}

impl Read {
    fn of(reading: &Reading) -> Self {
        Self {
            name: reading.name.to_string(),
            field: reading.is_field,
            level: level_name(reading.level),
            at: match reading.moment {
                Moment::Entry => "entry",
                Moment::Exit => "exit",
            },
            expression: reading.written.to_string(),
            reads: reading.words.clone(),
        }
    }
}

/// The profile's probes, each with its layouts.
fn variants(profile: &Profile) -> impl Iterator<Item = &[Probe]> {
    profile
        .probes
        .chunk_by(|left, right| left.name == right.name)
}

fn symbols(probe: &Probe) -> Vec<String> {
    probe.symbols.iter().map(ToString::to_string).collect()
}
