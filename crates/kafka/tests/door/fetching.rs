//! Fetch sessions, epochs, and what becomes of topics that are not there.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::*;
use mulgil_broker::connection::Connection;
use mulgil_broker::meta::schema::TopicSettings;
use mulgil_broker::request::Request;

use crate::broker::FakeBroker;
use crate::client::frame;
use crate::driver::Driver;
use crate::samples::{fetch, name, produce, uuid};
use crate::versions::broker;

/// Topic, partition, error and bytes of records of each row.
fn rows(answer: &FetchResponse) -> Vec<(String, i32, i16, usize)> {
    let topics = answer.responses.iter();
    topics
        .flat_map(|t| {
            t.partitions.iter().map(|p| {
                let records = p.records.as_ref().map_or(0, bytes::Bytes::len);
                (
                    t.topic.to_string(),
                    p.partition_index,
                    p.error_code,
                    records,
                )
            })
        })
        .collect()
}

fn topic(topic: &str, partitions: &[(i32, i64)]) -> FetchTopic {
    let one = |&(index, offset)| {
        FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20)
    };
    FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(partitions.iter().map(one).collect())
}

fn ask(session: (i32, i32), topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(topics)
}

#[test]
fn a_session_tells_only_what_is_new() {
    let broker = FakeBroker::new();
    let id = broker.with_topic("t", 2, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let call = |driver: &mut Driver, request: FetchRequest| -> FetchResponse {
        driver.call(ApiKey::Fetch, 12, &request)
    };
    let full = call(
        &mut driver,
        ask((0, 0), vec![topic("t", &[(0, 0), (1, 0)])]),
    );
    assert_eq!(rows(&full), [("t".into(), 0, 0, 0), ("t".into(), 1, 0, 0)]);
    let session = full.session_id;
    assert!(session > 0);
    // Nothing is new.
    let none = call(&mut driver, ask((session, 1), vec![]));
    assert_eq!(
        (rows(&none), none.session_id, none.error_code),
        (vec![], session, 0)
    );
    let _done: ProduceResponse = driver.call(ApiKey::Produce, 13, &produce(13, id, &["a"]));
    // Records of one partition, which go on until the offset moves.
    for epoch in [2, 3] {
        let some = call(&mut driver, ask((session, epoch), vec![]));
        assert_eq!(rows(&some).len(), 1);
        assert!(rows(&some)[0].3 > 0);
    }
    let moved = call(&mut driver, ask((session, 4), vec![topic("t", &[(0, 1)])]));
    assert_eq!(rows(&moved), []);
    // A forgotten partition is not read.
    let forget = ForgottenTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![0]);
    let request = ask((session, 5), vec![]).with_forgotten_topics_data(vec![forget]);
    driver.receive(frame(ApiKey::Fetch, 12, 1, &request));
    let Some((_, Request::Read(read))) = driver.asked.first() else {
        panic!("it is asked")
    };
    assert_eq!(read.partitions.len(), 1);
    driver.settle();
    driver.sent();
    // A closed session is gone.
    let closed = call(&mut driver, ask((session, -1), vec![topic("t", &[(0, 0)])]));
    assert_eq!((closed.session_id, rows(&closed).len()), (0, 1));
    let gone = call(&mut driver, ask((session, 6), vec![]));
    assert_eq!(
        gone.error_code,
        ResponseError::FetchSessionIdNotFound.code()
    );
}

#[test]
fn sessions_count_towards_what_a_connection_keeps() {
    let broker = FakeBroker::new();
    broker.with_topic("t", 1, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let most: Vec<_> = (0..10_000).map(|index| (index, 0)).collect();
    let mut last = 0;
    for _ in 0..4 {
        let full: FetchResponse =
            driver.call(ApiKey::Fetch, 12, &ask((0, 0), vec![topic("t", &most)]));
        assert!(full.session_id > 0);
        last = full.session_id;
    }
    let four = driver.connection().buffered_bytes();
    assert!((6 << 20..20 << 20).contains(&four), "{four} bytes");
    // A fifth takes the place of the oldest; a full fetch of the last one ends it.
    let _full: FetchResponse =
        driver.call(ApiKey::Fetch, 12, &ask((0, 0), vec![topic("t", &most)]));
    assert_eq!(driver.connection().buffered_bytes(), four);
    let _ended: FetchResponse =
        driver.call(ApiKey::Fetch, 12, &ask((last, -1), vec![topic("t", &most)]));
    assert_eq!(driver.connection().buffered_bytes(), four / 4 * 3);
    // One that forgets partitions counts less, and one that grows too large ends.
    let full: FetchResponse = driver.call(
        ApiKey::Fetch,
        12,
        &ask((0, 0), vec![topic("t", &[(0, 0), (1, 0)])]),
    );
    let with_two = driver.connection().buffered_bytes();
    let forget = ForgottenTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![1]);
    let request = ask((full.session_id, 1), vec![]).with_forgotten_topics_data(vec![forget]);
    let _fewer: FetchResponse = driver.call(ApiKey::Fetch, 12, &request);
    let with_one = driver.connection().buffered_bytes();
    assert_eq!(with_two - with_one, with_one - four / 4 * 3);
    let more: Vec<_> = (0..10_001).map(|index| (index, 0)).collect();
    let ended: FetchResponse = driver.call(
        ApiKey::Fetch,
        12,
        &ask((full.session_id, 2), vec![topic("t", &more)]),
    );
    assert_eq!(ended.session_id, 0);
    assert_eq!(driver.connection().buffered_bytes(), four / 4 * 3);
}

#[test]
fn names_that_no_topic_may_have_are_not_remembered() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let (long, longest) = ("x".repeat(250), "x".repeat(249));
    let call = |driver: &mut Driver, session, of: &str| -> FetchResponse {
        driver.call(
            ApiKey::Fetch,
            12,
            &ask(session, vec![topic("t", &[(0, 0)]), topic(of, &[(0, 0)])]),
        )
    };
    let refused = call(&mut driver, (0, 0), &long);
    assert_eq!((refused.session_id, rows(&refused).len()), (0, 2));
    assert_eq!(driver.connection().buffered_bytes(), 0);
    let full = call(&mut driver, (0, 0), &longest);
    assert!(full.session_id > 0);
    let ended = call(&mut driver, (full.session_id, 1), &long);
    assert_eq!((ended.session_id, rows(&ended).len()), (0, 3));
    assert_eq!(driver.connection().buffered_bytes(), 0);
}

#[test]
fn what_is_wrong_with_a_session_is_told() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let full: FetchResponse = driver.call(ApiKey::Fetch, 12, &fetch(12, id, 0));
    let session = full.session_id;
    for (version, epoch, error) in [
        (12, 2, ResponseError::InvalidFetchSessionEpoch),
        (13, 1, ResponseError::FetchSessionTopicIdError),
    ] {
        let answer: FetchResponse =
            driver.call(ApiKey::Fetch, version, &ask((session, epoch), vec![]));
        assert_eq!(answer.error_code, error.code());
        assert_eq!((answer.session_id, rows(&answer)), (0, vec![]));
    }
    let answer: FetchResponse = driver.call(ApiKey::Fetch, 12, &ask((session + 1, 1), vec![]));
    assert_eq!(
        answer.error_code,
        ResponseError::FetchSessionIdNotFound.code()
    );
}

#[test]
fn an_error_is_told_again_until_it_is_over() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let full: FetchResponse = driver.call(
        ApiKey::Fetch,
        12,
        &ask((0, 0), vec![topic("t", &[(0, 9)]), topic("u", &[(0, 0)])]),
    );
    let session = full.session_id;
    assert_eq!(rows(&full), [("t".into(), 0, 1, 0), ("u".into(), 0, 3, 0)]);
    let row = &full.responses[0].partitions[0];
    assert_eq!(
        (
            row.high_watermark,
            row.last_stable_offset,
            row.log_start_offset
        ),
        (-1, -1, -1)
    );
    let again: FetchResponse = driver.call(ApiKey::Fetch, 12, &ask((session, 1), vec![]));
    assert_eq!(rows(&again), rows(&full));
    let over: FetchResponse = driver.call(
        ApiKey::Fetch,
        12,
        &ask((session, 2), vec![topic("t", &[(0, 0)])]),
    );
    assert_eq!(rows(&over), [("t".into(), 0, 0, 0), ("u".into(), 0, 3, 0)]);
    let after: FetchResponse = driver.call(ApiKey::Fetch, 12, &ask((session, 3), vec![]));
    assert_eq!(rows(&after), [("u".into(), 0, 3, 0)]);
}

#[test]
fn epochs_are_fenced_and_divergence_is_told() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let mut call = |epoch, last| -> FetchResponse {
        let mut request = fetch(17, id, 0);
        let partition = &mut request.topics[0].partitions[0];
        partition.current_leader_epoch = epoch;
        partition.last_fetched_epoch = last;
        driver.call(ApiKey::Fetch, 17, &request)
    };
    let fenced = call(2, -1);
    let row = &fenced.responses[0].partitions[0];
    assert_eq!(row.error_code, ResponseError::FencedLeaderEpoch.code());
    assert_eq!(
        (
            row.current_leader.leader_id.0,
            row.current_leader.leader_epoch
        ),
        (1, 3)
    );
    let endpoint = &fenced.node_endpoints[0];
    assert_eq!(
        (endpoint.node_id.0, &*endpoint.host, endpoint.port),
        (1, "127.0.0.1", 9092)
    );
    let unknown = call(4, -1);
    let code = unknown.responses[0].partitions[0].error_code;
    assert_eq!(code, ResponseError::UnknownLeaderEpoch.code());
    let diverging = call(3, 1);
    let row = &diverging.responses[0].partitions[0];
    assert_eq!(
        (
            row.error_code,
            row.diverging_epoch.epoch,
            row.diverging_epoch.end_offset
        ),
        (0, 1, 0)
    );
    assert!(diverging.node_endpoints.is_empty());
}

#[test]
fn unknown_ids_and_partitions_are_told_apart() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let mut request = fetch(13, id, 0);
    let mut stranger = request.topics[0].clone();
    stranger.topic_id = uuid::Uuid::from_u128(99);
    request.topics[0].partitions[0].partition = 5;
    request.topics.push(stranger);
    let answer: FetchResponse = driver.call(ApiKey::Fetch, 13, &request);
    let codes: Vec<i16> = answer
        .responses
        .iter()
        .map(|t| t.partitions[0].error_code)
        .collect();
    assert_eq!(codes, [3, 100]);
    assert_eq!(answer.responses[0].topic_id, uuid(id));
}

#[test]
fn limits_are_clamped() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let mut request = fetch(12, id, 0)
        .with_max_bytes(i32::MAX)
        .with_min_bytes(i32::MAX)
        .with_max_wait_ms(-5);
    request.topics[0].partitions[0].partition_max_bytes = -1;
    driver.receive(frame(ApiKey::Fetch, 12, 1, &request));
    let Some((_, Request::Read(read))) = driver.asked.first() else {
        panic!("it is asked")
    };
    assert_eq!(
        (read.bytes_max, read.bytes_min, read.wait_ms),
        (55 << 20, 55 << 20, 0)
    );
    assert_eq!(read.partitions[0].bytes_max, 0);
}

/// How much the broker is asked to read for `request`, at most and at least, and from which offsets.
fn asked_of(driver: &mut Driver, request: &FetchRequest) -> (u32, u32, Vec<i64>) {
    driver.receive(frame(ApiKey::Fetch, 12, 1, request));
    let Some((_, Request::Read(read))) = driver.asked.first() else {
        panic!("it is asked")
    };
    let offsets = read.partitions.iter().map(|part| part.offset.0).collect();
    let asked = (read.bytes_max, read.bytes_min, offsets);
    driver.settle();
    driver.sent();
    asked
}

#[test]
fn an_answer_is_as_large_as_its_client_waits_for_and_else_of_moderate_size() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    for (least, most) in [(1, 8 << 20), (20 << 20, 20 << 20)] {
        let request = fetch(12, id, 0).with_max_bytes(50 << 20);
        let request = request.with_min_bytes(least).with_max_wait_ms(0);
        let (bytes_max, bytes_min, _) = asked_of(&mut driver, &request);
        assert_eq!((bytes_max, bytes_min), (most, least.unsigned_abs()));
    }
    let small = fetch(12, id, 0).with_max_bytes(1_000);
    assert_eq!(asked_of(&mut driver, &small).0, 1_000);
}

#[test]
fn without_a_session_each_partition_comes_first_in_turn() {
    let broker = FakeBroker::new();
    broker.with_topic("t", 3, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let offsets = [(0, 10), (1, 11), (2, 12)];
    let request = ask((0, -1), vec![topic("t", &offsets)]);
    let mut first = BTreeSet::new();
    for _ in 0..3 {
        let (_, _, mut asked) = asked_of(&mut driver, &request);
        first.insert(asked[0]);
        asked.sort_unstable();
        assert_eq!(asked, [10, 11, 12]);
    }
    assert_eq!(first.len(), 3, "{first:?}");
    // What is told stands where it was asked for, whichever was read first.
    for _ in 0..3 {
        let answer: FetchResponse = driver.call(ApiKey::Fetch, 12, &request);
        let told: Vec<i32> = rows(&answer).iter().map(|row| row.1).collect();
        assert_eq!(told, [0, 1, 2]);
    }
}
