//! A run of digit groups, such as `(602) 272-9781` or `4012 8888 8888 1881`.

use crate::detect::{
    class::{self, ALNUM, DIGIT, LETTER},
    colon,
};

const MAX_GROUPS: usize = 20;
const MAX_DIGITS: usize = 80;

/// Groups of digits with the separators between them.
pub(crate) struct Run {
    digits: [u8; MAX_DIGITS],
    /// Start and end in the text.
    places: [(usize, usize); MAX_GROUPS],
    /// Where each group's digits begin in `digits`; one more than there are groups.
    offsets: [usize; MAX_GROUPS + 1],
    /// What follows each group: the separator that says most, `0` if nothing.
    separators: [u8; MAX_GROUPS],
    pub(crate) groups: usize,
    /// Where the walk may go on.
    pub(crate) end: usize,
}

/// Some groups of a run, one after another.
#[derive(Clone, Copy)]
pub(crate) struct Window<'r> {
    run: &'r Run,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Run {
    /// The run whose first digit is at `start`. Groups glued to letters are not in it.
    pub(crate) fn read(text: &[u8], start: usize) -> Self {
        let mut run = Self {
            digits: [0; MAX_DIGITS],
            places: [(0, 0); MAX_GROUPS],
            offsets: [0; MAX_GROUPS + 1],
            separators: [0; MAX_GROUPS],
            groups: 0,
            end: start,
        };
        let mut place = start;
        let mut count = 0;
        while run.groups < MAX_GROUPS {
            let end = class::run_end(text, place, DIGIT);
            let is_glued = class::at(text, end, LETTER) && !is_extension(text, end);
            if is_glued || count + (end - place) > MAX_DIGITS {
                // One long run of digits is skipped as a whole, so that the walk stays linear.
                run.end = if run.groups == 0 { end } else { place };
                break;
            }
            for digit in &text[place..end] {
                run.digits[count] = digit - b'0';
                count += 1;
            }
            run.places[run.groups] = (place, end);
            run.groups += 1;
            run.offsets[run.groups] = count;
            run.end = end;
            let Some((next, separator)) = separator(text, end) else {
                break;
            };
            run.separators[run.groups - 1] = separator;
            place = next;
        }
        if run.groups > 0 {
            run.separators[run.groups - 1] = 0;
        }
        run
    }

    /// The groups from `first` to `last`, both included.
    pub(crate) fn window(&self, first: usize, last: usize) -> Window<'_> {
        Window {
            run: self,
            first,
            last,
        }
    }
}

/// The next group's place after a separator of up to three bytes, and what separates most.
fn separator(text: &[u8], end: usize) -> Option<(usize, u8)> {
    let mut strongest = b' ';
    let mut place = end;
    while place < end + 3 {
        match text.get(place)? {
            b' ' => place += 1,
            mark @ (b'-' | b'.' | b'/' | b':' | b'(' | b')') => {
                strongest = match mark {
                    b'(' => b')',
                    mark => *mark,
                };
                place += 1;
            }
            // A no-break space, and dashes that are no hyphens.
            0xC2 if text.get(place + 1) == Some(&0xA0) => place += 2,
            0xE2 if text.get(place + 1) == Some(&0x80)
                && matches!(text.get(place + 2), Some(0x90..=0x95)) =>
            {
                strongest = b'-';
                place += 3;
            }
            digit if digit.is_ascii_digit() => break,
            _ => return None,
        }
    }
    // With colons, twos are a time or a link-layer address.
    let is_short = strongest == b':' && class::run_end(text, place, DIGIT) - place < 4;
    // A link-layer address is no part of a number before it.
    let is_mac = || strongest == b' ' && colon::dashed_mac(text, place).is_some();
    (place > end && class::at(text, place, DIGIT) && !is_short && !is_mac())
        .then_some((place, strongest))
}

fn is_extension(text: &[u8], end: usize) -> bool {
    let word = class::run_end(text, end, LETTER);
    let is_known = [&b"x"[..], b"ext"]
        .into_iter()
        .any(|known| text[end..word].eq_ignore_ascii_case(known));
    is_known && class::at(text, word, DIGIT)
}

impl<'r> Window<'r> {
    pub(crate) fn start(self) -> usize {
        self.run.places[self.first].0
    }

    pub(crate) fn end(self) -> usize {
        self.run.places[self.last].1
    }

    pub(crate) fn digits(self) -> &'r [u8] {
        &self.run.digits[self.run.offsets[self.first]..self.run.offsets[self.last + 1]]
    }

    pub(crate) fn groups(self) -> usize {
        self.last - self.first + 1
    }

    /// Number of digits in the window's n-th group.
    pub(crate) fn length(self, group: usize) -> usize {
        let place = self.first + group;
        self.run.offsets[place + 1] - self.run.offsets[place]
    }

    /// What follows the window's n-th group.
    pub(crate) fn separator(self, group: usize) -> u8 {
        self.run.separators[self.first + group]
    }

    /// What stands between the window and the group before it; `0` if there is none.
    pub(crate) fn separator_before(self) -> u8 {
        match self.first {
            0 => 0,
            first => self.run.separators[first - 1],
        }
    }

    /// What stands between the window and the group after it; `0` if there is none.
    pub(crate) fn separator_after(self) -> u8 {
        self.run.separators[self.last]
    }

    /// Whether the window has this shape: lengths as digits, with the separators between them, as
    /// in `3-2-4`. An underscore stands for any separator.
    pub(crate) fn has_shape(self, shape: &str) -> bool {
        // Most differ in their first group.
        if let [first, separator, ..] = shape.as_bytes()
            && !separator.is_ascii_digit()
            && self.length(0) != usize::from(first - b'0')
        {
            return false;
        }
        let mut group = 0;
        let mut length = 0;
        for byte in shape.bytes() {
            if byte.is_ascii_digit() {
                length = length * 10 + usize::from(byte - b'0');
                continue;
            }
            if group + 1 >= self.groups()
                || self.length(group) != length
                || (byte != b'_' && self.separator(group) != byte)
            {
                return false;
            }
            group += 1;
            length = 0;
        }
        group + 1 == self.groups() && self.length(group) == length
    }

    /// Whether no other group of digits stands beside it.
    pub(crate) fn is_whole_run(self) -> bool {
        self.separator_before() == 0 && self.separator_after() == 0
    }

    /// Whether the same separator stands between all groups.
    pub(crate) fn is_uniform(self) -> bool {
        (0..self.groups() - 1).all(|group| self.separator(group) == self.separator(0))
    }

    /// Whether the window is not a part of a longer dotted, dashed or decimal number.
    pub(crate) fn stands_free(self, text: &[u8]) -> bool {
        let tight = |separator: u8| matches!(separator, b'.' | b'-' | b'/' | b':');
        let (start, end) = (self.start(), self.end());
        let is_tail = start > 1
            && matches!(text[start - 1], b'.' | b'_')
            && class::at(text, start - 2, ALNUM);
        let is_head = text.get(end) == Some(&b'_') && class::at(text, end + 1, ALNUM);
        !tight(self.separator_before()) && !tight(self.separator_after()) && !is_tail && !is_head
    }
}
