//! What operators ask of the one broker, and what it honestly answers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::*;

use crate::admin_samples::*;
use crate::broker::FakeBroker;
use crate::driver::Driver;
use crate::samples::{name, text};
use crate::versions::broker;

fn driver() -> Driver {
    let (broker, _) = broker();
    Driver::new(&broker)
}

#[test]
fn there_is_nothing_to_elect_and_nothing_on_its_way() {
    let mut driver = driver();
    let answer: ElectLeadersResponse = driver.call(ApiKey::ElectLeaders, 2, &elect_leaders());
    let rows = &answer.replica_election_results;
    let codes = rows.iter().flat_map(|topic| &topic.partition_result);
    let codes: Vec<_> = codes.map(|row| row.error_code).collect();
    assert_eq!(codes, [84, 3, 3, 3]);
    let all = ElectLeadersRequest::default().with_topic_partitions(None);
    let answer: ElectLeadersResponse = driver.call(ApiKey::ElectLeaders, 2, &all);
    assert!(answer.replica_election_results.is_empty());
    let odd = elect_leaders().with_election_type(7);
    let answer: ElectLeadersResponse = driver.call(ApiKey::ElectLeaders, 1, &odd);
    assert_eq!(answer.error_code, ResponseError::InvalidRequest.code());

    let key = ApiKey::AlterPartitionReassignments;
    let answer: AlterPartitionReassignmentsResponse = driver.call(key, 1, &alter_reassignments());
    let codes = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let codes: Vec<_> = codes.map(|row| row.error_code).collect();
    assert_eq!(codes, [0, 85, 39, 39, 39, 3, 3]);
}

#[test]
fn topics_are_described_page_by_page() {
    let broker = FakeBroker::new();
    for (topic, partitions) in [("a", 3), ("b", 1), ("c", 4)] {
        broker.with_topic(topic, partitions, Default::default());
    }
    let mut driver = Driver::new(&broker);
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let request = DescribeTopicPartitionsRequest::default()
            .with_response_partition_limit(2)
            .with_cursor(cursor);
        let key = ApiKey::DescribeTopicPartitions;
        let answer: DescribeTopicPartitionsResponse = driver.call(key, 0, &request);
        let mut page = 0;
        for topic in &answer.topics {
            assert_eq!(topic.error_code, 0);
            page += topic.partitions.len();
            let name = topic.name.clone().unwrap().to_string();
            seen.extend(
                topic
                    .partitions
                    .iter()
                    .map(|p| (name.clone(), p.partition_index)),
            );
        }
        assert!((1..=2).contains(&page));
        cursor = answer.next_cursor.map(|next| {
            describe_topic_partitions_request::Cursor::default()
                .with_topic_name(next.topic_name)
                .with_partition_index(next.partition_index)
        });
        if cursor.is_none() {
            break;
        }
    }
    let counts = [("a", 3), ("b", 1), ("c", 4)];
    let all = counts
        .iter()
        .flat_map(|(name, count)| (0..*count).map(|i| (name.to_string(), i)));
    assert_eq!(seen, all.collect::<Vec<_>>());
}

#[test]
fn a_cursor_of_a_topic_that_is_gone_goes_on_with_the_next_one() {
    let mut driver = driver();
    let cursor = describe_topic_partitions_request::Cursor::default()
        .with_topic_name(name("s"))
        .with_partition_index(5);
    let request = DescribeTopicPartitionsRequest::default()
        .with_response_partition_limit(2)
        .with_cursor(Some(cursor));
    let key = ApiKey::DescribeTopicPartitions;
    let answer: DescribeTopicPartitionsResponse = driver.call(key, 0, &request);
    assert_eq!(answer.topics[0].partitions[0].partition_index, 0);
}

#[test]
fn sizes_and_producers_are_told() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let produce = crate::samples::produce(13, id, &["a"]);
    let _produced: ProduceResponse = driver.call(ApiKey::Produce, 13, &produce);
    for version in 1..=4 {
        let all = DescribeLogDirsRequest::default().with_topics(None);
        let answer: DescribeLogDirsResponse = driver.call(ApiKey::DescribeLogDirs, version, &all);
        let store = &answer.results[0];
        let row = &store.topics[0].partitions[0];
        assert!(row.partition_size > 0);
        let space = (store.total_bytes, store.usable_bytes);
        assert_eq!(
            space,
            if version < 4 {
                (-1, -1)
            } else {
                (1 << 40, 1 << 30)
            }
        );
    }
    let key = ApiKey::DescribeProducers;
    let answer: DescribeProducersResponse = driver.call(key, 0, &describe_producers());
    let rows = &answer.topics[0].partitions;
    let state = &rows[0].active_producers[0];
    assert_eq!(
        (
            state.producer_id.0,
            state.last_sequence,
            state.last_timestamp
        ),
        (1000, 6, 8)
    );
    assert_eq!(rows[1].error_code, 3);
}

#[test]
fn what_has_settings_is_listed() {
    let mut driver = driver();
    let key = ApiKey::ListConfigResources;
    let request = list_config_resources(1);
    let answer: ListConfigResourcesResponse = driver.call(key, 1, &request);
    let rows = answer.config_resources.iter();
    let rows: Vec<_> = rows
        .map(|row| (row.resource_type, row.resource_name.to_string()))
        .collect();
    assert_eq!(rows, [(2, "t".to_owned()), (4, "1".to_owned())]);
    let odd = ListConfigResourcesRequest::default().with_resource_types(vec![77]);
    let answer: ListConfigResourcesResponse = driver.call(key, 1, &odd);
    assert_eq!(answer.error_code, ResponseError::UnsupportedVersion.code());
}

#[test]
fn nobody_has_passwords_here() {
    let mut driver = driver();
    let key = ApiKey::DescribeUserScramCredentials;
    let mut ask = |request: &DescribeUserScramCredentialsRequest| {
        let answer: DescribeUserScramCredentialsResponse = driver.call(key, 0, request);
        assert_eq!(answer.error_code, 0);
        let rows = answer.results.iter();
        rows.map(|row| (row.user.to_string(), row.error_code))
            .collect::<Vec<_>>()
    };
    let all = DescribeUserScramCredentialsRequest::default().with_users(None);
    assert_eq!(ask(&all), []);
    assert_eq!(ask(&describe_scram(&[])), []);
    let twice = ResponseError::DuplicateResource.code();
    let none = ResponseError::ResourceNotFound.code();
    let rows = [("u".to_owned(), twice), ("v".to_owned(), none)];
    assert_eq!(ask(&describe_scram(&["u", "v", "u"])), rows);
}

#[test]
fn quotas_are_kept_and_found_by_filters() {
    let mut driver = driver();
    let key = ApiKey::AlterClientQuotas;
    let rate = |value| ("producer_byte_rate", Some(value));
    let entries = vec![
        quota(&[("client-id", Some("c"))], &[rate(1000.0)]),
        quota(
            &[("user", None), ("client-id", None)],
            &[("request_percentage", Some(0.5))],
        ),
        quota(&[("ip", None)], &[("connection_creation_rate", Some(1.0))]),
        quota(&[], &[rate(1.0)]),
        quota(&[("user", Some("u"))], &[("nope", Some(1.0))]),
        quota(&[("user", Some("v"))], &[rate(0.0)]),
        quota(&[("user", Some("w"))], &[rate(0.5)]),
        quota(&[("user", Some("x"))], &[rate(f64::NAN)]),
        quota(&[("client-id", Some("c"))], &[rate(5.0)]),
        quota(&[("user", Some("u")), ("user", None)], &[rate(5.0)]),
    ];
    let request = AlterClientQuotasRequest::default().with_entries(entries);
    let answer: AlterClientQuotasResponse = driver.call(key, 1, &request);
    let codes: Vec<_> = answer.entries.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [0, 0, 42, 42, 42, 42, 42, 42, 42, 42]);

    let mut found = |components: &[(&str, i8, Option<&str>)], strict| {
        use describe_client_quotas_request::ComponentData;
        let component = |(kind, how, name): &(&str, i8, Option<&str>)| {
            ComponentData::default()
                .with_entity_type(text(kind))
                .with_match_type(*how)
                .with_match(name.map(text))
        };
        let request = DescribeClientQuotasRequest::default()
            .with_components(components.iter().map(component).collect())
            .with_strict(strict);
        let key = ApiKey::DescribeClientQuotas;
        let answer: DescribeClientQuotasResponse = driver.call(key, 1, &request);
        match answer.entries {
            Some(entries) => {
                let values = entries.iter().map(|entry| entry.values[0].value);
                Ok(values.collect::<Vec<_>>())
            }
            None => Err(answer.error_code),
        }
    };
    assert_eq!(found(&[], false), Ok(vec![1000.0, 0.5]));
    assert_eq!(
        found(&[("client-id", 0, Some("c"))], false),
        Ok(vec![1000.0])
    );
    assert_eq!(found(&[("client-id", 1, None)], false), Ok(vec![0.5]));
    assert_eq!(found(&[("client-id", 2, None)], true), Ok(vec![1000.0]));
    assert_eq!(found(&[("user", 2, None)], false), Ok(vec![0.5]));
    assert_eq!(found(&[("ip", 2, None)], false), Ok(vec![]));
    assert_eq!(found(&[("odd", 2, None)], false), Err(35));
    assert_eq!(
        found(&[("user", 2, None), ("user", 2, None)], false),
        Err(42)
    );
    assert_eq!(found(&[("user", 0, None)], false), Err(42));

    let entries = vec![quota(
        &[("client-id", Some("c"))],
        &[("producer_byte_rate", None)],
    )];
    let request = AlterClientQuotasRequest::default().with_entries(entries);
    let _altered: AlterClientQuotasResponse = driver.call(key, 0, &request);
}
