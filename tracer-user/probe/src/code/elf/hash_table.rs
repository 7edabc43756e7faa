//! `.gnu_hash`: which exported symbols a name may be, without looking at the others.

use object::{LittleEndian as Le, elf};

use super::Image;
use crate::code::{ImageError, read::ReadAt};

/// The layout of `.gnu_hash`, as file offsets.
pub(super) struct HashTable {
    pub(super) buckets: u32,
    pub(super) first_symbol: u32,
    bloom_words: u32,
    bloom_shift: u32,
    bloom_at: u64,
    buckets_at: u64,
    chains_at: u64,
}

impl HashTable {
    pub(super) fn read<R: ReadAt>(image: &Image<R>, vaddr: u64) -> Result<Self, ImageError> {
        let at = image.offset_of(".gnu_hash", vaddr)?;
        let header: elf::GnuHashHeader<Le> = image.bytes.structure(".gnu_hash", at)?;
        let bloom_words = header.bloom_count.get(Le);
        let buckets = header.bucket_count.get(Le);
        let bloom_at = at.saturating_add(size_of::<elf::GnuHashHeader<Le>>() as u64);
        let buckets_at = bloom_at.saturating_add(u64::from(bloom_words) * 8);
        Ok(Self {
            buckets,
            first_symbol: header.symbol_base.get(Le),
            bloom_words,
            bloom_shift: header.bloom_shift.get(Le),
            bloom_at,
            buckets_at,
            chains_at: buckets_at.saturating_add(u64::from(buckets) * 4),
        })
    }

    pub(super) fn may_hold<R: ReadAt>(
        &self,
        image: &Image<R>,
        hash: u32,
    ) -> Result<bool, ImageError> {
        if self.bloom_words == 0 {
            return Ok(true);
        }
        let word = u64::from(hash / 64 % self.bloom_words);
        let word = image
            .bytes
            .u64(".gnu_hash filter", self.bloom_at.saturating_add(word * 8))?;
        let second = hash.checked_shr(self.bloom_shift).unwrap_or_default();
        Ok(word >> (hash % 64) & word >> (second % 64) & 1 == 1)
    }

    pub(super) fn bucket(&self, number: u32) -> u64 {
        self.buckets_at.saturating_add(u64::from(number) * 4)
    }

    pub(super) fn chain(&self, symbol: u32) -> u64 {
        let number = symbol.saturating_sub(self.first_symbol);
        self.chains_at.saturating_add(u64::from(number) * 4)
    }
}
