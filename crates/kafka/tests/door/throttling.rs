//! Quotas: who is over one is told to wait, and is not read meanwhile.

use kafka_protocol::messages::*;
use mulgil_broker::connection::{Connection, Input};
use mulgil_broker::core::machine::{Elapsed, Now, WallTime};

use crate::admin_samples::quota;
use crate::client::frame;
use crate::driver::{Driver, WALL_MS};
use crate::samples::{fetch, produce};
use crate::versions::broker;

fn limited(key: &str, most: f64) -> (Driver, mulgil_record::ids::TopicId) {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let entries = vec![quota(&[("client-id", Some("test"))], &[(key, Some(most))])];
    let request = AlterClientQuotasRequest::default().with_entries(entries);
    let answer: AlterClientQuotasResponse = driver.call(ApiKey::AlterClientQuotas, 1, &request);
    assert_eq!(answer.entries[0].error_code, 0);
    (driver, id)
}

#[test]
fn a_producer_over_its_quota_waits() {
    let (mut driver, id) = limited("producer_byte_rate", 10.0);
    let value = "x".repeat(1000);
    let first: ProduceResponse = driver.call(ApiKey::Produce, 9, &produce(9, id, &[&value]));
    // Ten seconds' worth is 100 bytes; the rest takes 10 bytes a second.
    let wait = u64::try_from(first.throttle_time_ms).unwrap();
    assert!((90_000..130_000).contains(&wait), "{wait}");
    assert!(driver.connection().is_full());
    assert_eq!(driver.connection().deadline(), Some(Elapsed(wait)));
    // What comes meanwhile is not started, not even when something else wakes the connection.
    driver.receive(frame(ApiKey::Produce, 9, 2, &produce(9, id, &["y"])));
    driver.elapsed = wait - 1;
    driver.input(Input::Drained);
    assert!(driver.asked.is_empty() && driver.sent().is_empty());
    driver.elapsed = wait;
    driver.input(Input::DeadlineReached);
    assert_eq!(driver.asked.len(), 1);
    driver.settle();
    assert!(!driver.sent().is_empty());
}

#[test]
fn a_reader_over_its_quota_waits_and_reads_no_more_than_a_burst() {
    let (mut driver, id) = limited("consumer_byte_rate", 20.0);
    let value = "x".repeat(300);
    for _ in 0..3 {
        let answer: ProduceResponse = driver.call(ApiKey::Produce, 9, &produce(9, id, &[&value]));
        assert_eq!(answer.throttle_time_ms, 0);
    }
    for version in [4, 11, 16] {
        let answer: FetchResponse = driver.call(ApiKey::Fetch, version, &fetch(version, id, 0));
        let records = answer.responses[0].partitions[0].records.clone().unwrap();
        // One batch of 370 bytes is more than the burst of 200, and passes alone.
        assert!((300..500).contains(&records.len()), "{}", records.len());
        assert!(answer.throttle_time_ms > 0, "version {version}");
        driver.elapsed += u64::try_from(answer.throttle_time_ms).unwrap();
        driver.input(Input::DeadlineReached);
        assert!(!driver.connection().is_full());
    }
}

#[test]
fn the_time_of_threads_is_limited() {
    let (mut driver, _) = limited("request_percentage", 1.0);
    let now = Now {
        elapsed: Elapsed(0),
        wall: WallTime(WALL_MS),
    };
    // One per cent over ten seconds is a tenth of a second.
    driver.connection_mut().spent(100_000_000, now);
    assert!(!driver.connection().is_full());
    driver.connection_mut().spent(200_000_000, now);
    assert_eq!(driver.connection().deadline(), Some(Elapsed(1000)));
    assert!(driver.connection().is_full());
}

#[test]
fn others_are_not_limited() {
    let (mut driver, id) = limited("producer_byte_rate", 10.0);
    let request = produce(9, id, &[&"x".repeat(1000)]);
    let mut bytes = frame(ApiKey::Produce, 9, 42, &request).to_vec();
    // Another client id of the same length.
    bytes[14..18].copy_from_slice(b"else");
    driver.receive(bytes);
    driver.settle();
    assert!(!driver.connection().is_full() && driver.hangup.is_none());
}
