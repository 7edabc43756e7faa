//! Street addresses, around their house number: `12 Main Street`, `24, rue Lenoir`, `Via Roma 131`,
//! `Lindenallee 10/60`; and what follows a word for an address.

use std::{borrow::Cow, ops::Range};

use super::{
    class::{self, ALNUM, DIGIT, HIGH, UPPER, WORD},
    words::{Context, Topic},
};

/// Words that end a street's name in English (after Publication 28 of the United States Postal
/// Service), all of which are streets after a number.
#[rustfmt::skip]
const STREETS: [&str; 58] = [
    "alley", "ave", "avenue", "blvd", "boulevard", "bypass", "causeway", "circle", "close", "court", "cres", "crescent", "crossroad", "ct", "dr", "drive",
    "drives", "expressway", "freeway", "gardens", "gate", "grove", "highway", "hwy", "lane", "ln", "mews", "motorway", "parade", "park", "parkway", "path", "pkwy", "place", "plaza", "rd", "ridge",
    "road", "roads", "row", "sq", "square", "st", "street", "streets", "ter", "terrace", "throughway", "trafficway", "trail", "turnpike", "underpass", "viaduct", "view", "walk", "walks", "way", "wharf",
];
/// Words that end a street's name as well, but mean other things too.
#[rustfmt::skip]
const STREETS_PERHAPS: [&str; 121] = [
    "branch", "bridge", "brook", "brooks", "burg", "burgs", "camp", "canyon", "cape", "center", "centers", "circles", "cliff", "cliffs", "club", "common", "corner", "corners",
    "course", "courts", "cove", "coves", "creek", "crest", "crossing", "curve", "dale", "dam", "divide", "estate", "estates", "extension", "extensions", "fall", "falls", "ferry",
    "field", "fields", "flat", "flats", "ford", "fords", "forest", "forge", "forges", "fork", "forks", "fort", "garden", "gateway", "glen", "glens", "green", "greens", "groves", "harbor",
    "harbors", "haven", "heights", "hill", "hills", "hollow", "inlet", "island", "islands", "isle", "junction", "junctions", "key", "keys", "knoll", "knolls", "lake", "lakes", "land",
    "landing", "light", "lights", "loaf", "lock", "locks", "lodge", "loop", "mall", "manor", "manors", "meadow", "meadows", "mill", "mills", "mission", "mount", "mountain", "mountains",
    "neck", "orchard", "oval", "overpass", "parks", "parkways", "pass", "passage", "pike", "pine", "pines", "plain", "plains", "point", "points", "port", "ports", "prairie", "radial", "ramp", "ranch",
    "rapid", "rapids", "rest", "ridges", "river", "route",
];
#[rustfmt::skip]
const STREETS_PERHAPS_TOO: [&str; 45] = [
    "rue", "run", "shoal", "shoals", "shore", "shores", "skyway", "spring", "springs", "spur", "spurs", "station", "stravenue", "stream", "summit", "trace", "track", "tunnel", "union", "unions", "valley", "valleys",
    "via", "view", "views", "village", "villages", "ville", "vista", "wall", "walls", "ways", "well", "wells", "court", "drive", "crescent", "croft", "end", "bank", "rise", "vale", "mead", "copse", "yard",
];
/// Words that begin a street's name in Romance and Slavic languages.
#[rustfmt::skip]
const PREFIXES: &[&str] = &[
    "rue", "avenue", "boulevard", "bd", "chemin", "place", "impasse", "allée", "allee", "quai", "route", "cours", "passage", "square", "sentier", "faubourg", "via", "viale", "piazza", "piazzale", "corso", "vicolo", "strada", "largo", "borgo", "contrada", "rotonda", "stretto", "canale", "incrocio", "lungomare", "calle", "c/", "plaza", "paseo", "avenida", "av.", "avda.", "carrer", "callejón", "callejon", "camino", "ronda", "travesía", "urbanización", "urbanizacion", "acceso", "alameda", "cañada", "cuesta", "glorieta", "pasadizo", "pasaje", "rambla", "vial", "via.", "carretera", "pl.", "rua", "travessa", "praça", "praca", "ul.", "ulica", "aleja", "al.", "os.", "plac", "str.", "calea", "bulevardul", "jl.", "jalan", "gg.", "kp.", "lorong", "ulici", "náměstí", "nám.",
];
/// The same where the first letter is not ASCII.
#[rustfmt::skip]
const PREFIXES_ABROAD: &[&str] = &[
    "улица", "ул.", "г.", "город", "пр.", "просп.", "проспект", "бул.", "бульвар", "пер.", "переулок", "наб.", "пл.", "вул.", "вулиця", "м.", "місто",
];
/// What shortens a word of an address and stands in the middle of one.
const SHORT_PARTS: [&str; 22] = [
    "ул.",
    "вул.",
    "просп.",
    "д.",
    "кв.",
    "буд.",
    "корп.",
    "обл.",
    "cad.",
    "caddesi",
    "sok.",
    "sokak",
    "sokağı",
    "mah.",
    "mahallesi",
    "no:",
    "nr.",
    "bl.",
    "ap.",
    "utca",
    "út",
    "tér",
];
/// Ends of compound street names in Germanic and Nordic languages, Finnish and Hungarian.
#[rustfmt::skip]
const SUFFIXES: [&str; 38] = [
    "straße", "strasse", "str.", "weg", "allee", "ring", "gasse", "platz", "damm", "ufer", "hof", "steig", "stieg", "straat", "laan", "baan", "steeg", "dreef", "plein", "kade", "gracht",
    "singel", "dijk", "boulevard", "plantsoen", "hage", "vej", "veien", "vegen", "vägen", "gatan", "gata", "katu", "kuja", "polku", "utca", "brücke", "park",
];
/// Small words inside names.
const LINKS: [&str; 18] = [
    "de", "du", "des", "la", "le", "les", "del", "della", "dei", "da", "do", "of", "van", "der",
    "den", "von", "los", "las",
];
/// Parts of buildings that stand before or after the street.
#[rustfmt::skip]
const PARTS: &[&str] = &[
    "apt", "apt.", "suite", "ste", "unit", "flat", "studio", "floor", "piso", "puerta", "piano", "appartamento", "interno", "room", "esc.", "wohnung",
    "apto", "apto.", "apartamento", "bloco", "bl.", "ap.", "sc.", "et.", "dpto", "dpto.", "depto", "depto.", "col.", "colonia", "kv.", "кв.", "корп.", "обл.", "stiege", "bte", "boîte", "bus", "étage", "appartement", "bât.", "wing", "tower", "block",
];

/// How far an address may reach before or after its number.
const REACH: usize = 72;
/// How many blanks what a word calls an address may have.
const MOST_WORDS: usize = 12;
/// How far it may reach: characters of most scripts have two or three bytes.
const TOLD_REACH: usize = 120;

/// The address around the number at `number`.
pub(crate) fn read(context: &Context<'_>, number: Range<usize>) -> Option<Range<usize>> {
    if number.len() > 6 {
        return None;
    }
    let text = context.text;
    let is_said = || context.is_near(number.start, number.end, 64, 0, &[Topic::Address]);
    let after = after(text, number.end, &is_said);
    let before = before(text, number.start, &is_said);
    let range = match (before, after) {
        (Some(start), Some(end)) => start..end,
        (None, Some(end)) => number.start..end,
        (Some(start), None) => start..house_number_end(text, number.end),
        (None, None) => return None,
    };
    Some(with_town(text, with_part(text, range)))
}

/// The end of a street whose name follows its number.
fn after(text: &[u8], number: usize, is_said: &dyn Fn() -> bool) -> Option<usize> {
    let mut place = match text.get(number..) {
        Some([b',', b' ', ..]) => number + 2,
        Some([b' ', ..]) => number + 1,
        _ => return None,
    };
    let begins = place;
    let limit = text.len().min(number + REACH);
    let mut names = 0;
    let mut found = None;
    let mut last_name = None;
    let mut is_prefixed = false;
    while place < limit && names < 6 {
        let end = word_end(text, place, limit);
        let word = lower(&text[place..end]);
        let word = word.trim_end_matches(['.', ',']);
        let is_name = is_capital(text, place);
        if names == 0 && !is_name && is_prefix(word) {
            is_prefixed = true;
        } else if !(is_name || names > 0 || is_prefixed) {
            return None;
        } else if !is_name && !LINKS.contains(&word) {
            break;
        }
        names += 1;
        if is_name {
            last_name = Some(end);
        }
        let is_street = || {
            STREETS.contains(&word)
                || ((number_digits(text, number) >= 3 || is_said())
                    && (STREETS_PERHAPS.contains(&word) || STREETS_PERHAPS_TOO.contains(&word)))
        };
        if names > 1 && is_name && is_street() {
            found = Some(end);
        }
        // A full stop ends the sentence, a comma the street.
        if text.get(end) != Some(&b' ') || matches!(text[end - 1], b',' | b'.') && found.is_some() {
            break;
        }
        place = end + 1;
    }
    if is_prefixed {
        return last_name.map(|end| trim(text, begins, end));
    }
    // `221 Bahnhofstraße` is written that way by the French and the Belgians.
    found.map(|end| trim(text, begins, end))
}

fn number_digits(text: &[u8], end: usize) -> usize {
    end - class::run_start(text, end, DIGIT)
}

/// The start of a street whose name precedes its number.
fn before(text: &[u8], number: usize, is_said: &dyn Fn() -> bool) -> Option<usize> {
    let mut end = match text.get(..number) {
        Some([.., b',', b' ']) => number - 2,
        Some([.., b' ']) => number - 1,
        _ => return None,
    };
    if !(class::before(text, end, WORD) || end > 0 && text[end - 1] == b'.') {
        return None;
    }
    let floor = number.saturating_sub(REACH);
    let mut names = 0;
    while names < 6 && end > floor {
        let start = word_start(text, end, floor);
        let word = lower(&text[start..end]);
        if word.is_empty() {
            return None;
        }
        let is_name = is_capital(text, start);
        if names > 0 && is_prefix(&word) {
            return Some(start);
        }
        if names == 0 {
            let name = word.rsplit('-').next().unwrap_or(&word);
            let is_compound = is_name
                && SUFFIXES.iter().any(|suffix| {
                    (word.len() >= suffix.len() + 3 && word.ends_with(suffix))
                        || (name == *suffix && name.len() < word.len())
                });
            let digits = text[number..]
                .iter()
                .take_while(|byte| class::is(**byte, DIGIT))
                .count();
            // `Spring 2024` is no street, and neither is a page.
            if is_compound
                && (is_said()
                    || (digits <= 3
                        && word.len() >= 7
                        && !word.ends_with("spring")
                        && !word.ends_with("string")))
            {
                return Some(with_first_names(text, start, floor));
            }
        }
        if !is_name && !LINKS.contains(&word.as_ref()) {
            return None;
        }
        names += 1;
        if start == 0 || text[start - 1] != b' ' {
            return None;
        }
        end = start - 1;
    }
    None
}

/// `Lille Vibyvej 8`: capitals before a compound name belong to it where a word for an address
/// does not stand between.
fn with_first_names(text: &[u8], start: usize, floor: usize) -> usize {
    if start < 2 || text[start - 1] != b' ' {
        return start;
    }
    let previous = word_start(text, start - 1, floor);
    let is_name = is_capital(text, previous)
        && start - 1 - previous < 12
        && previous > 0
        && text[previous - 1] == b' ';
    if is_name { previous } else { start }
}

fn house_number_end(text: &[u8], end: usize) -> usize {
    // `10/60`, `12a`, `12-14`
    let mut end = end;
    if matches!(text.get(end), Some(b'/' | b'-')) && class::at(text, end + 1, DIGIT) {
        end = class::run_end(text, end + 1, DIGIT);
    }
    end
}

/// The range with a flat, suite or floor beside it.
fn with_part(text: &[u8], range: Range<usize>) -> Range<usize> {
    let mut range = range;
    let rest = &text[range.end..text.len().min(range.end + 24)];
    let skip = rest
        .iter()
        .take_while(|byte| b" ,\n".contains(byte))
        .count();
    let place = range.end + skip;
    if skip > 0 {
        let word = word_end(text, place, text.len().min(place + 16));
        let value = class::run_end(text, (word + 1).min(text.len()), ALNUM);
        let is_part = PARTS.contains(&lower(&text[place..word]).as_ref());
        if is_part && text.get(word) == Some(&b' ') && value > word + 1 && value - word < 8 {
            range.end = value;
        }
    }
    range
}

/// The range with a postal code and a town behind it: `, 50668 Köln`.
fn with_town(text: &[u8], range: Range<usize>) -> Range<usize> {
    let Some(rest) = text.get(range.end..text.len().min(range.end + 64)) else {
        return range;
    };
    let skip = rest
        .iter()
        .take(3)
        .take_while(|byte| b" ,\n".contains(byte))
        .count();
    let mut place = range.end + skip;
    if skip > 0
        && let Some(end) = state_and_code(text, place)
    {
        return range.start..end;
    }
    // `D-50668`
    if class::at(text, place, UPPER) && text.get(place + 1) == Some(&b'-') {
        place += 2;
    }
    let mut code = class::run_end(text, place, DIGIT);
    let is_torn = code - place == 3
        && text.get(code) == Some(&b' ')
        && class::run_end(text, code + 1, DIGIT) == code + 3;
    if is_torn {
        code += 3;
    }
    // `00-590`, `01305-000`, `02139-4307`
    let rest_of_code = class::run_end(text, code + 1, DIGIT);
    let is_dashed = matches!(code - place, 2 | 3 | 5)
        && text.get(code) == Some(&b'-')
        && matches!(rest_of_code - code - 1, 3 | 4);
    if is_dashed {
        code = rest_of_code;
    }
    let is_code = is_torn || is_dashed || (4..=6).contains(&(code - place));
    if skip == 0 || !is_code || text.get(code) != Some(&b' ') || !is_capital(text, code + 1) {
        return range;
    }
    let limit = text.len().min(range.end + 64);
    let mut end = code;
    for _ in 0..4 {
        let next = word_end(text, end + 1, limit);
        let word = lower(&text[end + 1..next]);
        if !is_capital(text, end + 1) && !LINKS.contains(&word.as_ref()) {
            break;
        }
        end = next;
        if text.get(end) != Some(&b' ') || matches!(text[end - 1], b',' | b'.') {
            break;
        }
    }
    let end = trim(text, range.start, end);
    // `Torino (TO)`
    let is_province = matches!(text.get(end..end + 5), Some([b' ', b'(', a, b, b')']) if class::is(*a, UPPER) && class::is(*b, UPPER));
    range.start..if is_province { end + 5 } else { end }
}

/// Where `Springwood, OH 45066` ends: a town, a state's two letters and its code.
fn state_and_code(text: &[u8], start: usize) -> Option<usize> {
    let limit = text.len().min(start + 48);
    let mut place = start;
    for _ in 0..4 {
        if !is_capital(text, place) {
            return None;
        }
        let end = word_end(text, place, limit);
        if place > start
            && let Some(end) = british_code(text, place)
        {
            return Some(end);
        }
        let is_state = matches!(end - place, 2 | 3)
            && text[place..end].iter().all(|byte| class::is(*byte, UPPER));
        if is_state && place > start && text.get(end) == Some(&b' ') {
            let code = class::run_end(text, end + 1, DIGIT);
            let more = match text.get(code) {
                Some(b'-') => class::run_end(text, code + 1, DIGIT),
                _ => code,
            };
            let code_end = if more == code + 5 { more } else { code };
            // Australia's states have two or three letters, and its codes four digits.
            let is_code = matches!((end - place, code - end), (2, 6) | (2 | 3, 5));
            return (is_code && !class::at(text, code_end, ALNUM)).then_some(code_end);
        }
        if text.get(end) != Some(&b' ') {
            return None;
        }
        place = end + 1;
    }
    None
}

/// Where a postcode such as `PO1 3AB` ends.
fn british_code(text: &[u8], start: usize) -> Option<usize> {
    let outward = class::run_end(text, start, UPPER | DIGIT);
    let letters = class::run_end(text, start, UPPER) - start;
    let inward = text.get(outward + 1..outward + 4)?;
    let holds = (1..=2).contains(&letters)
        && (letters + 1..=letters + 2).contains(&(outward - start))
        && text[outward] == b' '
        && class::is(inward[0], DIGIT)
        && inward[1..].iter().all(|byte| class::is(*byte, UPPER))
        && !class::at(text, outward + 4, ALNUM);
    holds.then_some(outward + 4)
}

/// What follows a word for an address, as far as a sentence or a line goes.
pub(crate) fn told(text: &[u8], word: Range<usize>) -> Option<Range<usize>> {
    let word_end = word.end;
    const LINKS: [&[u8]; 15] = [
        b":\n",
        b": \n",
        b"\n",
        b" is ",
        b" ist ",
        b" est ",
        b": ",
        b" : ",
        b"\": \"",
        b" = ",
        b"=",
        b" at ",
        b" ",
        // A wide colon, and a particle.
        b"\xef\xbc\x9a",
        b"\xe3\x81\xaf",
    ];
    // Scripts without blanks need none.
    let is_glued = class::before(text, word_end, HIGH) && class::at(text, word_end, HIGH);
    let link = LINKS
        .into_iter()
        .find(|link| text[word_end..].starts_with(link))
        .or(is_glued.then_some(&b""[..]))?;
    let start = word_end + link.len();
    let start = start + article(&text[start..]);
    let starts_well =
        is_capital(text, start) || class::at(text, start, DIGIT) || starts_with_prefix(text, start);
    if !starts_well || text[start..].starts_with(b"0x") {
        return None;
    }
    let limit = text.len().min(
        start
            + if text[start..].first().is_some_and(u8::is_ascii) {
                REACH
            } else {
                TOLD_REACH
            },
    );
    let mut end = start;
    let mut has_number = false;
    let mut words = 0;
    while end < limit {
        match text[end] {
            // A part of a building has a line of its own.
            b'\n' if has_number && words < 3 => {}
            b'\n' | b';' | b'"' | b'<' | b'(' | b')' | b'|' | b'?' | b'!' | b'\\' => break,
            b'.' if text
                .get(end + 1)
                .is_none_or(|next| class::is(*next, class::SPACE))
                && end - start > 4
                && class::before(text, end, WORD | DIGIT)
                && !ends_in_short_form(&text[start..end]) =>
            {
                break;
            }
            b',' if has_number
                && words >= 1
                && !is_capital(text, end + 2)
                && !class::at(text, end + 2, DIGIT)
                && !starts_with_prefix(text, end + 2)
                && !starts_with_part(text, end + 2) =>
            {
                break;
            }
            // Their comma, their full stop.
            0xE3 if matches!(text.get(end + 1..end + 3), Some([0x80, 0x81 | 0x82])) => break,
            0xEF if matches!(text.get(end + 1..end + 3), Some([0xBC, 0x8C | 0x9B])) => break,
            b':' if ends_with(&text[start..end], "no") => {}
            b'@' | b':' | b'=' => return None,
            b' ' => words += 1,
            byte if class::is(byte, DIGIT) => {
                if text.get(end + 1) == Some(&b'.') && class::at(text, end + 2, DIGIT) {
                    return None;
                }
                has_number = true;
            }
            _ => {}
        }
        end += 1;
    }
    let range = start..trim(text, start, end);
    let told = lower(&text[range.clone()]);
    let mut parts = told.split([' ', '\n', ',']);
    let has_street = parts.clone().enumerate().any(|(place, word)| {
        (place > 0 && STREETS.contains(&word))
            || SUFFIXES
                .iter()
                .any(|suffix| word.len() > suffix.len() + 2 && word.ends_with(suffix))
    });
    let has_short_part = parts.clone().any(|word| SHORT_PARTS.contains(&word));
    let has_prefix = parts.next().is_some_and(is_prefix);
    // `bydlím v Dlouhá 14, 110 00 Praha`: the word means nothing else.
    let is_certain = has_number && told.contains(',') && !text[word].is_ascii();
    let has_part = told
        .split(' ')
        .next()
        .is_some_and(|word| PARTS.contains(&word));
    // `address issue 45` is a request.
    let is_bare = link.len() == 1 && link[0] == b' ';
    let has_town = || {
        let mut parts = told.split(' ');
        parts.any(|part| {
            (4..=6).contains(&part.len()) && part.bytes().all(|byte| class::is(byte, DIGIT))
        })
    };
    if is_bare
        && !(has_street
            || has_prefix
            || has_short_part
            || is_certain
            || has_part
            || class::at(text, start, DIGIT)
            || has_town())
    {
        return None;
    }
    let has_letters = text[range.clone()]
        .iter()
        .filter(|byte| class::is(**byte, WORD))
        .count()
        >= 3;
    (has_letters && (has_number || has_street || has_prefix) && words <= MOST_WORDS)
        .then_some(range)
}

/// How long the article is that begins the text.
fn article(text: &[u8]) -> usize {
    const ARTICLES: [&[u8]; 10] = [
        b"the ", b"la ", b"el ", b"le ", b"der ", b"den ", b"v ", b"w ", b"na ", b"ul ",
    ];
    let article = ARTICLES
        .into_iter()
        .find(|article| text.starts_with(article));
    article.map_or(0, <[u8]>::len)
}

/// Whether the word is a part of the address that follows it.
pub(crate) fn belongs(word: &[u8]) -> bool {
    let ends = |part: &[u8]| {
        word.len() >= part.len() && word[word.len() - part.len()..].eq_ignore_ascii_case(part)
    };
    ends(b"box") || ends(b"postfach") || word == "〒".as_bytes()
}

fn ends_with(text: &[u8], end: &str) -> bool {
    let from = text.len().saturating_sub(end.len());
    text[from..].eq_ignore_ascii_case(end.as_bytes())
}

fn starts_with_part(text: &[u8], start: usize) -> bool {
    let end = word_end(text, start.min(text.len()), text.len().min(start + 16));
    start < end && PARTS.contains(&lower(&text[start..end]).as_ref())
}

fn ends_in_short_form(text: &[u8]) -> bool {
    [
        &b" Apt"[..],
        b" St",
        b" Ave",
        b" Rd",
        b" Dr",
        b" str",
        b"Str",
        b" No",
        b" ul",
        b" Blvd",
        b" Ste",
        b" nr",
        b" bl",
        b" ap",
        b" sc",
        b" et",
        b" Col",
        b" Esc",
        b" Jl",
        b" \xd0\xb2\xd1\x83\xd0\xbb",
        b" \xd0\xb1\xd1\x83\xd0\xb4",
        b" \xd0\xbf\xd1\x80",
        b" \xd0\xb3",
        b" \xd1\x83\xd0\xbb",
        b" \xd0\xb4",
        b" \xd0\xba\xd0\xb2",
        b" \xd0\xba\xd0\xbe\xd1\x80\xd0\xbf",
    ]
    .iter()
    .any(|short| text.ends_with(short))
}

fn starts_with_prefix(text: &[u8], start: usize) -> bool {
    let end = word_end(text, start.min(text.len()), text.len().min(start + 16));
    start < end && is_prefix(&lower(&text[start..end]))
}

fn is_capital(text: &[u8], place: usize) -> bool {
    class::at(text, place, UPPER)
        || (text.get(place) == Some(&0xC3)
            && text
                .get(place + 1)
                .is_some_and(|byte| (0x80..=0x9E).contains(byte)))
        || (class::at(text, place, HIGH) && text[place] > 0xC3)
}

fn word_end(text: &[u8], start: usize, limit: usize) -> usize {
    let rest = &text[start.min(limit)..limit];
    let is_part = |byte: &u8| class::is(*byte, WORD | DIGIT) || b"-'.,/".contains(byte);
    start + rest.iter().take_while(|byte| is_part(byte)).count()
}

fn word_start(text: &[u8], end: usize, floor: usize) -> usize {
    let is_part = |byte: &u8| class::is(*byte, WORD | DIGIT) || b"-'./".contains(byte);
    end - text[floor.min(end)..end]
        .iter()
        .rev()
        .take_while(|byte| is_part(byte))
        .count()
}

fn trim(text: &[u8], start: usize, end: usize) -> usize {
    let mut end = end;
    while end > start && b" .,\n".contains(&text[end - 1]) {
        end -= 1;
    }
    end
}

/// Whether the word begins a street's name or a town's.
fn is_prefix(word: &str) -> bool {
    let prefixes = match word.as_bytes() {
        [first, ..] if first.is_ascii() => PREFIXES,
        _ => PREFIXES_ABROAD,
    };
    prefixes.contains(&word)
}

/// In small letters; most words are written so.
fn lower(word: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(word);
    if word
        .iter()
        .all(|byte| byte.is_ascii() && !class::is(*byte, UPPER))
    {
        return text;
    }
    Cow::Owned(text.to_lowercase())
}
