//! Steps that fail or are missing, and contexts that come and go.

use super::*;

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
        let known = caller.inference.context(address(made)).is_some();
        assert_eq!(known, !given_up.contains(&made), "context {made}");
    }
    assert!(caller.inference.context(CONTEXT).is_some());
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
