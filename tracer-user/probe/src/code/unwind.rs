//! The unwind table: where a function begins and ends, and where its frame is at each instruction.

use std::ops::Range;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameOffset, LittleEndian, UnwindContext,
    UnwindSection as _, X86_64,
};

use super::{Image, ImageError, read::ReadAt};

const MAX_FDES: u64 = 1 << 22;
const MAX_ENTRY: u64 = 1 << 20;
const MAX_ROWS: usize = 1 << 16;

/// Why the frame of a function is not known.
#[derive(Debug, thiserror::Error)]
pub enum UnwindError {
    /// The file has no sorted index of its unwind table.
    #[error("the file has no .eh_frame_hdr")]
    NoIndex,
    /// The index is of a kind that no linker for x86-64 writes.
    #[error(
        ".eh_frame_hdr has encodings {encodings:02x?}; only version 1 with a sorted table of 32-bit offsets (01, .., 03, 3b) can be read"
    )]
    Index {
        /// Version, and the encodings of pointer, count and table.
        encodings: [u8; 4],
    },
    /// The entry of the function is damaged.
    #[error("the entry of .eh_frame at {at:#x} is damaged: {reason}")]
    Entry {
        /// Address of the entry.
        at: u64,
        /// What is wrong with it.
        reason: gimli::Error,
    },
    /// The file could not be read there.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// How the frame address (DWARF's CFA: the value of `rsp` before the call pushed its return address)
/// is found at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameRule {
    /// `rsp` plus this.
    Rsp(i32),
    /// `rbp` plus this.
    Rbp(i32),
    /// By an expression or another register.
    Other,
}

/// What the unwind table says of one range of code.
#[derive(Clone, Debug)]
pub struct FunctionFrame {
    /// The range that the entry covers: a whole function, or its cold part.
    pub range: Range<u64>,
    /// Where it lists call sites and handlers: the function has cleanups, handlers or is `noexcept`.
    pub lsda: Option<u64>,
    rows: Vec<(Range<u64>, FrameRule)>,
}

impl FunctionFrame {
    /// The rule at an instruction, if the table has one there.
    pub fn rule(&self, vaddr: u64) -> Option<FrameRule> {
        let after = self.rows.partition_point(|(range, _)| range.start <= vaddr);
        let (range, rule) = self.rows.get(after.checked_sub(1)?)?;
        range.contains(&vaddr).then_some(*rule)
    }
}

impl<R: ReadAt> Image<R> {
    /// What the unwind table says of the code at an address; `None` where no entry covers it.
    ///
    /// # Errors
    /// When the file has no index of its table, or the table is damaged there.
    pub fn frame_at(&self, vaddr: u64) -> Result<Option<FunctionFrame>, UnwindError> {
        let index = Index::read(self)?;
        let Some(number) = index.position(self, vaddr)? else {
            return Ok(None);
        };
        let (_, entry) = index.get(self, number)?;
        let frame = self.frame_entry(entry)?;
        Ok(frame.range.contains(&vaddr).then_some(frame))
    }

    /// Addresses at which ranges of the unwind table begin, in order.
    ///
    /// # Errors
    /// When the file has no index of its table or it cannot be read.
    pub fn frame_starts(&self) -> Result<Vec<u64>, UnwindError> {
        let index = Index::read(self)?;
        (0..index.count)
            .map(|number| Ok(index.get(self, number)?.0))
            .collect()
    }

    /// Parses one entry alone: gimli wants a whole section, which may be tens of megabytes, so it gets
    /// one made of this entry and the common one that it refers to.
    fn frame_entry(&self, entry: u64) -> Result<FunctionFrame, UnwindError> {
        let fde = self.length_prefixed(entry)?;
        let damaged = |reason| UnwindError::Entry { at: entry, reason };
        let distance: [u8; 4] = fde[4..8]
            .try_into()
            .expect("an entry has at least eight bytes after its length");
        let distance = u64::from(u32::from_le_bytes(distance));
        let cie = self.length_prefixed(entry.wrapping_add(4).wrapping_sub(distance))?;

        let mut section = cie;
        let fde_at = section.len();
        section.extend_from_slice(&fde);
        let back = (fde_at as u32 + 4).to_le_bytes();
        section[fde_at + 4..fde_at + 8].copy_from_slice(&back);
        // Pointers are relative to where they stand, so the entry must seem to stand where it does.
        let bases = BaseAddresses::default().set_eh_frame(entry.wrapping_sub(fde_at as u64));

        let mut eh_frame = EhFrame::new(&section, LittleEndian);
        eh_frame.set_address_size(8);
        let fde = eh_frame
            .fde_from_offset(&bases, EhFrameOffset(fde_at), EhFrame::cie_from_offset)
            .map_err(damaged)?;
        let mut context = UnwindContext::new();
        let mut table = fde.rows(&eh_frame, &bases, &mut context).map_err(damaged)?;
        let mut rows = Vec::new();
        while let Some(row) = table.next_row().map_err(damaged)? {
            let rule = match row.cfa() {
                CfaRule::RegisterAndOffset { register, offset } => {
                    match (*register, i32::try_from(*offset)) {
                        (X86_64::RSP, Ok(offset)) => FrameRule::Rsp(offset),
                        (X86_64::RBP, Ok(offset)) => FrameRule::Rbp(offset),
                        (_, _) => FrameRule::Other,
                    }
                }
                CfaRule::Expression(_) => FrameRule::Other,
            };
            rows.push((row.start_address()..row.end_address(), rule));
            if rows.len() == MAX_ROWS {
                return Err(damaged(gimli::Error::TooManyRegisterRules));
            }
        }
        Ok(FunctionFrame {
            range: fde.initial_address()..fde.end_address(),
            lsda: fde.lsda().map(gimli::Pointer::pointer),
            rows,
        })
    }

    fn length_prefixed(&self, vaddr: u64) -> Result<Vec<u8>, ImageError> {
        let offset = self.offset_of(".eh_frame entry", vaddr)?;
        let length = self.bytes.u32(".eh_frame entry", offset)?;
        if length < 8 {
            let reason = "too short for an entry";
            return Err(ImageError::Malformed {
                what: ".eh_frame entry",
                at: vaddr,
                reason,
            });
        }
        self.bytes
            .vec(".eh_frame entry", offset, u64::from(length) + 4, MAX_ENTRY)
    }
}

/// `.eh_frame_hdr`: (start of range, address of entry) for each entry, sorted, both relative to it.
/// Linux Standard Base Core, chapter 10.6.2.
struct Index {
    vaddr: u64,
    table: u64,
    count: u64,
}

impl Index {
    fn read<R: ReadAt>(image: &Image<R>) -> Result<Self, UnwindError> {
        let vaddr = image.eh_frame_hdr().ok_or(UnwindError::NoIndex)?;
        let offset = image.offset_of(".eh_frame_hdr", vaddr)?;
        let encodings: [u8; 4] = image.bytes.array(".eh_frame_hdr", offset)?;
        let pointer = match encodings {
            [1, pointer, 0x03, 0x3b] => pointer,
            [_, _, _, _] => return Err(UnwindError::Index { encodings }),
        };
        let pointer_size = match pointer & 0x0f {
            0x03 | 0x0b => 4,
            0x00 | 0x04 | 0x0c => 8,
            _ => return Err(UnwindError::Index { encodings }),
        };
        let count_at = offset.saturating_add(4 + pointer_size);
        let count = u64::from(image.bytes.u32(".eh_frame_hdr", count_at)?);
        if count > MAX_FDES {
            let what = ".eh_frame_hdr";
            return Err(ImageError::TooLarge {
                what,
                length: count,
                limit: MAX_FDES,
            }
            .into());
        }
        Ok(Self {
            vaddr,
            table: count_at.saturating_add(4),
            count,
        })
    }

    fn get<R: ReadAt>(&self, image: &Image<R>, number: u64) -> Result<(u64, u64), UnwindError> {
        let at = self.table.saturating_add(number * 8);
        let pair = image.bytes.u64(".eh_frame_hdr", at)?;
        let absolute = |relative: u32| self.vaddr.wrapping_add_signed(i64::from(relative as i32));
        Ok((absolute(pair as u32), absolute((pair >> 32) as u32)))
    }

    /// Number of the last entry that begins at or before an address.
    fn position<R: ReadAt>(
        &self,
        image: &Image<R>,
        vaddr: u64,
    ) -> Result<Option<u64>, UnwindError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(image, middle)?.0 <= vaddr {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }
}
