//! How a full spool makes room.

use std::io;

use tracer_wire::{Gap, GapReason, Record, Stream};

use super::{Append as _, Sign, Spool, SpoolError, Storage, index::Kind, segment::SegmentId};

/// The file that keeps room on the disk.
pub(super) const RESERVE: &str = "reserve";

impl<S: Storage> Spool<S> {
    /// Drops the oldest segment with batches, of telemetry or else of content, and writes down what is
    /// gone. Tells whether there was one.
    pub(super) fn drop_oldest(&mut self, sign: &mut Sign<'_>) -> Result<bool, SpoolError> {
        let of = |stream| {
            let mut segments = self.sizes.keys();
            segments.find(|id| id.stream == stream && self.index.has_batches(**id))
        };
        let oldest = of(Stream::Telemetry).or_else(|| of(Stream::Content));
        let Some(&victim) = oldest else {
            return Ok(false);
        };
        if self
            .open
            .get(&victim.stream)
            .is_some_and(|open| open.id == victim)
        {
            self.close_segment(victim.stream)?;
        }
        let kept = self.instead_of(victim, sign)?;
        if !self.write_all(&kept)? {
            // The disk is too full even for gaps. Without the reserve nothing is dropped, since what is
            // gone could not be declared.
            if !self.release_reserve()? || !self.write_all(&kept)? {
                // Some of them were, and count instead of what they stand for.
                self.commit()?;
                return Ok(false);
            }
        }
        // They are on the disk before what they replace leaves it.
        self.commit()?;
        self.sizes.remove(&victim);
        self.index.forget_segment(victim);
        self.storage
            .remove(&victim.name())
            .map_err(|source| self.broken("removing a segment", source))?;
        self.reserve();
        Ok(true)
    }

    /// Keeps room for the gaps of a segment, if there is any. It counts towards no limit.
    pub(super) fn reserve(&mut self) {
        if self.has_reserve {
            return;
        }
        let length = usize::try_from(self.limits.segment).expect("a segment fits into memory");
        let made = || {
            // One that is too short.
            match self.storage.remove(RESERVE) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut file = self.storage.create(RESERVE)?;
            file.append(&vec![0; length])?;
            file.sync()
        };
        match made() {
            Ok(()) => self.has_reserve = true,
            Err(error) => log::warn!("the spool has no reserve for a full disk: {error}"),
        }
    }

    /// Gives the reserve up; tells whether there was one.
    fn release_reserve(&mut self) -> Result<bool, SpoolError> {
        if !std::mem::take(&mut self.has_reserve) {
            return Ok(false);
        }
        self.storage
            .remove(RESERVE)
            .map_err(|source| self.broken("releasing its reserve", source))?;
        Ok(true)
    }

    /// What takes the place of a segment's records: gaps for batches, and what is small and needed
    /// to read the rest as it is.
    fn instead_of(
        &self,
        victim: SegmentId,
        sign: &mut Sign<'_>,
    ) -> Result<Vec<Record>, SpoolError> {
        let mut kept = Vec::new();
        let mut sign = |gap| sign(gap).ok_or(SpoolError::Unsigned);
        for session in self.index.entries_in(victim) {
            let mut growing: Option<Gap> = None;
            for entry in session {
                // What cannot be read any more is missed later.
                let Some(record) = self.read_patiently(&entry) else {
                    kept.extend(growing.take().map(&mut sign).transpose()?);
                    continue;
                };
                match entry.kind {
                    Kind::Batch | Kind::Gap => {
                        let claims = record.claims();
                        let gap = Gap::over(claims, record.link(), GapReason::SpoolFull);
                        growing = match growing.take() {
                            None => Some(gap),
                            Some(before) => match before.joined(&gap) {
                                Some(joined) => Some(joined),
                                None => {
                                    kept.push(sign(before)?);
                                    Some(gap)
                                }
                            },
                        };
                    }
                    Kind::Other => {
                        kept.extend(growing.take().map(&mut sign).transpose()?);
                        kept.push(record);
                    }
                }
            }
            kept.extend(growing.take().map(&mut sign).transpose()?);
        }
        Ok(kept)
    }

    /// Frees segments in which nothing is left to deliver; tells whether there were any.
    pub(super) fn remove_empty_segments(&mut self) -> bool {
        let is_open = |id: &SegmentId| self.open.values().any(|open| open.id == *id);
        let empty: Vec<_> = self
            .sizes
            .keys()
            .filter(|id| !is_open(id) && !self.index.is_used(**id))
            .copied()
            .collect();
        for &id in &empty {
            match self.storage.remove(&id.name()) {
                Ok(()) => {
                    self.sizes.remove(&id);
                }
                // It takes room until the next time; what is in it is delivered again at worst.
                Err(error) => log::warn!("removing {} of the spool: {error}", id.name()),
            }
        }
        !empty.is_empty()
    }
}
