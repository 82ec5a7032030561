//! Subscriptions and queues, as doors and the admin API ask for them. No protocol's name appears here.
//!
//! A subscription reads a topic as a queue: each record is handed to one consumer, locked while that
//! works on it, and settled by a [`Receipt`]. A *queue* is a topic of one partition with
//! `reclaim_on_ack` and a subscription of the same name.
//!
//! Two ways lead to records. [`Receive`] takes what there is, or waits a while, under locks that
//! outlive the connection. [`Attach`] makes a consumer of the connection, [`Grant`] gives it credit, and
//! each [`SubscriptionRequest::Next`] waits for records for it: what is locked for as long as it is attached comes
//! back when the connection goes. Both answer *stretches* of offsets ([`Acquired`]); their records are read
//! by offset with [`crate::request::Read`], as every reader reads, and are then [`Delivered`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use mulgil_core::machine::{Elapsed, WallTime};
pub use mulgil_core::queue::{
    Claim, ConsumerId, Counts, LockEpoch, LockTerm, Outcome, QueueRefusal, Reason, RecordState,
    Span, Tally, Tries,
};
pub use mulgil_core::selector::{Selector, SelectorError};
use mulgil_meta::settings::SettingRefusal;
pub use mulgil_meta::subscription::{
    Filter, Order, OutOfBounds, OverflowPolicy, RetryPolicy, Subscription, SubscriptionName,
    SubscriptionSettings,
};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, SubscriptionId, TopicId};

use crate::request::{CreateRefusal, CreateTopic, DeleteRefusal, TopicRef};

/// Most records that one [`Receive`] or one answer to [`SubscriptionRequest::Next`] hands out, whatever is asked.
pub const RECORDS_MAX: u32 = 1_000;
/// Most records that one request settles, in stretches or not; longer lists are cut by whoever asks.
pub const SETTLEMENTS_MAX: usize = 10_000;
/// Most credit that a consumer has at one time.
pub const CREDIT_MAX: u32 = 1_000_000;
/// Longest wait for records, milliseconds.
pub const WAIT_MS_MAX: u32 = 60 * 60 * 1_000;
/// Most that a consumer may say of a record that it rejects, bytes.
pub const WORDS_BYTES_MAX: usize = 1_024;
/// Most records that one [`Browse`] looks at.
pub const BROWSE_MAX: u32 = 10_000;
/// Most lines of one answer to [`SubscriptionRequest::List`].
pub const LINES_MAX: u32 = 10_000;
/// Most consumers, waiting receivers included, of one subscription.
pub const CONSUMERS_MAX: usize = 10_000;
/// Most of them over all subscriptions: some hundred bytes each.
pub const CONSUMERS_ALL_MAX: usize = 100_000;
/// Most records of one subscription's partition that are locked at one time: about 120 bytes each.
pub const LOCKED_MAX: u64 = 1_000_000;

/// A subscription by name or by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionRef {
    /// By name.
    Name(SubscriptionName),
    /// By id.
    Id(SubscriptionId),
}

/// What is asked.
#[derive(Debug)]
pub enum SubscriptionRequest {
    /// Create a subscription of a topic that is there.
    Create(Box<CreateSubscription>),
    /// Create a queue: a topic and its subscription, in one frame.
    CreateQueue(Box<CreateQueue>),
    /// Let other settings hold for a subscription.
    Alter {
        /// Which.
        subscription: SubscriptionRef,
        /// All that holds from now on.
        settings: SubscriptionSettings,
    },
    /// Delete a subscription. What it had locked is locked no more, and receipts are worth nothing.
    Delete(SubscriptionRef),
    /// Delete a queue: the topic of the subscription, with all of its subscriptions.
    DeleteQueue(SubscriptionRef),
    /// Name subscriptions, by name.
    List(List),
    /// Describe one.
    Describe(SubscriptionRef),
    /// Make a consumer of this connection.
    Attach(Attach),
    /// Give a consumer credit for more records.
    Grant(Grant),
    /// Wait for records for a consumer. One such request of a consumer waits at a time.
    Next {
        /// Which.
        consumer: ConsumerId,
        /// Wait no longer than so many milliseconds.
        wait_ms: u32,
    },
    /// Take a consumer's credit away. It keeps what it holds.
    Revoke(ConsumerId),
    /// Let a consumer go; what it held under locks bound to it comes back.
    Detach {
        /// Which.
        consumer: ConsumerId,
        /// Whether that counts as a failed try of what it held.
        failed: bool,
    },
    /// Take what there is, or wait for a while.
    Receive(Receive),
    /// Say what came of records.
    Settle(Settle),
    /// Let all that waits go.
    Purge {
        /// Of which.
        subscription: SubscriptionRef,
        /// Whether what is locked goes, too; its receipts are worth nothing then.
        held: bool,
    },
    /// Go on elsewhere: what was settled from there on is handed out once more, and nothing below.
    Seek {
        /// Which.
        subscription: SubscriptionRef,
        /// Where, in each of these partitions; the others stay. What the log has no more is passed over, and
        /// nothing lies beyond the end.
        to: Vec<(PartitionId, Offset)>,
    },
    /// Look where records stand, and touch nothing.
    Browse(Browse),
}

impl SubscriptionRequest {
    /// How many things it asks about.
    #[must_use]
    pub const fn parts(&self) -> usize {
        if let Self::Settle(settle) = self {
            settle.items.len()
        } else {
            1
        }
    }
}

/// What is answered.
#[derive(Debug)]
pub enum SubscriptionReply {
    /// To [`SubscriptionRequest::Create`].
    Created(Result<Arc<Subscription>, SubscriptionRefusal>),
    /// To [`SubscriptionRequest::CreateQueue`].
    QueueCreated(Result<Arc<Subscription>, SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Alter`].
    Altered(Result<(), SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Delete`] and [`SubscriptionRequest::DeleteQueue`].
    Deleted(Result<(), SubscriptionRefusal>),
    /// To [`SubscriptionRequest::List`].
    Listed(Vec<SubscriptionLine>),
    /// To [`SubscriptionRequest::Describe`].
    Described(Result<Box<SubscriptionPicture>, SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Attach`]: the consumer's name from here on.
    Attached(Result<ConsumerId, SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Grant`], [`SubscriptionRequest::Revoke`] and [`SubscriptionRequest::Detach`].
    Done(Result<(), SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Next`] and [`SubscriptionRequest::Receive`]; none if nothing came in time.
    Acquired(Result<Vec<Acquired>, SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Settle`], in order.
    Settled(Result<Vec<Result<(), SettleRefusal>>, SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Purge`]: how many went.
    Purged(Result<u64, SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Seek`]: all partitions, or none.
    Sought(Result<(), SubscriptionRefusal>),
    /// To [`SubscriptionRequest::Browse`].
    Browsed(Result<Browsed, SubscriptionRefusal>),
}

/// From where a new subscription reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BeginAt {
    /// From the first record that there is.
    #[default]
    Start,
    /// From the first that comes behind its creation.
    End,
    /// From these offsets on, of those that are there; where none is said from the first.
    Offsets(Vec<(PartitionId, Offset)>),
}

/// Create a subscription.
#[derive(Clone, Debug)]
pub struct CreateSubscription {
    /// Its name.
    pub name: SubscriptionName,
    /// What it reads.
    pub topic: TopicRef,
    /// From where on.
    pub begin: BeginAt,
    /// Which records it wants, for ever; all of them without one.
    pub filter: Option<Selector>,
    /// What holds for it.
    pub settings: SubscriptionSettings,
}

/// Create a queue.
#[derive(Clone, Debug)]
pub struct CreateQueue {
    /// Its topic. Whatever is said there, it has one partition and reclaims what is acknowledged.
    pub topic: CreateTopic,
    /// What holds for its subscription, which is called as the topic is.
    pub settings: SubscriptionSettings,
}

/// Name subscriptions.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Of this topic alone.
    pub topic: Option<TopicRef>,
    /// Those behind this name.
    pub after: Option<SubscriptionName>,
    /// At most so many, and no more than [`LINES_MAX`].
    pub most: u32,
}

/// A subscription in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionLine {
    /// What metadata has of it.
    pub subscription: Arc<Subscription>,
    /// How many records stand where, over all partitions.
    pub counts: Counts,
    /// What became of records so far, over all partitions.
    pub tally: Tally,
    /// How many consumers are attached.
    pub consumers: usize,
    /// Not after when the oldest record that is not settled was appended, if there is one.
    pub oldest: Option<WallTime>,
}

/// A subscription, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionPicture {
    /// What metadata has of it.
    pub subscription: Arc<Subscription>,
    /// How it stands in each partition, by the topic's order.
    pub partitions: Vec<PartitionPicture>,
    /// How many consumers are attached.
    pub consumers: usize,
}

/// How a subscription stands in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionPicture {
    /// Which.
    pub partition: PartitionId,
    /// All below is settled.
    pub start: Offset,
    /// The first offset that it does not know of yet.
    pub end: Offset,
    /// How many records stand where.
    pub counts: Counts,
    /// What became of records so far.
    pub tally: Tally,
    /// Bytes of memory, about.
    pub memory_bytes: usize,
    /// Not after when the oldest record that is not settled was appended, if there is one.
    pub oldest: Option<WallTime>,
}

/// Make a consumer of this connection.
#[derive(Clone, Debug)]
pub struct Attach {
    /// Of which subscription.
    pub subscription: SubscriptionRef,
    /// Those with more are served first, as long as they have credit.
    pub priority: i32,
    /// Whether it wants to be the only one.
    pub exclusive: bool,
    /// How it locks what it gets.
    pub lock: LockTerm,
}

/// Give a consumer credit.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// Which.
    pub consumer: ConsumerId,
    /// For so many records more than before; [`CREDIT_MAX`] at most in all.
    pub credit: u32,
}

/// Take what there is, or wait for a while.
#[derive(Clone, Debug)]
pub struct Receive {
    /// Of which subscription.
    pub subscription: SubscriptionRef,
    /// At most so many, and no more than [`RECORDS_MAX`].
    pub records_max: u32,
    /// How long they are locked, milliseconds; if not said, as the subscription's settings say.
    pub lock_ms: Option<u32>,
    /// How long to wait for the first, milliseconds.
    pub wait_ms: u32,
    /// No record is handed out while so many of a partition are locked; [`LOCKED_MAX`] if not said.
    pub locked_max: Option<u64>,
    /// Whether several records of one key may come together, in their order, where records go by key. Others
    /// of it wait until all of them are settled.
    pub keys_together: bool,
}

/// Records that were handed out together: as many as `span` has, or fewer if offsets in it hold nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// By which subscription.
    pub subscription: SubscriptionId,
    /// Of which partition.
    pub partition: PartitionId,
    /// Which.
    pub span: Span,
    /// The acquisition.
    pub epoch: LockEpoch,
    /// How often each was tried, this time included among the acquired.
    pub tries: Tries,
    /// When the lock ends, if it does, by running time.
    pub until: Option<Elapsed>,
}

impl Acquired {
    /// The receipt of one of the records.
    #[must_use]
    pub const fn receipt(&self, offset: Offset) -> Receipt {
        Receipt {
            subscription: self.subscription,
            partition: self.partition,
            offset,
            epoch: self.epoch,
        }
    }
}

/// A record that was handed out, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// What it is settled by.
    pub receipt: Receipt,
    /// Its timestamp, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key, or none.
    pub key: Option<Bytes>,
    /// Its value, or none.
    pub value: Option<Bytes>,
    /// Its headers in their order; the keys are UTF-8 and may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// How often it was tried, this time included among the acquired.
    pub tries: Tries,
    /// When its lock ends, if it does, by running time.
    pub until: Option<Elapsed>,
}

/// What a record is settled by. It outlives the connection, and a restart if the lock does. As text, five
/// numbers with dots in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt {
    /// Of which subscription.
    pub subscription: SubscriptionId,
    /// Of which partition.
    pub partition: PartitionId,
    /// Which record.
    pub offset: Offset,
    /// Under which acquisition it is held.
    pub epoch: LockEpoch,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subscription,
            partition,
            offset,
            epoch,
        } = self;
        let LockEpoch { leader, number } = epoch;
        write!(
            f,
            "{subscription}.{partition}.{}.{}.{number}",
            offset.0, leader.0
        )
    }
}

/// A text is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a receipt is five numbers with dots in between, as it was handed out")]
pub struct NoReceipt;

impl FromStr for Receipt {
    type Err = NoReceipt;

    fn from_str(text: &str) -> Result<Self, NoReceipt> {
        fn number<T: FromStr>(part: Option<&str>) -> Result<T, NoReceipt> {
            let part = part.filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
            part.and_then(|part| part.parse().ok()).ok_or(NoReceipt)
        }
        let mut parts = text.split('.');
        let receipt = Self {
            subscription: SubscriptionId(number(parts.next())?),
            partition: PartitionId(number(parts.next())?),
            offset: Offset(number(parts.next())?),
            epoch: LockEpoch {
                leader: LeaderEpoch(number(parts.next())?),
                number: number(parts.next())?,
            },
        };
        match parts.next() {
            None => Ok(receipt),
            Some(_) => Err(NoReceipt),
        }
    }
}

/// Say what came of records; an answer for each, in order.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Of which subscription.
    pub subscription: SubscriptionRef,
    /// Which records, and what came of them.
    pub items: Vec<Settlement>,
}

/// What came of a stretch of records: all of them, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Of which partition.
    pub partition: PartitionId,
    /// Which.
    pub span: Span,
    /// By what right.
    pub claim: Claim,
    /// What came of them: accepted, released now or at a time or as failed, rejected with words, or their
    /// lock renewed.
    pub outcome: Outcome,
}

impl Settlement {
    /// What came of the record of a receipt.
    #[must_use]
    pub fn of(receipt: Receipt, outcome: Outcome) -> Self {
        Self {
            partition: receipt.partition,
            span: Span::one(receipt.offset),
            claim: Claim::Receipt(receipt.epoch),
            outcome,
        }
    }
}

/// Why records are not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleRefusal {
    /// The subscription does not read such a partition.
    #[error("partition {0} is not of this subscription")]
    UnknownPartition(PartitionId),
    /// The lock ran out, they are settled, or somebody else holds them.
    #[error(transparent)]
    Queue(#[from] QueueRefusal),
    /// What is said of them is too long.
    #[error("what is said of a record has {bytes} bytes, {most} are possible")]
    Words {
        /// What came.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// The lock is longer than may be.
    #[error(transparent)]
    Lock(#[from] OutOfBounds),
}

/// Look where records stand.
#[derive(Clone, Debug)]
pub struct Browse {
    /// Of which subscription.
    pub subscription: SubscriptionRef,
    /// Of which partition; if not said, the topic's first.
    pub partition: Option<PartitionId>,
    /// From this offset on; those below the subscription's start are passed over.
    pub from: Offset,
    /// At most so many unsettled ones, and no more than [`BROWSE_MAX`] offsets are looked at.
    pub most: u32,
}

/// What stands where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browsed {
    /// Of which partition.
    pub partition: PartitionId,
    /// Unsettled records, by offset.
    pub records: Vec<BrowsedRecord>,
    /// Where to go on; `None` at the end.
    pub next: Option<Offset>,
}

/// Where one record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowsedRecord {
    /// Which.
    pub offset: Offset,
    /// Where it stands.
    pub state: RecordState,
    /// How often it was tried.
    pub tries: Tries,
}

/// Why a subscription is not changed or not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionRefusal {
    /// There is none.
    #[error("there is no such subscription")]
    Unknown,
    /// There is one with that name.
    #[error("subscription \"{0}\" exists already")]
    Exists(SubscriptionName),
    /// The topic to read is not there.
    #[error("there is no such topic")]
    UnknownTopic,
    /// The topic for what is given up is not there.
    #[error("there is no dead-letter topic {:032x}", .0.0)]
    UnknownDeadLetter(TopicId),
    /// What is given up would come back.
    #[error("a subscription can't send what it gives up to the topic that it reads")]
    DeadLetterToItself,
    /// The topic for what is given up is compacted, and would forget records of one key.
    #[error("a compacted topic can't take what is given up: it keeps one record of each key")]
    DeadLetter,
    /// The subscription does not read such a partition.
    #[error("partition {0} is not of this subscription")]
    UnknownPartition(PartitionId),
    /// The name is empty or too long.
    #[error("the name is not possible: {0}")]
    Name(String),
    /// A setting is not possible.
    #[error(transparent)]
    Setting(#[from] OutOfBounds),
    /// Strict priority only makes sense over all of a queue.
    #[error("order by priority needs a topic of one partition, this one has {0}")]
    Priority(usize),
    /// Too many with a filter.
    #[error("{0} subscriptions of the topic have a filter, more are not possible")]
    TooManyFilters(usize),
    /// Too many.
    #[error("there are {0} subscriptions, more are not possible")]
    TooMany(usize),
    /// The queue's topic was not created.
    #[error(transparent)]
    Topic(#[from] CreateRefusal),
    /// Settings of a queue's topic that don't go together.
    #[error(transparent)]
    TopicSetting(#[from] SettingRefusal),
    /// The queue's topic was not deleted.
    #[error(transparent)]
    TopicDeletion(#[from] DeleteRefusal),
    /// The subscription is not that of a queue: other names lead to its topic, or it reclaims nothing.
    #[error("this subscription is not that of a queue: delete it, or its topic")]
    NotAQueue,
    /// No such consumer of this connection.
    #[error("consumer {0} is not attached")]
    UnknownConsumer(ConsumerId),
    /// Too many consumers.
    #[error("{0} consumers are attached or wait, more are not possible")]
    TooManyConsumers(usize),
    /// Something is asked for that is 0 or too much.
    #[error("{what} takes 1 to {most}, not {asked}")]
    Amount {
        /// What.
        what: &'static str,
        /// What was asked.
        asked: u64,
        /// The limit.
        most: u64,
    },
    /// A request for records of this consumer waits already.
    #[error("a request for records of consumer {0} waits already")]
    Waits(ConsumerId),
    /// Too many records are locked.
    #[error("{0} records are locked, more are not possible before some are settled")]
    TooManyLocked(u64),
    /// The machine says no.
    #[error(transparent)]
    Queue(#[from] QueueRefusal),
    /// The subscription was deleted meanwhile.
    #[error("the subscription was deleted")]
    Deleted,
    /// The disk is full; working off what there is goes on.
    #[error("the disk is full")]
    DiskFull,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_comes_back_from_its_text_and_nothing_else_does() {
        let receipt = Receipt {
            subscription: SubscriptionId(3),
            partition: PartitionId(u64::MAX),
            offset: Offset(i64::MAX),
            epoch: LockEpoch {
                leader: LeaderEpoch(7),
                number: 12,
            },
        };
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
        for text in [
            "",
            "1.2.3.4",
            "1.2.3.4.5.6",
            "1.2.-3.4.5",
            "1.2.+3.4.5",
            "1.2.3.4.x",
            "1.2.3.4.",
        ] {
            assert_eq!(text.parse::<Receipt>(), Err(NoReceipt), "{text}");
        }
    }
}
