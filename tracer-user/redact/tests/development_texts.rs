//! What holds for every text of the development data, where it lies beside the checkout.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;
use tracer_redact::{
    CaptureLevel, Content, Engine, Field, Part, Passage, Policy, Raw, RunKey, Token, Way,
    detect::{Certainty, Detectors, Limits},
};

/// The texts, in the order of the files; none if the data is not there.
fn texts() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/redaction");
    let Ok(entries) = fs::read_dir(&folder) else {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        println!("skipped {test}: {} is not there", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "gz"))
        .collect();
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let output = Command::new("gzip")
            .arg("-dc")
            .arg(&file)
            .output()
            .expect("gzip can be run");
        assert!(output.status.success(), "{}", file.display());
        for line in String::from_utf8(output.stdout)
            .expect("the data is UTF-8")
            .lines()
        {
            let document: Value = serde_json::from_str(line).expect("each line is JSON");
            texts.push(document["text"].as_str().unwrap_or_default().to_owned());
        }
    }
    texts
}

fn engine(policy: &str) -> Engine {
    let policy = Policy::parse(policy).expect("it is a policy");
    Engine::new(policy, CaptureLevel::Text, RunKey::new([5; 32])).expect("its rules can be used")
}

fn whole(engine: &Engine, text: &str) -> Vec<u8> {
    let redacted = engine.redact(Field::Text, Raw::new(Content::text(text)));
    bytes(redacted.value().ok())
}

fn bytes(content: Option<&Content>) -> Vec<u8> {
    match content {
        Some(Content::Text(bytes)) => bytes.clone(),
        _ => panic!("text is shown as text"),
    }
}

/// The text cut into tokens of lengths that look random.
fn streamed(engine: &Engine, text: &[u8], seed: usize) -> Vec<u8> {
    let mut state = seed;
    let lengths = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) % 9
    });
    cut(engine, text, lengths)
}

/// The text as tokens of these lengths.
fn cut(engine: &Engine, text: &[u8], lengths: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut passage = Passage::new();
    let mut rest = text;
    let mut position = 0;
    let mut parts: Vec<Part> = Vec::new();
    for length in lengths {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        let token = Token {
            id: position,
            bytes: Some(piece),
            position: Some(position),
            log_probability: None,
        };
        passage.push(Way::Input, token, engine);
        parts.extend(passage.parts());
        (rest, position) = (after, position + 1);
    }
    parts.extend(passage.finish(engine));
    let texts = parts.iter().filter(|part| part.input.has_text);
    texts
        .flat_map(|part| bytes(part.input.text.value().ok()))
        .collect()
}

#[test]
fn any_partition_gives_what_the_whole_gives() {
    let engine = engine("[fields]\ntext = \"scan\"");
    for (seed, text) in texts().iter().enumerate() {
        assert!(
            streamed(&engine, text.as_bytes(), seed) == whole(&engine, text),
            "text {seed} is cut differently"
        );
    }
}

/// Every cut in two, every byte alone, and eight cuts in many parts that look random: of all texts
/// under `TRACER_FULL=1`, of every 64th otherwise.
#[test]
fn every_partition_gives_what_the_whole_gives() {
    let engine = engine("[fields]\ntext = \"scan\"");
    let step = step(64);
    let mut partitions = 0_u64;
    for (number, text) in texts().iter().enumerate().step_by(step) {
        let (text, expected) = (text.as_bytes(), whole(&engine, text));
        let in_two = (1..text.len()).map(|first| vec![first, usize::MAX]);
        for lengths in in_two.chain([vec![1; text.len()]]) {
            partitions += 1;
            let output = cut(&engine, text, lengths.iter().copied());
            assert!(output == expected, "text {number} cut as {lengths:?}");
        }
        for seed in 0..8 {
            partitions += 1;
            let output = streamed(&engine, text, number * 8 + seed);
            assert!(output == expected, "text {number}, seed {seed}");
        }
    }
    println!("{partitions} partitions");
}

/// Every text under `TRACER_FULL=1`, one in so many otherwise.
fn step(otherwise: usize) -> usize {
    match std::env::var_os("TRACER_FULL") {
        Some(_) => 1,
        None => otherwise,
    }
}

/// Checks that no form of what was found in a text by its own form is in the output.
fn assert_hides(detectors: &Detectors, number: usize, text: &str, output: &[u8]) {
    let found = detectors.scan(text.as_bytes(), &Limits::default());
    for finding in found.expect("the text is short") {
        let value = &text.as_bytes()[finding.range.clone()];
        if finding.certainty == Certainty::Context || value.len() < 12 {
            continue;
        }
        for form in forms(value) {
            let is_there = output.windows(form.len()).any(|window| window == form);
            assert!(!is_there, "text {number}, bytes {:?}", finding.range);
        }
    }
}

#[test]
fn no_output_holds_what_was_found_by_its_form() {
    let engine = engine("[fields]\ntext = \"scan\"");
    let detectors = Detectors::builtin();
    for (number, text) in texts().iter().enumerate() {
        let output = whole(&engine, text);
        assert_hides(&detectors, number, text, &output);
    }
}

/// A value as it is, in hexadecimal of either case, base64, percent signs, escapes, entities, spaced or in
/// wide characters: what a search of an output for it would try.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let each = |form: &dyn Fn(u8) -> String| -> Vec<u8> {
        value
            .iter()
            .flat_map(|byte| form(*byte).into_bytes())
            .collect()
    };
    Vec::from([
        value.to_vec(),
        each(&|byte| format!("{byte:02x}")),
        each(&|byte| format!("{byte:02X}")),
        each(&|byte| format!("%{byte:02x}")),
        each(&|byte| format!("%{byte:02X}")),
        each(&|byte| format!("\\u{byte:04x}")),
        each(&|byte| format!("&#{byte};")),
        each(&|byte| format!("{} ", char::from(byte))),
        each(&|byte| match byte {
            0x21..=0x7E => char::from_u32(0xFEE0 + u32::from(byte))
                .unwrap_or(' ')
                .to_string(),
            _ => char::from(byte).to_string(),
        }),
        base64(value),
    ])
}

/// Without the last group, which depends on what follows.
fn base64(value: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = value.chunks_exact(3).flat_map(|three| {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize])
    });
    groups.collect()
}

/// All texts under `TRACER_FULL=1`, every sixteenth otherwise.
#[test]
fn no_output_of_a_cut_text_holds_what_was_found_in_any_form() {
    let engine = engine("[fields]\ntext = \"scan\"");
    let detectors = Detectors::builtin();
    let step = step(16);
    for (number, text) in texts().iter().enumerate().step_by(step) {
        let output = streamed(&engine, text.as_bytes(), number + 3);
        assert_hides(&detectors, number, text, &output);
    }
}

#[test]
fn json_stays_json() {
    let engine = engine("[fields]\ntext = \"scan\"");
    let lexical = self::engine("[fields]\ntext = { action = \"scan\", mode = \"lexical\" }");
    for (number, text) in texts().iter().enumerate() {
        let quoted = Value::from(text.as_str()).to_string();
        let object =
            format!("{{\"messages\": [{{\"role\": \"user\", \"content\": {quoted}, \"n\": 1}}]}}");
        for json in [text.clone(), quoted, object] {
            if serde_json::from_str::<Value>(&json).is_ok() {
                for engine in [&engine, &lexical] {
                    let output = whole(engine, &json);
                    let is_json = serde_json::from_slice::<Value>(&output).is_ok();
                    assert!(is_json, "text {number}");
                }
            }
        }
    }
}
