//! Topics: asked for, created, deleted.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::*;
use mulgil_broker::meta::schema::{Cleanup, TopicSettings};
use mulgil_kafka::KafkaOptions;

use crate::broker::FakeBroker;
use crate::driver::Driver;
use crate::samples::{create_topics, metadata, name, text, uuid};
use crate::versions::broker;

fn codes(answer: &MetadataResponse) -> Vec<(String, i16, usize)> {
    let topics = answer.topics.iter();
    topics
        .map(|t| {
            let name = t
                .name
                .as_ref()
                .map_or_else(|| "-".to_owned(), |n| n.0.to_string());
            (name, t.error_code, t.partitions.len())
        })
        .collect()
}

#[test]
fn asking_for_a_topic_creates_it_where_that_is_allowed() {
    let (broker, _) = broker();
    let off = KafkaOptions {
        auto_create_topics: false,
        ..KafkaOptions::default()
    };
    let mut driver = Driver::with_options(&broker, off);
    let answer: MetadataResponse = driver.call(ApiKey::Metadata, 12, &metadata(12, &["new"]));
    assert_eq!(codes(&answer), [("new".into(), 3, 0)]);

    let options = KafkaOptions {
        partitions_default: 4,
        ..KafkaOptions::default()
    };
    let mut driver = Driver::with_options(&broker, options);
    let no = metadata(12, &["new"]).with_allow_auto_topic_creation(false);
    let answer: MetadataResponse = driver.call(ApiKey::Metadata, 12, &no);
    assert_eq!(codes(&answer), [("new".into(), 3, 0)]);

    let request = metadata(12, &["new", "t", "b@d", "..", "new"]);
    let answer: MetadataResponse = driver.call(ApiKey::Metadata, 12, &request);
    let expected = [
        ("new".into(), 0, 4),
        ("t".into(), 0, 1),
        ("b@d".into(), 17, 0),
        ("..".into(), 17, 0),
    ];
    assert_eq!(codes(&answer), expected);
    let new = &answer.topics[0];
    assert!(!new.topic_id.is_nil());
    assert_eq!(new.topic_authorized_operations, 3576);
    let partition = &new.partitions[3];
    assert_eq!(
        (
            partition.partition_index,
            partition.leader_id.0,
            partition.leader_epoch
        ),
        (3, 1, 3)
    );
    assert_eq!(partition.replica_nodes, [BrokerId(1)]);

    let by_id = metadata_request::MetadataRequestTopic::default()
        .with_name(None)
        .with_topic_id(new.topic_id);
    let stranger = by_id.clone().with_topic_id(uuid::Uuid::from_u128(5));
    let request = metadata(12, &[]).with_topics(Some(vec![by_id, stranger]));
    let answer: MetadataResponse = driver.call(ApiKey::Metadata, 12, &request);
    assert_eq!(codes(&answer), [("new".into(), 0, 4), ("-".into(), 100, 0)]);
}

#[test]
fn all_topics_and_none() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let answer: MetadataResponse = driver.call(
        ApiKey::Metadata,
        0,
        &MetadataRequest::default().with_topics(Some(vec![])),
    );
    assert_eq!(codes(&answer), [("t".into(), 0, 1)]);
    for (topics, expected) in [(None, 1), (Some(vec![]), 0)] {
        let request = MetadataRequest::default().with_topics(topics);
        let answer: MetadataResponse = driver.call(ApiKey::Metadata, 13, &request);
        assert_eq!(answer.topics.len(), expected);
        assert_eq!(answer.cluster_id.as_deref(), Some("mulgil"));
        assert_eq!((answer.controller_id.0, answer.brokers[0].port), (1, 9092));
    }
}

fn create(broker: &Arc<FakeBroker>, topic: CreatableTopic) -> (i16, String) {
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let answer: CreateTopicsResponse = Driver::new(broker).call(ApiKey::CreateTopics, 7, &request);
    let row = &answer.topics[0];
    (
        row.error_code,
        row.error_message
            .as_ref()
            .map_or(String::new(), ToString::to_string),
    )
}

fn creatable(topic: &str) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}

#[test]
fn a_created_topic_is_described() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let only_look = create_topics("x").with_validate_only(true);
    for request in [only_look, create_topics("x")] {
        let answer: CreateTopicsResponse = driver.call(ApiKey::CreateTopics, 7, &request);
        let row = &answer.topics[0];
        assert_eq!((row.error_code, row.error_message.as_deref()), (0, None));
        assert_eq!((row.num_partitions, row.replication_factor), (2, 1));
        let configs = row.configs.as_ref().unwrap();
        let retention = configs.iter().find(|c| &*c.name == "retention.ms").unwrap();
        assert_eq!(
            (retention.value.as_deref(), retention.config_source),
            (Some("-1"), 1)
        );
        let size = configs
            .iter()
            .find(|c| &*c.name == "max.message.bytes")
            .unwrap();
        assert_eq!(
            (size.value.as_deref(), size.config_source),
            (Some("1048588"), 5)
        );
    }
    let answer: CreateTopicsResponse = driver.call(ApiKey::CreateTopics, 7, &create_topics("x"));
    let row = &answer.topics[0];
    assert_eq!(row.error_code, 36);
    assert_eq!(
        row.error_message.as_deref(),
        Some("topic \"x\" exists already")
    );
}

#[test]
fn what_cannot_be_created_is_told() {
    let (broker, _) = broker();
    let config = |name, value| {
        let config = CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)));
        creatable("x").with_configs(vec![config])
    };
    let placed = |list: &[(i32, &[i32])]| {
        let one = |&(index, brokers): &(i32, &[i32])| {
            CreatableReplicaAssignment::default()
                .with_partition_index(index)
                .with_broker_ids(brokers.iter().map(|b| BrokerId(*b)).collect())
        };
        creatable("x").with_assignments(list.iter().map(one).collect())
    };
    for (topic, code) in [
        (creatable("b@d"), 17),
        (creatable(&"x".repeat(250)), 17),
        (creatable("x").with_num_partitions(0), 37),
        (creatable("x").with_num_partitions(1001), 37),
        (creatable("x").with_replication_factor(3), 38),
        (creatable("x").with_replication_factor(0), 38),
        (config("segment.ms", "0"), 40),
        (config("nope", "1"), 40),
        (config("cleanup.policy", "shred"), 40),
        (config("retention.ms", "soon"), 40),
        (placed(&[(0, &[1])]).with_num_partitions(1), 42),
        (placed(&[(0, &[2])]), 39),
        (placed(&[(0, &[])]), 39),
        (placed(&[(0, &[1, 1])]), 39),
        (placed(&[(0, &[1]), (0, &[1])]), 39),
        (placed(&[(0, &[1]), (2, &[1])]), 39),
    ] {
        let (got, why) = create(&broker, topic);
        assert_eq!(got, code, "{why}");
        assert!(!why.is_empty());
    }
    assert_eq!(create(&broker, placed(&[(1, &[1]), (0, &[1])])).0, 0);
    let twice = CreateTopicsRequest::default().with_topics(vec![creatable("y"), creatable("y")]);
    let answer: CreateTopicsResponse = Driver::new(&broker).call(ApiKey::CreateTopics, 7, &twice);
    assert_eq!((answer.topics.len(), answer.topics[0].error_code), (1, 42));
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let (broker, id) = broker();
    let other = broker.with_topic("other", 1, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let one = delete_topics_request::DeleteTopicState::default;
    let request = DeleteTopicsRequest::default().with_topics(vec![
        one().with_name(Some(name("t"))),
        one().with_name(None).with_topic_id(uuid(other)),
        one()
            .with_name(None)
            .with_topic_id(uuid::Uuid::from_u128(9)),
        one().with_name(Some(name("none"))),
        one().with_name(Some(name("t"))).with_topic_id(uuid(id)),
        one().with_name(None),
    ]);
    let answer: DeleteTopicsResponse = driver.call(ApiKey::DeleteTopics, 6, &request);
    let codes: Vec<i16> = answer.responses.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [0, 0, 100, 3, 42, 42]);
    assert_eq!(
        answer.responses[1].name.as_deref().map(|n| &**n),
        Some("other")
    );
    assert_eq!(answer.responses[0].topic_id, uuid(id));
}

#[test]
fn records_of_a_topic_that_is_only_compacted_are_not_deleted() {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let both = Cleanup {
        delete: true,
        compact: true,
    };
    let only = Cleanup {
        delete: false,
        ..both
    };
    for (cleanup, error) in [(both, 0), (only, ResponseError::PolicyViolation.code())] {
        let broker = FakeBroker::new();
        let settings = TopicSettings {
            cleanup,
            ..TopicSettings::default()
        };
        broker.with_topic("t", 1, settings);
        let mut driver = Driver::new(&broker);
        let topic = DeleteRecordsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![DeleteRecordsPartition::default().with_offset(-1)]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
        let answer: DeleteRecordsResponse = driver.call(ApiKey::DeleteRecords, 2, &request);
        assert_eq!(answer.topics[0].partitions[0].error_code, error);
    }
}
