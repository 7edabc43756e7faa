use std::sync::LazyLock;

use proptest::prelude::*;
use tracer_abi::CaptureLevel;

use super::*;
use crate::{key::RunKey, policy::Policy};

/// A value of the form of a model provider's key; nobody issued it.
const SECRET: &str = "sk-proj-4b8Qz91LmXw72KtYc05RdNs";

const SMALL: Sizes = Sizes {
    window: 256,
    hold_back: 64,
    context: 64,
};

fn engine(policy: &str) -> Engine {
    let policy = Policy::parse(policy).unwrap();
    Engine::new(policy, CaptureLevel::Text, RunKey::new([3; 32])).unwrap()
}

fn scanning() -> Engine {
    engine("[fields]\ntext = \"scan\"")
}

/// What a half of all parts says together.
#[derive(Debug, Default, PartialEq)]
struct Told {
    text: String,
    ids: Vec<Option<i32>>,
    withheld: Option<Withheld>,
}

fn told(parts: &[Part], half: impl Fn(&Part) -> &Half) -> Told {
    let mut all = Told::default();
    for half in parts.iter().map(half) {
        match half.text.value() {
            Ok(Content::Text(bytes)) => all.text.push_str(&String::from_utf8_lossy(bytes)),
            Ok(_) => panic!("text is text"),
            Err(reason) => all.withheld = Some(reason),
        }
        match half.ids.value() {
            Ok(Content::Tokens(ids)) => all.ids.extend(ids),
            Ok(_) => panic!("ids are ids"),
            Err(reason) => all.withheld = Some(reason),
        }
        assert!(half.ids.value().is_err() || half.positions.len() <= all.ids.len());
    }
    all
}

fn input(parts: &[Part]) -> Told {
    told(parts, |part| &part.input)
}

fn output(parts: &[Part]) -> Told {
    told(parts, |part| &part.output)
}

/// Adds pieces of text with ids and positions from `from` on.
fn push(passage: &mut Passage, way: Way, from: i32, pieces: &[&str], engine: &Engine) {
    for (position, piece) in (from..).zip(pieces) {
        let token = Token {
            id: 100 + position,
            bytes: Some(piece.as_bytes()),
            position: Some(position),
            log_probability: None,
        };
        passage.push(way, token, engine);
    }
}

#[test]
fn a_secret_split_over_three_tokens_is_masked_with_its_ids() {
    let engine = scanning();
    let mut passage = Passage::new();
    let pieces = [
        "my key is",
        " sk-pro",
        "j-4b8Qz91LmXw7",
        "2KtYc05RdNs",
        " ok",
    ];
    push(&mut passage, Way::Input, 0, &pieces, &engine);
    let parts = passage.finish(&engine);
    assert_eq!(
        input(&parts),
        Told {
            text: "my key is [AI_KEY] ok".to_owned(),
            ids: vec![Some(100), None, None, None, Some(104)],
            withheld: None,
        }
    );
    assert_eq!(engine.tally().replaced["AI_KEY"], 1);
}

#[test]
fn log_probabilities_fall_with_their_tokens() {
    let engine = scanning();
    let mut passage = Passage::new();
    push(&mut passage, Way::Input, 0, &["say it"], &engine);
    let pieces = [" sk-proj-4b8Qz91LmX", "w72KtYc05RdNs", " done"];
    for (position, piece) in (1..).zip(pieces) {
        let mut token = Token {
            id: 100 + position,
            bytes: Some(piece.as_bytes()),
            position: Some(position),
            log_probability: LogProbability::of(0.5),
        };
        passage.push(Way::Output, token, &engine);
        // It goes in again without one.
        token.log_probability = None;
        passage.push(Way::Input, token, &engine);
    }
    let parts = passage.finish(&engine);
    assert!(parts[0].input.log_probabilities.is_none());
    let told = parts[0].output.log_probabilities.as_ref();
    let expected = vec![None, None, LogProbability::of(0.5)];
    assert!(
        matches!(told.unwrap().value(), Ok(Content::LogProbabilities(told)) if *told == expected)
    );
    assert_eq!(output(&parts).ids, [None, None, Some(103)]);
}

#[test]
fn log_probabilities_of_a_text_that_is_withheld_are_withheld() {
    let engine = scanning();
    let mut passage = Passage::new();
    passage.unreadable();
    let token = Token {
        id: 7,
        bytes: Some(b"fine"),
        position: Some(0),
        log_probability: LogProbability::of(0.5),
    };
    passage.push(Way::Output, token, &engine);
    let parts = passage.finish(&engine);
    let told = parts[0].output.log_probabilities.as_ref();
    assert_eq!(told.unwrap().value().err(), Some(Withheld::Unreadable));
}

#[test]
fn a_secret_that_the_model_completes_is_masked_on_both_sides() {
    let engine = scanning();
    let mut passage = Passage::new();
    push(
        &mut passage,
        Way::Input,
        0,
        &["say", " sk-proj-4b8Q"],
        &engine,
    );
    push(&mut passage, Way::Output, 2, &["z91LmXw72KtY"], &engine);
    push(&mut passage, Way::Input, 2, &["z91LmXw72KtY"], &engine);
    push(&mut passage, Way::Output, 3, &["c05RdNs done"], &engine);
    let parts = passage.finish(&engine);
    assert_eq!(input(&parts).text, "say [AI_KEY]");
    assert_eq!(input(&parts).ids, [Some(100), None, None]);
    assert_eq!(output(&parts).text, "[AI_KEY] done");
    assert_eq!(output(&parts).ids, [None, None]);
}

#[test]
fn what_was_said_before_helps_to_read_what_follows() {
    let engine = scanning();
    let mut passage = Passage::new();
    push(
        &mut passage,
        Way::Input,
        0,
        &["the key begins with", " sk-proj-4b8"],
        &engine,
    );
    let first = passage.finish(&engine);
    assert_eq!(input(&first).text, "the key begins with sk-proj-4b8");
    push(
        &mut passage,
        Way::Input,
        2,
        &["Qz91LmXw72KtYc05RdNs"],
        &engine,
    );
    let second = passage.finish(&engine);
    assert_eq!(input(&second).text, "[AI_KEY]");
    assert_eq!(input(&second).ids, [None]);
}

#[test]
fn a_draft_that_is_rejected_does_not_hide_what_is_around_it() {
    let engine = scanning();
    let mut passage = Passage::new();
    push(
        &mut passage,
        Way::Input,
        0,
        &["k ", "sk-proj-4b8Q", " wrong", " draft"],
        &engine,
    );
    let other = Token {
        id: 7,
        bytes: Some(b"z91LmXw72KtYc05RdNs"),
        position: Some(2),
        log_probability: None,
    };
    passage.push(Way::Output, other, &engine);
    passage.remove_from(3);
    let parts = passage.finish(&engine);
    assert_eq!(input(&parts).text, "k [AI_KEY]");
    assert_eq!(input(&parts).ids, [Some(100), None, None, None]);
    assert_eq!(output(&parts).text, "[AI_KEY]");
}

#[test]
fn both_sides_of_a_gap_are_hidden() {
    let engine = scanning();
    let mut passage = Passage::new();
    let far = "far away ".repeat(12);
    push(&mut passage, Way::Input, 0, &[&far, "sk-proj-4b8"], &engine);
    push(
        &mut passage,
        Way::Input,
        7,
        &["Qz91LmXw72KtYc05RdNs ", &far],
        &engine,
    );
    let parts = passage.finish(&engine);
    let text = input(&parts).text;
    assert!(parts[0].incomplete);
    assert!(
        text.starts_with("far away far") && text.ends_with("far away "),
        "{text}"
    );
    assert!(
        !text.contains("sk-") && !text.contains("Qz91") && text.contains("[GAP]"),
        "{text}"
    );
    assert_eq!(input(&parts).ids[1..3], [None, None]);
}

#[test]
fn a_cache_that_was_filled_by_other_means_is_a_gap() {
    let engine = scanning();
    let mut passage = Passage::new();
    push(
        &mut passage,
        Way::Input,
        9,
        &["Qz91LmXw72KtYc05RdNs"],
        &engine,
    );
    let parts = passage.finish(&engine);
    assert!(parts[0].incomplete);
    assert_eq!(input(&parts).text, "[GAP]");
}

#[test]
fn a_token_that_the_vocabulary_does_not_know_is_a_gap() {
    let engine = scanning();
    let mut passage = Passage::new();
    push(&mut passage, Way::Input, 0, &["sk-proj-4b8"], &engine);
    let token = Token {
        id: 7,
        bytes: None,
        position: Some(1),
        log_probability: None,
    };
    passage.push(Way::Input, token, &engine);
    let parts = passage.finish(&engine);
    assert_eq!(input(&parts).ids, [None, None]);
}

#[test]
fn without_a_vocabulary_nothing_leaves_but_what_is_kept_whole() {
    let scan = scanning();
    let mut passage = Passage::new();
    passage.unreadable();
    let token = Token {
        id: 7,
        bytes: None,
        position: Some(0),
        log_probability: None,
    };
    passage.push(Way::Input, token, &scan);
    let parts = passage.finish(&scan);
    assert_eq!(input(&parts).withheld, Some(Withheld::Unreadable));
    assert_eq!(scan.tally().failed, 1);
}

#[test]
fn a_sequence_that_begins_anew_is_read_on_its_own() {
    let engine = scanning();
    let mut passage = Passage::new();
    push(&mut passage, Way::Input, 0, &["one"], &engine);
    assert_eq!(input(&passage.finish(&engine)).text, "one");
    passage.remove_from(0);
    push(&mut passage, Way::Input, 0, &["two"], &engine);
    let parts = passage.finish(&engine);
    assert_eq!(
        (input(&parts).text.as_str(), parts[0].incomplete),
        ("two", false)
    );
}

#[test]
fn a_long_text_leaves_in_parts_and_memory_stays_bounded() {
    let engine = scanning().with_sizes(SMALL);
    let mut passage = Passage::with(SMALL);
    let mut parts = Vec::new();
    let mut all = String::new();
    for position in 0..2000 {
        let piece = format!("word{position} ");
        all.push_str(&piece);
        push(&mut passage, Way::Input, position, &[&piece], &engine);
        parts.extend(passage.parts());
        assert!(passage.size() < 64 * SMALL.window);
    }
    assert!(parts.len() > 10);
    parts.extend(passage.finish(&engine));
    assert_eq!(input(&parts).text, all);
    let ids: Vec<_> = (100..2100).map(Some).collect();
    assert_eq!(input(&parts).ids, ids);
}

#[test]
fn kept_text_is_what_went_in_and_came_out() {
    let engine = engine("[fields]\ntext = \"keep\"");
    let mut passage = Passage::new();
    push(&mut passage, Way::Input, 0, &["my", " ", SECRET], &engine);
    push(&mut passage, Way::Output, 3, &[" yes"], &engine);
    let parts = passage.finish(&engine);
    assert_eq!(input(&parts).text, format!("my {SECRET}"));
    assert_eq!(output(&parts).text, " yes");
}

fn cut(text: &[u8], at: &[usize], sizes: Sizes, engine: &Engine) -> String {
    let mut passage = Passage::with(sizes);
    let mut cuts: Vec<usize> = at.iter().map(|at| at % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let mut parts = Vec::new();
    for (position, two) in (0..).zip(cuts.windows(2)) {
        let token = Token {
            id: position,
            bytes: Some(&text[two[0]..two[1]]),
            position: Some(position),
            log_probability: None,
        };
        passage.push(Way::Input, token, engine);
        parts.extend(passage.parts());
    }
    parts.extend(passage.finish(engine));
    input(&parts).text
}

#[test]
fn a_text_that_fills_a_window_to_its_last_byte_is_decided_like_any() {
    let engine = scanning().with_sizes(SMALL);
    // Without a blank in it, nothing of it is released before the end.
    let run = SECRET.repeat(1 + SMALL.window / SECRET.len());
    for start in ["", "a b c d "] {
        for length in SMALL.window - 2..SMALL.window + 3 {
            let text = &format!("{start}{run}").into_bytes()[..length];
            let whole = engine.redact(Field::Text, Raw::new(Content::text(text)));
            let Ok(Content::Text(whole)) = whole.value() else {
                panic!("text is shown")
            };
            let whole = String::from_utf8_lossy(whole);
            assert_eq!(cut(text, &[], SMALL, &engine), whole, "{length} bytes");
            assert_eq!(cut(text, &[7, 99], SMALL, &engine), whole, "{length} bytes");
        }
    }
}

proptest! {
    #[test]
    fn any_cut_of_a_text_gives_what_the_whole_gives(
        text in "([a-z ]{0,40}|sk-proj-[a-zA-Z0-9]{24}|[a-z]{3}@[a-z]{4}\\.org|é|\n){0,24}",
        at in prop::collection::vec(any::<usize>(), 0..12),
        is_small: bool,
    ) {
        // Compiling the rules takes longer than all the rest.
        static ENGINES: LazyLock<[Engine; 2]> =
            LazyLock::new(|| [Sizes::default(), SMALL].map(|sizes| scanning().with_sizes(sizes)));
        let sizes = if is_small { SMALL } else { Sizes::default() };
        let engine = &ENGINES[usize::from(is_small)];
        let whole = engine.redact(Field::Text, Raw::new(Content::text(text.as_bytes())));
        let Ok(Content::Text(whole)) = whole.value() else { panic!("text is shown") };
        let whole = String::from_utf8_lossy(whole).into_owned();
        prop_assert_eq!(cut(text.as_bytes(), &at, sizes, engine), whole);
    }
}
