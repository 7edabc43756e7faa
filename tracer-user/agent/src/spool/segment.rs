//! The bytes of a segment: records one after another, each found again whatever lies around it.

use std::ops::Range;

use memchr::memmem;
use tracer_wire::{Record, Stream};

/// What an entry begins with.
const MAGIC: [u8; 4] = *b"TRS1";
/// Bytes before the record: magic, length, and a checksum of each and of the record.
const HEADER: usize = 16;

/// Which segment: segments of both streams are numbered together, in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub(crate) number: u64,
    pub(crate) stream: Stream,
}

impl SegmentId {
    /// The file's name. It is made of a number and a word of ours alone.
    pub(crate) fn name(self) -> String {
        format!("{}-{:016x}.segment", self.stream, self.number)
    }

    /// The segment with this file name; none if it is another file's.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (stream, rest) = name.split_once('-')?;
        let number = u64::from_str_radix(rest.strip_suffix(".segment")?, 16).ok()?;
        let mut streams = [Stream::Telemetry, Stream::Content].into_iter();
        let stream = streams.find(|one| one.to_string() == stream)?;
        let id = Self { number, stream };
        // The last number would leave none for the next segment.
        (id.name() == name && number < u64::MAX).then_some(id)
    }
}

/// A record as it lies in a segment.
pub(crate) fn entry(record: &Record) -> Vec<u8> {
    let bytes = record.to_bytes();
    let length = u32::try_from(bytes.len()).expect("a record has at most Record::MAX bytes");
    let mut entry = Vec::with_capacity(HEADER + bytes.len());
    entry.extend_from_slice(&MAGIC);
    entry.extend_from_slice(&length.to_be_bytes());
    let of_header = crc32fast::hash(&entry);
    entry.extend_from_slice(&of_header.to_be_bytes());
    entry.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    entry.extend_from_slice(&bytes);
    entry
}

/// The record of an entry, if the bytes are one to the last.
pub(crate) fn read_entry(bytes: &[u8]) -> Option<Record> {
    let (range, record) = first_entry(bytes)?;
    (range == (0..bytes.len())).then_some(record)
}

/// What a segment holds.
pub(crate) struct Scanned {
    /// Each record and where its entry lies.
    pub(crate) records: Vec<(Range<usize>, Record)>,
    /// Bytes that are in no entry: cut off, overwritten or changed.
    pub(crate) damaged: usize,
}

/// Finds the records of a segment. Damage costs only the entries that it lies in.
pub(crate) fn scan(bytes: &[u8]) -> Scanned {
    let mut records = Vec::new();
    let mut damaged = 0;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((range, record)) = first_entry(rest) {
            let end = at + range.end;
            records.push((at..end, record));
            at = end;
            continue;
        }
        // Somewhere behind the damage the next entry begins.
        let skipped = rest
            .get(1..)
            .and_then(|behind| memmem::find(behind, &MAGIC))
            .map_or(rest.len(), |distance| distance + 1);
        damaged += skipped;
        at += skipped;
    }
    Scanned { records, damaged }
}

/// The entry that the bytes begin with.
fn first_entry(bytes: &[u8]) -> Option<(Range<usize>, Record)> {
    let header = bytes.first_chunk::<HEADER>()?;
    let (words, _) = header.as_chunks::<4>();
    let [magic, length, of_header, of_record] = words else {
        return None;
    };
    let is_header =
        *magic == MAGIC && crc32fast::hash(&header[..8]) == u32::from_be_bytes(*of_header);
    if !is_header {
        return None;
    }
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let end = HEADER.checked_add(length)?;
    let record = bytes.get(HEADER..end)?;
    if crc32fast::hash(record) != u32::from_be_bytes(*of_record) {
        return None;
    }
    Some((0..end, Record::parse(record).ok()?))
}
