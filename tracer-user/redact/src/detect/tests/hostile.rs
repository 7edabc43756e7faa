//! Texts that are made to cost. `cargo xtask bench redaction` measures that their cost stays in
//! proportion to their length.

use crate::detect::{Detectors, Kind, Limits, lexical};

/// Texts of about this many bytes, each hard on something.
fn hostile(length: usize) -> Vec<(&'static str, Vec<u8>)> {
    let repeat = |piece: &str| piece.repeat(length / piece.len()).into_bytes();
    let nested = {
        let mut text = "jo@example.org ".repeat(length / 60);
        for _ in 0..4 {
            text = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            text.truncate(length);
        }
        text.into_bytes()
    };
    vec![
        ("one letter", repeat("a")),
        ("one digit", repeat("1")),
        ("digits with blanks", repeat("1 ")),
        ("groups of digits", repeat("123 456-")),
        ("at signs", repeat("@")),
        ("addresses without an end", repeat("a@a.")),
        ("colons", repeat(":")),
        ("hexadecimal with colons", repeat("ab:")),
        ("slashes", repeat("/a")),
        ("base64 of nothing", repeat("QUJD")),
        ("keys", repeat("key=")),
        ("passwords", repeat("password:")),
        ("quotes", repeat("secret=\"")),
        ("armour", repeat("-----BEGIN PRIVATE KEY-----\n")),
        ("armour without an end", repeat("-----BEGIN ")),
        ("schemes", repeat("a://b:")),
        (
            "one scheme and colons",
            [b"x://".as_slice(), &repeat("a:")].concat(),
        ),
        ("escapes", repeat("\\u0041")),
        ("half escapes", repeat("\\u")),
        ("percents", repeat("%41")),
        ("nested percents", nested),
        ("entities", repeat("&#65;")),
        ("zero width", repeat("a\u{200b}")),
        ("look-alikes", repeat("аa")),
        ("marks", repeat(" dot ")),
        ("line ends", repeat("abc123def4567\n")),
        ("blanks", repeat(" ")),
        ("births", repeat("born ")),
        ("addresses", repeat("address 1 ")),
        ("capitals", repeat("Ab ")),
        ("tokens", repeat("eyJ")),
        ("many tokens", repeat("ghp_aB3")),
        ("users", repeat(" -u a:")),
        ("words of context", repeat("card phone ssn ")),
        ("words that begin as a hexadecimal number", repeat("0xag7 ")),
        ("cookies", repeat("cookie: a=b;")),
        ("wallets", repeat("seed\n")),
        ("one value again and again", repeat("password=abc12345 ")),
        ("pairs of blanks", repeat("a  ")),
        ("a mail's escapes", repeat("=3D=\n")),
        ("ports", repeat("a:5432:")),
        ("cards", repeat("4111111111111111 /")),
        ("invalid bytes", vec![0xFF; length]),
    ]
}

#[test]
fn hostile_texts_are_searched_to_their_end() {
    let detectors = Detectors::builtin();
    for (name, text) in hostile(64 << 10) {
        assert!(detectors.scan(&text, &Limits::default()).is_ok(), "{name}");
        assert!(lexical::uncommon(&text).len() <= text.len(), "{name}");
    }
}

/// `0xa` is read back from the 7, which lies behind it: the walk went back there for ever.
#[test]
fn a_digit_behind_what_begins_as_a_hexadecimal_number_is_walked_past() {
    let found = Detectors::builtin().scan(b"0xag7 jo@example.org", &Limits::default());
    let ranges: Vec<_> = found.into_iter().flatten().map(|it| it.range).collect();
    assert_eq!(ranges.as_slice(), std::slice::from_ref(&(6..20)));
}

/// Its value would not fit in 32 bits.
#[test]
fn four_dotted_groups_of_many_digits_are_no_address() {
    let found = Detectors::builtin().scan(b"6.6.6.0777777777777777", &Limits::default());
    assert!(found.is_ok_and(|found| found.iter().all(|it| it.kind != Kind::IpAddress)));
}

/// Found by the fuzzer: in a shadow something was found that no byte of the text had become.
#[test]
fn what_is_found_has_a_length() {
    let text = b"mail jo%40b.de, card 4111 1111 \x001 1 1 1111 1111, IBAN GB82 `EST 1234 5698 7654 32\npasswo, IBAN GB82 `ESTAN GB82 `EST 1234 5698 7654 32\npasswo, IBAN GB82 `EST 1f8a7b6c5d4e3f2a1b0c\nborn 1980/02-0), 12 Main St8";
    for is_whole in [true, false] {
        let limits = Limits {
            is_whole,
            ..Limits::default()
        };
        let found = Detectors::builtin().scan(text, &limits);
        assert!(found.is_ok_and(|found| found.iter().all(|it| !it.range.is_empty())));
    }
}
