//! One partition's share of the index: extents, then the tail, and what of both is damaged.
//!
//! Extents and tail entries are kept in the order of their offsets and never overlap. Positions in
//! the tail rise too, so that the entries of one chunk lie beside each other.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;

use super::{Extent, LiveBytes, TailEntry};
use crate::position::ChunkId;

/// A vector that is emptier than this keeps no more than twice what it needs.
const SHRINK_BELOW: usize = 4;

#[derive(Debug, Default)]
pub(super) struct PartitionIndex {
    /// First offset there is.
    pub(super) start: i64,
    pub(super) extents: Vec<Extent>,
    pub(super) tail: VecDeque<TailEntry>,
    /// First and last offset of each damaged range, in order, none touching another.
    pub(super) damaged: Vec<(i64, i64)>,
    bytes: u64,
}

impl PartitionIndex {
    pub(super) fn push(&mut self, entry: TailEntry) -> bool {
        if entry.last < self.start {
            return false;
        }
        self.bytes += entry.bytes();
        self.tail.push_back(entry);
        true
    }

    /// Adds an extent, and says how many live bytes it brings: none if it was not kept.
    pub(super) fn insert(&mut self, extent: Extent) -> u64 {
        if extent.last < self.start {
            return 0;
        }
        let at = self
            .extents
            .partition_point(|other| other.first < extent.first);
        self.extents.insert(at, extent);
        let live = live_of(&extent, self.start);
        self.bytes += live;
        live
    }

    pub(super) fn damage(&mut self, base: i64, last: i64) {
        if last < base || last < self.start {
            return;
        }
        let from = self.damaged.partition_point(|(_, end)| *end < base);
        let to = self.damaged.partition_point(|(first, _)| *first <= last);
        let over = self.damaged.drain(from..to.max(from));
        let joined = over.fold((base, last), |(low, high), (first, end)| {
            (low.min(first), high.max(end))
        });
        self.damaged.insert(from, joined);
    }

    pub(super) fn damaged(&self) -> &[(i64, i64)] {
        &self.damaged
    }

    pub(super) fn trim(&mut self, new_start: i64, live: &mut LiveBytes) {
        if new_start <= self.start {
            return;
        }
        let gone = self
            .extents
            .partition_point(|extent| extent.last < new_start);
        // The extent after those that go may have lost some, too.
        for extent in self.extents.iter().take(gone + 1) {
            let lost = live_of(extent, self.start) - live_of(extent, new_start);
            live.take(extent.chunk, lost);
            self.bytes -= lost;
        }
        self.extents.drain(..gone);
        while let Some(entry) = self.tail.pop_front_if(|entry| entry.last < new_start) {
            live.take(entry.at.chunk(), entry.bytes());
            self.bytes -= entry.bytes();
        }
        self.damaged.retain(|(_, last)| *last >= new_start);
        self.start = new_start;
        self.shrink();
    }

    pub(super) fn release(&self, live: &mut LiveBytes) {
        for extent in &self.extents {
            live.take(extent.chunk, live_of(extent, self.start));
        }
        for entry in &self.tail {
            live.take(entry.at.chunk(), entry.bytes());
        }
    }

    /// The tail entries that lie in `chunk`.
    pub(super) fn tail_in(&self, chunk: ChunkId) -> Iter<'_, TailEntry> {
        let (from, to) = self.range_in(chunk);
        self.tail.range(from..to)
    }

    fn range_in(&self, chunk: ChunkId) -> (usize, usize) {
        let from = self.tail.partition_point(|entry| entry.at.chunk() < chunk);
        let to = self.tail.partition_point(|entry| entry.at.chunk() <= chunk);
        (from, to)
    }

    pub(super) fn forget_tail(&mut self, chunk: ChunkId, live: &mut LiveBytes) {
        let (from, to) = self.range_in(chunk);
        let bytes = self.tail.drain(from..to).map(|entry| entry.bytes()).sum();
        live.take(chunk, bytes);
        self.bytes -= bytes;
        self.shrink();
    }

    pub(super) fn forget_extents(&mut self, chunks: &[ChunkId], live: &mut LiveBytes) {
        let (start, bytes) = (self.start, &mut self.bytes);
        self.extents.retain(|extent| {
            let stays = !chunks.contains(&extent.chunk);
            if !stays {
                live.take(extent.chunk, live_of(extent, start));
                *bytes -= live_of(extent, start);
            }
            stays
        });
        self.shrink();
    }

    /// Calls `found` for the first offset of each extent that follows foreign ones.
    pub(super) fn boundaries(&self, chunks: &[ChunkId], mut found: impl FnMut(i64)) {
        let mut seen = false;
        let mut foreign = false;
        for extent in &self.extents {
            if !chunks.contains(&extent.chunk) {
                foreign = true;
                continue;
            }
            if seen && foreign {
                found(extent.first);
            }
            seen = true;
            foreign = false;
        }
    }

    /// Bytes of an extent that are still wanted.
    pub(super) fn live_share(&self, extent: &Extent) -> u64 {
        live_of(extent, self.start)
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn heap(&self) -> usize {
        self.extents.capacity() * size_of::<Extent>()
            + self.tail.capacity() * size_of::<TailEntry>()
            + self.damaged.capacity() * size_of::<(i64, i64)>()
    }

    /// Gives back what a burst made the vectors grow by.
    fn shrink(&mut self) {
        if self.tail.capacity() > SHRINK_BELOW * self.tail.len() {
            self.tail.shrink_to(2 * self.tail.len());
        }
        if self.extents.capacity() > SHRINK_BELOW * self.extents.len() {
            self.extents.shrink_to(2 * self.extents.len());
        }
    }
}

/// Bytes of an extent at or above `start`, as if its bytes were spread evenly over its offsets.
fn live_of(extent: &Extent, start: i64) -> u64 {
    if start <= extent.first {
        return extent.bytes;
    }
    if start > extent.last {
        return 0;
    }
    let whole = i128::from(extent.last) - i128::from(extent.first) + 1;
    let left = i128::from(extent.last) - i128::from(start) + 1;
    u64::try_from(i128::from(extent.bytes) * left / whole).unwrap_or(extent.bytes)
}
