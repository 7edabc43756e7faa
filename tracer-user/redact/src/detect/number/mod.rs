//! Numbers: cards, phones, national identifiers, IP addresses. One walk over a run of digit
//! groups tries every window of them.

mod card;
pub(crate) mod identifier;
mod phone;
mod run;

use self::run::{Run, Window};
use super::{
    class::{self, ALNUM, DIGIT, JOINER, SPACE},
    hit::{Certainty, Found, Hits, shape},
    kind::Kind,
    words::{Context, Topic},
};

/// No number that is looked for has more digit groups.
const MAX_WINDOW: usize = 8;

/// Only accounts have more digits.
const LONGEST: usize = 19;

/// Reads the run of digits at `start`, and says where the walk goes on.
pub(crate) fn read(context: &Context<'_>, start: usize, hits: &mut Hits) -> usize {
    let run = Run::read(context.text, start);
    let mut first = 0;
    while first < run.groups {
        if let Some(end) = address(context, &run, first) {
            let start = run.window(first, first).start();
            if !is_anyones(&context.text[start..end]) {
                hits.push(shape(start..end, "ip-v4", Kind::IpAddress));
            }
            // Its port is no number of somebody's.
            let has_port = run.window(first, first + 3).separator_after() == b':';
            first += if has_port { 5 } else { 4 };
            continue;
        }
        let longest = run.groups.min(first + MAX_WINDOW);
        let found = (first..longest)
            .rev()
            .find_map(|last| Some((last, classify(context, run.window(first, last), hits)?)));
        match found {
            Some((last, found)) => {
                let expiry = (found.rule == "card")
                    .then(|| card::expiry(context.text, found.range.end))
                    .flatten();
                let check = expiry
                    .as_ref()
                    .and_then(|it| card::check_value(context.text, it.range.end));
                hits.push(found);
                hits.extend(expiry);
                hits.extend(check);
                first = last + 1;
            }
            None => first += 1,
        }
    }
    run.end.max(start + 1)
}

/// Where the address ends that the next four groups are.
fn address(context: &Context<'_>, run: &Run, first: usize) -> Option<usize> {
    let last = first + 3;
    if last < run.groups {
        ip_v4(context, run.window(first, last))
    } else {
        None
    }
}

/// Whether every machine has the address, so that it names none.
fn is_anyones(address: &[u8]) -> bool {
    address.starts_with(b"127.") || address == b"0.0.0.0"
}

fn classify(context: &Context<'_>, window: Window<'_>, hits: &Hits) -> Option<Found> {
    let range = window.start()..window.end();
    let count = window.digits().len();
    if !(4..=26).contains(&count) {
        return None;
    }
    let found = |rule, kind, certainty| Found {
        range: range.clone(),
        rule,
        kind,
        certainty,
    };
    if count > LONGEST {
        return identifier::find(context, window)
            .map(|identifier| found(identifier.name, identifier.kind, Certainty::Context));
    }
    if card::is_card(context, window) {
        return Some(found("card", Kind::Card, Certainty::Checked));
    }
    if let Some(end) = dotted_nif(context.text, window) {
        let mut found = found("es-nif", Kind::NationalId, Certainty::Checked);
        found.range.end = end;
        return Some(found);
    }
    let identifier = identifier::find(context, window);
    let phone = phone::read(context, window).or_else(|| phone::second(context, window, hits));
    // A sign says that a country's code follows, a bracket that an area's does.
    let is_foreign = phone.is_some_and(|(start, _)| matches!(context.text[start], b'+' | b'('));
    // `"amount": "1414.90"` beside an account.
    let is_amount = window.groups() == 2 && window.separator(0) == b'.' && window.length(1) == 2;
    let identifier = identifier.filter(|_| !is_foreign && !is_amount);
    if let Some(identifier) = identifier.filter(|found| found.is_specific() || phone.is_none()) {
        return Some(found(identifier.name, identifier.kind, Certainty::Checked));
    }
    if let Some((start, end)) = phone {
        let mut found = found("phone", Kind::Phone, Certainty::Shape);
        found.range = start..end;
        return Some(found);
    }
    let is_postcode = count <= 9
        && window.groups() <= 2
        && context.is_near(range.start, range.end, 12, 0, &[Topic::Postcode]);
    is_postcode.then(|| found("postcode", Kind::PostalAddress, Certainty::Context))
}

/// Where a Spanish `12.345.678-Z` ends whose digits are the window.
fn dotted_nif(text: &[u8], window: Window<'_>) -> Option<usize> {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    if !window.has_shape("2.3.3") && !window.has_shape("1.3.3") {
        return None;
    }
    let end = window.end();
    let letter = end + usize::from(matches!(text.get(end), Some(b'-' | b' ')));
    let digits = window.digits().iter();
    let number = digits.fold(0, |number, digit| number * 10 + usize::from(*digit));
    let holds = text.get(letter) == Some(&LETTERS[number % 23]);
    (holds && !class::at(text, letter + 1, ALNUM)).then_some(letter + 1)
}

/// Four numbers below 256 with dots between them, in no longer dotted number and no version.
fn ip_v4(context: &Context<'_>, window: Window<'_>) -> Option<usize> {
    let text = context.text;
    if window.groups() != 4 || !(0..3).all(|group| window.separator(group) == b'.') {
        return None;
    }
    let digits = window.digits();
    let mut place = 0;
    for group in 0..4 {
        let part = &digits[place..place + window.length(group)];
        place += part.len();
        // Its length first: a group of the window may have 16 digits.
        let is_octet = match *part {
            [_] => true,
            [tens, _] => tens != 0,
            [hundreds, tens, ones] => {
                hundreds != 0
                    && u16::from(hundreds) * 100 + u16::from(tens) * 10 + u16::from(ones) <= 255
            }
            _ => false,
        };
        if !is_octet {
            return None;
        }
    }
    let (start, end) = (window.start(), window.end());
    let is_part = window.separator_before() == b'.'
        || window.separator_after() == b'.'
        || (start > 1 && text[start - 1] == b'.' && class::at(text, start - 2, ALNUM))
        || end - start != place + 3;
    // `package==1.2.3.4`; a filter has a dotted name or blanks before its signs.
    let is_pinned = text[..start].ends_with(b"==")
        && !class::before(text, start - 2, SPACE)
        && !context.is_near(start, end, 40, 0, &[Topic::Network]);
    let is_version = is_pinned
        || context.is_near(start, end, 24, 0, &[Topic::Version])
            && !context.is_near(start, end, 24, 8, &[Topic::Network]);
    // A network: `10.0.0.0/8`.
    let mask = match text.get(end) {
        Some(b'/') => class::run_end(text, end + 1, DIGIT),
        _ => end,
    };
    let is_network = (end + 2..=end + 3).contains(&mask) && !class::at(text, mask, ALNUM | JOINER);
    let end = if is_network { mask } else { end };
    (!is_part && !is_version).then_some(end)
}
