//! What leaves of the content of real llama.cpp runs: under a policy that searches it nothing that was
//! planted, in any form; under one that keeps it exactly what went in and came out. Needs root and
//! BPF.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use tracer_event::{Body, Known, Pid, Recorded, call::CallValue, inference::Direction};
use tracer_pipeline::snapshot::{
    Pieces,
    gguf::{Header, Want},
};
use tracer_tests::{
    cache::Cache,
    model::{self, TINY},
    python,
    report::{Account, Event, Line},
    requires_root,
    tracer::{KEEP_CONTENT, Trace, Tracing},
    workload::{Place, Running, Runtime},
};

const BOTH: [Runtime; 2] = [Runtime::NodeLlamaCpp, Runtime::Xllamacpp];
const SCAN_CONTENT: &str = "[fields]\ntext = \"scan\"\n";

/// Made up for this test, or published test values; nobody issued them.
const PLANTED: [&str; 6] = [
    "sk-proj-4b8Qz91LmXw72KtYc05RdNsVhTb36PfGj",
    "ghp_q7Xk2Vn9Rt4Bs8Lw1Zc6Yd3Fh5Jm0Pu2aEiOg",
    "4111 1111 1111 1111",
    "philippa.ravensworth@mail.example",
    "GB82 WEST 1234 5698 7654 32",
    "hunter2-Quokka-77",
];

fn prompt() -> String {
    let [key, token, card, mail, account, password] = PLANTED;
    format!(
        "Please remember these for me. The API key is {key} and the other one is {token}. My credit \
         card is {card}, write to {mail}, my IBAN is {account} and my password is {password} as you \
         know. Tell me a story about the sea."
    )
}

/// Runs a generation whose prompt goes in a few tokens at a time, traced.
fn run(
    cache: &Cache,
    runtime: Runtime,
    policy: &str,
    prompt: &str,
    outputs: &[&str],
) -> Result<(u32, Vec<Line>, Trace, Vec<u8>)> {
    let steps = [
        "--n",
        "12",
        "--n-batch",
        "5",
        "--n-ubatch",
        "5",
        "--prompt",
        prompt,
        "wait",
        "load",
        "context",
        "generate",
        "reuse",
        "free",
        "unload",
        "wait=end",
    ];
    let mut command = runtime.command(cache, TINY, &steps)?;
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
    running.go()?;
    let lines = running.finish()?;
    // Its folder goes with it, so that is read in between.
    tracing.signal_end()?;
    tracing.until_ended()?;
    let mut files = Vec::new();
    gather(tracing.folder(), &mut files)?;
    let trace = tracing.finish()?;
    Ok((pid, lines, trace, files))
}

/// The contents of every file below a folder but the copy of `/etc` and the policy, one after the
/// other.
fn gather(folder: &Path, all: &mut Vec<u8>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.file_name() != "etc" {
            gather(&entry.path(), all)?;
        } else if kind.is_file() {
            all.extend(fs::read(entry.path())?);
            all.push(b'\n');
        }
    }
    Ok(())
}

fn pieces(cache: &Cache) -> Result<Pieces> {
    let file = fs::File::open(model::model(cache, TINY)?)?;
    let header = Header::read(std::io::BufReader::new(file), Want::Pieces)?;
    let pieces = header.pieces.context("the model's vocabulary is known")?;
    Ok((*pieces).clone())
}

/// The ways in which a value could stand in an output: as it is, without its blanks, in JSON's,
/// URLs' and base64's forms (each of the three alignments) and in hexadecimal digits.
fn forms(value: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    let bytes = value.as_bytes();
    forms.insert(bytes.to_vec());
    forms.insert(value.replace(' ', "").into_bytes());
    forms.insert(value.to_uppercase().into_bytes());
    forms.insert(bytes.iter().rev().copied().collect());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.insert(hex.to_uppercase().into_bytes());
    forms.insert(hex.into_bytes());
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    forms.insert(percent.into_bytes());
    let reserved: String = bytes
        .iter()
        .map(
            |byte| match byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                true => char::from(*byte).to_string(),
                false => format!("%{byte:02X}"),
            },
        )
        .collect();
    forms.insert(reserved.into_bytes());
    let numbers: Vec<String> = bytes.iter().map(ToString::to_string).collect();
    forms.insert(numbers.join(",").into_bytes());
    forms.insert(numbers.join(", ").into_bytes());
    for before in 0..3 {
        let mut padded = vec![b'x'; before];
        padded.extend_from_slice(bytes);
        let whole = base64(&padded[..padded.len() / 3 * 3]);
        // What depends on neighbours is left out.
        let first = (before * 8).div_ceil(6);
        forms.insert(whole.as_bytes()[first..whole.len()].to_vec());
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks_exact(3) {
        let number = three
            .iter()
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        for shift in [18, 12, 6, 0] {
            text.push(char::from(DIGITS[number >> shift & 63]));
        }
    }
    text
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
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
    let [json, pretty] = ["all.json", "all.txt"].map(|name| others.path().join(name));
    for runtime in BOTH {
        let json_output = format!("json:{}", json.display());
        let pretty_output = format!("pretty:{}", pretty.display());
        let outputs = ["-o", &json_output, "-o", &pretty_output];
        let (pid, lines, trace, mut written) =
            run(&cache, runtime, SCAN_CONTENT, &prompt(), &outputs)?;
        trace.assert_nothing_lost()?;
        gather(others.path(), &mut written)?;
        for line in &trace.events {
            written.extend(serde_json::to_vec(line)?);
            written.push(b'\n');
        }
        written.extend(trace.stderr.as_bytes());
        written.extend(fs::read("/var/log/tracer/captures.log").unwrap_or_default());
        let spelled = spelled(&trace, pid, &pieces);
        for value in PLANTED {
            for form in forms(value) {
                let shown = String::from_utf8_lossy(&form).into_owned();
                ensure!(
                    !holds(&written, &form),
                    "{runtime:?}: {value} was written as {shown}"
                );
                ensure!(
                    !holds(&spelled, &form),
                    "{runtime:?}: token ids spell {value} as {shown}"
                );
            }
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
        let (pid, lines, trace, _) = run(&cache, runtime, KEEP_CONTENT, prompt, &[])?;
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
    running.go()?;
    running.finish()?;
    tracing.signal_end()?;
    tracing.until_ended()?;
    let mut written = fs::read(&pretty)?;
    gather(tracing.folder(), &mut written)?;
    let trace = tracing.finish()?;
    // What is cut and what is withheld is counted as lost.
    if policy == KEEP_CONTENT {
        trace.assert_nothing_lost()?;
    }
    written.extend(trace.stderr.as_bytes());
    written.extend(fs::read("/var/log/tracer/captures.log").unwrap_or_default());
    let (mut texts, mut ids) = (Vec::new(), Vec::new());
    for line in trace.events {
        written.extend(serde_json::to_vec(&line)?);
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
        for form in forms(value) {
            let shown = String::from_utf8_lossy(&form).into_owned();
            ensure!(!holds(&written, &form), "{value} was written as {shown}");
        }
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
