//! Building a lane from what the log says: the same changes, applied again.
//!
//! `apply` reads no configuration and asks nobody. Ids that no longer exist are passed over: their
//! topic was deleted later in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mulgil_core::machine::{Elapsed, Machine, Now, WallTime};
use mulgil_core::partition::{Change, Sequence};
use mulgil_core::queue::Span;
use mulgil_log::checkpoint::CheckpointObject;
use mulgil_log::chunkset::{ChunkSet, ChunkSetChange};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::frame::FrameHeader;
use mulgil_log::index::{Extent, Index, TailEntry};
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::recovery::{DamagedRange, Replay};
use mulgil_meta::catalog::Catalog;
use mulgil_meta::schema::Durability;
use mulgil_meta::state::Metadata;
use mulgil_record::batch::BatchHeader;
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, ProducerId};

use super::append::{BATCH_PREFIX_BYTES, entry};
use super::commit::{Commit, LogHead};
use super::keep::Retired;
use super::{Held, Lane, LaneOptions, Progress};
use crate::tail::Tail;

/// No time yet: what is built with it is built anew when the replay is finished.
const BEFORE_ALL: Now = Now {
    elapsed: Elapsed(0),
    wall: WallTime(0),
};

/// A lane that is being built from the log.
#[derive(Debug)]
pub struct Replayer {
    lane: Lane,
}

impl Replayer {
    /// An empty lane.
    #[must_use]
    pub fn new(options: LaneOptions) -> Self {
        let nowhere = LogHead {
            chunk: ChunkId::NONE,
            lsn: mulgil_log::position::Lsn(0),
            incarnation: 0,
            previous_end: Position::ZERO,
            checkpoint: ChunkId::NONE,
            cluster: 0,
            secret: 0,
        };
        let lane = Lane {
            log: Commit::new(nowhere, &options, BEFORE_ALL),
            metadata: Metadata::default(),
            catalog: Arc::new(Catalog::default()),
            metadata_due: Position::ZERO,
            shown: Metadata::default(),
            unshown: std::collections::VecDeque::new(),
            leader_epoch: LeaderEpoch(0),
            partitions: BTreeMap::new(),
            producers: super::producers::Producers::default(),
            groups: super::groups::Groups::with_settings(options.groups),
            subscriptions: super::subscriptions::Subscriptions::default(),
            index: Index::default(),
            tail: Tail::new(options.tail_bytes_max),
            progress: Progress::default(),
            held: Held::default(),
            rises_by_sync: std::collections::VecDeque::new(),
            rises_by_write: std::collections::VecDeque::new(),
            start_rises: std::collections::VecDeque::new(),
            reads: super::read::Reads::default(),
            unsealed: super::keep::Unsealed::default(),
            chunks: ChunkSet::default(),
            deletions: Vec::new(),
            checkpoints: super::checkpoint::Checkpoints::default(),
            named: std::collections::VecDeque::new(),
            loaded: super::checkpoint::Loaded::default(),
            damaged: Vec::new(),
            carried: BTreeMap::new(),
            read_limit: options.read_bytes_max,
            refused: super::refused::Refused::default(),
            full: false,
            exhausted: false,
            space: None,
            stopping: false,
            dropped: super::Dropped::default(),
            options,
        };
        Self { lane }
    }

    /// The ranges that recovery found damaged.
    #[must_use]
    pub fn damaged(&self) -> &[DamagedRange] {
        &self.lane.damaged
    }

    /// Everything was replayed: the lane takes over the log at `head`.
    ///
    /// Partitions go on at their ceilings. Whether the stop before was clean makes no difference:
    /// after a clean one the ceilings are the true ends, unless an earlier, unclean stop has left a
    /// stretch of offsets that nobody may have again.
    #[must_use]
    pub fn finish(self, head: LogHead, now: Now) -> Lane {
        let mut lane = self.lane;
        let epoch = LeaderEpoch(i32::try_from(head.incarnation).unwrap_or(i32::MAX));
        lane.log = Commit::new(head, &lane.options, now);
        lane.loaded = super::checkpoint::Loaded::default();
        lane.leader_epoch = epoch;
        lane.log
            .push(entry(EntryKind::LeaderEpoch, 0, i64::from(epoch.0)), &[]);
        let Lane {
            partitions, index, ..
        } = &mut lane;
        for (id, hosted) in partitions {
            let machine = &mut hosted.machine;
            if hosted.durability == Durability::Memory {
                // What is only in memory is discarded at start.
                machine.apply(&Change::Trimmed { to: machine.next });
                index.remove(id.0);
            }
            let next = machine.next.max(machine.ceiling);
            machine.apply(&Change::Resumed { next, epoch });
            if hosted.durability == Durability::Memory {
                machine.apply(&Change::Trimmed { to: next });
            }
            hosted.ceiling_safe = machine.ceiling;
            hosted.high_watermark = next;
            hosted.log_start = machine.start;
        }
        lane.lead_queues(epoch);
        lane.catalog = Arc::new(lane.metadata.catalog(epoch));
        lane.shown = lane.metadata.clone();
        lane
    }

    /// Applies a change of metadata that was read back.
    fn metadata(&mut self, at: Position, payload: &[u8]) -> Result<(), Fault> {
        let change = mulgil_meta::state::Change::decode(payload).map_err(|_unknown| {
            let what = format!("metadata change at {at} is not known to this version");
            Fault::new(FaultKind::Corrupt, what)
        })?;
        let deleted = change
            .deletes()
            .and_then(|id| self.lane.metadata.topic_by_id(id).cloned());
        self.lane.apply_metadata(&change);
        if let Some(topic) = deleted {
            self.lane.unhost(&topic);
        }
        Ok(())
    }

    fn batch(&mut self, at: Position, header: &EntryHeader, payload: &[u8], frame: &FrameHeader) {
        let id = PartitionId(header.object);
        let span = Span::new(Offset(header.base), header.count);
        self.lane.refeed(at, (id, span), frame.wall_ms, payload);
        let Some(hosted) = self.lane.partitions.get_mut(&id) else {
            return;
        };
        if at < hosted.good_for {
            // The checkpoint has it: only the index wants it.
            self.index(at, header, payload);
            return;
        }
        let Some(batch) = batch_header(payload) else {
            return;
        };
        if Offset(header.base) > hosted.machine.next {
            // Here the partition went on after an unclean stop; no entry of its own says so.
            let (next, epoch) = (Offset(header.base), batch.leader_epoch);
            hosted.machine.apply(&Change::Resumed { next, epoch });
        }
        let sequence = (batch.producer_id != ProducerId::NONE).then(|| Sequence {
            producer: batch.producer_id,
            epoch: batch.producer_epoch,
            first: batch.base_sequence,
            last: batch.last_sequence(),
        });
        hosted.machine.apply(&Change::Appended {
            base: Offset(header.base),
            records: header.count,
            epoch: batch.leader_epoch,
            max_timestamp: batch.max_timestamp,
            sequence,
            at: Elapsed(frame.elapsed_ms),
        });
        self.index(at, header, payload);
    }

    fn index(&mut self, at: Position, header: &EntryHeader, payload: &[u8]) {
        let start = self
            .lane
            .partitions
            .get(&PartitionId(header.object))
            .map(|h| h.machine.start);
        if start.is_none_or(|start| header.last() < start.0) {
            return;
        }
        let max_timestamp = max_timestamp(payload);
        let (base, last, length) = (header.base, header.last(), header.length);
        let entry = TailEntry {
            base,
            last,
            at,
            length,
            max_timestamp,
        };
        self.lane.index.append(header.object, entry);
    }

    /// Applies a change of a partition, unless the checkpoint it came from has it.
    fn partition_change(&mut self, at: Position, id: u64, change: &Change) {
        if let Some(hosted) = self.lane.partitions.get_mut(&PartitionId(id))
            && at >= hosted.good_for
        {
            hosted.machine.apply(change);
        }
    }

    /// Takes an object of the checkpoint that replay begins with.
    ///
    /// # Errors
    ///
    /// It is not known to this version.
    pub fn load(&mut self, object: &CheckpointObject) -> Result<(), Fault> {
        self.lane.load(object).ok_or_else(|| {
            let (kind, object) = (object.kind, object.object);
            let what = format!("page of kind {kind} for object {object} of a checkpoint");
            Fault::new(
                FaultKind::Corrupt,
                format!("{what} is not known to this version"),
            )
        })
    }

    /// The checkpoint was loaded whole; replay begins at `from`.
    pub fn loaded(&mut self, chunk: ChunkId, from: Position) {
        self.lane.checkpoints.set_named(chunk, from);
    }

    /// Everything was replayed: the index learns where each partition starts.
    pub fn replayed(&mut self) {
        let Lane {
            partitions, index, ..
        } = &mut self.lane;
        for (id, hosted) in partitions {
            index.trim(id.0, hosted.machine.start.0);
        }
    }

    /// The chunks that count, as far as is known.
    #[must_use]
    pub const fn chunks(&self) -> &ChunkSet {
        &self.lane.chunks
    }

    /// After the replay: takes what the footer of a chunk lists, instead of what was replayed of it.
    ///
    /// With it comes what was `damaged` when the chunk was written: that a pass left out, no entry of
    /// the log tells, and a checkpoint only if it was begun behind the pass.
    pub fn load_footer(
        &mut self,
        chunk: ChunkId,
        extents: Vec<(u64, Extent)>,
        damaged: Vec<DamagedRange>,
    ) {
        let Lane {
            partitions, index, ..
        } = &mut self.lane;
        let hosted = |(id, _): &(u64, Extent)| partitions.contains_key(&PartitionId(*id));
        index.seal(chunk, extents.into_iter().filter(hosted).collect());
        let wanted = |range: &DamagedRange| {
            let hosted = partitions.get(&PartitionId(range.partition));
            hosted.is_some_and(|hosted| range.last >= hosted.machine.start.0)
        };
        let damaged: Vec<_> = damaged.into_iter().filter(wanted).collect();
        self.lane.learn_damaged(&damaged);
        self.lane.carry(chunk, damaged);
    }

    /// A log chunk of before has no footer yet.
    pub fn unsealed(&mut self, retired: Retired) {
        self.lane.unsealed.push(retired);
    }
}

impl Replay for Replayer {
    fn entry(
        &mut self,
        at: Position,
        header: &EntryHeader,
        payload: &[u8],
        frame: &FrameHeader,
    ) -> Result<(), Fault> {
        match header.kind {
            EntryKind::Batch => self.batch(at, header, payload, frame),
            EntryKind::Metadata if at < self.lane.loaded.metadata => {}
            EntryKind::Metadata => self.metadata(at, payload)?,
            EntryKind::ProducerEpoch => {
                self.lane.producers.taken(header.base, header.count);
            }
            EntryKind::OffsetCeiling => {
                let change = Change::CeilingRaised {
                    to: Offset(header.base),
                };
                self.partition_change(at, header.object, &change);
            }
            EntryKind::ProducerState => {
                let producer = ProducerId(header.base);
                self.partition_change(at, header.object, &Change::ProducerExpired { producer });
            }
            EntryKind::LogStart => {
                self.partition_change(
                    at,
                    header.object,
                    &Change::Trimmed {
                        to: Offset(header.base),
                    },
                );
                self.lane.index.trim(header.object, header.base);
            }
            EntryKind::LeaderEpoch => {
                let epoch = LeaderEpoch(i32::try_from(header.base).unwrap_or(i32::MAX));
                self.lane.leader_epoch = self.lane.leader_epoch.max(epoch);
            }
            EntryKind::Group | EntryKind::GroupOffsets => {
                self.lane.replay_group(at, header, payload)?;
            }
            EntryKind::Subscription => self.lane.replay_queue(at, header, payload)?,
            EntryKind::TrueEnd => {
                if let Some(hosted) = self.lane.partitions.get_mut(&PartitionId(header.object))
                    && at >= hosted.good_for
                {
                    hosted.machine.ceiling = Offset(header.base);
                }
            }
            EntryKind::SyncedMark => {}
            EntryKind::ChunkSet if at < self.lane.loaded.chunks => {}
            EntryKind::ChunkSet => {
                let change = ChunkSetChange::decode(payload)
                    .map_err(|error| Fault::new(FaultKind::Corrupt, format!("{error} at {at}")))?;
                self.lane.chunks.apply(&change);
            }
            EntryKind::Payload
            | EntryKind::Reference
            | EntryKind::TransactionBegin
            | EntryKind::TransactionMarker
            | EntryKind::LateFacts
            | EntryKind::CheckpointPage => {
                let kind = header.kind;
                let what = format!("entry of kind {kind:?} at {at} is not known to this version");
                return Err(Fault::new(FaultKind::Corrupt, what));
            }
        }
        Ok(())
    }

    fn damaged(&mut self, range: DamagedRange) {
        self.lane.index.damage(range);
        // The checkpoint may have it already.
        if !self.lane.damaged.contains(&range) {
            self.lane.damaged.push(range);
        }
        if let Some(hosted) = self.lane.partitions.get_mut(&PartitionId(range.partition)) {
            let machine = &mut hosted.machine;
            let next = Offset(range.last + 1);
            if next > machine.next {
                // Who wrote it and with which sequence is lost with the batch: its producer goes on
                // behind it.
                let epoch = machine.leader_epoch;
                machine.apply(&Change::Resumed { next, epoch });
            }
        }
    }
}

/// The header of the batch inside a batch entry's payload.
fn batch_header(payload: &[u8]) -> Option<BatchHeader> {
    let facts = payload
        .first_chunk()
        .map(|b: &[u8; 4]| u32::from_le_bytes(*b))? as usize;
    BatchHeader::read(payload.get(BATCH_PREFIX_BYTES + facts..)?).ok()
}

/// The largest timestamp in a batch entry's payload; -1 if there is none.
#[must_use]
pub fn max_timestamp(payload: &[u8]) -> i64 {
    batch_header(payload).map_or(-1, |batch| batch.max_timestamp)
}

/// The batch of a payload that was read from disk.
#[must_use]
pub fn payload_batch(payload: &Bytes) -> Bytes {
    super::read::batch_of_payload(payload)
}

impl Lane {
    /// Writes where partitions that have reserved offsets really end, for a clean stop.
    pub fn write_true_ends(&mut self) {
        let Self {
            partitions, log, ..
        } = self;
        for (id, hosted) in partitions {
            let next = hosted.machine.next;
            if hosted.machine.ceiling > next {
                log.push(entry(EntryKind::TrueEnd, id.0, next.0), &[]);
                hosted.machine.ceiling = next;
            }
        }
    }
}
