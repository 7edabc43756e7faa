use serde::{Deserialize, Serialize};

use crate::{identity::Cpu, time::BootNanos};

/// Why something was seen and not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The kernel's ring had no room.
    RingFull,
    /// The CPU had no free scratch slot.
    NoScratch,
    /// The table of open calls refused the entry: the call's end cannot be told.
    StashFull,
    /// The probe's rate limit was reached, by intention.
    RateLimited,
    /// Sampling passed over the call, by intention.
    SampledOut,
    /// The grant had ended, by intention.
    Expired,
    /// A field's memory could not be read; the rest arrived.
    ReadFault,
    /// A field was longer than its limit; its beginning arrived.
    Truncated,
    /// The ring for rare, important records had no room.
    CriticalRingFull,
    /// The kernel's perf buffer that announces mappings had no room.
    WatchBufferFull,
    /// A record's bytes could not be read as one.
    MalformedRecord,
    /// A record named a probe that is not loaded.
    UnknownProbe,
    /// Models, contexts or requests were more than the tables hold; the oldest was given up.
    TableFull,
    /// Content that could not be searched for what may not leave; it was withheld.
    Unsearched,
    /// The kernel's table of file accesses had no room.
    FileTableFull,
    /// The kernel left out a file program that was running on that CPU already.
    FileMissed,
    /// The kernel's queue of notices about files had no room.
    FileNoticesLost,
    /// The ring of the file programs had no room: names are missing, accesses are not.
    FileNamesLost,
    /// A file lay deeper than is looked: whether it is watched is not known.
    FileTooDeep,
    /// More files than can be watched, or that could not be looked at.
    FileUnwatched,
    /// The output refused an event.
    OutputFailed,
}

impl LossReason {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::NoScratch => "no_scratch",
            Self::StashFull => "stash_full",
            Self::RateLimited => "rate_limited",
            Self::SampledOut => "sampled_out",
            Self::Expired => "expired",
            Self::ReadFault => "read_fault",
            Self::Truncated => "truncated",
            Self::CriticalRingFull => "critical_ring_full",
            Self::WatchBufferFull => "watch_buffer_full",
            Self::MalformedRecord => "malformed_record",
            Self::UnknownProbe => "unknown_probe",
            Self::TableFull => "table_full",
            Self::Unsearched => "unsearched",
            Self::FileTableFull => "file_table_full",
            Self::FileMissed => "file_missed",
            Self::FileNoticesLost => "file_notices_lost",
            Self::FileNamesLost => "file_names_lost",
            Self::FileTooDeep => "file_too_deep",
            Self::FileUnwatched => "file_unwatched",
            Self::OutputFailed => "output_failed",
        }
    }

    /// Whether the rules of the run asked for it.
    #[must_use]
    pub const fn is_intended(self) -> bool {
        matches!(self, Self::RateLimited | Self::SampledOut | Self::Expired)
    }

    /// Whether a whole record or event is missing, rather than a part of one.
    #[must_use]
    pub const fn loses_record(self) -> bool {
        !matches!(
            self,
            Self::ReadFault | Self::Truncated | Self::Unsearched | Self::FileNamesLost
        )
    }
}

impl From<tracer_abi::LossReason> for LossReason {
    fn from(reason: tracer_abi::LossReason) -> Self {
        match reason {
            tracer_abi::LossReason::RingFull => Self::RingFull,
            tracer_abi::LossReason::NoScratch => Self::NoScratch,
            tracer_abi::LossReason::StashFull => Self::StashFull,
            tracer_abi::LossReason::RateLimited => Self::RateLimited,
            tracer_abi::LossReason::SampledOut => Self::SampledOut,
            tracer_abi::LossReason::Expired => Self::Expired,
            tracer_abi::LossReason::ReadFault => Self::ReadFault,
            tracer_abi::LossReason::Truncated => Self::Truncated,
            tracer_abi::LossReason::CriticalRingFull => Self::CriticalRingFull,
        }
    }
}

/// Something was lost, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Loss {
    /// Why.
    pub reason: LossReason,
    /// How many records or fields.
    pub count: u64,
    /// On which CPU, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Nothing of this count was lost before.
    pub from: BootNanos,
    /// Nothing of this count was lost after.
    pub to: BootNanos,
    /// Whether the rules of the run asked for it.
    pub intended: bool,
}
