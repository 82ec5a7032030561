//! The samples themselves, each with something in every list.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};
use mulgil_record::compression::Codec;
use uuid::Uuid;

use super::text;
use crate::seeds::records::sample as batch;
use crate::targets::{TOPIC, TOPIC_ID};

pub(super) fn body(version: i16, message: &impl Encodable) -> Option<Bytes> {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).ok()?;
    Some(out.freeze())
}

pub(super) fn name() -> TopicName {
    TopicName(text(TOPIC))
}

fn group() -> GroupId {
    GroupId(text("g"))
}

fn member() -> StrBytes {
    text("m")
}

/// The body of a request of this kind that this version can say; none if there is no sample of the kind.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the door takes only some of the kinds"
)]
pub(super) fn sample(key: ApiKey, version: i16) -> Option<Bytes> {
    match key {
        ApiKey::Produce => body(version, &produce(version)),
        ApiKey::Fetch => body(version, &fetch(version)),
        ApiKey::ListOffsets => body(version, &list_offsets()),
        ApiKey::Metadata => body(version, &metadata()),
        ApiKey::FindCoordinator => body(version, &find_coordinator(version)),
        ApiKey::ApiVersions => body(version, &api_versions(version)),
        ApiKey::CreateTopics => body(version, &create_topics()),
        ApiKey::DeleteTopics => body(version, &delete_topics(version)),
        ApiKey::DeleteRecords => body(version, &delete_records()),
        ApiKey::InitProducerId => body(
            version,
            &InitProducerIdRequest::default().with_transactional_id(None),
        ),
        ApiKey::OffsetForLeaderEpoch => body(version, &epoch_ends()),
        ApiKey::DescribeCluster => body(version, &DescribeClusterRequest::default()),
        other => of_group(other, version),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the door takes only some of the kinds"
)]
fn of_group(key: ApiKey, version: i16) -> Option<Bytes> {
    match key {
        ApiKey::OffsetCommit => body(version, &offset_commit()),
        ApiKey::OffsetFetch => body(version, &offset_fetch(version)),
        ApiKey::OffsetDelete => body(
            version,
            &OffsetDeleteRequest::default().with_group_id(group()),
        ),
        ApiKey::JoinGroup => body(version, &join_group()),
        ApiKey::Heartbeat => body(
            version,
            &HeartbeatRequest::default()
                .with_group_id(group())
                .with_generation_id(1)
                .with_member_id(member()),
        ),
        ApiKey::LeaveGroup => body(version, &leave_group(version)),
        ApiKey::SyncGroup => body(version, &sync_group()),
        ApiKey::DescribeGroups => body(
            version,
            &DescribeGroupsRequest::default().with_groups(vec![group(), group()]),
        ),
        ApiKey::ListGroups => body(version, &ListGroupsRequest::default()),
        ApiKey::DeleteGroups => body(
            version,
            &DeleteGroupsRequest::default().with_groups_names(vec![group(), group()]),
        ),
        other => super::operators::sample(other, version),
    }
}

fn produce(version: i16) -> ProduceRequest {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let one = |codec, index| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(batch(codec, 2).into()))
    };
    let topic = TopicProduceData::default().with_partition_data(vec![
        one(Codec::None, 0),
        one(Codec::Lz4, 1),
        one(Codec::Zstd, 9),
    ]);
    let topic = match version {
        13.. => topic.with_topic_id(Uuid::from_u128(TOPIC_ID.0)),
        _ => topic.with_name(name()),
    };
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic])
        .with_transactional_id(None)
}

fn fetch(version: i16) -> FetchRequest {
    use fetch_request::{FetchPartition, FetchTopic};
    let one = |index| {
        FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(4)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20)
    };
    let topic = FetchTopic::default().with_partitions(vec![one(0), one(1), one(7)]);
    let topic = match version {
        13.. => topic.with_topic_id(Uuid::from_u128(TOPIC_ID.0)),
        _ => topic.with_topic(name()),
    };
    let request = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![topic]);
    match version {
        7.. => request.with_session_epoch(0),
        _ => request,
    }
}

fn list_offsets() -> ListOffsetsRequest {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let one = |index, timestamp| {
        ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_timestamp(timestamp)
    };
    let partitions = vec![one(0, -1), one(1, -2), one(2, 5), one(0, -3), one(9, -1)];
    let topic = ListOffsetsTopic::default()
        .with_name(name())
        .with_partitions(partitions);
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic])
}

fn metadata() -> MetadataRequest {
    use metadata_request::MetadataRequestTopic;
    let one = |name: &str| MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
    MetadataRequest::default()
        .with_topics(Some(vec![one(TOPIC), one("new"), one("b@d")]))
        .with_allow_auto_topic_creation(true)
}

fn find_coordinator(version: i16) -> FindCoordinatorRequest {
    let request = FindCoordinatorRequest::default();
    match version {
        4.. => request.with_coordinator_keys(vec![text("g"), text("h")]),
        _ => request.with_key(text("g")),
    }
}

fn api_versions(version: i16) -> ApiVersionsRequest {
    let request = ApiVersionsRequest::default();
    match version {
        3.. => request
            .with_client_software_name(text("some-client"))
            .with_client_software_version(text("1.2.3")),
        _ => request,
    }
}

fn create_topics() -> CreateTopicsRequest {
    use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let config = CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("-1")));
    let topic = CreatableTopic::default()
        .with_name(TopicName(text("fresh")))
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let placed = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let assigned = CreatableTopic::default()
        .with_name(TopicName(text("assigned")))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![placed]);
    CreateTopicsRequest::default()
        .with_topics(vec![topic, assigned])
        .with_timeout_ms(1000)
}

fn delete_topics(version: i16) -> DeleteTopicsRequest {
    use delete_topics_request::DeleteTopicState;
    let request = DeleteTopicsRequest::default();
    match version {
        6.. => request.with_topics(vec![DeleteTopicState::default().with_name(Some(name()))]),
        _ => request.with_topic_names(vec![name(), TopicName(text("none"))]),
    }
}

fn delete_records() -> DeleteRecordsRequest {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let one = DeleteRecordsPartition::default().with_offset(-1);
    let topic = DeleteRecordsTopic::default()
        .with_name(name())
        .with_partitions(vec![one]);
    DeleteRecordsRequest::default().with_topics(vec![topic])
}

fn epoch_ends() -> OffsetForLeaderEpochRequest {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let one = |index| {
        OffsetForLeaderPartition::default()
            .with_partition(index)
            .with_leader_epoch(3)
    };
    let topic = OffsetForLeaderTopic::default()
        .with_topic(name())
        .with_partitions(vec![one(0), one(5)]);
    OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
}

fn offset_commit() -> OffsetCommitRequest {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let one = OffsetCommitRequestPartition::default()
        .with_committed_offset(5)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(name())
        .with_partitions(vec![one]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(1)
        .with_member_id(member())
        .with_topics(vec![topic])
}

fn offset_fetch(version: i16) -> OffsetFetchRequest {
    use offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };
    if version < 8 {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(name())
            .with_partition_indexes(vec![0, 1]);
        return OffsetFetchRequest::default()
            .with_group_id(group())
            .with_topics(Some(vec![topic]));
    }
    let topic = OffsetFetchRequestTopics::default()
        .with_name(name())
        .with_partition_indexes(vec![0, 1]);
    let one = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(vec![topic]));
    OffsetFetchRequest::default().with_groups(vec![one])
}

fn join_group() -> JoinGroupRequest {
    use join_group_request::JoinGroupRequestProtocol;
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(45_000)
        .with_rebalance_timeout_ms(300_000)
        .with_member_id(member())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn leave_group(version: i16) -> LeaveGroupRequest {
    use leave_group_request::MemberIdentity;
    let request = LeaveGroupRequest::default().with_group_id(group());
    match version {
        3.. => request.with_members(vec![MemberIdentity::default().with_member_id(member())]),
        _ => request.with_member_id(member()),
    }
}

fn sync_group() -> SyncGroupRequest {
    use sync_group_request::SyncGroupRequestAssignment;
    let share = SyncGroupRequestAssignment::default()
        .with_member_id(member())
        .with_assignment(Bytes::from_static(b"share"));
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(1)
        .with_member_id(member())
        .with_assignments(vec![share])
}
