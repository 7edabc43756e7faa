//! The policies that are shipped do what their names say.

use tracer_redact::{CaptureLevel, Content, Engine, Field, Policy, Raw, RunKey};

const TEXT: &str =
    "Hello Philippa, your customer number is CUST-00012345 and your card 4111 1111 1111 1111.";
/// With what has the form of a model provider's key; nobody issued it.
const KEY: &str = "the key is sk-proj-4b8Qz91LmXw72KtYc05RdNsVhTb36PfGj today";

fn engine(name: &str) -> Engine {
    let path = format!(
        "{}/../../docs/policies/{name}.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).expect("the policy is in the repository");
    let policy = Policy::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    Engine::new(policy, CaptureLevel::Text, RunKey::new([5; 32])).expect("its rules can be used")
}

fn shown(engine: &Engine, field: Field<'_>, text: &str) -> String {
    let redacted = engine.redact(field, Raw::new(Content::text(text)));
    serde_json::to_string(&redacted).expect("it is JSON")
}

#[test]
fn shapes_only_shows_nothing_that_anybody_wrote() {
    let engine = engine("shapes-only");
    for field in [
        Field::Text,
        Field::Arguments,
        Field::Environment { name: "A" },
    ] {
        assert_eq!(shown(&engine, field, TEXT), r#"{"redacted":"drop"}"#);
    }
    assert_eq!(shown(&engine, Field::ErrorText, TEXT), r#""[ERROR_TEXT]""#);
    assert!(shown(&engine, Field::Path, "/home/ann/a.gguf").starts_with("\"[PATH#"));
}

#[test]
fn debugging_shows_text_with_pseudonyms() {
    let text = shown(&engine("debug-pseudonyms"), Field::Text, TEXT);
    assert!(
        text.starts_with("\"Hello Philippa, your customer number is [CUSTOMER#"),
        "{text}"
    );
    assert!(text.ends_with("and your card [CARD]1111.\""), "{text}");
    let key = shown(&engine("debug-pseudonyms"), Field::Text, KEY);
    assert!(!key.contains("sk-proj") && key.contains("today"), "{key}");
}

#[test]
fn regulated_shows_common_words_alone_and_no_text_with_a_credential() {
    let text = shown(&engine("regulated"), Field::Text, TEXT);
    assert!(
        !text.contains("Philippa") && !text.contains("4111"),
        "{text}"
    );
    assert!(text.contains("your customer number is"), "{text}");
    assert_eq!(
        shown(&engine("regulated"), Field::Text, KEY),
        r#"{"redacted":"drop"}"#
    );
}
