//! Which records of a partition live: only the newest of each key, or what somebody still wants of a
//! queue.
//!
//! A pass over a partition first learns, then judges:
//!
//! ```text
//! start        clean_to                to
//!   |--- clean -----|----- unclean -----|
//!                   `- read ahead: the newest offset of each key -> the map
//!   `- read, judged by the map, written -'
//! ```
//!
//! A record lives if the map knows nothing newer of its key. What the map does not know is kept, so
//! nothing depends on its being complete: one that is full ends the cleaning at the batch that did
//! not fit, and partitions behind that wait for the next pass.
//!
//! A record without a value deletes its key. It outlives what it deletes by the topic's
//! `delete_retention_ms`, so that a reader that has seen the older record sees the deletion, too: the
//! pass that removes the older records writes the time from which it may go, its *horizon*, into its
//! batch. It goes with the first pass after that. Records without a key have nothing that could be
//! newer; in a compacted topic they are given up, as Kafka does.
//!
//! The last record of a partition stays whatever it is: who reads all of it comes to its end. Batches
//! that were emptied go: what is known of producers lies in checkpoints, not in batches. Batches of
//! transactions are judged like others, control batches stay: open and aborted transactions would
//! bound `to` and be judged here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mulgil_core::queue::{Settled, Span};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::fault::Fault;
use mulgil_log::keymap::KeyMap;
use mulgil_log::regroup::{Keep, Live, Rewritten, Shelf, Source, Visit, scan};
use mulgil_record::batch::{Batch, DecodeLimits, DecodedRecords, RecordView, Retained};
use mulgil_record::facts::Facts;
use mulgil_record::ids::Offset;

use crate::lane::{Keyed, batch_payload, max_timestamp, split_payload};

#[cfg(test)]
mod tests;

/// What all subscriptions of a queue have settled, by partition, in pieces of offsets that follow each other.
pub type GoneOffsets = BTreeMap<u64, Vec<Settled>>;

/// How many offsets of a span are gone.
#[must_use]
pub fn gone_in(gone: &GoneOffsets, partition: u64, span: Span) -> u64 {
    let pieces = gone.get(&partition).map_or(&[][..], Vec::as_slice);
    let first = pieces.partition_point(|piece| piece.span().end <= span.first);
    let pieces = pieces.iter().skip(first);
    let pieces = pieces.take_while(|piece| piece.span().first < span.end);
    pieces.map(|piece| piece.count(span)).sum()
}

/// Slows a pass down, or ends it.
pub type Pace<'a> = dyn Fn(u64) -> Result<(), Fault> + 'a;

/// Memory of a pass, bytes.
#[derive(Clone, Copy, Debug)]
pub struct CompactionMemory {
    /// Of batches that are read ahead at once.
    pub batches: usize,
    /// Of the map of keys, and for a moment a half more while it grows.
    pub keys: usize,
}

/// How far one partition is cleaned.
#[derive(Clone, Copy, Debug)]
struct Cleaning {
    clean_to: i64,
    to: i64,
    end: i64,
    /// The horizon of deletions that this pass leaves behind, ms since 1970.
    horizon: i64,
}

/// What a pass knows of the partitions that it compacts.
#[derive(Debug)]
pub struct Compaction {
    cleanings: BTreeMap<u64, Cleaning>,
    keys: KeyMap,
    now_ms: i64,
    resume: Option<u64>,
}

impl Compaction {
    /// Nothing is compacted.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            cleanings: BTreeMap::new(),
            keys: KeyMap::new(0),
            now_ms: 0,
            resume: None,
        }
    }

    /// Reads what is unclean of some partitions, all of which lies in `sources`.
    ///
    /// # Errors
    ///
    /// Those of [`scan`].
    pub fn learn<'k>(
        sources: &[Source<'_>],
        partitions: impl IntoIterator<Item = &'k Keyed>,
        memory: CompactionMemory,
        now_ms: i64,
        pace: &Pace<'_>,
    ) -> Result<Self, Fault> {
        let cleanings = partitions.into_iter().map(|keyed| {
            let retention = i64::try_from(keyed.delete_retention_ms).unwrap_or(i64::MAX);
            let cleaning = Cleaning {
                clean_to: keyed.candidate.clean_to,
                to: keyed.candidate.to,
                end: keyed.end,
                horizon: now_ms.saturating_add(retention),
            };
            (keyed.candidate.partition, cleaning)
        });
        let mut compaction = Self {
            cleanings: cleanings.collect(),
            keys: KeyMap::new(memory.keys),
            now_ms,
            resume: None,
        };
        if !compaction.cleanings.is_empty() {
            let mut learner = Learner {
                compaction: &mut compaction,
                newest: None,
                pace,
            };
            scan(sources, memory.batches, &mut learner)?;
        }
        Ok(compaction)
    }

    /// Offsets of the partition below are cleaned by this pass. None: it is not compacted.
    #[must_use]
    pub fn reach(&self, partition: u64) -> Option<i64> {
        self.cleanings.get(&partition).map(|cleaning| cleaning.to)
    }

    /// The partition to begin the next pass with, if the map was full.
    #[must_use]
    pub const fn resume(&self) -> Option<u64> {
        self.resume
    }

    /// How many keys the map knows.
    #[must_use]
    pub const fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The map is full at a batch of `partition`: cleaning ends before it, and what follows waits.
    fn fill(&mut self, partition: u64, header: &EntryHeader, begun: bool) {
        let first = self.cleanings.first_key_value().map(|(id, _)| *id) == Some(partition);
        self.cleanings.split_off(&(partition + 1));
        self.resume = Some(partition);
        if begun {
            if let Some(cleaning) = self.cleanings.get_mut(&partition) {
                cleaning.to = header.base;
            }
        } else if first {
            // More keys in one batch than the map can take: those that it has are cleaned.
            if let Some(cleaning) = self.cleanings.get_mut(&partition) {
                cleaning.to = header.last().saturating_add(1);
            }
        } else {
            self.cleanings.remove(&partition);
        }
        if first {
            self.resume = Some(partition + 1);
        }
    }

    /// What becomes of a batch of a partition that is compacted.
    fn judge(&self, header: &EntryHeader, payload: &[u8]) -> Rewritten {
        let cleaning = self.cleanings.get(&header.object);
        let Some(cleaning) = cleaning.filter(|c| header.base < c.to) else {
            return Rewritten::AsIs;
        };
        let Some(records) = records_of(header, payload) else {
            return Rewritten::AsIs;
        };
        let mut deletes = false;
        // A horizon counts for all deletions of a batch: each must have outlived what it deletes.
        let mut settled = true;
        let kept: Vec<bool> = records
            .views()
            .map(|record| {
                let keeps = self.keeps(header, cleaning, &records, &record);
                if keeps && record.value.is_none() {
                    deletes = true;
                    let offset = header.base + i64::from(record.offset_delta);
                    settled &= record
                        .key
                        .is_some_and(|key| self.keys.newest(header.object, key) == Some(offset));
                }
                keeps
            })
            .collect();
        let horizon = (deletes && settled).then_some(cleaning.horizon);
        let retained = records
            .retain(&kept, horizon)
            // Timestamps from another age have no place beside a horizon.
            .or_else(|_| records.retain(&kept, None));
        match retained {
            Ok(Retained::None) => Rewritten::Gone,
            Ok(Retained::Some(batch)) => with_facts(payload, &kept, &batch),
            Ok(Retained::All) | Err(_) => Rewritten::AsIs,
        }
    }

    fn keeps(
        &self,
        header: &EntryHeader,
        cleaning: &Cleaning,
        records: &DecodedRecords,
        record: &RecordView<'_>,
    ) -> bool {
        let offset = header.base + i64::from(record.offset_delta);
        if offset + 1 == cleaning.end {
            return true;
        }
        let Some(key) = record.key else { return false };
        let newest = self.keys.newest(header.object, key);
        if newest.is_some_and(|newest| newest > offset) {
            return false;
        }
        let horizon = records.header().delete_horizon();
        record.value.is_some() || horizon.is_none_or(|horizon| horizon > self.now_ms)
    }
}

/// The records of a batch that can be judged: not one of the log's own, nor one that nobody can unpack.
fn records_of(header: &EntryHeader, payload: &[u8]) -> Option<DecodedRecords> {
    if header.kind != EntryKind::Batch {
        return None;
    }
    let (_, batch) = split_payload(payload)?;
    let batch = Batch::check(Bytes::copy_from_slice(batch)).ok()?;
    if batch.header.attributes.is_control() {
        return None;
    }
    let limits = DecodeLimits {
        // A view of a record costs nothing, however many headers it has.
        headers_max: usize::MAX,
        ..DecodeLimits::default()
    };
    batch.records(limits).ok()
}

/// The payload of a batch that was rewritten, with the facts of what is left.
fn with_facts(payload: &[u8], kept: &[bool], batch: &[u8]) -> Rewritten {
    let facts = split_payload(payload).map(|(facts, _)| facts);
    let Some(Ok(facts)) = facts.map(Facts::decode) else {
        return Rewritten::AsIs;
    };
    let facts = if facts.is_empty() {
        Vec::new()
    } else if facts.count as usize == kept.len() {
        facts.retain(kept).encode()
    } else {
        return Rewritten::AsIs;
    };
    Rewritten::Payload(batch_payload(&facts, batch))
}

/// A batch of a queue without what all have settled. One that lives by half or more stays as it is.
fn without(gone: &[Settled], header: &EntryHeader, payload: &[u8]) -> Rewritten {
    let Some(records) = records_of(header, payload) else {
        return Rewritten::AsIs;
    };
    let is_gone = |at: Offset| {
        let piece = gone.partition_point(|piece| piece.span().end <= at);
        gone.get(piece).is_some_and(|piece| piece.has(at))
    };
    let offsets = records
        .views()
        .map(|record| header.base + i64::from(record.offset_delta));
    let kept: Vec<bool> = offsets.map(|at| !is_gone(Offset(at))).collect();
    if kept.iter().filter(|kept| **kept).count() * 2 >= kept.len() {
        return Rewritten::AsIs;
    }
    match records.retain(&kept, None) {
        Ok(Retained::None) => Rewritten::Gone,
        Ok(Retained::Some(batch)) => with_facts(payload, &kept, &batch),
        Ok(Retained::All) | Err(_) => Rewritten::AsIs,
    }
}

/// Reads ahead.
struct Learner<'a> {
    compaction: &'a mut Compaction,
    /// The partition of which a batch was learnt last.
    newest: Option<u64>,
    pace: &'a Pace<'a>,
}

impl Visit for Learner<'_> {
    fn wants(&self, partition: u64, base: i64, last: i64) -> bool {
        let cleaning = self.compaction.cleanings.get(&partition);
        let wanted = cleaning.is_some_and(|c| last >= c.clean_to && base < c.to);
        wanted && self.compaction.resume.is_none()
    }

    fn entry(&mut self, header: &EntryHeader, payload: &[u8]) {
        let partition = header.object;
        if !self.wants(partition, header.base, header.last()) {
            return;
        }
        let Some(records) = records_of(header, payload) else {
            return;
        };
        let begun = self.newest.replace(partition) == Some(partition);
        let keys = &mut self.compaction.keys;
        let full = records.views().any(|record| {
            let offset = header.base + i64::from(record.offset_delta);
            let key = record.key;
            key.is_some_and(|key| !keys.insert(partition, key, offset))
        });
        if full {
            self.compaction.fill(partition, header, begun);
        }
    }

    fn pace(&self, bytes: u64) -> Result<(), Fault> {
        (self.pace)(bytes)
    }
}

/// What lives: all that is not below its partition's start, as it was when the pass began, of what is
/// compacted the newest record of each key, and of a queue what somebody has not settled.
pub struct Living<'a> {
    /// Where each partition starts.
    pub starts: BTreeMap<u64, i64>,
    /// Partitions that are compacted, now or later.
    pub keyed: BTreeSet<u64>,
    /// Those that are compacted now.
    pub compaction: Compaction,
    /// What all have settled of queues.
    pub gone: &'a GoneOffsets,
    /// Is told what was read and written.
    pub pace: &'a Pace<'a>,
}

impl core::fmt::Debug for Living<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Living")
            .field("compaction", &self.compaction)
            .finish_non_exhaustive()
    }
}

impl Live for Living<'_> {
    fn live(&self, partition: u64, base: i64, last: i64) -> Keep {
        let Some(start) = self.starts.get(&partition) else {
            return Keep::None;
        };
        let reach = self.compaction.reach(partition);
        let span = Span {
            first: Offset(base),
            end: Offset(last).plus(1),
        };
        let gone = gone_in(self.gone, partition, span);
        if last < *start || gone == span.count() {
            Keep::None
        } else if gone > 0 {
            Keep::Rewrite
        } else if base < *start || reach.is_some_and(|to| base < to) {
            // A batch that the start lies inside stays whole; of several, each is asked for.
            Keep::Rewrite
        } else {
            Keep::All
        }
    }

    fn max_timestamp(&self, _: &EntryHeader, payload: &[u8]) -> i64 {
        max_timestamp(payload)
    }

    fn rewrite(&self, header: &EntryHeader, payload: &[u8]) -> Rewritten {
        match self.gone.get(&header.object) {
            Some(gone) => without(gone, header, payload),
            None => self.compaction.judge(header, payload),
        }
    }

    fn shelf(&self, partition: u64, base: i64) -> Shelf {
        if self.compaction.reach(partition).is_some_and(|to| base < to) {
            Shelf::Clean
        } else if self.keyed.contains(&partition) {
            Shelf::Keyed
        } else {
            Shelf::Plain
        }
    }

    fn pace(&self, bytes: u64) -> Result<(), Fault> {
        (self.pace)(bytes)
    }
}
