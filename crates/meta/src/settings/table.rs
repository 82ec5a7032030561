//! The rows of the table of settings. Defaults and bounds are Kafka's, so that what clients show, copy and
//! set fits; what a row means is said in `settings.rs`.

use super::{Setting, Standing, Takes};

const fn honoured(
    name: &'static str,
    takes: Takes,
    default: &'static str,
    about: &'static str,
) -> Setting {
    row(name, takes, default, about, Standing::Honoured)
}

const fn meaningless(
    name: &'static str,
    takes: Takes,
    default: &'static str,
    about: &'static str,
) -> Setting {
    row(name, takes, default, about, Standing::Meaningless)
}

const fn only(
    name: &'static str,
    takes: Takes,
    default: &'static str,
    about: &'static str,
) -> Setting {
    row(name, takes, default, about, Standing::Only)
}

const fn fixed(
    name: &'static str,
    takes: Takes,
    default: &'static str,
    about: &'static str,
) -> Setting {
    row(name, takes, default, about, Standing::Fixed)
}

const fn door(
    name: &'static str,
    takes: Takes,
    default: &'static str,
    about: &'static str,
) -> Setting {
    row(name, takes, default, about, Standing::Door)
}

const fn row(
    name: &'static str,
    takes: Takes,
    default: &'static str,
    about: &'static str,
    standing: Standing,
) -> Setting {
    Setting {
        name,
        own: None,
        takes,
        default,
        standing,
        inherits: None,
        about,
    }
}

impl Setting {
    /// What the HTTP API calls it.
    const fn own(self, name: &'static str) -> Self {
        Self {
            own: Some(name),
            ..self
        }
    }

    /// The broker's setting that holds for topics without this one.
    const fn or(self, broker: &'static str) -> Self {
        Self {
            inherits: Some(broker),
            ..self
        }
    }
}

/// Settings of a topic, by name.
pub const TOPIC: &[Setting] = &[
    honoured("cleanup.policy", Takes::Words(&["compact", "delete"]), "delete", "How old records go: delete by age and size, compact by key, both, or with an empty list not at all.").own("cleanup").or("log.cleanup.policy"),
    meaningless("compression.gzip.level", Takes::Int(-1, 9), "-1", "Each codec packs at a level of its own choice.").or("compression.gzip.level"),
    meaningless("compression.lz4.level", Takes::Int(1, 17), "9", "Each codec packs at a level of its own choice.").or("compression.lz4.level"),
    honoured("compression.type", Takes::Word(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "producer", "How batches are packed: as their producer packed them, or all in one way; a batch that is packed otherwise is packed anew when it is taken.").own("compression").or("compression.type"),
    meaningless("compression.zstd.level", Takes::Int(-131072, 22), "3", "Each codec packs at a level of its own choice.").or("compression.zstd.level"),
    honoured("delete.retention.ms", Takes::Long(0, i64::MAX), "86400000", "How long a compacted partition keeps the record that deletes a key.").own("delete_retention_ms").or("log.cleaner.delete.retention.ms"),
    only("errors.deadletterqueue.group.enable", Takes::Bool, "false", "share groups are not served yet."),
    meaningless("file.delete.delay.ms", Takes::Long(0, i64::MAX), "60000", "A topic has no files of its own.").or("log.segment.delete.delay.ms"),
    meaningless("flush.messages", Takes::Long(1, i64::MAX), "9223372036854775807", "What is synced, and when, is said by mulgil.durability.").or("log.flush.interval.messages"),
    meaningless("flush.ms", Takes::Long(0, i64::MAX), "9223372036854775807", "What is synced, and when, is said by mulgil.durability.").or("log.flush.interval.ms"),
    meaningless("follower.replication.throttled.replicas", Takes::Texts, "", "There is one broker, nothing is replicated."),
    meaningless("index.interval.bytes", Takes::Int(0, i32::MAX), "4096", "The index lists every batch.").or("log.index.interval.bytes"),
    meaningless("leader.replication.throttled.replicas", Takes::Texts, "", "There is one broker, nothing is replicated."),
    meaningless("local.retention.bytes", Takes::Long(-2, i64::MAX), "-2", "No storage is tiered: all that is kept is local.").or("log.local.retention.bytes"),
    meaningless("local.retention.ms", Takes::Long(-2, i64::MAX), "-2", "No storage is tiered: all that is kept is local.").or("log.local.retention.ms"),
    honoured("max.compaction.lag.ms", Takes::Long(1, i64::MAX), "9223372036854775807", "When a record must have been looked at by compaction.").own("max_compaction_lag_ms").or("log.cleaner.max.compaction.lag.ms"),
    meaningless("max.decompressed.message.bytes", Takes::Int(1, i32::MAX), "2147483639", "A batch may unpack to 128 MiB wherever it is unpacked.").or("max.decompressed.message.bytes"),
    honoured("max.message.bytes", Takes::Int(0, i32::MAX), "1048588", "Largest batch, bytes.").own("message_bytes_max").or("message.max.bytes"),
    honoured("message.timestamp.after.max.ms", Takes::Long(0, i64::MAX), "3600000", "How far a producer's timestamp may lie in the future.").own("timestamp_after_max_ms").or("log.message.timestamp.after.max.ms"),
    honoured("message.timestamp.before.max.ms", Takes::Long(0, i64::MAX), "9223372036854775807", "How far a producer's timestamp may lie in the past.").own("timestamp_before_max_ms").or("log.message.timestamp.before.max.ms"),
    honoured("message.timestamp.type", Takes::Word(&["CreateTime", "LogAppendTime"]), "CreateTime", "Whose time a record carries: the producer's, or that of the append.").own("timestamp_type").or("log.message.timestamp.type"),
    honoured("min.cleanable.dirty.ratio", Takes::Fraction, "0.5", "How much of a compacted partition must be unclean before it is worth a pass, to a thousandth.").own("min_cleanable_dirty_ratio").or("log.cleaner.min.cleanable.ratio"),
    honoured("min.compaction.lag.ms", Takes::Long(0, i64::MAX), "0", "How long a record is safe from compaction.").own("min_compaction_lag_ms").or("log.cleaner.min.compaction.lag.ms"),
    only("min.insync.replicas", Takes::Int(1, i32::MAX), "1", "there is one broker, which alone acknowledges.").or("min.insync.replicas"),
    honoured("mulgil.durability", Takes::Word(&["fsync", "os", "memory"]), "fsync", "What an acknowledgement means: on disk, handed to the system, or nothing.").own("durability"),
    honoured("mulgil.keep.at.least.ms", Takes::Long(0, i64::MAX), "0", "How long records stay although every subscription has settled them, so that one can go back to them. By whole batches.").own("keep_at_least_ms"),
    honoured("mulgil.read.headers", Takes::Bool, "false", "Whether delays and expiry that records ask for by headers count for those who read them as a queue. Batches are unpacked for it. Queues have it unless it is said otherwise.").own("read_headers"),
    honoured("mulgil.reclaim.on.ack", Takes::Bool, "false", "Whether records go once every subscription of the topic, of which there is at least one, has settled them. Queues have it.").own("reclaim_on_ack"),
    meaningless("preallocate", Takes::Bool, "false", "Chunks are shared by all topics and grow as they are filled.").or("log.preallocate"),
    meaningless("remote.copy.lag.bytes", Takes::Long(-1, i64::MAX), "-1", "No storage is tiered: all that is kept is local.").or("log.remote.copy.lag.bytes"),
    meaningless("remote.copy.lag.ms", Takes::Long(-1, i64::MAX), "0", "No storage is tiered: all that is kept is local.").or("log.remote.copy.lag.ms"),
    meaningless("remote.log.copy.disable", Takes::Bool, "false", "No storage is tiered: all that is kept is local."),
    meaningless("remote.log.delete.on.disable", Takes::Bool, "false", "No storage is tiered: all that is kept is local."),
    only("remote.storage.enable", Takes::Bool, "false", "no storage is tiered."),
    honoured("retention.bytes", Takes::Long(-1, i64::MAX), "-1", "How much of each partition is kept, bytes; -1 for no limit. By whole batches.").own("retention_bytes").or("log.retention.bytes"),
    honoured("retention.ms", Takes::Long(-1, i64::MAX), "604800000", "How long a record is kept; -1 for no limit. By whole batches.").own("retention_ms").or("log.retention.ms"),
    meaningless("segment.bytes", Takes::Int(1048576, i32::MAX), "1073741824", "There are no segments: records go by whole batches.").or("log.segment.bytes"),
    meaningless("segment.index.bytes", Takes::Int(4, i32::MAX), "10485760", "There are no segments: records go by whole batches.").or("log.index.size.max.bytes"),
    meaningless("segment.jitter.ms", Takes::Long(0, i64::MAX), "0", "There are no segments: records go by whole batches.").or("log.roll.jitter.ms"),
    meaningless("segment.ms", Takes::Long(1, i64::MAX), "604800000", "There are no segments: records go by whole batches.").or("log.roll.ms"),
    meaningless("unclean.leader.election.enable", Takes::Bool, "false", "There is one broker, nothing is replicated.").or("unclean.leader.election.enable"),
];

/// Settings of a topic that the door of one protocol reads, by name. They are shown where they are stated.
pub const DOOR: &[Setting] = &[
    door(
        "sqs.content.based.deduplication",
        Takes::Bool,
        "false",
        "FIFO queues of SQS: messages without a deduplication id get the digest of their body as one.",
    ),
    door(
        "sqs.deduplication.scope",
        Takes::Word(&["queue", "messageGroup"]),
        "queue",
        "FIFO queues of SQS: where a deduplication id is known.",
    ),
    door(
        "sqs.delay.seconds",
        Takes::Int(0, i32::MAX),
        "0",
        "How long nobody gets a message that was sent by SQS and did not say.",
    ),
    door(
        "sqs.maximum.message.size",
        Takes::Int(1024, i32::MAX),
        "1048576",
        "Largest message that SQS clients may send, bytes of body and attributes.",
    ),
    door(
        "sqs.modified.ms",
        Takes::Long(0, i64::MAX),
        "0",
        "When SQS clients changed the queue last, milliseconds since 1970.",
    ),
    door(
        "sqs.policy",
        Takes::Document,
        "",
        "The access policy that SQS clients gave the queue. It is kept and told.",
    ),
    door(
        "sqs.receive.wait.seconds",
        Takes::Int(0, 20),
        "0",
        "How long a receive by SQS waits that does not say.",
    ),
    door(
        "sqs.redrive.allow.policy",
        Takes::Document,
        "",
        "Which queues of SQS may name this one as their dead-letter queue.",
    ),
    door(
        "sqs.tags",
        Takes::Document,
        "",
        "The tags that SQS clients gave the queue, a JSON object.",
    ),
    door(
        "sqs.throughput.limit",
        Takes::Word(&["perQueue", "perMessageGroupId"]),
        "perQueue",
        "FIFO queues of SQS: told as it was said; there is no such limit.",
    ),
];

/// Settings of the broker, by name.
pub const BROKER: &[Setting] = &[
    fixed(
        "advertised.listeners",
        Takes::Text,
        "",
        "Where clients are told to connect, --advertise.",
    ),
    fixed(
        "auto.create.topics.enable",
        Takes::Bool,
        "true",
        "Whether asking for a topic may create it, --auto-create-topics.",
    ),
    fixed(
        "broker.id",
        Takes::Int(0, i32::MAX),
        "1",
        "The number of this broker.",
    ),
    meaningless(
        "compression.gzip.level",
        Takes::Int(-1, 9),
        "-1",
        "Each codec packs at a level of its own choice.",
    ),
    meaningless(
        "compression.lz4.level",
        Takes::Int(1, 17),
        "9",
        "Each codec packs at a level of its own choice.",
    ),
    honoured(
        "compression.type",
        Takes::Word(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer",
        "For topics that do not say: How batches are packed: as their producer packed them, or all in one way; a batch that is packed otherwise is packed anew when it is taken.",
    ),
    meaningless(
        "compression.zstd.level",
        Takes::Int(-131072, 22),
        "3",
        "Each codec packs at a level of its own choice.",
    ),
    fixed(
        "connections.max.idle.ms",
        Takes::Long(0, i64::MAX),
        "600000",
        "A connection that says nothing for so long is closed.",
    ),
    fixed(
        "default.replication.factor",
        Takes::Int(1, 1),
        "1",
        "There is one broker.",
    ),
    fixed(
        "delete.topic.enable",
        Takes::Bool,
        "true",
        "Topics can be deleted.",
    ),
    fixed(
        "fetch.max.bytes",
        Takes::Int(1024, i32::MAX),
        "57671680",
        "Largest answer to a fetch.",
    ),
    meaningless(
        "follower.replication.throttled.rate",
        Takes::Long(0, i64::MAX),
        "9223372036854775807",
        "There is one broker, nothing is replicated.",
    ),
    fixed(
        "group.initial.rebalance.delay.ms",
        Takes::Int(0, i32::MAX),
        "3000",
        "How long the first rebalance of an empty group waits for more members.",
    ),
    fixed(
        "group.max.session.timeout.ms",
        Takes::Int(0, i32::MAX),
        "1800000",
        "Longest session of a group's member.",
    ),
    fixed(
        "group.max.size",
        Takes::Int(1, i32::MAX),
        "10000",
        "Most members of a group.",
    ),
    fixed(
        "group.min.session.timeout.ms",
        Takes::Int(0, i32::MAX),
        "6000",
        "Shortest session of a group's member.",
    ),
    meaningless(
        "leader.replication.throttled.rate",
        Takes::Long(0, i64::MAX),
        "9223372036854775807",
        "There is one broker, nothing is replicated.",
    ),
    fixed(
        "listeners",
        Takes::Text,
        "",
        "Where the broker listens for Kafka clients, --kafka.",
    ),
    honoured(
        "log.cleaner.delete.retention.ms",
        Takes::Long(0, i64::MAX),
        "86400000",
        "For topics that do not say: How long a compacted partition keeps the record that deletes a key.",
    ),
    fixed(
        "log.cleaner.enable",
        Takes::Bool,
        "true",
        "Topics with cleanup.policy=compact are compacted.",
    ),
    honoured(
        "log.cleaner.max.compaction.lag.ms",
        Takes::Long(1, i64::MAX),
        "9223372036854775807",
        "For topics that do not say: When a record must have been looked at by compaction.",
    ),
    honoured(
        "log.cleaner.min.cleanable.ratio",
        Takes::Fraction,
        "0.5",
        "For topics that do not say: How much of a compacted partition must be unclean before it is worth a pass, to a thousandth.",
    ),
    honoured(
        "log.cleaner.min.compaction.lag.ms",
        Takes::Long(0, i64::MAX),
        "0",
        "For topics that do not say: How long a record is safe from compaction.",
    ),
    meaningless(
        "log.cleaner.threads",
        Takes::Int(0, i32::MAX),
        "1",
        "The keeper is one thread.",
    ),
    honoured(
        "log.cleanup.policy",
        Takes::Words(&["compact", "delete"]),
        "delete",
        "For topics that do not say: How old records go: delete by age and size, compact by key, both, or with an empty list not at all.",
    ),
    meaningless(
        "log.flush.interval.messages",
        Takes::Long(1, i64::MAX),
        "9223372036854775807",
        "What is synced, and when, is said by mulgil.durability.",
    ),
    meaningless(
        "log.flush.interval.ms",
        Takes::Long(0, i64::MAX),
        "9223372036854775807",
        "What is synced, and when, is said by mulgil.durability.",
    ),
    meaningless(
        "log.index.interval.bytes",
        Takes::Int(0, i32::MAX),
        "4096",
        "The index lists every batch.",
    ),
    meaningless(
        "log.index.size.max.bytes",
        Takes::Int(4, i32::MAX),
        "10485760",
        "There are no segments: records go by whole batches.",
    ),
    meaningless(
        "log.local.retention.bytes",
        Takes::Long(-2, i64::MAX),
        "-2",
        "No storage is tiered: all that is kept is local.",
    ),
    meaningless(
        "log.local.retention.ms",
        Takes::Long(-2, i64::MAX),
        "-2",
        "No storage is tiered: all that is kept is local.",
    ),
    honoured(
        "log.message.timestamp.after.max.ms",
        Takes::Long(0, i64::MAX),
        "3600000",
        "For topics that do not say: How far a producer's timestamp may lie in the future.",
    ),
    honoured(
        "log.message.timestamp.before.max.ms",
        Takes::Long(0, i64::MAX),
        "9223372036854775807",
        "For topics that do not say: How far a producer's timestamp may lie in the past.",
    ),
    honoured(
        "log.message.timestamp.type",
        Takes::Word(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "For topics that do not say: Whose time a record carries: the producer's, or that of the append.",
    ),
    meaningless(
        "log.preallocate",
        Takes::Bool,
        "false",
        "Chunks are shared by all topics and grow as they are filled.",
    ),
    meaningless(
        "log.remote.copy.lag.bytes",
        Takes::Long(-1, i64::MAX),
        "-1",
        "No storage is tiered: all that is kept is local.",
    ),
    meaningless(
        "log.remote.copy.lag.ms",
        Takes::Long(-1, i64::MAX),
        "0",
        "No storage is tiered: all that is kept is local.",
    ),
    honoured(
        "log.retention.bytes",
        Takes::Long(-1, i64::MAX),
        "-1",
        "For topics that do not say: How much of each partition is kept, bytes; -1 for no limit. By whole batches.",
    ),
    fixed(
        "log.retention.check.interval.ms",
        Takes::Long(1, i64::MAX),
        "10000",
        "How often retention looks.",
    ),
    honoured(
        "log.retention.ms",
        Takes::Long(-1, i64::MAX),
        "604800000",
        "For topics that do not say: How long a record is kept; -1 for no limit. By whole batches.",
    ),
    meaningless(
        "log.roll.jitter.ms",
        Takes::Long(0, i64::MAX),
        "0",
        "There are no segments: records go by whole batches.",
    ),
    meaningless(
        "log.roll.ms",
        Takes::Long(1, i64::MAX),
        "604800000",
        "There are no segments: records go by whole batches.",
    ),
    meaningless(
        "log.segment.bytes",
        Takes::Int(1048576, i32::MAX),
        "1073741824",
        "There are no segments: records go by whole batches.",
    ),
    meaningless(
        "log.segment.delete.delay.ms",
        Takes::Long(0, i64::MAX),
        "60000",
        "A topic has no files of its own.",
    ),
    fixed(
        "max.connections",
        Takes::Int(0, i32::MAX),
        "20000",
        "Most connections at once.",
    ),
    meaningless(
        "max.decompressed.message.bytes",
        Takes::Int(1, i32::MAX),
        "2147483639",
        "A batch may unpack to 128 MiB wherever it is unpacked.",
    ),
    honoured(
        "message.max.bytes",
        Takes::Int(0, i32::MAX),
        "1048588",
        "For topics that do not say: Largest batch, bytes.",
    ),
    only(
        "min.insync.replicas",
        Takes::Int(1, i32::MAX),
        "1",
        "there is one broker, which alone acknowledges.",
    ),
    fixed(
        "node.id",
        Takes::Int(0, i32::MAX),
        "1",
        "The number of this broker.",
    ),
    meaningless(
        "num.io.threads",
        Takes::Int(1, i32::MAX),
        "8",
        "There is one runtime a core, see --threads.",
    ),
    meaningless(
        "num.network.threads",
        Takes::Int(1, i32::MAX),
        "3",
        "There is one runtime a core, see --threads.",
    ),
    fixed(
        "num.partitions",
        Takes::Int(1, i32::MAX),
        "1",
        "How many partitions a topic gets whose creator does not say, --partitions.",
    ),
    meaningless(
        "num.replica.fetchers",
        Takes::Int(1, i32::MAX),
        "1",
        "There is one broker, nothing is replicated.",
    ),
    fixed(
        "offset.metadata.max.bytes",
        Takes::Int(0, i32::MAX),
        "4096",
        "Longest note beside a committed offset.",
    ),
    fixed(
        "offsets.retention.minutes",
        Takes::Int(1, i32::MAX),
        "10080",
        "How long offsets are kept after their group is empty.",
    ),
    fixed(
        "process.roles",
        Takes::Texts,
        "broker,controller",
        "One process is all there is.",
    ),
    fixed(
        "producer.id.expiration.ms",
        Takes::Int(1, i32::MAX),
        "86400000",
        "How long a silent producer is remembered.",
    ),
    fixed(
        "quota.window.num",
        Takes::Int(1, i32::MAX),
        "11",
        "Over how many windows the rates of quotas are taken.",
    ),
    fixed(
        "quota.window.size.seconds",
        Takes::Int(1, i32::MAX),
        "1",
        "How long each of these windows is.",
    ),
    meaningless(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        Takes::Long(0, i64::MAX),
        "9223372036854775807",
        "There is one log directory, nothing moves between them.",
    ),
    fixed(
        "socket.request.max.bytes",
        Takes::Int(1, i32::MAX),
        "104857600",
        "Largest request.",
    ),
    meaningless(
        "unclean.leader.election.enable",
        Takes::Bool,
        "false",
        "There is one broker, nothing is replicated.",
    ),
];
