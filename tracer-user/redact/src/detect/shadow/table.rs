//! Tables whose first row names their columns: a cell that stands far from its column's name is read right
//! behind it. Rows of CSV, of Markdown and of what databases print, and the values of an `INSERT`.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem, memrchr};

use super::{Piece, Shadow};
use crate::detect::{
    class::{self, ALNUM, JOINER, SPACE},
    words::{Hit, Words},
};

/// How far a column's name speaks, from the beginning of its row, in bytes.
pub(crate) const REACH: usize = 3 << 10;
/// No first row is longer.
const LONGEST_ROW: usize = 1 << 10;
/// No column's name is longer.
const LONGEST_NAME: usize = 48;
/// Nothing shorter is looked for in a cell.
const SHORTEST_CELL: usize = 3;

/// What stands between two cells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Mark(u8),
    /// Two blanks or more.
    Blanks,
    /// Commas within brackets.
    Brackets,
}

/// A first row.
struct Header {
    start: usize,
    end: usize,
    between: Between,
    names: Vec<Range<usize>>,
}

/// The cells of every column whose name says that something is to be found there, each behind its name.
pub(super) fn find(text: &[u8], hits: &[Hit], words: &Words) -> Option<Shadow> {
    let mut shadow = Shadow {
        bytes: Vec::new(),
        pieces: Vec::new(),
        is_complete: false,
        is_rearranged: true,
    };
    // A table has more than one row, an `INSERT` has brackets.
    memchr2(b'\n', b'(', text)?;
    let mut resume = 0;
    for (place, hit) in hits.iter().enumerate() {
        if hit.start < resume {
            continue;
        }
        if !words.names_a_column(*hit) {
            continue;
        }
        let Some(header) = ends_a_name(text, hit.end)
            .and_then(|between| begins_a_cell(text, hit.start, between))
            .and_then(|between| header(text, hit.start, between))
        else {
            continue;
        };
        resume = header.end;
        let named = |name: &Range<usize>| {
            let in_row = hits[place..]
                .iter()
                .take_while(|hit| hit.start < header.end);
            let mut in_name = in_row.filter(|hit| hit.start >= name.start && hit.end <= name.end);
            in_name.any(|hit| words.names_a_column(*hit))
        };
        let columns: Vec<bool> = header.names.iter().map(named).collect();
        rows(text, &header, &columns, &mut shadow);
    }
    (!shadow.bytes.is_empty()).then_some(shadow)
}

/// What stands between the cell whose name's word ends at `end` and the next one: nothing where the name is
/// none of a row's.
fn ends_a_name(text: &[u8], end: usize) -> Option<Between> {
    const LONGEST: usize = 16;
    // Most words are followed by another.
    if text.get(end) == Some(&b' ')
        && !matches!(
            text.get(end + 1),
            Some(b' ' | b'|' | b'n' | b'c' | b'#' | b'\n' | b'\r')
        )
    {
        return None;
    }
    let limit = text.len().min(end + LONGEST);
    let mut place = class::run_end(&text[..limit], end, ALNUM | JOINER);
    // `card number`, `account no`: what numbers are called.
    for word in [&b" number"[..], b" no", b" #", b" code"] {
        if text[place..].starts_with(word) {
            place += word.len();
            break;
        }
    }
    while matches!(text.get(place), Some(b'"' | b'`' | b'*' | b'\'')) {
        place += 1;
    }
    match text.get(place..)? {
        [] | [b'\n' | b'\r', ..] | [b' ', b'\n' | b'\r', ..] => Some(Between::Mark(b'\n')),
        [b')', ..] => Some(Between::Brackets),
        [mark @ (b',' | b';' | b'\t' | b'|'), ..] => Some(Between::Mark(*mark)),
        [b' ', b'|', ..] => Some(Between::Mark(b'|')),
        [b' ', b' ', ..] => {
            let blanks = text[place..]
                .iter()
                .take(64)
                .take_while(|byte| **byte == b' ');
            match text.get(place + blanks.count()) {
                Some(b'|') => Some(Between::Mark(b'|')),
                Some(b'\n' | b'\r') => Some(Between::Mark(b'\n')),
                _ => Some(Between::Blanks),
            }
        }
        _ => None,
    }
}

/// What stands between the cells of the row that the word at `start` is a name of, if what stands before the name
/// ends another cell or begins the row.
fn begins_a_cell(text: &[u8], start: usize, between: Between) -> Option<Between> {
    let floor = start.saturating_sub(LONGEST_NAME);
    let is_part = |byte: u8| class::is(byte, ALNUM | JOINER) || b" \"`*'./#".contains(&byte);
    let name = text[floor..start].iter().rev();
    let length = name.take_while(|byte| is_part(**byte)).count();
    let before = match start - length {
        0 => b'\n',
        _ if length == LONGEST_NAME => return None,
        begin => text[begin - 1],
    };
    match (between, before) {
        (Between::Mark(b'\n'), b',' | b';' | b'\t' | b'|') => Some(Between::Mark(before)),
        // Two blanks before it are a part of what the name was taken for.
        (Between::Mark(b'\n'), b'\n')
            if memmem::find(&text[start - length..start], b"  ").is_some() =>
        {
            Some(Between::Blanks)
        }
        (Between::Brackets, b',' | b'(') => Some(between),
        (Between::Mark(b','), b'(' | b'\n') | (Between::Blanks, b'\n') => Some(between),
        (Between::Mark(mark), before) if mark != b'\n' && (before == mark || before == b'\n') => {
            Some(between)
        }
        _ => None,
    }
}

/// The first row that the name at `place` stands in.
fn header(text: &[u8], place: usize, between: Between) -> Option<Header> {
    let floor = place.saturating_sub(LONGEST_ROW);
    let start = match memrchr(b'\n', &text[floor..place]) {
        Some(end) => floor + end + 1,
        None if floor == 0 => 0,
        None => return None,
    };
    let limit = text.len().min(start + LONGEST_ROW);
    let end = memchr(b'\n', &text[place..limit]).map(|step| place + step);
    // The columns of an `INSERT`, whose values follow in brackets.
    if let Some(open) = memrchr(b'(', &text[start..place])
        && let Some(close) = memchr(b')', &text[place..end.unwrap_or(limit)])
    {
        let row = start + open + 1..place + close;
        let rest = text[row.end + 1..].trim_ascii_start();
        if rest.len() > 6 && rest[..6].eq_ignore_ascii_case(b"values") {
            return Header::new(text, row, Between::Brackets);
        }
    }
    let row = start..end?;
    match between {
        Between::Brackets => None,
        between => Header::new(text, row, between),
    }
}

impl Header {
    /// A row of names, if it is one.
    fn new(text: &[u8], row: Range<usize>, between: Between) -> Option<Self> {
        let names = cells(text, row.clone(), between);
        let is_name = |name: &Range<usize>| {
            let name = &text[name.clone()];
            name.len() <= LONGEST_NAME
                && !name.iter().any(|byte| b"=:(){}<>".contains(byte))
                && (name.is_empty() || name.iter().any(|byte| class::is(*byte, class::WORD)))
        };
        (names.len() > 1 && names.iter().all(is_name)).then_some(Self {
            start: row.start,
            end: row.end,
            between,
            names,
        })
    }
}

/// Puts the cells of the wanted columns behind their names, row by row, as far as the rows have as many cells
/// as there are names.
fn rows(text: &[u8], header: &Header, columns: &[bool], shadow: &mut Shadow) {
    let limit = text.len().min(header.start + REACH);
    let mut place = header.end + 1;
    if header.between == Between::Brackets {
        place = memchr(b'(', &text[place.min(limit)..limit]).map_or(limit, |open| place + open);
    }
    while place < limit {
        let Some(row) = row(text, place, header.between) else {
            return;
        };
        place = row.end + 1;
        let is_rule = |byte: &u8| b"-+|:=_ \t\r".contains(byte);
        if !row.is_empty() && text[row.clone()].iter().all(is_rule) {
            continue;
        }
        let cells = cells(text, row.clone(), header.between);
        if cells.len() != header.names.len() {
            return;
        }
        let named = header.names.iter().zip(columns).zip(cells);
        for ((name, _), cell) in named.filter(|((_, is_wanted), _)| **is_wanted) {
            if cell.len() >= SHORTEST_CELL && cell.end <= limit {
                shadow.cell(text, name.clone(), cell);
            }
        }
        if header.between == Between::Brackets {
            // `), (`
            let joint = text[place..limit].iter();
            place += joint
                .take_while(|byte| byte.is_ascii_whitespace() || **byte == b',')
                .count();
            if text.get(place) != Some(&b'(') {
                return;
            }
        }
    }
}

/// The row that begins at `place`, without its end.
fn row(text: &[u8], place: usize, between: Between) -> Option<Range<usize>> {
    let limit = text.len().min(place + REACH);
    if between != Between::Brackets {
        let end = memchr(b'\n', &text[place..limit]);
        return Some(place..end.map_or(limit, |end| place + end));
    }
    let start = place + 1;
    let mut quote = None;
    let mut depth = 0;
    for (step, byte) in text[start..limit].iter().enumerate() {
        match (quote, *byte) {
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(*byte),
            (None, b'(') => depth += 1,
            (None, b')') if depth == 0 => return Some(start..start + step),
            (None, b')') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

/// The cells of a row, without blanks and quotes around them.
fn cells(text: &[u8], row: Range<usize>, between: Between) -> Vec<Range<usize>> {
    let mut row = row;
    let is_blank = |byte: u8| class::is(byte, SPACE);
    if between != Between::Mark(b'\t') {
        while row.end > row.start && is_blank(text[row.end - 1]) {
            row.end -= 1;
        }
        while row.start < row.end && is_blank(text[row.start]) {
            row.start += 1;
        }
    }
    // A row of Markdown is closed at both ends.
    if between == Between::Mark(b'|') {
        row.start += usize::from(text.get(row.start) == Some(&b'|') && !row.is_empty());
        row.end -= usize::from(!row.is_empty() && text[row.end - 1] == b'|');
    }
    let mut cells = Vec::new();
    let mut quote = None;
    let mut start = row.start;
    let mut place = row.start;
    while place <= row.end {
        let byte = if place < row.end { text[place] } else { b'\n' };
        let is_end = place == row.end
            || quote.is_none()
                && match between {
                    Between::Mark(mark) => byte == mark,
                    Between::Brackets => byte == b',',
                    Between::Blanks => byte == b' ' && text[place..row.end].starts_with(b"  "),
                };
        if is_end {
            cells.push(bare(text, start..place));
            place += 1;
            while between == Between::Blanks && place < row.end && text[place] == b' ' {
                place += 1;
            }
            start = place;
            continue;
        }
        let may_open = byte == b'"' || byte == b'\'' && between == Between::Brackets;
        match quote {
            Some(open) if open == byte => quote = None,
            None if may_open && text[start..place].iter().all(|byte| is_blank(*byte)) => {
                quote = Some(byte);
            }
            _ => {}
        }
        place += 1;
    }
    cells
}

/// Without the blanks, quotes and marks around it.
fn bare(text: &[u8], cell: Range<usize>) -> Range<usize> {
    let mut cell = cell;
    let is_blank = |byte: u8| class::is(byte, SPACE);
    while cell.start < cell.end && is_blank(text[cell.start]) {
        cell.start += 1;
    }
    while cell.end > cell.start && is_blank(text[cell.end - 1]) {
        cell.end -= 1;
    }
    for _ in 0..2 {
        let is_wrapped = cell.len() > 2
            && text[cell.start] == text[cell.end - 1]
            && b"\"'`*".contains(&text[cell.start]);
        if is_wrapped {
            cell.start += 1;
            cell.end -= 1;
        }
    }
    cell
}

impl Shadow {
    /// A cell behind its column's name.
    fn cell(&mut self, text: &[u8], name: Range<usize>, cell: Range<usize>) {
        let at = |place: usize, start: usize| Piece {
            start,
            origin: place..place,
            is_exact: true,
        };
        self.pieces.push(at(cell.start, self.bytes.len()));
        self.bytes.extend_from_slice(&text[name]);
        self.bytes.extend_from_slice(b": ");
        self.copy(text, cell.clone());
        self.pieces.push(at(cell.end, self.bytes.len()));
        self.bytes.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::words::{Role, Topic};

    fn told(text: &str) -> Option<String> {
        let words = Words::new([
            ("password", Role::Password),
            ("ssn", Role::Topic(Topic::Identity)),
        ]);
        let mut hits = Vec::new();
        words.find(text.as_bytes(), &mut hits);
        let shadow = find(text.as_bytes(), &hits, &words)?;
        Some(String::from_utf8_lossy(&shadow.bytes).into_owned())
    }

    #[test]
    fn cells_stand_behind_the_names_of_their_columns() {
        for (table, cells) in [
            (
                "id,ssn,password\n1,219-09-9999,\"a,b c\"\n2,,hunter22\n",
                "ssn: 219-09-9999\npassword: a,b c\npassword: hunter22\n",
            ),
            (
                "| user | Password |\n|---|:--|\n| ann | hunter22 |\n\nend",
                "Password: hunter22\n",
            ),
            (
                " id | password \n----+----------\n  1 | hunter22\n(1 row)\n",
                "password: hunter22\n",
            ),
            (
                "NAME     PASSWORD  AGE\nann      hunter22  3d\n",
                "PASSWORD: hunter22\n",
            ),
            (
                "INSERT INTO u (id, password) VALUES (1, 'it, hunter22'), (2,'x y z');",
                "password: it, hunter22\npassword: x y z\n",
            ),
        ] {
            assert_eq!(told(table).as_deref(), Some(cells), "{table}");
        }
    }

    #[test]
    fn other_lines_with_marks_are_no_tables() {
        for text in [
            "the user, the password, and more\nof it follows\n",
            "password\nhunter22\n",
            "f(user, password);\ng(1, 2);\n",
            "user=ann,password\n1,2\n",
            "INSERT INTO u (id, password) SELECT 1, 2",
        ] {
            assert_eq!(told(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_speaks_for_so_many_bytes_of_rows() {
        let table = format!("id,password\n{}", "1,hunter22\n".repeat(1_000));
        let told = told(&table).expect("it is a table");
        assert_eq!(told.lines().count(), (REACH - 12) / 11);
    }
}
