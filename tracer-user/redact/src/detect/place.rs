//! Places: names of hosts and paths of files. Both are found by a word that they hold (a domain's
//! ending, a folder at the root) or that stands before them (`hostname:`), because dots and slashes
//! alone are everywhere.

use std::ops::Range;

use super::class::{self, ALNUM, DIGIT, HIGH, JOINER, LOWER, SPACE, UPPER};

/// No host or path is followed further.
const MAX: usize = 512;

/// Endings of hosts. Those that programs use as names of things ask for more.
pub(crate) const ENDINGS: [&str; 52] = [
    ".com",
    ".org",
    ".net",
    ".edu",
    ".gov",
    ".mil",
    ".eu",
    ".de",
    ".fr",
    ".nl",
    ".it",
    ".ch",
    ".co.uk",
    ".uk",
    ".ru",
    ".ua",
    ".jp",
    ".cn",
    ".kr",
    ".br",
    ".au",
    ".ca",
    ".pl",
    ".se",
    ".dk",
    ".fi",
    ".cz",
    ".nz",
    ".za",
    ".tr",
    ".io",
    ".ai",
    ".dev",
    ".app",
    ".cloud",
    ".info",
    ".biz",
    ".xyz",
    ".online",
    ".site",
    ".tech",
    ".store",
    ".internal",
    ".intranet",
    ".corp",
    ".lan",
    ".local",
    ".localdomain",
    ".svc",
    ".onion",
    ".arpa",
    ".windows.net",
];

/// Endings that alone say that a host is meant.
const PLAIN_ENDINGS: [&[u8]; 12] = [
    b".com",
    b".org",
    b".edu",
    b".gov",
    b".eu",
    b".co.uk",
    b".intranet",
    b".localdomain",
    b".onion",
    b".arpa",
    b".windows.net",
    b".corp",
];

/// Folders at the root of a file system, and what else a path begins with.
pub(crate) const ROOTS: [&str; 34] = [
    "/home/",
    "/users/",
    "/root/",
    "/etc/",
    "/var/",
    "/opt/",
    "/usr/",
    "/mnt/",
    "/tmp/",
    "/srv/",
    "/media/",
    "/proc/",
    "/sys/",
    "/dev/",
    "/lib/",
    "/lib64/",
    "/run/",
    "/boot/",
    "/nix/",
    "/snap/",
    "/data/",
    "/models/",
    "/workspace/",
    "/scratch/",
    "/app/",
    "/content/",
    "/kaggle/",
    "/volumes/",
    "/applications/",
    "/library/",
    "/private/",
    "/nfs/",
    "~/",
    ":\\",
];

/// What stands before a path whose first folder is none of those.
pub(crate) const BEFORE_PATHS: [&str; 5] = [" /", "\"/", "'/", "=/", "`/"];

/// Whether a path begins with a folder that systems have.
pub(crate) fn is_root(path: &[u8]) -> bool {
    let begins = |root: &&str| {
        path.len() >= root.len() && path[..root.len()].eq_ignore_ascii_case(root.as_bytes())
    };
    ROOTS.iter().any(begins)
}

/// The host whose ending's dot is at `dot`.
pub(crate) fn host(text: &[u8], dot: usize, ending: usize) -> Option<Range<usize>> {
    let is_label = |byte: u8| class::is(byte, LOWER | DIGIT) || byte == b'-';
    // An ending goes on only as another one: `.com.au`, `.svc.cluster.local`.
    if class::at(text, ending, ALNUM | HIGH | JOINER)
        || (text.get(ending) == Some(&b'.') && class::at(text, ending + 1, ALNUM))
        || matches!(text.get(ending), Some(b'(' | b'[' | b'='))
        || text[dot..ending].iter().any(|byte| class::is(*byte, UPPER))
    {
        return None;
    }
    let floor = dot.saturating_sub(MAX / 2);
    let mut start = dot;
    while start > floor && (is_label(text[start - 1]) || text[start - 1] == b'.') {
        start -= 1;
    }
    // A mail address or a name in a program.
    let is_part = class::before(text, start, ALNUM | HIGH)
        || matches!(
            start.checked_sub(1).map(|before| text[before]),
            Some(b'@' | b'_' | b'$' | b'/' | b'\\' | b'#')
        ) && !text[..start].ends_with(b"//");
    let labels = text[start..dot].split(|byte| *byte == b'.');
    let is_sound = labels
        .clone()
        .all(|label| !label.is_empty() && label[0] != b'-' && label[label.len() - 1] != b'-');
    if is_part || !is_sound {
        return None;
    }
    let has_mark = text[start..dot]
        .iter()
        .any(|byte| class::is(*byte, DIGIT) || *byte == b'-');
    let says_it = PLAIN_ENDINGS
        .iter()
        .any(|plain| text[dot..ending].ends_with(plain))
        || labels.count() > 1
        || has_mark;
    (says_it && class::is(text[start], LOWER | DIGIT)).then(|| start..port_end(text, ending))
}

/// The host's name after a word that ends at `end` and announces one: `hostname: gpu-07`.
pub(crate) fn announced(text: &[u8], end: usize) -> Option<Range<usize>> {
    let sign = text[end..]
        .iter()
        .take(4)
        .position(|byte| b"=:".contains(byte))?;
    let is_between = |byte: &u8| b" \"'".contains(byte);
    if !text[end..end + sign].iter().all(is_between) {
        return None;
    }
    let mut start = end + sign + 1;
    start += text[start..]
        .iter()
        .take(3)
        .take_while(|byte| is_between(byte))
        .count();
    let is_part = |byte: &u8| class::is(*byte, ALNUM | JOINER) || *byte == b'.';
    let name = text[start..]
        .iter()
        .take(255)
        .take_while(|byte| is_part(byte))
        .count();
    let name = trimmed(&text[start..start + name]);
    let is_number = name
        .iter()
        .all(|byte| class::is(*byte, DIGIT) || *byte == b'.');
    let says_nothing = [
        &b"localhost"[..],
        b"none",
        b"null",
        b"true",
        b"false",
        b"string",
        b"str",
    ]
    .contains(&name);
    let goes_on = matches!(
        text.get(start + name.len()),
        Some(b'(' | b'[' | b'{' | b'$')
    );
    (name.len() >= 3 && !is_number && !says_nothing && !goes_on)
        .then(|| start..port_end(text, start + name.len()))
}

/// `:8080`
fn port_end(text: &[u8], end: usize) -> usize {
    let digits = class::run_end(text, (end + 1).min(text.len()), DIGIT);
    let is_port = text.get(end) == Some(&b':') && (1..=5).contains(&digits.saturating_sub(end + 1));
    if is_port { digits } else { end }
}

/// The path that begins at `start`: with a folder that systems have, or with any that leads to a
/// file with an ending.
pub(crate) fn path(text: &[u8], start: usize, is_known: bool) -> Option<Range<usize>> {
    let before = start.checked_sub(1).map(|place| text[place]);
    let is_drive = text[start] == b':';
    let start = match (is_drive, before) {
        (true, Some(letter)) if class::is(letter, ALNUM & !DIGIT) => start - 1,
        (true, _) => return None,
        (false, _) => start,
    };
    // A part of a URL, of another path or of a word.
    let is_part = class::before(text, start, ALNUM | HIGH | JOINER)
        || start > 0 && b"/.\\~:)]}><".contains(&text[start - 1]) && !is_after_colon(text, start);
    if is_part {
        return None;
    }
    let quote = before.filter(|byte| b"\"'`".contains(byte));
    let is_end = |byte: u8| match quote {
        Some(quote) => byte == quote || byte < b' ',
        None => class::is(byte, SPACE) || byte < b' ' || b"\"'`<>|;,*?()[]{}&".contains(&byte),
    };
    let limit = text.len().min(start + MAX);
    let from = start + if is_drive { 2 } else { 0 };
    let length = text[from..limit]
        .iter()
        .take_while(|byte| !is_end(**byte))
        .count();
    let run = trimmed(&text[start..from + length]);
    let separator = if is_drive { b'\\' } else { b'/' };
    let parts = run.iter().filter(|byte| **byte == separator).count();
    let last = run
        .rsplit(|byte| *byte == separator)
        .next()
        .unwrap_or_default();
    let has_ending = last
        .iter()
        .rposition(|byte| *byte == b'.')
        .is_some_and(|dot| {
            let ending = &last[dot + 1..];
            dot > 0
                && (1..=12).contains(&ending.len())
                && ending.iter().all(|byte| class::is(*byte, ALNUM))
                && ending.iter().any(|byte| class::is(*byte, ALNUM & !DIGIT))
        });
    let holds = if is_known {
        run.len() >= 5
    } else {
        parts >= 2 && has_ending
    };
    (holds && !run.contains(&b'@')).then(|| start..start + run.len())
}

/// `path:/home/x`, but not `http:/`.
fn is_after_colon(text: &[u8], start: usize) -> bool {
    text[start - 1] == b':' && !text[start..].starts_with(b"//")
}

fn trimmed(run: &[u8]) -> &[u8] {
    let end = run
        .iter()
        .rposition(|byte| !b".:,;!".contains(byte))
        .map_or(0, |last| last + 1);
    &run[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_in(text: &str, ending: &str) -> Option<String> {
        let dot = text.find(ending).expect("the case has the ending");
        host(text.as_bytes(), dot, dot + ending.len()).map(|range| text[range].to_owned())
    }

    fn path_in(text: &str, word: &str, is_known: bool) -> Option<String> {
        let start = text.find(word).expect("the case has the word");
        path(text.as_bytes(), start, is_known).map(|range| text[range].to_owned())
    }

    #[test]
    fn hosts_are_found_with_their_ports() {
        let host = |text, ending| host_in(text, ending);
        assert_eq!(
            host("at db-1.example.com:5432, ok", ".com").as_deref(),
            Some("db-1.example.com:5432")
        );
        assert_eq!(
            host("ping ip-10-0-3-4.ec2.internal.", ".internal").as_deref(),
            Some("ip-10-0-3-4.ec2.internal")
        );
        assert_eq!(host("on gpu07.lan", ".lan").as_deref(), Some("gpu07.lan"));
    }

    #[test]
    fn names_in_programs_are_no_hosts() {
        for (text, ending) in [
            ("logger.info(x)", ".info"),
            ("socket.io is", ".io"),
            ("self.app.run", ".app"),
            ("jo@example.com", ".com"),
            ("the model.store", ".store"),
            ("System.Net", ".Net"),
        ] {
            assert_eq!(host_in(text, ending), None, "{text}");
        }
    }

    #[test]
    fn paths_begin_at_a_known_folder_or_end_in_a_file() {
        assert_eq!(
            path_in("open /home/ann/a.txt: no", "/home/", true).as_deref(),
            Some("/home/ann/a.txt")
        );
        assert_eq!(
            path_in("load /llm/q4/x.gguf.", "/llm", false).as_deref(),
            Some("/llm/q4/x.gguf")
        );
        assert_eq!(
            path_in("in C:\\Users\\Ann\\x y", ":\\", true).as_deref(),
            Some("C:\\Users\\Ann\\x")
        );
        assert_eq!(
            path_in("\"/data/my models/x.bin\"", "/data/", true).as_deref(),
            Some("/data/my models/x.bin")
        );
    }

    #[test]
    fn routes_fractions_and_urls_are_no_paths() {
        assert_eq!(path_in("POST /v1/chat/completions", "/v1", false), None);
        assert_eq!(path_in("https://h.example/home/x", "/home/", true), None);
        assert_eq!(path_in("src/data/x", "/data/", true), None);
        assert_eq!(path_in("a </data/> b", "/data/", true).as_deref(), None);
    }
}
