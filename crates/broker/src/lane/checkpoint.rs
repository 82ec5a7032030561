//! The lane's state as pages of a checkpoint, and back.
//!
//! A checkpoint is written while the broker works: some objects at a time, each with the position
//! that it is good for. Replay begins where the first was taken, and each object passes over what it
//! holds already. It counts once a log chunk's header names it; that header is written when all of the
//! chunk before is synced, so no checkpoint is ever ahead of the log.

use std::collections::BTreeMap;

use bytes::BufMut;
use mulgil_core::machine::Now;
use mulgil_core::partition::{self, Partition};
use mulgil_log::checkpoint::CheckpointObject;
use mulgil_log::chunk::{ChunkHeader, ChunkKind};
use mulgil_log::chunkset::{ChunkInfo, ChunkSetChange};
use mulgil_log::entry::EntryKind;
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::recovery::DamagedRange;
use mulgil_meta::state::Change;
use mulgil_record::ids::{GroupId, PartitionId, SubscriptionId};

use super::Lane;
use super::append::entry;
use super::commit::CHUNK_START;
use super::keep::Deletion;

/// Pages of a checkpoint that one visit to the lane makes: about a millisecond.
pub(super) const SLICE_BYTES: usize = 1 << 20;

/// Kinds of pages. The numbers are on disk and never change their meaning.
mod kind {
    /// The set of chunks. Object 0.
    pub(super) const CHUNKS: u16 = 1;
    /// Metadata: changes that lead to it, each behind its u32 length. Object 0.
    pub(super) const METADATA: u16 = 2;
    /// A partition's machine. Object: the partition.
    pub(super) const PARTITION: u16 = 3;
    /// A group's name and machine. Object: the group.
    pub(super) const GROUP: u16 = 4;
    /// The first producer id that was never reserved, i64. Object 0.
    pub(super) const PRODUCERS: u16 = 5;
    /// Damaged ranges: partition u64, base i64, last i64, position u64 each. Object 0.
    pub(super) const DAMAGED: u16 = 6;
    /// The machines of a subscription. Object: the subscription.
    pub(super) const SUBSCRIPTION: u16 = 7;
}

/// Objects of a checkpoint, all good for one position.
#[derive(Debug)]
pub struct Objects {
    /// Changes from here on are not in them.
    pub good_for: Position,
    /// Kind, object and content of each.
    pub objects: Vec<(u16, u64, Vec<u8>)>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// A checkpoint that is being taken.
#[derive(Debug)]
pub struct Beginning {
    /// The chunk to write it to.
    pub header: ChunkHeader,
    /// Where replay would have to begin.
    pub from: Position,
    /// What is small, taken together.
    pub objects: Objects,
}

/// A checkpoint that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    chunk: ChunkId,
    from: Position,
}

/// The newest checkpoints.
///
/// A start knows of a checkpoint only by the header of a log chunk, so one that is complete does not
/// count before such a header is synced: until then all is kept that the one named before needs.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Complete, and not yet named by a synced header; oldest first.
    unnamed: Vec<Complete>,
    /// What a start would begin with.
    named: Option<Complete>,
    /// What it would begin with if that one were damaged.
    fallback: Option<Complete>,
    /// Where the log was when the one that is being taken was begun, and the newest complete one.
    begun: Position,
    newest_begun: Position,
}

impl Checkpoints {
    /// The oldest log chunk that a start might have to replay, even if the newest checkpoint is damaged.
    pub(super) fn floor(&self) -> ChunkId {
        self.fallback
            .map_or(ChunkId::NONE, |complete| complete.from.chunk())
    }

    /// The log chunk that the newest complete one begins with.
    pub(super) const fn newest_chunk(&self) -> ChunkId {
        self.newest_begun.chunk()
    }

    /// The start has begun with this one.
    pub(super) fn set_named(&mut self, chunk: ChunkId, from: Position) {
        self.named = Some(Complete { chunk, from });
        self.newest_begun = from;
    }

    /// The synced header of a log chunk names `chunk`. Says whether that is news.
    fn is_named(&mut self, chunk: ChunkId) -> bool {
        let Some(found) = self.unnamed.iter().find(|c| c.chunk == chunk).copied() else {
            return false;
        };
        self.unnamed.retain(|c| c.chunk > chunk);
        self.fallback = self.named.replace(found);
        true
    }

    fn keeps(&self, chunk: ChunkId) -> bool {
        let mut kept = self.unnamed.iter().chain(&self.named).chain(&self.fallback);
        kept.any(|complete| complete.chunk == chunk)
    }
}

impl Lane {
    /// Whether it is time for a checkpoint: much was written since the last.
    #[must_use]
    pub fn wants_checkpoint(&self, bytes: u64) -> bool {
        let from = self.checkpoints.newest_begun;
        let at = self.log.position();
        let chunks = u64::from(at.chunk().0 - from.chunk().0.min(at.chunk().0));
        // Chunks in between are counted as full: rather a checkpoint too many. Those that hold one
        // frame each are as full as their frames.
        let full = match self.options.chunk_bytes_max {
            0..=CHUNK_START => u64::from(CHUNK_START) + self.options.frame_bytes_max as u64,
            more => u64::from(more),
        };
        let whole = chunks * full;
        (whole + u64::from(at.offset())).saturating_sub(u64::from(from.offset())) > bytes
    }

    /// Begins a checkpoint with what is small: chunks, metadata, producer ids.
    ///
    /// # Panics
    ///
    /// Never: a change of metadata is far below 4 GiB.
    pub fn checkpoint_begin(&mut self, now: Now) -> Beginning {
        let chunk = self.log.take_chunk_id();
        let header = self.log.other_header(chunk, ChunkKind::Checkpoint, now);
        let oldest = self
            .unsealed
            .oldest()
            .map(|chunk| Position::new(chunk, 4096));
        // From the start of the chunk that is being written: where its batches lie is in no footer
        // yet, and the frames alone say it.
        let open = Position::new(self.log.frame_start().chunk(), 4096);
        let from = oldest.map_or(open, |oldest| oldest.min(open));
        let mut metadata = Vec::new();
        for change in self.metadata.checkpoint() {
            let bytes = change.encode();
            metadata.put_u32_le(u32::try_from(bytes.len()).expect("a change is small"));
            metadata.extend_from_slice(&bytes);
        }
        let mut damaged = Vec::new();
        for range in &self.damaged {
            damaged.put_u64_le(range.partition);
            damaged.put_i64_le(range.base);
            damaged.put_i64_le(range.last);
            damaged.put_u64_le(range.at.0);
        }
        let producers = self.producers.taken_below().to_le_bytes().to_vec();
        let chunks = self.chunks.to_change().encode();
        let objects = vec![
            (kind::CHUNKS, 0, chunks),
            (kind::METADATA, 0, metadata),
            (kind::PRODUCERS, 0, producers),
            (kind::DAMAGED, 0, damaged),
        ];
        let good_for = self.log.position();
        self.checkpoints.begun = good_for;
        Beginning {
            header,
            from,
            objects: Objects {
                good_for,
                objects,
                next: Some(0),
            },
        }
    }

    /// Goes on with some partitions from `from` on.
    #[must_use]
    pub fn checkpoint_partitions(&self, from: u64, max: usize) -> Objects {
        let hosted = self.partitions.range(PartitionId(from)..);
        let pages = hosted.map(|(id, hosted)| {
            let mut page = Vec::new();
            partition::wire::encode(&hosted.machine, &mut page);
            (id.0, page)
        });
        self.objects(kind::PARTITION, pages, max)
    }

    /// Goes on with some groups from `from` on.
    #[must_use]
    pub fn checkpoint_groups(&self, from: u64, max: usize) -> Objects {
        self.objects(kind::GROUP, self.groups.pages(GroupId(from)), max)
    }

    /// Goes on with some subscriptions from `from` on.
    pub fn checkpoint_subscriptions(&mut self, from: u64, max: usize) -> Objects {
        let pages = self.queue_pages(SubscriptionId(from), max);
        self.objects(kind::SUBSCRIPTION, pages, max)
    }

    /// So many pages as one visit may make: `max`, or fewer if they are large. Ids that follow one
    /// another are those of objects, or of none.
    fn objects(
        &self,
        kind: u16,
        pages: impl Iterator<Item = (u64, Vec<u8>)>,
        max: usize,
    ) -> Objects {
        let mut objects = Vec::new();
        let (mut bytes, mut next) = (0, None);
        for (id, page) in pages {
            bytes += page.len();
            objects.push((kind, id, page));
            if objects.len() == max || bytes >= SLICE_BYTES {
                next = id.checked_add(1);
                break;
            }
        }
        Objects {
            good_for: self.log.position(),
            objects,
            next,
        }
    }

    /// The checkpoint is complete and synced: the next chunk's header names it.
    pub fn checkpoint_done(&mut self, info: ChunkInfo, from: Position) {
        let chunk = info.chunk;
        self.checkpoints.unnamed.push(Complete { chunk, from });
        self.checkpoints.newest_begun = self.checkpoints.begun;
        self.log.set_checkpoint(chunk);
        self.change_chunks(&ChunkSetChange {
            added: vec![info],
            removed: Vec::new(),
        });
    }

    /// Looks which checkpoints the synced headers of log chunks name, and gives up older ones.
    ///
    /// The one before stays, in case the newest is found damaged.
    pub(super) fn settle_checkpoints(&mut self) {
        let synced = self.progress.synced.chunk();
        let mut news = false;
        while let Some((_, checkpoint)) = self.named.pop_front_if(|(chunk, _)| *chunk <= synced) {
            news |= self.checkpoints.is_named(checkpoint);
        }
        if !news {
            return;
        }
        let all = self
            .chunks
            .iter()
            .filter(|c| c.kind == ChunkKind::Checkpoint);
        let goes = all.map(|c| c.chunk).filter(|c| !self.checkpoints.keeps(*c));
        let removed: Vec<_> = goes.collect();
        let added = Vec::new();
        let change = ChunkSetChange {
            added,
            removed: removed.clone(),
        };
        let due = Deletion::Synced(self.change_chunks(&change));
        self.deletions
            .extend(removed.iter().map(|chunk| (due, *chunk)));
    }

    /// Writes a change of the set of chunks and makes it so; says where its entry lies.
    pub(super) fn change_chunks(&mut self, change: &ChunkSetChange) -> Position {
        let at = self
            .log
            .push(entry(EntryKind::ChunkSet, 0, 0), &[&change.encode()]);
        self.chunks.apply(change);
        at
    }

    /// Takes an object of a checkpoint. `None`: it is not known to this version.
    pub(super) fn load(&mut self, object: &CheckpointObject) -> Option<()> {
        let content = &object.content[..];
        match object.kind {
            kind::CHUNKS => self.chunks.apply(&ChunkSetChange::decode(content).ok()?),
            kind::METADATA => {
                self.load_metadata(content)?;
                self.subscriptions.await_pages();
            }
            kind::PARTITION => {
                let machine = partition::wire::decode(content).ok()?;
                let id = PartitionId(object.object);
                self.loaded
                    .partitions
                    .insert(id, (object.good_for, machine));
                self.settle_loaded(id);
            }
            kind::GROUP => {
                self.groups.load(GroupId(object.object), content)?;
                self.loaded
                    .groups
                    .insert(GroupId(object.object), object.good_for);
            }
            kind::SUBSCRIPTION => {
                let id = SubscriptionId(object.object);
                self.load_queues(id, object.good_for, content)?;
            }
            kind::PRODUCERS => {
                let reserved = i64::from_le_bytes(content.try_into().ok()?);
                self.producers.taken(reserved, 0);
            }
            kind::DAMAGED => self.load_damaged(content)?,
            _ => return None,
        }
        match object.kind {
            kind::CHUNKS => self.loaded.chunks = object.good_for,
            kind::METADATA => self.loaded.metadata = object.good_for,
            _ => {}
        }
        Some(())
    }

    fn load_metadata(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((length, rest)) = content.split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            let (change, rest) = rest.split_at_checked(length)?;
            self.apply_metadata(&Change::decode(change).ok()?);
            content = rest;
        }
        content.is_empty().then_some(())
    }

    fn load_damaged(&mut self, content: &[u8]) -> Option<()> {
        let (ranges, rest) = content.as_chunks::<32>();
        for range in ranges {
            let word = |at: usize| {
                range
                    .get(at..at + 8)?
                    .try_into()
                    .ok()
                    .map(u64::from_le_bytes)
            };
            let range = DamagedRange {
                partition: word(0)?,
                base: word(8)?.cast_signed(),
                last: word(16)?.cast_signed(),
                at: Position(word(24)?),
            };
            self.index.damage(range);
            if !self.damaged.contains(&range) {
                self.damaged.push(range);
            }
        }
        rest.is_empty().then_some(())
    }

    /// Gives a partition that is hosted the state that a checkpoint has of it.
    pub(super) fn settle_loaded(&mut self, id: PartitionId) {
        let Some(hosted) = self.partitions.get_mut(&id) else {
            return;
        };
        if let Some((good_for, machine)) = self.loaded.partitions.remove(&id) {
            hosted.machine = machine;
            hosted.good_for = good_for;
        }
    }
}

/// What was loaded of a checkpoint, while the log behind it is replayed.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Changes of metadata below are in it.
    pub(super) metadata: Position,
    /// Changes of the set of chunks below are in it.
    pub(super) chunks: Position,
    /// Machines of partitions that are not hosted yet: they were created while it was taken.
    partitions: BTreeMap<PartitionId, (Position, Partition)>,
    /// Machines of subscriptions that are not hosted yet, as their parts.
    pub(super) queues: BTreeMap<super::subscriptions::Key, (Position, Vec<Vec<u8>>)>,
    /// Changes of groups below are in it.
    pub(super) groups: BTreeMap<GroupId, Position>,
}
