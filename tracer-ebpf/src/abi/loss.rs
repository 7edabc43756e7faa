//! Loss is data: everything that was seen and not delivered is counted where it was lost.

/// Why something did not arrive. `count` lists the reasons; each CPU has one [`LossCell`] a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum LossReason {
    /// The ring had no room: the record is lost.
    RingFull = 0,
    /// No scratch slot was free on this CPU: the record is lost.
    NoScratch = 1,
    /// The thread has more open calls than are kept, or no memory for them: a call's exit cannot be
    /// told.
    StashFull = 2,
    /// The token bucket was empty: the call is not recorded, by intention.
    RateLimited = 3,
    /// One-in-N sampling passed over the call, by intention.
    SampledOut = 4,
    /// The target's deadline had passed: the call is not recorded, by intention.
    Expired = 5,
    /// A memory read faulted: the record arrives without that field.
    ReadFault = 6,
    /// A field was longer than its limit: the record arrives with its beginning.
    Truncated = 7,
    /// A record of the critical ring had no room.
    CriticalRingFull = 8,
}

impl LossReason {
    /// How many reasons there are.
    pub const COUNT: u32 = 9;

    /// Every reason, in order of its number.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::RingFull,
        Self::NoScratch,
        Self::StashFull,
        Self::RateLimited,
        Self::SampledOut,
        Self::Expired,
        Self::ReadFault,
        Self::Truncated,
        Self::CriticalRingFull,
    ];

    /// Whether the whole record is missing, rather than a part of it.
    #[must_use]
    pub const fn loses_record(self) -> bool {
        !matches!(self, Self::ReadFault | Self::Truncated)
    }

    /// Whether the rules of the run asked for it.
    #[must_use]
    pub const fn is_intended(self) -> bool {
        matches!(self, Self::RateLimited | Self::SampledOut | Self::Expired)
    }
}

/// Losses of one reason on one CPU since the programs were loaded; user space takes differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LossCell {
    /// How many.
    pub count: u64,
    /// Boot time of the newest, in nanoseconds.
    pub newest: u64,
}

const _: () = assert!(size_of::<LossCell>() == 16);
