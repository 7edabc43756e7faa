//! One order of time out of many rings.

use std::mem::offset_of;

use tracer_abi::RecordHeader;
use tracer_event::BootNanos;
use tracer_probe::observation::RecordBatch;

/// Holds records, and items that are not records, until everything older must have arrived.
///
/// Each ring is nearly sorted: a record's time is taken at the hit, its place in the ring a little
/// later, and a program can be pre-empted in between. So what waits is sorted as a whole, by a
/// sort that merges the runs that it finds. What arrives behind the watermark is handed on at once
/// and marked late; everything is handed on exactly once.
#[derive(Debug)]
pub struct Merge<T> {
    waiting: Vec<Key>,
    /// Where the next hand-out is in `waiting`; all before it are gone.
    next: usize,
    /// End of what may be handed out.
    ready: usize,
    /// Time of the newest that was handed out.
    newest: u64,
    batches: Slots<Batch>,
    items: Slots<T>,
    bytes: usize,
    limit: usize,
}

/// What [`Merge::pop`] hands on.
#[derive(Debug, PartialEq, Eq)]
pub struct Merged<'a, T> {
    /// What it is.
    pub what: What<'a, T>,
    /// Whether something that happened later has been handed on before.
    pub late: bool,
}

/// A record, or something else that has a time.
#[derive(Debug, PartialEq, Eq)]
pub enum What<'a, T> {
    /// A record's bytes.
    Record(&'a [u8]),
    /// Something else.
    Item(T),
}

/// When something happened and where it is kept.
#[derive(Clone, Copy, Debug)]
struct Key {
    time: u64,
    /// A place in `batches`, or [`Key::ITEM`].
    batch: u32,
    /// A record of that batch, or a place in `items`.
    index: u32,
}

impl Key {
    const ITEM: u32 = u32::MAX;
}

#[derive(Debug)]
struct Batch {
    records: RecordBatch,
    left: usize,
}

impl<T> Merge<T> {
    /// A merge that holds at most `limit` bytes of records back; beyond it, order is given up for
    /// memory and everything is handed on.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            waiting: Vec::new(),
            next: 0,
            ready: 0,
            newest: 0,
            batches: Slots::new(),
            items: Slots::new(),
            bytes: 0,
            limit,
        }
    }

    /// Takes records of one ring. A record too short to have a time is taken to be as old as the
    /// one before it.
    pub fn push_records(&mut self, records: RecordBatch) {
        if records.is_empty() {
            return;
        }
        self.bytes += records.byte_len();
        let left = records.len();
        let batch = self.batches.put(Batch { records, left });
        let mut time = 0;
        let records = self.batches.get(batch).records.iter();
        self.waiting
            .extend((0..).zip(records).map(|(index, record)| {
                time = record_time(record).unwrap_or(time);
                Key { time, batch, index }
            }));
    }

    /// Takes something else.
    pub fn push_item(&mut self, time: BootNanos, item: T) {
        let index = self.items.put(item);
        self.waiting.push(Key {
            time: time.0,
            batch: Key::ITEM,
            index,
        });
    }

    /// Makes everything up to the watermark ready: nothing older is expected any more.
    pub fn advance(&mut self, watermark: BootNanos) {
        self.batches.drop_released();
        self.waiting.drain(..self.next);
        self.next = 0;
        self.waiting.sort_by_key(|key| key.time);
        self.ready = if self.bytes > self.limit {
            self.waiting.len()
        } else {
            self.waiting.partition_point(|key| key.time <= watermark.0)
        };
    }

    /// The next that is ready, in the order of time.
    pub fn pop(&mut self) -> Option<Merged<'_, T>> {
        if self.next == self.ready {
            return None;
        }
        let key = self.waiting[self.next];
        self.next += 1;
        let late = key.time < self.newest;
        self.newest = self.newest.max(key.time);
        let what = if key.batch == Key::ITEM {
            What::Item(self.items.take(key.index))
        } else {
            What::Record(self.record(key))
        };
        Some(Merged { what, late })
    }

    /// How much waits for the watermark to pass it, or to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() - self.next
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record's bytes. A finished batch stays until the next [`Merge::advance`], so that its
    /// last record can still be lent.
    fn record(&mut self, key: Key) -> &[u8] {
        let batch = self.batches.get_mut(key.batch);
        batch.left -= 1;
        if batch.left == 0 {
            self.bytes -= batch.records.byte_len();
            self.batches.release(key.batch);
        }
        let records = &self.batches.get(key.batch).records;
        records
            .record(key.index as usize)
            .expect("each key was made from a record of its batch")
    }
}

fn record_time(record: &[u8]) -> Option<u64> {
    let bytes = record.get(offset_of!(RecordHeader, time)..)?;
    bytes.first_chunk().map(|time| u64::from_le_bytes(*time))
}

/// A vector whose places are used again.
#[derive(Debug)]
struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    fn put(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        self.places.push(Some(value));
        u32::try_from(self.places.len() - 1)
            .expect("a batch or item is larger than a byte, so memory ends first")
    }

    fn get(&self, place: u32) -> &T {
        let value = self.places[place as usize].as_ref();
        value.expect("a key's place is filled until the key is handed on")
    }

    fn get_mut(&mut self, place: u32) -> &mut T {
        let value = self.places[place as usize].as_mut();
        value.expect("a key's place is filled until the key is handed on")
    }

    /// Lets the place be used again; its value stays until then or [`Slots::drop_released`].
    fn release(&mut self, place: u32) {
        self.free.push(place);
    }

    fn drop_released(&mut self) {
        for place in &self.free {
            self.places[*place as usize] = None;
        }
    }

    fn take(&mut self, place: u32) -> T {
        self.free.push(place);
        let value = self.places[place as usize].take();
        value.expect("a key's place is filled until the key is handed on")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(time: u64, name: u32) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<RecordHeader>()];
        let at = offset_of!(RecordHeader, time);
        bytes[at..at + 8].copy_from_slice(&time.to_le_bytes());
        bytes.extend(name.to_le_bytes());
        bytes
    }

    fn batch(ring: u16, records: &[(u64, u32)]) -> RecordBatch {
        let mut batch = RecordBatch::new(ring);
        for (time, name) in records {
            batch.push(&record(*time, *name));
        }
        batch
    }

    fn name(record: &[u8]) -> u32 {
        u32::from_le_bytes(*record.last_chunk().unwrap())
    }

    /// Everything that is ready: name and whether late. Items have their own number as name.
    fn take(merge: &mut Merge<u32>) -> Vec<(u32, bool)> {
        let mut all = Vec::new();
        while let Some(Merged { what, late }) = merge.pop() {
            all.push(match what {
                What::Record(record) => (name(record), late),
                What::Item(item) => (item, late),
            });
        }
        all
    }

    #[test]
    fn rings_and_items_come_out_in_the_order_of_time() {
        let mut merge = Merge::new(usize::MAX);
        merge.push_records(batch(0, &[(10, 1), (30, 3)]));
        merge.push_records(batch(1, &[(20, 2), (50, 5)]));
        merge.push_item(BootNanos(40), 4);
        merge.advance(BootNanos(45));
        let early = take(&mut merge);
        assert_eq!(early, [(1, false), (2, false), (3, false), (4, false)]);
        merge.advance(BootNanos(50));
        assert_eq!(take(&mut merge), [(5, false)]);
    }

    #[test]
    fn a_record_behind_the_watermark_is_handed_on_and_marked_late() {
        let mut merge = Merge::new(usize::MAX);
        merge.push_records(batch(0, &[(100, 1)]));
        merge.advance(BootNanos(100));
        assert_eq!(take(&mut merge), [(1, false)]);
        merge.push_records(batch(1, &[(90, 2), (110, 3)]));
        merge.advance(BootNanos(110));
        assert_eq!(take(&mut merge), [(2, true), (3, false)]);
    }

    #[test]
    fn beyond_the_limit_nothing_is_held_back() {
        let mut merge = Merge::new(100);
        merge.push_records(batch(0, &[(10, 1), (20, 2)]));
        merge.advance(BootNanos(0));
        assert_eq!(take(&mut merge).len(), 2);
    }

    #[test]
    fn a_record_without_a_time_comes_with_the_one_before_it() {
        let mut records = batch(0, &[(10, 1)]);
        records.push(b"1234");
        let mut merge = Merge::<u32>::new(usize::MAX);
        merge.push_records(records);
        merge.advance(BootNanos(10));
        assert_eq!(take(&mut merge).len(), 2);
    }

    proptest! {
        #[test]
        fn every_record_comes_out_exactly_once_and_only_late_ones_out_of_order(
            rounds in prop::collection::vec(
                (prop::collection::vec((0u16..4, 0u64..1000), 0..20), 0u64..1000, any::<bool>()),
                1..12,
            ),
            limit in prop::sample::select(vec![0, 500, usize::MAX]),
        ) {
            let mut merge = Merge::new(limit);
            let mut times = Vec::new();
            let mut out = Vec::new();
            for (records, watermark, taken) in rounds {
                for ring in 0..4 {
                    let of_ring: Vec<_> = records
                        .iter()
                        .filter(|record| record.0 == ring)
                        .map(|record| {
                            times.push(record.1);
                            (record.1, u32::try_from(times.len() - 1).unwrap())
                        })
                        .collect();
                    if ring == 3 {
                        for (time, name) in of_ring {
                            merge.push_item(BootNanos(time), name);
                        }
                    } else {
                        merge.push_records(batch(ring, &of_ring));
                    }
                }
                merge.advance(BootNanos(watermark));
                if taken {
                    out.extend(take(&mut merge));
                }
            }
            merge.advance(BootNanos(u64::MAX));
            out.extend(take(&mut merge));
            prop_assert!(merge.is_empty());
            prop_assert_eq!(merge.bytes, 0);

            let mut newest = 0;
            for (name, late) in &out {
                let time = times[*name as usize];
                prop_assert_eq!(*late, time < newest);
                newest = newest.max(time);
            }
            let mut names: Vec<_> = out.into_iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            prop_assert_eq!(names, (0..u32::try_from(times.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}
