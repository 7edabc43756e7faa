//! Conversations, a line for each that speaks: what is answered to a question for a code.

use std::ops::Range;

use super::{
    class::{self, ALNUM, HIGH, LETTER},
    short_code::{Form, digits, two_groups},
};

/// How much of a line is read before and behind what it names.
const NEAR: usize = 96;
/// The longest name of somebody who speaks.
const SPEAKER: usize = 32;

/// What is answered on the next line to the question that names a code at `word`: `AGENT: and the PIN?` and
/// `CALLER: uh 7043`. Both lines begin with who speaks.
pub(crate) fn answer(text: &[u8], word: &Range<usize>, form: Form) -> Option<Range<usize>> {
    let lengths = match form {
        Form::Pin | Form::Once => 4..=8,
        Form::CardCheck => 3..=4,
        _ => return None,
    };
    let before = text[..word.start].iter().rev().take(NEAR);
    let begins = word.start - before.take_while(|byte| **byte != b'\n').count();
    let behind = text[word.end..].iter().take(NEAR);
    let line = word.end + behind.take_while(|byte| **byte != b'\n').count();
    if text.get(line) != Some(&b'\n') {
        return None;
    }
    speech(text, begins)?;
    let said = speech(text, line + 1)?;
    // `okay it says 967492`
    let words = text[said..].iter().take(SPEAKER);
    let words = words.take_while(|byte| class::is(**byte, LETTER) || b" ,'".contains(byte));
    let start = said + words.count();
    let range = digits(text, start, lengths).or_else(|| two_groups(text, start))?;
    let ends = matches!(text.get(range.end), None | Some(b'\n' | b'\r' | b'.'));
    ends.then_some(range)
}

/// Where begins what somebody says: behind the time in brackets, the name and a colon.
fn speech(text: &[u8], line: usize) -> Option<usize> {
    let mut start = line;
    if text.get(start) == Some(&b'[') {
        let time = text[start..].iter().take(24);
        start += time.take_while(|byte| **byte != b']').count() + 2;
    }
    let name = text.get(start..)?.iter().take(SPEAKER);
    let is_name = |byte: &&u8| class::is(**byte, ALNUM | HIGH) || **byte == b' ';
    let colon = start + name.take_while(is_name).count();
    (colon > start && text[colon..].starts_with(b": ")).then_some(colon + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered<'t>(text: &'t str, word: &str) -> Option<&'t str> {
        let start = text.find(word).expect("the case has the word");
        let word = start..start + word.len();
        answer(text.as_bytes(), &word, Form::Pin).map(|range| &text[range])
    }

    #[test]
    fn what_is_answered_to_a_question_for_a_code_is_found() {
        assert_eq!(answered("A: your pin?\nB: uh 7043\n", "pin"), Some("7043"));
        let timed = "[00:01] AGENT: and the code?\n[00:05] CALLER: it says 756-818.\n";
        assert_eq!(answered(timed, "code"), Some("756-818"));
        assert_eq!(answered("Fix your code.\nStep: 4096", "code"), None);
        assert_eq!(answered("Note: press the pin.\nat 4095", "pin"), None);
    }
}
