//! Where requests begin and end, and how many tokens each had.

use super::*;

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
