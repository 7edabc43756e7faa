//! Numbers that are called so: `Fallnummer 48210937`, `numéro de dossier : D48219`, `iqama number 2482190371`.
//!
//! Whatever has a number in somebody's papers is called after it, in every language, and no list holds them
//! all. What programs number themselves is named in English, so there the words are known that name it.

use super::{
    class::{self, ALNUM, DIGIT, HIGH, LETTER, LOWER, SPACE, UPPER, WORD},
    number::identifier::{IDENTIFIERS, Identifier},
    words::{Context, Role, Topic},
};

/// How far before a number the word for it may stand.
const REACH: usize = 48;

/// What a program, a document or a shop numbers.
#[rustfmt::skip]
const TECHNICAL: &[&[u8]] = &[
    b"a", b"account's", b"an", b"any", b"array", b"atomic", b"average", b"axis", b"bank", b"batch", b"bit", b"block", b"build", b"byte", b"bytes", b"call", b"channel", b"char", b"chapter", b"chunk",
    b"cluster", b"code", b"column", b"commit", b"core", b"count", b"cpu", b"cycle", b"dea", b"device", b"each", b"edition", b"entry", b"epoch", b"errno", b"error", b"even", b"event", b"every", b"exact", b"expert", b"figure", b"file", b"final", b"first", b"flight", b"float",
    b"fixed", b"frame", b"game", b"gpu", b"group", b"head", b"high", b"huge", b"iban", b"hyper", b"in", b"index", b"inode", b"instance", b"integer", b"invalid", b"irq", b"is", b"issue", b"iteration", b"item", b"job", b"key", b"large",
    b"last", b"layer", b"level", b"line", b"low", b"lucky", b"magic", b"major", b"maximal", b"maximum", b"minimal", b"minimum", b"minor", b"model", b"natural", b"negative", b"new", b"next", b"node", b"of", b"odd", b"old", b"one", b"op", b"opcode", b"order", b"ordinal",
    b"packet", b"page", b"parallel", b"part", b"partition", b"pass", b"peak", b"pid", b"pixel", b"port", b"position", b"positive", b"previous", b"prime", b"process", b"queue", b"random", b"rank", b"rational", b"real", b"record's", b"release",
    b"request", b"revision", b"round", b"row", b"run", b"same", b"sample", b"scan", b"sector", b"section", b"seed", b"segment", b"seq", b"sequence", b"serial", b"shard", b"signal", b"slot", b"small", b"social", b"song", b"square", b"stage", b"step", b"stream", b"syscall", b"system", b"table", b"tag",
    b"task", b"tensor", b"the", b"this", b"thread", b"tick", b"time", b"token", b"total", b"track", b"train", b"type", b"unit", b"unsigned", b"user", b"value", b"version", b"volume", b"whole", b"worker", b"your",
];

/// Whether a word for a number stands before what begins at `start`, and none for one whose check digits are
/// known: those speak for themselves.
pub(crate) fn is_numbered(context: &Context<'_>, start: usize) -> bool {
    (in_english(context.text, start) || (context.has_numbers && elsewhere(context, start)))
        && !is_known(context, start)
}

fn is_known(context: &Context<'_>, start: usize) -> bool {
    let is_specific = |role: &Role| match role {
        Role::Topic(Topic::Identifier(place)) => {
            let identifier = IDENTIFIERS.get(usize::from(*place));
            identifier.is_some_and(Identifier::is_specific)
        }
        Role::Topic(topic) => matches!(
            topic,
            Topic::Card | Topic::Health | Topic::Bank | Topic::Passport | Topic::Licence
        ),
        _ => false,
    };
    let first = context.hits.partition_point(|hit| hit.end + REACH < start);
    let mut hits = context.hits[first..]
        .iter()
        .take_while(|hit| hit.end <= start);
    hits.any(|hit| context.words.roles(*hit).iter().any(is_specific) && context.is_word(*hit))
}

/// `policy number 4821903`, `SSS no. 34-4821903-7`
fn in_english(text: &[u8], start: usize) -> bool {
    let floor = start.saturating_sub(REACH);
    let mut before = &text[floor..start];
    trim(&mut before);
    for verb in [&b" is"[..], b" was"] {
        if let Some(rest) = before.strip_suffix(verb) {
            before = rest;
        }
    }
    trim(&mut before);
    let Some(thing) = [&b"number"[..], b"no", b"num"]
        .into_iter()
        .find_map(|word| strip(before, word))
    else {
        return false;
    };
    let mut thing = thing;
    while let [rest @ .., b' ' | b'_' | b'-'] = thing {
        thing = rest;
    }
    let from = class::run_start(thing, thing.len(), LETTER);
    // `passportNumber` and `lineNumber`: the last hump names the thing.
    let hump = thing[from..]
        .iter()
        .rposition(|byte| class::is(*byte, UPPER))
        .filter(|hump| {
            thing[from + hump..]
                .iter()
                .any(|byte| class::is(*byte, LOWER))
        });
    let word = thing[from + hump.unwrap_or(0)..].to_ascii_lowercase();
    word.len() > 1 && !TECHNICAL.contains(&word.as_slice()) && !class::before(thing, from, HIGH)
}

/// What stands before the word at the end, if it is one of its own.
fn strip<'t>(text: &'t [u8], word: &[u8]) -> Option<&'t [u8]> {
    let from = text.len().checked_sub(word.len())?;
    let (rest, last) = text.split_at(from);
    let is_hump = class::before(rest, from, LOWER) && class::at(last, 0, UPPER);
    (last.eq_ignore_ascii_case(word) && (is_hump || !class::before(rest, from, ALNUM | HIGH)))
        .then_some(rest)
}

/// Takes away what joins a name and its value.
fn trim(text: &mut &[u8]) {
    while let [rest @ .., last] = text
        && (class::is(*last, SPACE) || b":=.#\"'(".contains(last))
    {
        *text = rest;
    }
}

/// `Fallnummer: 48210937`, `αριθμός ταυτότητας 482193`: nothing but a few words stands between.
fn elsewhere(context: &Context<'_>, start: usize) -> bool {
    let text = context.text;
    let first = context.hits.partition_point(|hit| hit.end + REACH < start);
    let mut hits = context.hits[first..]
        .iter()
        .take_while(|hit| hit.end <= start);
    hits.any(|hit| {
        context.words.numbers(*hit)
            && !class::at(text, hit.end, LETTER)
            && !goes_on(text, hit.end)
            && text[hit.end..start].iter().all(joins)
            && (is_of_something(text, hit.start) || is_named(&text[hit.end..start]))
    })
}

/// Whether a word stands before the one for a number: `Fallnummer`, `mein Nummer`.
fn is_of_something(text: &[u8], start: usize) -> bool {
    let blanks = text[..start].iter().rev().take(2);
    let blanks = blanks.take_while(|byte| b" .-".contains(byte)).count();
    class::before(text, start - blanks, WORD)
}

/// Whether a word stands between it and the number: `номер полиса`.
fn is_named(between: &[u8]) -> bool {
    between
        .iter()
        .filter(|byte| class::is(**byte, WORD))
        .count()
        > 3
}

/// Whether a letter with an accent makes another word of it.
fn goes_on(text: &[u8], end: usize) -> bool {
    matches!(text.get(end), Some(0xC3..=0xC9)) && class::before(text, end, WORD)
}

fn joins(byte: &u8) -> bool {
    class::is(*byte, WORD) || b" :=.-'\"/()#".contains(byte)
}

/// Whether a number in these groups is counted or dated, not given to somebody.
pub(crate) fn is_quantity(text: &[u8], start: usize, end: usize) -> bool {
    let value = &text[start..end];
    let has_point = value.contains(&b'.') || value.contains(&b',');
    let goes_on = matches!(text.get(end), Some(b'.' | b',')) && class::at(text, end + 1, DIGIT);
    has_point || goes_on || matches!(text.get(end), Some(b'%'))
}
