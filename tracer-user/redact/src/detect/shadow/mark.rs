//! `[at]`, `(dot)` and `name at host dot org`.

use memchr::memmem;

use super::Changes;
use crate::detect::words::{Hit, Role, Words};

/// The words, each with what it stands for. ` dot ` alone speaks for an ` at ` before it.
pub(crate) const MARKS: [(&str, u8); 38] = [
    ("[at]", b'@'),
    ("(at)", b'@'),
    ("{at}", b'@'),
    ("<at>", b'@'),
    ("[ at ]", b'@'),
    ("( at )", b'@'),
    ("(arroba)", b'@'),
    ("[arroba]", b'@'),
    ("(arobase)", b'@'),
    ("[arobase]", b'@'),
    ("(chiocciola)", b'@'),
    ("[chiocciola]", b'@'),
    ("(ät)", b'@'),
    ("[ät]", b'@'),
    ("[@]", b'@'),
    ("(@)", b'@'),
    ("_at_", b'@'),
    ("-at-", b'@'),
    ("[dot]", b'.'),
    ("(dot)", b'.'),
    ("{dot}", b'.'),
    ("<dot>", b'.'),
    ("[ dot ]", b'.'),
    ("( dot )", b'.'),
    ("(punkt)", b'.'),
    ("[punkt]", b'.'),
    ("(punto)", b'.'),
    ("[punto]", b'.'),
    ("(ponto)", b'.'),
    ("[ponto]", b'.'),
    ("(point)", b'.'),
    ("[point]", b'.'),
    ("[.]", b'.'),
    ("(.)", b'.'),
    ("_dot_", b'.'),
    ("-dot-", b'.'),
    (" dot ", b'.'),
    (" punkt ", b'.'),
];

/// Finds every mark, with the blanks around it.
pub(super) fn find(text: &[u8], hits: &[Hit], words: &Words, changes: &mut Changes) {
    let mut spoken = 0;
    for hit in hits.iter().filter(|hit| words.marks(**hit)) {
        let Some(mark) = words.roles(*hit).iter().find_map(|role| match role {
            Role::Mark(mark) => Some(*mark),
            _ => None,
        }) else {
            continue;
        };
        let mut start = hit.start;
        let mut end = hit.end;
        while start > 0 && text[start - 1] == b' ' && hit.start - start < 2 {
            start -= 1;
        }
        while text.get(end) == Some(&b' ') && end - hit.end < 2 {
            end += 1;
        }
        changes.push(start..end, &[mark]);
        // The spoken form: the nearest ` at ` before the first ` dot `.
        let floor = hit.start.saturating_sub(48).max(spoken);
        if text[hit.start] == b' '
            && let Some(at) = memmem::rfind(&text[floor..hit.start], b" at ")
                .or_else(|| memmem::rfind(&text[floor..hit.start], b" AT "))
        {
            changes.push(floor + at..floor + at + 4, b"@");
        }
        spoken = hit.end;
    }
}
