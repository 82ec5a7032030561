//! Which requests are taken, and in which versions. What is not in this table is not advertised.

use kafka_protocol::messages::ApiKey;

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Supported {
    pub(crate) key: ApiKey,
    /// First version that `ApiVersions` says.
    pub(crate) advertised: i16,
    /// First version that is taken.
    pub(crate) min: i16,
    /// Last version that is taken, and that `ApiVersions` says.
    pub(crate) max: i16,
}

const fn from_to(key: ApiKey, min: i16, max: i16) -> Supported {
    Supported {
        key,
        advertised: min,
        min,
        max,
    }
}

/// All kinds of requests that are taken, by key.
pub(crate) const SUPPORTED: &[Supported] = &[
    // librdkafka tests for features by version 0 of Produce, so that is said, though versions 0 to 2
    // are refused like by Kafka itself (KAFKA-18659, `PRODUCE_API_VERSIONS_RESPONSE_MIN_VERSION`).
    Supported {
        key: ApiKey::Produce,
        advertised: 0,
        min: 3,
        max: 13,
    },
    from_to(ApiKey::Fetch, 4, 17),
    from_to(ApiKey::ListOffsets, 1, 10),
    from_to(ApiKey::Metadata, 0, 13),
    from_to(ApiKey::OffsetCommit, 2, 9),
    from_to(ApiKey::OffsetFetch, 1, 9),
    from_to(ApiKey::FindCoordinator, 0, 6),
    from_to(ApiKey::JoinGroup, 0, 9),
    from_to(ApiKey::Heartbeat, 0, 4),
    from_to(ApiKey::LeaveGroup, 0, 5),
    from_to(ApiKey::SyncGroup, 0, 5),
    from_to(ApiKey::DescribeGroups, 0, 6),
    from_to(ApiKey::ListGroups, 0, 5),
    from_to(ApiKey::ApiVersions, 0, 4),
    from_to(ApiKey::CreateTopics, 2, 7),
    from_to(ApiKey::DeleteTopics, 1, 6),
    from_to(ApiKey::DeleteRecords, 0, 2),
    from_to(ApiKey::InitProducerId, 0, 5),
    from_to(ApiKey::OffsetForLeaderEpoch, 2, 4),
    from_to(ApiKey::DescribeConfigs, 1, 4),
    from_to(ApiKey::AlterConfigs, 0, 2),
    from_to(ApiKey::DescribeLogDirs, 1, 4),
    from_to(ApiKey::CreatePartitions, 0, 3),
    from_to(ApiKey::DeleteGroups, 0, 2),
    from_to(ApiKey::OffsetDelete, 0, 0),
    from_to(ApiKey::ElectLeaders, 0, 2),
    from_to(ApiKey::IncrementalAlterConfigs, 0, 1),
    from_to(ApiKey::AlterPartitionReassignments, 0, 1),
    from_to(ApiKey::ListPartitionReassignments, 0, 0),
    from_to(ApiKey::DescribeClientQuotas, 0, 1),
    from_to(ApiKey::AlterClientQuotas, 0, 1),
    from_to(ApiKey::DescribeUserScramCredentials, 0, 0),
    from_to(ApiKey::DescribeCluster, 0, 2),
    from_to(ApiKey::DescribeProducers, 0, 0),
    from_to(ApiKey::ListConfigResources, 0, 1),
    from_to(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The row of `key`.
pub(crate) fn of(key: ApiKey) -> Option<&'static Supported> {
    SUPPORTED.iter().find(|s| s.key == key)
}

/// Whether a request can be taken. Any version of `ApiVersions` can: what it does not know it answers
/// in version 0 (KIP-511).
pub(crate) fn is_supported(key: ApiKey, version: i16) -> bool {
    key == ApiKey::ApiVersions || of(key).is_some_and(|s| (s.min..=s.max).contains(&version))
}
