//! Where the batches of each partition lie: in memory, small, and exact enough to find any of them.
//!
//! ```text
//! partition   extents: one per (partition, chunk), 40 bytes     tail: one per batch, 40 bytes
//!    7        [chunk 3: 0..999] [chunk 9: 1000..1799]           1800..1803  1804..1804  ...
//!             `- sealed chunks: the fine part is in the footer  `- chunks without a footer
//! ```
//!
//! The fine part is kept only for chunks that are still written or being sealed, so that memory grows
//! with the number of partitions and chunks, never with the number of batches. [`Index::seal`] swaps
//! the one for the other once the footer is durable, [`Index::replace`] once a pass of regrouping is.
//! Both may be called for some partitions at a time: the bytes can be read in both places meanwhile.
//!
//! The lane owns the index and enters it single-threaded. It knows offsets, not what batches mean.
//! Payloads stored once ([`crate::entry::EntryKind::Payload`]) are batches of partition 0, which no
//! topic has: the id is the offset.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use crate::entry::entry_bytes;
use crate::position::{ChunkId, Position};
use crate::recovery::DamagedRange;

mod lookup;
mod partition;
#[cfg(test)]
mod tests;

pub use lookup::{ColdRead, Located, TailEntries, TimeLookup};
use partition::PartitionIndex;

/// The pseudo-partition of payloads that are stored once: their ids are its offsets.
pub const PAYLOADS: u64 = 0;

/// One batch in a chunk that has no footer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailEntry {
    /// Its first offset.
    pub base: i64,
    /// Its last offset.
    pub last: i64,
    /// Where its entry's header lies.
    pub at: Position,
    /// Bytes of the entry's payload.
    pub length: u32,
    /// The largest timestamp in it.
    pub max_timestamp: i64,
}

impl TailEntry {
    /// Bytes that the entry takes in its chunk.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        entry_bytes(self.length as usize) as u64
    }
}

/// All batches of one partition between two offsets, in one chunk with a footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Which chunk.
    pub chunk: ChunkId,
    /// Which record of the directory in its footer.
    pub slot: u32,
    /// First offset of the first batch.
    pub first: i64,
    /// Last offset of the last batch.
    pub last: i64,
    /// Bytes of its entries.
    pub bytes: u64,
    /// The largest timestamp.
    pub max_timestamp: i64,
}

/// Where the batches of all partitions lie.
#[derive(Debug, Default)]
pub struct Index {
    partitions: BTreeMap<u64, PartitionIndex>,
    live: LiveBytes,
}

/// How many bytes of each chunk are still wanted.
#[derive(Debug, Default)]
struct LiveBytes(BTreeMap<ChunkId, u64>);

impl LiveBytes {
    fn add(&mut self, chunk: ChunkId, bytes: u64) {
        *self.0.entry(chunk).or_default() += bytes;
    }

    fn take(&mut self, chunk: ChunkId, bytes: u64) {
        let Some(live) = self.0.get_mut(&chunk) else {
            return;
        };
        *live = live.saturating_sub(bytes);
        if *live == 0 {
            self.0.remove(&chunk);
        }
    }
}

impl Index {
    /// An index without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch was appended, or found again at a start.
    ///
    /// Offsets of a partition rise, and so do positions. What lies below its start is passed over.
    pub fn append(&mut self, partition: u64, entry: TailEntry) {
        let index = self.partitions.entry(partition).or_default();
        if index.push(entry) {
            self.live.add(entry.at.chunk(), entry.bytes());
        }
    }

    /// An extent was found in a footer at a start. What lies below the partition's start is not kept.
    pub fn load(&mut self, partition: u64, extent: Extent) {
        let index = self.partitions.entry(partition).or_default();
        let added = index.insert(extent);
        self.live.add(extent.chunk, added);
    }

    /// These offsets can't be read any more.
    pub fn damage(&mut self, range: DamagedRange) {
        let index = self.partitions.entry(range.partition).or_default();
        index.damage(range.base, range.last);
    }

    /// The damaged ranges of a partition, in order: first and last offset of each.
    #[must_use]
    pub fn damaged(&self, partition: u64) -> &[(i64, i64)] {
        self.partitions
            .get(&partition)
            .map_or(&[], PartitionIndex::damaged)
    }

    /// The partition starts at `new_start`: what lies wholly below is forgotten.
    pub fn trim(&mut self, partition: u64, new_start: i64) {
        let index = self.partitions.entry(partition).or_default();
        index.trim(new_start, &mut self.live);
    }

    /// The partition is gone.
    pub fn remove(&mut self, partition: u64) {
        if let Some(index) = self.partitions.remove(&partition) {
            index.release(&mut self.live);
        }
    }

    /// What a footer of `chunk` has to list, by partition: those in `partitions` that have anything.
    ///
    /// Taken for some partitions at a time, so that the lane is held for a short time only.
    pub fn tail_of(
        &self,
        chunk: ChunkId,
        partitions: impl RangeBounds<u64>,
    ) -> impl Iterator<Item = (u64, TailEntries<'_>)> {
        self.partitions
            .range(partitions)
            .map(move |(partition, index)| (*partition, index.tail_in(chunk)))
            .filter(|(_, entries)| entries.len() > 0)
    }

    /// The footer of `chunk` is durable: its tail entries give way to these extents.
    ///
    /// Only partitions named in `extents` are touched, so that a large chunk can be sealed in several
    /// calls. Partitions that were removed meanwhile are passed over.
    pub fn seal(&mut self, chunk: ChunkId, extents: Vec<(u64, Extent)>) {
        for (partition, extent) in extents {
            let Some(index) = self.partitions.get_mut(&partition) else {
                continue;
            };
            index.forget_tail(chunk, &mut self.live);
            let added = index.insert(extent);
            self.live.add(extent.chunk, added);
        }
    }

    /// A pass of regrouping is committed: the extents of `removed` give way to `added`.
    pub fn replace(&mut self, removed: &[ChunkId], added: Vec<(u64, Extent)>) {
        self.replace_in(.., removed, added);
    }

    /// As [`Index::replace`], for some partitions: `added` names no others.
    ///
    /// The chunks may go once all partitions were taken.
    pub fn replace_in(
        &mut self,
        partitions: impl RangeBounds<u64>,
        removed: &[ChunkId],
        added: Vec<(u64, Extent)>,
    ) {
        for (_, index) in self.partitions.range_mut(partitions) {
            index.forget_extents(removed, &mut self.live);
        }
        for (partition, extent) in added {
            if let Some(index) = self.partitions.get_mut(&partition) {
                let kept = index.insert(extent);
                self.live.add(extent.chunk, kept);
            }
        }
    }

    /// Where a pass over `chunks` must begin a new extent, in order of partition and offset.
    ///
    /// Another chunk holds batches between theirs there, and extents must not enclose each other.
    #[must_use]
    pub fn boundaries(
        &self,
        chunks: &[ChunkId],
        partitions: impl RangeBounds<u64>,
    ) -> Vec<(u64, i64)> {
        let mut found = Vec::new();
        for (partition, index) in self.partitions.range(partitions) {
            index.boundaries(chunks, |offset| found.push((*partition, offset)));
        }
        found
    }

    /// The extents of a partition, in order.
    #[must_use]
    pub fn extents(&self, partition: u64) -> &[Extent] {
        let index = self.partitions.get(&partition);
        index.map_or(&[], |index| &index.extents)
    }

    /// The first batch of a partition that lies in a chunk without a footer.
    #[must_use]
    pub fn first_of_tail(&self, partition: u64) -> Option<TailEntry> {
        self.partitions.get(&partition)?.tail.front().copied()
    }

    /// Bytes of a partition in the store, an extent that is partly below its start by its share.
    #[must_use]
    pub fn bytes(&self, partition: u64) -> u64 {
        self.partitions
            .get(&partition)
            .map_or(0, PartitionIndex::bytes)
    }

    /// Bytes of a chunk that are still wanted: an estimate where a partition starts inside it.
    #[must_use]
    pub fn live_bytes(&self, chunk: ChunkId) -> u64 {
        self.live.0.get(&chunk).copied().unwrap_or_default()
    }

    /// Bytes of memory that the index takes, roughly.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let fixed = size_of::<(u64, PartitionIndex)>() * self.partitions.len();
        let grown: usize = self.partitions.values().map(PartitionIndex::heap).sum();
        fixed + grown + self.live.0.len() * size_of::<(ChunkId, u64)>()
    }
}
