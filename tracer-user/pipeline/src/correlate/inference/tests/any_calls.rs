//! Any calls in any order: every request ends once.

use proptest::prelude::*;

use super::*;

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
