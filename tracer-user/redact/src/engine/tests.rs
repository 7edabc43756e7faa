use std::{sync::LazyLock, time::Duration};

use proptest::prelude::*;
use static_assertions::{assert_impl_all, assert_not_impl_any};

use super::*;

assert_not_impl_any!(Content: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
assert_not_impl_any!(Raw<Content>: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
assert_not_impl_any!(Raw<String>: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
assert_not_impl_any!(Redacted<Content>: Default, From<Content>, From<Raw<Content>>,
    serde::Deserialize<'static>, std::ops::DerefMut);
assert_impl_all!(Redacted<Content>: serde::Serialize);

/// A value of the form of a model provider's key; nobody issued it.
const SECRET: &str = "sk-proj-4b8Qz91LmXw72KtYc05RdNs";

const FIELDS: [Field<'static>; 10] = [
    Field::Path,
    Field::Executable,
    Field::Arguments,
    Field::Environment { name: "NOTE" },
    Field::ModelName,
    Field::Symbol,
    Field::ErrorText,
    Field::Diagnostic,
    Field::TokenIds,
    Field::Text,
];

fn engine(policy: &str, level: CaptureLevel) -> Engine {
    let policy = Policy::parse(policy).unwrap();
    Engine::new(policy, level, RunKey::new([3; 32])).unwrap()
}

fn json(engine: &Engine, field: Field<'_>, content: Content) -> String {
    serde_json::to_string(&engine.redact(field, Raw::new(content))).unwrap()
}

#[test]
fn by_default_secrets_are_masked_where_text_leaves_and_content_does_not_leave() {
    let engine = engine("", CaptureLevel::Text);
    for field in FIELDS {
        let output = json(&engine, field, Content::text(format!("key {SECRET} end")));
        let expected = match field {
            Field::Arguments | Field::Environment { .. } | Field::ErrorText => {
                r#""key [AI_KEY] end""#.to_owned()
            }
            Field::TokenIds | Field::Text => r#"{"redacted":"drop"}"#.to_owned(),
            _ => format!("\"key {SECRET} end\""),
        };
        assert_eq!(output, expected, "{field:?}");
    }
    assert_eq!(engine.tally().replaced["AI_KEY"], 3);
}

#[test]
fn paths_are_kept_in_errors_and_masked_in_content() {
    let text = || Content::text("cannot open /home/ann/m.gguf on db-1.corp.example.com");
    let shown = |policy: &str, field| json(&engine(policy, CaptureLevel::Text), field, text());
    let content = "[fields]\ntext = \"scan\"";
    let kept = r#""cannot open /home/ann/m.gguf on [HOST]""#;
    let masked = r#""cannot open [PATH] on [HOST]""#;
    assert_eq!(shown("", Field::ErrorText), kept);
    assert_eq!(shown(content, Field::ErrorText), kept);
    assert_eq!(shown(content, Field::Text), masked);
    assert_eq!(
        shown("[actions]\npath = \"mask\"", Field::ErrorText),
        masked
    );
    assert_eq!(shown("[fields]\npath = \"mask\"", Field::ErrorText), masked);
}

#[test]
fn a_search_that_takes_too_long_takes_its_text_with_it_and_is_counted() {
    let policy = "[fields]\ntext = \"scan\"";
    let slow = engine(policy, CaptureLevel::Text).with_time_limit(Duration::ZERO);
    let output = json(&slow, Field::Text, Content::text("a%20plain text"));
    assert_eq!(output, r#"{"redacted":"failed"}"#);
    assert_eq!(slow.tally().failed, 1);
    let next = json(&slow, Field::Executable, Content::text("/bin/x"));
    assert_eq!(next, "\"/bin/x\"", "what needs no search goes on");
}

#[test]
fn a_panic_within_a_search_takes_its_text_with_it_is_counted_and_the_next_text_is_searched() {
    let engine = engine("[fields]\ntext = \"scan\"", CaptureLevel::Text);
    let mut window = Window::new(engine.sizes);
    let text = format!("key {SECRET} end");
    window.take(text.as_bytes());
    // The search of the window's text, which stops in its midst, at the first finding.
    let fails = |text: Undecided<'_>| {
        engine.guarded(|| {
            let found = engine
                .detectors
                .scan_for(text.bytes, &Limits::default(), &|_| panic!("{SECRET}"));
            found.map(|_| Vec::new()).map_err(|_| Withheld::Drop)
        })
    };
    let decided = window.decide(true, fails);
    assert_eq!(decided.withheld, Some(Withheld::Failed));
    assert_eq!(engine.tally().failed, 1);
    assert!(engine.tally().replaced.is_empty());
    let next = json(&engine, Field::Text, Content::text(text));
    assert_eq!(next, r#""key [AI_KEY] end""#);
    assert_eq!(engine.tally().failed, 1);
}

#[test]
fn content_needs_its_level_whatever_the_policy_says() {
    let policy = "[fields]\ntext = \"keep\"";
    let level = r#"{"redacted":"level"}"#;
    let ids = || Content::tokens([1, 15043, -1]);
    let shape = engine(policy, CaptureLevel::Shape);
    assert_eq!(json(&shape, Field::TokenIds, ids()), level);
    let tokens = engine(policy, CaptureLevel::Tokens);
    assert_eq!(json(&tokens, Field::TokenIds, ids()), "[1,15043,-1]");
    assert_eq!(json(&tokens, Field::Text, Content::text("a")), level);
    let text = engine(policy, CaptureLevel::Text);
    assert_eq!(json(&text, Field::Text, Content::text("a")), "\"a\"");
}

#[test]
fn token_ids_without_their_text_are_withheld_where_text_is_searched() {
    let engine = engine("[fields]\ntext = \"scan\"", CaptureLevel::Text);
    let output = json(&engine, Field::TokenIds, Content::tokens([1]));
    assert_eq!(output, r#"{"redacted":"unreadable"}"#);
    assert_eq!(engine.tally().failed, 1);
}

#[test]
fn switches_that_a_profile_lists_leave_as_they_are() {
    let engine = engine("", CaptureLevel::Shape).with_switches(["OMP_NUM_THREADS".to_owned()]);
    let value = |name| json(&engine, Field::Environment { name }, Content::text("2"));
    assert_eq!(value("OMP_NUM_THREADS"), r#""2""#);
    assert_eq!(value("API_KEY"), r#""[SECRET]""#);
}

#[test]
fn a_secret_in_a_switch_is_hidden() {
    let engine = engine("", CaptureLevel::Shape).with_switches(["HF_TOKEN_CACHE".to_owned()]);
    let value = |text: &str| {
        let name = "HF_TOKEN_CACHE";
        json(&engine, Field::Environment { name }, Content::text(text))
    };
    assert_eq!(value("on"), r#""on""#);
    assert_eq!(value("sk-proj-4b8Qz91LmXw72KtYc05RdNs"), r#""[AI_KEY]""#);
}

#[test]
fn an_argument_is_read_with_the_option_before_it() {
    let engine = engine("", CaptureLevel::Shape);
    let shown = |texts: &[&str]| {
        let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        json(&engine, Field::Arguments, Content::Texts(texts))
    };
    assert_eq!(
        shown(&[
            "serve",
            "--api-key",
            "hunter2",
            "--port",
            "8080",
            "--hf-token=abc",
            "-v"
        ]),
        r#"["serve","--api-key","[SECRET]","--port","8080","--hf-token=[SECRET]","-v"]"#
    );
    assert_eq!(
        shown(&["--api-key", "--verbose", "x"]),
        r#"["--api-key","--verbose","x"]"#
    );
    assert_eq!(shown(&[&format!("-x={SECRET}")]), r#"["-x=[AI_KEY]"]"#);
    // A prompt is content, wherever it stands.
    assert_eq!(
        shown(&["-p", "xylophone quartz", "--prompt=-x", "-n", "8"]),
        r#"["-p","[TEXT]","--prompt=[TEXT]","-n","8"]"#
    );
    assert_eq!(
        shown(&[
            "run",
            "/m/a b.gguf",
            "what is xylophone",
            "--note=my own words",
            "-s=a b"
        ]),
        r#"["run","/m/a b.gguf","[TEXT]","--note=[TEXT]","-s=[TEXT]"]"#
    );
    assert_eq!(
        shown(&["--token", "-Xk3vQ9pLw"]),
        r#"["--token","[SECRET]"]"#
    );
}

#[test]
fn a_field_can_be_replaced_as_a_whole() {
    for (action, start) in [
        ("\"mask\"", "\"[PATH]\""),
        ("\"hash\"", "\"[PATH:"),
        ("\"pseudonym\"", "\"[PATH#"),
        ("{ action = \"partial\", keep_last = 4 }", "\"[PATH]gguf\""),
    ] {
        let engine = engine(&format!("[fields]\npath = {action}"), CaptureLevel::Shape);
        let output = json(&engine, Field::Path, Content::text("/home/ann/a.gguf"));
        assert!(
            output.starts_with(start) && !output.contains("ann"),
            "{output}"
        );
    }
}

#[test]
fn a_finding_that_the_policy_drops_takes_its_text_with_it() {
    let engine = engine("[actions]\nai_key = \"drop\"", CaptureLevel::Shape);
    let output = json(
        &engine,
        Field::ErrorText,
        Content::text(format!("a {SECRET}")),
    );
    assert_eq!(output, r#"{"redacted":"drop"}"#);
}

#[test]
fn a_value_too_long_to_search_is_withheld_and_counted() {
    let engine = engine("", CaptureLevel::Shape);
    let output = json(
        &engine,
        Field::ErrorText,
        Content::text(vec![b' '; LONGEST + 1]),
    );
    assert_eq!(output, r#"{"redacted":"failed"}"#);
    assert_eq!(engine.tally().failed, 1);
}

#[test]
fn a_secret_is_found_wherever_a_window_of_text_ends() {
    let sizes = Sizes {
        window: 256,
        hold_back: 64,
        context: 64,
    };
    let engine = engine("", CaptureLevel::Shape).with_sizes(sizes);
    for before in 0..600 {
        let words = "some words ".repeat(60);
        let text = format!("{} {SECRET} {words}", &words[..before]);
        let expected = format!("{} [AI_KEY] {words}", &words[..before]);
        let output = engine.redact(Field::ErrorText, Raw::new(Content::text(text)));
        assert!(output.value() == Ok(&Content::text(expected)), "{before}");
    }
}

#[test]
fn a_run_without_an_end_in_sight_is_not_shown() {
    let sizes = Sizes {
        window: 256,
        hold_back: 64,
        context: 64,
    };
    let engine = engine("", CaptureLevel::Shape).with_sizes(sizes);
    let text = format!("before {} after", "A".repeat(1000));
    let output = json(&engine, Field::ErrorText, Content::text(text));
    assert_eq!(output, r#""before [OVERFLOW] after""#);
    assert_eq!(engine.tally().replaced["OVERFLOW"], 1);
}

proptest! {
    #[test]
    fn withheld_text_leaves_no_trace_in_the_output(text in "[a-z]{8,64}") {
        static ENGINE: LazyLock<Engine> =
            LazyLock::new(|| engine("[fields]\npath = \"drop\"", CaptureLevel::Shape));
        let output = json(&ENGINE, Field::Path, Content::text(text));
        prop_assert_eq!(output, r#"{"redacted":"drop"}"#);
    }
}

#[test]
fn what_may_go_on_past_the_end_of_a_beginning_is_hidden() {
    let engine = engine("[fields]\ntext = \"scan\"", CaptureLevel::Text);
    let text = format!(
        "Tell me about {}the key {SECRET} and more",
        "the sea, ".repeat(60)
    );
    let start = text.find(SECRET).expect("it is there");
    for cut in start + 6..start + SECRET.len() {
        let beginning = Content::Beginning(text.as_bytes()[..cut].to_vec());
        let shown = json(&engine, Field::Text, beginning);
        assert!(!shown.contains("sk-pro"), "{shown}");
        assert!(shown.contains("Tell me about"), "{shown}");
    }
    let keeps = self::engine("[fields]\ntext = \"keep\"", CaptureLevel::Text);
    let shown = json(
        &keeps,
        Field::Text,
        Content::Beginning(b"as it is".to_vec()),
    );
    assert_eq!(shown, r#""as it is""#);
}

#[test]
fn log_probabilities_without_their_text_are_withheld_where_text_is_searched() {
    let numbers = || Content::text("[-0.25, -3.5, -0.0001]");
    for (policy, expected) in [
        ("[fields]\ntext = \"scan\"", r#"{"redacted":"unreadable"}"#),
        ("[fields]\ntext = \"keep\"", r#""[-0.25, -3.5, -0.0001]""#),
        ("[fields]\ntext = \"drop\"", r#"{"redacted":"drop"}"#),
    ] {
        let engine = engine(policy, CaptureLevel::Text);
        assert_eq!(
            json(&engine, Field::TokenIds, numbers()),
            expected,
            "{policy}"
        );
    }
    let shape = engine("[fields]\ntext = \"keep\"", CaptureLevel::Shape);
    assert_eq!(
        json(&shape, Field::TokenIds, numbers()),
        r#"{"redacted":"level"}"#
    );
}
