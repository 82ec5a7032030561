//! The lane: all partitions and machines of a broker, behind one lock, for microseconds at a time.
//!
//! Whoever holds the lock calls one of the few entrances ([`Lane::enter`], [`Lane::completed`],
//! [`Lane::tick`] ...), and gets a [`Turn`]: what to answer, what to read elsewhere, whom to wake.
//! The lane has no clock, thread, socket or file of its own; it steps under a simulator as it does
//! under threads. Changes go into the open frame; the frame goes to the store as soon as the store
//! has nothing else to do, so that whatever comes while one frame is being synced shares the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mulgil_core::group::GroupSettings;
use mulgil_core::machine::{Elapsed, Now};
use mulgil_core::partition::Partition;
use mulgil_log::chunkset::ChunkSet;
use mulgil_log::index::Index;
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::recovery::DamagedRange;
use mulgil_meta::catalog::Catalog;
use mulgil_meta::schema::{Durability, Topic};
use mulgil_meta::state::Metadata;
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, TopicId};

use crate::request::{Reply, Request, Ticket};
use crate::tail::Tail;

mod append;
mod atomic;
mod checkpoint;
mod commit;
mod compact;
mod configure;
mod dates;
mod due;
mod gone;
mod groups;
mod keep;
mod mark_wait;
mod offsets;
mod producers;
mod read;
mod refused;
mod replay;
mod room;
mod subscriptions;
mod topics;

pub(crate) use append::{batch_payload, split_payload};
pub use checkpoint::{Beginning, Objects};
pub use commit::LogHead;
pub use compact::{Keyed, KeyedSlice};
pub(crate) use due::{Due, Held, Progress};
pub use gone::GoneSlice;
pub use groups::holding::GroupFigures;
pub use keep::{PassSlice, Retired, TailSlice};
pub use offsets::{FindFurther, FindLeft, FindPart, FindPlace};
pub use read::{ColdPart, ColdTask, ColdWork, FindTask, ReadTask};
pub use replay::{Replayer, max_timestamp, payload_batch};
pub use room::RoomWork;
pub use subscriptions::{Burial, BuryTask};

/// Which connection asks: the runtime it lives on, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The runtime's number.
    pub runtime: u16,
    /// The connection's number, unique in the process.
    pub connection: u64,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// The connection.
    pub origin: Origin,
    /// Which of its requests.
    pub ticket: Ticket,
}

/// What follows from one visit to the lane; the caller carries it out after letting go of the lock.
#[derive(Debug, Default)]
pub struct Turn {
    /// Answers that may leave now.
    pub replies: Vec<(ReplyTo, Reply)>,
    /// Reads that have waited long enough: their runtimes come back with [`Lane::resume`].
    pub retries: Vec<(ReplyTo, u64)>,
    /// Reads that need the disk.
    pub cold: Vec<ColdWork>,
    /// A new picture of metadata, if it has changed.
    pub catalog: Option<Arc<Catalog>>,
}

/// What the lane may use and how it behaves. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct LaneOptions {
    /// Frames kept in memory for readers of the log's end.
    pub tail_bytes_max: usize,
    /// A frame is closed when it has grown so large.
    pub frame_bytes_max: usize,
    /// One group of frames, written and synced at once, is at most so large.
    pub group_bytes_max: usize,
    /// When so much waits to be written, answers that would wait for nothing wait for their write, so
    /// that a producer is not faster than the disk for long.
    pub hurry_bytes_max: usize,
    /// Appends are refused while so much waits to be written.
    pub waiting_bytes_max: usize,
    /// A log chunk is followed by the next when it has grown so large. Up to 4096: each frame is a
    /// chunk of its own, as a store of whole objects wants it.
    pub chunk_bytes_max: u32,
    /// Groups that the store has at once. One is best where what comes meanwhile shares the next sync;
    /// more where a store takes long to answer and takes several.
    pub groups_under_way_max: usize,
    /// Partitions that one command may create, and that there may be in all: memory and the size of
    /// a frame grow with them, and the lane is held meanwhile. Kafka has the first as
    /// `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`.
    pub created_partitions_max: u32,
    /// See `created_partitions_max`.
    pub partitions_max: u32,
    /// Partitions of a topic whose creator does not say.
    pub partitions_default: u32,
    /// A read gets at most so much, whatever it asks.
    pub read_bytes_max: u32,
    /// A mark is written when nothing has followed a sync for so long, milliseconds; up to eight times
    /// as long while messages meet marks.
    pub mark_after_ms: u64,
    /// What was written without a sync is synced after so long, milliseconds.
    pub sync_after_ms: u64,
    /// Limits and waits of consumer groups.
    pub groups: GroupSettings,
    /// A wall clock that goes this far off the running time has been set, milliseconds: retention and
    /// compaction wait, and committed offsets expire by the date that was believed before.
    pub clock_step_ms: u64,
}

impl Default for LaneOptions {
    fn default() -> Self {
        Self {
            tail_bytes_max: 128 << 20,
            frame_bytes_max: 512 << 10,
            group_bytes_max: 4 << 20,
            hurry_bytes_max: 16 << 20,
            // A second of a fast disk; a request of the largest size still fits.
            waiting_bytes_max: 512 << 20,
            chunk_bytes_max: 256 << 20,
            groups_under_way_max: 1,
            created_partitions_max: 10_000,
            partitions_max: 200_000,
            partitions_default: 1,
            // As Kafka's `fetch.max.bytes` of a broker.
            read_bytes_max: 55 << 20,
            mark_after_ms: 10,
            sync_after_ms: 1_000,
            groups: GroupSettings::default(),
            // More than a clock is ever slewed by between two looks, less than any retention.
            clock_step_ms: 60 * 60 * 1_000,
        }
    }
}

/// Bytes of unsent answers from which on reads get less, and least.
const UNSENT_SOME: usize = 256 << 20;
const UNSENT_MUCH: usize = 512 << 20;
/// What reads get then, bytes; one batch in any case.
const READ_LIMIT_LOW: u32 = 1 << 20;
const READ_LIMIT_MIN: u32 = 64 << 10;

/// What a read gets while so many bytes of answers wait to be sent.
pub(crate) fn read_limit(unsent: usize, most: u32) -> u32 {
    match unsent {
        UNSENT_MUCH.. => most.min(READ_LIMIT_MIN),
        UNSENT_SOME.. => most.min(READ_LIMIT_LOW),
        _ => most,
    }
}

/// A partition that lives here.
#[derive(Debug)]
struct Hosted {
    machine: Partition,
    topic: TopicId,
    durability: Durability,
    /// The first offset that is not yet durable at the topic's level.
    high_watermark: Offset,
    /// The first offset that is told: the machine's start, once that is synced.
    log_start: Offset,
    /// The newest entry that gave up records, at first zero.
    start_due: Position,
    /// The newest change that an answer about this partition waits for.
    newest: Due,
    /// What the newest offset given out waits for: the entry that reserved it.
    ceiling_due: Position,
    /// Offsets below are reserved by what is synced.
    ceiling_safe: Offset,
    /// The newest entry that reserved offsets.
    ceiling_raised: Position,
    /// Reads that wait for more.
    readers: BTreeSet<u64>,
    /// Changes below are in the checkpoint that the machine came from.
    good_for: Position,
}

/// A high watermark that will rise.
#[derive(Clone, Copy, Debug)]
struct Rise {
    at: Position,
    /// The entry that reserved its offsets, if that has to be synced first.
    ceiling: Position,
    partition: PartitionId,
    to: Offset,
    bytes: u32,
}

/// A log start that will rise.
#[derive(Clone, Copy, Debug)]
struct StartRise {
    at: Position,
    partition: PartitionId,
    to: Offset,
}

/// All partitions and machines of a broker.
#[derive(Debug)]
pub struct Lane {
    options: LaneOptions,
    log: commit::Commit,
    metadata: Metadata,
    catalog: Arc<Catalog>,
    /// The newest change of metadata, while it is not synced.
    metadata_due: Position,
    /// Metadata as far as it is synced: what the catalog shows.
    shown: Metadata,
    /// Changes that are not synced yet, and where their entries lie.
    unshown: VecDeque<(Position, mulgil_meta::state::Change)>,
    leader_epoch: LeaderEpoch,
    partitions: BTreeMap<PartitionId, Hosted>,
    producers: producers::Producers,
    groups: groups::Groups,
    subscriptions: subscriptions::Subscriptions,
    index: Index,
    tail: Tail,
    progress: Progress,
    held: Held<(ReplyTo, Reply)>,
    rises_by_sync: VecDeque<Rise>,
    rises_by_write: VecDeque<Rise>,
    start_rises: VecDeque<StartRise>,
    reads: read::Reads,
    unsealed: keep::Unsealed,
    chunks: ChunkSet,
    /// Chunks that do not count any more, and what their removal waits for.
    deletions: Vec<(keep::Deletion, ChunkId)>,
    checkpoints: checkpoint::Checkpoints,
    /// Log chunks whose headers are not known to be synced, and the checkpoint that each names.
    named: VecDeque<(ChunkId, ChunkId)>,
    /// While the log is replayed behind a checkpoint.
    loaded: checkpoint::Loaded,
    damaged: Vec<DamagedRange>,
    /// The ranges that footers of sorted chunks carry: nothing else keeps them once they are written.
    carried: BTreeMap<ChunkId, Vec<DamagedRange>>,
    /// A read gets at most so many bytes, for now.
    read_limit: u32,
    refused: refused::Refused,
    full: bool,
    /// So little room is left that it is for what frees more.
    exhausted: bool,
    /// Bytes of the file system, and the free ones of them, when the keeper last looked.
    space: Option<(u64, u64)>,
    stopping: bool,
    dropped: Dropped,
}

impl Lane {
    /// Carries out what a connection asks, in order.
    pub fn enter(
        &mut self,
        from: Origin,
        asks: impl IntoIterator<Item = (Ticket, Request)>,
        now: Now,
        turn: &mut Turn,
    ) {
        for (ticket, request) in asks {
            self.log.cut(now);
            let to = ReplyTo {
                origin: from,
                ticket,
            };
            self.ask(to, request, now, turn);
        }
        // What came may be what somebody waits for.
        self.tick_subscriptions(now, turn);
    }

    fn ask(&mut self, to: ReplyTo, request: Request, now: Now, turn: &mut Turn) {
        let (due, reply) = match request {
            Request::Append(append) => self.append(append, now),
            Request::Read(read) => return self.read(to, read, now, turn),
            Request::FindOffsets(find) => return self.find_offsets(to, &find, turn),
            Request::FindEpochEnds(find) => self.find_epoch_ends(&find),
            Request::CreateTopics(create) => self.create_topics(create, now),
            Request::DeleteTopics(delete) => self.delete_topics(&delete, now, turn),
            Request::AlterTopic(alter) => self.alter_topic(alter),
            Request::Configure(ask) => self.configure(ask),
            Request::SetQuotas(ask) => self.set_quotas(ask),
            Request::GrowTopics(ask) => self.grow_topics(ask),
            Request::DescribeProducers(of) => self.describe_producers(&of, now),
            Request::Sizes(of) => self.sizes(&of),
            Request::Trim(trim) => self.trim(&trim, now),
            Request::NewProducer(new) => self.new_producer(new, now),
            Request::Group(group) => return self.group(to, group, now, turn),
            Request::Subscription(ask) => return self.subscription(to, ask, now, turn),
            Request::Atomic(ask) => self.atomic(&ask, now, turn),
        };
        self.answer(to, due, reply, turn);
    }

    /// Lets an answer out, or holds it until what it waits for is durable.
    fn answer(&mut self, to: ReplyTo, due: Due, reply: Reply, turn: &mut Turn) {
        if let Some((to, reply)) = self.held.hold(due, self.progress, (to, reply)) {
            turn.replies.push((to, reply));
        }
    }

    /// What has to happen by time: reads that have waited long enough, syncs, marks, groups.
    pub fn tick(&mut self, now: Now, turn: &mut Turn) {
        self.reads.expire(now.elapsed, turn);
        self.log.tick(now.elapsed);
        self.tick_groups(now, turn);
        self.tick_subscriptions(now, turn);
    }

    /// When the next tick is due, if anything waits for one.
    #[must_use]
    pub fn deadline(&self) -> Option<Elapsed> {
        let candidates = [
            self.reads.deadline(),
            self.log.deadline(),
            self.groups.deadline(),
            self.subscriptions.deadline(),
        ];
        candidates.into_iter().flatten().min()
    }

    /// Begins to live, after all was replayed.
    pub fn begin(&mut self, now: Now) {
        self.wake_groups(now);
        self.wake_queues(now);
    }

    /// Forgets a connection that is gone: nobody will read its answers.
    pub fn forget(&mut self, origin: Origin) {
        for (id, partitions) in self.reads.forget(origin) {
            self.unpark(id, &partitions);
        }
        self.forget_in_groups(origin);
        self.subscriptions.forget(origin);
    }

    /// So many bytes of answers wait to be sent: the more, the less a read gets.
    ///
    /// Readers that ask for much and take nothing would otherwise fill the memory with their answers.
    pub fn set_unsent(&mut self, bytes: usize) {
        self.read_limit = read_limit(bytes, self.options.read_bytes_max);
    }

    /// Whether the wall clock can be believed at `now`. While it cannot, no record is given up by a date.
    pub fn believes(&mut self, now: Now) -> bool {
        self.log.dates.believes(now)
    }

    /// Whether the disk has so little room that it is kept for what frees more: commits, joins and
    /// assignments are refused, too.
    pub const fn set_exhausted(&mut self, exhausted: bool) {
        self.exhausted = exhausted;
    }

    /// Whether the disk has room. When it has none, only what frees it is taken.
    pub const fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// So large is the file system, and so much of it is free, bytes.
    pub const fn set_space(&mut self, total: u64, free: u64) {
        self.space = Some((total, free));
    }

    /// Refuses new work from now on.
    pub const fn stop(&mut self) {
        self.stopping = true;
    }

    /// The picture of metadata that is durable.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Figures for operators.
    #[must_use]
    pub fn figures(&self) -> LaneFigures {
        LaneFigures {
            partitions: self.partitions.len(),
            tail_bytes: self.tail.bytes(),
            index_bytes: self.index.memory_bytes(),
            groups: self.group_figures(),
            queues: self.subscriptions.len(),
            // And the one that grows.
            chunks: self.chunks.iter().count() + self.unsealed.len() + 1,
            damaged_ranges: self.damaged.len(),
            dropped: self.dropped,
            held_answers: self.held.len(),
            waiting_reads: self.reads.len(),
            disk_full: self.full,
        }
    }

    /// Where a partition starts, ends (high watermark), and how many bytes it has.
    #[must_use]
    pub fn partition_figures(&self, partition: PartitionId) -> Option<PartitionFigures> {
        let hosted = self.partitions.get(&partition)?;
        Some(PartitionFigures {
            start: hosted.log_start,
            high_watermark: hosted.high_watermark,
            bytes: self.index.bytes(partition.0),
        })
    }

    /// The machine of a partition, for the simulation: replaying the log must lead to the same one.
    #[must_use]
    pub fn machine(&self, partition: PartitionId) -> Option<&Partition> {
        Some(&self.partitions.get(&partition)?.machine)
    }

    /// Begins to host a partition that metadata names.
    fn host(&mut self, topic: &Topic, partition: PartitionId) {
        let mut machine = Partition::new(self.leader_epoch);
        machine.leader_epoch = self.leader_epoch;
        let hosted = Hosted {
            machine,
            topic: topic.id,
            durability: topic.settings.durability,
            high_watermark: Offset::ZERO,
            log_start: Offset::ZERO,
            start_due: Position::ZERO,
            newest: Due::NOW,
            ceiling_due: Position::ZERO,
            ceiling_safe: Offset::ZERO,
            ceiling_raised: Position::ZERO,
            readers: BTreeSet::new(),
            good_for: Position::ZERO,
        };
        self.partitions.insert(partition, hosted);
        self.settle_loaded(partition);
    }
}

/// How many offsets were given up since the start, by reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropped {
    /// By retention.
    pub retention: u64,
    /// Because somebody asked for it.
    pub trim: u64,
    /// Because all subscriptions of a queue had settled it.
    pub reclaimed: u64,
}

/// Figures of a lane, for operators.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneFigures {
    /// Partitions that live here.
    pub partitions: usize,
    /// Bytes of frames kept for readers of the end.
    pub tail_bytes: usize,
    /// Bytes that the index takes.
    pub index_bytes: usize,
    /// What consumer groups hold.
    pub groups: GroupFigures,
    /// Machines of subscriptions, one for each partition that one reads.
    pub queues: usize,
    /// Chunks of all kinds that count, the one that grows included.
    pub chunks: usize,
    /// Ranges of offsets whose bytes are damaged.
    pub damaged_ranges: usize,
    /// What was given up since the start.
    pub dropped: Dropped,
    /// Answers that wait for the disk.
    pub held_answers: usize,
    /// Reads that wait for records.
    pub waiting_reads: usize,
    /// Whether writes are refused because the disk is full.
    pub disk_full: bool,
}

/// Figures of a partition, for operators.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartitionFigures {
    /// First offset there is.
    pub start: Offset,
    /// First offset that is not yet durable.
    pub high_watermark: Offset,
    /// Bytes of it in the store.
    pub bytes: u64,
}
