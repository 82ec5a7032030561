//! The shapes of all requests that are taken.
//!
//! One table, which has to agree with the schemas of `kafka-protocol`; a test encodes each request in
//! each version, and [`super::decode`] insists that the shape ends where the schema does. Numbers that follow each other
//! are written as one field.

use kafka_protocol::messages::ApiKey;

use super::shape::{Field, Kind, Shape};

const LAST: i16 = i16::MAX;

const fn fixed(bytes: usize) -> Field {
    since(0, Kind::Fixed(bytes))
}

const fn text() -> Field {
    since(0, Kind::Text)
}

const fn list(fields: &'static [Field]) -> Field {
    since(0, Kind::List(fields))
}

const fn since(from: i16, kind: Kind) -> Field {
    between(from, LAST, kind)
}

const fn until(to: i16, kind: Kind) -> Field {
    between(0, to, kind)
}

const fn between(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, kind }
}

/// The shape of the request with `key`, if it is one that is taken.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "keys are added to the protocol with every release"
)]
pub(crate) const fn of(key: ApiKey) -> Option<Shape> {
    let (flexible, fields) = match key {
        ApiKey::Produce => (9, PRODUCE),
        ApiKey::Fetch => (12, FETCH),
        ApiKey::ListOffsets => (6, LIST_OFFSETS),
        ApiKey::Metadata => (9, METADATA),
        ApiKey::OffsetCommit => (8, OFFSET_COMMIT),
        ApiKey::OffsetFetch => (6, OFFSET_FETCH),
        ApiKey::FindCoordinator => (3, FIND_COORDINATOR),
        ApiKey::JoinGroup => (6, JOIN_GROUP),
        ApiKey::Heartbeat => (4, HEARTBEAT),
        ApiKey::LeaveGroup => (4, LEAVE_GROUP),
        ApiKey::SyncGroup => (4, SYNC_GROUP),
        ApiKey::DescribeGroups => (5, DESCRIBE_GROUPS),
        ApiKey::ListGroups => (3, LIST_GROUPS),
        ApiKey::ApiVersions => (3, API_VERSIONS),
        ApiKey::CreateTopics => (5, CREATE_TOPICS),
        ApiKey::DeleteTopics => (4, DELETE_TOPICS),
        ApiKey::DeleteRecords => (2, DELETE_RECORDS),
        ApiKey::InitProducerId => (2, INIT_PRODUCER_ID),
        ApiKey::OffsetForLeaderEpoch => (4, OFFSET_FOR_LEADER_EPOCH),
        ApiKey::DeleteGroups => (2, DELETE_GROUPS),
        ApiKey::DescribeConfigs => (4, DESCRIBE_CONFIGS),
        ApiKey::AlterConfigs => (2, ALTER_CONFIGS),
        ApiKey::IncrementalAlterConfigs => (1, INCREMENTAL_ALTER_CONFIGS),
        ApiKey::CreatePartitions => (2, CREATE_PARTITIONS),
        ApiKey::ListConfigResources => (0, LIST_CONFIG_RESOURCES),
        ApiKey::DescribeTopicPartitions => (0, DESCRIBE_TOPIC_PARTITIONS),
        ApiKey::DescribeLogDirs => (2, DESCRIBE_LOG_DIRS),
        ApiKey::DescribeProducers => (0, DESCRIBE_PRODUCERS),
        ApiKey::ElectLeaders => (2, ELECT_LEADERS),
        ApiKey::AlterPartitionReassignments => (0, ALTER_REASSIGNMENTS),
        ApiKey::ListPartitionReassignments => (0, LIST_REASSIGNMENTS),
        ApiKey::DescribeClientQuotas => (1, DESCRIBE_QUOTAS),
        ApiKey::AlterClientQuotas => (1, ALTER_QUOTAS),
        ApiKey::DescribeUserScramCredentials => (0, DESCRIBE_SCRAM),
        ApiKey::OffsetDelete => (LAST, OFFSET_DELETE),
        ApiKey::DescribeCluster => (0, DESCRIBE_CLUSTER),
        _ => return None,
    };
    Some(Shape { flexible, fields })
}

const API_VERSIONS: &[Field] = &[since(3, Kind::Text), since(3, Kind::Text)];

const PRODUCE: &[Field] = &[
    text(),
    fixed(2 + 4),
    list(&[
        until(12, Kind::Text),
        since(13, Kind::Fixed(16)),
        list(&[fixed(4), since(0, Kind::Blob)]),
    ]),
];

const FETCH: &[Field] = &[
    until(14, Kind::Fixed(4)),
    fixed(4 + 4 + 4 + 1),
    since(7, Kind::Fixed(4 + 4)),
    list(&[
        until(12, Kind::Text),
        since(13, Kind::Fixed(16)),
        list(&[
            fixed(4),
            since(9, Kind::Fixed(4)),
            fixed(8),
            since(12, Kind::Fixed(4)),
            since(5, Kind::Fixed(8)),
            fixed(4),
            since(
                0,
                Kind::Known(&[
                    (0, since(17, Kind::Fixed(16))),
                    (1, since(18, Kind::Fixed(8))),
                ]),
            ),
        ]),
    ]),
    since(
        7,
        Kind::List(&[
            until(12, Kind::Text),
            since(13, Kind::Fixed(16)),
            since(0, Kind::Numbers(4)),
        ]),
    ),
    since(11, Kind::Text),
    since(
        0,
        Kind::Known(&[
            (0, since(12, Kind::Text)),
            (1, since(15, Kind::List(&[fixed(4 + 8)]))),
        ]),
    ),
];

const LIST_OFFSETS: &[Field] = &[
    fixed(4),
    since(2, Kind::Fixed(1)),
    list(&[
        text(),
        list(&[fixed(4), since(4, Kind::Fixed(4)), fixed(8)]),
    ]),
    since(10, Kind::Fixed(4)),
];

const METADATA: &[Field] = &[
    list(&[since(10, Kind::Fixed(16)), text()]),
    since(4, Kind::Fixed(1)),
    between(8, 10, Kind::Fixed(1)),
    since(8, Kind::Fixed(1)),
];

const OFFSET_COMMIT: &[Field] = &[
    text(),
    fixed(4),
    text(),
    since(7, Kind::Text),
    until(4, Kind::Fixed(8)),
    list(&[
        text(),
        list(&[fixed(4 + 8), since(6, Kind::Fixed(4)), text()]),
    ]),
];

const OFFSET_FETCH: &[Field] = &[
    until(7, Kind::Text),
    until(7, Kind::List(&[text(), since(0, Kind::Numbers(4))])),
    since(
        8,
        Kind::List(&[
            text(),
            since(9, Kind::Text),
            since(9, Kind::Fixed(4)),
            list(&[text(), since(0, Kind::Numbers(4))]),
        ]),
    ),
    since(7, Kind::Fixed(1)),
];

const FIND_COORDINATOR: &[Field] = &[
    until(3, Kind::Text),
    since(1, Kind::Fixed(1)),
    since(4, Kind::Texts),
];

const JOIN_GROUP: &[Field] = &[
    text(),
    fixed(4),
    since(1, Kind::Fixed(4)),
    text(),
    since(5, Kind::Text),
    text(),
    list(&[text(), since(0, Kind::Blob)]),
    since(8, Kind::Text),
];

const HEARTBEAT: &[Field] = &[text(), fixed(4), text(), since(3, Kind::Text)];

const LEAVE_GROUP: &[Field] = &[
    text(),
    until(2, Kind::Text),
    since(3, Kind::List(&[text(), text(), since(5, Kind::Text)])),
];

const SYNC_GROUP: &[Field] = &[
    text(),
    fixed(4),
    text(),
    since(3, Kind::Text),
    since(5, Kind::Text),
    since(5, Kind::Text),
    list(&[text(), since(0, Kind::Blob)]),
];

const DESCRIBE_GROUPS: &[Field] = &[since(0, Kind::Texts), since(3, Kind::Fixed(1))];

const LIST_GROUPS: &[Field] = &[since(4, Kind::Texts), since(5, Kind::Texts)];

const CREATE_TOPICS: &[Field] = &[
    list(&[
        text(),
        fixed(4 + 2),
        list(&[fixed(4), since(0, Kind::Numbers(4))]),
        list(&[text(), text()]),
    ]),
    fixed(4 + 1),
];

const DELETE_TOPICS: &[Field] = &[
    since(6, Kind::List(&[text(), fixed(16)])),
    until(5, Kind::Texts),
    fixed(4),
];

const DELETE_RECORDS: &[Field] = &[list(&[text(), list(&[fixed(4 + 8)])]), fixed(4)];

const INIT_PRODUCER_ID: &[Field] = &[text(), fixed(4), since(3, Kind::Fixed(8 + 2))];

const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    since(3, Kind::Fixed(4)),
    list(&[text(), list(&[fixed(4 + 4 + 4)])]),
];

const DELETE_GROUPS: &[Field] = &[since(0, Kind::Texts)];

const DESCRIBE_CONFIGS: &[Field] = &[
    list(&[fixed(1), text(), since(0, Kind::Texts)]),
    fixed(1),
    since(3, Kind::Fixed(1)),
];

const ALTER_CONFIGS: &[Field] = &[list(&[fixed(1), text(), list(&[text(), text()])]), fixed(1)];

const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    list(&[fixed(1), text(), list(&[text(), fixed(1), text()])]),
    fixed(1),
];

const CREATE_PARTITIONS: &[Field] = &[
    list(&[text(), fixed(4), list(&[since(0, Kind::Numbers(4))])]),
    fixed(4 + 1),
];

const LIST_CONFIG_RESOURCES: &[Field] = &[since(1, Kind::Numbers(1))];

const DESCRIBE_TOPIC_PARTITIONS: &[Field] = &[
    list(&[text()]),
    fixed(4),
    since(0, Kind::Maybe(&[text(), fixed(4)])),
];

const DESCRIBE_LOG_DIRS: &[Field] = &[list(&[text(), since(0, Kind::Numbers(4))])];

const DESCRIBE_PRODUCERS: &[Field] = &[list(&[text(), since(0, Kind::Numbers(4))])];

const ELECT_LEADERS: &[Field] = &[
    since(1, Kind::Fixed(1)),
    list(&[text(), since(0, Kind::Numbers(4))]),
    fixed(4),
];

const ALTER_REASSIGNMENTS: &[Field] = &[
    fixed(4),
    since(1, Kind::Fixed(1)),
    list(&[text(), list(&[fixed(4), since(0, Kind::Numbers(4))])]),
];

const LIST_REASSIGNMENTS: &[Field] = &[fixed(4), list(&[text(), since(0, Kind::Numbers(4))])];

const DESCRIBE_QUOTAS: &[Field] = &[list(&[text(), fixed(1), text()]), fixed(1)];

const ALTER_QUOTAS: &[Field] = &[
    list(&[list(&[text(), text()]), list(&[text(), fixed(8 + 1)])]),
    fixed(1),
];

const DESCRIBE_SCRAM: &[Field] = &[list(&[text()])];

const OFFSET_DELETE: &[Field] = &[text(), list(&[text(), list(&[fixed(4)])])];

const DESCRIBE_CLUSTER: &[Field] = &[fixed(1), since(1, Kind::Fixed(1)), since(2, Kind::Fixed(1))];
