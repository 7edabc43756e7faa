//! Sequences of calls as real callers make them, and any calls in any order.

use proptest::prelude::*;
use tracer_event::{
    ContextId, Known, LogProbability, Nanos,
    inference::{Direction, Request, Step, StepKind},
};

use super::*;
use crate::correlate::{
    action::{Change, Input, Inputs},
    ledger::Fact,
};

const CONTEXT: u64 = 0x1000;
const MEMORY: u64 = 0x2000;

/// A process that calls; each call takes a microsecond, a step a millisecond.
struct Caller {
    inference: Inference,
    ledger: Ledger,
    now: u64,
    call: u64,
}

impl Caller {
    fn new() -> Self {
        let mut caller = Self {
            inference: Inference::default(),
            ledger: Ledger::default(),
            now: 1_000_000,
            call: 0,
        };
        caller.make_context(CONTEXT, MEMORY, 1);
        caller
    }

    fn make_context(&mut self, address: u64, memory: u64, id: u64) {
        let mut context = Context::new(ContextId(id), None);
        context.memory = Some(memory);
        context.length = Some(64);
        self.inference
            .add(address, context, BootNanos(self.now), &mut self.ledger);
    }

    fn act(&mut self, phase: Phase, call: u64, began: u64, what: What) {
        let action = Action {
            time: BootNanos(self.now),
            began: BootNanos(began),
            tid: 7,
            call,
            phase,
            what,
        };
        self.inference.act(&action, &mut self.ledger);
        self.now += 1_000;
    }

    /// A decode call with tokens of `(sequence, position)`, the last of each sequence with output.
    fn decode(&mut self, tokens: &[(i32, i32)]) {
        self.decode_in(CONTEXT, tokens, Some(0));
    }

    fn decode_in(&mut self, context: u64, tokens: &[(i32, i32)], result: Option<i64>) {
        let step = |result| What::Step {
            context: Some(context),
            memory: None,
            kind: Some(StepKind::Decode),
            result,
            tokens: None,
            inputs: None,
        };
        self.call += 1;
        let (call, began) = (self.call, self.now);
        self.act(Phase::Entry, call, began, step(None));
        if !tokens.is_empty() {
            let inputs = Inputs {
                tokens: tokens
                    .iter()
                    .enumerate()
                    .map(|(index, (sequence, position))| Input {
                        sequence: *sequence,
                        position: *position,
                        token: None,
                        output: Some(
                            tokens[index + 1..]
                                .iter()
                                .all(|(other, _)| other != sequence),
                        ),
                    })
                    .collect(),
                exact: true,
            };
            let batch = What::Batch {
                context: Some(context),
                tokens: Some(tokens.len() as u32),
                inputs: Some(inputs),
            };
            self.act(Phase::Entry, call + 1_000_000, began, batch);
        }
        self.now = began + 1_000_000;
        if result.is_some() {
            self.act(Phase::Exit, call, began, step(result));
        }
    }

    fn sample(&mut self, index: i64, ends: bool) {
        let began = self.now;
        self.now += 500;
        let sample = Sample {
            context: Some(CONTEXT),
            index: Some(index),
            ends: Some(ends),
            token: None,
            log_probability: None,
        };
        self.act(Phase::Exit, 0, began, What::Sample(sample));
    }

    fn change(&mut self, change: Change) {
        let target = Target::Memory(MEMORY);
        let now = self.now;
        self.act(Phase::Entry, 0, now, What::Sequence { target, change });
    }

    fn remove(&mut self, sequence: i32, from: i32, to: i32) {
        self.change(Change::Remove { sequence, from, to });
    }

    /// Decodes single tokens of sequence 0 from `position` on, sampling after each.
    fn generate(&mut self, position: i32, count: i32) {
        for step in 0..count {
            self.decode(&[(0, position + step)]);
            self.sample(-1, false);
        }
    }

    fn prompt(&mut self, from: i32, to: i32) {
        let tokens: Vec<_> = (from..to).map(|position| (0, position)).collect();
        self.decode(&tokens);
    }

    fn end(&mut self) -> Vec<Request> {
        let now = BootNanos(self.now);
        self.inference
            .end(now, EndReason::Unknown, &mut self.ledger);
        self.requests()
    }

    fn requests(&self) -> Vec<Request> {
        let facts = self.ledger.facts.iter();
        facts
            .filter_map(|(_, fact)| match fact {
                Fact::Request(request) => Some(**request),
                Fact::Step(_) | Fact::Tokens(_) | Fact::Sequence(_) => None,
            })
            .collect()
    }

    /// The tokens that were generated since this was asked last.
    fn generated(&mut self) -> Vec<(i32, Option<LogProbability>)> {
        self.inference.settle(&mut self.ledger);
        let mut generated = Vec::new();
        for (_, fact) in self.ledger.facts.drain(..) {
            if let Fact::Tokens(batch) = fact
                && batch.direction == Direction::Output
            {
                let likely = batch.log_probabilities.first().copied().flatten();
                generated.extend(batch.tokens.iter().map(|token| (*token, likely)));
            }
        }
        generated
    }

    fn steps(&self) -> Vec<Step> {
        let facts = self.ledger.facts.iter();
        facts
            .filter_map(|(_, fact)| match fact {
                Fact::Step(step) => Some(**step),
                Fact::Request(_) | Fact::Tokens(_) | Fact::Sequence(_) => None,
            })
            .collect()
    }
}

/// Prompt, cached and generated tokens, and why it ended.
fn told(request: &Request) -> (u64, u64, u64, EndReason) {
    let known = |count: Known<u64>| *count.value().expect("the layout is known");
    (
        known(request.prompt_tokens),
        known(request.cached_tokens),
        known(request.generated_tokens),
        request.end,
    )
}

#[test]
fn a_request_ends_with_its_end_of_generation_token() {
    let mut caller = Caller::new();
    caller.prompt(0, 5);
    caller.sample(4, false);
    caller.generate(5, 2);
    caller.decode(&[(0, 7)]);
    caller.sample(0, true);
    let requests = caller.end();
    assert_eq!(requests.len(), 1);
    assert_eq!(told(&requests[0]), (5, 0, 4, EndReason::Eog));
    assert_eq!(requests[0].steps, 4);
    assert!(!requests[0].approximate);
    let Known::Known(Nanos(first)) = requests[0].time_to_first_token else {
        panic!("a token was generated")
    };
    assert!(
        (1_000_000..1_100_000).contains(&first),
        "a step and a sample: {first}"
    );
}

#[test]
fn a_server_reuses_a_prefix_and_the_next_request_counts_it_as_cached() {
    let mut caller = Caller::new();
    caller.prompt(0, 8);
    caller.sample(7, false);
    caller.generate(8, 3);
    // The next request shares six tokens.
    caller.remove(0, 6, -1);
    caller.prompt(6, 10);
    caller.sample(3, true);
    let requests = caller.end();
    assert_eq!(told(&requests[0]), (8, 0, 4, EndReason::Stopped));
    assert_eq!(told(&requests[1]), (10, 6, 1, EndReason::Eog));
}

#[test]
fn cutting_nothing_off_between_parts_of_a_prompt_ends_nothing() {
    let mut caller = Caller::new();
    caller.remove(0, 0, -1);
    let first: Vec<_> = (0..4).map(|position| (0, position)).collect();
    caller.decode_without_output(&first);
    caller.remove(0, 4, -1);
    caller.prompt(4, 6);
    caller.sample(1, true);
    let requests = caller.end();
    assert_eq!(requests.len(), 1);
    assert_eq!(told(&requests[0]), (6, 0, 1, EndReason::Eog));
}

impl Caller {
    fn decode_without_output(&mut self, tokens: &[(i32, i32)]) {
        let inputs = Inputs {
            tokens: tokens
                .iter()
                .map(|(sequence, position)| Input {
                    sequence: *sequence,
                    position: *position,
                    token: None,
                    output: Some(false),
                })
                .collect(),
            exact: true,
        };
        self.decode_in(CONTEXT, &[], None);
        let call = self.call;
        let began = self.now - 1_000_000;
        let batch = What::Batch {
            context: Some(CONTEXT),
            tokens: Some(tokens.len() as u32),
            inputs: Some(inputs),
        };
        self.act(Phase::Entry, call, began, batch);
        let exit = What::Step {
            context: Some(CONTEXT),
            memory: None,
            kind: Some(StepKind::Decode),
            result: Some(0),
            tokens: None,
            inputs: None,
        };
        self.act(Phase::Exit, call, began, exit);
    }
}

#[test]
fn a_limit_then_a_longer_prompt_of_the_same_conversation_are_two_requests() {
    let mut caller = Caller::new();
    caller.prompt(0, 4);
    caller.sample(3, false);
    caller.generate(4, 2);
    // All six positions stay; the server says so by cutting off nothing.
    caller.remove(0, 6, -1);
    caller.prompt(6, 9);
    caller.sample(2, false);
    let requests = caller.end();
    assert_eq!(told(&requests[0]), (4, 0, 3, EndReason::Stopped));
    assert_eq!(told(&requests[1]), (9, 6, 1, EndReason::Unknown));
}

#[test]
fn rejected_drafts_do_not_end_a_request() {
    let mut caller = Caller::new();
    caller.prompt(0, 4);
    caller.sample(3, false);
    // One known token, three drafts of which one is accepted.
    caller.decode(&[(0, 4), (0, 5), (0, 6), (0, 7)]);
    caller.sample(0, false);
    caller.sample(1, false);
    caller.remove(0, 6, -1);
    caller.decode(&[(0, 6)]);
    caller.sample(0, true);
    let requests = caller.end();
    assert_eq!(requests.len(), 1);
    assert_eq!(told(&requests[0]), (4, 0, 4, EndReason::Eog));
}

#[test]
fn a_context_shift_does_not_end_a_request() {
    let mut caller = Caller::new();
    caller.prompt(0, 8);
    caller.sample(7, false);
    caller.generate(8, 2);
    caller.remove(0, 1, 5);
    caller.change(Change::Shift {
        sequence: 0,
        from: 5,
        delta: Some(-4),
    });
    caller.generate(6, 2);
    let requests = caller.end();
    assert_eq!(requests.len(), 1);
    assert_eq!(told(&requests[0]), (8, 0, 5, EndReason::Unknown));
}

#[test]
fn a_hole_that_nothing_moves_into_ends_the_request() {
    let mut caller = Caller::new();
    caller.prompt(0, 8);
    caller.sample(7, false);
    caller.remove(0, 1, 5);
    caller.decode(&[(0, 8)]);
    let requests = caller.end();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].end, EndReason::Stopped);
}

#[test]
fn sequences_of_one_step_are_told_apart_by_their_outputs() {
    let mut caller = Caller::new();
    caller.decode(&[(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]);
    caller.sample(1, false);
    caller.sample(4, false);
    caller.decode(&[(0, 2), (1, 3)]);
    caller.sample(0, true);
    caller.sample(1, false);
    caller.decode(&[(1, 4)]);
    caller.sample(0, true);
    let requests = caller.end();
    assert_eq!(told(&requests[0]), (2, 0, 2, EndReason::Eog));
    assert_eq!(told(&requests[1]), (3, 0, 3, EndReason::Eog));
    assert_eq!(
        requests[0].sequence.value().map(|sequence| sequence.0),
        Some(0)
    );
}

#[test]
fn samplers_within_a_sampler_are_one_token() {
    let mut caller = Caller::new();
    caller.prompt(0, 3);
    let chain = |ends| {
        What::Sample(Sample {
            context: None,
            index: None,
            ends: Some(ends),
            token: None,
            log_probability: None,
        })
    };
    for _ in 0..2 {
        let began = caller.now;
        caller.now += 100;
        caller.act(Phase::Exit, 0, began + 10, chain(false));
        caller.now += 100;
        caller.act(Phase::Exit, 0, began + 1_150, chain(false));
        let outer = Sample {
            context: Some(CONTEXT),
            index: Some(-1),
            ends: Some(false),
            token: None,
            log_probability: None,
        };
        caller.act(Phase::Exit, 0, began, What::Sample(outer));
    }
    let requests = caller.end();
    assert_eq!(told(&requests[0]).2, 2);
    assert!(!requests[0].approximate);
}

#[test]
fn a_sampler_tells_the_one_around_it_how_likely_its_token_was() {
    let mut caller = Caller::new();
    caller.prompt(0, 3);
    let likely = LogProbability::of(0.5);
    let sample = |context, token, log_probability| Sample {
        context,
        index: context.map(|_| -1),
        ends: Some(false),
        token: Some(token),
        log_probability,
    };
    // The second chain chose another token than its caller, and the third was not within it.
    for (inner, later, expected) in [(7, 10, likely), (8, 10, None), (7, -50, None)] {
        let began = caller.now + 100;
        caller.now = began + 1_000;
        let (inner, outer) = (sample(None, inner, likely), sample(Some(CONTEXT), 7, None));
        let inner_began = began.saturating_add_signed(later);
        caller.act(Phase::Exit, 0, inner_began, What::Sample(inner));
        caller.now += 100;
        caller.act(Phase::Exit, 0, began, What::Sample(outer));
        assert_eq!(caller.generated(), [(7, expected)]);
    }
}

#[test]
fn a_sampler_that_names_no_context_counts_for_the_only_one_with_outputs() {
    let mut caller = Caller::new();
    caller.prompt(0, 3);
    let now = caller.now;
    let chain = Sample {
        context: None,
        index: None,
        ends: Some(true),
        token: None,
        log_probability: None,
    };
    caller.act(Phase::Exit, 0, now, What::Sample(chain));
    let requests = caller.end();
    assert_eq!(told(&requests[0]), (3, 0, 1, EndReason::Eog));
}

#[test]
fn without_a_sampling_probe_the_tokens_fed_back_count() {
    let mut caller = Caller::new();
    caller.prompt(0, 3);
    caller.decode(&[(0, 3)]);
    caller.decode(&[(0, 4)]);
    let requests = caller.end();
    assert_eq!(told(&requests[0]), (3, 0, 3, EndReason::Unknown));
    assert!(requests[0].approximate, "the last token is never fed back");
}

#[test]
fn how_a_step_failed_says_why_the_request_ended() {
    for (result, end) in [
        (1, EndReason::ContextFull),
        (2, EndReason::Aborted),
        (-3, EndReason::Error),
    ] {
        let mut caller = Caller::new();
        caller.prompt(0, 3);
        caller.sample(2, false);
        caller.decode_in(CONTEXT, &[], Some(result));
        caller.remove(0, -1, -1);
        let requests = caller.end();
        assert_eq!(told(&requests[0]), (3, 0, 1, end));
        let steps = caller.steps();
        assert_eq!(steps[1].outcome, Outcome::Returned(result));
    }
}

#[test]
fn a_retry_that_succeeds_forgives_the_failure() {
    let mut caller = Caller::new();
    caller.prompt(0, 3);
    caller.sample(2, false);
    caller.decode_in(CONTEXT, &[], Some(1));
    caller.decode(&[(0, 3)]);
    caller.sample(0, true);
    assert_eq!(told(&caller.end()[0]).3, EndReason::Eog);
}

#[test]
fn a_context_filled_to_its_end_says_so() {
    let mut caller = Caller::new();
    caller.prompt(0, 63);
    caller.sample(62, false);
    caller.generate(63, 1);
    caller.remove(0, -1, -1);
    assert_eq!(told(&caller.end()[0]).3, EndReason::ContextFull);
}

#[test]
fn a_decode_that_turns_into_an_encode_is_one_step() {
    let mut caller = Caller::new();
    let step = |kind, result| What::Step {
        context: Some(CONTEXT),
        memory: None,
        kind: Some(kind),
        result,
        tokens: Some(4),
        inputs: None,
    };
    caller.act(Phase::Entry, 1, 0, step(StepKind::Decode, None));
    caller.act(Phase::Entry, 2, 0, step(StepKind::Encode, None));
    caller.act(Phase::Exit, 2, 0, step(StepKind::Encode, Some(0)));
    caller.act(Phase::Exit, 1, 0, step(StepKind::Decode, Some(0)));
    assert_eq!(caller.steps().len(), 1);
    assert_eq!(caller.steps()[0].tokens, Known::Known(4));
}

#[test]
fn where_the_layout_is_unknown_only_steps_are_certain() {
    let mut caller = Caller::new();
    for _ in 0..3 {
        caller.decode_in(CONTEXT, &[], Some(0));
    }
    caller.sample(-1, true);
    let requests = caller.end();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].steps, requests[0].end), (3, EndReason::Eog));
    assert_eq!(requests[0].prompt_tokens, Known::Unknown);
    assert!(requests[0].approximate);
    assert!(caller.steps().iter().all(|step| step.approximate));
}

#[test]
fn a_missing_part_makes_open_requests_approximate() {
    let mut caller = Caller::new();
    caller.prompt(0, 3);
    caller.decode_in(CONTEXT, &[], Some(0));
    assert!(caller.end()[0].approximate);
}

#[test]
fn a_call_in_flight_at_the_end_is_told_as_not_seen() {
    let mut caller = Caller::new();
    caller.prompt(0, 3);
    caller.sample(2, false);
    caller.decode_in(CONTEXT, &[(0, 3)], None);
    let requests = caller.end();
    assert_eq!(told(&requests[0]), (3, 0, 1, EndReason::Unknown));
    assert_eq!(caller.steps()[1].outcome, Outcome::NotSeen);
}

#[test]
fn warm_up_is_marked() {
    let mut caller = Caller::new();
    let warm_up = |begins| What::WarmUp {
        context: Some(CONTEXT),
        begins,
    };
    caller.act(Phase::Entry, 0, 0, warm_up(true));
    caller.prompt(0, 2);
    caller.change(Change::Clear);
    caller.act(Phase::Entry, 0, 0, warm_up(false));
    caller.prompt(0, 3);
    let requests = caller.end();
    assert_eq!([requests[0].warm_up, requests[1].warm_up], [true, false]);
    let steps = caller.steps();
    assert_eq!([steps[0].warm_up, steps[1].warm_up], [true, false]);
}

#[test]
fn a_first_step_whose_cache_is_emptied_at_once_was_a_warm_up() {
    let mut caller = Caller::new();
    caller.prompt(0, 2);
    caller.change(Change::Clear);
    // Can the cache forget the last token?
    caller.prompt(0, 2);
    caller.remove(0, 1, -1);
    caller.change(Change::Clear);
    caller.prompt(0, 2);
    caller.sample(1, true);
    caller.prompt(0, 2);
    caller.change(Change::Clear);
    let requests = caller.end();
    let marks: Vec<bool> = requests.iter().map(|request| request.warm_up).collect();
    assert_eq!(marks, [true, true, false, false]);
    let marks: Vec<bool> = caller.steps().iter().map(|step| step.warm_up).collect();
    assert_eq!(marks, [true, true, false, false]);
}

#[test]
fn contexts_are_told_apart_by_address_and_cache() {
    let mut caller = Caller::new();
    caller.make_context(0x9000, 0x9900, 2);
    caller.decode_in(0x9000, &[(0, 0), (0, 1)], Some(0));
    caller.prompt(0, 3);
    // Only the first context's cache is emptied.
    caller.change(Change::Clear);
    let closed = caller.requests();
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].context, Known::Known(ContextId(1)));
}

#[test]
fn of_too_many_contexts_the_least_recently_used_is_given_up() {
    let mut caller = Caller::new();
    // Addresses fall, as those of freed and remade contexts may: none of them says how old it is.
    let address = |made: u64| 0x100_0000 - made * 0x1000;
    let most = MOST_CONTEXTS as u64;
    for made in 1..most {
        caller.now += 1_000;
        caller.make_context(address(made), address(made) + 8, made + 1);
    }
    assert_eq!(caller.ledger.given_up, 0);
    // The first, made before all others, is used again, with a request that stays open.
    caller.decode_without_output(&[(0, 0), (0, 1)]);
    caller.decode_in(address(1), &[(0, 0)], Some(0));
    for made in most..most + 3 {
        caller.now += 1_000;
        caller.make_context(address(made), address(made) + 8, made + 1);
    }
    assert_eq!(caller.ledger.given_up, 3);
    let given_up = [2, 3, 4];
    for made in 1..most + 3 {
        let known = caller.inference.knows(address(made));
        assert_eq!(known, !given_up.contains(&made), "context {made}");
    }
    assert!(caller.inference.knows(CONTEXT));
    assert!(caller.requests().is_empty(), "those in use go on");
}

#[test]
fn a_step_of_a_context_that_is_given_up_is_told_as_not_seen_to_end() {
    let mut caller = Caller::new();
    caller.decode(&[(0, 0), (0, 1), (0, 2)]);
    let began = caller.now;
    caller.decode_in(CONTEXT, &[(0, 3)], None);
    for made in 0..MOST_CONTEXTS as u64 {
        caller.now += 1_000;
        caller.make_context(0x100_0000 + made * 0x1000, 1 + made, made + 2);
    }
    assert_eq!(caller.ledger.given_up, 1);
    let steps = caller.steps();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[1].outcome, Outcome::NotSeen);
    let times = caller.ledger.facts.iter().map(|(time, _)| time.0);
    assert!(times.max().is_some_and(|latest| latest > began));
    assert_eq!(caller.requests()[0].end, EndReason::Unknown);
}

#[test]
fn what_nobody_went_on_with_is_closed_in_time() {
    let mut caller = Caller::new();
    caller.prompt(0, 3);
    caller.sample(2, false);
    let later = BootNanos(caller.now + 6_000_000_000);
    caller.inference.tick(later, &mut caller.ledger);
    assert_eq!(told(&caller.requests()[0]).3, EndReason::Stopped);
    assert!(
        caller.requests()[0].duration.0 < 10_000_000,
        "idle time is not the request's"
    );
}

fn any_change() -> impl Strategy<Value = Change> {
    let number = -2..6_i32;
    prop_oneof![
        (number.clone(), number.clone(), number.clone())
            .prop_map(|(sequence, from, to)| Change::Remove { sequence, from, to }),
        number.clone().prop_map(|to| Change::Copy { to }),
        number
            .clone()
            .prop_map(|sequence| Change::Keep { sequence }),
        (number.clone(), number.clone(), proptest::option::of(number)).prop_map(
            |(sequence, from, delta)| Change::Shift {
                sequence,
                from,
                delta
            }
        ),
        Just(Change::Clear),
    ]
}

fn any_inputs() -> impl Strategy<Value = Inputs> {
    let input = (-1..4_i32, any::<i32>(), proptest::option::of(any::<bool>())).prop_map(
        |(sequence, position, output)| Input {
            sequence,
            position,
            token: None,
            output,
        },
    );
    (prop::collection::vec(input, 0..6), any::<bool>())
        .prop_map(|(tokens, exact)| Inputs { tokens, exact })
}

fn any_what() -> impl Strategy<Value = What> {
    let context = proptest::option::of(prop_oneof![Just(CONTEXT), Just(0x9000)]);
    let kind = proptest::option::of(prop_oneof![Just(StepKind::Encode), Just(StepKind::Decode)]);
    prop_oneof![
        3 => (context.clone(), kind, proptest::option::of(-3..3_i64), proptest::option::of(any_inputs()))
            .prop_map(|(context, kind, result, inputs)| What::Step {
                context, memory: None, kind, result, tokens: None, inputs,
            }),
        3 => (context.clone(), proptest::option::of(any_inputs()))
            .prop_map(|(context, inputs)| What::Batch { context, tokens: None, inputs }),
        2 => (any_change(), prop_oneof![
            Just(Target::Context(CONTEXT)), Just(Target::Memory(MEMORY)), Just(Target::Unknown),
        ]).prop_map(|(change, target)| What::Sequence { target, change }),
        1 => (context.clone(), proptest::option::of(0..4_i32))
            .prop_map(|(context, sequence)| What::Restore { context, sequence }),
        2 => (context.clone(), proptest::option::of(any::<i64>()), proptest::option::of(any::<bool>()))
            .prop_map(|(context, index, ends)| What::Sample(Sample {
                context, index, ends, token: None, log_probability: None,
            })),
        1 => (context, any::<bool>()).prop_map(|(context, begins)| What::WarmUp { context, begins }),
    ]
}

proptest! {
    #[test]
    fn any_calls_in_any_order_give_consistent_totals(
        actions in prop::collection::vec(
            (any_what(), 0..3_u32, 0..8_u64, 0..3_u8, any::<u32>()), 0..60,
        ),
    ) {
        let mut caller = Caller::new();
        caller.make_context(0x9000, 0x9900, 2);
        let mut entered = 0_u64;
        for (what, tid, call, phase, time) in actions {
            let phase = [Phase::Entry, Phase::Exit, Phase::Unwound][usize::from(phase)];
            if matches!(what, What::Step { .. }) {
                entered += 1;
            }
            let time = BootNanos(time.into());
            let action = Action { time, began: time, tid, call, phase, what };
            caller.inference.act(&action, &mut caller.ledger);
        }
        let requests = caller.end();
        let mut ids: Vec<_> = requests.iter().map(|request| request.request).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), requests.len(), "each request ends once");
        prop_assert_eq!(ids.len() as u64, caller.ledger.next_request, "each request ends");
        prop_assert!(caller.steps().len() as u64 <= entered);
        for request in &requests {
            if let (Known::Known(prompt), Known::Known(cached)) =
                (request.prompt_tokens, request.cached_tokens)
            {
                prop_assert!(prompt >= cached);
            }
        }
    }
}
