//! One probed call, with its values by role.

use tracer_abi::{Chunk, ChunkStatus, Phase, RecordHeader};
use tracer_event::{BootNanos, Content, Cpu, Nanos, Pid, Raw, Tid};
use tracer_profile::{FieldKind, FieldName, Place, Signal};

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
                FieldKind::Float { .. }
                | FieldKind::Address
                | FieldKind::Membership
                | FieldKind::Numbers { .. }
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
        let [a, b, c, d, ..] = value.to_le_bytes();
        match width {
            4 => Some(f64::from(f32::from_le_bytes([a, b, c, d]))),
            8 => Some(f64::from_bits(value)),
            _ => None,
        }
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
        Some(CapturedText {
            bytes,
            whole: chunk.chunk_status() == Ok(ChunkStatus::Whole),
        })
    }

    /// Whole numbers.
    #[must_use]
    pub fn numbers(&self, name: FieldName) -> Option<Numbers<'a>> {
        let (FieldKind::Numbers { width, signed }, chunk, bytes) = self.chunk(name)? else {
            return None;
        };
        matches!(width, 1 | 2 | 4 | 8).then(|| Numbers {
            bytes,
            width: usize::from(width),
            signed,
            whole: chunk.chunk_status() == Ok(ChunkStatus::Whole),
        })
    }

    fn slot(&self, name: FieldName) -> Option<(FieldKind, u64)> {
        let field = self.probe.field(name)?;
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
        let mut rest = self.chunks;
        for _ in 0..self.header.chunk_count {
            let (chunk, bytes, after) = Chunk::parse(rest).ok()?;
            if chunk.field == number {
                let readable = chunk.chunk_status() != Ok(ChunkStatus::Faulted);
                return readable.then_some((field.kind, chunk, bytes));
            }
            rest = after;
        }
        None
    }
}

/// Bytes of text as they were captured.
#[derive(Clone, Copy)]
pub struct CapturedText<'a> {
    bytes: &'a [u8],
    whole: bool,
}

impl<'a> CapturedText<'a> {
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
        Raw::new(Content::text(self.bytes))
    }
}

/// Captured whole numbers, read as they are asked for.
#[derive(Clone, Copy)]
pub struct Numbers<'a> {
    bytes: &'a [u8],
    width: usize,
    signed: bool,
    whole: bool,
}

impl Numbers<'_> {
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
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i64> {
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
        Raw::new(Content::Tokens(self.iter().map(|id| id as i32).collect()))
    }
}

/// A little-endian integer of at most 8 bytes.
fn extend(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}
