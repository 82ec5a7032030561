//! What is taken from a producer, and how it is told what is not.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::*;
use mulgil_broker::connection::Input;
use mulgil_broker::meta::schema::{Cleanup, TimestampType, TopicSettings};
use mulgil_broker::request::{AppendRefusal, Reply, Request};
use mulgil_record::batch::{Batch, BatchBuilder};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{ProducerEpoch, ProducerId};

use crate::broker::FakeBroker;
use crate::client::{answers, frame, open};
use crate::driver::{Driver, WALL_MS};
use crate::samples::{batch, name, produce, text};
use crate::versions::broker;

const NOW: i64 = WALL_MS.cast_signed();

fn produce_bytes(
    driver: &mut Driver,
    version: i16,
    records: Option<Bytes>,
) -> PartitionProduceResponse {
    let mut request = produce(3, mulgil_record::ids::TopicId(0), &["a"]);
    request.topic_data[0].partition_data[0].records = records;
    let answer: ProduceResponse = driver.call(ApiKey::Produce, version, &request);
    answer.responses[0].partition_responses[0].clone()
}

fn error_of(row: &PartitionProduceResponse) -> Option<ResponseError> {
    ResponseError::try_from_code(row.error_code)
}

fn at(codec: Codec, times: &[i64]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec, NOW);
    for time in times {
        builder.push(*time, Some(b"k"), Some(b"v"), &[]);
    }
    builder
}

fn with_settings(settings: TopicSettings) -> Driver {
    let broker = FakeBroker::new();
    broker.with_topic("t", 1, settings);
    Driver::new(&broker)
}

#[test]
fn offsets_are_told() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    for base in [0, 2] {
        let answer: ProduceResponse =
            driver.call(ApiKey::Produce, 13, &produce(13, id, &["a", "b"]));
        let topic = &answer.responses[0];
        assert_eq!(topic.topic_id, crate::samples::uuid(id));
        let row = &topic.partition_responses[0];
        assert_eq!(
            (row.error_code, row.base_offset, row.log_start_offset),
            (0, base, 0)
        );
        assert_eq!(row.log_append_time_ms, -1);
    }
}

#[test]
fn batches_that_are_none_are_refused() {
    let mut driver = with_settings(TopicSettings::default());
    let good = batch(&["a"]);
    let mut damaged = good.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let mut old = good.to_vec();
    old[16] = 1;
    let mut moved = good.to_vec();
    moved[7] = 1;
    let twice = [&good[..], &good[..]].concat();
    let cut = good[..good.len() - 1].to_vec();
    let mut transaction = at(Codec::None, &[NOW]).producer(ProducerId(1), ProducerEpoch(0), 0);
    transaction = transaction.transactional();
    for (records, error) in [
        (None, ResponseError::InvalidRecord),
        (Some(Vec::new()), ResponseError::InvalidRecord),
        (Some(damaged), ResponseError::CorruptMessage),
        (Some(old), ResponseError::InvalidRecord),
        (Some(moved), ResponseError::InvalidRecord),
        (Some(twice), ResponseError::InvalidRecord),
        (Some(cut), ResponseError::CorruptMessage),
        (
            Some(transaction.finish().bytes.to_vec()),
            ResponseError::InvalidTxnState,
        ),
    ] {
        let row = produce_bytes(&mut driver, 9, records.map(Bytes::from));
        assert_eq!(error_of(&row), Some(error), "{:?}", row.error_message);
        assert!(row.error_message.is_some_and(|m| !m.is_empty()));
        assert_eq!((row.base_offset, row.log_start_offset), (-1, -1));
    }
    assert_eq!(produce_bytes(&mut driver, 9, Some(good)).base_offset, 0);
}

#[test]
fn zstd_needs_version_7() {
    let mut driver = with_settings(TopicSettings::default());
    let zstd = at(Codec::Zstd, &[NOW]).finish().bytes;
    let row = produce_bytes(&mut driver, 6, Some(zstd.clone()));
    assert_eq!(
        error_of(&row),
        Some(ResponseError::UnsupportedCompressionType)
    );
    assert_eq!(error_of(&produce_bytes(&mut driver, 7, Some(zstd))), None);
}

#[test]
fn a_batch_over_the_limit_is_too_large() {
    let settings = TopicSettings {
        message_bytes_max: 100,
        ..TopicSettings::default()
    };
    let mut driver = with_settings(settings);
    let row = produce_bytes(&mut driver, 9, Some(batch(&[&"x".repeat(100)])));
    assert_eq!(error_of(&row), Some(ResponseError::MessageTooLarge));
    assert_eq!(
        error_of(&produce_bytes(&mut driver, 9, Some(batch(&["x"])))),
        None
    );
}

#[test]
fn timestamps_out_of_bounds_are_told_record_by_record() {
    let hour: i64 = 60 * 60 * 1000;
    let settings = TopicSettings {
        timestamp_before_max_ms: Some(1000),
        timestamp_after_max_ms: Some(hour.cast_unsigned()),
        ..TopicSettings::default()
    };
    for codec in [Codec::None, Codec::Gzip] {
        let mut driver = with_settings(settings.clone());
        let times = [NOW, NOW - 1001, NOW + hour, NOW + hour + 1, -1];
        let row = produce_bytes(&mut driver, 9, Some(at(codec, &times).finish().bytes));
        assert_eq!(error_of(&row), Some(ResponseError::InvalidTimestamp));
        let bad: Vec<i32> = row.record_errors.iter().map(|r| r.batch_index).collect();
        assert_eq!(bad, [1, 3]);
        let row = produce_bytes(&mut driver, 5, Some(at(codec, &times).finish().bytes));
        assert_eq!(error_of(&row), Some(ResponseError::InvalidTimestamp));
        let good = at(codec, &[NOW, NOW - 1000, NOW + hour]).finish().bytes;
        assert_eq!(error_of(&produce_bytes(&mut driver, 9, Some(good))), None);
    }
}

#[test]
fn the_time_of_appending_is_written_in() {
    let settings = TopicSettings {
        timestamp_type: TimestampType::LogAppendTime,
        ..TopicSettings::default()
    };
    let mut driver = with_settings(settings);
    let old = at(Codec::Lz4, &[5, 6]).finish().bytes;
    driver.receive(frame(ApiKey::Produce, 9, 1, &{
        let mut request = produce(9, mulgil_record::ids::TopicId(0), &["a"]);
        request.topic_data[0].partition_data[0].records = Some(old);
        request
    }));
    let Some((_, Request::Append(append))) = driver.asked.first() else {
        panic!("it is asked")
    };
    let batch = Batch::check(append.partitions[0].batch.bytes.clone()).unwrap();
    assert!(batch.header.attributes.is_log_append_time());
    assert_eq!(batch.header.max_timestamp, NOW);
    driver.settle();
    let answers = answers(driver.sent());
    let (_, answer): (_, ProduceResponse) = open(ApiKey::Produce, 9, &answers[0]);
    assert_eq!(
        answer.responses[0].partition_responses[0].log_append_time_ms,
        NOW
    );
}

#[test]
fn one_bad_partition_does_not_spoil_the_others() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let mut request = produce(9, id, &["a"]);
    let data = request.topic_data[0].partition_data[0].clone();
    request.topic_data[0]
        .partition_data
        .insert(0, data.with_index(7));
    let mut none = request.topic_data[0].clone().with_name(name("none"));
    none.partition_data.truncate(1);
    request.topic_data.insert(0, none);
    let answer: ProduceResponse = driver.call(ApiKey::Produce, 9, &request);
    let codes: Vec<Vec<i16>> = answer
        .responses
        .iter()
        .map(|t| t.partition_responses.iter().map(|p| p.error_code).collect())
        .collect();
    assert_eq!(codes, [vec![3], vec![3, 0]]);

    let mut request = produce(13, id, &["a"]);
    request.topic_data[0].topic_id = uuid::Uuid::from_u128(5);
    let answer: ProduceResponse = driver.call(ApiKey::Produce, 13, &request);
    let row = &answer.responses[0].partition_responses[0];
    assert_eq!(error_of(row), Some(ResponseError::UnknownTopicId));
}

#[test]
fn odd_acks_and_transactions_are_refused() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    for (request, error) in [
        (
            produce(9, id, &["a"]).with_acks(2),
            ResponseError::InvalidRequiredAcks,
        ),
        (
            produce(9, id, &["a"]).with_transactional_id(Some(TransactionalId(text("x")))),
            ResponseError::InvalidTxnState,
        ),
    ] {
        let answer: ProduceResponse = driver.call(ApiKey::Produce, 9, &request);
        assert_eq!(
            error_of(&answer.responses[0].partition_responses[0]),
            Some(error)
        );
    }
    let request =
        InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("x"))));
    let answer: InitProducerIdResponse = driver.call(ApiKey::InitProducerId, 4, &request);
    assert_eq!(
        (
            answer.error_code,
            answer.producer_id.0,
            answer.producer_epoch
        ),
        (53, -1, -1)
    );
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let answer: InitProducerIdResponse = driver.call(ApiKey::InitProducerId, 4, &request);
    assert_eq!(
        (
            answer.error_code,
            answer.producer_id.0,
            answer.producer_epoch
        ),
        (0, 1000, 0)
    );
}

#[test]
fn a_full_disk_is_an_error_to_try_again() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    driver.receive(crate::samples::sample(ApiKey::Produce, 9, 1, id));
    let (ticket, _) = driver.asked.remove(0);
    driver.input(Input::Answered(
        ticket,
        Reply::Append(vec![Err(AppendRefusal::DiskFull)]),
    ));
    let answers = answers(driver.sent());
    let (_, answer): (_, ProduceResponse) = open(ApiKey::Produce, 9, &answers[0]);
    let row = &answer.responses[0].partition_responses[0];
    assert_eq!(error_of(row), Some(ResponseError::KafkaStorageError));
    assert!(ResponseError::KafkaStorageError.is_retriable());
    assert_eq!(row.error_message.as_deref(), Some("the disk is full"));
}

#[test]
fn a_compacted_topic_names_the_records_without_a_key() {
    let settings = TopicSettings {
        cleanup: Cleanup {
            delete: false,
            compact: true,
        },
        ..TopicSettings::default()
    };
    for codec in [Codec::None, Codec::Lz4] {
        let mut driver = with_settings(settings.clone());
        let mut builder = at(codec, &[NOW, NOW]);
        builder.push(NOW, None, Some(b"v"), &[]);
        builder.push(NOW, Some(b""), None, &[]);
        let row = produce_bytes(&mut driver, 9, Some(builder.finish().bytes));
        assert_eq!(error_of(&row), Some(ResponseError::InvalidRecord));
        let bad: Vec<i32> = row.record_errors.iter().map(|r| r.batch_index).collect();
        assert_eq!(bad, [2]);
        let good = at(codec, &[NOW]).finish().bytes;
        assert_eq!(error_of(&produce_bytes(&mut driver, 9, Some(good))), None);
    }
}

#[test]
fn batches_are_packed_as_the_topic_wants() {
    for (wanted, packed) in [
        (None, Codec::Gzip),
        (Some(Codec::None), Codec::None),
        (Some(Codec::Zstd), Codec::Zstd),
    ] {
        let settings = TopicSettings {
            compression: wanted,
            timestamp_type: TimestampType::LogAppendTime,
            ..TopicSettings::default()
        };
        let mut driver = with_settings(settings);
        let came = at(Codec::Gzip, &[NOW, NOW]).finish().bytes;
        let mut request = produce(9, mulgil_record::ids::TopicId(0), &["a"]);
        request.topic_data[0].partition_data[0].records = Some(came);
        driver.receive(frame(ApiKey::Produce, 9, 1, &request));
        let Some((_, Request::Append(append))) = driver.asked.first() else {
            panic!("it is asked")
        };
        let batch = Batch::check(append.partitions[0].batch.bytes.clone()).unwrap();
        assert_eq!(batch.header.attributes.codec(), Ok(packed));
        assert!(batch.header.attributes.is_log_append_time());
    }
}

#[test]
fn what_is_too_large_once_it_is_packed_otherwise_is_refused() {
    let settings = TopicSettings {
        compression: Some(Codec::None),
        message_bytes_max: 1000,
        ..TopicSettings::default()
    };
    let mut driver = with_settings(settings);
    let mut builder = BatchBuilder::new(Codec::Gzip, NOW);
    builder.push(NOW, None, Some(&[b'x'; 5000]), &[]);
    let row = produce_bytes(&mut driver, 9, Some(builder.finish().bytes));
    assert_eq!(error_of(&row), Some(ResponseError::MessageTooLarge));
}
