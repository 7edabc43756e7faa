//! Searching a table of names without reading it into memory: the largest have a hundred megabytes.
//!
//! Linkers let a name that is the end of another one share its bytes, so a name may begin in the
//! middle of a string.

use std::{collections::HashMap, ops::Range};

use memchr::memmem;

use super::{Image, MAX_NAME};
use crate::code::{ImageError, read::ReadAt};

/// More names than any library has.
const MAX_STRINGS: u64 = 256 << 20;
const CHUNK: u64 = 256 << 10;
/// Names are told apart by their last bytes first.
const TAIL: usize = 8;

impl<R: ReadAt> Image<R> {
    /// Where in a table, counted from its beginning, the names stand.
    pub(super) fn offsets_of_names<'a>(
        &self,
        table: &Range<u64>,
        names: &[&'a str],
    ) -> Result<HashMap<u32, &'a str>, ImageError> {
        let mut by_tail: HashMap<&[u8], Vec<&'a str>> = HashMap::new();
        let mut short = Vec::new();
        for &name in names {
            match name.as_bytes().last_chunk::<TAIL>() {
                Some(tail) => by_tail.entry(tail).or_default().push(name),
                None => short.push(name),
            }
        }
        let mut found = HashMap::new();
        self.each_string(table, |at, string| {
            let tail = string.last_chunk::<TAIL>();
            let long = tail.and_then(|tail| by_tail.get(tail.as_slice()));
            for &name in long.into_iter().flatten().chain(&short) {
                if string.ends_with(name.as_bytes()) {
                    found.insert(at + (string.len() - name.len()) as u32, name);
                }
            }
        })?;
        Ok(found)
    }

    /// Where in a table names stand that begin with `prefix` and that `matches` accepts.
    pub(super) fn offsets_of_matches(
        &self,
        table: &Range<u64>,
        prefix: &str,
        matches: impl Fn(&str) -> bool,
    ) -> Result<HashMap<u32, String>, ImageError> {
        let finder = memmem::Finder::new(prefix);
        let mut found = HashMap::new();
        self.each_string(table, |at, string| {
            for start in finder.find_iter(string) {
                if let Ok(name) = std::str::from_utf8(&string[start..])
                    && matches(name)
                {
                    found.insert(at + start as u32, name.to_owned());
                }
            }
        })?;
        Ok(found)
    }

    /// Calls `visit` with the offset and bytes of each string that is not empty and no longer than
    /// names are.
    fn each_string(
        &self,
        table: &Range<u64>,
        mut visit: impl FnMut(u32, &[u8]),
    ) -> Result<(), ImageError> {
        let what = "symbol names";
        let length = table.end.saturating_sub(table.start);
        if length > MAX_STRINGS {
            let limit = MAX_STRINGS;
            return Err(ImageError::TooLarge {
                what,
                length,
                limit,
            });
        }
        // Offset of what is kept of the chunks before, which ends in an unfinished string.
        let mut begin = 0;
        let mut kept: Vec<u8> = Vec::new();
        while begin + (kept.len() as u64) < length {
            let at = begin + kept.len() as u64;
            let count = (length - at).min(CHUNK);
            let start = table.start.saturating_add(at);
            kept.extend(self.bytes.vec(what, start, count, CHUNK)?);
            let mut from = 0;
            for end in memchr::memchr_iter(0, &kept) {
                if end > from && end - from <= MAX_NAME {
                    visit((begin + from as u64) as u32, &kept[from..end]);
                }
                from = end + 1;
            }
            // Of a string that is longer than any name only the end can matter.
            let from = from.max(kept.len().saturating_sub(MAX_NAME));
            kept.drain(..from);
            begin += from as u64;
        }
        Ok(())
    }
}
