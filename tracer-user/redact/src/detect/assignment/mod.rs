//! Values that a name before them calls secret: `password = "..."`, `API_KEY: ...`,
//! `--token ...`, `<password>...</password>`, `my password is ...`, `setPassword("...")`.

mod form;
mod list;
mod name;
mod value;

use std::ops::Range;

use super::{
    believe::{Link, Name, Strength, accepts},
    class::{self, ALNUM, DIGIT, JOINER, LETTER, SPACE},
    link, literal,
    looks::{self, is_code, is_mixed, looks_random},
};

use self::{
    form::{behind_compound, compared, glued, named_again},
    name::{is_option, is_public, is_reference, name_end, starts_a_name},
    value::value,
};
pub(crate) use self::{
    list::others as others_of_list,
    value::{MAX_VALUE, trim},
};

/// The value after the name whose deciding word is at `word`.
pub(crate) fn read(text: &[u8], word: Range<usize>, strength: Strength) -> Option<Range<usize>> {
    if !starts_a_name(text, &word) {
        return behind_compound(text, word.end, strength);
    }
    if let Some(range) = glued(text, word.end).or_else(|| compared(text, word.start)) {
        return Some(range);
    }
    if strength != Strength::Password && is_public(text, word.start) {
        return None;
    }
    let name_end = name_end(text, &word)?;
    if is_line_of_a_source(text, word.end, name_end) {
        return None;
    }
    let by = |(start, link)| linked(text, &word, name_end, start, link, strength);
    let first = link::find(text, name_end);
    let told = || {
        told_after_a_comma(text, word.start, name_end).filter(|_| strength == Strength::Password)
    };
    first.and_then(by).or_else(told).or_else(|| {
        let again = || {
            let (start, link) = first.filter(|(_, link)| *link != Link::Blank)?;
            named_again(text, word.start, start).and_then(|start| by((start, link)))
        };
        let further = || {
            let start = link::further(text, name_end, strength)?;
            by((start, Link::Verb))
        };
        further().or_else(again)
    })
}

/// `a temporary password, 39QY50uvvA2Q`: only what nothing else looks like.
fn told_after_a_comma(text: &[u8], word: usize, name_end: usize) -> Option<Range<usize>> {
    const LEAST: usize = 10;
    const GIVEN: [&[u8]; 5] = [b"temporary ", b"temp ", b"new ", b"initial ", b"one-time "];
    if !GIVEN.iter().any(|given| text[..word].ends_with(given)) {
        return None;
    }
    let start = text[name_end..]
        .starts_with(b", ")
        .then_some(name_end + 2)?;
    let (range, quoted) = value(text, start, Link::Blank, Strength::Password)?;
    let told = &text[range.clone()];
    let is_value = !quoted && told.len() >= LEAST && looks_random(told) && is_mixed(told);
    (is_value && !is_code(told, false) && !looks::is_placeholder(told)).then_some(range)
}

/// What the password was changed to, behind the one at `old`: `from … to …`.
pub(crate) fn changed_to(text: &[u8], old: &Range<usize>) -> Option<Range<usize>> {
    if text.get(old.end) != Some(&b' ') {
        return None;
    }
    let is_old = [&b" from "[..], b" von ", b" de ", b" da "]
        .into_iter()
        .any(|word| text[..old.start].ends_with(word));
    let joint = [
        &b" to "[..],
        b" into ",
        b" auf ",
        b" en ",
        b" a ",
        b" para ",
    ]
    .into_iter()
    .find(|joint| text[old.end..].starts_with(joint))?;
    if !is_old {
        return None;
    }
    let start = old.end + joint.len();
    let (range, quoted) = value(text, start, Link::Verb, Strength::Password)?;
    let name = Name {
        word: b"password",
        suffix: b"",
    };
    accepts(
        &text[range.clone()],
        Strength::Password,
        Link::Verb,
        quoted,
        &name,
    )
    .then_some(range)
}

/// The value at `start` that is joined so to the name whose deciding word is at `word`.
fn linked(
    text: &[u8],
    word: &Range<usize>,
    name_end: usize,
    start: usize,
    link: Link,
    strength: Strength,
) -> Option<Range<usize>> {
    let suffix = &text[word.end..name_end];
    if link == Link::Blank && is_reference(text, word.start) {
        return None;
    }
    // `password=` above the next entry: nothing is assigned.
    if text[name_end..start].contains(&b'\n') && is_entry(&text[start..]) {
        return None;
    }
    // `--password x`: an option is joined to its value by a blank.
    let link = match link {
        Link::Blank if is_option(text, word.start) && text.get(start) != Some(&b'-') => Link::Tight,
        link => link,
    };
    let name = Name {
        word: &text[word.clone()],
        suffix,
    };
    let may_be_list = matches!(link, Link::Tight | Link::Loose) || text.get(start) == Some(&b'{');
    if may_be_list && let Some(range) = literal::bytes(text, start, &name) {
        return Some(range);
    }
    let start = list::first(text, start)
        .filter(|_| link == Link::Loose)
        .unwrap_or(start);
    let (mut range, quoted) = value(text, start, link, strength)?;
    // No key holds an `@`; in a URL it ends what opens it.
    if strength != Strength::Password
        && !quoted
        && let Some(at) = text[range.clone()].iter().position(|byte| *byte == b'@')
    {
        range.end = range.start + at;
    }
    if !quoted {
        range.end -= looks::file_ending(&text[range.clone()]);
    }
    let value = &text[range.clone()];
    // `${DB_PASSWORD:?missing}`
    if value.starts_with(b"?") && is_reference(text, word.start) {
        return None;
    }
    // What `--ask-password` is followed by.
    if link == Link::Tight && text[..start].ends_with(b" ") && is_url(value) {
        return None;
    }
    // `password.addEventListener("input", ...)`: a call of anything but what sets it.
    let method = suffix.iter().rposition(|byte| *byte == b'.');
    if let Some(method) = method.map(|dot| &suffix[dot + 1..])
        && text.get(name_end) == Some(&b'(')
        && !is_mixed(value)
        && !sets(method)
    {
        return None;
    }
    // `<input autocomplete="current-password" required>`: an attribute.
    let is_attribute = !quoted
        && text[..start].ends_with(b"\" ")
        && value
            .strip_suffix(b">")
            .is_some_and(|word| word.iter().all(|byte| class::is(*byte, LETTER)));
    if is_attribute {
        return None;
    }
    // `input: HTMLInputElement = ...`: a type.
    if !quoted
        && text[range.end..].starts_with(b" = ")
        && value.iter().all(|byte| class::is(*byte, LETTER))
    {
        return None;
    }
    let is_compared = text[name_end..start]
        .windows(2)
        .any(|two| two == b"==" || two == b"!=");
    if quoted && is_compared && is_compared_secret(value, &name) {
        return Some(range);
    }
    let is_entry = || strength == Strength::Password && link == Link::Tight && !quoted;
    if is_entry()
        && name.suffix.is_empty()
        && is_entry_of_many(text, word, &range)
        && !looks::is_placeholder(value)
        && !is_code(value, false)
    {
        return Some(range);
    }
    if !accepts(value, strength, link, quoted, &name) {
        // What stands in for a value that comes from elsewhere.
        let is_call = matches!(link, Link::Tight | Link::Loose) && is_code(value, quoted);
        let fallback = literal::fallback(text, range.end).filter(|_| is_call)?;
        let value = &text[fallback.clone()];
        let may_be_anything =
            strength == Strength::Password || name.word.eq_ignore_ascii_case(b"secret");
        return (may_be_anything || looks_random(value)).then_some(fallback);
    }
    if range.len() >= MAX_VALUE {
        range.end += text[range.end..]
            .iter()
            .position(|byte| class::is(*byte, SPACE) || b"\"'".contains(byte))
            .unwrap_or(text.len() - range.end);
    }
    Some(range)
}

/// `name=` at a line's beginning; a value that ends in its padding has digits.
fn is_entry(line: &[u8]) -> bool {
    const LONGEST: usize = 48;
    let is_name = |byte: &&u8| class::is(**byte, ALNUM | JOINER) || **byte == b'.';
    let name = line.iter().take(LONGEST).take_while(is_name).count();
    let rest = line[name..].strip_prefix(b" ").unwrap_or(&line[name..]);
    let is_name = line[..name].iter().any(|byte| matches!(byte, b'.' | b'_'))
        || !line[..name].iter().any(|byte| class::is(*byte, DIGIT));
    name > 1
        && is_name
        && matches!(
            rest,
            [b'='] | [b'=', b'\n' | b'\r' | b' ' | b'"' | b'\'' | b'0'..=b'z', ..]
        )
        && class::is(line[0], LETTER)
        && !rest.starts_with(b"==")
}

fn is_url(value: &[u8]) -> bool {
    value.starts_with(b"http://") || value.starts_with(b"https://")
}

/// Whether a file of that name and one of its lines stand there: `login.c:623`.
fn is_line_of_a_source(text: &[u8], word: usize, name: usize) -> bool {
    const ENDINGS: [&[u8]; 13] = [
        b".c", b".h", b".cc", b".cpp", b".cu", b".go", b".rs", b".py", b".js", b".ts", b".java",
        b".rb", b".php",
    ];
    ENDINGS.contains(&&text[word..name])
        && text.get(name) == Some(&b':')
        && class::at(text, name + 1, DIGIT)
}

/// Whether a method of this name is given what it is called on.
fn sets(method: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"set", b"equals", b"fill", b"type", b"send", b"enter", b"update", b"encode",
    ];
    NAMES
        .iter()
        .any(|name| method.len() >= name.len() && method[..name.len()].eq_ignore_ascii_case(name))
}

/// Whether the name and its value are one of several in a connection string: there a password is what it is
/// set to, `secret` and `password` as well.
fn is_entry_of_many(text: &[u8], word: &Range<usize>, value: &Range<usize>) -> bool {
    let floor = word.start.saturating_sub(24);
    let before = text[floor..word.start].trim_ascii_end();
    before.ends_with(b";") && matches!(text.get(value.end), Some(b';' | b'"' | b'\'') | None)
}

/// What a program compares with a secret or a token: several words or a digit, as in
/// `secret !== "open-sesame"`. Keys are compared with names of settings, and tokens with words.
fn is_compared_secret(value: &[u8], name: &Name<'_>) -> bool {
    let has = |classes: u8| value.iter().any(|byte| class::is(*byte, classes));
    let ends_with = |word: &[u8]| {
        let start = name.word.len().checked_sub(word.len());
        start.is_some_and(|start| name.word[start..].eq_ignore_ascii_case(word))
    };
    let is_one = value.iter().all(|byte| class::is(*byte, ALNUM | JOINER));
    value.len() >= 8
        && name.suffix.is_empty()
        && is_one
        && has(JOINER)
        && (ends_with(b"secret") || (ends_with(b"token") && has(DIGIT)))
        && !looks::is_placeholder(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Option<&str> {
        let start = text
            .to_ascii_lowercase()
            .find("pass")
            .expect("the case names a password");
        let length = if text[start..].to_ascii_lowercase().starts_with("password") {
            8
        } else {
            4
        };
        read(text.as_bytes(), start..start + length, Strength::Password).map(|range| &text[range])
    }

    fn secret(text: &str, word: &str) -> Option<String> {
        let start = text.find(word).expect("the case has the word");
        read(text.as_bytes(), start..start + word.len(), Strength::Secret)
            .map(|range| text[range].to_owned())
    }

    #[test]
    fn a_password_is_found_in_code_configuration_and_prose() {
        assert_eq!(
            password("password = \"iXxfan#TZ!sqST\" # rotate"),
            Some("iXxfan#TZ!sqST")
        );
        assert_eq!(password("MYSQLPASS: Ce7shE0ENPi"), Some("Ce7shE0ENPi"));
        assert_eq!(password("AUTH_PASSWORD=whiteduke"), Some("whiteduke"));
        assert_eq!(password("my password is hunter2, ok?"), Some("hunter2"));
        assert_eq!(
            password("{\"password\":\"a b c\\\"d\"}"),
            Some("a b c\\\"d")
        );
        assert_eq!(
            password("<password>tr0ub4dor</password>"),
            Some("tr0ub4dor")
        );
        assert_eq!(password("opt(PASSWORD, \"s3cr3t!\")"), Some("s3cr3t!"));
    }

    #[test]
    fn talk_about_passwords_is_left_alone() {
        for text in [
            "the password field must not be empty",
            "password: str",
            "password = request.form['password']",
            "export PASSWORD=$PASSWORD",
            "password=${DB_PASSWORD}",
            "password is wrong",
            "passing = 12345678",
        ] {
            assert_eq!(password(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_needs_a_value_that_looks_like_one() {
        assert_eq!(
            secret("api_key=8f3kd92kfjw0x1", "key").as_deref(),
            Some("8f3kd92kfjw0x1")
        );
        assert_eq!(secret("token_ids: [15496, 995]", "token"), None);
        assert_eq!(secret("max_tokens: 4096", "token"), None);
        assert_eq!(secret("set OPENAI_API_KEY to <your key here>", "KEY"), None);
        assert_eq!(secret("export HF_TOKEN=$HF_TOKEN", "TOKEN"), None);
        assert_eq!(secret("key_length = XSalsa20.key_length", "key"), None);
    }
}
