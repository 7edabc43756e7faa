//! One probed call, with its values by role.

use tracer_abi::{Chunk, ChunkStatus, Phase, RecordHeader, TextFront};
use tracer_event::{BootNanos, Content, Cpu, Nanos, Pid, Raw, Tid};
use tracer_profile::{Field, FieldKind, FieldName, Moment, Place, Signal};

use crate::decode::LoadedProbe;

/// A decoded call record. It borrows the record's bytes: nothing is copied until someone keeps it.
///
/// Each accessor gives `None` where the probe has no such field, the field is of another shape,
/// the capture level excludes it, or its memory could not be read.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The probe.
    pub probe: &'a LoadedProbe,
    /// Which part of the call this is.
    pub phase: Phase,
    /// Whether it arrived after later ones had been handed on.
    pub late: bool,
    header: RecordHeader,
    slots: &'a [[u8; 8]],
    chunks: &'a [u8],
}

impl<'a> Call<'a> {
    pub(crate) const fn new(
        probe: &'a LoadedProbe,
        phase: Phase,
        header: RecordHeader,
        slots: &'a [[u8; 8]],
        chunks: &'a [u8],
    ) -> Self {
        Self {
            probe,
            phase,
            late: false,
            header,
            slots,
            chunks,
        }
    }

    /// The call, marked if it arrived late.
    pub(crate) const fn arrived(mut self, late: bool) -> Self {
        self.late = late;
        self
    }

    /// What the call means.
    #[must_use]
    pub const fn signal(&self) -> Signal {
        self.probe.signal
    }

    /// When the site was hit: the call's beginning or its end, as [`Call::phase`] says.
    #[must_use]
    pub const fn time(&self) -> BootNanos {
        BootNanos(self.header.time)
    }

    /// When the call began.
    #[must_use]
    pub const fn began(&self) -> BootNanos {
        BootNanos(self.header.time.saturating_sub(self.header.duration))
    }

    /// How long the call took; zero at its entry.
    #[must_use]
    pub const fn duration(&self) -> Nanos {
        Nanos(self.header.duration)
    }

    /// Names the call: the same at its entry and its exit, unique within a run.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.header.call
    }

    /// The process.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        Pid(self.header.pid)
    }

    /// The thread.
    #[must_use]
    pub const fn tid(&self) -> Tid {
        Tid(self.header.tid)
    }

    /// The CPU.
    #[must_use]
    pub const fn cpu(&self) -> Cpu {
        Cpu(self.header.cpu)
    }

    /// A whole number. An unsigned one above `i64::MAX` wraps.
    #[must_use]
    pub fn number(&self, name: FieldName) -> Option<i64> {
        match self.slot(name)? {
            (FieldKind::Number { .. }, value) => Some(value.cast_signed()),
            (
                FieldKind::Part {
                    width,
                    signed,
                    from,
                },
                value,
            ) => Some(part(value, width, signed, from)),
            (
                FieldKind::Float { .. }
                | FieldKind::Address
                | FieldKind::Membership
                | FieldKind::Numbers { .. }
                | FieldKind::Floats { .. }
                | FieldKind::Texts
                | FieldKind::Text,
                _,
            ) => None,
        }
    }

    /// An address in the target. It identifies; it is never emitted.
    #[must_use]
    pub fn address(&self, name: FieldName) -> Option<u64> {
        let (kind, value) = self.slot(name)?;
        (kind == FieldKind::Address).then_some(value)
    }

    /// A floating-point number.
    #[must_use]
    pub fn float(&self, name: FieldName) -> Option<f64> {
        let (FieldKind::Float { width }, value) = self.slot(name)? else {
            return None;
        };
        float(&value.to_le_bytes()[..width.min(8).into()])
    }

    /// Whether a value is in its set; `None` also where the set is not known.
    #[must_use]
    pub fn membership(&self, name: FieldName) -> Option<bool> {
        match self.slot(name)? {
            (FieldKind::Membership, 0) => Some(false),
            (FieldKind::Membership, 1) => Some(true),
            _ => None,
        }
    }

    /// Text, or what should be.
    #[must_use]
    pub fn text(&self, name: FieldName) -> Option<CapturedText<'a>> {
        let (FieldKind::Text, chunk, bytes) = self.chunk(name)? else {
            return None;
        };
        Some(CapturedText::new(chunk, bytes))
    }

    /// Whether this record tells a field, read or not: one of both sides of a call tells what is
    /// captured on its side, and numbers of the entry go on to the exit.
    #[must_use]
    pub fn tells(&self, field: &Field) -> bool {
        match (self.phase, field.moment) {
            (Phase::Entry, moment) => moment == Moment::Entry,
            (Phase::Exit, Moment::Exit) => true,
            (Phase::Unwound, Moment::Exit) => false,
            (Phase::Exit | Phase::Unwound, Moment::Entry) => matches!(field.place, Place::Slot(_)),
        }
    }

    /// The value of any field, whether or not it has a role. Only what the record
    /// [tells](Self::tells) means anything.
    #[must_use]
    pub fn value(&self, field: &Field) -> CapturedValue<'a> {
        match field.place {
            Place::Slot(index) => {
                let mask = 1_u16.checked_shl(index.into()).unwrap_or(0);
                if self.header.skipped & mask != 0 {
                    return CapturedValue::Skipped;
                }
                let value = self.slots.get(usize::from(index));
                match value.filter(|_| self.header.faulted & mask == 0) {
                    Some(bytes) => slot_value(field.kind, u64::from_le_bytes(*bytes)),
                    None => CapturedValue::Faulted,
                }
            }
            Place::Chunk(number) => match self.raw_chunk(number) {
                None if field.level as u8 > self.header.level => CapturedValue::Skipped,
                None => CapturedValue::Faulted,
                Some((chunk, _)) if chunk.chunk_status() == Ok(ChunkStatus::Faulted) => {
                    CapturedValue::Faulted
                }
                Some((chunk, bytes)) => chunk_value(field.kind, chunk, bytes),
            },
        }
    }

    /// Whole numbers.
    #[must_use]
    pub fn numbers(&self, name: FieldName) -> Option<Numbers<'a>> {
        let (FieldKind::Numbers { width, signed }, chunk, bytes) = self.chunk(name)? else {
            return None;
        };
        Numbers::new(width, signed, chunk, bytes)
    }

    fn slot(&self, name: FieldName) -> Option<(FieldKind, u64)> {
        let field = self.probe.field(name).filter(|field| self.tells(field))?;
        let Place::Slot(index) = field.place else {
            return None;
        };
        let missing = self.header.faulted | self.header.skipped;
        if missing.checked_shr(index.into()).unwrap_or(0) & 1 != 0 {
            return None;
        }
        let bytes = self.slots.get(usize::from(index))?;
        Some((field.kind, u64::from_le_bytes(*bytes)))
    }

    fn chunk(&self, name: FieldName) -> Option<(FieldKind, Chunk, &'a [u8])> {
        let field = self.probe.field(name)?;
        let Place::Chunk(number) = field.place else {
            return None;
        };
        let (chunk, bytes) = self.raw_chunk(number)?;
        let readable = chunk.chunk_status() != Ok(ChunkStatus::Faulted);
        readable.then_some((field.kind, chunk, bytes))
    }

    fn raw_chunk(&self, number: u8) -> Option<(Chunk, &'a [u8])> {
        let mut rest = self.chunks;
        for _ in 0..self.header.chunk_count {
            let (chunk, bytes, after) = Chunk::parse(rest).ok()?;
            if chunk.field == number {
                return Some((chunk, bytes));
            }
            rest = after;
        }
        None
    }
}

/// A captured value of any kind.
#[derive(Clone, Copy)]
pub enum CapturedValue<'a> {
    /// A whole number; an unsigned one wraps.
    Number {
        /// Its bits.
        value: i64,
        /// Whether it is signed.
        signed: bool,
    },
    /// A floating-point number.
    Float(f64),
    /// An address in the target.
    Address(u64),
    /// Membership in a set; `None` where the set is not known.
    Membership(Option<bool>),
    /// Text.
    Text(CapturedText<'a>),
    /// Several texts.
    Texts(Texts<'a>),
    /// Whole numbers.
    Numbers(Numbers<'a>),
    /// Floating-point numbers.
    Floats(Floats<'a>),
    /// Above the capture level.
    Skipped,
    /// Its memory could not be read, or the record had no room.
    Faulted,
}

fn slot_value<'a>(kind: FieldKind, value: u64) -> CapturedValue<'a> {
    match kind {
        FieldKind::Number { signed } => CapturedValue::Number {
            value: value.cast_signed(),
            signed,
        },
        FieldKind::Part {
            width,
            signed,
            from,
        } => CapturedValue::Number {
            value: part(value, width, signed, from),
            signed,
        },
        FieldKind::Float { width } => {
            let bytes = value.to_le_bytes();
            let read = float(&bytes[..width.min(8).into()]);
            read.map_or(CapturedValue::Faulted, CapturedValue::Float)
        }
        FieldKind::Address => CapturedValue::Address(value),
        FieldKind::Membership => CapturedValue::Membership(match value {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }),
        FieldKind::Numbers { .. }
        | FieldKind::Floats { .. }
        | FieldKind::Texts
        | FieldKind::Text => CapturedValue::Faulted,
    }
}

/// So many bytes of a word, from a bit on.
fn part(word: u64, width: u8, signed: bool, from: u8) -> i64 {
    let unused = 64_u32.saturating_sub(8 * u32::from(width)).min(63);
    let raised = word.checked_shr(from.into()).unwrap_or_default() << unused;
    match signed {
        true => raised.cast_signed() >> unused,
        false => (raised >> unused).cast_signed(),
    }
}

fn chunk_value(kind: FieldKind, chunk: Chunk, bytes: &[u8]) -> CapturedValue<'_> {
    let value = match kind {
        FieldKind::Numbers { width, signed } => {
            Numbers::new(width, signed, chunk, bytes).map(CapturedValue::Numbers)
        }
        FieldKind::Floats { width } => Floats::new(width, chunk, bytes).map(CapturedValue::Floats),
        FieldKind::Texts => Some(CapturedValue::Texts(Texts { chunk, rest: bytes })),
        FieldKind::Text => Some(CapturedValue::Text(CapturedText::new(chunk, bytes))),
        FieldKind::Number { .. }
        | FieldKind::Part { .. }
        | FieldKind::Float { .. }
        | FieldKind::Address
        | FieldKind::Membership => None,
    };
    value.unwrap_or(CapturedValue::Faulted)
}

/// Bytes of text as they were captured.
#[derive(Clone, Copy)]
pub struct CapturedText<'a> {
    bytes: &'a [u8],
    whole: bool,
}

impl<'a> CapturedText<'a> {
    fn new(chunk: Chunk, bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            whole: chunk.chunk_status() == Ok(ChunkStatus::Whole),
        }
    }

    /// The bytes, to decide by.
    #[must_use]
    pub const fn expose(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether nothing was cut off.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// A copy for an event.
    #[must_use]
    pub fn to_raw(&self) -> Raw<Content> {
        Raw::new(match self.is_whole() {
            true => Content::text(self.bytes),
            false => Content::Beginning(self.bytes.to_vec()),
        })
    }
}

/// Captured texts, read as they are asked for.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    chunk: Chunk,
    rest: &'a [u8],
}

impl<'a> Texts<'a> {
    /// Whether all texts are here; each tells itself whether it is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.chunk.chunk_status() == Ok(ChunkStatus::Whole)
    }

    /// The texts in order; `None` is one that could not be read.
    pub fn iter(&self) -> impl Iterator<Item = Option<CapturedText<'a>>> + use<'a> {
        let mut rest = self.rest;
        std::iter::from_fn(move || {
            let (front, bytes, after) = TextFront::parse(rest).ok()?;
            rest = after;
            Some(
                (front.status != ChunkStatus::Faulted as u8).then_some(CapturedText {
                    bytes,
                    whole: front.status == ChunkStatus::Whole as u8,
                }),
            )
        })
    }
}

/// Captured floating-point numbers, read as they are asked for.
#[derive(Clone, Copy)]
pub struct Floats<'a> {
    bytes: &'a [u8],
    width: usize,
    whole: bool,
}

impl<'a> Floats<'a> {
    fn new(width: u8, chunk: Chunk, bytes: &'a [u8]) -> Option<Self> {
        matches!(width, 4 | 8).then(|| Self {
            bytes,
            width: usize::from(width),
            whole: chunk.chunk_status() == Ok(ChunkStatus::Whole),
        })
    }

    /// Whether nothing was cut off.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// The numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = f64> + use<'a> {
        self.bytes.chunks_exact(self.width).filter_map(float)
    }
}

/// An IEEE 754 single or double.
fn float(bytes: &[u8]) -> Option<f64> {
    if let Ok(single) = <[u8; 4]>::try_from(bytes) {
        return Some(f32::from_le_bytes(single).into());
    }
    <[u8; 8]>::try_from(bytes).ok().map(f64::from_le_bytes)
}

/// Captured whole numbers, read as they are asked for.
#[derive(Clone, Copy)]
pub struct Numbers<'a> {
    bytes: &'a [u8],
    width: usize,
    signed: bool,
    whole: bool,
}

impl<'a> Numbers<'a> {
    fn new(width: u8, signed: bool, chunk: Chunk, bytes: &'a [u8]) -> Option<Self> {
        matches!(width, 1 | 2 | 4 | 8).then(|| Self {
            bytes,
            width: usize::from(width),
            signed,
            whole: chunk.chunk_status() == Ok(ChunkStatus::Whole),
        })
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing was cut off.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// The numbers in order. An unsigned one above `i64::MAX` wraps.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i64> + use<'a> {
        let signed = self.signed;
        self.bytes
            .chunks_exact(self.width)
            .map(move |bytes| extend(bytes, signed))
    }

    /// A copy of token ids for an event.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "token ids are 32-bit in every runtime; a profile that reads wider ones is cut"
    )]
    pub fn to_raw_tokens(&self) -> Raw<Content> {
        Raw::new(Content::tokens(self.iter().map(|id| id as i32)))
    }
}

/// A little-endian integer of at most 8 bytes.
fn extend(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn a_part_of_a_word_has_the_sign_of_its_own_highest_bit() {
        let word = 0xffff_fffe_8000_0001;
        assert_eq!(part(word, 4, false, 32), 0xffff_fffe);
        assert_eq!(part(word, 4, true, 32), -2);
        assert_eq!(part(word, 1, false, 56), 0xff);
        assert_eq!(part(word, 2, true, 16), i64::from(i16::MIN));
        // What no profile can say is no panic either.
        assert_eq!(part(word, 9, true, 200), 0);
    }
}
