//! What replaces which bytes of a text.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    json::{self, Fragment},
    key::RunKey,
    policy::Action,
};

/// Something that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) range: Range<usize>,
    /// What it is, as placeholders show it.
    pub(crate) kind: String,
    pub(crate) action: Action,
}

/// A part of a text and what is shown instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) range: Range<usize>,
    pub(crate) kind: String,
    pub(crate) shown: Vec<u8>,
}

impl Mark {
    /// Whether it says something of these bytes; of none, whether they lie within it.
    pub(crate) const fn touches(&self, range: &Range<usize>) -> bool {
        if range.start == range.end {
            return self.range.start < range.start && range.start < self.range.end;
        }
        self.range.start < range.end && range.start < self.range.end
    }
}

/// Decides what is shown for each hit. Where several lie over each other the longest wins, then the
/// one that begins first, then the one that was found first; what is left of the others is masked.
pub(crate) fn marks(text: &[u8], mut hits: Vec<Hit>, key: &RunKey) -> Vec<Mark> {
    hits.retain(|hit| hit.action != Action::Keep && !hit.range.is_empty());
    if hits.is_empty() {
        return Vec::new();
    }
    for hit in &mut hits {
        hit.range = whole_characters(text, hit.range.clone());
    }
    hits.sort_by_key(|hit| (usize::MAX - hit.range.len(), hit.range.start));
    let mut placed: BTreeMap<usize, (usize, Hit)> = BTreeMap::new();
    for hit in hits {
        for part in free(&placed, &hit.range) {
            let action = match part == hit.range {
                true => hit.action,
                false => Action::Mask,
            };
            let part = Hit {
                range: part,
                kind: hit.kind.clone(),
                action,
            };
            placed.insert(part.range.start, (part.range.end, part));
        }
    }
    let hits = placed.into_values().map(|(_, hit)| hit);
    let fragments = json::fragments(text);
    let mut marks = Vec::new();
    for hit in hits {
        fit(text, &hit, &fragments, key, &mut marks);
    }
    marks
}

/// A text with its marks in place of what they cover; a mark that is cut by the range's ends is
/// shown whole.
pub(crate) fn render(text: &[u8], range: Range<usize>, marks: &[Mark]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(range.len());
    let mut at = range.start;
    for mark in marks.iter().filter(|mark| mark.touches(&range)) {
        if mark.range.start > at {
            shown.extend_from_slice(&text[at..mark.range.start]);
        }
        shown.extend_from_slice(&mark.shown);
        at = at.max(mark.range.end);
    }
    if at < range.end {
        shown.extend_from_slice(&text[at..range.end]);
    }
    shown
}

/// The parts of a range that nothing lies on.
fn free(placed: &BTreeMap<usize, (usize, Hit)>, range: &Range<usize>) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let before = placed.range(..range.start).next_back();
    let mut at = before.map_or(range.start, |(_, (end, _))| (*end).max(range.start));
    for (start, (end, _)) in placed.range(range.start..range.end) {
        if *start > at {
            parts.push(at..*start);
        }
        at = at.max(*end);
    }
    if at < range.end {
        parts.push(at..range.end);
    }
    parts
}

/// Grows a range so that it cuts no UTF-8 character.
fn whole_characters(text: &[u8], range: Range<usize>) -> Range<usize> {
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let (mut start, mut end) = (range.start, range.end.min(text.len()));
    // A character has at most three bytes after its first.
    for _ in 0..3 {
        start -= usize::from(start > 0 && is_inside(start));
        end += usize::from(is_inside(end));
    }
    start..end
}

/// Places a hit's marks so that JSON around it stays valid.
fn fit(text: &[u8], hit: &Hit, fragments: &[Fragment], key: &RunKey, marks: &mut Vec<Mark>) {
    let mut put = |range: Range<usize>, action: Action, quoted: bool| {
        if range.is_empty() {
            return;
        }
        let mut shown = replacement(&text[range.clone()], &hit.kind, action, key);
        if quoted {
            shown.insert(0, b'"');
            shown.push(b'"');
        }
        marks.push(Mark {
            range,
            kind: hit.kind.clone(),
            shown,
        });
    };
    let first = fragments.partition_point(|fragment| fragment.range.end <= hit.range.start);
    let mut at = hit.range.start;
    for fragment in &fragments[first..] {
        if fragment.range.start >= hit.range.end {
            break;
        }
        put(at..fragment.range.start.max(at), Action::Mask, false);
        let first = fragment
            .scalars
            .partition_point(|scalar| scalar.range.end <= hit.range.start);
        for scalar in &fragment.scalars[first..] {
            let (start, end) = (&scalar.range.start, &scalar.range.end);
            if *start >= hit.range.end {
                break;
            }
            if scalar.is_string {
                let part = hit.range.start.max(*start)..hit.range.end.min(*end);
                let part = json::whole_escapes(text, &scalar.range, part);
                put(part, hit.action, false);
            } else {
                put(scalar.range.clone(), hit.action, true);
            }
        }
        at = fragment.range.end;
    }
    if at == hit.range.start {
        put(hit.range.clone(), hit.action, false);
    } else if at < hit.range.end {
        put(at..hit.range.end, Action::Mask, false);
    }
}

/// What is shown instead of a value.
pub(crate) fn replacement(value: &[u8], kind: &str, action: Action, key: &RunKey) -> Vec<u8> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    match action {
        // Neither reaches an output; what is not meant to be shown is masked.
        Action::Keep | Action::Drop | Action::Mask => format!("[{kind}]").into_bytes(),
        Action::Hash => {
            let digest = key.digest("hash", kind, value);
            format!("[{kind}:{}]", hex(&digest[..16])).into_bytes()
        }
        Action::Pseudonym => {
            let digest = key.digest("tag", kind, value);
            format!("[{kind}#{}]", hex(&digest[..4])).into_bytes()
        }
        Action::Partial { first, last } => {
            let (first, last) = (usize::from(first), usize::from(last));
            let is_plain = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_alphanumeric);
            let (begin, end) = (value.get(..first), value.len().checked_sub(last));
            match (begin, end.map(|end| &value[end..])) {
                // At least twice as much is hidden as is shown.
                (Some(begin), Some(end))
                    if value.len() >= 3 * (first + last) && is_plain(begin) && is_plain(end) =>
                {
                    [begin, format!("[{kind}]").as_bytes(), end].concat()
                }
                _ => format!("[{kind}]").into_bytes(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> RunKey {
        RunKey::new([9; 32])
    }

    fn hit(range: Range<usize>, kind: &str, action: Action) -> Hit {
        Hit {
            range,
            kind: kind.to_owned(),
            action,
        }
    }

    fn shown(text: &str, hits: Vec<Hit>) -> String {
        let marks = marks(text.as_bytes(), hits, &key());
        String::from_utf8(render(text.as_bytes(), 0..text.len(), &marks)).unwrap()
    }

    #[test]
    fn the_longest_wins_and_what_is_left_of_others_is_masked() {
        let hits = vec![
            hit(6..12, "B", Action::Partial { first: 1, last: 0 }),
            hit(0..8, "A", Action::Mask),
            hit(2..4, "C", Action::Mask),
        ];
        assert_eq!(shown("aaaaaaaabbbbcc", hits), "[A][B]cc");
    }

    #[test]
    fn what_is_kept_shields_nothing_from_another_rule() {
        let hits = vec![hit(0..8, "A", Action::Keep), hit(2..4, "B", Action::Mask)];
        assert_eq!(shown("aaaaaaaa", hits), "aa[B]aaaa");
    }

    #[test]
    fn a_part_shows_only_where_most_is_hidden() {
        let partial = Action::Partial { first: 0, last: 4 };
        let card = "4111111111111111";
        assert_eq!(
            shown(&format!("x {card}"), vec![hit(2..18, "CARD", partial)]),
            "x [CARD]1111"
        );
        assert_eq!(
            shown("x 41111111", vec![hit(2..10, "CARD", partial)]),
            "x [CARD]"
        );
        assert_eq!(
            shown("x 4111-1111-1111-1-11", vec![hit(2..21, "CARD", partial)]),
            "x [CARD]"
        );
    }

    #[test]
    fn equal_values_have_equal_pseudonyms() {
        let text = "a@b.org A@B.org c@d.org";
        let hits = [0..7, 8..15, 16..23].map(|range| hit(range, "EMAIL", Action::Pseudonym));
        let shown = shown(text, hits.to_vec());
        let tags: Vec<_> = shown.split(' ').collect();
        assert_eq!(tags[0], tags[1]);
        assert_ne!(tags[0], tags[2]);
        assert!(tags[0].starts_with("[EMAIL#") && tags[0].len() == 16);
    }

    #[test]
    fn json_stays_json_whatever_the_hit_covers() {
        let text = r#"{"password": "a\"b", "card": 4111111111111111, "x": [1, null]}"#;
        let all = shown(text, vec![hit(0..text.len(), "S", Action::Mask)]);
        assert_eq!(
            all,
            r#"{"[S]": "[S]", "[S]": "[S]", "[S]": ["[S]", "[S]"]}"#
        );
        // A hit from within the escape to within the number.
        let some = shown(text, vec![hit(16..33, "S", Action::Mask)]);
        assert_eq!(
            some,
            r#"{"password": "a[S]", "[S]": "[S]", "x": [1, null]}"#
        );
    }

    #[test]
    fn characters_are_replaced_whole() {
        assert_eq!(shown("é", vec![hit(1..2, "S", Action::Mask)]), "[S]");
    }

    proptest! {
        #[test]
        fn json_stays_json(
            text in r#"\{"[a-z]{1,4}": ("[a-z\\n"]{0,8}"|[0-9]{1,6}|\[true, "[a-z]{0,5}"\])\}"#,
            from in 0..20_usize,
            length in 0..20_usize,
        ) {
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                let (from, to) = (from.min(text.len()), (from + length).min(text.len()));
                let shown = shown(&text, vec![hit(from..to, "S", Action::Mask)]);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{shown}");
            }
        }

        #[test]
        fn every_byte_of_every_hit_is_covered(
            hits in prop::collection::vec((0..40_usize, 1..20_usize), 0..8),
        ) {
            let text = [b'.'; 64];
            let hits: Vec<_> = hits
                .into_iter()
                .map(|(start, length)| hit(start..start + length, "S", Action::Mask))
                .collect();
            let marks = marks(&text, hits.clone(), &key());
            for byte in hits.iter().flat_map(|hit| hit.range.clone()) {
                prop_assert!(marks.iter().any(|mark| mark.range.contains(&byte)));
            }
            prop_assert!(marks.windows(2).all(|two| two[0].range.end <= two[1].range.start));
        }
    }
}
