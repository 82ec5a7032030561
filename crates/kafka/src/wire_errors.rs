//! From each refusal of the broker to the error code of the Kafka protocol.
//!
//! One exhaustive match per refusal, so that a new reason cannot be forgotten. Codes are those of
//! Kafka's `Errors.java`; each row says where the rule comes from. "Retriable" is what clients do by
//! themselves on that code.

use kafka_protocol::ResponseError;
use mulgil_broker::configure::{ConfigureRefusal, ProducersRefusal};
use mulgil_broker::core::partition::Refusal as PartitionRefusal;
use mulgil_broker::group::GroupRefusal;
use mulgil_broker::meta::settings::SettingRefusal;
use mulgil_broker::request::{
    AlterRefusal, AppendRefusal, CreateRefusal, DeleteRefusal, NewProducerRefusal, ReadRefusal,
    TrimRefusal,
};
use mulgil_record::batch::BatchError;

/// No error.
pub(crate) const NONE: i16 = 0;

/// For a partition machine's refusal.
pub(crate) const fn partition(refusal: &PartitionRefusal) -> ResponseError {
    match refusal {
        // `ProducerAppendInfo.checkSequence`.
        PartitionRefusal::OutOfOrder { .. } => ResponseError::OutOfOrderSequenceNumber,
        // `ProducerAppendInfo.checkProducerEpoch`: since 2.7 the answer to a produce is not
        // PRODUCER_FENCED (KIP-588).
        PartitionRefusal::Fenced { .. } => ResponseError::InvalidProducerEpoch,
        // Kafka says OUT_OF_ORDER_SEQUENCE_NUMBER; both the Java client (`Sender.completeBatch`) and
        // librdkafka take this code for what it is, a success whose offset is not known.
        PartitionRefusal::DuplicateForgotten { .. } => ResponseError::DuplicateSequenceNumber,
        // `UnknownProducerIdException`: the client takes a new epoch and goes on.
        PartitionRefusal::UnknownProducer { .. } => ResponseError::UnknownProducerId,
        // `UnifiedLog.maybeIncrementLogStartOffset`.
        PartitionRefusal::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
    }
}

/// For an append.
pub(crate) const fn append(refusal: &AppendRefusal) -> ResponseError {
    match refusal {
        // `ReplicaManager.getPartitionOrError`; retriable.
        AppendRefusal::UnknownPartition(_) => ResponseError::UnknownTopicOrPartition,
        AppendRefusal::Partition(refusal) => partition(refusal),
        // Retriable in all clients, and says that nothing was written (`LogDirFailureChannel`).
        AppendRefusal::DiskFull => ResponseError::KafkaStorageError,
        // No code says "too busy" to a producer. This one is retriable in all clients and says that
        // nothing was written; THROTTLING_QUOTA_EXCEEDED is final for librdkafka.
        AppendRefusal::Overloaded | AppendRefusal::FactsOwed | AppendRefusal::QueueFull { .. } => {
            ResponseError::NotEnoughReplicas
        }
        // What a broker answers that has given up its partitions to stop; retriable.
        AppendRefusal::Stopping => ResponseError::NotLeaderOrFollower,
    }
}

/// For a read, a search by time, or one for the end of an epoch.
pub(crate) const fn read(refusal: &ReadRefusal) -> ResponseError {
    match refusal {
        // `ReplicaManager.getPartitionOrError`.
        ReadRefusal::UnknownPartition(_) => ResponseError::UnknownTopicOrPartition,
        // `Partition.readRecords`; the client applies `auto.offset.reset`.
        ReadRefusal::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
        // KIP-320, `Partition.checkCurrentLeaderEpoch`.
        ReadRefusal::FencedEpoch { .. } => ResponseError::FencedLeaderEpoch,
        ReadRefusal::UnknownEpoch { .. } => ResponseError::UnknownLeaderEpoch,
        // `CorruptRecordException`: the consumer raises it with partition and offset and reads no
        // further. A storage error would be tried again for ever, and a damaged record never skipped
        // in silence.
        ReadRefusal::Damaged { .. } => ResponseError::CorruptMessage,
        // `LogDirFailureChannel`; retriable.
        ReadRefusal::Unavailable(_) => ResponseError::KafkaStorageError,
    }
}

/// For the creation of a topic.
pub(crate) const fn create(refusal: &CreateRefusal) -> ResponseError {
    match refusal {
        // `ReplicationControlManager.createTopics`.
        CreateRefusal::Exists(_) => ResponseError::TopicAlreadyExists,
        // `ReplicationControlManager.createTopic`.
        CreateRefusal::PartitionCount { .. } => ResponseError::InvalidPartitions,
        // `ReplicationControlManager.createTopics`, for too many in one request.
        CreateRefusal::TooMany { .. } => ResponseError::PolicyViolation,
        // `Topic.validate`.
        CreateRefusal::Name(_) => ResponseError::InvalidTopicException,
        // Retriable.
        CreateRefusal::DiskFull => ResponseError::KafkaStorageError,
        // What a controller answers that has stepped down to stop; retriable.
        CreateRefusal::Stopping => ResponseError::NotController,
    }
}

/// For the deletion of a topic, named by id or by name.
pub(crate) const fn delete(refusal: &DeleteRefusal, by_id: bool) -> ResponseError {
    match refusal {
        // `ControllerApis.deleteTopics`.
        DeleteRefusal::Unknown if by_id => ResponseError::UnknownTopicId,
        DeleteRefusal::Unknown => ResponseError::UnknownTopicOrPartition,
        // As for a creation.
        DeleteRefusal::Stopping => ResponseError::NotController,
    }
}

/// For more partitions of a topic.
pub(crate) const fn alter(refusal: &AlterRefusal) -> ResponseError {
    match refusal {
        // `ReplicationControlManager.createPartitions`.
        AlterRefusal::Unknown => ResponseError::UnknownTopicOrPartition,
        AlterRefusal::PartitionCount { .. } => ResponseError::InvalidPartitions,
        // As for too many of new topics in one request.
        AlterRefusal::TooMany { .. } => ResponseError::PolicyViolation,
        // `ControllerConfigurationValidator`.
        AlterRefusal::Setting(_) => ResponseError::InvalidConfig,
        AlterRefusal::Ordered(_) => ResponseError::PolicyViolation,
        // As for a creation.
        AlterRefusal::DiskFull => ResponseError::KafkaStorageError,
        AlterRefusal::Stopping => ResponseError::NotController,
    }
}

/// For settings and quotas.
pub(crate) const fn configure(refusal: &ConfigureRefusal, of_broker: bool) -> ResponseError {
    match refusal {
        ConfigureRefusal::UnknownTopic => ResponseError::UnknownTopicOrPartition,
        ConfigureRefusal::Setting(refusal) => match refusal {
            // `ConfigAdminManager.validateBrokerConfigChange`: what is wrong with a broker's setting is
            // an invalid request.
            SettingRefusal::Fixed(_) => ResponseError::InvalidRequest,
            SettingRefusal::Value { .. } | SettingRefusal::Lags { .. } if of_broker => {
                ResponseError::InvalidRequest
            }
            // `ControllerConfigurationValidator`. Kafka takes any name for a broker and does nothing;
            // here that is refused too.
            SettingRefusal::Unknown(_)
            | SettingRefusal::UnknownOfBroker(_)
            | SettingRefusal::Value { .. }
            | SettingRefusal::Only { .. }
            | SettingRefusal::NotList(_)
            | SettingRefusal::CompactedQueue
            | SettingRefusal::OfQueue
            | SettingRefusal::Lags { .. } => ResponseError::InvalidConfig,
        },
        // `ClientQuotaControlManager.validateQuotaKeyValue`.
        ConfigureRefusal::Quota(_) => ResponseError::InvalidRequest,
        // As for a creation.
        ConfigureRefusal::DiskFull => ResponseError::KafkaStorageError,
        ConfigureRefusal::Stopping => ResponseError::NotController,
    }
}

/// For a list of producers.
pub(crate) const fn producers(refusal: &ProducersRefusal) -> ResponseError {
    match refusal {
        // `ReplicaManager.activeProducerState`.
        ProducersRefusal::UnknownPartition(_) => ResponseError::UnknownTopicOrPartition,
        // Kafka has no such limit; as for too many new partitions, clients give up and show the message.
        ProducersRefusal::TooMany { .. } => ResponseError::PolicyViolation,
    }
}

/// For giving up records.
pub(crate) const fn trim(refusal: &TrimRefusal) -> ResponseError {
    match refusal {
        // `ReplicaManager.deleteRecordsOnLocalLog`.
        TrimRefusal::UnknownPartition(_) => ResponseError::UnknownTopicOrPartition,
        // `Partition.deleteRecordsOnLeader`.
        TrimRefusal::KeepsNewest(_) => ResponseError::PolicyViolation,
        TrimRefusal::Partition(refusal) => partition(refusal),
    }
}

/// For a new producer id.
pub(crate) const fn new_producer(refusal: NewProducerRefusal) -> ResponseError {
    match refusal {
        // `TransactionCoordinator.handleInitProducerId` while it is not running; retriable.
        NewProducerRefusal::Stopping => ResponseError::CoordinatorNotAvailable,
        // `KafkaApis.handleInitProducerIdRequest`: id and epoch must both be there, or neither.
        NewProducerRefusal::NoIncarnation => ResponseError::InvalidRequest,
        NewProducerRefusal::Exhausted => ResponseError::UnknownServerError,
    }
}

/// For a produced batch.
pub(crate) const fn batch(error: &BatchError) -> ResponseError {
    match error {
        // `CorruptRecordException` of `ByteBufferLogInputStream` and `DefaultRecordBatch.ensureValid`;
        // retriable, since bytes may be damaged on the way.
        BatchError::Truncated { .. }
        | BatchError::BytesAfterBatch { .. }
        | BatchError::Length(_)
        | BatchError::Crc { .. } => ResponseError::CorruptMessage,
        // `ProduceRequest.validateRecords` for the magic, `LogValidator.validateBatch` and
        // `DefaultRecord.readFrom` for the rest: `InvalidRecordException`.
        BatchError::UnsupportedMagic(_)
        | BatchError::Counts { .. }
        | BatchError::Attributes(_)
        | BatchError::ControlFromProducer
        | BatchError::Producer { .. }
        | BatchError::Record { .. }
        | BatchError::BytesAfterRecords { .. } => ResponseError::InvalidRecord,
        // Kafka fails with an unknown server error on an unknown codec; this says what is the matter.
        BatchError::UnknownCodec(_) => ResponseError::UnsupportedCompressionType,
        // `LogValidator.validateTimestamp`.
        BatchError::LogAppendTimeFromProducer => ResponseError::InvalidTimestamp,
        // What cannot be unpacked, or only to an absurd size.
        BatchError::Compression(_) => ResponseError::CorruptMessage,
    }
}

/// For a request to a group that does not exist: what is meant depends on who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoGroup {
    /// A member, which then is none (`GroupMetadataManager.classicGroupHeartbeat` and others).
    UnknownMember,
    /// A committer of before version 9 (`OffsetMetadataManager.validateOffsetCommit`).
    IllegalGeneration,
    /// A newer committer, or an operator.
    NotFound,
}

/// For a group; `missing` says what it means that there is none.
pub(crate) const fn group(refusal: &GroupRefusal, missing: NoGroup) -> ResponseError {
    match refusal {
        GroupRefusal::NoSuchGroup => match missing {
            NoGroup::UnknownMember => ResponseError::UnknownMemberId,
            NoGroup::IllegalGeneration => ResponseError::IllegalGeneration,
            NoGroup::NotFound => ResponseError::GroupIdNotFound,
        },
        // The rest as in `GroupMetadataManager` and `ClassicGroup`.
        GroupRefusal::NameTooLong { .. } => ResponseError::InvalidGroupId,
        GroupRefusal::UnknownMember => ResponseError::UnknownMemberId,
        // KIP-345.
        GroupRefusal::FencedInstance { .. } => ResponseError::FencedInstanceId,
        GroupRefusal::IllegalGeneration { .. } => ResponseError::IllegalGeneration,
        GroupRefusal::RebalanceInProgress => ResponseError::RebalanceInProgress,
        GroupRefusal::InconsistentProtocol => ResponseError::InconsistentGroupProtocol,
        GroupRefusal::SessionTimeout { .. } => ResponseError::InvalidSessionTimeout,
        // KIP-389.
        GroupRefusal::Full { .. } => ResponseError::GroupMaxSizeReached,
        // Kafka knows no such limit but that of a request; clients give up on this one.
        GroupRefusal::TooLarge { .. } => ResponseError::InvalidRequest,
        // Kafka bounds groups and offsets by nothing. Both codes are final for the request. A member
        // that may not found a group is told what it is told by a full one. A committer is not told
        // to try again: room comes when somebody deletes something or after days, and until then a
        // synchronous commit would go round until its time is up. By this one Java's consumer and
        // librdkafka let the application decide, and commit again at the next interval.
        GroupRefusal::TooManyGroups { .. } | GroupRefusal::TooMuchHeld { .. } => match missing {
            NoGroup::UnknownMember => ResponseError::GroupMaxSizeReached,
            NoGroup::IllegalGeneration | NoGroup::NotFound => {
                ResponseError::InvalidCommitOffsetSize
            }
        },
        // Kafka leaves the earlier request without an answer. A client that still reads it joins again
        // under its name.
        GroupRefusal::Superseded { .. } => ResponseError::RebalanceInProgress,
        // `OffsetMetadataManager.isMetadataInvalid`.
        GroupRefusal::MetadataTooLarge { .. } => ResponseError::OffsetMetadataTooLarge,
        // `ClassicGroup.validateDeleteGroup`.
        GroupRefusal::NotEmpty { .. } => ResponseError::NonEmptyGroup,
        // KIP-496.
        GroupRefusal::TopicInUse => ResponseError::GroupSubscribedToTopic,
    }
}
