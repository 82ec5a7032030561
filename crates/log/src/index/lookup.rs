//! Asking the index: by offset, by time, and for what retention needs.

use std::collections::vec_deque::Iter;

use super::partition::PartitionIndex;
use super::{Extent, Index, TailEntry};
use crate::position::ChunkId;

/// Tail entries, in the order of their offsets.
pub type TailEntries<'a> = Iter<'a, TailEntry>;

/// What to read from a chunk with a footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdRead {
    /// Which partition.
    pub partition: u64,
    /// Which chunk.
    pub chunk: ChunkId,
    /// Which record of its directory.
    pub slot: u32,
    /// First offset wanted; a batch that it lies inside is wanted whole.
    pub from: i64,
    /// First offset not wanted any more. If nothing is found, go on from here.
    pub end: i64,
    /// Bytes wanted at most, but one batch in any case.
    pub budget_bytes: usize,
}

/// Where the batches from an offset on lie.
#[derive(Debug)]
pub enum Located<'a> {
    /// In chunks without a footer, here. Who takes them stops when it has enough.
    Tail(TailEntries<'a>),
    /// In a chunk with a footer.
    Cold(ColdRead),
    /// Nowhere: there is nothing from this offset up to the end.
    End,
    /// The next offsets are damaged.
    Damaged {
        /// First damaged offset.
        base: i64,
        /// Last damaged offset.
        last: i64,
    },
}

/// Where the batch with a wanted timestamp lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLookup {
    /// Nowhere.
    None,
    /// It is this one.
    Tail(TailEntry),
    /// In a chunk with a footer: `find_by_time` or `find_by_max_time` of the reader looks there.
    ///
    /// It can be that it was in a part that is not wanted any more, and nothing is found. Then ask
    /// again from the read's end on.
    Cold {
        /// What to look through.
        read: ColdRead,
        /// The largest timestamp there, whether it is still wanted or not.
        max_timestamp: i64,
    },
}

impl TimeLookup {
    fn cold(partition: u64, extent: &Extent, range: (i64, i64)) -> Self {
        Self::Cold {
            read: cold(partition, extent, range, 0),
            max_timestamp: extent.max_timestamp,
        }
    }
}

impl Index {
    /// Finds the batches from `offset` on, below `end`.
    ///
    /// Batches follow each other without regard to what they lie in: what is answered ends where the
    /// kind of place changes, at damage, or at `end`. Ask again from there.
    #[must_use]
    pub fn locate(
        &self,
        partition: u64,
        offset: i64,
        budget_bytes: usize,
        end: i64,
    ) -> Located<'_> {
        let Some(index) = self.partitions.get(&partition) else {
            return Located::End;
        };
        match index.locate(offset.max(index.start), end) {
            Place::End => Located::End,
            Place::Damaged(base, last) => Located::Damaged { base, last },
            Place::Tail(from, to) => Located::Tail(index.tail.range(from..to)),
            Place::Extent(extent, limit) => {
                let range = (offset.max(index.start), limit);
                Located::Cold(cold(partition, extent, range, budget_bytes))
            }
        }
    }

    /// Finds the first batch below `end` that has a timestamp of `timestamp` or more.
    #[must_use]
    pub fn by_time(&self, partition: u64, timestamp: i64, end: i64) -> TimeLookup {
        self.by_time_from(partition, timestamp, i64::MIN, end)
    }

    /// As [`Index::by_time`], among batches that end at `from` or above.
    #[must_use]
    pub fn by_time_from(&self, partition: u64, timestamp: i64, from: i64, end: i64) -> TimeLookup {
        let Some(index) = self.partitions.get(&partition) else {
            return TimeLookup::None;
        };
        let range = (from.max(index.start), end);
        let extent = index
            .extents_in(range)
            .find(|extent| extent.max_timestamp >= timestamp);
        let entry = index
            .tail_between(range)
            .find(|entry| entry.max_timestamp >= timestamp);
        match (extent, entry) {
            (Some(extent), Some(entry)) if entry.base < extent.first => TimeLookup::Tail(*entry),
            (Some(extent), _) => TimeLookup::cold(partition, extent, range),
            (None, Some(entry)) => TimeLookup::Tail(*entry),
            (None, None) => TimeLookup::None,
        }
    }

    /// Finds the first batch below `end` that has the largest timestamp of all.
    #[must_use]
    pub fn by_max_time(&self, partition: u64, end: i64) -> TimeLookup {
        self.by_max_time_from(partition, i64::MIN, end)
    }

    /// As [`Index::by_max_time`], among batches that end at `from` or above.
    ///
    /// Where a partition starts inside a chunk, its largest timestamp there may belong to a batch
    /// below the start. Who finds less than hoped in the first answer asks again beyond it.
    #[must_use]
    pub fn by_max_time_from(&self, partition: u64, from: i64, end: i64) -> TimeLookup {
        let Some(index) = self.partitions.get(&partition) else {
            return TimeLookup::None;
        };
        let range = (from.max(index.start), end);
        // Of equals the first: `max_by_key` would give the last.
        let extent = index.extents_in(range).rev();
        let extent = extent.max_by_key(|extent| extent.max_timestamp);
        let entry = index.tail_between(range).rev();
        let entry = entry.max_by_key(|entry| entry.max_timestamp);
        match (extent, entry) {
            (Some(extent), Some(entry)) => {
                let by_extent = (extent.max_timestamp, -i128::from(extent.first));
                let by_entry = (entry.max_timestamp, -i128::from(entry.base));
                if by_entry > by_extent {
                    TimeLookup::Tail(*entry)
                } else {
                    TimeLookup::cold(partition, extent, range)
                }
            }
            (Some(extent), None) => TimeLookup::cold(partition, extent, range),
            (None, Some(entry)) => TimeLookup::Tail(*entry),
            (None, None) => TimeLookup::None,
        }
    }

    /// The highest start that leaves at least `keep_bytes` of the partition, by whole extents and
    /// batches: what retention by size may trim to. None if there is nothing to trim.
    #[must_use]
    pub fn start_for_bytes(&self, partition: u64, keep_bytes: u64) -> Option<i64> {
        let index = self.partitions.get(&partition)?;
        let mut left = index.bytes();
        let mut start = None;
        for step in index.steps() {
            left = left.saturating_sub(step.bytes);
            if left < keep_bytes {
                break;
            }
            start = Some(step.next);
        }
        start
    }

    /// The highest start below which everything is older than `oldest`, by whole extents and batches:
    /// what retention by time may trim to. None if there is nothing to trim.
    ///
    /// What has no timestamp (-1) has no age of its own: it goes with the next that is too old.
    #[must_use]
    pub fn start_for_time(&self, partition: u64, oldest: i64) -> Option<i64> {
        let index = self.partitions.get(&partition)?;
        let old = index.steps().take_while(|step| step.max_timestamp < oldest);
        let dated = old.filter(|step| step.max_timestamp >= 0);
        dated.last().map(|step| step.next)
    }
}

/// An extent or a batch, as retention sees it.
struct Step {
    /// The offset after it.
    next: i64,
    bytes: u64,
    max_timestamp: i64,
}

/// What lies at an offset, within one partition.
enum Place<'a> {
    End,
    Damaged(i64, i64),
    /// Tail entries by place, from and to.
    Tail(usize, usize),
    /// The extent, and the first offset that is not to be read.
    Extent(&'a Extent, i64),
}

impl PartitionIndex {
    fn locate(&self, offset: i64, end: i64) -> Place<'_> {
        let next_extent = self.extents.partition_point(|extent| extent.last < offset);
        let extent = self.extents.get(next_extent);
        let next_entry = self.tail.partition_point(|entry| entry.last < offset);
        let entry = self.tail.get(next_entry);
        let next_damaged = self.damaged.partition_point(|(_, last)| *last < offset);
        let damaged = self.damaged.get(next_damaged);

        let extent_at = extent.map_or(i64::MAX, |extent| extent.first.max(offset));
        let entry_at = entry.map_or(i64::MAX, |entry| entry.base.max(offset));
        let damaged_at = damaged.map_or(i64::MAX, |(base, _)| (*base).max(offset));
        let nearest = extent_at.min(entry_at).min(damaged_at);
        if nearest >= end {
            return Place::End;
        }
        if let Some((base, last)) = damaged.filter(|_| damaged_at == nearest) {
            return Place::Damaged(*base, *last);
        }
        let limit = end.min(damaged_at);
        if let Some(extent) = extent.filter(|_| extent_at == nearest) {
            return Place::Extent(extent, limit.min(extent.last.saturating_add(1)));
        }
        // Chunks are sealed in order, but nothing here relies on it: an extent ends the tail.
        let limit = limit.min(extent_at);
        let to = self.tail.partition_point(|entry| entry.last < limit);
        if to > next_entry {
            Place::Tail(next_entry, to)
        } else {
            Place::End
        }
    }

    fn extents_in(&self, (from, end): (i64, i64)) -> impl DoubleEndedIterator<Item = &Extent> {
        let first = self.extents.partition_point(|extent| extent.last < from);
        let last = self.extents.partition_point(|extent| extent.first < end);
        self.extents.get(first..last).unwrap_or_default().iter()
    }

    fn tail_between(&self, (from, end): (i64, i64)) -> TailEntries<'_> {
        let first = self.tail.partition_point(|entry| entry.last < from);
        let last = self.tail.partition_point(|entry| entry.last < end);
        self.tail.range(first.min(last)..last)
    }

    /// What lies in the partition from its start on. Extents and batches that are out of order, as
    /// when a chunk was sealed before an older one, are left out with all that follows.
    fn steps(&self) -> impl Iterator<Item = Step> {
        let tail_base = self.tail.front().map_or(i64::MAX, |entry| entry.base);
        let before = self
            .extents
            .partition_point(|extent| extent.first < tail_base);
        let beyond = self.extents.get(before);
        let beyond = beyond.map_or(i64::MAX, |extent| extent.first);
        let extents = self.extents.iter().take(before).map(|extent| Step {
            next: extent.last.saturating_add(1),
            bytes: self.live_share(extent),
            max_timestamp: extent.max_timestamp,
        });
        let tail = self
            .tail
            .iter()
            .take_while(move |entry| entry.base < beyond);
        extents.chain(tail.map(|entry| Step {
            next: entry.last.saturating_add(1),
            bytes: entry.bytes(),
            max_timestamp: entry.max_timestamp,
        }))
    }
}

fn cold(partition: u64, extent: &Extent, range: (i64, i64), budget_bytes: usize) -> ColdRead {
    ColdRead {
        partition,
        chunk: extent.chunk,
        slot: extent.slot,
        from: range.0.max(extent.first),
        end: range.1.min(extent.last.saturating_add(1)),
        budget_bytes,
    }
}
