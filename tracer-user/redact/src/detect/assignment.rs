//! Values that a name before them calls secret: `password = "..."`, `API_KEY: ...`,
//! `--token ...`, `<password>...</password>`, `my password is ...`, `setPassword("...")`.

use std::ops::Range;

use memchr::memmem;

use super::{
    believe::{Link, Name, Strength, accepts},
    class::{self, ALNUM, BASE64, DIGIT, HIGH, JOINER, LETTER, LOWER, SPACE, UPPER},
    link, literal,
    looks::{self, is_code, is_digest, is_grouped, is_mixed, is_plate, is_uuid, looks_random},
    spelling::is_unpronounceable,
};

/// How much of a value is looked at, in bytes. What is longer is masked to its end all the same.
pub(crate) const MAX_VALUE: usize = 512;

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
    let name_end = name_end(text, word.end)?;
    let by = |(start, link)| linked(text, &word, name_end, start, link, strength);
    let first = link::find(text, name_end);
    first.and_then(by).or_else(|| {
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

/// Where the value begins behind what the name begins with: `acme_secret = acme …`.
fn named_again(text: &[u8], word: usize, start: usize) -> Option<usize> {
    const LONGEST: usize = 24;
    let floor = word.saturating_sub(LONGEST);
    let name = floor + class::run_start(&text[floor..word], word - floor, ALNUM | JOINER);
    let owner = class::run_end(text, start, LETTER) - start;
    let is_owner = owner >= 3
        && name + owner <= word
        && text[name..name + owner].eq_ignore_ascii_case(&text[start..start + owner]);
    (is_owner && text.get(start + owner) == Some(&b' ')).then_some(start + owner + 1)
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
    // `password.addEventListener("input", ...)`: a call of anything but what sets it.
    let method = suffix.iter().rposition(|byte| *byte == b'.');
    if let Some(method) = method.map(|dot| &suffix[dot + 1..])
        && text.get(name_end) == Some(&b'(')
        && !is_mixed(value)
        && !sets(method)
    {
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

/// Whether a method of this name is given what it is called on.
fn sets(method: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"set", b"equals", b"fill", b"type", b"send", b"enter", b"update", b"encode",
    ];
    NAMES
        .iter()
        .any(|name| method.len() >= name.len() && method[..name.len()].eq_ignore_ascii_case(name))
}

/// Whether the word begins a name or a part of one: `dbPassword`, `MYSQLPASS`, `dbpassword`.
fn starts_a_name(text: &[u8], word: &Range<usize>) -> bool {
    let start = word.start;
    let is_camel = class::before(text, start, LOWER) && class::at(text, start, UPPER);
    // Names in capitals are glued together.
    let is_capital = class::before(text, start, UPPER) && class::at(text, start, UPPER);
    // `compass` and `monkey` are words, `dbpassword` is none, and neither is Java's `-Dpassword`.
    let is_defined = text[..start].ends_with(b"-D");
    let is_long = (class::before(text, start, LOWER) || is_defined) && word.len() >= 6;
    !class::before(text, start, LETTER) || is_camel || is_capital || is_long
}

/// The value of a name in small letters whose last part is the word: `dbpass=…`, `vendorkey: …`. A monkey
/// and a compass end so too, so the value must be what no word is.
fn behind_compound(text: &[u8], end: usize, strength: Strength) -> Option<Range<usize>> {
    if !matches!(text.get(end), Some(b'=' | b':')) {
        return None;
    }
    let (start, link) = link::find(text, end)?;
    let (mut range, _) = value(text, start, link, strength)?;
    // In a URL an `@` ends what opens it.
    let at = text[range.clone()].iter().position(|byte| *byte == b'@');
    if let Some(at) = at.filter(|_| strength == Strength::Secret) {
        range.end = range.start + at;
    }
    let value = &text[range.clone()];
    let count = |classes: u8| value.iter().filter(|b| class::is(**b, classes)).count();
    let is_mix = count(DIGIT) >= 2 && count(LETTER) >= 2 && !is_code(value, false);
    let is_value = match strength {
        Strength::Password => {
            value.len() >= 8
                && is_mix
                && is_mixed(value)
                && !looks::is_path(value)
                && !looks::is_identifier(value)
        }
        Strength::Secret => {
            value.len() >= 12
                && is_mix
                && (looks_random(value) || is_plate(value))
                && !is_digest(value)
                && !is_uuid(value)
        }
    };
    (is_value && link != Link::Blank).then_some(range)
}

/// A value that is a part of the name: `service-secret-3f9a…`, `SECRET_KEY.access.77d0…`.
fn glued(text: &[u8], end: usize) -> Option<Range<usize>> {
    let is_joint = |byte: u8| matches!(byte, b'-' | b'_' | b'.');
    let name = class::run_end(text, end, ALNUM | JOINER).max(end);
    let name = match text.get(name) {
        Some(b'.') => class::run_end(text, name + 1, ALNUM | JOINER),
        _ => name,
    };
    let run = &text[end..name.min(end + 300)];
    let joints = (0..run.len()).filter(|place| is_joint(run[*place]));
    joints.take(4).find_map(|joint| {
        let value = &run[joint + 1..];
        let is_single = value.iter().all(|byte| class::is(*byte, ALNUM));
        let digits = value.iter().filter(|byte| class::is(**byte, DIGIT)).count();
        let is_random = || looks_random(value) && (value.len() >= 20 || digits >= 4);
        let is_value =
            (is_single && value.len() >= 16 && (is_random() || is_unpronounceable(value)))
                || is_uuid(value)
                || is_grouped(value)
                || looks::is_product_key(value);
        is_value.then(|| end + joint + 1..rest_of_key(text, end + run.len()))
    })
}

/// Where a key ends whose first part ends at `end`: base64 and signatures go on behind a sign.
fn rest_of_key(text: &[u8], end: usize) -> usize {
    const LEAST: usize = 16;
    let limit = text.len().min(end + MAX_VALUE);
    let rest = class::run_end(&text[..limit], end, ALNUM | BASE64);
    let signature = class::run_end(&text[..limit], (end + 1).min(limit), ALNUM | JOINER);
    let is_signed = text.get(end) == Some(&b'.')
        && signature > end + LEAST
        && looks_random(&text[end + 1..signature]);
    if is_signed { signature } else { rest }
}

/// A value compared with the name after it: `"s3cret" == password`.
fn compared(text: &[u8], word: usize) -> Option<Range<usize>> {
    let head = class::run_start(
        &text[word.saturating_sub(24)..word],
        word.min(24),
        ALNUM | JOINER,
    );
    let name = word.saturating_sub(24) + head;
    let before = &text[name.saturating_sub(128)..name];
    let before = before.strip_suffix(b" ").unwrap_or(before);
    let operator = before
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b'=' | b'!'))
        .count();
    let before = &before[..before.len() - operator];
    let before = before.strip_suffix(b" ").unwrap_or(before);
    let (quote, value) = before.split_last()?;
    if !(2..=3).contains(&operator) || !matches!(quote, b'"' | b'\'') {
        return None;
    }
    let start = value.iter().rposition(|byte| byte == quote)? + 1;
    let length = value.len() - start;
    let end = name.saturating_sub(128) + value.len();
    (length >= 4).then(|| end - length..end)
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

/// `public_key`, `PublicKeyToken`: everybody may know it.
fn is_public(text: &[u8], word: usize) -> bool {
    let before = &text[word.saturating_sub(11)..word];
    let before = match before.len().checked_sub(3) {
        Some(key) if before[key..].eq_ignore_ascii_case(b"key") => &before[..key],
        _ => before,
    };
    let before = before
        .strip_suffix(b"_")
        .or(before.strip_suffix(b"-"))
        .unwrap_or(before);
    before.len() >= 6 && before[before.len() - 6..].eq_ignore_ascii_case(b"public")
}

/// `$TOKEN`, `${TOKEN}`: the value stands elsewhere.
fn is_reference(text: &[u8], word: usize) -> bool {
    let start = class::run_start(
        &text[word.saturating_sub(40)..],
        word.min(40),
        ALNUM | JOINER,
    );
    let start = word.saturating_sub(40) + start;
    start > 0 && matches!(text[start - 1], b'$' | b'{' | b'%')
}

/// `--db-password`, `-storepass`: whether the name is an option's.
fn is_option(text: &[u8], word: usize) -> bool {
    let floor = word.saturating_sub(40);
    let start = floor + class::run_start(&text[floor..], word - floor, ALNUM | JOINER);
    let is_short = || word == start + 1 && class::before(text, start, SPACE);
    text[start..].starts_with(b"--") || (text[start..].starts_with(b"-") && is_short())
}

/// The end of the name that goes on after the word: `_hash`, `Id`, `s`, `[0]`.
fn name_end(text: &[u8], end: usize) -> Option<usize> {
    let mut place = end;
    while place < text.len()
        && place < end + 40
        && (class::is(text[place], ALNUM | JOINER) || text[place] == b'.')
    {
        place += 1;
    }
    // A sentence's full stop is not a part of the name, and neither is a flag's dash.
    while place > end && matches!(text[place - 1], b'.' | b'-') {
        place -= 1;
    }
    let suffix = &text[end..place];
    // `passing`, `keyboard`, `tokenizer`, `secretary`: the word goes on in lower case.
    let continues =
        |with: &[u8]| suffix.len() >= with.len() && suffix[..with.len()].eq_ignore_ascii_case(with);
    let names_a_secret = [&b"key"[..], b"token", b"secret", b"code"]
        .into_iter()
        .any(continues);
    // The article or the possessive at the end of a Scandinavian, Turkish or Romanian word.
    let is_inflected = |with: &[u8]| {
        suffix.starts_with(with)
            && !class::at(text, end + with.len(), ALNUM)
            && end >= 6
            && text[end - 6..end]
                .iter()
                .all(|byte| class::is(*byte, LETTER | HIGH))
    };
    let names_a_secret = names_a_secret
        || [
            &b"et"[..],
            b"en",
            b"em",
            b"im",
            b"m",
            b"niz",
            b"iniz",
            b"ni",
        ]
        .into_iter()
        .any(is_inflected);
    let goes_on = !names_a_secret
        && suffix.first().is_some_and(|byte| class::is(*byte, LOWER))
        && class::before(text, end, LOWER)
        && !suffix.starts_with(b"s")
        && !suffix.starts_with(b"e =")
        && suffix
            .iter()
            .take_while(|byte| class::is(**byte, LOWER))
            .count()
            > 1;
    (!goes_on && place < end + 40).then_some(place)
}

/// The value at `start`, without its quotes, and whether it had some.
fn value(
    text: &[u8],
    start: usize,
    link: Link,
    strength: Strength,
) -> Option<(Range<usize>, bool)> {
    let mut place = literal::inside(text, start);
    if let Some(range) = literal::perl(text, place) {
        return Some((range, true));
    }
    let escape = text[place..]
        .iter()
        .take(4)
        .take_while(|byte| **byte == b'\\')
        .count();
    let quote = *text.get(place + escape)?;
    let limit = text.len().min(place + MAX_VALUE);
    if matches!(quote, b'"' | b'\'' | b'`') {
        place += escape + 1;
        // `"""` opens a text of several lines.
        while place < limit && text[place] == quote && place < start + escape + 3 {
            place += 1;
        }
        let mut end = place;
        while end < limit && text[end] != quote && text[end] != b'\n' {
            // An escaped character is a part of the value, unless the quotes are escaped as well.
            end += if text[end] == b'\\' && escape == 0 && end + 1 < limit {
                2
            } else {
                1
            };
        }
        let mut end = end.min(limit);
        while escape > 0 && end > place && text[end - 1] == b'\\' {
            end -= 1;
        }
        return (end > place).then_some((place..end, true));
    }
    let is_parameter = link == Link::Tight && text[..start].ends_with(b"=");
    let is_end = |byte: u8| {
        class::is(byte, SPACE)
            || (byte == b'&' && is_parameter)
            || byte < 0x20
            || match link {
                Link::Tight | Link::Loose => b"\"'`,;".contains(&byte),
                Link::Verb | Link::Blank => b"\"`".contains(&byte),
            }
    };
    let run_length = |from: usize| {
        let run = text[from..limit].iter();
        run.take_while(|byte| !is_end(**byte)).count()
    };
    let mut length = run_length(place);
    // A password may have the marks in it that separate others.
    let mut least = 3;
    while strength == Strength::Password && is_within(&text[place + length..limit], least) {
        length += 1 + run_length(place + length + 1);
        least = 1;
    }
    // A tag after the value, or what HTML escapes in it.
    let run = &text[place..place + length];
    let length = memmem::find(run, b"</")
        .or_else(|| memmem::find(run, b"<br"))
        .unwrap_or(length);
    let end = trim(text, place, place + length);
    (end > place).then_some((place..end, false))
}

/// Whether the mark that `rest` begins with stands within a password: what follows it up to the next blank
/// is no other name with its value and, for the first such mark, no word; and how long that is at least.
fn is_within(rest: &[u8], least: usize) -> bool {
    let Some((b',' | b';', rest)) = rest.split_first() else {
        return false;
    };
    let run = rest.iter().take(MAX_VALUE).take_while(|byte| {
        !class::is(**byte, SPACE) && **byte >= 0x20 && !b"\"'`<>()[]{}".contains(byte)
    });
    let run = &rest[..run.count()];
    let is_name = |byte: &u8| class::is(*byte, ALNUM | JOINER) || *byte == b'.';
    // `;User Id=…`: a name may have a blank in it.
    let name = rest
        .iter()
        .take(24)
        .take_while(|byte| is_name(byte) || **byte == b' ');
    let is_assigned = matches!(rest.get(name.count()), Some(b'=' | b':'));
    let is_odd = |byte: &u8| class::is(*byte, DIGIT) || byte.is_ascii_punctuation();
    let is_word = !run
        .iter()
        .any(|byte| is_odd(byte) && !b",;.".contains(byte));
    !is_assigned && run.len() >= least && (!is_word || least == 1)
}

/// Without the punctuation that ends a sentence or an expression.
pub(crate) fn trim(text: &[u8], start: usize, end: usize) -> usize {
    let mut end = end;
    while end > start && b".,;:)]}".contains(&text[end - 1]) {
        let opens = match text[end - 1] {
            b')' => b'(',
            b']' => b'[',
            b'}' => b'{',
            _ => 0,
        };
        if opens != 0 && text[start..end].contains(&opens) {
            break;
        }
        end -= 1;
    }
    end
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
