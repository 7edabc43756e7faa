//! Whose password it is: the name that stands beside one goes with it.

use std::ops::Range;

use super::{
    class::{self, ALNUM, SPACE},
    command::is_user,
};

/// Who the user is beside a password in a connection string: `User Id=ann;Password=…;`.
pub(crate) fn beside_in_a_string(text: &[u8], password: &Range<usize>) -> Option<Range<usize>> {
    const NAMES: [&[u8]; 8] = [
        b"user id",
        b"user name",
        b"username",
        b"userid",
        b"user",
        b"uid",
        b"accountname",
        b"sharedaccesskeyname",
    ];
    const BEFORE: usize = 192;
    const AFTER: usize = 96;
    let from = password.start.saturating_sub(BEFORE);
    let to = text.len().min(password.end + AFTER);
    let is_outside = |byte: &u8| matches!(byte, b'\n' | b'"' | b'\'' | b'`');
    let from = text[from..password.start]
        .iter()
        .rposition(is_outside)
        .map_or(from, |place| from + place + 1);
    let to = text[password.end..to]
        .iter()
        .position(is_outside)
        .map_or(to, |place| password.end + place);
    let entries = &text[from..to];
    if !entries.contains(&b';') {
        return None;
    }
    let mut place = from;
    for entry in entries.split(|byte| *byte == b';') {
        let start = place;
        place += entry.len() + 1;
        let blanks = entry
            .iter()
            .take_while(|byte| class::is(**byte, SPACE))
            .count();
        let Some(sign) = entry.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let name = entry[blanks.min(sign)..sign]
            .trim_ascii_end()
            .to_ascii_lowercase();
        let value = entry[sign + 1..].trim_ascii();
        let begin =
            start + sign + 1 + entry[sign + 1..].len() - entry[sign + 1..].trim_ascii_start().len();
        if NAMES.contains(&name.as_slice()) && is_user(value) {
            return Some(begin..begin + value.len());
        }
    }
    None
}

/// Who the user is beside a password on the same line or one beside it: `username: ann` above `password: …`,
/// `user="ann" password="…"`, `login ann password …`.
pub(crate) fn near(text: &[u8], password: &Range<usize>) -> Option<Range<usize>> {
    const BEFORE: usize = 128;
    const AFTER: usize = 80;
    const NEAR: usize = 32;
    const NAMES: [&[u8]; 11] = [
        b"username",
        b"user_name",
        b"userid",
        b"user",
        b"login",
        b"utilisateur",
        b"usuario",
        b"utente",
        b"benutzername",
        b"benutzer",
        b"identifiant",
    ];
    const JOINTS: [&[u8]; 12] = [
        b",", b" and ", b" und ", b" et ", b" y ", b" e ", b" with ", b" mit ", b" con ",
        b" avec ", b" /", b";",
    ];
    let from = password.start.saturating_sub(BEFORE);
    let to = text.len().min(password.end + AFTER);
    // One line's end on either side of the password's own line, at most.
    let lines = |byte: &(usize, &u8)| *byte.1 == b'\n';
    let from = text[from..password.start]
        .iter()
        .enumerate()
        .rev()
        .filter(lines)
        .nth(1)
        .map_or(from, |(place, _)| from + place + 1);
    let to = text[password.end..to]
        .iter()
        .enumerate()
        .filter(lines)
        .nth(1)
        .map_or(to, |(place, _)| password.end + place);
    let named = |start: usize| {
        let rest = &text[start..to];
        let name = NAMES.into_iter().find(|name| {
            rest.len() > name.len() && rest[..name.len()].eq_ignore_ascii_case(name)
        })?;
        let joint = &rest[name.len()..];
        let length = joint
            .iter()
            .take(6)
            .take_while(|byte| b"\"'` :=".contains(byte))
            .count();
        let joint = &joint[..length];
        let value = start + name.len() + length;
        let is_part = |byte: &u8| class::is(*byte, ALNUM) || b"_-.@\\^".contains(byte);
        let size = text[value..to]
            .iter()
            .take_while(|byte| is_part(byte))
            .count();
        let range = value..value + size;
        let may_be_blank = matches!(name, b"login" | b"username");
        let is_joined = joint.iter().any(|byte| b"\"'`:=".contains(byte))
            || (may_be_blank
                && length == 1
                && text[range.end..to]
                    .trim_ascii_start()
                    .starts_with(b"password"))
            // `user ann and password …`
            || (length == 1
                && joint == b" "
                && range.end + NEAR >= password.start
                && JOINTS.iter().any(|joint| text[range.end..to].starts_with(joint)));
        let is_beside = range.end <= password.start || range.start >= password.end;
        let is_other = [
            &b"password"[..],
            b"pass",
            b"null",
            b"none",
            b"true",
            b"false",
        ]
        .into_iter()
        .any(|word| text[range.clone()].eq_ignore_ascii_case(word));
        (length > 0 && size >= 2 && is_joined && is_beside && !is_other).then_some(range)
    };
    let begins = |place: &usize| {
        matches!(text[*place] | 32, b'u' | b'l' | b'b' | b'i')
            && !class::before(text, *place, class::LETTER)
    };
    let before = (from..password.start).rev().filter(begins).find_map(named);
    before.or_else(|| (password.end..to).filter(begins).find_map(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_has_a_user() {
        let text = "Server=h;User Id=ann;Password=secret1;Database=d;";
        let start = text.find("secret1").expect("it is there");
        let found = beside_in_a_string(text.as_bytes(), &(start..start + 7));
        assert_eq!(found.map(|range| &text[range]), Some("ann"));
        for text in [
            "username: ann\npassword: secret1\n",
            "user=\"ann\" password=\"secret1\"",
            "login ann password secret1",
            "{\"password\":\"secret1\",\"user\":\"ann\"}",
            "username 'ann'\n  password 'secret1'",
        ] {
            let start = text.find("secret1").expect("it is there");
            let found = near(text.as_bytes(), &(start..start + 7));
            assert_eq!(found.map(|range| &text[range]), Some("ann"), "{text}");
        }
        for text in [
            "the user has password secret1",
            "user: ann\n\nx\npassword: secret1",
        ] {
            let start = text.find("secret1").expect("it is there");
            assert_eq!(near(text.as_bytes(), &(start..start + 7)), None, "{text}");
        }
        let text = "password = \"secret1\"; user = 1";
        assert_eq!(beside_in_a_string(text.as_bytes(), &(12..19)), None);
    }
}
