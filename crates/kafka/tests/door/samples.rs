//! One plausible request of every kind, for every version.

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use mulgil_record::ids::TopicId;
use uuid::Uuid;

use crate::admin_samples as admin;
use crate::client::frame;
use crate::driver::WALL_MS;

pub(crate) fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn uuid(id: TopicId) -> Uuid {
    Uuid::from_u128(id.0)
}

/// A batch of one record for each value.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    let now = i64::try_from(WALL_MS).unwrap();
    let mut builder = BatchBuilder::new(Codec::None, now);
    for value in values {
        builder.push(now, None, Some(value.as_bytes()), &[]);
    }
    builder.finish().bytes
}

/// A request of the kind `key` about the topic `t`, which has the id `id`.
pub(crate) fn sample(key: ApiKey, version: i16, correlation: i32, id: TopicId) -> Bytes {
    macro_rules! frame {
        ($body:expr) => {
            frame(key, version, correlation, &$body)
        };
    }
    match key {
        ApiKey::Produce => frame!(produce(version, id, &["a", "b"])),
        ApiKey::Fetch => frame!(fetch(version, id, 0)),
        ApiKey::ListOffsets => frame!(list_offsets(version)),
        ApiKey::Metadata => frame!(metadata(version, &["t", "new", "b@d"])),
        ApiKey::FindCoordinator => frame!(find_coordinator(version, 0)),
        ApiKey::ApiVersions => frame!(api_versions(version)),
        ApiKey::CreateTopics => frame!(create_topics("fresh")),
        ApiKey::DeleteTopics => frame!(delete_topics(version)),
        ApiKey::DeleteRecords => frame!(delete_records()),
        ApiKey::InitProducerId => {
            frame!(InitProducerIdRequest::default().with_transactional_id(None))
        }
        ApiKey::OffsetForLeaderEpoch => frame!(offset_for_leader_epoch()),
        ApiKey::DescribeCluster => frame!(DescribeClusterRequest::default()),
        ApiKey::OffsetCommit => frame!(offset_commit(version)),
        ApiKey::OffsetFetch => frame!(offset_fetch(version)),
        ApiKey::JoinGroup => frame!(join_group(version, "")),
        ApiKey::Heartbeat => frame!(heartbeat(1, "m")),
        ApiKey::LeaveGroup => frame!(leave_group(version, &["m", "stranger"])),
        ApiKey::SyncGroup => frame!(sync_group(version)),
        ApiKey::DescribeGroups => frame!(describe_groups(version)),
        ApiKey::ListGroups => frame!(list_groups(version)),
        ApiKey::DeleteGroups => {
            frame!(DeleteGroupsRequest::default().with_groups_names(vec![group("g"), group("h")]))
        }
        ApiKey::OffsetDelete => frame!(offset_delete("g", &["none", "t"])),
        ApiKey::DescribeConfigs => frame!(admin::describe_configs(version)),
        ApiKey::AlterConfigs => frame!(admin::alter_configs()),
        ApiKey::IncrementalAlterConfigs => frame!(admin::incremental_alter_configs()),
        ApiKey::CreatePartitions => frame!(admin::create_partitions(3)),
        ApiKey::ListConfigResources => frame!(admin::list_config_resources(version)),
        ApiKey::DescribeTopicPartitions => frame!(admin::describe_topic_partitions()),
        ApiKey::DescribeLogDirs => frame!(admin::describe_log_dirs()),
        ApiKey::DescribeProducers => frame!(admin::describe_producers()),
        ApiKey::ElectLeaders => frame!(admin::elect_leaders()),
        ApiKey::AlterPartitionReassignments => frame!(admin::alter_reassignments()),
        ApiKey::ListPartitionReassignments => {
            frame!(ListPartitionReassignmentsRequest::default().with_topics(None))
        }
        ApiKey::DescribeClientQuotas => frame!(admin::describe_quotas()),
        ApiKey::DescribeUserScramCredentials => frame!(admin::describe_scram(&["u", "v", "u"])),
        ApiKey::AlterClientQuotas => frame!(admin::alter_quotas()),
        other => panic!("no sample of {other:?}"),
    }
}

pub(crate) fn produce(version: i16, id: TopicId, values: &[&str]) -> ProduceRequest {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let data = PartitionProduceData::default().with_records(Some(batch(values)));
    let topic = TopicProduceData::default().with_partition_data(vec![data]);
    let topic = if version >= 13 {
        topic.with_topic_id(uuid(id))
    } else {
        topic.with_name(name("t"))
    };
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic])
        .with_transactional_id(None)
}

pub(crate) fn fetch(version: i16, id: TopicId, offset: i64) -> FetchRequest {
    use fetch_request::{FetchPartition, FetchTopic};
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_partitions(vec![partition]);
    let topic = if version >= 13 {
        topic.with_topic_id(uuid(id))
    } else {
        topic.with_topic(name("t"))
    };
    let request = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![topic]);
    if version >= 7 {
        request.with_session_epoch(0)
    } else {
        request
    }
}

fn list_offsets(version: i16) -> ListOffsetsRequest {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let one = |index, timestamp| {
        ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_timestamp(timestamp)
    };
    let partitions = vec![one(0, 5), one(9, -1)];
    let topic = ListOffsetsTopic::default()
        .with_name(name("t"))
        .with_partitions(partitions);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    if version >= 10 {
        request.with_timeout_ms(1000)
    } else {
        request
    }
}

pub(crate) fn metadata(version: i16, names: &[&str]) -> MetadataRequest {
    let topic =
        |n: &&str| metadata_request::MetadataRequestTopic::default().with_name(Some(name(n)));
    MetadataRequest::default()
        .with_topics(Some(names.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(true)
        .with_include_topic_authorized_operations(version >= 8)
}

pub(crate) fn find_coordinator(version: i16, key_type: i8) -> FindCoordinatorRequest {
    if version >= 4 {
        FindCoordinatorRequest::default()
            .with_key_type(key_type)
            .with_coordinator_keys(vec![text("g"), text("h")])
    } else {
        FindCoordinatorRequest::default()
            .with_key(text("g"))
            .with_key_type(key_type)
    }
}

pub(crate) fn api_versions(version: i16) -> ApiVersionsRequest {
    if version >= 3 {
        ApiVersionsRequest::default()
            .with_client_software_name(text("some-client"))
            .with_client_software_version(text("1.2.3"))
    } else {
        ApiVersionsRequest::default()
    }
}

pub(crate) fn create_topics(topic: &str) -> CreateTopicsRequest {
    use create_topics_request::{CreatableTopic, CreatableTopicConfig};
    let config = CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("-1")));
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(1000)
}

fn delete_topics(version: i16) -> DeleteTopicsRequest {
    if version >= 6 {
        let one = delete_topics_request::DeleteTopicState::default().with_name(Some(name("t")));
        DeleteTopicsRequest::default().with_topics(vec![one])
    } else {
        DeleteTopicsRequest::default().with_topic_names(vec![name("t"), name("none")])
    }
}

fn delete_records() -> DeleteRecordsRequest {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let one = |index, offset| {
        DeleteRecordsPartition::default()
            .with_partition_index(index)
            .with_offset(offset)
    };
    let partitions = vec![one(0, -1), one(0, -2), one(7, 0)];
    let topic = DeleteRecordsTopic::default()
        .with_name(name("t"))
        .with_partitions(partitions);
    DeleteRecordsRequest::default().with_topics(vec![topic])
}

fn offset_for_leader_epoch() -> OffsetForLeaderEpochRequest {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let one = |index, epoch| {
        OffsetForLeaderPartition::default()
            .with_partition(index)
            .with_leader_epoch(epoch)
            .with_current_leader_epoch(-1)
    };
    let partitions = vec![one(0, 3), one(0, 2), one(5, 3)];
    let topic = OffsetForLeaderTopic::default()
        .with_topic(name("t"))
        .with_partitions(partitions);
    OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
}

pub(crate) fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

pub(crate) fn join_group(version: i16, member: &str) -> JoinGroupRequest {
    use join_group_request::JoinGroupRequestProtocol;
    let protocol = |name: &str| {
        JoinGroupRequestProtocol::default()
            .with_name(text(name))
            .with_metadata("topics".into())
    };
    let request = JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(45_000)
        .with_rebalance_timeout_ms(300_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range"), protocol("cooperative-sticky")]);
    if version >= 8 {
        request.with_reason(Some(text("why not")))
    } else {
        request
    }
}

pub(crate) fn heartbeat(generation: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(generation)
        .with_member_id(text(member))
}

pub(crate) fn leave_group(version: i16, members: &[&str]) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group("g"));
    if version < 3 {
        return request.with_member_id(text(members[0]));
    }
    let one = |member: &&str| {
        leave_group_request::MemberIdentity::default()
            .with_member_id(text(member))
            .with_group_instance_id(None)
    };
    request.with_members(members.iter().map(one).collect())
}

pub(crate) fn sync_group(version: i16) -> SyncGroupRequest {
    let share = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(text("m"))
        .with_assignment("share".into());
    let request = SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(1)
        .with_member_id(text("m"))
        .with_assignments(vec![share]);
    if version >= 5 {
        request
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
    } else {
        request
    }
}

fn describe_groups(version: i16) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default()
        .with_groups(vec![group("g"), group("h")])
        .with_include_authorized_operations(version >= 3)
}

fn list_groups(version: i16) -> ListGroupsRequest {
    let request = ListGroupsRequest::default();
    if version >= 4 {
        request.with_states_filter(vec![text("STABLE")])
    } else {
        request
    }
}

pub(crate) fn offset_commit(version: i16) -> OffsetCommitRequest {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let one = |index, metadata: &str| {
        let one = OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(5)
            .with_committed_metadata(Some(text(metadata)));
        if version >= 6 {
            one.with_committed_leader_epoch(3)
        } else {
            one
        }
    };
    let topic = |topic, partitions| {
        OffsetCommitRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(partitions)
    };
    let topics = vec![
        topic("none", vec![one(0, "")]),
        topic("t", vec![one(7, ""), one(0, "note"), one(0, "long")]),
    ];
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(1)
        .with_member_id(text("m"))
        .with_topics(topics)
}

pub(crate) fn offset_delete(of: &str, topics: &[&str]) -> OffsetDeleteRequest {
    use offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
    let topic = |topic: &&str| {
        let partitions =
            [0, 7].map(|at| OffsetDeleteRequestPartition::default().with_partition_index(at));
        OffsetDeleteRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(partitions.to_vec())
    };
    OffsetDeleteRequest::default()
        .with_group_id(group(of))
        .with_topics(topics.iter().map(topic).collect())
}

pub(crate) fn offset_fetch(version: i16) -> OffsetFetchRequest {
    use offset_fetch_request::*;
    if version < 8 {
        let topic = |topic: &str| {
            OffsetFetchRequestTopic::default()
                .with_name(name(topic))
                .with_partition_indexes(vec![0, 1])
        };
        return OffsetFetchRequest::default()
            .with_group_id(group("g"))
            .with_topics(Some(vec![topic("t"), topic("none")]));
    }
    let topic = |topic: &str| {
        OffsetFetchRequestTopics::default()
            .with_name(name(topic))
            .with_partition_indexes(vec![0, 1])
    };
    let groups = ["g", "h"].map(|g| {
        let topics = (g == "g").then(|| vec![topic("t"), topic("none")]);
        let one = OffsetFetchRequestGroup::default()
            .with_group_id(group(g))
            .with_topics(topics);
        if version >= 9 {
            one.with_member_id(None).with_member_epoch(-1)
        } else {
            one
        }
    });
    OffsetFetchRequest::default().with_groups(groups.to_vec())
}
