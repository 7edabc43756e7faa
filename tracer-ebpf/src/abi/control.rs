//! Who is traced, how much, and until when.

/// `USER_HZ`: `/proc/PID/stat` gives start times in ticks of 1/100 s on every Linux port that
/// tracer supports.
pub const USER_HZ: u64 = 100;

/// How the programs decide whether a process is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum TargetMode {
    /// Nothing is captured.
    #[default]
    Nobody = 0,
    /// Processes in the target map.
    Listed = 1,
    /// Processes in the target map, and those in a listed cgroup or below one.
    Cgroup = 2,
    /// Every process that executes a probed instruction; the target map can still name a level
    /// or a refusal for one.
    Everyone = 3,
}

/// Bits of [`Target::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetFlags;

impl TargetFlags {
    /// Children made by fork become targets too.
    pub const INHERIT: u8 = 1 << 0;
    /// This process is never captured, whatever the mode.
    pub const EXCLUDE: u8 = 1 << 1;
}

/// The grant for one process, or for one cgroup with its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Target {
    /// Start of the process since boot, in ticks of 1/[`USER_HZ`] s as `/proc/PID/stat` field 22
    /// has it: guards against a reused pid. 0 matches any.
    pub start_ticks: u64,
    /// Boot time in nanoseconds from which the kernel captures nothing, even if user space hangs.
    pub deadline: u64,
    /// [`CaptureLevel`](crate::CaptureLevel).
    pub level: u8,
    /// [`TargetFlags`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// Key of the map of executables whose processes become targets when they `exec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ExeKey {
    /// Inode number.
    pub inode: u64,
    /// Kernel device number (`major << 20 | minor`), not `stat`'s encoding.
    pub device: u32,
    /// Zero.
    pub reserved: u32,
}

/// Key of the map behind [`OpKind::InSet`](crate::OpKind::InSet): a small set of numbers of one
/// process, such as its vocabulary's end-of-generation tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SetKey {
    /// The process (tgid).
    pub pid: u32,
    /// The set's number in the profile.
    pub set: u32,
    /// A member; [`SetKey::EXISTS`] says that the process has the set at all.
    pub value: u64,
}

impl SetKey {
    /// The `value` whose presence says that the set is known, even if it is empty.
    pub const EXISTS: u64 = u64::MAX;
}

/// The one entry of the control map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Control {
    /// [`TargetMode`].
    pub mode: u32,
    /// Rings in use: a CPU's ring is `cpu % rings`.
    pub rings: u32,
    /// Grant of whoever is not listed, in mode [`TargetMode::Everyone`].
    pub everyone: Target,
    /// Raised after every change of a grant, from 1 on: a thread keeps the grant that it was given
    /// under this number and asks again under another.
    pub generation: u64,
}

/// Sleep flag and threshold of one ring; written by the reader, exchanged by producers.
///
/// The reader sets `asleep`, fences, and sleeps only if the ring's producer and consumer positions
/// are equal. A producer looks at `asleep` *after* its record is committed (the kernel's commit is a
/// full barrier) and exchanges it for 0; where it was 1 it wakes the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingState {
    /// 1 while the reader sleeps or is about to.
    pub asleep: u32,
    /// Unread bytes from which a producer wakes a reader that is only waiting for its timer. The
    /// producer that reaches it exchanges it for [`RingState::DISARMED`], so that one crossing wakes
    /// once; the reader writes it again before each wait.
    pub wake_bytes: u32,
    /// Next sequence number of the ring.
    pub sequence: u64,
}

impl RingState {
    /// A `wake_bytes` that no ring reaches.
    pub const DISARMED: u32 = u32::MAX;
}

/// How a scratch slot begins: who works in it. The rest of it is the kernel half's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SlotHead {
    /// 1 while a program owns the slot.
    pub claimed: u64,
    /// `bpf_get_current_pid_tgid()` of the thread in which it runs: process in the high half.
    pub pid_tgid: u64,
    /// Boot time of the hit, in nanoseconds.
    pub now: u64,
}

const _: () = assert!(size_of::<Target>() == 24);
const _: () = assert!(size_of::<ExeKey>() == 16);
const _: () = assert!(size_of::<SetKey>() == 16);
const _: () = assert!(size_of::<Control>() == 40);
const _: () = assert!(size_of::<RingState>() == 16);
const _: () = assert!(size_of::<SlotHead>() == 24);
