//! What a workload says it did: one JSON object a line, written as each call begins and ends.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use serde::Deserialize;

/// One line of a workload's report.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// The thread that wrote it, as its own pid namespace numbers it.
    pub tid: i32,
    /// `CLOCK_BOOTTIME` in nanoseconds, read just before the call or just after it.
    pub boot_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Line {
    /// Reads one line.
    ///
    /// # Errors
    /// When it is not a line of a report.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).with_context(|| format!("not a line of a report: `{text}`"))
    }
}

/// What a line tells. Pointers are strings as `%p` prints them.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the fields are the report's own; workloads/README.md says what each holds"
)]
pub enum Event {
    /// The workload runs, with this pid in its own namespace.
    Start { pid: i32, uid: u32 },
    /// The library that it calls says that this is its version.
    Version { version: String },
    /// It waits for a line on its standard input.
    Waiting {
        #[serde(rename = "for")]
        what: String,
    },
    /// A model is about to be loaded.
    LoadBegin { path: String, n_gpu_layers: i32 },
    /// The load call has returned; `(nil)` when it failed.
    LoadEnd { model: String },
    /// A context is about to be made.
    ContextBegin {
        model: String,
        n_ctx: u32,
        n_batch: u32,
        n_ubatch: u32,
        n_seq_max: u32,
    },
    /// The context exists, with the size that the library chose.
    ContextEnd { ctx: String, n_ctx: u32 },
    /// A text was tokenised.
    Tokenize { text: String, ret: i32 },
    /// A decode call is about to be made; embeddings have no tokens.
    DecodeBegin {
        call: u64,
        ctx: String,
        tokens: Option<Vec<i32>>,
        pos: Vec<i32>,
        seq: Vec<Vec<i32>>,
    },
    /// The decode call has returned.
    DecodeEnd { call: u64, ctx: String, ret: i32 },
    /// A token was sampled.
    Sampled {
        ctx: String,
        seq: i32,
        token: i32,
        eog: bool,
        piece_hex: String,
        /// Of the model itself, where the workload samples by chance.
        log_probability: Option<f64>,
    },
    /// Positions were removed from a sequence; negative bounds are open.
    SeqRm {
        ctx: String,
        seq: i32,
        p0: i32,
        p1: i32,
    },
    /// Positions of a sequence were moved.
    SeqAdd {
        ctx: String,
        seq: i32,
        p0: i32,
        p1: i32,
        delta: i32,
    },
    /// One sequence became a copy of another.
    SeqCp { ctx: String, from: i32, to: i32 },
    /// A context is about to be freed.
    ContextFree { ctx: String },
    /// A model is about to be freed.
    ModelFree { model: String },
    /// How often each function was called, returned and was left by unwinding, at the end.
    Counts {
        functions: BTreeMap<String, Counts>,
        checksum: u64,
    },
    /// A function was called with these values, by the names that the profile has for them.
    Call {
        function: String,
        values: BTreeMap<String, serde_json::Value>,
        /// How long it took, the caller's own work around it included.
        took_ns: Option<u64>,
        /// Whether an exception left it.
        #[serde(default)]
        unwound: bool,
    },
    /// A model was released.
    Released,
    /// A model was loaded, or could not be; nothing says so where the library does not.
    Load {
        path: Option<String>,
        loaded: Option<bool>,
    },
    /// The first answer is there.
    First {
        /// How long it took.
        took_ns: u64,
    },
    /// The CPU time of `calls` calls; `warm_up` calls before them were not measured.
    Measured {
        calls: u64,
        warm_up: u64,
        cpu_ns: u64,
        checksum: u64,
    },
    /// The end, after the last call.
    Done { calls: u64 },
}

/// What became of a function's calls.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Counts {
    /// Times the function was entered.
    pub entered: u64,
    /// Times it returned.
    pub returned: u64,
    /// Times an exception, a panic or a long jump left it.
    pub unwound: u64,
}

/// One decode call as the workload made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeCall {
    /// Its number in the process, from 0.
    pub call: u64,
    /// The context, by the order in which the process made its contexts: an address is reused.
    pub context: usize,
    /// Token ids in the order given; `None` for embeddings.
    pub tokens: Option<Vec<i32>>,
    /// Their positions.
    pub pos: Vec<i32>,
    /// The sequences each belongs to.
    pub seq: Vec<Vec<i32>>,
    /// What the call returned; `None` when the process died in it.
    pub ret: Option<i32>,
    /// Boot time before the call.
    pub begin_ns: u64,
    /// Boot time after it.
    pub end_ns: Option<u64>,
}

/// What a report says, told for comparison with what was traced.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The decode calls, in order.
    pub calls: Vec<DecodeCall>,
    /// The sampled tokens, in order, each with its context.
    pub sampled: Vec<(usize, i32)>,
}

impl Account {
    /// Reads a report.
    ///
    /// # Errors
    /// When a call ends that never began, or uses a context that was never made.
    pub fn of(lines: &[Line]) -> Result<Self> {
        let mut account = Self::default();
        let mut contexts: HashMap<&str, usize> = HashMap::new();
        let mut made = 0;
        let known = |contexts: &HashMap<&str, usize>, ctx: &str| {
            contexts
                .get(ctx)
                .copied()
                .with_context(|| format!("context {ctx} was never made"))
        };
        for line in lines {
            match &line.event {
                Event::ContextEnd { ctx, .. } => {
                    contexts.insert(ctx, made);
                    made += 1;
                }
                Event::DecodeBegin {
                    call,
                    ctx,
                    tokens,
                    pos,
                    seq,
                } => account.calls.push(DecodeCall {
                    call: *call,
                    context: known(&contexts, ctx)?,
                    tokens: tokens.clone(),
                    pos: pos.clone(),
                    seq: seq.clone(),
                    ret: None,
                    begin_ns: line.boot_ns,
                    end_ns: None,
                }),
                Event::DecodeEnd { call, ret, .. } => {
                    let begun = account.calls.iter_mut().rfind(|begun| begun.call == *call);
                    let begun =
                        begun.with_context(|| format!("call {call} ended but never began"))?;
                    begun.ret = Some(*ret);
                    begun.end_ns = Some(line.boot_ns);
                }
                Event::Sampled { ctx, token, .. } => {
                    account.sampled.push((known(&contexts, ctx)?, *token))
                }
                _ => {}
            }
        }
        Ok(account)
    }

    /// The tokens that calls with result 0 fed to each sequence of each context, as (position, id).
    ///
    /// A token that belongs to several sequences counts for the first. The library may split a batch
    /// by sequence; within a sequence the order is the caller's.
    #[must_use]
    pub fn inputs(&self) -> BTreeMap<(usize, i32), Vec<(i32, i32)>> {
        let mut inputs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.ret == Some(0)) {
            for (index, token) in call.tokens.iter().flatten().enumerate() {
                let sequence = call.seq[index][0];
                inputs
                    .entry((call.context, sequence))
                    .or_default()
                    .push((call.pos[index], *token));
            }
        }
        inputs
    }
}
