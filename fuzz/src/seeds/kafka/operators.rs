//! Samples of what operators ask, each with something in every list.

use bytes::Bytes;
use kafka_protocol::messages::*;

use super::requests::{body, name};
use super::text;

/// The body of a request of this kind that this version can say; none if there is no sample of the kind.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the door takes only some of the kinds"
)]
pub(super) fn sample(key: ApiKey, version: i16) -> Option<Bytes> {
    match key {
        ApiKey::DescribeConfigs => body(version, &describe_configs(version)),
        ApiKey::AlterConfigs => body(version, &alter_configs()),
        ApiKey::IncrementalAlterConfigs => body(version, &incremental_alter_configs()),
        ApiKey::CreatePartitions => body(version, &create_partitions()),
        ApiKey::ListConfigResources => body(version, &ListConfigResourcesRequest::default()),
        ApiKey::DescribeTopicPartitions => body(version, &describe_topic_partitions()),
        ApiKey::DescribeLogDirs => body(version, &DescribeLogDirsRequest::default()),
        ApiKey::DescribeProducers => body(version, &describe_producers()),
        ApiKey::ElectLeaders => body(version, &elect_leaders()),
        ApiKey::AlterPartitionReassignments => body(version, &reassignments()),
        ApiKey::ListPartitionReassignments => {
            body(version, &ListPartitionReassignmentsRequest::default())
        }
        ApiKey::DescribeClientQuotas => body(version, &describe_quotas()),
        ApiKey::AlterClientQuotas => body(version, &alter_quotas()),
        ApiKey::DescribeUserScramCredentials => body(version, &describe_scram()),
        _ => None,
    }
}

fn describe_configs(version: i16) -> DescribeConfigsRequest {
    use describe_configs_request::DescribeConfigsResource;
    let one = |kind| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(name().0)
            .with_configuration_keys(Some(vec![text("retention.ms")]))
    };
    DescribeConfigsRequest::default()
        .with_resources(vec![one(2), one(4)])
        .with_include_documentation(version >= 3)
}

fn alter_configs() -> AlterConfigsRequest {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("5")));
    let topic = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(name().0)
        .with_configs(vec![config]);
    AlterConfigsRequest::default().with_resources(vec![topic])
}

fn incremental_alter_configs() -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = AlterableConfig::default()
        .with_name(text("cleanup.policy"))
        .with_config_operation(2)
        .with_value(Some(text("compact")));
    let topic = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(name().0)
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![topic])
}

fn create_partitions() -> CreatePartitionsRequest {
    use create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    let placed = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let topic = CreatePartitionsTopic::default()
        .with_name(name())
        .with_count(4)
        .with_assignments(Some(vec![placed]));
    CreatePartitionsRequest::default().with_topics(vec![topic])
}

fn describe_topic_partitions() -> DescribeTopicPartitionsRequest {
    use describe_topic_partitions_request::{Cursor, TopicRequest};
    DescribeTopicPartitionsRequest::default()
        .with_topics(vec![TopicRequest::default().with_name(name())])
        .with_response_partition_limit(2)
        .with_cursor(Some(Cursor::default().with_topic_name(name())))
}

fn describe_producers() -> DescribeProducersRequest {
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(name())
        .with_partition_indexes(vec![0, 9]);
    DescribeProducersRequest::default().with_topics(vec![topic])
}

fn elect_leaders() -> ElectLeadersRequest {
    let topic = elect_leaders_request::TopicPartitions::default()
        .with_topic(name())
        .with_partitions(vec![0, 9]);
    ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]))
}

fn reassignments() -> AlterPartitionReassignmentsRequest {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let wish = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(1)]));
    let topic = ReassignableTopic::default()
        .with_name(name())
        .with_partitions(vec![wish]);
    AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
}

fn describe_scram() -> DescribeUserScramCredentialsRequest {
    use describe_user_scram_credentials_request::UserName;
    let user = UserName::default().with_name(text("u"));
    DescribeUserScramCredentialsRequest::default().with_users(Some(vec![user]))
}

fn describe_quotas() -> DescribeClientQuotasRequest {
    let user = describe_client_quotas_request::ComponentData::default()
        .with_entity_type(text("user"))
        .with_match_type(2)
        .with_match(None);
    DescribeClientQuotasRequest::default().with_components(vec![user])
}

fn alter_quotas() -> AlterClientQuotasRequest {
    use alter_client_quotas_request::{EntityData, EntryData, OpData};
    let client = EntityData::default()
        .with_entity_type(text("client-id"))
        .with_entity_name(Some(text("c")));
    let op = OpData::default()
        .with_key(text("producer_byte_rate"))
        .with_value(1000.0);
    let entry = EntryData::default()
        .with_entity(vec![client])
        .with_ops(vec![op]);
    AlterClientQuotasRequest::default().with_entries(vec![entry])
}
