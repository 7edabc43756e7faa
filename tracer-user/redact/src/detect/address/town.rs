//! The town behind a street: its name with a postal code, or with a state's letters and a code.

use std::ops::Range;

use super::{
    super::class::{self, ALNUM, DIGIT, LOWER, UPPER},
    words::{LINKS, is_capital, lower, trim, word_end},
};

/// The range with a postal code and a town behind it: `, 50668 Köln`.
pub(super) fn with_town(text: &[u8], range: Range<usize>) -> Range<usize> {
    let Some(rest) = text.get(range.end..text.len().min(range.end + 64)) else {
        return range;
    };
    let skip = rest
        .iter()
        .take(3)
        .take_while(|byte| b" ,.\n".contains(byte))
        .count();
    // A full stop ends the sentence, but for a short form's: `Blvd., Boise`.
    let skip = if rest.starts_with(b". ") { 0 } else { skip };
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
        // `Raleigh, North Carolina 27611`, `Bengaluru 560068`
        let code = class::run_end(text, (end + 1).min(text.len()), DIGIT);
        let is_named =
            text.get(end) == Some(&b' ') && matches!(code.saturating_sub(end + 1), 5 | 6);
        if is_named && !class::at(text, code, ALNUM) && class::before(text, end, LOWER) {
            return Some(code);
        }
        let name = text[place..end]
            .strip_suffix(b",")
            .unwrap_or(&text[place..end]);
        let is_state =
            matches!(name.len(), 2 | 3) && name.iter().all(|byte| class::is(*byte, UPPER));
        if is_state && let Some(end) = canadian_code(text, end) {
            return Some(end);
        }
        if is_state && place > start && text.get(end) == Some(&b' ') {
            let code = class::run_end(text, end + 1, DIGIT);
            let more = match text.get(code) {
                Some(b'-') => class::run_end(text, code + 1, DIGIT),
                _ => code,
            };
            let code_end = if more == code + 5 { more } else { code };
            // Australia's states have two or three letters, and its codes four digits.
            let is_code = matches!((name.len(), code - end), (2, 6) | (2 | 3, 5));
            return (is_code && !class::at(text, code_end, ALNUM)).then_some(code_end);
        }
        if text.get(end) != Some(&b' ') {
            return None;
        }
        place = end + 1;
    }
    None
}

/// Where a code such as ` M4K 5H6` ends.
fn canadian_code(text: &[u8], start: usize) -> Option<usize> {
    let [b' ', a, b, c, b' ', d, e, f] = text.get(start..start + 8)? else {
        return None;
    };
    let holds = [a, c, e].into_iter().all(|byte| class::is(*byte, UPPER))
        && [b, d, f].into_iter().all(|byte| class::is(*byte, DIGIT));
    (holds && !class::at(text, start + 8, ALNUM)).then_some(start + 8)
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
