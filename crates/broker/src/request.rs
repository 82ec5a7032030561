//! What a door may ask of the broker, and what it is answered. No wire type appears here.
//!
//! Every answer is about durable things: it comes once the newest waited-for change of what it read
//! is as durable as its topic asks.

use bytes::Bytes;
use mulgil_core::partition::Refusal as PartitionRefusal;
use mulgil_core::queue::{QueueRefusal, Span};
use mulgil_meta::schema::{TopicName, TopicSettings};
use mulgil_meta::settings::{Edit, SettingRefusal};
use mulgil_meta::subscription::SubscriptionName;
use mulgil_record::batch::Batch;
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};

use crate::configure::{
    ActiveProducer, Configure, ConfigureRefusal, DescribeProducers, GrowTopics, ProducersRefusal,
    SetQuotas, Sizes,
};
use crate::subscription::{Settle, SettleRefusal, SubscriptionRef, SubscriptionRefusal};

/// Names one request of a connection until its reply comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a door asks.
#[derive(Debug)]
pub enum Request {
    /// Append batches to partitions.
    Append(Append),
    /// Append here and settle there, in one frame: all of it, or nothing.
    Atomic(Box<Atomic>),
    /// Read from partitions, waiting for more if there is too little.
    Read(Read),
    /// Find offsets by time, or the ends of partitions.
    FindOffsets(Vec<FindOffset>),
    /// Find where leaderships ended.
    FindEpochEnds(Vec<FindEpochEnd>),
    /// Create topics.
    CreateTopics(CreateTopics),
    /// Delete topics.
    DeleteTopics(Vec<TopicRef>),
    /// Change what holds for a topic.
    AlterTopic(AlterTopic),
    /// Change settings of topics, or of the broker.
    Configure(Configure),
    /// Change quotas.
    SetQuotas(SetQuotas),
    /// Give topics more partitions.
    GrowTopics(GrowTopics),
    /// Tell which producers partitions remember.
    DescribeProducers(DescribeProducers),
    /// Tell what partitions take.
    Sizes(Vec<PartitionId>),
    /// Give up records below an offset.
    Trim(Vec<Trim>),
    /// Hand out a producer id.
    NewProducer(NewProducer),
    /// Do something in a consumer group.
    Group(crate::group::GroupRequest),
    /// Do something with a subscription or a queue.
    Subscription(crate::subscription::SubscriptionRequest),
}

impl Request {
    /// How many things it asks about; a door cuts long lists into several requests.
    #[must_use]
    pub fn parts(&self) -> usize {
        match self {
            Self::Append(append) => append.partitions.len(),
            Self::Atomic(atomic) => atomic.parts(),
            Self::Read(read) => read.partitions.len(),
            Self::FindOffsets(list) => list.len(),
            Self::FindEpochEnds(list) => list.len(),
            Self::CreateTopics(create) => create.topics.len(),
            Self::DeleteTopics(list) => list.len(),
            Self::Trim(list) => list.len(),
            Self::Configure(configure) => configure.targets.len(),
            Self::SetQuotas(quotas) => quotas.entities.len(),
            Self::GrowTopics(grow) => grow.topics.len(),
            Self::DescribeProducers(describe) => describe.partitions.len(),
            Self::Sizes(list) => list.len(),
            Self::Subscription(ask) => ask.parts(),
            Self::AlterTopic(_) | Self::NewProducer(_) | Self::Group(_) => 1,
        }
    }
}

/// So many parts are one visit to the lane, unless one request alone has more: about a tenth of a
/// millisecond in which nobody else is served.
pub const VISIT_PARTS_MAX: usize = 256;

/// What the broker answers; the variant is that of the request.
#[derive(Debug)]
pub enum Reply {
    /// To [`Request::Append`]: an answer for each of its partitions, in order.
    Append(Vec<Result<Appended, AppendRefusal>>),
    /// To [`Request::Atomic`]: where its batches went, in order.
    Atomic(Result<Vec<Appended>, AtomicRefusal>),
    /// To [`Request::Read`]: an answer for each of its partitions, in order.
    Read(Vec<Result<ReadOut, ReadRefusal>>),
    /// To [`Request::FindOffsets`], in order.
    FindOffsets(Vec<Result<FoundOffset, ReadRefusal>>),
    /// To [`Request::FindEpochEnds`], in order. `None`: nothing that old is known.
    FindEpochEnds(Vec<Result<Option<(LeaderEpoch, Offset)>, ReadRefusal>>),
    /// To [`Request::CreateTopics`], in order.
    CreateTopics(Vec<Result<CreatedTopic, CreateRefusal>>),
    /// To [`Request::DeleteTopics`], in order.
    DeleteTopics(Vec<Result<(TopicId, TopicName), DeleteRefusal>>),
    /// To [`Request::AlterTopic`].
    AlterTopic(Result<(), AlterRefusal>),
    /// To [`Request::Configure`], in order.
    Configure(Vec<Result<(), ConfigureRefusal>>),
    /// To [`Request::SetQuotas`], in order.
    SetQuotas(Vec<Result<(), ConfigureRefusal>>),
    /// To [`Request::GrowTopics`], in order.
    GrowTopics(Vec<Result<(), AlterRefusal>>),
    /// To [`Request::DescribeProducers`], in order.
    DescribeProducers(Vec<Result<Vec<ActiveProducer>, ProducersRefusal>>),
    /// To [`Request::Sizes`].
    Sizes(Sizes),
    /// To [`Request::Trim`], in order: the first offset that can be read.
    Trim(Vec<Result<Offset, TrimRefusal>>),
    /// To [`Request::NewProducer`].
    NewProducer(Result<(ProducerId, ProducerEpoch), NewProducerRefusal>),
    /// To [`Request::Group`].
    Group(crate::group::GroupReply),
    /// To [`Request::Subscription`].
    Subscription(crate::subscription::SubscriptionReply),
}

/// A topic by name or by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By name.
    Name(TopicName),
    /// By id.
    Id(TopicId),
}

/// Append batches to partitions, each batch in one frame.
#[derive(Debug)]
pub struct Append {
    /// Which, and what. One partition may stand here more than once.
    pub partitions: Vec<AppendPartition>,
}

/// Batches for one partition.
#[derive(Debug)]
pub struct AppendPartition {
    /// The partition, as the catalog names it.
    pub partition: PartitionId,
    /// A checked batch (see `Batch::check_produced`); offsets and epoch are stamped by the lane.
    pub batch: Batch,
    /// What queue-style readers must know of its records; empty if no reader needs any.
    pub facts: Bytes,
}

/// Append here and settle there, in one frame: all of it, or nothing.
#[derive(Debug, Default)]
pub struct Atomic {
    /// What is appended; one batch to each partition, none of an idempotent producer.
    pub append: Vec<AppendPartition>,
    /// What came of records that somebody holds.
    pub settle: Vec<Settle>,
    /// Records that nobody holds, and which are then what is appended.
    pub take: Vec<Take>,
}

/// Records of one partition that nobody holds are taken out of a subscription.
#[derive(Clone, Debug)]
pub struct Take {
    /// Of which subscription.
    pub subscription: SubscriptionRef,
    /// Of which partition.
    pub partition: PartitionId,
    /// Which.
    pub spans: Vec<Span>,
}

impl Atomic {
    /// How many things it asks about.
    #[must_use]
    pub fn parts(&self) -> usize {
        let settles = self.settle.iter().map(|settle| settle.items.len());
        let takes = self.take.iter().map(|take| take.spans.len());
        self.append.len() + settles.sum::<usize>() + takes.sum::<usize>()
    }
}

/// Why nothing was done of an [`Atomic`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AtomicRefusal {
    /// A batch is not appended.
    #[error(transparent)]
    Append(#[from] AppendRefusal),
    /// There is no such subscription.
    #[error(transparent)]
    Subscription(#[from] SubscriptionRefusal),
    /// A record is not settled.
    #[error(transparent)]
    Settle(#[from] SettleRefusal),
    /// Two batches for one partition, a batch of an idempotent producer, or a record twice.
    #[error("not possible in one frame: {0}")]
    Mixed(&'static str),
}

/// Where a batch went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base: Offset,
    /// First offset that the partition has.
    pub log_start: Offset,
    /// Whether the batch had been taken before (an idempotent producer's retry).
    pub duplicate: bool,
    /// Records whose id came before, so that somebody gets the first alone: their places in the batch, which
    /// rise, and the offsets of the first ones.
    pub again: Vec<(usize, Offset)>,
}

/// Why a batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// No such partition, or its topic was deleted.
    #[error("partition {0} does not exist")]
    UnknownPartition(PartitionId),
    /// The producer's sequence or epoch is wrong.
    #[error(transparent)]
    Partition(#[from] PartitionRefusal),
    /// The disk is full; reading and consuming go on.
    #[error("the disk is full")]
    DiskFull,
    /// More is waiting to be written than the broker allows.
    #[error("too much is waiting to be written")]
    Overloaded,
    /// Readers of the topic have begun to need more of each record than was worked out: to be worked out
    /// and sent again.
    #[error("readers of the topic need more of its records since just now; send them again")]
    FactsOwed,
    /// A subscription that refuses more than may wait has that many.
    #[error("subscription \"{subscription}\" takes no more: {why}")]
    QueueFull {
        /// Which.
        subscription: SubscriptionName,
        /// Of what there are enough.
        why: QueueRefusal,
    },
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// Which records a reader may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All that are durable.
    #[default]
    Uncommitted,
    /// Only those below the last stable offset.
    Committed,
}

/// Read from partitions.
#[derive(Debug)]
pub struct Read {
    /// Where from.
    pub partitions: Vec<ReadPartition>,
    /// Wait until there are so many bytes ...
    pub bytes_min: u32,
    /// ... or so many milliseconds have passed, or a partition has an error.
    pub wait_ms: u32,
    /// At most so many bytes in all, but at least one batch.
    pub bytes_max: u32,
    /// Which records.
    pub isolation: Isolation,
}

/// Read from one partition.
#[derive(Clone, Copy, Debug)]
pub struct ReadPartition {
    /// Which, as the catalog names it.
    pub partition: PartitionId,
    /// The first offset wanted.
    pub offset: Offset,
    /// At most so many bytes, but at least one batch if it is the first with any.
    pub bytes_max: u32,
    /// The leadership that the reader believes in, if it says.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The leadership of the last record it has, if it says: to find out what it must forget.
    pub last_epoch: Option<LeaderEpoch>,
}

/// What was read of a partition.
#[derive(Clone, Debug, Default)]
pub struct ReadOut {
    /// The first offset that is not yet durable.
    pub high_watermark: Offset,
    /// The first offset of an open transaction, or the high watermark.
    pub last_stable: Offset,
    /// The first offset there is.
    pub log_start: Offset,
    /// Whole batches, the first of which holds the wanted offset or comes after it.
    pub batches: Vec<Bytes>,
    /// Where the leadership of the reader's last record ended, if the reader has read beyond it.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefusal {
    /// No such partition, or its topic was deleted.
    #[error("partition {0} does not exist")]
    UnknownPartition(PartitionId),
    /// The offset is below the first or beyond the last.
    #[error("offset {offset} lies outside {start}..{end}")]
    OutOfRange {
        /// What was asked.
        offset: Offset,
        /// First offset there is.
        start: Offset,
        /// First offset there is not.
        end: Offset,
    },
    /// The reader believes in an older leadership.
    #[error("leader epoch is {}", .current.0)]
    FencedEpoch {
        /// The one that holds.
        current: LeaderEpoch,
    },
    /// The reader believes in a leadership that is not yet known here.
    #[error("leader epoch is only {}", .current.0)]
    UnknownEpoch {
        /// The one that holds.
        current: LeaderEpoch,
    },
    /// The stored bytes are damaged; offsets beyond `last` can be read.
    #[error("offsets {base} to {last} are damaged on disk")]
    Damaged {
        /// First damaged offset.
        base: Offset,
        /// Last damaged offset.
        last: Offset,
    },
    /// The store cannot be read at the moment.
    #[error("the store cannot be read: {0}")]
    Unavailable(String),
}

/// Which offset of a partition is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The first that can be read.
    Earliest,
    /// The one after the last that can be read.
    Latest,
    /// That of the first record with this timestamp or a later one, milliseconds since 1970.
    Time(i64),
    /// That of the record with the largest timestamp.
    MaxTimestamp,
}

/// Find an offset of a partition.
#[derive(Clone, Copy, Debug)]
pub struct FindOffset {
    /// Which partition.
    pub partition: PartitionId,
    /// Which offset.
    pub seek: Seek,
    /// Which records count.
    pub isolation: Isolation,
    /// The leadership that the asker believes in, if it says.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// An offset that was found. Without an offset there is no such record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset, if there is one.
    pub offset: Option<Offset>,
    /// Timestamp of its record, if the question was about timestamps.
    pub timestamp: Option<i64>,
    /// The leadership that wrote it.
    pub leader_epoch: LeaderEpoch,
}

/// Find where a leadership ended.
#[derive(Clone, Copy, Debug)]
pub struct FindEpochEnd {
    /// Which partition.
    pub partition: PartitionId,
    /// Which leadership.
    pub epoch: LeaderEpoch,
    /// The leadership that the asker believes in, if it says.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Create topics.
#[derive(Debug)]
pub struct CreateTopics {
    /// Which.
    pub topics: Vec<CreateTopic>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// Create a topic.
#[derive(Clone, Debug)]
pub struct CreateTopic {
    /// Its name; the door has checked what its protocol allows.
    pub name: TopicName,
    /// How many partitions; `None` for as many as the broker's setting says.
    pub partitions: Option<u32>,
    /// What holds for it.
    pub settings: TopicSettings,
    /// A random id for it, from the door's shell.
    pub id: TopicId,
}

/// A topic that was created.
#[derive(Clone, Debug)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u32,
    /// What holds for it.
    pub settings: TopicSettings,
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateRefusal {
    /// There is one with that name.
    #[error("topic \"{0}\" exists already")]
    Exists(TopicName),
    /// No partitions, or more than the limit.
    #[error("{asked} partitions were asked for, 1 to {most} are possible")]
    PartitionCount {
        /// What was asked.
        asked: u32,
        /// The limit.
        most: u32,
    },
    /// More than one command may create, or than there may be in all.
    #[error("{asked} partitions more were asked for, {most} more are possible at once")]
    TooMany {
        /// All that the command asked for.
        asked: u64,
        /// How many it might have.
        most: u32,
    },
    /// The name is empty or too long.
    #[error("the name is not possible: {0}")]
    Name(String),
    /// The disk is full; reading and consuming go on.
    #[error("the disk is full")]
    DiskFull,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// Why a topic was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRefusal {
    /// There is none.
    #[error("there is no such topic")]
    Unknown,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// Change what holds for a topic: all of it in one frame, or nothing.
#[derive(Clone, Debug)]
pub struct AlterTopic {
    /// Which.
    pub topic: TopicRef,
    /// Edits of what is stated of it at that moment, whoever else edits meanwhile; `None` leaves it.
    pub settings: Option<Vec<Edit>>,
    /// How many partitions it has from now on, not fewer than it has; `None` leaves them.
    pub partitions: Option<u32>,
}

/// Why a topic was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterRefusal {
    /// There is none.
    #[error("there is no such topic")]
    Unknown,
    /// Fewer than there are, or more than the limit.
    #[error("{asked} partitions were asked for, {least} to {most} are possible")]
    PartitionCount {
        /// What was asked.
        asked: u32,
        /// How many there are.
        least: u32,
        /// The limit.
        most: u32,
    },
    /// More than one command may create, or than there may be in all.
    #[error("{asked} partitions more were asked for, {most} more are possible at once")]
    TooMany {
        /// All that the command asked for.
        asked: u64,
        /// How many it might have.
        most: u32,
    },
    /// A subscription goes by key or by priority, which more partitions would break.
    #[error(
        "subscription \"{0}\" goes by key or by priority, which more partitions would break: let it go by \
         place first, or delete it"
    )]
    Ordered(SubscriptionName),
    /// A setting is not possible.
    #[error(transparent)]
    Setting(#[from] SettingRefusal),
    /// The disk is full; reading and consuming go on.
    #[error("the disk is full")]
    DiskFull,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// Give up records below an offset.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    /// Of which partition.
    pub partition: PartitionId,
    /// The first that stays; `None` for the high watermark.
    pub to: Option<Offset>,
}

/// Why nothing was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrimRefusal {
    /// No such partition.
    #[error("partition {0} does not exist")]
    UnknownPartition(PartitionId),
    /// Its topic is compacted and nothing else: records go when newer ones of their keys come.
    #[error("records of partition {0} go when newer ones of their keys come")]
    KeepsNewest(PartitionId),
    /// The offset lies beyond the high watermark.
    #[error(transparent)]
    Partition(#[from] PartitionRefusal),
}

/// Hand out a producer id.
#[derive(Clone, Copy, Debug)]
pub struct NewProducer {
    /// What the producer has, if it asks for the next epoch of it.
    pub current: Option<(ProducerId, ProducerEpoch)>,
}

/// Why no producer id was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewProducerRefusal {
    /// Half of what the producer says it has is missing.
    #[error("a producer id without an epoch, or the reverse")]
    NoIncarnation,
    /// There are no more ids.
    #[error("all producer ids are taken")]
    Exhausted,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}
