//! Why a function has no entry or no exits to probe.

use crate::code::{ImageError, unwind::UnwindError};

/// Why a function cannot be probed at all.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No instruction can be its entry.
    #[error("no entry site: {0}")]
    Entry(NoEntry),
    /// The image could not be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl From<NoEntry> for PlanError {
    fn from(cause: NoEntry) -> Self {
        Self::Entry(cause)
    }
}

/// Why no instruction can be the entry.
#[derive(Debug, thiserror::Error)]
pub enum NoEntry {
    /// The function is a chain of jumps without end.
    #[error("it only jumps to functions that only jump")]
    ThunkChain,
    /// No instruction before the first branch will do.
    #[error(
        "the kernel refuses a probe on each instruction that all calls pass with the arguments in place ({refused})"
    )]
    Refused {
        /// Why it refuses the first.
        refused: String,
    },
    /// The first instruction is also the target of a jump.
    #[error("the function's own code jumps to its first instruction")]
    LoopHead,
    /// There is nothing to decode.
    #[error("there are no instructions at its address")]
    Empty,
    /// The result of decoding does not say where the frame is.
    #[error("the frame address is not known where the arguments are in place")]
    FrameUnknown,
}

/// Why the end of a function's calls cannot be seen safely.
#[derive(Debug, thiserror::Error)]
pub enum NoExit {
    /// No exits were asked for.
    #[error("not asked for")]
    NotWanted,
    /// The unwind table does not know the function, so its bounds and frame are not certain.
    #[error("the unwind table has no entry for it")]
    NoUnwindEntry,
    /// The unwind table cannot be read.
    #[error("unwind table: {cause}")]
    Unwind {
        /// Why.
        cause: UnwindError,
    },
    /// The function begins inside of another one's range.
    #[error("it begins inside the function at {start:#x}")]
    InsideAnother {
        /// Where the other begins.
        start: u64,
    },
    /// Symbol and unwind table disagree about its end.
    #[error("its symbol is longer than its range in the unwind table")]
    SizeMismatch,
    /// Its frame is not where the unwind table says.
    #[error("the unwind table and the code disagree about the frame at {at:#x}")]
    UnwindMismatch {
        /// The instruction.
        at: u64,
    },
    /// The frame is not known at a return.
    #[error("the frame address is not known at the return at {at:#x}")]
    FrameUnknown {
        /// The instruction.
        at: u64,
    },
    /// Too much code to analyse.
    #[error("it has more than {limit} bytes of code or too many parts")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Something in its range is not an instruction, or a branch leads into the middle of one.
    #[error("its range holds something else than instructions at {at:#x}")]
    Undecodable {
        /// Where.
        at: u64,
    },
    /// Its last instruction runs on into whatever follows.
    #[error("it runs past its end at {at:#x}")]
    FallsOut {
        /// The last instruction.
        at: u64,
    },
    /// It jumps into the middle of another function.
    #[error("it jumps from {at:#x} into the middle of another function, at {target:#x}")]
    SharedCode {
        /// The jump.
        at: u64,
        /// Its target.
        target: u64,
    },
    /// Other code enters it elsewhere than at its beginning.
    #[error("it is entered elsewhere than at its beginning, at {at:#x}")]
    EnteredInside {
        /// The second entrance.
        at: u64,
    },
    /// It ends in a call through a pointer, so that its end is unknown until it happens.
    #[error("it ends in an indirect jump to another function, at {at:#x}; probe another function")]
    IndirectTailJump {
        /// The jump.
        at: u64,
    },
    /// It ends in a function of another image, where its calls' end is not looked for.
    #[error("it ends in a jump to {symbol} of another library, at {at:#x}; probe another function")]
    LeavesImage {
        /// The jump.
        at: u64,
        /// The symbol that the loader binds there.
        symbol: String,
    },
    /// The function that it ends in has no exits.
    #[error(
        "it ends in a jump from {from:#x} to the function at {target:#x}, and that has no exits: {reason}"
    )]
    Continuation {
        /// The jump.
        from: u64,
        /// Its target.
        target: u64,
        /// Why the target has none.
        reason: Box<NoExit>,
    },
    /// The chain of functions that it ends in is too long.
    #[error("it ends in more than {limit} functions")]
    TooManyContinuations {
        /// The limit.
        limit: usize,
    },
    /// Only single-stepped returns would do, and they were not allowed.
    #[error(
        "some of its returns pass no emulated instruction with the result in place (first: {at:#x}), and a single-stepped exit is too expensive here"
    )]
    OnlyStepped {
        /// The first such return.
        at: u64,
    },
    /// No instruction returns.
    #[error("it never returns")]
    NeverReturns,
    /// The exit would be the same instruction as the entry.
    #[error("its return at {at:#x} is also its entry")]
    SharesEntry {
        /// The instruction.
        at: u64,
    },
    /// The kernel refuses a probe on a return.
    #[error("the kernel refuses a probe on the return at {at:#x}: {refused}")]
    Refused {
        /// The instruction.
        at: u64,
        /// Why.
        refused: String,
    },
    /// The image could not be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}
