//! Real runs of ONNX Runtime behind Hugging Face's tokenizers.

use std::fs;

use anyhow::{Result, ensure};
use tracer_event::{Body, LossReason, Recorded, call::CallValue};
use tracer_tests::{
    cache::Cache,
    python, requires_root,
    tracer::{KEEP_CONTENT, Tracing},
    workload::{Place, Running},
};

use crate::{PLANTED, SCAN_CONTENT, assert_absent, holds, prompt, written::Ended};

/// What is asked of Hugging Face's tokenizers and ONNX Runtime: the text that goes in, and the ids that
/// it becomes. The offsets hold for the pinned packages.
const PROFILES: [(&str, &str); 2] = [
    (
        "tokenizers",
        r#"
name = "tokenizers"
runtime = "tokenizers"
recognise = ["PyInit_tokenizers"]
[[probe]]
name = "normalize"
signal = "call"
group = "text"
rate = 100
symbols = ["_RINvMs2_*15AddedVocabulary21extract_and_normalizeNtNt*11normalizers12PyNormalizer*"]
fields = { text = "bytes rcx count r8 limit 1024" }
"#,
    ),
    (
        "onnxruntime",
        r#"
name = "onnxruntime"
runtime = "onnxruntime"
recognise = ["PyInit_onnxruntime_pybind11_state"]
[functions]
"InferenceSession::Run" = { string = "Running with tag: " }
[[probe]]
name = "run"
signal = "call"
group = "inference"
rate = 500
emit = "entry"
symbols = ["InferenceSession::Run"]
fields = { token_ids = "i64 array [[[frame + 8] + 0] + 0] count [[[[frame + 8] + 0] + 32] + 0] limit 64" }
"#,
    ),
];

/// The texts and ids of calls, as one policy shows them, and everything that was written.
fn answers(policy: &str, prompts: &[&str]) -> Result<(Vec<Recorded>, Vec<Recorded>, Vec<u8>)> {
    let cache = Cache::open()?;
    let folder = tempfile::tempdir()?;
    let mut running = Running::start(python::prompts(&cache, prompts)?, Place::Host)?;
    running.until_waiting()?;
    let mut arguments = Vec::new();
    for (name, profile) in PROFILES {
        let file = folder.path().join(name).with_extension("toml");
        fs::write(&file, profile)?;
        arguments.extend(["--profile".to_owned(), file.display().to_string()]);
    }
    let pretty = folder.path().join("all.txt");
    arguments.extend(["-o".to_owned(), format!("pretty:{}", pretty.display())]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut tracing = Tracing::content("text", policy, &arguments)?;
    let pid = running.pid();
    tracing.until_attached(pid)?;
    running.go()?;
    running.until_waiting()?;
    let ended = Ended::of(running, tracing)?;
    let written = ended.all(Some(folder.path()))?;
    let trace = ended.trace;
    // What is cut and what is withheld is counted as lost.
    if policy == KEEP_CONTENT {
        trace.assert_nothing_lost()?;
    } else {
        // The ids of each call cannot be searched: withheld, counted, and the calls after them go on.
        let unsearched = trace
            .summary()?
            .losses
            .get(&LossReason::Unsearched)
            .copied();
        let expected = u64::try_from(prompts.len())?;
        ensure!(unsearched == Some(expected), "{unsearched:?} of {expected}");
    }
    let (mut texts, mut ids) = (Vec::new(), Vec::new());
    for line in trace.events {
        let Body::Called(called) = line.body else {
            continue;
        };
        for value in called.values.into_values() {
            match value {
                CallValue::Text(text) => texts.push(text),
                CallValue::Ids(numbers) => ids.push(numbers),
                _ => {}
            }
        }
    }
    Ok((texts, ids, written))
}

#[test]
fn onnx_runtime_shows_its_prompts_without_what_was_planted() -> Result<()> {
    requires_root!();
    let prompt = prompt();
    // What is cut off at 1,024 bytes is cut within a key.
    let filler = "A sailor told of the sea. ".repeat(39);
    let long = format!("{} {} is the key.", &filler[..1003], PLANTED[0]);
    let prompts = [prompt.as_str(), &long];
    let (texts, ids, written) = answers(SCAN_CONTENT, &prompts)?;
    for value in PLANTED {
        assert_absent(&written, value, "the tracer")?;
    }
    ensure!(
        !holds(&written, b"sk-proj-"),
        "a key's beginning was written"
    );
    let [Recorded::Text(first), Recorded::Text(second)] = texts.as_slice() else {
        panic!("two texts are shown: {texts:?}");
    };
    assert!(
        first.starts_with("Please remember these for me."),
        "{first}"
    );
    assert!(first.ends_with("Tell me a story about the sea."), "{first}");
    assert!(
        first.contains("[AI_KEY]") && first.contains("[CARD]"),
        "{first}"
    );
    assert!(second.starts_with("A sailor told of the sea."), "{second}");
    assert!(second.contains("[GAP]"), "{second}");
    // The text that these ids stand for is not known to be that of the call before.
    assert_eq!(ids.len(), 2);
    for ids in ids {
        let withheld = matches!(&ids, Recorded::Withheld { redacted } if redacted == "unreadable");
        assert!(withheld, "{ids:?}");
    }
    Ok(())
}

#[test]
fn onnx_runtime_shows_prompts_and_ids_as_they_are_where_a_policy_keeps_them() -> Result<()> {
    requires_root!();
    let prompt = "Once upon a time, Grüße aus Köln: 你好";
    let (texts, ids, _) = answers(KEEP_CONTENT, &[prompt])?;
    assert_eq!(texts, [Recorded::Text(prompt.to_owned())]);
    // Eight words, numbered in the order of their bytes.
    let words: Vec<&str> = prompt.split(' ').collect();
    let mut sorted = words.clone();
    sorted.sort_unstable();
    let number = |word: &&str| sorted.iter().position(|other| other == word);
    let expected: Vec<Option<i32>> = words
        .iter()
        .map(|word| number(word).and_then(|place| i32::try_from(place).ok()))
        .collect();
    assert_eq!(ids, [Recorded::Tokens(expected)]);
    Ok(())
}
