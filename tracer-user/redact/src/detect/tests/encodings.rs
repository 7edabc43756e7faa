//! No value that is found plain shows when it is encoded.

use std::{fmt::Write as _, sync::LazyLock};

use proptest::prelude::*;

use crate::detect::{Detectors, Limits, checksum::luhn, tokens};

static DETECTORS: LazyLock<Detectors> = LazyLock::new(Detectors::builtin);

/// Sentences around a value; none of them is one that the detectors were written by.
const FRAMES: [(&str, &str); 8] = [
    ("", ""),
    ("Hello, ", ", thanks."),
    ("2) see ", "; anything else?"),
    ("{\"note\": \"", "\", \"n\": 3}"),
    ("user said: <", ">"),
    ("| name | ", " |"),
    ("first line\n", "\nlast line"),
    ("Über ", " sprechen wir später"),
];

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(value: &str, padded: bool) -> String {
    let mut encoded = String::new();
    for chunk in value.as_bytes().chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            encoded.push(char::from(BASE64[(bits >> (18 - 6 * place) & 63) as usize]));
        }
        if padded {
            encoded.extend(std::iter::repeat_n('=', 3 - chunk.len()));
        }
    }
    encoded
}

/// Writes each character that is wanted in another way.
fn each(value: &str, wanted: impl Fn(char) -> bool, encode: impl Fn(&mut String, char)) -> String {
    let mut encoded = String::new();
    for character in value.chars() {
        if wanted(character) {
            encode(&mut encoded, character);
        } else {
            encoded.push(character);
        }
    }
    encoded
}

fn is_mark(character: char) -> bool {
    !character.is_ascii_alphanumeric()
}

fn hex(value: &str) -> String {
    each(
        value,
        |_| true,
        |to, c| write!(to, "{:02x}", u32::from(c)).expect("a string takes all"),
    )
}

/// The value in every encoding that any text can have.
fn encodings(value: &str) -> Vec<(&'static str, String)> {
    let write = |to: &mut String, text: std::fmt::Arguments<'_>| {
        to.write_fmt(text).expect("a string takes all")
    };
    let percent = |to: &mut String, c: char| write(to, format_args!("%{:02X}", u32::from(c)));
    let unicode = |to: &mut String, c: char| write(to, format_args!("\\u{:04x}", u32::from(c)));
    let entity = |to: &mut String, c: char| write(to, format_args!("&#{};", u32::from(c)));
    let wide = |to: &mut String, c: char| to.extend(char::from_u32(u32::from(c) + 0xFEE0));
    let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
    let mut all = vec![
        ("plain", value.to_owned()),
        ("json string", quoted),
        (
            "zero width",
            each(value, |_| true, |to, c| to.extend([c, '\u{200b}'])),
        ),
        (
            "zero width joiner",
            each(
                value,
                |c| c.is_ascii_digit() || c == '@',
                |to, c| to.extend(['\u{200d}', c]),
            ),
        ),
        ("percent", each(value, is_mark, percent)),
        ("percent, all", each(value, |_| true, percent)),
        ("unicode escape", each(value, is_mark, unicode)),
        ("unicode escape, all", each(value, |_| true, unicode)),
        (
            "hex escape",
            each(
                value,
                |_| true,
                |to, c| write(to, format_args!("\\x{:02x}", u32::from(c))),
            ),
        ),
        ("entity", each(value, is_mark, entity)),
        (
            "hexadecimal entity",
            each(
                value,
                |_| true,
                |to, c| write(to, format_args!("&#x{:x};", u32::from(c))),
            ),
        ),
        (
            "full width digits",
            each(value, |c| c.is_ascii_digit(), wide),
        ),
        (
            "full width",
            each(value, |c| ('!'..='~').contains(&c), wide),
        ),
        (
            "spaced",
            each(value, |c| c != ' ', |to, c| to.extend([c, ' ']))
                .trim()
                .to_owned(),
        ),
    ];
    if value.len() >= 12 {
        all.extend([
            ("base64", base64(value, true)),
            ("base64 without padding", base64(value, false)),
            ("hexadecimal", hex(value)),
            ("capital hexadecimal", hex(value).to_uppercase()),
            (
                "base64 of percent",
                base64(&each(value, is_mark, percent), true),
            ),
            ("hexadecimal of base64", hex(&base64(value, true))),
            ("base64 of base64", base64(&base64(value, true), true)),
            (
                "percent of entity",
                each(&each(value, is_mark, entity), is_mark, percent),
            ),
        ]);
    }
    all
}

fn card() -> impl Strategy<Value = String> {
    (
        prop::sample::select(vec!["4", "51", "55", "6011", "37"]),
        "[0-9]{15}",
        prop::sample::select(vec!["", " ", "-"]),
    )
        .prop_map(|(prefix, digits, separator)| {
            let length = if prefix == "37" { 15 } else { 16 };
            let mut digits: Vec<u8> = format!("{prefix}{digits}")
                .bytes()
                .take(length)
                .map(|byte| byte - b'0')
                .collect();
            while !luhn(&digits) {
                digits[length - 1] = (digits[length - 1] + 1) % 10;
            }
            let groups: &[usize] = if length == 15 { &[4, 10] } else { &[4, 8, 12] };
            let mut written = String::new();
            for (place, digit) in digits.iter().enumerate() {
                if groups.contains(&place) {
                    written.push_str(separator);
                }
                written.push(char::from(b'0' + digit));
            }
            written
        })
}

fn token() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "ghp_*36",
        "AKIA^16",
        "hf_*34",
        "xoxb-#12-#12-*24",
        "rk_live_*24",
        "sk-ant-api03-*80",
        "AIza*35",
        "glpat-*20",
    ])
    .prop_map(tokens::expand)
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        card(),
        token(),
        "[a-z]{3,10}[0-9]{0,2}@[a-z]{3,10}\\.(com|org|de|io)",
        "[a-z]{3,8}\\.[a-z]{3,8}@mail\\.[a-z]{3,10}\\.(co\\.uk|fr)",
        "\\+44 20 7[0-9]{3} [0-9]{4}",
        "\\+1 [2-9][0-9]{2} [2-9][0-9]{2} [0-9]{4}",
        "[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}",
        Just("GB82 WEST 1234 5698 7654 32".to_owned()),
        Just("DE89370400440532013000".to_owned()),
        "[1-6][0-9]{2}-[1-9][0-9]-[1-9][0-9]{3}"
            .prop_filter("no area is 666", |ssn| !ssn.starts_with("666")),
    ]
}

/// What of the encoded value shows, if anything but blanks does.
fn shows(frame: (&str, &str), encoded: &str) -> Option<String> {
    let text = format!("{}{encoded}{}", frame.0, frame.1);
    let findings = DETECTORS
        .scan(text.as_bytes(), &Limits::default())
        .expect("the text is short");
    let value = frame.0.len()..frame.0.len() + encoded.len();
    let is_masked = |at: usize| findings.iter().any(|finding| finding.range.contains(&at));
    let shown: String = encoded
        .char_indices()
        .filter(|(at, character)| {
            !is_masked(value.start + at)
                && !character.is_whitespace()
                && !matches!(character, '\u{200b}' | '\u{200d}')
        })
        .map(|(_, character)| character)
        .collect();
    (!shown.is_empty()).then_some(shown)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_character_of_a_value_shows_in_any_encoding(value in value(), frame in prop::sample::select(FRAMES.to_vec())) {
        for (name, encoded) in encodings(&value) {
            let shown = shows(frame, &encoded);
            prop_assert_eq!(shown, None, "{}: {:?} as {:?} in {:?}", name, &value, &encoded, frame);
        }
    }

    #[test]
    fn mail_addresses_are_found_however_they_are_disguised(
        user in "[a-z]{3,9}[0-9]{0,2}", host in "[a-z]{3,9}(-[a-z]{3,6})?", top in "(com|org|net|fr|de)",
        at in prop::sample::select(vec![" [at] ", "(at)", " (at) ", "[at]", " {at} ", " [AT] "]),
        dot in prop::sample::select(vec![" [dot] ", "(dot)", ".", " (DOT) ", "[.]"]),
        frame in prop::sample::select(FRAMES.to_vec()),
    ) {
        prop_assert_eq!(shows(frame, &format!("{user}{at}{host}{dot}{top}")), None);
        prop_assert_eq!(shows(frame, &format!("{user} at {host} dot {top}")), None);
        let look_alike = |text: &str| text.replace('a', "а").replace('e', "е").replace('o', "о").replace('c', "с").replace('i', "і");
        prop_assert_eq!(shows(frame, &format!("{}@{}.{top}", look_alike(&user), look_alike(&host))), None);
    }

    #[test]
    fn a_value_is_found_across_a_line_end(value in prop_oneof![card(), token()], at in 5_usize..11, blank in "(\n|\r\n|\n  )") {
        let wrapped = format!("{}{blank}{}", &value[..at], &value[at..]);
        prop_assert_eq!(shows(("see ", " there"), &wrapped), None, "{:?}", wrapped);
    }

    #[test]
    fn findings_lie_on_the_text_sorted_and_apart(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let findings = DETECTORS.scan(&bytes, &Limits::default()).expect("the text is short");
        prop_assert!(findings.iter().all(|finding| finding.range.end <= bytes.len()));
        for pair in findings.windows(2) {
            prop_assert!(pair[0].range.end <= pair[1].range.start);
        }
    }
}
