//! Requests that name one thing many times: what is asked for them, and what they are answered, does not
//! grow beyond what there is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::*;
use mulgil_broker::meta::schema::{Cleanup, TopicSettings};
use mulgil_broker::request::{Request, VISIT_PARTS_MAX};
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, TopicId};

use crate::admin_samples::{BROKER, Op, TOPIC, edits};
use crate::alloc::peak_of;
use crate::broker::FakeBroker;
use crate::client::frame;
use crate::driver::{Driver, WALL_MS};
use crate::samples::{group, name, offset_fetch, produce, text};
use crate::versions::broker;

/// As many elements as fit into a request beside what is around them.
const MANY: usize = (1 << 18) - 100;

fn list_offsets(partitions: &[(i32, i64)]) -> ListOffsetsRequest {
    let one = |&(index, time)| {
        ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_timestamp(time)
    };
    let topic = ListOffsetsTopic::default()
        .with_name(name("t"))
        .with_partitions(partitions.iter().map(one).collect());
    ListOffsetsRequest::default().with_topics(vec![topic])
}

#[test]
fn a_partition_that_is_fetched_twice_is_fetched_once_as_the_last_entry_says() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let one = |offset| {
        FetchPartition::default()
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1)
    };
    let topic = FetchTopic::default()
        .with_topic(name("t"))
        .with_partitions((0..10_000).rev().map(one).collect());
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic.clone(), topic]);
    driver.receive(frame(ApiKey::Fetch, 12, 1, &request));
    let [(_, Request::Read(read))] = &driver.asked[..] else {
        panic!("one read")
    };
    assert_eq!(read.partitions.len(), 1);
    assert_eq!(read.partitions[0].offset, Offset(0));
}

#[test]
fn offsets_of_a_partition_that_is_named_twice_are_not_told() {
    let broker = FakeBroker::new();
    broker.with_topic("t", 3, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let request = list_offsets(&[(0, -1), (1, -2), (0, 5), (2, -1), (9, 0), (9, 0)]);
    driver.receive(frame(ApiKey::ListOffsets, 7, 1, &request));
    let [(_, Request::FindOffsets(find))] = &driver.asked[..] else {
        panic!("one search")
    };
    assert_eq!(find.len(), 2);
    driver.settle();
    let _told = driver.sent();
    let answer: ListOffsetsResponse = driver.call(ApiKey::ListOffsets, 7, &list_offsets(&[(0, 5)]));
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    let answer: ListOffsetsResponse = driver.call(ApiKey::ListOffsets, 7, &request);
    let rows = answer.topics[0].partitions.iter();
    let told: Vec<_> = rows
        .map(|row| (row.partition_index, row.error_code))
        .collect();
    let invalid = ResponseError::InvalidRequest.code();
    let expected = [
        (0, invalid),
        (1, 0),
        (0, invalid),
        (2, 0),
        (9, invalid),
        (9, invalid),
    ];
    assert_eq!(told, expected);
    // Nothing is asked of the broker for so many of one.
    driver.receive(frame(
        ApiKey::ListOffsets,
        7,
        1,
        &list_offsets(&vec![(0, 5); MANY]),
    ));
    assert!(driver.asked.is_empty() && driver.hangup.is_none());
}

#[test]
fn long_lists_are_asked_about_in_pieces_and_answered_in_one() {
    let broker = FakeBroker::new();
    broker.with_topic("t", 1000, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let all: Vec<_> = (0..1000).map(|index| (index, -1)).collect();
    driver.receive(frame(ApiKey::ListOffsets, 7, 1, &list_offsets(&all)));
    let parts: Vec<_> = driver.asked.iter().map(|(_, ask)| ask.parts()).collect();
    assert_eq!(
        parts,
        [VISIT_PARTS_MAX, VISIT_PARTS_MAX, VISIT_PARTS_MAX, 232]
    );
    driver.settle();
    let _told = driver.sent();
    let answer: ListOffsetsResponse = driver.call(ApiKey::ListOffsets, 7, &list_offsets(&all));
    let rows = &answer.topics[0].partitions;
    assert_eq!(rows.len(), 1000);
    assert!(
        rows.iter()
            .all(|row| row.offset == 0 && row.error_code == 0)
    );
}

/// A change of each topic goes to one frame with the others of its piece.
#[test]
fn partitions_of_many_topics_are_added_in_pieces_that_know_of_each_other() {
    let broker = FakeBroker::new();
    let names: Vec<_> = (0..1000).map(|at| format!("t{at}")).collect();
    let mut request = CreatePartitionsRequest::default();
    for name in &names {
        broker.with_topic(name, 1, TopicSettings::default());
        let topic = CreatePartitionsTopic::default().with_name(crate::samples::name(name));
        let topic = topic.with_count(3);
        request.topics.push(topic.with_assignments(None));
    }
    let mut driver = Driver::new(&broker);
    driver.receive(frame(ApiKey::CreatePartitions, 3, 1, &request));
    let parts: Vec<_> = driver.asked.iter().map(|(_, ask)| ask.parts()).collect();
    assert_eq!(
        parts,
        [VISIT_PARTS_MAX, VISIT_PARTS_MAX, VISIT_PARTS_MAX, 232]
    );
    for (_, ask) in &driver.asked {
        let Request::GrowTopics(grow) = ask else {
            panic!("{ask:?}")
        };
        assert_eq!(grow.asked_in_all, 2_000);
    }
}

#[test]
fn settings_of_many_topics_are_changed_in_pieces_and_answered_in_one() {
    let broker = FakeBroker::new();
    let names: Vec<_> = (0..1000).map(|at| format!("t{at}")).collect();
    for name in &names {
        broker.with_topic(name, 1, TopicSettings::default());
    }
    let edit: &[Op<'_>] = &[("segment.bytes", 0, Some("1048576"))];
    let all: Vec<_> = names.iter().map(|name| (TOPIC, &**name, edit)).collect();
    let mut driver = Driver::new(&broker);
    let key = ApiKey::IncrementalAlterConfigs;
    driver.receive(frame(key, 1, 1, &edits(&all)));
    let parts: Vec<_> = driver.asked.iter().map(|(_, ask)| ask.parts()).collect();
    assert_eq!(
        parts,
        [VISIT_PARTS_MAX, VISIT_PARTS_MAX, VISIT_PARTS_MAX, 232]
    );
    driver.settle();
    let _told = driver.sent();
    let mut asked = all.clone();
    asked.insert(500, (TOPIC, "unknown", edit));
    let answer: IncrementalAlterConfigsResponse = driver.call(key, 1, &edits(&asked));
    let told = answer.responses.iter();
    let told = told.map(|row| (row.resource_name.to_string(), row.error_code));
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let expected = asked.iter().map(|(_, name, _)| {
        let code = if *name == "unknown" { unknown } else { 0 };
        ((*name).to_owned(), code)
    });
    assert!(told.eq(expected));
}

#[test]
fn a_group_that_is_named_many_times_is_told_once() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let describe = DescribeGroupsRequest::default().with_groups(vec![group("g"); MANY]);
    driver.receive(frame(ApiKey::DescribeGroups, 5, 1, &describe));
    assert_eq!(driver.asked.len(), 1);
    driver.settle();
    let _told = driver.sent();

    let all = OffsetFetchRequestGroup::default()
        .with_group_id(group("g"))
        .with_topics(None);
    let mut fetch = offset_fetch(8);
    fetch.groups = vec![all; MANY / 2];
    driver.receive(frame(ApiKey::OffsetFetch, 8, 1, &fetch));
    assert_eq!(driver.asked.len(), 1);
}

#[test]
fn producers_of_a_partition_that_is_named_many_times_are_told_once() {
    use describe_producers_request::TopicRequest;
    let broker = FakeBroker::new();
    broker.with_topic("t", 1000, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let topic = |indexes: Vec<i32>| {
        TopicRequest::default()
            .with_name(name("t"))
            .with_partition_indexes(indexes)
    };
    let ask = |topics| DescribeProducersRequest::default().with_topics(topics);
    let many = frame(
        ApiKey::DescribeProducers,
        0,
        1,
        &ask(vec![topic(vec![0; MANY / 2]), topic(vec![0; MANY / 2])]),
    );
    let ((), peak) = peak_of(|| driver.receive(many));
    assert!(peak < 48 << 20, "{peak} bytes");
    let asked: Vec<_> = driver.asked.iter().map(|(_, ask)| ask.parts()).collect();
    assert_eq!(asked, [1]);
    driver.settle();
    assert!(driver.sent().len() < 1000);

    // One piece after the other, so that what was told before is known.
    let all = ask(vec![topic((0..1000).collect())]);
    driver.receive(frame(ApiKey::DescribeProducers, 0, 1, &all));
    let mut asked = Vec::new();
    while let [(_, Request::DescribeProducers(ask))] = &driver.asked[..] {
        asked.push((ask.partitions.len(), ask.told_before));
        driver.answer_at(0);
    }
    assert_eq!(asked, [(256, 0), (256, 256), (256, 512), (232, 768)]);
    let _told = driver.sent();
    let answer: DescribeProducersResponse = driver.call(ApiKey::DescribeProducers, 0, &all);
    let rows = &answer.topics[0].partitions;
    assert_eq!(rows.len(), 1000);
    let told = |row: &describe_producers_response::PartitionResponse| {
        row.error_code == 0 && row.active_producers.len() == 1
    };
    assert!(rows.iter().all(told));
}

#[test]
fn settings_of_a_resource_that_is_named_many_times_are_told_once() {
    use describe_configs_request::DescribeConfigsResource;
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let one = |kind, of: &str, keys: Option<&[&str]>| {
        let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(of))
            .with_configuration_keys(keys)
    };
    let ask = |resources| {
        DescribeConfigsRequest::default()
            .with_resources(resources)
            .with_include_synonyms(true)
            .with_include_documentation(true)
    };
    let many = frame(
        ApiKey::DescribeConfigs,
        4,
        1,
        &ask(vec![one(BROKER, "1", None); MANY]),
    );
    let ((), peak) = peak_of(|| driver.receive(many));
    assert!(driver.hangup.is_none());
    assert!(peak < 48 << 20, "{peak} bytes");
    assert!(driver.sent().len() < 100_000);

    // All that the entries ask for, in the place of the first.
    let some: &[&str] = &["retention.ms"];
    let resources = vec![
        one(TOPIC, "t", Some(some)),
        one(BROKER, "1", Some(&["log.retention.ms"])),
        one(TOPIC, "t", Some(&["segment.ms", "retention.ms"])),
        one(BROKER, "1", None),
        one(TOPIC, "none", None),
    ];
    let answer: DescribeConfigsResponse = driver.call(ApiKey::DescribeConfigs, 4, &ask(resources));
    let rows = answer.results.iter();
    let rows: Vec<_> = rows
        .map(|row| (&*row.resource_name, row.configs.len().min(3)))
        .collect();
    assert_eq!(rows, [("t", 2), ("1", 3), ("none", 0)]);
}

#[test]
fn sizes_of_many_partitions_are_asked_in_pieces() {
    let broker = FakeBroker::new();
    broker.with_topic("t", 1000, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let all = DescribeLogDirsRequest::default().with_topics(None);
    driver.receive(frame(ApiKey::DescribeLogDirs, 4, 1, &all));
    let parts: Vec<_> = driver.asked.iter().map(|(_, ask)| ask.parts()).collect();
    assert_eq!(
        parts,
        [VISIT_PARTS_MAX, VISIT_PARTS_MAX, VISIT_PARTS_MAX, 232]
    );
    driver.settle();
    let _told = driver.sent();
    let answer: DescribeLogDirsResponse = driver.call(ApiKey::DescribeLogDirs, 4, &all);
    let store = &answer.results[0];
    assert_eq!(store.topics[0].partitions.len(), 1000);
    assert_eq!(store.total_bytes, 1 << 40);
    // The file system is told of without any partition, too.
    let none = DescribeLogDirsRequest::default().with_topics(Some(Vec::new()));
    let answer: DescribeLogDirsResponse = driver.call(ApiKey::DescribeLogDirs, 4, &none);
    assert_eq!(answer.results[0].total_bytes, 1 << 40);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test that takes minutes has failed"
)]
fn many_replies_to_one_request_take_time_by_their_number() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let groups = (0..MANY).map(|at| group(&format!("g{at}"))).collect();
    let describe = DescribeGroupsRequest::default().with_groups(groups);
    driver.receive(frame(ApiKey::DescribeGroups, 5, 1, &describe));
    assert_eq!(driver.asked.len(), MANY);
    let begun = Instant::now();
    // The last first, which a driver that takes from the front would make slow itself.
    while !driver.asked.is_empty() {
        driver.answer_at(driver.asked.len() - 1);
    }
    assert!(driver.sent().len() > MANY);
    // Work that grows with the square takes minutes.
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn batches_that_unpack_to_much_are_refused_for_little() {
    let late = i64::try_from(WALL_MS).unwrap() + 10_000_000;
    let mut builder = BatchBuilder::new(Codec::Zstd, late);
    builder.push(late, None, Some(&vec![0; 60 << 20]), &[]);
    let bomb = builder.finish().bytes;
    assert!(bomb.len() < 100_000);
    for (before, expected) in [
        (None, ResponseError::InvalidTimestamp),
        (Some(1_u64 << 60), ResponseError::InvalidTimestamp),
    ] {
        let broker = FakeBroker::new();
        let settings = TopicSettings {
            timestamp_before_max_ms: before,
            ..TopicSettings::default()
        };
        broker.with_topic("t", 1, settings);
        let mut driver = Driver::new(&broker);
        let (answer, peak): (ProduceResponse, _) =
            peak_of(|| driver.call(ApiKey::Produce, 9, &produced(&bomb, 100)));
        assert!(peak < 48 << 20, "{peak} bytes");
        let rows = &answer.responses[0].partition_responses;
        assert!(rows.iter().all(|row| row.error_code == expected.code()));
    }
    // Not too new, but each has to be looked into: one may, and none beside it.
    let broker = FakeBroker::new();
    let settings = TopicSettings {
        timestamp_before_max_ms: Some(1 << 60),
        timestamp_after_max_ms: None,
        ..TopicSettings::default()
    };
    broker.with_topic("t", 1, settings);
    let mut driver = Driver::new(&broker);
    let answer: ProduceResponse = driver.call(ApiKey::Produce, 9, &produced(&bomb, 3));
    let rows = &answer.responses[0].partition_responses;
    let codes: Vec<_> = rows.iter().map(|row| row.error_code).collect();
    let large = ResponseError::MessageTooLarge.code();
    assert_eq!(codes, [0, large, large]);
}

/// As many batches of these bytes for one partition.
fn produced(bytes: &Bytes, count: usize) -> ProduceRequest {
    let mut request = produce(9, TopicId(0), &["a"]);
    let mut one = request.topic_data[0].partition_data[0].clone();
    one.records = Some(bytes.clone());
    request.topic_data[0].partition_data = vec![one; count];
    request
}

#[test]
fn all_that_a_request_may_unpack_to_has_one_bound_whatever_it_is_for() {
    let now = i64::try_from(WALL_MS).unwrap();
    let mut builder = BatchBuilder::new(Codec::Zstd, now);
    builder.push(now, Some(b"key"), Some(&vec![0; 60 << 20]), &[]);
    let bomb = builder.finish().bytes;
    let compact = Cleanup {
        delete: false,
        compact: true,
    };
    let keys = TopicSettings {
        cleanup: compact,
        ..TopicSettings::default()
    };
    let packing = TopicSettings {
        compression: Some(Codec::Gzip),
        ..TopicSettings::default()
    };
    let all = TopicSettings {
        cleanup: compact,
        timestamp_before_max_ms: Some(1 << 60),
        ..packing.clone()
    };
    let (large, invalid) = (
        ResponseError::MessageTooLarge.code(),
        ResponseError::InvalidRecord.code(),
    );
    for settings in [keys.clone(), packing, all] {
        let broker = FakeBroker::new();
        broker.with_topic("t", 1, settings);
        let mut driver = Driver::new(&broker);
        let answer: ProduceResponse = driver.call(ApiKey::Produce, 9, &produced(&bomb, 3));
        let rows = &answer.responses[0].partition_responses;
        let codes: Vec<_> = rows.iter().map(|row| row.error_code).collect();
        assert_eq!(codes, [0, large, large]);
    }

    // What is no batch once it is unpacked counts as well: the first byte is a record of no bytes.
    let mut builder = BatchBuilder::new(Codec::None, now);
    builder.push(now, Some(b"key"), Some(b"value"), &[]);
    let mut bad = builder.finish().bytes[..61].to_vec();
    bad.extend(mulgil_record::compression::compress(Codec::Zstd, &vec![0; 60 << 20]).unwrap());
    let length = i32::try_from(bad.len() - 12).unwrap();
    bad[8..12].copy_from_slice(&length.to_be_bytes());
    bad[22] = 4;
    let crc = mulgil_record::crc::crc32c(&[&bad[21..]]);
    bad[17..21].copy_from_slice(&crc.to_be_bytes());
    let broker = FakeBroker::new();
    broker.with_topic("t", 1, keys);
    let mut driver = Driver::new(&broker);
    let answer: ProduceResponse = driver.call(ApiKey::Produce, 9, &produced(&bad.into(), 3));
    let rows = &answer.responses[0].partition_responses;
    let codes: Vec<_> = rows.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [invalid, large, large]);

    // What is not packed was received as it is.
    let mut builder = BatchBuilder::new(Codec::None, now);
    builder.push(now, Some(b"key"), Some(&vec![0; 900_000]), &[]);
    let plain = builder.finish().bytes;
    let answer: ProduceResponse = driver.call(ApiKey::Produce, 9, &produced(&plain, 90));
    let rows = &answer.responses[0].partition_responses;
    assert!(rows.iter().all(|row| row.error_code == 0));
}

#[test]
fn a_fetch_that_waits_does_not_keep_the_buffer_that_it_came_in() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let topic = FetchTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![FetchPartition::default()]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(0)
        .with_topics(vec![topic]);
    let buffer = Bytes::from(frame(ApiKey::Fetch, 12, 1, &request).to_vec());
    driver.receive(buffer.clone());
    assert_eq!(driver.asked.len(), 1);
    assert!(buffer.is_unique());
}
