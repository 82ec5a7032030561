//! What the lane says to those who keep the store in order: footers, retention, figures of chunks.
//!
//! The work itself happens off the lane. Every question and every answer here is about a bounded
//! number of partitions, so that nobody waits long for the lock.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds as _};

use mulgil_core::machine::{Decision, Elapsed, Machine, Now};
use mulgil_core::partition::{Change, Command};
use mulgil_log::chunk::{ChunkHeader, ChunkKind};
use mulgil_log::chunkset::{ChunkInfo, ChunkSetChange};
use mulgil_log::entry::EntryKind;
use mulgil_log::footer::DAMAGE_BYTES;
use mulgil_log::index::{Extent, PAYLOADS, TailEntry};
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::recovery::DamagedRange;
use mulgil_log::regroup::{ChunkUse, Regrouped};
use mulgil_record::ids::{Offset, PartitionId};

use super::append::entry;
use super::{Lane, StartRise};

/// A producer that has written nothing for so long is forgotten (Kafka: `producer.id.expiration.ms`).
/// By running time, since no wall clock tells a long time without power from one that was set.
const PRODUCER_EXPIRATION_MS: u64 = 24 * 60 * 60 * 1_000;

/// A chunk without batches has no more beside its damage records: header, a page of index, trailer, and
/// what fills them up.
const EMPTY_BYTES: u64 = 4 * 4096;

/// A log chunk that gets no more frames, and where they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Which.
    pub chunk: ChunkId,
    /// Where its last frame ends.
    pub end: Position,
}

/// What the removal of a chunk waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deletion {
    /// The entry here is synced.
    Synced(Position),
}

/// The part of a chunk's tail entries that was asked for.
#[derive(Debug, Default)]
pub struct TailSlice {
    /// Entries by partition.
    pub entries: Vec<(u64, Vec<TailEntry>)>,
    /// Where to go on; `None` at the end.
    pub next: Option<PartitionId>,
}

/// Ids of partitions that lie beside one another.
type Ids = (Bound<u64>, Bound<u64>);

/// The part of what a pass must know that was asked for.
#[derive(Debug, Default)]
pub struct PassSlice {
    /// Where it must begin a new extent.
    pub boundaries: Vec<(u64, i64)>,
    /// The first offset of each partition, for what asks what lives: what lives when the pass begins is
    /// kept. The one that is told: what is given up but not yet durably so is still read.
    pub starts: Vec<(u64, i64)>,
    /// Where to go on; `None` at the end.
    pub next: Option<PartitionId>,
}

/// Log chunks that have no footer yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unsealed(VecDeque<Retired>);

impl Unsealed {
    pub(super) fn push(&mut self, retired: Retired) {
        self.0.push_back(retired);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn oldest(&self) -> Option<ChunkId> {
        self.0.front().map(|retired| retired.chunk)
    }
}

impl Lane {
    /// The oldest log chunk that gets no more frames and has no footer, once all of it is synced.
    #[must_use]
    pub fn unsealed(&self) -> Option<Retired> {
        let oldest = self.unsealed.0.front().copied()?;
        // The writer cuts a chunk to its length before it begins the next, and syncs that first.
        (self.progress.synced.chunk() > oldest.chunk).then_some(oldest)
    }

    /// What the footer of `chunk` has to list, for some partitions from `from` on.
    #[must_use]
    pub fn tail_slice(
        &self,
        chunk: ChunkId,
        from: PartitionId,
        partitions_max: usize,
    ) -> TailSlice {
        let mut slice = TailSlice::default();
        let ids = self.partitions.range(from..).map(|(id, _)| *id);
        let mut ids = ids.take(partitions_max + 1);
        let Some(first) = ids.next() else {
            return slice;
        };
        slice.next = ids.nth(partitions_max.saturating_sub(1));
        let end = slice
            .next
            .map_or(Bound::Unbounded, |next| Bound::Excluded(next.0));
        let tail = self.index.tail_of(chunk, (Bound::Included(first.0), end));
        slice.entries = tail
            .map(|(id, entries)| (id, entries.copied().collect()))
            .collect();
        slice
    }

    /// The damaged ranges of all partitions, for a footer: readers must go on being told.
    #[must_use]
    pub fn damaged_in(&self, chunk: ChunkId) -> Vec<DamagedRange> {
        self.damaged
            .iter()
            .filter(|range| range.at.chunk() == chunk)
            .copied()
            .collect()
    }

    /// The footer of `chunk` is durable: its fine part leaves memory. Some partitions at a time.
    pub fn sealed(&mut self, chunk: ChunkId, extents: Vec<(u64, Extent)>) {
        let wanted = |(id, _): &(u64, Extent)| self.partitions.contains_key(&PartitionId(*id));
        let extents = extents.into_iter().filter(wanted).collect();
        self.index.seal(chunk, extents);
    }

    /// Whether every log chunk that gets no more frames has its footer.
    #[must_use]
    pub fn all_sealed(&self) -> bool {
        self.unsealed.oldest().is_none()
    }

    /// All partitions of `chunk` are sealed: from here on it is one of the set of chunks.
    pub fn sealed_all(&mut self, chunk: ChunkId, bytes: u64) {
        self.unsealed.0.retain(|retired| retired.chunk != chunk);
        let kind = ChunkKind::Log;
        let added = vec![ChunkInfo { chunk, kind, bytes }];
        self.change_chunks(&ChunkSetChange {
            added,
            removed: Vec::new(),
        });
    }

    /// Sealed chunks that no replay needs any more, and how much of each is still wanted.
    #[must_use]
    pub fn chunk_uses(&self) -> Vec<ChunkUse> {
        let usable = |info: &&ChunkInfo| self.is_usable(info);
        let uses = self.chunks.iter().filter(usable).map(|info| {
            let live = self.index.live_bytes(info.chunk);
            // What is taken for dead is taken at once, and a pass would write this one again as it is.
            let only_damage = live == 0 && self.is_only_damage(info);
            ChunkUse {
                chunk: info.chunk,
                kind: info.kind,
                bytes: info.bytes,
                live: if only_damage { 1 } else { live },
            }
        });
        uses.collect()
    }

    /// Whether a chunk may go into a pass: no replay needs it.
    pub(super) fn is_usable(&self, info: &ChunkInfo) -> bool {
        match info.kind {
            ChunkKind::Log => info.chunk < self.checkpoints.floor(),
            ChunkKind::Sorted | ChunkKind::Compacted => true,
            ChunkKind::Checkpoint => false,
        }
    }

    /// What a pass over `chunks` must know of some partitions from `from` on.
    #[must_use]
    pub fn pass_slice(
        &self,
        chunks: &[ChunkId],
        from: PartitionId,
        partitions_max: usize,
    ) -> PassSlice {
        let (range, next) = self.slice(from, partitions_max);
        let ids = (range.0.map(PartitionId), range.1.map(PartitionId));
        let starts = self.partitions.range(ids);
        PassSlice {
            boundaries: self.index.boundaries(chunks, range),
            starts: starts.map(|(id, h)| (id.0, h.log_start.0)).collect(),
            next,
        }
    }

    /// The ids of some partitions from `from` on, with all that are not hosted between them, and where
    /// to go on.
    fn slice(&self, from: PartitionId, partitions_max: usize) -> (Ids, Option<PartitionId>) {
        let mut ids = self.partitions.range(from..);
        let next = ids.nth(partitions_max).map(|(id, _)| *id);
        let end = next.map_or(Bound::Unbounded, |next| Bound::Excluded(next.0));
        ((Bound::Included(from.0), end), next)
    }

    /// The header of a chunk of this kind that a pass writes.
    pub fn sorted_header(&mut self, kind: ChunkKind, now: Now) -> ChunkHeader {
        let chunk = self.log.take_chunk_id();
        self.log.other_header(chunk, kind, now)
    }

    /// A pass is complete and its chunks are durable: some partitions from `from` on are read from
    /// there. `pass.added` is in order of partition. Says where to go on.
    pub fn regrouped(
        &mut self,
        pass: &Regrouped,
        from: PartitionId,
        partitions_max: usize,
    ) -> Option<PartitionId> {
        let (range, next) = self.slice(from, partitions_max);
        // Before the batches go that were damaged: a reader must not pass over them meanwhile.
        for damage in &pass.damaged {
            if range.contains(&damage.partition) && !self.damaged.contains(damage) {
                self.index.damage(*damage);
                self.damaged.push(*damage);
            }
        }
        let first = pass.added.partition_point(|(id, _)| *id < from.0);
        let added = pass.added.iter().skip(first);
        let added = added.take_while(|(id, _)| next.is_none_or(|next| *id < next.0));
        let hosted = |(id, _): &&(u64, Extent)| self.partitions.contains_key(&PartitionId(*id));
        let added = added.filter(hosted).copied().collect();
        self.index.replace_in(range, &pass.removed, added);
        next
    }

    /// All partitions are read from what a pass has written: its chunks count from here on, and the
    /// others go once that is on disk.
    pub fn regrouped_all(&mut self, pass: &Regrouped) {
        let at = self.change_chunks(&pass.change());
        let due = Deletion::Synced(at);
        self.deletions
            .extend(pass.removed.iter().map(|chunk| (due, *chunk)));
        for chunk in &pass.removed {
            self.carried.remove(chunk);
        }
        if let Some(chunk) = pass.damaged_in {
            self.carry(chunk, pass.damaged.clone());
        }
    }

    /// The footer of a chunk carries what is damaged.
    pub(super) fn carry(&mut self, chunk: ChunkId, damaged: Vec<DamagedRange>) {
        if !damaged.is_empty() {
            self.carried.insert(chunk, damaged);
        }
    }

    /// Whether a chunk is little more than a footer that tells of lost offsets, and somebody may still
    /// ask for them.
    fn is_only_damage(&self, info: &ChunkInfo) -> bool {
        let asked = |range: &&DamagedRange| {
            let hosted = self.partitions.get(&PartitionId(range.partition));
            hosted.is_some_and(|hosted| range.last >= hosted.log_start.0)
        };
        let carried = self.carried.get(&info.chunk);
        let asked = carried.map_or(0, |ranges| ranges.iter().filter(asked).count());
        asked > 0 && info.bytes <= EMPTY_BYTES + (asked * DAMAGE_BYTES) as u64
    }

    /// Readers are told that these offsets are lost.
    pub(super) fn learn_damaged(&mut self, damaged: &[DamagedRange]) {
        for range in damaged {
            let hosted = self.partitions.contains_key(&PartitionId(range.partition));
            if hosted && !self.damaged.contains(range) {
                self.index.damage(*range);
                self.damaged.push(*range);
            }
        }
    }

    /// Chunks that may be removed: it is on disk that they do not count any more.
    ///
    /// A checkpoint goes when chunks whose headers name two newer ones are synced, so that there are two
    /// at every moment.
    pub fn deletable(&mut self) -> Vec<ChunkId> {
        self.settle_checkpoints();
        let synced = self.progress.synced;
        let (goes, stays) = self.deletions.drain(..).partition(|(due, _)| match due {
            Deletion::Synced(at) => synced > *at,
        });
        self.deletions = stays;
        let goes: Vec<(Deletion, ChunkId)> = goes;
        goes.into_iter().map(|(_, chunk)| chunk).collect()
    }

    /// Gives up what retention no longer keeps, for some partitions from `from` on, and forgets producers
    /// that have long been silent; says where to go on.
    ///
    /// Retention is by whole batches, and never touches what is not yet durable. While the wall clock
    /// is not believed, no record is given up at all; producers expire by running time.
    pub fn retain(
        &mut self,
        from: PartitionId,
        partitions_max: usize,
        now: Now,
    ) -> Option<PartitionId> {
        if from == PartitionId(0) {
            self.forget_damage();
        }
        let believed = self.believes(now);
        let ids: Vec<_> = self
            .partitions
            .range(from..)
            .map(|(id, _)| *id)
            .take(partitions_max + 1)
            .collect();
        for id in ids.iter().take(partitions_max) {
            if believed {
                self.retain_one(*id, now);
            }
            self.reclaim(*id, believed.then_some(now.wall));
            self.expire_producers(*id, now);
        }
        ids.get(partitions_max).copied()
    }

    /// Forgets damage that nobody can meet any more: below a log start, or of a topic that is gone.
    fn forget_damage(&mut self) {
        let partitions = &self.partitions;
        self.damaged.retain(|range| {
            let hosted = partitions.get(&PartitionId(range.partition));
            // Payloads that are stored once belong to no topic.
            let payload = range.partition == PAYLOADS;
            payload || hosted.is_some_and(|hosted| range.last >= hosted.log_start.0)
        });
    }

    /// Forgets producers that have long written nothing, a bounded number at a time.
    fn expire_producers(&mut self, id: PartitionId, now: Now) {
        let Some(hosted) = self.partitions.get_mut(&id) else {
            return;
        };
        if hosted.machine.producers.is_empty() {
            return;
        }
        let before = Elapsed(now.elapsed.0.saturating_sub(PRODUCER_EXPIRATION_MS));
        let mut decision = Decision::default();
        let expire = Command::ExpireProducers { before };
        if hosted.machine.decide(expire, now, &mut decision).is_err() {
            return;
        }
        for (_, change) in decision.changes {
            if let Change::ProducerExpired { producer } = change {
                let header = entry(EntryKind::ProducerState, id.0, producer.0);
                self.log.push_unsynced(header, &[]);
            }
            hosted.machine.apply(&change);
        }
    }

    fn retain_one(&mut self, id: PartitionId, now: Now) {
        let Some(hosted) = self.partitions.get_mut(&id) else {
            return;
        };
        let Some(topic) = self.metadata.topic_by_id(hosted.topic) else {
            return;
        };
        let settings = &topic.settings;
        if !settings.cleanup.delete {
            return;
        }
        let by_time = settings.retention_ms.and_then(|keep| {
            let oldest = i64::try_from(now.wall.0.saturating_sub(keep)).unwrap_or(i64::MAX);
            self.index.start_for_time(id.0, oldest)
        });
        let by_bytes = settings
            .retention_bytes
            .and_then(|keep| self.index.start_for_bytes(id.0, keep));
        let Some(to) = by_time.max(by_bytes) else {
            return;
        };
        let to = Offset(to).min(hosted.high_watermark);
        if to <= hosted.machine.start {
            return;
        }
        // Nobody waits for it: what it gives up is read as long as nobody else asks for the room.
        let at = self
            .log
            .push_unsynced(entry(EntryKind::LogStart, id.0, to.0), &[]);
        self.dropped.retention += offsets_between(hosted.machine.start, to);
        hosted.machine.apply(&Change::Trimmed { to });
        hosted.start_due = at;
        self.start_rises.push_back(StartRise {
            at,
            partition: id,
            to,
        });
        self.trim_queues(id, to, now);
    }
}

/// How many offsets lie from `from` up to `to`.
pub(super) fn offsets_between(from: Offset, to: Offset) -> u64 {
    u64::try_from(to.0 - from.0).unwrap_or(0)
}
