//! Which offsets want to be looked at when: eight bytes an offset, whatever the time.
//!
//! Times are filed in buckets of about a minute. A bucket is a heap of the millisecond within it and
//! the offset, packed into one number, so that nothing is ever sorted at once. An entry cannot be
//! taken out; who takes an entry asks whether it still means anything.

use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// Bits of a time that tell places within a bucket apart: 65.5 seconds.
const WITHIN: u32 = 16;
/// Bits of an offset: 281 trillion records.
const OFFSET: u32 = 48;

/// Offsets by time.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeIndex {
    buckets: BTreeMap<u64, BinaryHeap<Reverse<u64>>>,
    len: u64,
}

fn pack(ms: u64, offset: i64) -> u64 {
    let offset = u64::try_from(offset).unwrap_or(0) & ((1 << OFFSET) - 1);
    ((ms & ((1 << WITHIN) - 1)) << OFFSET) | offset
}

fn unpack(bucket: u64, packed: u64) -> (u64, i64) {
    let offset = i64::try_from(packed & ((1 << OFFSET) - 1)).unwrap_or(0);
    ((bucket << WITHIN) | (packed >> OFFSET), offset)
}

impl TimeIndex {
    /// Bytes on the heap, about.
    pub(super) fn heap_bytes(&self) -> usize {
        let heaps = self.buckets.values();
        heaps.map(|heap| heap.capacity() * 8 + 64).sum()
    }

    pub(super) fn push(&mut self, ms: u64, offset: i64) {
        let heap = self.buckets.entry(ms >> WITHIN).or_default();
        heap.push(Reverse(pack(ms, offset)));
        self.len += 1;
    }

    /// The earliest entry.
    pub(super) fn first(&self) -> Option<(u64, i64)> {
        let (bucket, heap) = self.buckets.first_key_value()?;
        heap.peek().map(|packed| unpack(*bucket, packed.0))
    }

    /// Takes the earliest entry if its time is not after `until`.
    pub(super) fn pop(&mut self, until: u64) -> Option<(u64, i64)> {
        let mut bucket = self.buckets.first_entry()?;
        let number = *bucket.key();
        let first = unpack(number, bucket.get().peek()?.0);
        if first.0 > until {
            return None;
        }
        bucket.get_mut().pop();
        if bucket.get().is_empty() {
            bucket.remove();
        }
        self.len -= 1;
        Some(first)
    }

    /// Keeps the entries of which `keep` says so; which buckets have fewer after that.
    pub(super) fn retain(&mut self, keep: impl Fn(i64) -> bool) -> Vec<u64> {
        let mut fewer = Vec::new();
        self.buckets.retain(|number, heap| {
            let before = heap.len();
            heap.retain(|packed| keep(unpack(*number, packed.0).1));
            if heap.len() < before {
                fewer.push(*number);
                self.len -= u64::try_from(before - heap.len()).unwrap_or(0);
            }
            !heap.is_empty()
        });
        fewer
    }

    /// All entries, in no order that means anything.
    pub(super) fn unordered(&self) -> impl Iterator<Item = (u64, i64)> {
        let buckets = self.buckets.iter();
        buckets.flat_map(|(bucket, heap)| heap.iter().map(|packed| unpack(*bucket, packed.0)))
    }

    /// The bucket of a time.
    pub(super) const fn bucket_of(ms: u64) -> u64 {
        ms >> WITHIN
    }

    /// The first time of a bucket.
    pub(super) const fn time_of(bucket: u64) -> u64 {
        bucket << WITHIN
    }

    /// Numbers of the buckets with entries.
    pub(super) fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets.keys().copied()
    }

    /// Entries of one bucket, packed.
    pub(super) fn packed(&self, bucket: u64) -> impl Iterator<Item = u64> {
        let heap = self.buckets.get(&bucket);
        heap.into_iter()
            .flat_map(|heap| heap.iter().map(|packed| packed.0))
    }

    /// Puts a packed entry into a bucket.
    pub(super) fn push_packed(&mut self, bucket: u64, packed: u64) {
        let (ms, offset) = unpack(bucket, packed);
        self.push(ms, offset);
    }
}

impl PartialEq for TimeIndex {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |index: &Self| {
            let mut all: Vec<_> = index.unordered().collect();
            all.sort_unstable();
            all
        };
        self.len == other.len && sorted(self) == sorted(other)
    }
}

impl Eq for TimeIndex {}
