//! Log-probabilities of real llama.cpp runs follow the text, token by token.

use anyhow::{Context, Result, ensure};
use tracer_event::{LogProbability, Recorded, inference::Direction};
use tracer_tests::{
    cache::Cache,
    report::{Event, Line},
    requires_root,
    tracer::{KEEP_CONTENT, Trace},
};

use crate::{
    PLANTED, SCAN_CONTENT, assert_absent,
    llama::{BOTH, run},
    written::Ended,
};

/// Most by which what was told may differ from the truth: llama.cpp computes with 32 bits.
const ROUNDING: f64 = 1e-3;

/// What the tracer tells of the tokens that were generated, each with its log-probability.
fn generated(trace: &Trace, pid: u32) -> Result<Vec<(Option<i32>, Option<LogProbability>)>> {
    let mut all = Vec::new();
    for tokens in trace.tokens(pid) {
        let likely = tokens.log_probabilities.as_ref();
        match (tokens.direction, &tokens.tokens, likely) {
            (Direction::Input, _, None) => {}
            (
                Direction::Output,
                Recorded::Tokens(ids),
                Some(Recorded::LogProbabilities(values)),
            ) => {
                ensure!(ids.len() == values.len(), "{tokens:?}");
                all.extend(ids.iter().copied().zip(values.iter().copied()));
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(all)
}

/// The tokens that were generated, with their log-probabilities where the workload knows them.
fn sampled(lines: &[Line]) -> Vec<(i32, Option<f64>)> {
    let sampled = lines.iter().filter_map(|line| match line.event {
        Event::Sampled {
            token,
            log_probability,
            ..
        } => Some((token, log_probability)),
        _ => None,
    });
    sampled.collect()
}

/// What the model is made to say before it goes on by chance.
fn answer() -> String {
    let [key, _, card, ..] = PLANTED;
    format!("Your API key is {key} and your credit card is {card}, as you know.")
}

fn options(answer: &str) -> [&str; 7] {
    let prompt = "What do you remember?";
    [
        "--by-chance",
        "--n",
        "160",
        "--prompt",
        prompt,
        "--say",
        answer,
    ]
}

#[test]
fn log_probabilities_of_hidden_tokens_are_hidden() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let answer = answer();
    for runtime in BOTH {
        let ended = run(&cache, runtime, SCAN_CONTENT, &options(&answer), &[])?;
        let written = ended.all(None)?;
        let Ended {
            pid, lines, trace, ..
        } = ended;
        trace.assert_nothing_lost()?;
        for value in [PLANTED[0], PLANTED[2]] {
            assert_absent(&written, value, &format!("{runtime:?}"))?;
        }
        let (generated, sampled) = (generated(&trace, pid)?, sampled(&lines));
        assert_eq!(generated.len(), sampled.len(), "{runtime:?}");
        let mut hidden = 0;
        for ((id, told), (token, truth)) in generated.iter().zip(&sampled) {
            ensure!(
                id.is_some() == told.is_some(),
                "{runtime:?}: {id:?} {told:?}"
            );
            let (Some(id), Some(told)) = (id, told) else {
                hidden += 1;
                continue;
            };
            assert_eq!(id, token, "{runtime:?}");
            // What it was made to say was certain.
            let truth = truth.unwrap_or(0.0);
            ensure!(
                (told.value() - truth).abs() < ROUNDING,
                "{runtime:?}: {told:?}, not {truth}"
            );
        }
        // The key and the card, each in several tokens, in two answers.
        assert!(hidden > 40 && hidden < sampled.len() / 2, "{hidden}");
    }
    Ok(())
}

#[test]
fn log_probabilities_are_what_the_model_says_where_text_is_kept() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let answer = answer();
    for runtime in BOTH {
        let Ended {
            pid, lines, trace, ..
        } = run(&cache, runtime, KEEP_CONTENT, &options(&answer), &[])?;
        trace.assert_nothing_lost()?;
        let (generated, sampled) = (generated(&trace, pid)?, sampled(&lines));
        assert_eq!(generated.len(), sampled.len(), "{runtime:?}");
        let by_chance = sampled.iter().filter(|(_, truth)| truth.is_some()).count();
        assert!(by_chance > 20, "{by_chance} of {}", sampled.len());
        for ((id, told), (token, truth)) in generated.iter().zip(&sampled) {
            assert_eq!(*id, Some(*token), "{runtime:?}");
            let told = told.context("every sampler computed one")?.value();
            let truth = truth.unwrap_or(0.0);
            ensure!(
                (told - truth).abs() < ROUNDING,
                "{runtime:?}: {told}, not {truth}"
            );
        }
    }
    Ok(())
}
