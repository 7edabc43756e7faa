//! Real llama.cpp runs.

use std::fs;

use anyhow::{Context, Result, ensure};
use tracer_event::{Body, Known, Pid, Recorded, inference::Direction};
use tracer_pipeline::snapshot::{
    Pieces,
    gguf::{Header, Want},
};
use tracer_tests::{
    cache::Cache,
    model::{self, TINY},
    report::{Account, Event},
    requires_root,
    tracer::{KEEP_CONTENT, Trace, Tracing},
    workload::{Place, Running, Runtime},
};

use crate::{PLANTED, SCAN_CONTENT, assert_absent, holds, prompt, written::Ended};

pub(crate) const BOTH: [Runtime; 2] = [Runtime::NodeLlamaCpp, Runtime::Xllamacpp];

/// Runs a generation whose prompt goes in a few tokens at a time, traced.
pub(crate) fn run(
    cache: &Cache,
    runtime: Runtime,
    policy: &str,
    options: &[&str],
    outputs: &[&str],
) -> Result<Ended> {
    let batches = ["--n-batch", "5", "--n-ubatch", "5"];
    let steps = "wait load context generate reuse free unload wait=end";
    let arguments: Vec<&str> = batches
        .into_iter()
        .chain(options.iter().copied())
        .chain(steps.split(' '))
        .collect();
    let mut command = runtime.command(cache, TINY, &arguments)?;
    // A variable that no profile lists, and one more way in which a secret comes along.
    command.env("HF_TOKEN", PLANTED[1]);
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let mut tracing = Tracing::content("text", policy, outputs)?;
    tracing.until_attached(running.pid())?;
    running.go()?;
    running.until_waiting()?;
    // The vocabulary is read from the process's own files, so it stays until that is done.
    let pid = running.pid();
    tracing.until(|line| {
        line.place.pid == Some(Pid(pid)) && matches!(line.body, Body::ModelFreed(_))
    })?;
    Ended::of(running, tracing)
}

fn pieces(cache: &Cache) -> Result<Pieces> {
    let file = fs::File::open(model::model(cache, TINY)?)?;
    let header = Header::read(std::io::BufReader::new(file), Want::Pieces)?;
    let pieces = header.pieces.context("the model's vocabulary is known")?;
    Ok((*pieces).clone())
}

/// Whatever the tokens that are shown spell, in each direction, a hidden one as a gap.
fn spelled(trace: &Trace, pid: u32, pieces: &Pieces) -> Vec<u8> {
    let mut text = Vec::new();
    for direction in [Direction::Input, Direction::Output] {
        for tokens in trace
            .tokens(pid)
            .iter()
            .filter(|tokens| tokens.direction == direction)
        {
            if let Recorded::Tokens(ids) = &tokens.tokens {
                for id in ids {
                    match id.and_then(|id| pieces.get(id)) {
                        Some(piece) => text.extend_from_slice(piece),
                        None => text.push(0),
                    }
                }
            }
        }
    }
    text
}

#[test]
fn nothing_that_was_planted_in_a_prompt_is_anywhere_in_what_the_tracer_wrote() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let pieces = pieces(&cache)?;
    let others = tempfile::tempdir()?;
    let prompt = prompt();
    let options = ["--n", "12", "--prompt", &prompt];
    let [json, pretty] = ["all.json", "all.txt"].map(|name| others.path().join(name));
    for runtime in BOTH {
        let json_output = format!("json:{}", json.display());
        let pretty_output = format!("pretty:{}", pretty.display());
        let outputs = ["-o", &json_output, "-o", &pretty_output];
        let ended = run(&cache, runtime, SCAN_CONTENT, &options, &outputs)?;
        let written = ended.all(Some(others.path()))?;
        let Ended {
            pid, lines, trace, ..
        } = ended;
        trace.assert_nothing_lost()?;
        let spelled = spelled(&trace, pid, &pieces);
        for value in PLANTED {
            assert_absent(&written, value, &format!("{runtime:?}"))?;
            assert_absent(&spelled, value, &format!("{runtime:?}, spelled by ids"))?;
            // Not by halves either, where a half says something.
            if value.len() > 24 {
                let (begin, end) = value.split_at(value.len() / 2);
                for half in [begin, end] {
                    ensure!(
                        !holds(&written, half.as_bytes()),
                        "{runtime:?}: {half} was written"
                    );
                    ensure!(
                        !holds(&spelled, half.as_bytes()),
                        "{runtime:?}: ids spell {half}"
                    );
                }
            }
        }
        // The rest of the text is there, so that the search above says something.
        let input = trace.text(pid, Direction::Input)?;
        for kept in [
            "Please remember these for me.",
            "Tell me a story about the sea.",
        ] {
            ensure!(input.contains(kept), "{runtime:?}: {input}");
        }
        let fed = Account::of(&lines)?.calls;
        let fed: usize = fed
            .iter()
            .filter_map(|call| Some(call.tokens.as_ref()?.len()))
            .sum();
        let ids = trace.tokens(pid).into_iter();
        let ids = ids.filter(|tokens| tokens.direction == Direction::Input);
        let told: Vec<Option<i32>> = ids
            .flat_map(|tokens| match &tokens.tokens {
                Recorded::Tokens(ids) => ids.clone(),
                other => panic!("ids are withheld: {other:?}"),
            })
            .collect();
        assert_eq!(told.len(), fed, "{runtime:?}");
        let hidden = told.iter().filter(|id| id.is_none()).count();
        assert!(
            hidden > PLANTED.len() * 4 && hidden < fed * 3 / 4,
            "{hidden} of {fed}"
        );
        let redacted = &trace.summary()?.redacted;
        assert!(!redacted.is_empty(), "{redacted:?}");
        assert!(trace.stderr.contains("redacted: "), "{}", trace.stderr);
    }
    Ok(())
}

#[test]
fn text_that_a_policy_keeps_is_exactly_what_went_in_and_came_out() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let pieces = pieces(&cache)?;
    for runtime in BOTH {
        let prompt = "Once upon a time, Grüße aus Köln: 你好 \u{1f980}";
        let options = ["--n", "12", "--prompt", prompt];
        let Ended {
            pid, lines, trace, ..
        } = run(&cache, runtime, KEEP_CONTENT, &options, &[])?;
        trace.assert_nothing_lost()?;
        let mut expected = [Vec::new(), Vec::new()];
        let mut is_prompt = true;
        for line in &lines {
            match &line.event {
                Event::Tokenize { .. } => is_prompt = true,
                Event::DecodeBegin {
                    tokens: Some(tokens),
                    ..
                } if is_prompt => {
                    for token in tokens {
                        expected[0].extend(pieces.get(*token).context("it is a token")?);
                    }
                }
                Event::Sampled { piece_hex, .. } => {
                    is_prompt = false;
                    for digits in piece_hex.as_bytes().chunks_exact(2) {
                        let digits = std::str::from_utf8(digits)?;
                        expected[1].push(u8::from_str_radix(digits, 16)?);
                    }
                }
                _ => {}
            }
        }
        let [input, output] = expected.map(|text| String::from_utf8_lossy(&text).into_owned());
        // This model's tokenizer adds a mark of the beginning and a blank.
        assert!(input.starts_with(&format!("<s> {prompt}")), "{input}");
        assert_eq!(trace.text(pid, Direction::Input)?, input, "{runtime:?}");
        assert_eq!(trace.text(pid, Direction::Output)?, output, "{runtime:?}");
        for text in trace.texts(pid) {
            assert!(
                !text.incomplete && text.request != Known::Unknown,
                "{text:?}"
            );
        }
    }
    Ok(())
}
