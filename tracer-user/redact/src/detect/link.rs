//! What joins a name to its value: a sign, a blank, a verb, the next attribute or cell.

use memchr::{memchr, memchr2, memmem};

use super::{
    believe::{Link, Strength},
    class::{self, ALNUM, DIGIT, HIGH, JOINER, LOWER, SPACE},
    literal,
    looks::names_something_else,
};

/// The place after what joins a name to its value.
pub(crate) fn find(text: &[u8], from: usize) -> Option<(usize, Link)> {
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
    let start = match text.get(place) {
        Some(b'{') => literal::braced(text, place),
        Some(b' ' | b',' | b';' | b'>' | b'\r' | b'\n') => {
            next_field(text, place).or_else(|| behind_attributes(text, place))
        }
        Some(b'<') => next_field(text, place).or_else(|| next_cell(text, place)),
        Some(b':') if text[place..].starts_with(b":<") => next_cell(text, place),
        Some(b'.') if place > from => typed_into(text, place),
        _ => None,
    };
    if let Some(start) = start {
        return Some((start, Link::Loose));
    }
    let blanks = skip(&mut place, b" \t", 24);
    if blanks > 0
        && let Some(length) = adjective(&text[place..])
    {
        return Some((place + length, Link::Blank));
    }
    if blanks > 0
        && let Some(length) = qualified(&text[place..])
    {
        place += length;
        while let Some(length) = filler(&text[place..]) {
            place += length;
        }
        return Some((place, Link::Verb));
    }
    if let Some(length) = verb(&text[place..]).filter(|_| blanks > 0) {
        place += length;
        while let Some(length) = filler(&text[place..]) {
            place += length;
        }
        // `is generated for root@localhost: `
        place += qualified(&text[place..]).unwrap_or(0);
        skip(&mut place, b" \t:", 3);
        return Some((place, Link::Verb));
    }
    // The last name of a table's first row is no line's own.
    let is_in_a_row = || {
        let floor = from.saturating_sub(48);
        let name = text[floor..from].iter().rev();
        let mut before = name.skip_while(|byte| class::is(**byte, ALNUM | JOINER));
        matches!(before.next(), Some(b',' | b';' | b'|' | b'\t'))
    };
    if let Some(start) = next_reply(text, place).filter(|_| place > from) {
        return Some((start, Link::Loose));
    }
    if place == from
        && let Some(start) = next_line(text, place).filter(|_| !is_in_a_row())
    {
        return Some((start, Link::Blank));
    }
    if blanks == 0
        && class::at(text, place, HIGH)
        && let Some(length) = particle(&text[place..])
    {
        place += length;
        skip(&mut place, b" ", 1);
        return Some((place, Link::Verb));
    }
    // `Unseal Key 1: ...`
    let number = class::run_end(text, place, DIGIT) - place;
    if blanks > 0 && (1..=2).contains(&number) && text.get(place + number) == Some(&b':') {
        place += number;
    }
    // How a router's configuration writes it: `password 7 0822455D0A16`.
    if blanks > 0 && number == 1 && text.get(place + 1) == Some(&b' ') {
        return Some((place + 2, Link::Loose));
    }
    // The next cell of a table.
    if blanks > 0 && text[place..].starts_with(b"| ") {
        return Some((place + 2, Link::Loose));
    }
    // R's assignment.
    if text[place..].starts_with(b"<- ") {
        return Some((place + 3, Link::Loose));
    }
    // `password - ...`, which may be a range or a list of things as well.
    if blanks > 0
        && matches!(text.get(place), Some(b'-' | 0xE2))
        && let Some(dash) = ["- ", "– ", "— "]
            .into_iter()
            .find(|dash| text[place..].starts_with(dash.as_bytes()))
    {
        return Some((place + dash.len(), Link::Blank));
    }
    // `PASSWORD ?= ...`, `||=`, `As String =`.
    let operators = [&b"?="[..], b"||=", b"??=", b"+=", b".="];
    if matches!(text.get(place), Some(b'?' | b'|' | b'+' | b'.'))
        && let Some(operator) = operators
            .into_iter()
            .find(|it| text[place..].starts_with(it))
    {
        place += operator.len() - 1;
    }
    // Go names a type before the sign.
    if blanks > 0
        && let Some(rest) = text[place..].strip_prefix(b"string = ")
        && rest.starts_with(b"\"")
    {
        return Some((text.len() - rest.len(), Link::Loose));
    }
    if blanks > 0
        && text[place..].starts_with(b"As ")
        && let Some(value) = literal::behind_type(text, place + 3)
    {
        return Some((value, Link::Loose));
    }
    let marks = match text.get(place..place + 3) {
        Some(b"-> ") => 2,
        _ => 0,
    };
    place += marks;
    let marks = marks + skip(&mut place, b"=:><!~", 3);
    if marks > 0 {
        let mark = &text[place - marks..place];
        let is_type = mark == b"::" && !(blanks > 0 && text[place..].starts_with(b" \""));
        if mark.contains(&b'<') || mark == b"!" || is_type {
            return None;
        }
        let is_colon = mark == b":";
        // `*password:* ...`
        let emphasis = skip(&mut place, b"*", 2);
        if emphasis > 0 && !class::at(text, place, SPACE) {
            place -= emphasis;
        }
        let after = skip(&mut place, b" \t\r\n", 24);
        // A line goes on.
        if text[place..].starts_with(b"\\\n") {
            place += 2;
            skip(&mut place, b" \t", 24);
        }
        if is_colon && let Some(value) = literal::behind_type(text, place) {
            return Some((value, Link::Loose));
        }
        if let Some(value) = block(text, place) {
            return Some((value, Link::Loose));
        }
        if let Some(value) = here_document(text, place) {
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
        skip(&mut place, b" \t", 24);
        // An argument counts as a value only if it is quoted.
        return matches!(text.get(place), Some(b'"' | b'\'')).then_some((place, Link::Loose));
    }
    (blanks > 0 || (place > from && text[place - 1] != b'_')).then_some((place, Link::Blank))
}

/// The line below the sign of a block in YAML: `key: |`.
fn block(text: &[u8], from: usize) -> Option<usize> {
    let rest = text[from..]
        .strip_prefix(b"|")
        .or(text[from..].strip_prefix(b">"))?;
    let rest = rest.strip_prefix(b"-").unwrap_or(rest);
    let below = rest.strip_prefix(b"\n")?;
    let blanks = below.iter().take(24).take_while(|byte| **byte == b' ');
    let blanks = blanks.count();
    (blanks > 0).then_some(text.len() - below.len() + blanks)
}

/// The line behind `<<EOT`.
fn here_document(text: &[u8], from: usize) -> Option<usize> {
    let rest = text[from..].strip_prefix(b"<<")?;
    let is_word = |byte: &u8| class::is(*byte, ALNUM | JOINER) || b"~'\"".contains(byte);
    let word = rest
        .iter()
        .take(24)
        .take_while(|byte| is_word(byte))
        .count();
    let end = from + 2 + word;
    let start = class::run_end(text, end, SPACE);
    (word > 0 && text.get(end) == Some(&b'\n')).then_some(start)
}

/// The value that stands in a field of its own, behind the one with the name: `"name": "DB_PASSWORD", "value": `,
/// `ParameterKey=DbPassword,ParameterValue=`, `<name>api.key</name><value>`, `variable "pw" { default = `.
fn next_field(text: &[u8], from: usize) -> Option<usize> {
    const LONGEST: usize = 96;
    const FIELDS: [&[u8]; 8] = [
        b"text",
        b"parametervalue",
        b"value",
        b"string",
        b"val",
        b"data",
        b"default",
        b"with",
    ];
    let rest = &text[from..text.len().min(from + LONGEST)];
    let first = *rest.first()?;
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || b",;{".contains(byte);
    let mut place = rest.iter().take_while(|byte| is_between(byte)).count();
    // `</name>`, `</key>`, and what closes a tag with the name in an attribute.
    let tag = rest[place..].strip_prefix(b"</").and_then(|tag| {
        let length = tag.iter().take(12).position(|byte| *byte == b'>')?;
        Some(2 + length + 1)
    });
    let is_tag = tag.is_some() || first == b'>';
    place += tag.unwrap_or(usize::from(first == b'>'));
    if is_tag {
        place += rest[place..]
            .iter()
            .take_while(|byte| is_between(byte))
            .count();
        place += usize::from(rest.get(place) == Some(&b'<'));
    } else if place == 0 || rest[..place] == *b" " {
        return None;
    }
    place += rest[place..]
        .iter()
        .take(2)
        .take_while(|byte| b"\"'\\".contains(byte))
        .count();
    let field = FIELDS.into_iter().find(|field| {
        rest[place..].len() > field.len()
            && rest[place..][..field.len()].eq_ignore_ascii_case(field)
    })?;
    place += field.len();
    let ends = |byte: &&u8| byte.is_ascii_whitespace() || b"\"'\\:=>".contains(byte);
    let joint = rest[place..].iter().take(12).take_while(ends).count();
    let is_joined = rest[place..place + joint]
        .iter()
        .any(|byte| b":=>".contains(byte));
    // The value's own quote, if it has one.
    let quote = rest[place..place + joint]
        .iter()
        .rposition(|byte| !b"\"'\\".contains(byte))?;
    is_joined.then_some(from + place + quote + 1)
}

/// What stands in the cell of a table in HTML behind the one with the name: `<td>Password</td><td>…</td>`.
fn next_cell(text: &[u8], from: usize) -> Option<usize> {
    const LONGEST: usize = 96;
    const CELLS: [&[u8]; 7] = [b"td", b"dd", b"code", b"span", b"b", b"strong", b"kbd"];
    let rest = &text[from..text.len().min(from + LONGEST)];
    let colon = usize::from(rest.first() == Some(&b':'));
    let mut place = colon;
    let mut is_in_cell = false;
    // What closes the name's cell, and what opens the value's.
    loop {
        place += rest[place..]
            .iter()
            .take_while(|byte| class::is(**byte, SPACE))
            .count();
        let Some(tag) = rest[place..].strip_prefix(b"<") else {
            break;
        };
        let end = memchr(b'>', tag)?;
        let name = tag[..end].split(|byte| class::is(*byte, SPACE)).next()?;
        if !name.starts_with(b"/") {
            let is_cell = CELLS.iter().any(|cell| name.eq_ignore_ascii_case(cell));
            is_in_cell |= is_cell;
            if !is_cell && !name.eq_ignore_ascii_case(b"br") {
                return None;
            }
        }
        place += end + 2;
    }
    (is_in_cell && rest[colon..].starts_with(b"<")).then_some(from + place)
}

/// What a tag with attributes is around: `<password encrypted="false">…</password>`.
fn behind_attributes(text: &[u8], from: usize) -> Option<usize> {
    const LONGEST: usize = 96;
    let rest = &text[from..text.len().min(from + LONGEST)];
    let rest = rest.strip_prefix(b" ")?;
    let name = class::run_end(rest, 0, LOWER);
    if name == 0 || !rest[name..].starts_with(b"=\"") {
        return None;
    }
    let end = memchr(b'>', rest)?;
    let attributes = &rest[..end];
    let is_tag = memmem::find(attributes, b"=\"").is_some()
        && attributes.ends_with(b"\"")
        && memchr(b'<', attributes).is_none();
    let value = &rest[end + 1..];
    let is_closed = memchr(b'<', value).is_some_and(|at| value[at + 1..].starts_with(b"/"));
    (is_tag && is_closed).then_some(from + 1 + end + 1)
}

/// What is typed into the field of the name: `get('#password').type('…')`.
fn typed_into(text: &[u8], from: usize) -> Option<usize> {
    const CALLS: [&[u8]; 8] = [
        b"type",
        b"fill",
        b"val",
        b"setvalue",
        b"sendkeys",
        b"send_keys",
        b"set",
        b"clearandtype",
    ];
    let rest = text[from..].strip_prefix(b".")?;
    let name = class::run_end(&rest[..rest.len().min(16)], 0, ALNUM | JOINER);
    let is_known = CALLS
        .iter()
        .any(|call| rest[..name].eq_ignore_ascii_case(call));
    let is_quoted = matches!(rest.get(name..name + 2), Some(b"(\"" | b"('"));
    (is_known && is_quoted).then_some(from + 1 + name + 1)
}

/// `for the guest network is `: what is said of a name before its value.
fn qualified(rest: &[u8]) -> Option<usize> {
    const LONGEST: usize = 64;
    static BEGINNINGS: [&str; 34] = [
        "for ", "of ", "on ", "at ", "from ", "i ", "we ", "für ", "vom ", "von ", "zum ", "zur ",
        "der ", "des ", "pour ", "du ", "de ", "meiner ", "meines ", "my ", "our ", "para ",
        "del ", "do ", "da ", "per ", "della ", "van ", "voor ", "till ", "til ", "dla ", "для ",
        "от ",
    ];
    const VERBS: [&str; 21] = [
        " is ",
        " was ",
        ": ",
        " = ",
        " to ",
        " ist ",
        " lautet ",
        " auf ",
        " est ",
        " en ",
        " es ",
        " è ",
        " é ",
        " to jest ",
        " jest ",
        " är ",
        " er ",
        " – ",
        " — ",
        " - ",
        " на ",
    ];
    static HEADS: [u16; 34] = heads(&BEGINNINGS);
    begun(rest, &BEGINNINGS, &HEADS)?;
    let rest = &rest[..rest.len().min(LONGEST)];
    let is_part = |byte: &u8| class::is(*byte, ALNUM | HIGH | JOINER) || b" '=:.@+".contains(byte);
    let rest = &rest[..rest.iter().take_while(|byte| is_part(byte)).count()];
    let ends = VERBS.iter().filter_map(|verb| {
        let at = memmem::find(rest, verb.as_bytes())?;
        Some(at + verb.len())
    });
    ends.min()
}

/// Where the value begins that some words more lead up to: `key instead: …`, `password (admin): …`,
/// `password to proceed to installation:`. Behind a password's name only words that say nothing else of it.
pub(crate) fn further(text: &[u8], from: usize, strength: Strength) -> Option<usize> {
    const LONGEST: usize = 48;
    const PHRASES: [&[u8]; 13] = [
        b"issued",
        b"created",
        b"sent",
        b"instead",
        b"again",
        b"below",
        b"here",
        b"to proceed to installation",
        b"to use",
        b"to log in",
        b"as follows",
        b"is generated",
        b"generated",
    ];
    let rest = text.get(from..)?.strip_prefix(b" ")?;
    let rest = &rest[..rest.len().min(LONGEST)];
    let end = memchr2(b':', b'=', rest)?;
    let said = rest[..end].strip_suffix(b" ").unwrap_or(&rest[..end]);
    let blanks = text[from + 1 + end + 1..].iter().take(4);
    let blanks = blanks.take_while(|byte| class::is(**byte, SPACE)).count();
    let is_remark = || {
        matches!(
            (said.first(), said.last()),
            (Some(b'('), Some(b')')) | (Some(b'"'), Some(b'"'))
        )
    };
    let is_word = |word: &[u8]| {
        !word.is_empty()
            && word.iter().all(|byte| class::is(*byte, LOWER | HIGH))
            && !names_something_else(word)
    };
    let is_said = || match strength {
        Strength::Password => PHRASES.contains(&said),
        Strength::Secret => said.split(|byte| *byte == b' ').all(is_word),
    };
    (blanks > 0 && (is_remark() || rest[end] == b':' && is_said()))
        .then_some(from + 1 + end + 1 + blanks)
}

/// The only word of the next line, where a name ends its own: `API key` above `8f3k…`.
fn next_line(text: &[u8], end: usize) -> Option<usize> {
    let start = match text.get(end..)? {
        [b'\r', b'\n', ..] => end + 2,
        [b'\n', ..] => end + 1,
        _ => return None,
    };
    let word = text[start..].iter().take(130);
    let is_part = |byte: &&u8| byte.is_ascii_graphic() && !b"=:\"'`".contains(byte);
    let length = word.take_while(is_part).count();
    let is_alone = matches!(text.get(start + length), None | Some(b'\n' | b'\r'));
    ((6..=128).contains(&length) && is_alone).then_some(start)
}

/// The next reply of a database's shell, behind its number: `1) "token"` above `2) "8f3k…"`.
fn next_reply(text: &[u8], end: usize) -> Option<usize> {
    let line = text.get(end..)?.strip_prefix(b"\n")?;
    let start = text.len() - line.len();
    let number = class::run_end(text, start, DIGIT);
    ((1..=3).contains(&(number - start)) && text[number..].starts_with(b") \""))
        .then_some(number + 2)
}

/// `La password temporanea …`: what some languages put behind the name.
fn adjective(rest: &[u8]) -> Option<usize> {
    static ADJECTIVES: [&str; 8] = [
        "temporanea ",
        "provvisoria ",
        "temporal ",
        "temporaire ",
        "provisoire ",
        "temporária ",
        "provisória ",
        "tymczasowe ",
    ];
    static HEADS: [u16; 8] = heads(&ADJECTIVES);
    begun(rest, &ADJECTIVES, &HEADS).map(str::len)
}

#[rustfmt::skip]
fn verb(rest: &[u8]) -> Option<usize> {
    static VERBS: [&str; 51] = [
        "war ", "était ", "era ",
        "will be ", "is ", "was ", "are ", "ist ", "est ", "es ", "to ", "is:", "equals ", "lautet ", "è ", "é ", "jest ", "er ",
        "är ", "on ", "olarak ", "este ", "mea este ", "je ", "είναι ", "μου είναι ", "là ", "adalah ", "yra ", "ir ", "هي ",
        "היא ", "from ", "auf ", "c'est ", "c’est ", "wurde ", "has been ", "a été ", "ha sido ", "foi ", "è stata ", "of ", "saya ", "שלי היא ", "changed to ", "set to ", "reset to ", "now ", "này là ", "của tôi là ",
    ];
    static HEADS: [u16; 51] = heads(&VERBS);
    begun(rest, &VERBS, &HEADS).map(str::len)
}

/// What a verb is followed by before the value: `is now `, `was changed to `.
#[rustfmt::skip]
fn filler(rest: &[u8]) -> Option<usize> {
    static FILLERS: [&str; 32] = [
        "tried ",
        "now ", "currently ", "still ", "just ", "simply ", "changed to ", "set to ", "reset to ", "updated to ", "changed from ", "auf ", "jetzt ", "noch ",
        "changé en ", "changé pour ", "remplacé par ", "maintenant ", "cambiada a ", "cambiado a ", "ahora ", "alterada para ", "agora ", "cambiata in ", "ora ", "teraz ",
        "nu ", "adalah ", "following ", "as follows ", "called ", "generated ",
    ];
    static HEADS: [u16; 32] = heads(&FILLERS);
    begun(rest, &FILLERS, &HEADS).map(str::len)
}

/// The first of the words that `rest` begins with, in either case. Their first two letters, looked at together,
/// say that most texts begin with none.
fn begun(rest: &[u8], words: &'static [&'static str], heads: &[u16]) -> Option<&'static str> {
    let head = u16::from_le_bytes([*rest.first()? | 0x20, *rest.get(1)? | 0x20]);
    if !heads.contains(&head) {
        return None;
    }
    words.iter().copied().find(|word| {
        rest.len() > word.len() && rest[..word.len()].eq_ignore_ascii_case(word.as_bytes())
    })
}

/// The first two bytes of each word, as `begun` looks at them.
const fn heads<const COUNT: usize>(words: &[&str; COUNT]) -> [u16; COUNT] {
    let mut heads = [0; COUNT];
    let mut place = 0;
    while place < COUNT {
        let word = words[place].as_bytes();
        heads[place] = u16::from_le_bytes([word[0] | 0x20, word[1] | 0x20]);
        place += 1;
    }
    heads
}

/// What stands between a name and its value in scripts that write no blanks.
fn particle(rest: &[u8]) -> Option<usize> {
    ["は", "是", "为", "為", "는 ", "은 ", "가 ", "คือ"]
        .into_iter()
        .find(|particle| rest.starts_with(particle.as_bytes()))
        .map(str::len)
}
