//! Identifiers that mix letters and digits: tax codes, passports, plates, health and driving
//! numbers. A word nearby, a check, or nothing else around must vouch for them.

use std::{iter, ops::Range};

use super::{
    checksum::weighted,
    class::{self, ALNUM, DIGIT, HIGH, LETTER, LOWER, UPPER},
    hit::{Certainty, Found},
    kind::Kind::{
        self, DrivingLicence, HealthId, NationalId, Passport, PostalAddress, VehiclePlate,
    },
    number::identifier::{cl_rut, cn_resident_id, is_date},
    numbered,
    words::{Context, Topic},
};

/// One identifier. Its characters come in capitals and without separators.
struct Code {
    name: &'static str,
    /// One that holds.
    example: &'static str,
    kind: Kind,
    /// Letters as `A`, digits as `9`, either as `X`; alternatives are separated by `|`.
    shapes: [Shape; MAX_SHAPES],
    /// A bit for each length that it has.
    lengths: u32,
    holds: fn(&[u8]) -> bool,
    vouched_by: Vouch,
}

/// The most shapes that one identifier has.
const MAX_SHAPES: usize = 10;

/// A shape, a bit for each place.
#[derive(Clone, Copy)]
struct Shape {
    /// 0 where there is no shape.
    length: usize,
    digits: u32,
    letters: u32,
}

/// What must vouch for a code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Vouch {
    /// Its own check or shape is enough.
    Itself,
    /// A word on its topic, or that there is nothing else.
    WordOrAlone,
    /// A word on its topic.
    Word,
    /// A word on its topic close before it, and it is in capitals.
    Beside,
    /// A word that calls it a number of something.
    Number,
}

const fn code(
    name: &'static str,
    example: &'static str,
    kind: Kind,
    shape: &'static str,
    vouched_by: Vouch,
    holds: fn(&[u8]) -> bool,
) -> Code {
    Code {
        name,
        example,
        kind,
        shapes: shapes(shape),
        lengths: lengths(&shapes(shape)),
        holds,
        vouched_by,
    }
}

const fn lengths(shapes: &[Shape; MAX_SHAPES]) -> u32 {
    let (mut lengths, mut place) = (0, 0);
    while place < MAX_SHAPES {
        lengths |= 1 << shapes[place].length;
        place += 1;
    }
    lengths
}

const fn shapes(text: &str) -> [Shape; MAX_SHAPES] {
    const NONE: Shape = Shape {
        length: 0,
        digits: 0,
        letters: 0,
    };
    let bytes = text.as_bytes();
    let mut shapes = [NONE; MAX_SHAPES];
    let (mut shape, mut place) = (0, 0);
    while place < bytes.len() {
        let bit = 1 << shapes[shape].length;
        match bytes[place] {
            b'|' => {
                shape += 1;
                place += 1;
                continue;
            }
            b'A' => shapes[shape].letters |= bit,
            b'9' => shapes[shape].digits |= bit,
            b'X' => {}
            _ => panic!("a shape has A, 9 and X"),
        }
        shapes[shape].length += 1;
        place += 1;
    }
    shapes
}

use Vouch::{Beside, Itself, Number, Word, WordOrAlone};

#[rustfmt::skip]
static CODES: &[Code] = &[
    code("es-nif", "12345678Z", NationalId, "99999999A|9999999A", Itself, |c| { let (n, l) = c.split_at(c.len() - 1); b"TRWAGMYFPDXBNJZSQVHLCKE"[remainder(n) % 23] == l[0] }),
    code("es-nie", "X1234567L", NationalId, "A9999999A", Itself, |c| matches!(c[0], b'X' | b'Y' | b'Z') && { let n = remainder(&c[1..8]) + usize::from(c[0] - b'X') * 10_000_000; b"TRWAGMYFPDXBNJZSQVHLCKE"[n % 23] == c[8] }),
    code("es-cif", "A58818501", NationalId, "A9999999X", WordOrAlone, |c| { let d = values(&c[1..8]); let s: u32 = d.iter().enumerate().map(|(i, x)| if i % 2 == 0 { let y = u32::from(*x) * 2; y / 10 + y % 10 } else { u32::from(*x) }).sum(); let k = (10 - s % 10) % 10; c[8] == b'0' + k as u8 || c[8] == b"JABCDEFGHI"[k as usize] }),
    code("it-codice-fiscale", "RSSMRA85T10A562S", NationalId, "AAAAAA99A99A999A", Itself, it_codice_fiscale),
    code("it-driving-licence", "AA0123456B", DrivingLicence, "AA9999999A|A9A99A999A", WordOrAlone, |c| c[1] != b'1' || c[0] == b'U'),
    code("fi-hetu", "131052A308T", NationalId, "999999A999X", Itself, |c| fi_hetu(&c[..6], c[6], &c[7..])),
    code("fi-hetu-dashed", "131052-308T", NationalId, "999999999A", WordOrAlone, |c| fi_hetu(&c[..6], b'-', &c[6..])),
    code("uk-nino", "AB123456C", NationalId, "AA999999A", Itself, |c| !b"DFIQUV".contains(&c[0]) && !b"DFIOQUV".contains(&c[1]) && !matches!(&c[..2], b"BG" | b"GB" | b"NK" | b"KN" | b"TN" | b"NT" | b"ZZ") && matches!(c[8], b'A'..=b'D')),
    code("uk-driving-licence", "MORGA657054SM9IJ", DrivingLicence, "XXXXX999999XXXXX|XXXXX999999XXXXXXX|XXXXX999999XX9AA", Itself, |c| { let name = c[..5].iter().take_while(|b| b.is_ascii_uppercase()).count(); name > 0 && c[name..5].iter().all(|b| *b == b'9') && { let d = values(&c[5..11]); matches!(d[1] * 10 + d[2], 1..=12 | 51..=62) && (1..=31).contains(&(d[3] * 10 + d[4])) } && c[11..13].iter().all(u8::is_ascii_alphanumeric) && c[14..].iter().all(u8::is_ascii_uppercase) }),
    code("uk-passport", "AB1234567", Passport, "AA9999999|999999999", WordOrAlone, |c| c[0].is_ascii_uppercase()),
    code("uk-postcode", "SW1A1AA", PostalAddress, "A99AA|A999AA|AA99AA|AA999AA|A9A9AA|AA9A9AA", WordOrAlone, |c| !c[c.len() - 2..].iter().any(|b| b"CIKMOV".contains(b)) && !b"QVX".contains(&c[0])),
    code("uk-plate", "AB51ABC", VehiclePlate, "AA99AAA", WordOrAlone, |c| { let age = (c[2] - b'0') * 10 + c[3] - b'0'; matches!(age, 2..=29 | 51..=79) && !c.iter().any(|b| b"IQ".contains(b)) }),
    code("de-social-security", "65170839J003", NationalId, "99999999A999", Itself, de_social_security),
    code("de-passport", "C01X00T41", Passport, "AXXXXXXX9|AXXXXXXXX9", WordOrAlone, |c| b"CFGHJKLMNPRTVWXYZ".contains(&c[0]) && mrz(&c[..c.len() - 1]) == c[c.len() - 1]),
    code("de-health-insurance", "A123456780", HealthId, "A999999999", WordOrAlone, |c| { let l = c[0] - b'A' + 1; let d = [&[l / 10, l % 10], &values(&c[1..9])[..]].concat(); let s: u32 = d.iter().enumerate().map(|(i, x)| { let p = u32::from(*x) * if i % 2 == 0 { 1 } else { 2 }; p / 10 + p % 10 }).sum(); s % 10 == u32::from(c[9] - b'0') }),
    code("fr-nir-corsica", "185052A00123475", NationalId, "999999A99999999", WordOrAlone, |c| matches!(c[6], b'A' | b'B')),
    code("ie-pps", "1234567T", NationalId, "9999999A|9999999AA", WordOrAlone, |c| { let d = values(&c[..7]); let extra = match c.get(8) { Some(b'W') | None => 0, Some(l) => u32::from(l - b'A' + 1) * 9 }; let s = (weighted(&d, &[8, 7, 6, 5, 4, 3, 2]) + extra) % 23; c[7] == if s == 0 { b'W' } else { b'@' + s as u8 } }),
    code("sg-nric", "S1234567D", NationalId, "A9999999A", WordOrAlone, sg_nric),
    code("sg-uen", "53125226D", NationalId, "99999999A|999999999A|A99AA9999A", WordOrAlone, |c| c.len() < 10 || matches!(c[0], b'R' | b'S' | b'T') || (c[0].is_ascii_digit() && (18..=20).contains(&((c[0] - b'0') * 10 + c[1] - b'0')))),
    code("hk-id", "A1234563", NationalId, "A999999X|AA999999X", WordOrAlone, |c| { let l = c.len() - 7; let mut v: Vec<u32> = c[..l].iter().map(|b| u32::from(b - b'A') + 10).collect(); if l == 1 { v.insert(0, 36); } v.extend(values(&c[l..l + 6]).iter().map(|d| u32::from(*d))); let s: u32 = v.iter().zip((2..=9).rev()).map(|(a, w)| a * w).sum(); (11 - s % 11) % 11 == if c[c.len() - 1] == b'A' { 10 } else { u32::from(c[c.len() - 1]).wrapping_sub(48) } }),
    code("tw-id", "A123456789", NationalId, "A999999999", WordOrAlone, |c| { let v = [10, 11, 12, 13, 14, 15, 16, 17, 34, 18, 19, 20, 21, 22, 35, 23, 24, 25, 26, 27, 28, 29, 32, 30, 31, 33][usize::from(c[0] - b'A')]; let d = values(&c[1..]); matches!(d[0], 1 | 2 | 8 | 9) && (v / 10 + v % 10 * 9 + weighted(&d, &[8, 7, 6, 5, 4, 3, 2, 1, 1])).is_multiple_of(10) }),
    code("in-pan", "ABCPE1234F", NationalId, "AAAAA9999A", WordOrAlone, |c| b"PCHABGJLFTD".contains(&c[3])),
    code("in-gstin", "27AAPFU0939F1ZV", NationalId, "99AAAAA9999AXAX", Itself, |c| { let s = (c[0] - b'0') * 10 + c[1] - b'0'; matches!(s, 1..=38 | 97 | 99) && c[13] == b'Z' }),
    code("in-voter", "ABC1234567", NationalId, "AAA9999999", WordOrAlone, |_| true),
    code("in-passport", "J8369854", Passport, "A9999999", WordOrAlone, |c| c[1] != b'0'),
    code("in-plate", "KA53ME3456", VehiclePlate, "AA99AA9999|AA9AAA9999|AA99A9999|AA9AA9999|AAA9999|AA9999|A99999", Word, |_| true),
    code("in-plate-series", "KA53ME3456", VehiclePlate, "AA99AA9999|AA9AAA9999", WordOrAlone, |c| IN_STATES.contains(&&c[..2])),
    code("in-plate-of-all-states", "22BH1234AA", VehiclePlate, "99AA9999A|99AA9999AA", WordOrAlone, |c| &c[2..4] == b"BH"),
    code("kr-passport", "M12345678", Passport, "A99999999|A999A9999", WordOrAlone, |c| b"MSRODG".contains(&c[0])),
    code("es-passport", "AAA123456", Passport, "AAA999999", WordOrAlone, |_| true),
    code("us-passport", "A12345678", Passport, "A99999999", WordOrAlone, |c| c[0] != b'H' || c.len() == 9),
    code("us-mbi", "1EG4TE5MK73", HealthId, "9AX9AX9AA99", Itself, |c| c[0] != b'0' && !c.iter().any(|b| b"SLOIBZ".contains(b))),
    code("us-dea", "AB1234563", HealthId, "AA9999999", WordOrAlone, |c| { let d = values(&c[2..]); (u32::from(d[0]) + u32::from(d[2]) + u32::from(d[4]) + 2 * (u32::from(d[1]) + u32::from(d[3]) + u32::from(d[5]))) % 10 == u32::from(d[6]) && b"ABCDEFGHJKLMPRSTUX".contains(&c[0]) }),
    code("us-driving-licence", "D1234567", DrivingLicence, "A9999999|A99999999|A999999999|A9999999999|A99999999999|A999999999999|A9999999999999|A99999999999999|AA9999999999999", Word, |_| true),
    code("in-driving-licence", "KA0420190284686", DrivingLicence, "AA9999999999999", Itself, |c| IN_STATES.contains(&&c[..2]) && matches!(&c[4..6], b"19" | b"20")),
    code("mx-curp", "HEGG560427MVZRRL04", NationalId, "AAAA999999AAAAAAX9", Itself, |c| matches!(c[10], b'H' | b'M' | b'X') && is_date(&values(&c[6..8]), &values(&c[8..10]))),
    code("mx-rfc", "HEGG560427AB1", NationalId, "AAAA999999XXX|AAA999999XXX", WordOrAlone, |c| { let l = c.len() - 9; is_date(&values(&c[l + 2..l + 4]), &values(&c[l + 4..l + 6])) }),
    code("cl-rut-k", "12345605K", NationalId, "99999999A|9999999A", WordOrAlone, |c| c[c.len() - 1] == b'K' && cl_rut(&values(&c[..c.len() - 1])) == 10),
    code("cn-resident-id-x", "11010519491231002X", NationalId, "99999999999999999A", Itself, |c| c[17] == b'X' && cn_resident_id(&values(&c[..17]), None)),
    code("uk-plate-dated", "A123BCD", VehiclePlate, "A999AAA|A99AAA|A9AAA|AAA999A|AAA99A|AAA9A", WordOrAlone, |c| !c.iter().any(|b| b"IQZ".contains(b))),
    code("tr-plate", "34ABC123", VehiclePlate, "99A99|99A999|99A9999|99A99999|99AA99|99AA999|99AA9999|99AAA99|99AAA999|99AAA9999", WordOrAlone, |c| (1..=81).contains(&((c[0] - b'0') * 10 + c[1] - b'0'))),
    code("ng-plate", "ABC123DE", VehiclePlate, "AAA999AA", WordOrAlone, |_| true),
    code("pl-id-card", "ABA300000", NationalId, "AAA999999", Word, |_| true),
    code("de-id-card", "L01X00T47", NationalId, "AXXXXXXXX|9999999999A", Word, |_| true),
    code("nl-passport", "SPECI2014", Passport, "AAXXXXXX9", Word, |_| true),
    code("vin", "1HGCM82633A004352", VehiclePlate, "XXXXXXXXXXXXXXXXX", Word, |c| !c.iter().any(|b| b"IOQ".contains(b))),
    code("in-ifsc", "SBIN0005943", Kind::BankAccount, "AAAA9XXXXXX", Word, |c| c[4] == b'0'),
    code("ca-on-health", "1234567897AB", HealthId, "9999999999AA", Word, |c| crate::detect::checksum::luhn(&values(&c[..10]))),
    code("swift", "DEUTDEFF500", Kind::BankAccount, "AAAAAAXX|AAAAAAXXXXX", Word, |_| true),
    code("any-passport-code", "AB123456", Passport, "AA999999|AA9999999|A9999999|A99999999|999999999|AXXXXXXXX|99AA99999|AAA999999", Word, |c| c.iter().filter(|b| b.is_ascii_digit()).count() >= 4),
    code("mx-voter", "ROVLVR83051209M400", NationalId, "AAAAAA99999999A999", Itself, |c| matches!(c[14], b'H' | b'M') && is_date(&values(&c[8..10]), &values(&c[10..12]))),
    code("any-health-code", "H0048213", HealthId, "A999999|A9999999|A99999999|A999999999|A9999999999|AA99999999|AAA999999999|AAA99999999", Word, |_| true),
    code("any-licence-code", "B072RRE2I55", DrivingLicence, "XXXXXXX|XXXXXXXX|XXXXXXXXX|XXXXXXXXXX|XXXXXXXXXXX|XXXXXXXXXXXX|XXXXXXXXXXXXX", Word, |c| c.iter().filter(|b| b.is_ascii_digit()).count() >= if c.len() == 12 { 2 } else { 4 }),
    code("any-long-licence-code", "SIDQG634762YV0RM", DrivingLicence, "XXXXXXXXXXXXXXXX", Word, |c| c.iter().filter(|b| b.is_ascii_digit()).count() >= 6 && !c.iter().all(u8::is_ascii_hexdigit)),
    code("eu-vat", "IT12345670017", NationalId, "AA99999999|AA999999999|AA9999999999|AA99999999999|AA999999999999|AAA99999999", Word, |c| c[2] == b'U' || !c[2].is_ascii_uppercase()),
    code("gh-card", "GHA1234567895", NationalId, "AAA9999999999", WordOrAlone, |c| c.starts_with(b"GHA")),
    code("pt-citizen-card", "000000000ZZ4", NationalId, "999999999AA9", WordOrAlone, |_| true),
    code("any-plate", "4821KLM", VehiclePlate, "XXXXX|XXXXXX|XXXXXXX|XXXXXXXX", Beside, |c| c.iter().filter(|b| b.is_ascii_digit()).count() >= 2),
    code("any-coded-id", "A12345", NationalId, "XXXXXX|XXXXXXX|XXXXXXXX|XXXXXXXXX|XXXXXXXXXX|XXXXXXXXXXX|XXXXXXXXXXXX|XXXXXXXXXXXXX", Word, |c| c.iter().filter(|b| b.is_ascii_digit()).count() >= 4),
    code("any-numbered", "POL4821903", NationalId, "XXXXXX|XXXXXXX|XXXXXXXX|XXXXXXXXX|XXXXXXXXXX|XXXXXXXXXXX|XXXXXXXXXXXX|XXXXXXXXXXXXX|XXXXXXXXXXXXXX", Number, |c| c.iter().filter(|b| b.is_ascii_digit()).count() >= 4),
    code("any-long-numbered", "91350100M000100Y43", NationalId, "XXXXXXXXXXXXXXX|XXXXXXXXXXXXXXXX|XXXXXXXXXXXXXXXXX|XXXXXXXXXXXXXXXXXX", Number, |c| c.iter().filter(|b| b.is_ascii_digit()).count() >= 6),
];

/// What has the shape of a code that no word need vouch for, and is none.
const COUNTER_EXAMPLES: [(&str, &str); 13] = [
    ("mx-voter", "ROVLVR83051209X400"),
    ("es-nif", "12345678A"),
    ("es-nie", "X1234567A"),
    ("it-codice-fiscale", "RSSMRA85T99A562S"),
    ("fi-hetu", "131052A308A"),
    ("uk-nino", "DF123456C"),
    ("uk-driving-licence", "MORGA699054SM9IJ"),
    ("de-social-security", "65170839J004"),
    ("in-gstin", "50AAPFU0939F1ZV"),
    ("us-mbi", "0EG4TE5MK73"),
    ("in-driving-licence", "KA0430190284686"),
    ("mx-curp", "HEGG569927MVZRRL04"),
    ("cn-resident-id-x", "11010519491231001X"),
];

/// Each code's name, a text with its example, and whether the rule does what it says: the example
/// holds, and where no word has to vouch for it, its counter-example does not.
pub(crate) fn examples() -> impl Iterator<Item = (&'static str, String, bool)> {
    CODES.iter().map(|code| {
        let holds = |text: &str| {
            let characters: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
            let is_length = |shape: &Shape| shape.length == characters.len();
            code.shapes.iter().any(is_length) && (code.holds)(&characters)
        };
        let counter = COUNTER_EXAMPLES.iter().find(|(name, _)| *name == code.name);
        let is_refused = match counter {
            Some((_, counter)) => !holds(counter),
            None => code.vouched_by != Itself,
        };
        let word = match code.kind {
            Passport => "passport",
            DrivingLicence => "driving licence",
            VehiclePlate => "number plate",
            HealthId => "patient",
            PostalAddress => "postcode",
            Kind::BankAccount => "swift",
            _ if code.vouched_by == Number => "policy number",
            _ => "national id",
        };
        let text = format!("{word} {}", code.example);
        (code.name, text, holds(code.example) && is_refused)
    })
}

const IN_STATES: [&[u8]; 30] = [
    b"AN", b"AP", b"AR", b"AS", b"BR", b"CH", b"DD", b"DL", b"GA", b"GJ", b"HP", b"HR", b"JH",
    b"JK", b"KA", b"KL", b"LA", b"LD", b"MH", b"ML", b"MN", b"MP", b"MZ", b"NL", b"OD", b"PB",
    b"RJ", b"TN", b"TS", b"UP",
];

/// The longest code with separators.
const MAX: usize = 32;

/// The code that the token at `token` begins or is, and its end.
pub(crate) fn read(context: &Context<'_>, token: Range<usize>) -> Option<Found> {
    let text = context.text;
    let is_glued = |byte: u8| matches!(byte, b'_' | b'/' | b'.' | b'-');
    if token.len() > 18 {
        return None;
    }
    let glued = (token.start > 1
        && is_glued(text[token.start - 1])
        && class::at(text, token.start - 2, ALNUM | HIGH))
        || (text
            .get(token.end)
            .is_some_and(|byte| *byte == b'_' || *byte == b'/')
            && class::at(text, token.end + 1, ALNUM));
    if let Some(range) = uk_postcode(context.text, &token) {
        return Some(Found {
            range,
            rule: "uk-postcode",
            kind: PostalAddress,
            certainty: Certainty::Shape,
        });
    }
    if let Some(range) = hk_id(text, &token) {
        return Some(Found {
            range,
            rule: "hk-id",
            kind: NationalId,
            certainty: Certainty::Checked,
        });
    }
    // The token alone, then with up to five groups to its right: longest first.
    let has = |classes: u8| {
        text[token.clone()]
            .iter()
            .any(|byte| class::is(*byte, classes))
    };
    // A code in small letters has none of its groups in capitals.
    let is_small = has(LOWER) && !has(UPPER);
    let mut ends = [0; 6];
    let mut starts = token.start;
    let mut count = 0;
    let mut end = token.end;
    loop {
        ends[count] = end;
        count += 1;
        let has_next = count < ends.len()
            && matches!(text.get(end), Some(b' ' | b'-'))
            && class::at(text, end + 1, ALNUM)
            && end - token.start < MAX;
        if !has_next {
            break;
        }
        let next = class::run_end(text, end + 1, ALNUM);
        let group = &text[end + 1..next];
        let has = |classes: u8| group.iter().any(|byte| class::is(*byte, classes));
        if group.len() > 11
            || (has(LOWER) && !(is_small && has(DIGIT) && !has(UPPER)))
            || (is_small && has(UPPER))
        {
            break;
        }
        end = next;
    }
    // A group of capitals before it belongs to it, or two with a dash: `AB 12 34 56 C`, `APP-456CV`, `M-AB 1234`.
    for _ in 0..2 {
        let next = starts;
        if next < 2
            || !matches!(text[next - 1], b' ' | b'-')
            || (next < token.start && text[next - 1] != b'-')
        {
            break;
        }
        let left = class::run_start(text, next - 1, ALNUM).max(next.saturating_sub(5));
        let group = &text[left..next - 1];
        if (1..=4).contains(&group.len())
            && group.iter().all(u8::is_ascii_uppercase)
            && !class::before(text, left, ALNUM | HIGH)
            && context
                .hits
                .binary_search_by_key(&left, |hit| hit.start)
                .is_err()
        {
            starts = left;
        } else {
            break;
        }
    }
    let whole = starts;
    let alone = (whole != token.start).then_some(token.start);
    for start in iter::once(whole).chain(alone) {
        for end in ends[..count].iter().rev() {
            let range = start..*end;
            if let Some(code) = classify(context, &range, glued) {
                return Some(Found {
                    range,
                    rule: code.name,
                    kind: code.kind,
                    certainty: if code.vouched_by == Itself {
                        Certainty::Checked
                    } else {
                        Certainty::Context
                    },
                });
            }
        }
    }
    None
}

/// A postcode as the Royal Mail writes it, `SW1A 1AA`: with a blank, in capitals, in an area that
/// there is. Sizes such as `M2 8GB` look like one.
fn uk_postcode(text: &[u8], outward: &Range<usize>) -> Option<Range<usize>> {
    const AREAS: &str = " AB AL B BA BB BD BH BL BN BR BS BT BX CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL DN DT DY E EC EH EN EX FK FY G GL GU GY HA HD HG HP HR HS HU HX IG IM IP IV JE KA KT KW KY L LA LD LE LL LN LS LU M ME MK ML N NE NG NN NP NR NW OL OX PA PE PH PL PO PR RG RH RM S SA SE SG SK SL SM SN SO SP SR SS ST SW SY TA TD TF TN TQ TR TS TW UB W WA WC WD WF WN WR WS WV YO ZE ";
    if &text[outward.clone()] == b"GIR0AA" {
        return Some(outward.clone());
    }
    let inward = text.get(outward.end + 1..outward.end + 4)?;
    let first = &text[outward.clone()];
    let letters = first
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    let rest = &first[letters..];
    let area = std::str::from_utf8(&first[..letters]).ok()?;
    let has_form = (1..=2).contains(&letters)
        && matches!(rest, [b'0'..=b'9'] | [b'0'..=b'9', b'0'..=b'9' | b'A'..=b'Z'])
        && text[outward.end] == b' '
        && inward[0].is_ascii_digit()
        && inward[1..]
            .iter()
            .all(|byte| byte.is_ascii_uppercase() && !b"CIKMOV".contains(byte))
        && AREAS.contains(&format!(" {area} "));
    let is_unit =
        [&b"GB"[..], b"TB", b"PB", b"HZ", b"XL", b"EB", b"YR", b"HR"].contains(&&inward[1..]);
    let is_joined = class::before(text, outward.start, ALNUM | HIGH)
        || class::at(text, outward.end + 4, ALNUM | HIGH | class::JOINER)
        || (outward.start > 0 && b"-_./#".contains(&text[outward.start - 1]));
    (has_form && !is_unit && !is_joined).then(|| outward.start..outward.end + 4)
}

/// An identity card's number as Hong Kong prints it, `A123456(3)`.
fn hk_id(text: &[u8], token: &Range<usize>) -> Option<Range<usize>> {
    let [b'(', check, b')'] = text.get(token.end..token.end + 3)? else {
        return None;
    };
    let number = &text[token.clone()];
    let letters = number.iter().take_while(|byte| byte.is_ascii_uppercase());
    let letters = letters.count();
    let is_form = (1..=2).contains(&letters)
        && number.len() == letters + 6
        && number[letters..].iter().all(u8::is_ascii_digit)
        && (check.is_ascii_digit() || *check == b'A');
    let code = CODES.iter().find(|code| code.name == "hk-id")?;
    (is_form && (code.holds)(&[number, &[*check]].concat())).then_some(token.start..token.end + 3)
}

fn classify(context: &Context<'_>, range: &Range<usize>, glued: bool) -> Option<&'static Code> {
    let raw = &context.text[range.clone()];
    let mut characters = [0_u8; 18];
    let mut count = 0;
    let mut separated = false;
    for byte in raw {
        if matches!(byte, b' ' | b'-') {
            separated = true;
            continue;
        }
        *characters.get_mut(count)? = byte.to_ascii_uppercase();
        count += 1;
    }
    let characters = &characters[..count];
    let (mut digits, mut letters) = (0_u32, 0_u32);
    for (place, byte) in characters.iter().enumerate() {
        digits |= u32::from(class::is(*byte, DIGIT)) << place;
        letters |= u32::from(class::is(*byte, LETTER)) << place;
    }
    if !(5..=18).contains(&count) || digits == 0 || letters == 0 || (glued && !separated) {
        return None;
    }
    let is_alone = context.is_alone(range.start, range.end);
    let has_shape = |shape: &Shape| {
        shape.length == count && shape.digits & !digits == 0 && shape.letters & !letters == 0
    };
    CODES.iter().find(|code| {
        if code.lengths >> count & 1 == 0 || !code.shapes.iter().any(has_shape) {
            return false;
        }
        let topics: &[Topic] = match code.kind {
            Passport => &[Topic::Passport],
            DrivingLicence => &[Topic::Licence],
            VehiclePlate => &[Topic::Plate],
            HealthId => &[Topic::Health],
            PostalAddress => &[Topic::Address, Topic::Postcode],
            Kind::BankAccount => &[Topic::Bank],
            _ => &[Topic::Identity, Topic::Tax],
        };
        (code.holds)(characters)
            && match code.vouched_by {
                Itself => !separated || is_alone || raw.len() <= characters.len() + 5,
                WordOrAlone => is_alone || context.is_about(range.start, range.end, topics),
                Word => context.is_about(range.start, range.end, topics),
                Beside => {
                    !raw.iter().any(|byte| class::is(*byte, LOWER))
                        && context.is_near(range.start, range.end, 24, 0, topics)
                }
                Number => numbered::is_numbered(context, range.start),
            }
    })
}

fn values(digits: &[u8]) -> Vec<u8> {
    digits.iter().map(|byte| byte.wrapping_sub(b'0')).collect()
}

fn remainder(digits: &[u8]) -> usize {
    digits
        .iter()
        .fold(0, |value, digit| value * 10 + usize::from(digit - b'0'))
}

/// The check letter is not asked to hold: a mistyped code still tells who somebody is.
fn it_codice_fiscale(c: &[u8]) -> bool {
    let letters = c[..6].iter().all(u8::is_ascii_uppercase);
    let day = (c[9] - b'0') * 10 + c[10] - b'0';
    letters && matches!(day, 0..=31 | 40..=71)
}

fn fi_hetu(birth: &[u8], century: u8, number: &[u8]) -> bool {
    let digits = [values(birth), values(&number[..3])].concat();
    let rest = digits
        .iter()
        .fold(0_usize, |rest, digit| rest * 10 + usize::from(*digit))
        % 31;
    b"ABCDEFUVWXY-+".contains(&century)
        && is_date(&digits[2..4], &digits[..2])
        && b"0123456789ABCDEFHJKLMNPRSTUVWXY"[rest] == number[3]
}

fn de_social_security(c: &[u8]) -> bool {
    let letter = c[8] - b'A' + 1;
    let digits = [
        &values(&c[..8])[..],
        &[letter / 10, letter % 10],
        &values(&c[9..12])[..],
    ]
    .concat();
    let sum: u32 = digits[..12]
        .iter()
        .zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1])
        .map(|(digit, weight)| {
            let product = u32::from(*digit) * weight;
            product / 10 + product % 10
        })
        .sum();
    let day = (digits[2] * 10 + digits[3]) % 50;
    sum % 10 == u32::from(digits[12])
        && (1..=31).contains(&day)
        && (1..=12).contains(&(digits[4] * 10 + digits[5]))
}

fn sg_nric(c: &[u8]) -> bool {
    let digits = values(&c[1..8]);
    let sum = weighted(&digits, &[2, 7, 6, 5, 4, 3, 2]);
    let check = |offset: u32, letters: &[u8]| letters[((sum + offset) % 11) as usize] == c[8];
    match c[0] {
        b'S' => check(0, b"JZIHGFEDCBA"),
        b'T' => check(4, b"JZIHGFEDCBA"),
        b'F' => check(0, b"XWUTRQPNMLK"),
        b'G' => check(4, b"XWUTRQPNMLK"),
        b'M' => true,
        _ => false,
    }
}

/// ICAO 9303's check digit, as a character.
fn mrz(characters: &[u8]) -> u8 {
    let sum: u32 = characters
        .iter()
        .zip([7, 3, 1].into_iter().cycle())
        .map(|(character, weight)| {
            let value = match character {
                b'0'..=b'9' => u32::from(character - b'0'),
                b'A'..=b'Z' => u32::from(character - b'A') + 10,
                _ => 0,
            };
            value * weight
        })
        .sum();
    b'0' + u8::try_from(sum % 10).expect("a remainder of ten is below 256")
}
