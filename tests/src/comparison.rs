//! Compares what a workload did with what the tracer saw of it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use tracer_event::{
    ContextId, Known, Recorded, SequenceId,
    inference::{Direction, Outcome, Tokens},
};

use crate::{
    report::{Account, DecodeCall},
    tracer::Trace,
};

/// Fails unless decode calls with their results, token ids, positions and sampled tokens are exactly
/// those that the workload reported.
///
/// # Errors
/// Names the first difference.
pub fn assert_exact(account: &Account, trace: &Trace, pid: u32) -> Result<()> {
    let steps = trace.steps(pid);
    if steps.len() != account.calls.len() {
        bail!(
            "process {pid} made {} calls, {} steps were traced",
            account.calls.len(),
            steps.len()
        );
    }
    assert_same_calls(&account.calls, trace, pid)?;
    let order = contexts_in_order(trace, pid);
    compare(
        "input",
        &account.inputs(),
        &traced_inputs(trace, pid, &order)?,
    )?;
    let mut sampled: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
    for (context, token) in &account.sampled {
        sampled.entry(*context).or_default().push(*token);
    }
    compare(
        "sampled tokens",
        &sampled,
        &traced_outputs(trace, pid, &order)?,
    )
}

/// As [`assert_exact`] for a process that was killed: at most the call in flight may differ.
///
/// # Errors
/// Names the first difference.
pub fn assert_exact_but_the_last_call(account: &Account, trace: &Trace, pid: u32) -> Result<()> {
    let finished = account
        .calls
        .iter()
        .filter(|call| call.ret.is_some())
        .count();
    let traced = trace.steps(pid).len();
    if !(finished..=account.calls.len()).contains(&traced) {
        bail!(
            "process {pid} began {} calls and ended {finished}, {traced} steps were traced",
            account.calls.len()
        );
    }
    assert_same_calls(&account.calls[..finished], trace, pid)?;
    let traced = traced_inputs(trace, pid, &contexts_in_order(trace, pid))?;
    for (sequence, inputs) in account.inputs() {
        let seen = traced
            .get(&sequence)
            .with_context(|| format!("nothing was traced of sequence {sequence:?}"))?;
        // The call in flight feeds one token, and the workload reports its result only afterwards.
        if !seen.starts_with(&inputs) || seen.len() > inputs.len() + 1 {
            bail!("sequence {sequence:?}: fed {inputs:?}, traced {seen:?}");
        }
    }
    Ok(())
}

fn assert_same_calls(calls: &[DecodeCall], trace: &Trace, pid: u32) -> Result<()> {
    for (call, step) in calls.iter().zip(trace.steps(pid)) {
        let result = call
            .ret
            .context("a call without a result cannot be compared")?;
        if step.outcome != Outcome::Returned(result.into()) {
            bail!(
                "call {} returned {result}, traced as {:?}",
                call.call,
                step.outcome
            );
        }
        let tokens = u32::try_from(call.pos.len())?;
        if result == 0 && step.tokens != Known::Known(tokens) {
            bail!(
                "call {} had {tokens} tokens, traced as {:?}",
                call.call,
                step.tokens
            );
        }
        if let (Known::Known(duration), Some(end)) = (step.duration, call.end_ns)
            && duration.0 > end - call.begin_ns
        {
            bail!(
                "call {} took at most {} ns, traced as {duration:?}",
                call.call,
                end - call.begin_ns
            );
        }
    }
    Ok(())
}

/// The traced contexts of a process, numbered in the order in which they were made or first used.
fn contexts_in_order(trace: &Trace, pid: u32) -> HashMap<ContextId, usize> {
    let mut order = HashMap::new();
    for line in trace.of(pid) {
        let context = match &line.body {
            tracer_event::Body::ContextCreated(context) => Known::Known(context.context),
            tracer_event::Body::Step(step) => step.context,
            _ => Known::Unknown,
        };
        if let Known::Known(context) = context {
            let next = order.len();
            order.entry(context).or_insert(next);
        }
    }
    order
}

type Inputs = BTreeMap<(usize, i32), Vec<(i32, i32)>>;

fn traced_inputs(trace: &Trace, pid: u32, order: &HashMap<ContextId, usize>) -> Result<Inputs> {
    let mut inputs = Inputs::new();
    for tokens in trace
        .tokens(pid)
        .into_iter()
        .filter(|tokens| tokens.direction == Direction::Input)
    {
        let Known::Known(SequenceId(sequence)) = tokens.sequence else {
            bail!("no sequence is known of {tokens:?}")
        };
        let Known::Known(positions) = &tokens.positions else {
            bail!("no positions are known of {tokens:?}")
        };
        let ids = ids(tokens)?;
        if ids.len() != positions.len() {
            bail!(
                "{} ids but {} positions: {tokens:?}",
                ids.len(),
                positions.len()
            );
        }
        let context = context_number(tokens, order)?;
        let fed = positions.iter().map(|position| position.0).zip(ids);
        inputs.entry((context, sequence)).or_default().extend(fed);
    }
    Ok(inputs)
}

fn traced_outputs(
    trace: &Trace,
    pid: u32,
    order: &HashMap<ContextId, usize>,
) -> Result<BTreeMap<usize, Vec<i32>>> {
    let mut outputs: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
    for tokens in trace
        .tokens(pid)
        .into_iter()
        .filter(|tokens| tokens.direction == Direction::Output)
    {
        outputs
            .entry(context_number(tokens, order)?)
            .or_default()
            .extend(ids(tokens)?);
    }
    Ok(outputs)
}

fn context_number(tokens: &Tokens<Recorded>, order: &HashMap<ContextId, usize>) -> Result<usize> {
    let number = tokens
        .context
        .value()
        .and_then(|context| order.get(context));
    number
        .copied()
        .with_context(|| format!("the context of {tokens:?} is not known"))
}

fn ids(tokens: &Tokens<Recorded>) -> Result<Vec<i32>> {
    match &tokens.tokens {
        Recorded::Tokens(ids) if !tokens.truncated => {
            let ids: Option<Vec<i32>> = ids.iter().copied().collect();
            ids.with_context(|| format!("token ids are redacted: {tokens:?}"))
        }
        other => bail!(
            "token ids were not captured whole: {other:?}, truncated: {}",
            tokens.truncated
        ),
    }
}

fn compare<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    what: &str,
    done: &BTreeMap<K, Vec<V>>,
    traced: &BTreeMap<K, Vec<V>>,
) -> Result<()> {
    for (key, done) in done {
        let seen = traced
            .get(key)
            .with_context(|| format!("{what} of {key:?}: {done:?}, nothing traced"))?;
        if let Some(at) = (0..done.len().max(seen.len())).find(|at| done.get(*at) != seen.get(*at))
        {
            bail!(
                "{what} {at} of {key:?}: {:?}, traced {:?}",
                done.get(at),
                seen.get(at)
            );
        }
    }
    match traced.keys().find(|key| !done.contains_key(key)) {
        Some(key) => bail!("{what} of {key:?} were traced but never happened"),
        None => Ok(()),
    }
}
