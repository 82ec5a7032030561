//! What the API needs of the broker. The program implements it; the API knows nothing else.
//!
//! Answers are about durable things, as everywhere. Names are those of the default virtual host.
//! Futures are boxed, so that the API is compiled once and a test can bring a backend of its own.

use std::pin::Pin;

use crate::model::{
    AlterTopic, Broker, Check, CreateTopic, GroupDetail, GroupList, OffsetsReset, Position, Record,
    ResetOffsets, TopicDetail, TopicPage, TrimTopic,
};

pub use crate::problem::Refusal;
use crate::queues::Queues;

/// What a backend without it answers.
fn not_here(what: &str) -> Refusal {
    Refusal::new(
        crate::catalogue::Code::Unsupported,
        format!("{what}, by this backend"),
    )
}

/// A future of the backend.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// The broker, as the API sees it.
pub trait Backend: Send + Sync {
    /// Up to `limit` topics in the order of their names, those after the name `after`.
    fn list_topics<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Answer<'a, TopicPage>;

    /// One topic with its partitions.
    fn describe_topic<'a>(&'a self, name: &'a str) -> Answer<'a, TopicDetail>;

    /// Creates a topic, or only says what would be created if `validate_only` is set.
    fn create_topic(&self, topic: CreateTopic) -> Answer<'_, TopicDetail>;

    /// Changes a topic's settings or raises its number of partitions, both or neither.
    fn alter_topic<'a>(&'a self, name: &'a str, change: AlterTopic) -> Answer<'a, TopicDetail>;

    /// Deletes a topic with all its records.
    fn delete_topic<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;

    /// Gives up records of a topic.
    fn trim_topic<'a>(&'a self, _name: &'a str, _trim: TrimTopic) -> Answer<'a, TopicDetail> {
        Box::pin(async { Err(not_here("trimming topics")) })
    }

    /// All consumer groups, by name.
    fn list_groups(&self) -> Answer<'_, GroupList> {
        Box::pin(async { Err(not_here("consumer groups")) })
    }

    /// One group with its members and offsets.
    fn describe_group<'a>(&'a self, _name: &'a str) -> Answer<'a, GroupDetail> {
        Box::pin(async { Err(not_here("consumer groups")) })
    }

    /// Sets offsets of a group without members anew, or only says what would change.
    fn reset_group<'a>(&'a self, _name: &'a str, _reset: ResetOffsets) -> Answer<'a, OffsetsReset> {
        Box::pin(async { Err(not_here("consumer groups")) })
    }

    /// Deletes a group without members, with its offsets.
    fn delete_group<'a>(&'a self, _name: &'a str) -> Answer<'a, ()> {
        Box::pin(async { Err(not_here("consumer groups")) })
    }

    /// Publishes records to a topic: an answer for each, in order. The outer error is for all of them.
    fn publish<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<Publish>,
    ) -> Answer<'a, Vec<Result<Position, Refusal>>>;

    /// Reads records of one partition, waiting for the first if there is none.
    fn read<'a>(&'a self, topic: &'a str, read: Read) -> Answer<'a, ReadPart>;

    /// Queues and subscriptions.
    ///
    /// # Errors
    ///
    /// [`crate::catalogue::Code::Unsupported`] if there are none of them here.
    fn queues(&self) -> Result<&dyn Queues, Refusal> {
        Err(not_here("queues and subscriptions"))
    }

    /// What the broker holds, and what is wrong with it.
    fn status(&self) -> Answer<'_, Broker>;

    /// Whether the broker's loops turn. Must not touch a disk or another machine, nor wait for them.
    fn live(&self) -> Vec<Check>;

    /// Whether it can take work: storage writable, listeners up, joined.
    fn ready(&self) -> Answer<'_, Vec<Check>>;

    /// The counters since the start. Never go down while the process lives.
    fn counters(&self) -> Answer<'_, Counters>;
}

pub use mulgil_broker::publish::NewRecord as Publish;

/// Which records to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The partition.
    pub partition: u32,
    /// Where to begin.
    pub from: Begin,
    /// At most so many records.
    pub records_max: u32,
    /// Stop at about so many bytes of keys, values and headers, but give at least one record.
    pub bytes_max: u32,
    /// If there is none, wait so long for the first.
    pub wait_ms: u32,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The first record there is.
    Earliest,
    /// What comes after the last record.
    Latest,
    /// This offset.
    Offset(i64),
    /// The first record with this timestamp or a later one, milliseconds since 1970.
    Time(i64),
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadPart {
    /// Records in order.
    pub records: Vec<Record>,
    /// Where to read on. Not always the last offset and one: offsets can be left out.
    pub next: i64,
    /// First offset there is.
    pub start: i64,
    /// First offset that is not yet there.
    pub end: i64,
}

/// All counters, for `/metrics`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Per protocol.
    pub protocols: Vec<ProtocolCounters>,
    /// Messages given up, by reason.
    pub messages_dropped: Vec<(&'static str, u64)>,
    /// From handing a group of frames to the store until it is written, seconds.
    pub storage_append: Histogram,
    /// Of one sync, seconds.
    pub storage_fsync: Histogram,
    /// Of one group of frames, which share a write and a sync, bytes.
    pub storage_group: Histogram,
    /// What the broker holds and does.
    pub broker: BrokerCounters,
    /// What queues and subscriptions hold, if that can be told at present.
    pub queues: Option<QueueCounters>,
    /// The process.
    pub process: ProcessCounters,
    /// Each alarm that exists, and whether it is raised.
    pub alarms: Vec<(&'static str, bool)>,
}

/// What the broker holds and does. Levels, but for those that say that they are since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerCounters {
    /// Topics there are.
    pub topics: u64,
    /// Partitions there are.
    pub partitions: u64,
    /// Consumer groups there are.
    pub groups: u64,
    /// How many there may be.
    pub groups_max: u64,
    /// Bytes of names and committed offsets of all groups, with what these take in memory.
    pub group_bytes: u64,
    /// How many these may be.
    pub group_bytes_max: u64,
    /// Bytes of records that are kept.
    pub stored_bytes: u64,
    /// Answers that wait for the disk.
    pub held_answers: u64,
    /// Reads that wait for records.
    pub waiting_reads: u64,
    /// Reads that wait for a thread of the read pool.
    pub read_queue: u64,
    /// Reads handed to the read pool since the start.
    pub cold_reads: u64,
    /// Bytes of frames in memory for readers of the end.
    pub tail_bytes: u64,
    /// Bytes that the index takes in memory.
    pub index_bytes: u64,
    /// Bytes of answers that wait to be sent.
    pub unsent_bytes: u64,
    /// Chunks there are.
    pub chunks: u64,
    /// Chunks that are kept open for readers.
    pub open_chunks: u64,
    /// Passes of regrouping since the start.
    pub regroup_passes: u64,
    /// Bytes that these have read.
    pub regroup_read_bytes: u64,
    /// Bytes that these have written.
    pub regroup_written_bytes: u64,
    /// Checkpoints written since the start.
    pub checkpoints: u64,
    /// Bytes that the start took out of the log.
    pub quarantine_bytes: u64,
    /// Ranges of offsets whose bytes are damaged.
    pub damaged_ranges: u64,
    /// Pages that the disk did not give back, each time that one was met.
    pub unreadable_pages: u64,
    /// Space on the disk of the data directory, bytes.
    pub disk_bytes: u64,
    /// What of it is free.
    pub disk_free_bytes: u64,
}

/// What all queues and subscriptions hold together. Levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Subscriptions there are, those of queues among them.
    pub subscriptions: u64,
    /// Messages that anybody may have.
    pub available: u64,
    /// Messages that somebody holds.
    pub acquired: u64,
    /// Messages that wait for their time.
    pub scheduled: u64,
    /// Messages that are given up, and wait for their dead-letter topic.
    pub archiving: u64,
    /// For how long the oldest message that is not settled has been there, at least.
    pub oldest_age_seconds: u64,
}

/// The process, by the names that Prometheus' own client libraries use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessCounters {
    /// Memory that it really takes, bytes.
    pub resident_memory_bytes: u64,
    /// Files that it has open.
    pub open_fds: u64,
    /// Files that it may have open.
    pub max_fds: u64,
}

/// Counters of one protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProtocolCounters {
    /// `kafka`, `amqp091`, `amqp10`, `sqs`, or `http` for the admin API.
    pub protocol: &'static str,
    /// Messages taken.
    pub messages_published: u64,
    /// Messages handed out.
    pub messages_delivered: u64,
    /// Bytes of the batches of messages taken, compressed ones as they are.
    pub message_bytes_published: u64,
    /// The same of messages handed out.
    pub message_bytes_delivered: u64,
    /// Of its connections, if they are counted.
    pub connections: Option<ConnectionCounters>,
    /// Errors that clients were told, by the protocol's name for them.
    pub errors: Vec<(String, u64)>,
    /// Seconds from request to answer, by operation.
    pub request_duration: Vec<(String, Histogram)>,
}

/// Connections of one protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionCounters {
    /// That are open.
    pub open: u64,
    /// That were ever opened.
    pub opened: u64,
    /// That were refused because there were too many.
    pub refused: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// That were closed, by reason.
    pub closed: Vec<(&'static str, u64)>,
    /// Seconds during which connections were held back, by cause.
    pub backpressure_seconds: Vec<(&'static str, f64)>,
}

/// A histogram as Prometheus has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds in rising order, each with how many lay at or below it (cumulative).
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}
