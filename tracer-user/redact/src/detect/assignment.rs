//! Values that a name before them calls secret: `password = "..."`, `API_KEY: ...`,
//! `--token ...`, `<password>...</password>`, `my password is ...`, `setPassword("...")`.

use std::ops::Range;

use memchr::memmem;

use super::{
    believe::{Link, Name, Strength, accepts},
    class::{self, ALNUM, DIGIT, JOINER, LETTER, LOWER, SPACE, UPPER},
    literal,
    looks::{has_kinds, is_code, is_mixed, is_placeholder, is_uuid, looks_random},
};

/// How much of a value is looked at, in bytes. What is longer is masked to its end all the same.
const MAX_VALUE: usize = 512;

/// The value after the name whose deciding word is at `word`.
pub(crate) fn read(text: &[u8], word: Range<usize>, strength: Strength) -> Option<Range<usize>> {
    if !starts_a_name(text, &word) {
        return None;
    }
    if let Some(range) = glued(text, word.end).or_else(|| compared(text, word.start)) {
        return Some(range);
    }
    if strength != Strength::Password && is_public(text, word.start) {
        return None;
    }
    let name_end = name_end(text, word.end)?;
    let suffix = &text[word.end..name_end];
    let (start, link) = link(text, name_end)?;
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
    if matches!(link, Link::Tight | Link::Loose)
        && let Some(range) = literal::bytes(text, start, &name)
    {
        return Some(range);
    }
    let (mut range, quoted) = value(text, start, link)?;
    // No key holds an `@`; in a URL it ends what opens it.
    if strength != Strength::Password
        && !quoted
        && let Some(at) = text[range.clone()].iter().position(|byte| *byte == b'@')
    {
        range.end = range.start + at;
    }
    let value = &text[range.clone()];
    // `input: HTMLInputElement = ...`: a type.
    if !quoted
        && text[range.end..].starts_with(b" = ")
        && value.iter().all(|byte| class::is(*byte, LETTER))
    {
        return None;
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

/// The value of a header or option that ends at `end`, as in `Bearer ...`.
pub(crate) fn scheme(text: &[u8], end: usize) -> Option<Range<usize>> {
    let mut start = class::run_end(text, end, SPACE);
    if start == end || start > end + 3 {
        return None;
    }
    // `Authorization: SSWS ...`: whatever the scheme is called.
    let word = class::run_end(text, start, LETTER);
    if text[..end].ends_with(b":") && word - start <= 12 && text.get(word) == Some(&b' ') {
        start = word + 1;
    }
    while start < text.len() && b"\"'\\<{".contains(&text[start]) && start < end + 6 {
        start += 1;
    }
    let is_value = |byte: u8| class::is(byte, ALNUM | JOINER) || b"+/=.~%:".contains(&byte);
    let length = text[start..]
        .iter()
        .take(MAX_VALUE)
        .take_while(|byte| is_value(**byte))
        .count();
    let range = start..trim(text, start, start + length);
    let value = &text[range.clone()];
    // A digest or a pointer says what it is.
    let says_what = value.starts_with(b"0x") || value.contains(&b':');
    (!says_what
        && value.len() >= 12
        && (looks_random(value) || value.len() >= 24)
        && !is_placeholder(value))
    .then_some(range)
}

/// The password of `creds: admin / ...` or `login with admin:...`, seen from the end of the first
/// word.
pub(crate) fn pair(text: &[u8], end: usize) -> Option<Range<usize>> {
    let line = &text[end..text.len().min(end + 96)];
    let line = line
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(line, |place| &line[..place]);
    let mut place = 0;
    let blanks = |place: usize| {
        line[place..]
            .iter()
            .take_while(|byte| **byte == b' ')
            .count()
    };
    for joint in [&b" with"[..], b" as", b" is", b" are", b":"] {
        if line[place..].starts_with(joint) {
            place += joint.len();
        }
    }
    place += blanks(place);
    let is_user = |byte: &u8| class::is(*byte, ALNUM | JOINER) || b".@".contains(byte);
    let user = line[place..]
        .iter()
        .take_while(|byte| is_user(byte))
        .count();
    if place == 0
        || user < 2
        || !line[place..place + user]
            .iter()
            .any(|b| class::is(*b, LETTER))
    {
        return None;
    }
    place += user;
    // `a / b`, `a:b`, `a | b`: one without blanks would be a path or a choice.
    let (before, sign) = (blanks(place), line.get(place + blanks(place))?);
    let after = blanks(place + before + 1);
    let joins = match sign {
        b':' => before == 0,
        b'/' | b'|' => before > 0 && after > 0,
        _ => false,
    };
    place += before + 1 + after;
    let length = line[place..]
        .iter()
        .take_while(|byte| !class::is(**byte, SPACE) && !b"\"'`".contains(byte))
        .count();
    let value = trim(line, place, place + length);
    let value = place..value;
    let is_password = value.len() >= 6
        && is_mixed(&line[value.clone()])
        && has_kinds(&line[value.clone()], 3)
        && !line[value.clone()].contains(&b'/');
    (joins && is_password).then(|| end + value.start..end + value.end)
}

/// `user:password` after `-u` or `--user`, as curl takes it.
pub(crate) fn user(text: &[u8], end: usize) -> Option<Range<usize>> {
    let start = end
        + text[end..]
            .iter()
            .take(3)
            .take_while(|byte| matches!(byte, b' ' | b'=' | b'"' | b'\''))
            .count();
    let is_end = |byte: &u8| class::is(*byte, SPACE) || b"`<>|&;".contains(byte);
    let limit = text.len().min(start + 256);
    let length = text[start..limit]
        .iter()
        .take_while(|byte| !is_end(byte))
        .count();
    let unquoted = |part: &[u8]| -> Vec<u8> {
        let is_quote = |byte: &u8| b"\"'".contains(byte);
        part.iter()
            .copied()
            .filter(|byte| !is_quote(byte))
            .collect()
    };
    let value = &text[start..start + length];
    let length = length
        - value
            .iter()
            .rev()
            .take_while(|byte| b"\"',".contains(byte))
            .count();
    let value = &text[start..start + length];
    let colon = value.iter().position(|byte| *byte == b':')?;
    let (user, secret) = (unquoted(&value[..colon]), unquoted(&value[colon + 1..]));
    let stock: [&[u8]; 6] = [b"pass", b"password", b"passwd", b"test", b"pwd", b"token"];
    let is_stock = stock.contains(&secret.as_slice()) || secret.starts_with(b"$");
    // `-u "token:"` and `-u ":password"` leave one side out.
    let is_value = |part: &[u8]| {
        part.len() >= 3 && !part.contains(&b'/') && (!is_placeholder(part) || is_mixed(part))
    };
    let holds = match (user.is_empty(), secret.is_empty()) {
        (false, true) => is_value(&user) && is_mixed(&user),
        (true, false) => is_value(&secret) && is_mixed(&secret) && !is_stock,
        (false, false) => {
            let is_user = !is_placeholder(&user) || is_mixed(&user);
            is_user && !user.contains(&b'/') && is_value(&secret) && !is_stock
        }
        (true, true) => false,
    };
    (start > end && holds).then(|| start..start + length)
}

/// Whether the word begins a name or a part of one: `dbPassword`, `MYSQLPASS`, `dbpassword`.
fn starts_a_name(text: &[u8], word: &Range<usize>) -> bool {
    let start = word.start;
    let is_camel = class::before(text, start, LOWER) && class::at(text, start, UPPER);
    // Names in capitals are glued together.
    let is_capital = class::before(text, start, UPPER) && class::at(text, start, UPPER);
    // `compass` and `monkey` are words, `dbpassword` is none.
    let is_long = class::before(text, start, LOWER) && word.len() >= 6;
    !class::before(text, start, LETTER) || is_camel || is_capital || is_long
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
        let is_value = (is_single && value.len() >= 20 && looks_random(value)) || is_uuid(value);
        is_value.then(|| end + joint + 1..end + run.len())
    })
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

/// `public_key`: everybody may know it.
fn is_public(text: &[u8], word: usize) -> bool {
    let before = &text[word.saturating_sub(8)..word];
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

/// `--db-password`: whether the name is an option's.
fn is_option(text: &[u8], word: usize) -> bool {
    let floor = word.saturating_sub(40);
    let start = floor + class::run_start(&text[floor..], word - floor, ALNUM | JOINER);
    text[start..].starts_with(b"--")
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

/// The place after what joins a name to its value.
fn link(text: &[u8], from: usize) -> Option<(usize, Link)> {
    let mut place = from;
    let skip = |place: &mut usize, set: &[u8], most: usize| {
        let start = *place;
        while *place < text.len() && *place < start + most && set.contains(&text[*place]) {
            *place += 1;
        }
        *place - start
    };
    // An array's size: `char secret[32] =`.
    if text.get(place) == Some(&b'[') {
        let end = class::run_end(text, place + 1, DIGIT);
        if text.get(end) == Some(&b']') {
            place = end + 1;
        }
    }
    // What closes the name: quotes, brackets, markup, escapes.
    skip(&mut place, b"\"'`\\])*_", 4);
    // `<add key="Password" value="..."/>`
    let rest = &text[place..];
    if place > from
        && let Some(length) = [&b" value=\""[..], b" value='"]
            .into_iter()
            .find(|attribute| rest.starts_with(attribute))
            .map(<[u8]>::len)
    {
        return Some((place + length - 1, Link::Loose));
    }
    let blanks = skip(&mut place, b" \t", 12);
    if let Some(length) = verb(&text[place..]).filter(|_| blanks > 0) {
        place += length;
        skip(&mut place, b" \t:", 3);
        return Some((place, Link::Verb));
    }
    if blanks == 0
        && let Some(length) = particle(&text[place..])
    {
        return Some((place + length, Link::Verb));
    }
    // `Unseal Key 1: ...`
    let number = class::run_end(text, place, DIGIT) - place;
    if blanks > 0 && (1..=2).contains(&number) && text.get(place + number) == Some(&b':') {
        place += number;
    }
    // The next cell of a table.
    if blanks > 0 && text[place..].starts_with(b"| ") {
        return Some((place + 2, Link::Loose));
    }
    // R's assignment.
    if text[place..].starts_with(b"<- ") {
        return Some((place + 3, Link::Loose));
    }
    let marks = skip(&mut place, b"=:><!~", 3);
    if marks > 0 {
        let mark = &text[place - marks..place];
        if mark.contains(&b'<') || mark == b"!" || mark == b"::" {
            return None;
        }
        let is_colon = mark == b":";
        let after = skip(&mut place, b" \t\r\n", 24);
        if is_colon && let Some(value) = literal::behind_type(text, place) {
            return Some((value, Link::Loose));
        }
        let link = if blanks == 0 && after == 0 {
            Link::Tight
        } else {
            Link::Loose
        };
        return Some((place, link));
    }
    if text.get(place) == Some(&b',') || (text.get(place) == Some(&b'(') && blanks == 0) {
        place += 1;
        skip(&mut place, b" \t", 4);
        // An argument counts as a value only if it is quoted.
        return matches!(text.get(place), Some(b'"' | b'\'')).then_some((place, Link::Loose));
    }
    (blanks > 0 || (place > from && text[place - 1] != b'_')).then_some((place, Link::Blank))
}

fn verb(rest: &[u8]) -> Option<usize> {
    [
        "is ", "was ", "are ", "ist ", "est ", "es ", "to ", "is:", "equals ", "lautet ", "è ",
        "é ", "jest ", "er ", "är ", "on ", "olarak ",
    ]
    .into_iter()
    .map(str::as_bytes)
    .find(|verb| rest.len() > verb.len() && rest[..verb.len()].eq_ignore_ascii_case(verb))
    .map(<[u8]>::len)
}

/// What stands between a name and its value in scripts that write no blanks.
fn particle(rest: &[u8]) -> Option<usize> {
    ["は", "是", "为", "為", "는 ", "은 ", "가 "]
        .into_iter()
        .find(|particle| rest.starts_with(particle.as_bytes()))
        .map(str::len)
}

/// The value at `start`, without its quotes, and whether it had some.
fn value(text: &[u8], start: usize, link: Link) -> Option<(Range<usize>, bool)> {
    let mut place = start;
    // Types and escapes before a quote: `b"`, `L"`, `\"`, `@"`, `Some("`.
    if matches!(
        text.get(place),
        Some(b'b' | b'u' | b'r' | b'f' | b'L' | b'@')
    ) && matches!(text.get(place + 1), Some(b'"' | b'\''))
    {
        place += 1;
    }
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
    let length = text[place..limit]
        .iter()
        .take_while(|byte| !is_end(**byte))
        .count();
    // A tag after the value, or what HTML escapes in it.
    let run = &text[place..place + length];
    let length = memmem::find(run, b"</")
        .or_else(|| memmem::find(run, b"<br"))
        .unwrap_or(length);
    let end = trim(text, place, place + length);
    (end > place).then_some((place..end, false))
}

/// Without the punctuation that ends a sentence or an expression.
fn trim(text: &[u8], start: usize, end: usize) -> usize {
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
