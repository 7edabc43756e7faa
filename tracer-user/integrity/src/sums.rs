//! Lists of digests as `sha256sum` writes and reads them, in both of its forms.

use std::collections::BTreeMap;

use crate::{
    digest::{Algorithm, ContentDigest},
    oms::NameError,
    tree::MAX_FILES,
};

/// The longest list that is read.
pub const MAX_SUMS: u64 = 64 << 20;

/// Expected digests by name.
pub type Sums = BTreeMap<String, ContentDigest>;

/// Why a list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SumsError {
    /// It is longer than [`MAX_SUMS`] or has too many lines.
    #[error("the list is longer than {} MiB or {MAX_FILES} lines", MAX_SUMS >> 20)]
    TooLarge,
    /// Nothing to compare with.
    #[error("the list has no lines")]
    Empty,
    /// A line that `sha256sum` does not write.
    #[error("line {line} is not `DIGEST  NAME` or `SHA256 (NAME) = DIGEST` with a SHA-256 in hex")]
    Form {
        /// Counted from 1.
        line: usize,
    },
    /// A name that is not below the model.
    #[error("line {line}: the name {why}; names must be relative to the model")]
    Name {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: NameError,
    },
    /// Two digests for one name.
    #[error("line {line}: `{name}` is listed before with another digest")]
    Twice {
        /// Counted from 1.
        line: usize,
        /// The name.
        name: String,
    },
}

/// Reads a list.
///
/// # Errors
/// If a line is no entry, or names a file outside the model or one that was listed before.
pub fn parse(text: &[u8]) -> Result<Sums, SumsError> {
    if text.len() as u64 > MAX_SUMS {
        return Err(SumsError::TooLarge);
    }
    let mut sums = Sums::new();
    for (number, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = number + 1;
        let text = std::str::from_utf8(bytes).map_err(|_| SumsError::Form { line })?;
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (name, hex) = entry(text).ok_or(SumsError::Form { line })?;
        let digest = ContentDigest::from_hex(Algorithm::Sha256, hex);
        let digest = digest.ok_or(SumsError::Form { line })?;
        // `find . -type f -exec sha256sum {} +` writes this.
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        crate::oms::check_path(&name).map_err(|why| SumsError::Name { line, why })?;
        if sums.get(&name).is_some_and(|known| *known != digest) {
            return Err(SumsError::Twice { line, name });
        }
        if sums.len() >= MAX_FILES {
            return Err(SumsError::TooLarge);
        }
        sums.insert(name, digest);
    }
    if sums.is_empty() {
        return Err(SumsError::Empty);
    }
    Ok(sums)
}

/// SHA-256 of a list itself, in hex.
#[must_use]
pub fn digest(text: &[u8]) -> String {
    use sha2::Digest as _;
    crate::digest::hex(&sha2::Sha256::digest(text))
}

/// Name and digest of a line.
fn entry(line: &str) -> Option<(String, &str)> {
    let (line, escaped) = match line.strip_prefix('\\') {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let (name, hex) = if let Some(rest) = line.strip_prefix("SHA256 (") {
        rest.rsplit_once(") = ")?
    } else {
        let (hex, rest) = line.split_at_checked(2 * Algorithm::Sha256.length())?;
        // A space, and a space for text or a star for binary.
        let name = rest
            .strip_prefix("  ")
            .or_else(|| rest.strip_prefix(" *"))?;
        (name, hex)
    };
    let name = if escaped {
        unescape(name)?
    } else {
        name.into()
    };
    Some((name, hex))
}

/// What `sha256sum` does to a newline, a carriage return and a backslash in a name.
fn unescape(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name.chars();
    while let Some(character) = rest.next() {
        plain.push(match character {
            '\\' => match rest.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn refusal(text: &str) -> SumsError {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn both_forms_of_a_line_are_read_and_escapes_undone() {
        let (a, b) = (digest('a'), digest('B'));
        let text = format!(
            "# made by hand\n{a}  ./a b\n{b} *sub/b\r\n\\{a}  new\\nline\\\\\nSHA256 (c (d) = e) = {b}\n\n"
        );
        let sums = parse(text.as_bytes()).unwrap();
        let names: Vec<&str> = sums.keys().map(String::as_str).collect();
        assert_eq!(names, ["a b", "c (d) = e", "new\nline\\", "sub/b"]);
        assert_eq!(sums["sub/b"].hex(), digest('b'));
    }

    #[test]
    fn a_list_that_cannot_be_meant_is_refused_with_its_line() {
        let (a, b) = (digest('a'), digest('b'));
        assert_eq!(refusal(""), SumsError::Empty);
        let form = SumsError::Form { line: 2 };
        for line in [
            "abc  x".to_owned(),
            format!("{a} x"),
            format!("{}g  x", &a[..63]),
            format!("SHA512 (x) = {a}"),
            format!("\\{a}  bad\\x"),
        ] {
            assert_eq!(refusal(&format!("{a}  w\n{line}\n")), form, "{line}");
        }
        for (name, why) in [
            ("/etc/passwd", NameError::Absolute),
            ("../x", NameError::Outside),
            ("a//b", NameError::NotCanonical),
        ] {
            let line = 1;
            assert_eq!(
                refusal(&format!("{a}  {name}")),
                SumsError::Name { line, why }
            );
        }
        let name = "w".to_owned();
        assert_eq!(
            refusal(&format!("{a}  w\n{b}  ./w")),
            SumsError::Twice { line: 2, name }
        );
        assert!(parse(format!("{a}  w\n{a}  ./w").as_bytes()).is_ok());
    }
}
