//! What is too short or too plain to look like a secret and is one because a word says so: PINs, a card's
//! check value, codes for one login, the words of a wallet.

use std::ops::Range;

use memchr::{memchr_iter, memmem};

use super::{
    believe::Link,
    class::{self, ALNUM, DIGIT, HIGH, JOINER, LETTER, LOWER, UPPER},
    dialogue, link,
};

/// What follows the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Four to eight digits, behind a sign or a verb: pins and codes are many things.
    Pin,
    /// Three or four digits.
    CardCheck,
    /// Four to eight digits, or two groups of three or four.
    Once,
    /// Groups of letters and digits.
    Recovery,
    /// Twelve or more words.
    Phrase,
    /// Eight or eleven capitals and digits that name a bank (ISO 9362).
    Bank,
}

/// The words, and what follows each.
#[rustfmt::skip]
pub(crate) static WORDS: &[(Form, &[&str])] = &[
    (Form::Pin, &["pin", "pin code", "pin number", "pin-code", "geheimzahl", "puk", "code pin", "código pin", "пин-код", "пин", "暗証番号", "code de ma carte", "code de ma carte bleue", "code de carte", "code secret"]),
    (Form::CardCheck, &["cvv", "cvc", "cvv2", "cvc2", "card security code", "security code", "digits on the back", "güvenlik kodu", "セキュリティコード", "back of the card", "prüfziffer", "kartenprüfnummer", "cryptogramme", "código de seguridad", "código de segurança", "codice di sicurezza"]),
    (Form::Once, &[
        "otp", "one-time code", "one time code", "verification code", "2fa code", "mfa code", "login code", "authentication code", "confirmation code",
        "sms code", "sms codes", "your code", "код из смс", "Код из смс", "ओटीपी", "code we", "code you", "code reçu", "code reçu par sms", "code sent", "code is", "code from the app", "transfer code", "try code", "kod sms", "sms onay kodu", "onay kodu", "doğrulama kodu", "sms decía", "to log in", "to sign in", "die tan", "ihre tan", "meine tan", "entry code", "passcode", "access code", "safe code", "door code", "gate code", "alarm code", "unlock code", "bestätigungscode", "code de vérification", "código de verificación",
        "codice di verifica", "verificatiecode", "код подтверждения", "验证码", "認証コード", "인증번호",
    ]),
    (Form::Recovery, &["recovery code", "backup code", "scratch code", "recovery codes", "backup codes"]),
    (Form::Bank, &["bic", "swift", "swift code", "bic/swift", "swift/bic", "bic code", "bic-code"]),
    (Form::Phrase, &["seed phrase", "mnemonic", "mnemonic phrase", "recovery phrase", "secret phrase", "seed words", "backup phrase", "seed", "metamask", "wallet backup", "hardware wallet", "ledger nano"]),
];

/// The code after the word.
pub(crate) fn read(text: &[u8], word: Range<usize>, form: Form) -> Option<Range<usize>> {
    // `Erlang/OTP`
    let is_part = text[..word.start].ends_with(b"/");
    if class::before(text, word.start, ALNUM | JOINER)
        || class::at(text, word.end, LETTER)
        || (form == Form::Once && is_part)
    {
        return None;
    }
    if form == Form::Once
        && let Some(range) = told_before(text, &word)
    {
        return Some(range);
    }
    // Programs have codes as well.
    if form == Form::Once
        && text[word.clone()].eq_ignore_ascii_case(b"code is")
        && is_technical(text, word.start)
    {
        return None;
    }
    let beside = || match form {
        Form::Phrase => below(text, word.end).or_else(|| soon(text, word.end)),
        form => beside(text, &word, form).or_else(|| dialogue::answer(text, &word, form)),
    };
    behind(text, &word, form).or_else(beside)
}

/// What a sign, a verb or a blank joins to the word.
fn behind(text: &[u8], word: &Range<usize>, form: Form) -> Option<Range<usize>> {
    // `验证码951384`
    let is_glued = class::before(text, word.end, HIGH) && class::at(text, word.end, DIGIT);
    let (start, link) = match is_glued {
        true => (word.end, Link::Blank),
        false => link::find(text, word.end)?,
    };
    let quote = usize::from(matches!(text.get(start), Some(b'"' | b'\'' | b'`')));
    let start = start + quote;
    let least_words = if is_loose(&text[word.clone()]) {
        12
    } else {
        11
    };
    match form {
        Form::Pin => digits(text, start, 4..=8).filter(|range| {
            link != Link::Blank
                || is_somebodys(text, word)
                || is_a_line(text, &(word.start..range.end))
        }),
        Form::CardCheck => digits(text, start, 3..=4).or_else(|| once(text, start, link)),
        Form::Once => once(text, start, link).filter(|range| is_told(text, word, range)),
        Form::Recovery => groups(text, start).or_else(|| once(text, start, link)),
        Form::Phrase => phrase(text, start, least_words),
        Form::Bank => bank(text, start),
    }
}

/// `door pin`, `my pin`, `SIM PIN`: what is told from a microchip's.
fn is_somebodys(text: &[u8], word: &Range<usize>) -> bool {
    const OWNERS: [&[u8]; 16] = [
        b"door",
        b"gate",
        b"sim",
        b"my",
        b"her",
        b"his",
        b"card",
        b"alarm",
        b"account",
        b"atm",
        b"keypad",
        b"voicemail",
        b"bank",
        b"then",
        b"old",
        b"new",
    ];
    let before = text[..word.start].strip_suffix(b" ").unwrap_or_default();
    let owner = class::run_start(before, before.len(), LETTER);
    let is_owned = OWNERS
        .iter()
        .any(|known| before[owner..].eq_ignore_ascii_case(known));
    // In capitals the word is none of a circuit's, whose pins have no more than three digits.
    is_owned || &text[word.clone()] == b"PIN"
}

/// Whether nothing else stands on the line.
fn is_a_line(text: &[u8], range: &Range<usize>) -> bool {
    text[..range.start].ends_with(b"\n") && matches!(text.get(range.end), Some(b'\n' | b'\r'))
}

/// `PIN (7102)`, `SMS codes, 174853 and …`, `[otp] sent 174853`
fn beside(text: &[u8], word: &Range<usize>, form: Form) -> Option<Range<usize>> {
    let least = match form {
        Form::Pin | Form::Once => 4,
        Form::CardCheck => 3,
        _ => return None,
    };
    let rest = &text[word.end..];
    let named = &text[word.clone()];
    // Circuits have pins, and programs code.
    let is_technical =
        named.eq_ignore_ascii_case(b"your code") || text[..word.start].ends_with(b"GPIO ");
    if rest.starts_with(b" (") && !is_technical {
        let range = digits(text, word.end + 2, least..=8)?;
        return (text.get(range.end) == Some(&b')')).then_some(range);
    }
    let joint = [&b", "[..], b"] sent ", b" sent "]
        .into_iter()
        .find(|joint| rest.starts_with(joint))?;
    let is_list = joint.starts_with(b",");
    let is_one = form == Form::Once && (!is_list || named.eq_ignore_ascii_case(b"sms codes"));
    let range = digits(text, word.end + joint.len(), 6..=7).filter(|_| is_one)?;
    Some(range)
}

/// The words of a wallet behind a few others: `my recovery phrase? its pencil cabin …`.
fn soon(text: &[u8], end: usize) -> Option<Range<usize>> {
    const NEAR: usize = 24;
    let near = &text[end..text.len().min(end + NEAR)];
    let mut blanks = memchr_iter(b' ', near).map(|blank| end + blank + 1);
    blanks.find_map(|start| phrase(text, start, 12))
}

/// The words of a wallet on a line of their own, below where it is spoken of.
fn below(text: &[u8], end: usize) -> Option<Range<usize>> {
    const NEAR: usize = 160;
    let rest = &text[end..text.len().min(end + NEAR)];
    let lines = memchr_iter(b'\n', rest).map(|line| end + line + 1);
    let mut phrases = lines.filter_map(|line| phrase(text, line, 12));
    phrases.find(|range| matches!(text.get(range.end), None | Some(b'\n' | b'\r')))
}

/// Whether the word for a wallet's words means other things as well.
fn is_loose(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"seed") || word.eq_ignore_ascii_case(b"metamask")
}

/// Whether the number is what the word says: `your code is 12345 lines long`.
fn is_told(text: &[u8], word: &Range<usize>, range: &Range<usize>) -> bool {
    let named = &text[word.clone()];
    let is_spoken = [&b"your code"[..], b"code is", b"code we", b"code you"]
        .into_iter()
        .any(|spoken| named.eq_ignore_ascii_case(spoken));
    let goes_on = text.get(range.end) == Some(&b' ') && class::at(text, range.end + 1, LETTER);
    !is_spoken || range.len() >= 6 || !goes_on
}

/// A code for one login.
fn once(text: &[u8], start: usize, link: Link) -> Option<Range<usize>> {
    let least = if link == Link::Blank { 5 } else { 4 };
    digits(text, start, least..=8).or_else(|| two_groups(text, start))
}

/// `583201 is your Google verification code`, `583 201 as a verification code`.
fn told_before(text: &[u8], word: &Range<usize>) -> Option<Range<usize>> {
    const NEAR: usize = 48;
    const LINKS: [&[u8]; 5] = [
        b" is your ",
        b" is the ",
        b" as a ",
        b" as the ",
        b" as your ",
    ];
    let floor = word.start.saturating_sub(NEAR);
    let before = &text[floor..word.start];
    // `Use 864287 to log in`
    let end = match text[word.clone()].starts_with(b"to ") {
        true => floor + before.strip_suffix(b" ")?.len(),
        false => floor + LINKS.iter().find_map(|link| memmem::rfind(before, link))?,
    };
    let is_part = |byte: u8| class::is(byte, DIGIT) || matches!(byte, b' ' | b'-');
    let length = text[floor..end]
        .iter()
        .rev()
        .take_while(|byte| is_part(**byte))
        .count();
    let start = end - length;
    let start = start
        + text[start..end]
            .iter()
            .take_while(|byte| !class::is(**byte, DIGIT))
            .count();
    let range = digits(text, start, 4..=8).or_else(|| two_groups(text, start))?;
    // `1024 users to log in` are no code.
    let asks = || text[floor..start].to_ascii_lowercase();
    let is_asked = || {
        [&b"use "[..], b"enter "]
            .into_iter()
            .any(|verb| asks().ends_with(verb))
    };
    if text[word.clone()].starts_with(b"to ") && !is_asked() {
        return None;
    }
    // `G-284917`
    let prefix = if text[..start].ends_with(b"-") && class::before(text, start - 1, UPPER) {
        2
    } else {
        0
    };
    let start = start - prefix;
    (range.end == end && !class::before(text, start, ALNUM)).then_some(start..end)
}

/// `error code is`, `zip code is`: whether the code before which the word stands is no login's.
fn is_technical(text: &[u8], start: usize) -> bool {
    const OTHERS: [&[u8]; 18] = [
        b"error",
        b"exit",
        b"status",
        b"return",
        b"response",
        b"http",
        b"zip",
        b"postal",
        b"area",
        b"country",
        b"byte",
        b"source",
        b"machine",
        b"op",
        b"result",
        b"reason",
        b"region",
        b"language",
    ];
    let before = text[..start].strip_suffix(b" ").unwrap_or(&text[..start]);
    let word = class::run_start(before, before.len(), LETTER);
    OTHERS
        .iter()
        .any(|other| before[word..].eq_ignore_ascii_case(other))
}

/// The password that begins with a word that many people's passwords begin with: `password123`, `p@ssw0rd99!`.
/// Names of things end with one digit, passwords with more.
pub(crate) fn common_password(text: &[u8], word: Range<usize>) -> Option<Range<usize>> {
    let digits = class::run_end(text, word.end, DIGIT);
    let marks = text[digits..].iter().take(3);
    let marks = marks.take_while(|byte| b"!@#$".contains(byte)).count();
    let end = digits + marks;
    let is_odd = text[word.clone()]
        .iter()
        .any(|byte| !class::is(*byte, LETTER));
    let count = digits - word.end;
    let goes_on = class::at(text, end, ALNUM | JOINER)
        || matches!(text.get(end), Some(b'=' | b'(' | b'[' | b':'))
        || text[end..].starts_with(b" =");
    let is_password = (2..=6).contains(&count) || (is_odd && count < 7);
    (is_password
        && !goes_on
        && !class::before(text, word.start, ALNUM | JOINER)
        && !text[..word.start].ends_with(b"."))
    .then_some(word.start..end)
}

/// So many digits that are no part of anything longer.
pub(crate) fn digits(
    text: &[u8],
    start: usize,
    lengths: std::ops::RangeInclusive<usize>,
) -> Option<Range<usize>> {
    let mut end = class::run_end(text, start, DIGIT);
    let length = end - start;
    // The key that one presses behind it.
    end += usize::from(length > 3 && matches!(text.get(end), Some(b'#' | b'*')));
    let goes_on = class::at(text, end, ALNUM | JOINER)
        || (matches!(text.get(end), Some(b'.' | b',' | b':' | b'/' | b'%'))
            && class::at(text, end + 1, ALNUM));
    (lengths.contains(&length) && !goes_on).then_some(start..end)
}

/// `482 913`
pub(crate) fn two_groups(text: &[u8], start: usize) -> Option<Range<usize>> {
    let first = digits(text, start, 3..=4).or_else(|| {
        let end = class::run_end(text, start, DIGIT);
        (text.get(end) == Some(&b'-') && (3..=4).contains(&(end - start))).then_some(start..end)
    })?;
    let second = digits(text, first.end + 1, 3..=4)?;
    let is_joined = matches!(text.get(first.end), Some(b' ' | b'-'));
    (is_joined && first.len() == second.len()).then_some(start..second.end)
}

/// `a8f3-9k2m-x7q1`, or as long a run, and those that follow it.
fn groups(text: &[u8], start: usize) -> Option<Range<usize>> {
    const MOST: usize = 16;
    let mut found: Option<Range<usize>> = None;
    let mut place = start;
    for _ in 0..MOST {
        let end = class::run_end(text, place, ALNUM | JOINER);
        let value = &text[place..end];
        let count = |classes: u8| value.iter().filter(|b| class::is(**b, classes)).count();
        if !(8..=64).contains(&value.len()) || count(DIGIT) < 2 {
            break;
        }
        found = Some(start..end);
        let rest = &text[end..];
        place = end;
        for joint in [
            &b" and "[..],
            b" und ",
            b" et ",
            b" y ",
            b", and ",
            b", ",
            b",",
            b"\n",
            b" ",
        ] {
            if rest.starts_with(joint) {
                place = end + joint.len();
                break;
            }
        }
        if place == end {
            break;
        }
    }
    found
}

/// A bank, its country and its place: `DEUTDEFF500`.
fn bank(text: &[u8], start: usize) -> Option<Range<usize>> {
    let end = class::run_end(text, start, ALNUM | JOINER);
    let code = &text[start..end];
    let is_form = matches!(code.len(), 8 | 11)
        && code.iter().all(|byte| class::is(*byte, UPPER | DIGIT))
        && code[..6].iter().all(|byte| class::is(*byte, UPPER));
    is_form.then_some(start..end)
}

/// The words of a wallet: twelve to twenty-four of three to eight small letters, none of which joins
/// sentences.
fn phrase(text: &[u8], start: usize, least: usize) -> Option<Range<usize>> {
    const JOINING: [&[u8]; 10] = [
        b"the", b"and", b"for", b"with", b"which", b"are", b"this", b"your", b"from", b"not",
    ];
    let (mut place, mut end, mut count) = (start, start, 0);
    while count < 24 {
        let word = class::run_end(text, place, LOWER);
        let length = word - place;
        let is_word = (3..=8).contains(&length) && !class::at(text, word, UPPER | DIGIT | JOINER);
        if !is_word || JOINING.contains(&&text[place..word]) {
            break;
        }
        count += 1;
        end = word;
        let gap = text[word..].iter().take(3);
        let gap = gap.take_while(|byte| b" ,\n".contains(byte)).count();
        // What is whole ends with its line.
        let is_whole = count >= 12 && count % 3 == 0;
        if gap == 0 || (is_whole && text[word] == b'\n') {
            break;
        }
        place = word + gap;
    }
    (count >= least).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'t>(text: &'t str, word: &str, form: Form) -> Option<&'t str> {
        let start = text.find(word).expect("the case has the word");
        read(text.as_bytes(), start..start + word.len(), form).map(|range| &text[range])
    }

    #[test]
    fn codes_are_found_behind_their_words() {
        assert_eq!(found("my pin is 4829.", "pin", Form::Pin), Some("4829"));
        assert_eq!(found("cvv 123", "cvv", Form::CardCheck), Some("123"));
        assert_eq!(found("otp=482913", "otp", Form::Once), Some("482913"));
        assert_eq!(found("otp: 482 913", "otp", Form::Once), Some("482 913"));
        let codes = "backup code: a8f3-9k2m-x7q1";
        assert_eq!(
            found(codes, "backup code", Form::Recovery),
            Some("a8f3-9k2m-x7q1")
        );
        let words = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        let text = format!("mnemonic: {words}");
        assert_eq!(found(&text, "mnemonic", Form::Phrase), Some(words));
    }

    #[test]
    fn common_passwords_are_found_without_a_name() {
        let found = |text: &'static str, word: usize| {
            common_password(text.as_bytes(), 0..word).map(|range| &text[range])
        };
        assert_eq!(found("password123 works", 8), Some("password123"));
        assert_eq!(found("p@ssw0rd99!", 8), Some("p@ssw0rd99!"));
        assert_eq!(found("p@ssw0rd", 8), Some("p@ssw0rd"));
        assert_eq!(found("password1", 8), None);
        assert_eq!(found("password12 = read()", 8), None);
        assert_eq!(found("password", 8), None);
    }

    #[test]
    fn other_numbers_and_talk_are_left() {
        assert_eq!(found("pin 4096 pages", "pin", Form::Pin), None);
        assert_eq!(found("pin_memory=4096", "pin", Form::Pin), None);
        assert_eq!(found("pin: 12", "pin", Form::Pin), None);
        assert_eq!(found("pin: 4829.5 V", "pin", Form::Pin), None);
        assert_eq!(found("otp 12:30", "otp", Form::Once), None);
        let talk = "mnemonic is what one writes down when the wallet asks for its words again";
        assert_eq!(found(talk, "mnemonic", Form::Phrase), None);
    }
}
