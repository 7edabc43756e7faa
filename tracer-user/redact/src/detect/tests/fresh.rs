//! Texts in the words of many programs and languages, written for no rule: every value between
//! `⟦` and `⟧` is found to its last character, and in ordinary output nothing is.

use super::*;

/// A line without its marks, and where its values are. `⏎` stands for the end of a line in a text of several.
fn unmarked(line: &str) -> (String, Vec<Range<usize>>) {
    let line = line.replace('⏎', "\n");
    let mut text = String::new();
    let mut values = Vec::new();
    let mut rest = line.as_str();
    while let Some((before, marked)) = rest.split_once('⟦') {
        let (value, after) = marked.split_once('⟧').expect("a mark is closed");
        text.push_str(before);
        values.push(text.len()..text.len() + value.len());
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    (text, values)
}

fn found(detectors: &Detectors, text: &str) -> Vec<Finding> {
    let found = detectors.scan(text.as_bytes(), &Limits::default());
    let mut found = found.expect("a line is short");
    found.retain(|finding| finding.group != Group::Places);
    found
}

#[test]
fn values_in_many_syntaxes_and_languages_are_found() {
    let detectors = Detectors::builtin();
    let mut shown = Vec::new();
    for line in include_str!("fresh.txt").lines() {
        let (text, values) = unmarked(line);
        let found = found(&detectors, &text);
        for value in values {
            let shows = text[value.clone()].char_indices().any(|(at, character)| {
                let at = value.start + at;
                !character.is_whitespace() && !found.iter().any(|found| found.range.contains(&at))
            });
            if shows {
                shown.push(line);
            }
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn ordinary_output_raises_no_alarm() {
    let detectors = Detectors::builtin();
    let mut alarms = Vec::new();
    for line in include_str!("nothing.txt").lines() {
        for finding in found(&detectors, &line.replace('⏎', "\n")) {
            alarms.push((detectors.rule_name(finding.rule).to_owned(), line));
        }
    }
    assert!(alarms.is_empty(), "{alarms:#?}");
}
