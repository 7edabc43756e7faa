//! Which tokens were sampled, for which sequence.

use super::*;

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
