//! Shadows: decoded copies of a text, every byte of which knows where it came from.
//!
//! A shadow holds only the surroundings of what was decoded, so that one escape in a long text
//! costs little. Decoding never lengthens a text, only the names before the cells of a table do, by no more than a
//! name's longest length each; there is a fixed number of shadows, and each is made in one pass: time and memory
//! stay linear whatever the text holds.

mod blob;
mod escape;
mod fold;
mod join;
mod list;
mod mark;
mod table;
mod tag;

use std::ops::Range;

pub(crate) use self::{blob::is_base64_of_text, mark::MARKS, table::REACH as TABLE_REACH};
use super::{
    class::{self, SPACE},
    words::{Hit, Words},
};

/// How much of what surrounds a decoded place is copied, in bytes.
const AROUND: usize = 160;

/// A decoded copy.
pub(crate) struct Shadow {
    pub(crate) bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// Whether nothing of the text was left out.
    pub(crate) is_complete: bool,
    /// Whether its bytes stand in another order, so that what is found in copies is news as well.
    is_rearranged: bool,
}

/// A part of a shadow; it reaches to where the next begins.
#[derive(Clone, Debug)]
struct Piece {
    start: usize,
    origin: Range<usize>,
    /// Whether the bytes are the original's own.
    is_exact: bool,
}

/// Something that stands for other bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    range: Range<usize>,
    /// What it stands for, in [`Changes::decoded`].
    decoded: Range<usize>,
}

/// Everything in a text that stands for other bytes.
#[derive(Default)]
struct Changes {
    list: Vec<Change>,
    decoded: Vec<u8>,
}

impl Changes {
    fn push(&mut self, range: Range<usize>, bytes: &[u8]) {
        let start = self.decoded.len();
        self.decoded.extend_from_slice(bytes);
        self.list.push(Change {
            range,
            decoded: start..self.decoded.len(),
        });
    }
}

/// What a text looks like with its encodings undone, if it has any.
pub(crate) fn decoded(text: &[u8], hits: &[Hit], words: &Words) -> Option<Shadow> {
    let mut changes = Changes::default();
    if !text.is_ascii() {
        fold::find(text, &mut changes);
    }
    escape::find(text, &mut changes);
    escape::pluses(text, &mut changes);
    escape::quoted(text, &mut changes);
    escape::zeroes(text, &mut changes);
    tag::find(text, &mut changes);
    escape::colours(text, &mut changes);
    mark::find(text, hits, words, &mut changes);
    blob::find(text, &mut changes);
    list::find(text, &mut changes);
    build(text, changes)
}

/// What it looks like with its line wraps and spacing undone, if it has any.
pub(crate) fn joined(text: &[u8]) -> Option<Shadow> {
    let mut changes = Changes::default();
    join::wraps(text, &mut changes);
    join::concatenated(text, &mut changes);
    join::spaced(text, &mut changes);
    build(text, changes)
}

/// The cells of tables, each behind the name of its column, if there are any whose names say something.
pub(crate) fn cells(text: &[u8], hits: &[Hit], words: &Words) -> Option<Shadow> {
    table::find(text, hits, words)
}

fn build(text: &[u8], mut changes: Changes) -> Option<Shadow> {
    if changes.list.is_empty() {
        return None;
    }
    // Of two that overlap, the one that begins first and is longer.
    changes
        .list
        .sort_unstable_by_key(|change| (change.range.start, usize::MAX - change.range.end));
    let mut shadow = Shadow {
        bytes: Vec::new(),
        pieces: Vec::new(),
        is_complete: true,
        is_rearranged: false,
    };
    let mut copied = 0;
    let mut last_change = 0;
    for change in &changes.list {
        if change.range.start < last_change {
            continue;
        }
        let from = region_start(text, change.range.start).max(copied);
        if from > copied {
            let end = region_end(text, last_change).clamp(copied, from);
            if last_change > 0 {
                shadow.copy(text, copied..end);
            }
            shadow.is_complete &= end == from && last_change > 0;
            shadow.gap(end..from);
            copied = from;
        }
        shadow.copy(text, copied..change.range.start);
        shadow.replace(
            change.range.clone(),
            &changes.decoded[change.decoded.clone()],
        );
        copied = change.range.end;
        last_change = change.range.end;
    }
    let end = region_end(text, last_change).max(copied);
    shadow.copy(text, copied..end);
    shadow.is_complete &= end == text.len();
    Some(shadow)
}

/// Where the surroundings of a change begin: at a blank, so that no word is cut.
fn region_start(text: &[u8], change: usize) -> usize {
    let near = change.saturating_sub(AROUND);
    if near == 0 {
        return 0;
    }
    let far = near.saturating_sub(AROUND);
    text[far..near]
        .iter()
        .rposition(|byte| class::is(*byte, SPACE))
        .map_or(near, |place| far + place)
}

fn region_end(text: &[u8], change: usize) -> usize {
    let near = (change + AROUND).min(text.len());
    let far = (near + AROUND).min(text.len());
    text[near..far]
        .iter()
        .position(|byte| class::is(*byte, SPACE))
        .map_or(far, |place| near + place)
}

impl Shadow {
    fn copy(&mut self, text: &[u8], origin: Range<usize>) {
        if origin.is_empty() {
            return;
        }
        self.pieces.push(Piece {
            start: self.bytes.len(),
            origin: origin.clone(),
            is_exact: true,
        });
        self.bytes.extend_from_slice(&text[origin]);
    }

    fn replace(&mut self, origin: Range<usize>, bytes: &[u8]) {
        self.pieces.push(Piece {
            start: self.bytes.len(),
            origin,
            is_exact: false,
        });
        self.bytes.extend_from_slice(bytes);
    }

    /// Line ends that no detector reads across, where text was left out.
    fn gap(&mut self, origin: Range<usize>) {
        if !origin.is_empty() {
            self.pieces.push(Piece {
                start: self.bytes.len(),
                origin: origin.start..origin.start,
                is_exact: true,
            });
            self.bytes.extend_from_slice(b"\n\0\n");
        }
    }

    /// Where a range came from, if any of it was decoded or stood elsewhere, and came from somewhere.
    pub(crate) fn origin(&self, range: &Range<usize>) -> Option<Range<usize>> {
        if range.is_empty() {
            return None;
        }
        let piece_of = |place: usize| {
            self.pieces
                .partition_point(|piece| piece.start <= place)
                .saturating_sub(1)
        };
        let mut first = piece_of(range.start);
        let last = piece_of(range.end - 1);
        // What was taken out just before the range may belong to it, but says nothing alone.
        let touches = self.pieces[first..=last]
            .iter()
            .any(|piece| !piece.is_exact)
            // What was taken out just before it may have been glued to it.
            || (first > 0
                && !self.pieces[first - 1].is_exact
                && self.pieces[first].start == range.start);
        if !touches && !self.is_rearranged {
            return None;
        }
        while !self.pieces[first].is_exact && first < last && self.end_of(first) <= range.start {
            first += 1;
        }
        let start = self.pieces[first].from(range.start);
        let end = self.pieces[last].to(range.end);
        // What stands in added names alone came from nowhere.
        (start < end).then_some(start..end)
    }

    fn end_of(&self, piece: usize) -> usize {
        self.pieces
            .get(piece + 1)
            .map_or(self.bytes.len(), |next| next.start)
    }
}

impl Piece {
    fn from(&self, place: usize) -> usize {
        if self.is_exact {
            (self.origin.start + (place - self.start)).min(self.origin.end)
        } else {
            self.origin.start
        }
    }

    fn to(&self, place: usize) -> usize {
        if self.is_exact {
            (self.origin.start + (place - self.start)).min(self.origin.end)
        } else {
            self.origin.end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words::new([])
    }

    fn decoded_text(text: &str) -> Option<String> {
        let shadow = decoded(text.as_bytes(), &[], &words())?;
        Some(String::from_utf8_lossy(&shadow.bytes).into_owned())
    }

    #[test]
    fn encodings_are_undone_where_they_stand() {
        let cases = [
            ("mail jo%40b.de", "mail jo@b.de"),
            ("jo\\u0040b\\u002ede", "jo@b.de"),
            ("jo&#64;b&#x2e;de &commat;", "jo@b.de @"),
            ("１２３-４５", "123-45"),
            ("4\u{200b}11\u{200b}1", "4111"),
            ("gmаil.соm", "gmail.com"),
            (
                "card MzcwNiAxNjM4NDAgNDYyNDQ= ok",
                "card 3706 163840 46244 ok",
            ),
            ("x 6769756c6961406d672e6974 y", "x giulia@mg.it y"),
            ("x M5UXK3DJMFAG2ZZONF2A==== y", "x giulia@mg.it y"),
            (
                "x 67 69 75 6c 69 61 40 6d 67 2e 69 74 y",
                "x giulia@mg.it y",
            ),
            ("67:69:75:6c:69:61:40:6d:67:2e:69:74", "giulia@mg.it"),
            (
                "{0x67, 0x69, 0x75, 0x6c, 0x69, 0x61, 0x40, 0x6d, 0x67, 0x2e, 0x69, 0x74}",
                "{giulia@mg.it}",
            ),
            ("0x6769756c6961406d672e6974 y", "giulia@mg.it y"),
            (
                "x 6769 756c 6961 406d 672e 6974 as agreed",
                "x giulia@mg.it as agreed",
            ),
            (
                "01100111 01101001 01110101 01101100 01101001 01100001 01000000 01101101 01100111 00101110 01101001 01110100",
                "giulia@mg.it",
            ),
            ("jo%u0040b.de&#64 &#x2e", "jo@b.de@ ."),
            ("card=5312+3456", "card=5312 3456"),
            ("=67=69=75=6C=69=61=40=6D=67=2E=69=74", "giulia@mg.it"),
            ("giulia=2Ev=40mg=2Eit y", "giulia.v@mg.it y"),
            ("g\0i\0u\0@\0m\0", "giu@m"),
            ("giulia@**mg.it** y", "giulia@mg.it** y"),
            ("67,69,75,6c,69,61,40,6d,67,2e,69,74", "giulia@mg.it"),
            ("jo<wbr>@b.<b>de</b> a <b> c", "jo@b.de</b> a <b> c"),
            (
                "[103, 105, 117, 108, 105, 97, 64, 109, 103, 46, 105, 116]",
                "[giulia@mg.it]",
            ),
        ];
        for (encoded, plain) in cases {
            assert_eq!(decoded_text(encoded).as_deref(), Some(plain), "{encoded}");
        }
    }

    #[test]
    fn text_without_encodings_has_no_shadow() {
        for text in [
            "a plain sentence, 100 % sure & more",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "Москва и Köln",
            "[1, 15043, 3186, 29991, 306, 626, 263, 4086, 1904, 12, 13, 14, 15]",
            "de ad be ef 00 01 02 03 04 05 06 07",
            "n=48 k=2048 lr=30",
            "2 ** 10, **kwargs",
            "one\0two\0",
        ] {
            assert_eq!(decoded_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_of_a_shadow_leads_back_to_all_that_it_came_from() {
        let text = "mail jo%40b.de now";
        let shadow = decoded(text.as_bytes(), &[], &words()).expect("there is an escape");
        let plain = String::from_utf8(shadow.bytes.clone()).expect("it is text");
        let start = plain.find("jo@b.de").expect("it was decoded");
        assert_eq!(shadow.origin(&(start..start + 7)), Some(5..14));
        assert_eq!(shadow.origin(&(0..4)), None);
    }

    #[test]
    fn only_the_surroundings_of_a_change_are_copied() {
        let text = format!("{} jo%40b.de {}", "a ".repeat(10_000), "b ".repeat(10_000));
        let shadow = decoded(text.as_bytes(), &[], &words()).expect("there is an escape");
        assert!(shadow.bytes.len() < 1_000);
        assert!(!shadow.is_complete);
        let place = shadow
            .bytes
            .windows(7)
            .position(|w| w == b"jo@b.de")
            .expect("decoded");
        let origin = shadow.origin(&(place..place + 7)).expect("it was decoded");
        assert_eq!(&text[origin], "jo%40b.de");
    }

    #[test]
    fn line_wraps_and_spacing_are_undone() {
        let joined_text = |text: &str| {
            joined(text.as_bytes()).map(|shadow| String::from_utf8(shadow.bytes).expect("text"))
        };
        assert_eq!(
            joined_text("4 1 1 1 2 2 2 2 3 3 3 3").as_deref(),
            Some("411122223333")
        );
        assert_eq!(
            joined_text("3742-164\n441-39729").as_deref(),
            Some("3742-164441-39729")
        );
        assert_eq!(
            joined_text("g.i.u.l.i.a.@.m.g.i.t. y").as_deref(),
            Some("giulia@mgit. y")
        );
        assert_eq!(
            joined_text("\"giulia@\" + \"mg.it\"").as_deref(),
            Some("\"giulia@mg.it\"")
        );
        assert_eq!(
            joined_text("giulia.verdi@exam=\nple.org").as_deref(),
            Some("giulia.verdi@example.org")
        );
        assert_eq!(joined_text("one line\nand another"), None);
        assert_eq!(joined_text("version 1.2.3.4 of x_y_z"), None);
    }
}
