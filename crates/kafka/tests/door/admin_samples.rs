//! Plausible requests of operators: settings, partitions, quotas.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::samples::{name, text};

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;

pub(crate) fn describe_configs(version: i16) -> DescribeConfigsRequest {
    use describe_configs_request::DescribeConfigsResource;
    let one = |kind, name: &str, keys: Option<&[&str]>| {
        let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(keys)
    };
    let resources = vec![
        one(TOPIC, "t", None),
        one(TOPIC, "none", None),
        one(BROKER, "1", Some(&["log.retention.ms", "nope"])),
        one(BROKER, "", None),
        one(BROKER, "7", None),
        one(32, "g", None),
    ];
    let request = DescribeConfigsRequest::default()
        .with_resources(resources)
        .with_include_synonyms(true);
    if version >= 3 {
        request.with_include_documentation(true)
    } else {
        request
    }
}

pub(crate) fn alter_configs() -> AlterConfigsRequest {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |name: &str, value: Option<&str>| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_value(value.map(text))
    };
    let one = |kind, name: &str, configs| {
        AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configs(configs)
    };
    let resources = vec![
        one(TOPIC, "t", vec![config("retention.ms", Some("5"))]),
        one(TOPIC, "none", vec![config("retention.ms", None)]),
        one(BROKER, "1", vec![config("num.partitions", Some("2"))]),
    ];
    AlterConfigsRequest::default().with_resources(resources)
}

/// What is done to one setting: name, operation, value.
pub(crate) type Op<'a> = (&'a str, i8, Option<&'a str>);

pub(crate) fn edits(resources: &[(i8, &str, &[Op<'_>])]) -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |(name, operation, value): &Op<'_>| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let one = |(kind, name, ops): &(i8, &str, &[Op<'_>])| {
        AlterConfigsResource::default()
            .with_resource_type(*kind)
            .with_resource_name(text(name))
            .with_configs(ops.iter().map(config).collect())
    };
    let resources = resources.iter().map(one).collect();
    IncrementalAlterConfigsRequest::default().with_resources(resources)
}

pub(crate) fn incremental_alter_configs() -> IncrementalAlterConfigsRequest {
    edits(&[
        (
            TOPIC,
            "t",
            &[
                ("retention.ms", 0, Some("5")),
                ("cleanup.policy", 2, Some("compact")),
            ],
        ),
        (BROKER, "", &[("log.retention.ms", 1, None)]),
        (TOPIC, "u", &[("nope", 0, Some("1"))]),
    ])
}

pub(crate) fn create_partitions(count: i32) -> CreatePartitionsRequest {
    use create_partitions_request::CreatePartitionsTopic;
    let one = |topic: &str, count| {
        CreatePartitionsTopic::default()
            .with_name(name(topic))
            .with_count(count)
            .with_assignments(None)
    };
    CreatePartitionsRequest::default()
        .with_topics(vec![one("t", count), one("none", 2), one("zero", 0)])
        .with_timeout_ms(1000)
}

pub(crate) fn list_config_resources(version: i16) -> ListConfigResourcesRequest {
    let request = ListConfigResourcesRequest::default();
    if version >= 1 {
        request.with_resource_types(vec![TOPIC, BROKER])
    } else {
        request
    }
}

pub(crate) fn describe_topic_partitions() -> DescribeTopicPartitionsRequest {
    use describe_topic_partitions_request::{Cursor, TopicRequest};
    let one = |topic: &str| TopicRequest::default().with_name(name(topic));
    let cursor = Cursor::default().with_topic_name(name("a"));
    DescribeTopicPartitionsRequest::default()
        .with_topics(vec![one("t"), one("none")])
        .with_response_partition_limit(10)
        .with_cursor(Some(cursor))
}

pub(crate) fn describe_log_dirs() -> DescribeLogDirsRequest {
    use describe_log_dirs_request::DescribableLogDirTopic;
    let one = |topic: &str| {
        DescribableLogDirTopic::default()
            .with_topic(name(topic))
            .with_partitions(vec![0, 7])
    };
    DescribeLogDirsRequest::default().with_topics(Some(vec![one("t"), one("none")]))
}

pub(crate) fn describe_producers() -> DescribeProducersRequest {
    use describe_producers_request::TopicRequest;
    let one = |topic: &str| {
        TopicRequest::default()
            .with_name(name(topic))
            .with_partition_indexes(vec![0, 7])
    };
    DescribeProducersRequest::default().with_topics(vec![one("t"), one("none")])
}

pub(crate) fn elect_leaders() -> ElectLeadersRequest {
    use elect_leaders_request::TopicPartitions;
    let one = |topic: &str| {
        TopicPartitions::default()
            .with_topic(name(topic))
            .with_partitions(vec![0, 7])
    };
    ElectLeadersRequest::default().with_topic_partitions(Some(vec![one("t"), one("none")]))
}

pub(crate) fn alter_reassignments() -> AlterPartitionReassignmentsRequest {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let one = |index, replicas: Option<&[i32]>| {
        let replicas = replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
        ReassignablePartition::default()
            .with_partition_index(index)
            .with_replicas(replicas)
    };
    let topic = |topic: &str, partitions| {
        ReassignableTopic::default()
            .with_name(name(topic))
            .with_partitions(partitions)
    };
    let wishes = vec![
        one(0, Some(&[1])),
        one(0, None),
        one(0, Some(&[])),
        one(0, Some(&[1, 2])),
        one(0, Some(&[1, 1])),
        one(7, Some(&[1])),
    ];
    let topics = vec![topic("t", wishes), topic("none", vec![one(0, None)])];
    AlterPartitionReassignmentsRequest::default().with_topics(topics)
}

pub(crate) fn describe_quotas() -> DescribeClientQuotasRequest {
    use describe_client_quotas_request::ComponentData;
    let any = ComponentData::default()
        .with_entity_type(text("client-id"))
        .with_match_type(2)
        .with_match(None);
    DescribeClientQuotasRequest::default().with_components(vec![any])
}

pub(crate) fn describe_scram(users: &[&str]) -> DescribeUserScramCredentialsRequest {
    use describe_user_scram_credentials_request::UserName;
    let users = users
        .iter()
        .map(|user| UserName::default().with_name(text(user)));
    DescribeUserScramCredentialsRequest::default().with_users(Some(users.collect()))
}

/// An entity: kinds and names.
pub(crate) type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

pub(crate) fn quota(
    entity: Entity<'_>,
    ops: &[(&str, Option<f64>)],
) -> alter_client_quotas_request::EntryData {
    use alter_client_quotas_request::{EntityData, EntryData, OpData};
    let part = |(kind, name): &(&str, Option<&str>)| {
        EntityData::default()
            .with_entity_type(text(kind))
            .with_entity_name(name.map(text))
    };
    let op = |(key, value): &(&str, Option<f64>)| {
        OpData::default()
            .with_key(StrBytes::from_string((*key).to_owned()))
            .with_value(value.unwrap_or_default())
            .with_remove(value.is_none())
    };
    EntryData::default()
        .with_entity(entity.iter().map(part).collect())
        .with_ops(ops.iter().map(op).collect())
}

pub(crate) fn alter_quotas() -> AlterClientQuotasRequest {
    let entries = vec![
        quota(
            &[("client-id", Some("c"))],
            &[("producer_byte_rate", Some(1000.0))],
        ),
        quota(
            &[("user", None), ("client-id", None)],
            &[("request_percentage", Some(0.5))],
        ),
        quota(&[("ip", None)], &[("connection_creation_rate", None)]),
    ];
    AlterClientQuotasRequest::default().with_entries(entries)
}
