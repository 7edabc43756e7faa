//! The words that addresses are made of, and how one is read.

use std::borrow::Cow;

use super::super::class::{self, DIGIT, HIGH, UPPER, WORD};

/// Words that end a street's name in English (after Publication 28 of the United States Postal
/// Service), all of which are streets after a number.
#[rustfmt::skip]
pub(super) const STREETS: [&str; 58] = [
    "alley", "ave", "avenue", "blvd", "boulevard", "bypass", "causeway", "circle", "close", "court", "cres", "crescent", "crossroad", "ct", "dr", "drive",
    "drives", "expressway", "freeway", "gardens", "gate", "grove", "highway", "hwy", "lane", "ln", "mews", "motorway", "parade", "park", "parkway", "path", "pkwy", "place", "plaza", "rd", "ridge",
    "road", "roads", "row", "sq", "square", "st", "street", "streets", "ter", "terrace", "throughway", "trafficway", "trail", "turnpike", "underpass", "viaduct", "view", "walk", "walks", "way", "wharf",
];

/// Words that end a street's name as well, but mean other things too.
#[rustfmt::skip]
pub(super) const STREETS_PERHAPS: [&str; 121] = [
    "branch", "bridge", "brook", "brooks", "burg", "burgs", "camp", "canyon", "cape", "center", "centers", "circles", "cliff", "cliffs", "club", "common", "corner", "corners",
    "course", "courts", "cove", "coves", "creek", "crest", "crossing", "curve", "dale", "dam", "divide", "estate", "estates", "extension", "extensions", "fall", "falls", "ferry",
    "field", "fields", "flat", "flats", "ford", "fords", "forest", "forge", "forges", "fork", "forks", "fort", "garden", "gateway", "glen", "glens", "green", "greens", "groves", "harbor",
    "harbors", "haven", "heights", "hill", "hills", "hollow", "inlet", "island", "islands", "isle", "junction", "junctions", "key", "keys", "knoll", "knolls", "lake", "lakes", "land",
    "landing", "light", "lights", "loaf", "lock", "locks", "lodge", "loop", "mall", "manor", "manors", "meadow", "meadows", "mill", "mills", "mission", "mount", "mountain", "mountains",
    "neck", "orchard", "oval", "overpass", "parks", "parkways", "pass", "passage", "pike", "pine", "pines", "plain", "plains", "point", "points", "port", "ports", "prairie", "radial", "ramp", "ranch",
    "rapid", "rapids", "rest", "ridges", "river", "route",
];

#[rustfmt::skip]
pub(super) const STREETS_PERHAPS_TOO: [&str; 45] = [
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
pub(super) const SHORT_PARTS: [&str; 22] = [
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
pub(super) const SUFFIXES: [&str; 38] = [
    "straße", "strasse", "str.", "weg", "allee", "ring", "gasse", "platz", "damm", "ufer", "hof", "steig", "stieg", "straat", "laan", "baan", "steeg", "dreef", "plein", "kade", "gracht",
    "singel", "dijk", "boulevard", "plantsoen", "hage", "vej", "veien", "vegen", "vägen", "gatan", "gata", "katu", "kuja", "polku", "utca", "brücke", "park",
];

/// Small words inside names.
pub(super) const LINKS: [&str; 18] = [
    "de", "du", "des", "la", "le", "les", "del", "della", "dei", "da", "do", "of", "van", "der",
    "den", "von", "los", "las",
];

/// Parts of buildings that stand before or after the street.
#[rustfmt::skip]
pub(super) const PARTS: &[&str] = &[
    "apt", "apt.", "suite", "ste", "unit", "flat", "studio", "floor", "piso", "puerta", "piano", "appartamento", "interno", "room", "esc.", "wohnung",
    "apto", "apto.", "apartamento", "bloco", "bl.", "ap.", "sc.", "et.", "dpto", "dpto.", "depto", "depto.", "col.", "colonia", "kv.", "кв.", "корп.", "обл.", "stiege", "bte", "boîte", "bus", "étage", "appartement", "bât.", "wing", "tower", "block",
];

pub(super) fn starts_with_part(text: &[u8], start: usize) -> bool {
    let end = word_end(text, start.min(text.len()), text.len().min(start + 16));
    start < end && PARTS.contains(&lower(&text[start..end]).as_ref())
}

pub(super) fn ends_in_short_form(text: &[u8]) -> bool {
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

pub(super) fn starts_with_prefix(text: &[u8], start: usize) -> bool {
    let end = word_end(text, start.min(text.len()), text.len().min(start + 16));
    start < end && is_prefix(&lower(&text[start..end]))
}

pub(super) fn is_capital(text: &[u8], place: usize) -> bool {
    class::at(text, place, UPPER)
        || (text.get(place) == Some(&0xC3)
            && text
                .get(place + 1)
                .is_some_and(|byte| (0x80..=0x9E).contains(byte)))
        || (class::at(text, place, HIGH) && text[place] > 0xC3)
}

pub(super) fn word_end(text: &[u8], start: usize, limit: usize) -> usize {
    let rest = &text[start.min(limit)..limit];
    let is_part = |byte: &u8| class::is(*byte, WORD | DIGIT) || b"-'.,/".contains(byte);
    start + rest.iter().take_while(|byte| is_part(byte)).count()
}

pub(super) fn word_start(text: &[u8], end: usize, floor: usize) -> usize {
    let is_part = |byte: &u8| class::is(*byte, WORD | DIGIT) || b"-'./".contains(byte);
    end - text[floor.min(end)..end]
        .iter()
        .rev()
        .take_while(|byte| is_part(byte))
        .count()
}

pub(super) fn trim(text: &[u8], start: usize, end: usize) -> usize {
    let mut end = end;
    while end > start && b" .,\n".contains(&text[end - 1]) {
        end -= 1;
    }
    end
}

/// Whether the word begins a street's name or a town's.
pub(super) fn is_prefix(word: &str) -> bool {
    let prefixes = match word.as_bytes() {
        [first, ..] if first.is_ascii() => PREFIXES,
        _ => PREFIXES_ABROAD,
    };
    prefixes.contains(&word)
}

/// In small letters; most words are written so.
pub(super) fn lower(word: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(word);
    if word
        .iter()
        .all(|byte| byte.is_ascii() && !class::is(*byte, UPPER))
    {
        return text;
    }
    Cow::Owned(text.to_lowercase())
}
